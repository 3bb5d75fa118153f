//! Follows a deployment to its end, even if the connection breaks.

use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use futures_util::StreamExt as _;

use crate::api;
use crate::cli::client::Client;
use crate::cli::client::Refusal;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::output::duration;
use crate::model::DeploymentId;
use crate::model::Line;
use crate::model::LineKind;
use crate::model::Outcome;
use crate::model::Stage;

/// How long a server may be unavailable (during its restart, say) before the command stops following, whatever it has shown by then.
const PATIENCE: Duration = Duration::from_mins(3);

/// The exit code of a command that a person interrupted: 128 and the signal's number, as shells have it.
const INTERRUPTED: u8 = 130;

/// Shows the journal of `id` from its first line and returns the exit code of its outcome. A person's Ctrl-C ends the following
/// and nothing else, and is told so.
pub(crate) async fn follow(client: &Client, output: &Output, id: &DeploymentId) -> anyhow::Result<u8> {
    tokio::select! {
        code = to_the_end(client, output, id) => code,
        _ = tokio::signal::ctrl_c() => {
            output.redraw("");
            output.notice(&format!("{id} continues without this terminal. Follow it: tagalong logs {id} -f. Stop it: tagalong cancel {id}."));
            Ok(INTERRUPTED)
        }
    }
}

async fn to_the_end(client: &Client, output: &Output, id: &DeploymentId) -> anyhow::Result<u8> {
    let path = format!("/api/v1/deployments/{id}/log");
    // The server has just answered: it knows the deployment.
    let mut view = View { output, after: 0, step: None, began: Instant::now(), answered: Instant::now() };
    loop {
        match one_stream(client, &path, &mut view).await {
            Ok(Some((outcome, summary))) => {
                view.end(&outcome, &summary, id);
                return Ok(outcome.exit_code());
            }
            Err(Broken::Away(error)) if view.answered.elapsed() > PATIENCE => return Err(error),
            Err(Broken::ForGood(error)) => return Err(error),
            Ok(None) | Err(Broken::Away(_)) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

/// Why a journal was not read to its end.
enum Broken {
    /// The server, or what lies on the way to it, is away.
    Away(anyhow::Error),
    /// Another try would end the same.
    ForGood(anyhow::Error),
}

impl Broken {
    fn of(error: anyhow::Error) -> Self {
        if error.downcast_ref::<Refusal>().is_some_and(Refusal::is_final) { Self::ForGood(error) } else { Self::Away(error) }
    }
}

impl From<Broken> for anyhow::Error {
    fn from(broken: Broken) -> Self {
        let (Broken::Away(error) | Broken::ForGood(error)) = broken;
        error
    }
}

/// Reads one connection to its end; the outcome when it came.
async fn one_stream(client: &Client, path: &str, view: &mut View<'_>) -> Result<Option<(Outcome, String)>, Broken> {
    let answer = client.events(path, view.after).await.map_err(Broken::of)?;
    let mut chunks = answer.bytes_stream();
    let mut pending = Vec::<u8>::new();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            _ = tick.tick() => {
                view.tick();
                continue;
            }
        };
        // Also where it breaks: until now the server was there.
        view.answered = Instant::now();
        let Some(chunk) = chunk else { return Ok(None) };
        pending.extend_from_slice(&chunk.context("The connection broke").map_err(Broken::Away)?);
        while let Some(end) = pending.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = pending.drain(..end + 2).collect();
            if let Some(ended) = view.event(&String::from_utf8_lossy(&event)).map_err(Broken::ForGood)? {
                return Ok(Some(ended));
            }
        }
    }
}

struct View<'a> {
    output: &'a Output,
    /// The position of the last line that was shown.
    after: i64,
    step: Option<Stage>,
    began: Instant,
    /// When the server was last there.
    answered: Instant,
}

impl View<'_> {
    fn event(&mut self, event: &str) -> anyhow::Result<Option<(Outcome, String)>> {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let Some(data) = field("data:") else { return Ok(None) };
        if field("event:") == Some("outcome") {
            let value: serde_json::Value = serde_json::from_str(data).context("The outcome could not be parsed")?;
            let summary = value["summary"].as_str().unwrap_or_default().to_owned();
            if self.output.is_json() {
                self.output.json_line(&value);
            }
            return Ok(Some((serde_json::from_value(value).context("The outcome could not be parsed")?, summary)));
        }
        let line: Line = serde_json::from_str(data).context("A line of the journal could not be parsed")?;
        self.after = line.position;
        if self.output.is_json() {
            self.output.json_line(&line);
            return Ok(None);
        }
        if line.kind == LineKind::Outcome {
            // The command's last line says it.
            return Ok(None);
        }
        self.output.redraw("");
        if line.kind == LineKind::Step {
            self.step = Some(line.step);
            self.began = Instant::now();
        }
        self.output.line(&line);
        Ok(None)
    }

    /// Redraws the current step and how long it has taken so far.
    fn tick(&self) {
        if let Some(step) = self.step {
            let text = format!("{step} … {}", duration(self.began.elapsed().as_millis() as i64));
            self.output.redraw(&self.output.paint(Tone::Faint, &text));
        }
    }

    fn end(&self, outcome: &Outcome, summary: &str, id: &DeploymentId) {
        if self.output.is_json() {
            return;
        }
        self.output.redraw("");
        let tone = if outcome.is_success() { Tone::Good } else { Tone::Bad };
        self.output.say(&self.output.paint(tone, &format!("{id} {summary}")));
    }
}

/// Says that an order was taken, and follows it when `wait` is set.
pub(crate) async fn accepted(client: &Client, output: &Output, accepted: &api::Accepted, wait: bool) -> anyhow::Result<u8> {
    if wait {
        if output.is_json() {
            output.json_line(accepted);
        } else {
            output.say(&format!("{} is accepted", accepted.id));
            if let Some(old) = &accepted.superseded {
                output.say(&format!("{old} waited and is superseded"));
            }
        }
        return follow(client, output, &accepted.id).await;
    }
    if output.is_json() {
        output.json(accepted);
    } else {
        output.say(&format!("{} is accepted; follow it with: tagalong logs {} -f", accepted.id, accepted.id));
    }
    Ok(0)
}

/// Shows what the journal of `id` holds by now.
pub(crate) async fn so_far(client: &Client, output: &Output, id: &DeploymentId) -> anyhow::Result<()> {
    let mut view = View { output, after: 0, step: None, began: Instant::now(), answered: Instant::now() };
    one_stream(client, &format!("/api/v1/deployments/{id}/log?follow=false"), &mut view).await?;
    output.redraw("");
    Ok(())
}
