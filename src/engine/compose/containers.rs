//! What of a stack is really there.

use serde_json::Value;

use crate::engine::compose::fields::at;
use crate::engine::compose::fields::items;
use crate::engine::compose::fields::json;
use crate::engine::compose::fields::text;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::container::Container;
use crate::engine::container::ContainerState;
use crate::engine::container::Health;
use crate::engine::error::EngineError;
use crate::process::Cancel;
use crate::process::Ended;
use crate::process::capture;

impl Compose {
    /// All containers of the project, running or not, by service and name.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub async fn containers(&self, cancel: &Cancel) -> Result<Vec<Container>, EngineError> {
        let mut turn = self.turn();
        loop {
            let done = self.list(cancel).await;
            if !self.again(&mut turn, &done, cancel).await? {
                return done;
            }
        }
    }

    async fn list(&self, cancel: &Cancel) -> Result<Vec<Container>, EngineError> {
        let what = format!("listing the containers of {}", self.stack.project);
        let label = format!("label=com.docker.compose.project={}", self.stack.project);
        let list = self.docker_command(["ps", "-aq", "--no-trunc", "--filter", &label], QUESTION);
        let ids = self.ask(&list, &what, cancel).await?;
        if ids.trim().is_empty() {
            return Ok(Vec::new());
        }
        let inspect = self.docker_command(
            ["inspect", "--type", "container", "--format", "{{json .}}"].into_iter().chain(ids.split_whitespace()),
            QUESTION,
        );
        let captured = capture(&inspect, cancel).await;
        // One that went between the two calls makes the status 1; the others are there all the same.
        let is_partial = captured.ended == Ended::Exit(1) && captured.err.contains("No such container") && !captured.out.trim().is_empty();
        if captured.ended != Ended::Exit(0) && !is_partial {
            return Err(EngineError::ended(&what, &inspect.program, &captured.ended, &captured.err));
        }
        let lines = captured.out.lines().filter(|line| !line.trim().is_empty());
        let mut containers = lines.map(|line| Ok(self.container(&json(line)?))).collect::<Result<Vec<_>, EngineError>>()?;
        containers.sort_by(|one, other| (&one.service, &one.name).cmp(&(&other.service, &other.name)));
        Ok(containers)
    }

    fn container(&self, value: &Value) -> Container {
        let label = |name: &str| text(value, &["Config", "Labels", name]);
        let number = |path: &[&str]| at(value, path).and_then(Value::as_i64).unwrap_or_default();
        let last = items(value, &["State", "Health", "Log"]).last().map_or("", |entry| text(entry, &["Output"]));
        Container {
            id: text(value, &["Id"]).to_owned(),
            name: text(value, &["Name"]).trim_start_matches('/').to_owned(),
            service: label("com.docker.compose.service").to_owned(),
            image_id: text(value, &["Image"]).to_owned(),
            image: text(value, &["Config", "Image"]).to_owned(),
            state: ContainerState::of(text(value, &["State", "Status"])),
            exit_code: number(&["State", "ExitCode"]),
            oom_killed: at(value, &["State", "OOMKilled"]).and_then(Value::as_bool).unwrap_or_default(),
            restarts: number(&["RestartCount"]).unsigned_abs(),
            created_at: text(value, &["Created"]).to_owned(),
            started_at: text(value, &["State", "StartedAt"]).to_owned(),
            health: Health::of(text(value, &["State", "Health", "Status"])),
            health_output: self.mask.hide(last.trim()),
            error: self.mask.hide(text(value, &["State", "Error"])),
            is_one_off: label("com.docker.compose.oneoff") == "True",
            is_replacement: !label("com.docker.compose.replace").is_empty(),
        }
    }

    /// The last `lines` lines that the container `id` wrote, both streams, masked.
    ///
    /// # Errors
    /// When Docker does not answer or has no such container.
    pub async fn tail(&self, id: &str, lines: u32, cancel: &Cancel) -> Result<Vec<String>, EngineError> {
        let command = self.docker_command(["logs", "--tail", &lines.to_string(), id], QUESTION);
        let mut last = Vec::new();
        self.carry_out(&command, &format!("reading the log of {id}"), cancel, |_, line| last.push(line)).await?;
        Ok(last)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::engine::container::Container;
    use crate::engine::container::ContainerState;
    use crate::engine::container::Health;

    /// A container for tests of values: no program is run.
    pub(in crate::engine) fn container(service: &str, state: &str, exit_code: i64) -> Container {
        let text = String::new;
        Container {
            id: text(),
            name: format!("site-{service}-1"),
            service: service.to_owned(),
            image_id: text(),
            image: text(),
            state: ContainerState::of(state),
            exit_code,
            oom_killed: false,
            restarts: 0,
            created_at: text(),
            started_at: text(),
            health: Health::Unchecked,
            health_output: text(),
            error: text(),
            is_one_off: false,
            is_replacement: false,
        }
    }
}
