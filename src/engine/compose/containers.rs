//! The containers of a stack.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use process::Ended;
use process::capture;
use serde_json::Value;

use crate::engine::compose::events::attend;
use crate::engine::compose::fields::at;
use crate::engine::compose::fields::items;
use crate::engine::compose::fields::json;
use crate::engine::compose::fields::text;
use crate::engine::compose::memory::Look;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::container::Container;
use crate::engine::container::ContainerState;
use crate::engine::container::Health;
use crate::engine::error::EngineError;

/// The label by which compose marks what belongs to a project.
const PROJECT: &str = "com.docker.compose.project";
/// This many containers are inspected by one program, so that neither its arguments nor its answer grow without end.
const MOST_AT_ONCE: usize = 200;
/// How long a caller waits for the result of another caller who asked just before.
const BEHIND: Duration = Duration::from_secs(2);
/// How often a waiting caller looks when no events arrive.
const UNHEARD: Duration = Duration::from_millis(200);

/// The state of a stack, as it was last seen.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Its containers, running or not, by service and name.
    pub containers: Arc<Vec<Container>>,
    /// How long ago they were inspected; zero: just now, for this call.
    pub age: Duration,
}

impl Observed {
    /// A state that was inspected just now.
    #[must_use]
    pub fn now(containers: Vec<Container>) -> Self {
        Self { containers: Arc::new(containers), age: Duration::ZERO }
    }
}

impl Compose {
    /// How the stack stands, seen at most `at_most` ago. Docker is asked only where that is not known: nothing listens to its events,
    /// one of them told of the stack, or the last look is too old. What decides an outcome is asked by [`Compose::containers`].
    ///
    /// # Errors
    /// When Docker does not answer.
    pub async fn observed(&self, at_most: Duration, cancel: &Cancel) -> Result<Observed, EngineError> {
        let project = self.stack.project.as_str();
        // A deployment listens for itself.
        let with_others = self.patience.is_none() && self.daemon.memory().ask(project, Instant::now());
        attend(&self.daemon);
        let recall = || self.daemon.memory().recall(project, at_most, Instant::now()).map(|(containers, age)| Observed { containers, age });
        if let Some(known) = recall() {
            return Ok(known);
        }
        if with_others {
            // A daemon that hangs delays only the caller who asks it.
            let _alone = tokio::time::timeout(BEHIND, self.daemon.looking().lock()).await;
            if let Some(known) = recall() {
                return Ok(known);
            }
            self.look_at_all(cancel).await?;
            if let Some(known) = recall() {
                return Ok(known);
            }
        }
        Ok(Observed::now(self.containers(cancel).await?))
    }

    /// Waits until something happens to the stack behind `since`, at most `at_most`. Where nothing listens to Docker's events it
    /// ends after a moment, so that anybody who waits looks again and again.
    pub async fn changed(&self, since: Instant, at_most: Duration) {
        let mut news = self.daemon.news().subscribe();
        let at_most = if self.daemon.memory().is_listening() { at_most } else { at_most.min(UNHEARD) };
        let heard = async { while !self.daemon.memory().has_heard(&self.stack.project, since) && news.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(at_most, heard).await;
    }

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
        let project = self.stack.project.as_str();
        self.daemon.memory().begin(project);
        let looked = Instant::now();
        let found = self.list_by(&format!("label={PROJECT}={project}"), project, cancel).await?;
        let mut containers: Vec<Container> = found.into_iter().map(|(_, container)| container).collect();
        containers.sort_by(|one, other| (&one.service, &one.name).cmp(&(&other.service, &other.name)));
        self.daemon.memory().keep(project, &containers, Look::since(looked));
        Ok(containers)
    }

    /// Inspects all projects of the host, and keeps the result for the next callers.
    async fn look_at_all(&self, cancel: &Cancel) -> Result<(), EngineError> {
        let looked = Instant::now();
        let mut all: HashMap<String, Vec<Container>> = HashMap::new();
        for (project, container) in self.list_by(&format!("label={PROJECT}"), "this host", cancel).await? {
            all.entry(project).or_default().push(container);
        }
        for containers in all.values_mut() {
            containers.sort_by(|one, other| (&one.service, &one.name).cmp(&(&other.service, &other.name)));
        }
        self.daemon.memory().keep_all(all, Look::since(looked));
        Ok(())
    }

    /// The containers that `filter` means, each with its project. `whose` says it for people.
    async fn list_by(&self, filter: &str, whose: &str, cancel: &Cancel) -> Result<Vec<(String, Container)>, EngineError> {
        let what = format!("listing the containers of {whose}");
        let list = self.docker_command(["ps", "-aq", "--no-trunc", "--filter", filter], QUESTION);
        let ids = self.ask(&list, &what, cancel).await?;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        let mut found = Vec::new();
        for ids in ids.chunks(MOST_AT_ONCE) {
            let inspect = self.docker_command(
                ["inspect", "--type", "container", "--format", "{{json .}}"].into_iter().chain(ids.iter().copied()),
                QUESTION,
            );
            let captured = capture(&inspect, cancel).await;
            // One that went between the two calls makes the status 1; the others are there nevertheless.
            let is_partial =
                captured.ended == Ended::Exit(1) && captured.err.contains("No such container") && !captured.out.trim().is_empty();
            if captured.ended != Ended::Exit(0) && !is_partial {
                return Err(EngineError::ended(&what, &inspect.program, &captured.ended, &captured.err));
            }
            for line in captured.out.lines().filter(|line| !line.trim().is_empty()) {
                let value = json(line)?;
                found.push((text(&value, &["Config", "Labels", PROJECT]).to_owned(), self.container(&value)));
            }
        }
        Ok(found)
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
            health_output: self.daemon.mask().hide(last.trim()),
            error: self.daemon.mask().hide(text(value, &["State", "Error"])),
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
