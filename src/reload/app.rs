//! The app: it hears of new data, and programs look at it before readers do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::config::OnChange;
use crate::config::SecretSource;
use crate::config::SignalTo;
use crate::dataset::Snapshot;
use crate::model;
use crate::process;
use crate::process::Cancel;
use crate::process::Captured;
use crate::process::Command;
use crate::reload::runner::Runner;

/// The first wait between two tries of a call; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// So much of an answer is shown.
const SHOWN: usize = 300;
/// So much of an answer is read.
pub(super) const MOST_BYTES: usize = 64 << 10;

/// Runs the configured check over `staged`, in its folder.
///
/// # Errors
/// One sentence: what the check said.
pub(super) async fn check(runner: &Runner, staged: &Snapshot, cancel: &Cancel) -> Result<(), String> {
    let Some(check) = &runner.plan.check else { return Ok(()) };
    let done = run(runner, staged, &check.argv, check.deadline, cancel).await;
    done.map_err(|why| format!("The check of {} says no: {why}.", staged.commit))
}

/// Tells the app that the data is now `snapshot`. When this returns, a call was answered well, a signal was sent, or a program
/// ended well.
///
/// # Errors
/// One sentence: what stood in the way.
pub(super) async fn tell(runner: &Runner, snapshot: &Snapshot, cancel: &Cancel) -> Result<(), String> {
    match &runner.plan.on_change {
        None => Ok(()),
        Some(OnChange::Http { url, credential, deadline, retries }) => {
            let call = Call { runner, url, credential: credential.as_ref(), deadline: *deadline };
            call.until_through(snapshot, *retries, cancel).await
        }
        Some(OnChange::Signal { to: SignalTo::PidFile(file), signal }) => {
            let text = tokio::fs::read_to_string(file).await.map_err(|error| format!("{} cannot be read: {error}.", file.display()))?;
            let pid = text.trim().parse().map_err(|_| format!("{} holds no process id.", file.display()))?;
            process::send_signal(pid, signal).map_err(|error| format!("SIG{signal} could not be sent to process {pid}: {error}."))
        }
        Some(OnChange::Signal { to: SignalTo::Container(name), signal }) => {
            let argv = [runner.docker.program.as_str(), "kill", "--signal", signal, "--", name].map(str::to_owned);
            let done = run(runner, snapshot, &argv, Duration::from_secs(30), cancel).await;
            done.map_err(|why| format!("SIG{signal} could not be sent to the container {name}: {why}."))
        }
        Some(OnChange::Command { argv, deadline }) => {
            let done = run(runner, snapshot, argv, *deadline, cancel).await;
            done.map_err(|why| format!("The program on_change.argv failed: {why}."))
        }
    }
}

/// Runs a program in the folder of `snapshot`, which it finds in its environment too.
async fn run(runner: &Runner, snapshot: &Snapshot, argv: &[String], deadline: Duration, cancel: &Cancel) -> Result<(), String> {
    let docker = &runner.docker;
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), docker.path.clone()),
        ("HOME".to_owned(), docker.home.clone()),
        ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
        ("TAGALONG_DATASET".to_owned(), runner.name().to_string()),
        ("TAGALONG_COMMIT".to_owned(), snapshot.commit.to_string()),
        ("TAGALONG_DIR".to_owned(), snapshot.path.display().to_string()),
    ]);
    env.extend(docker.host.iter().map(|host| ("DOCKER_HOST".to_owned(), host.clone())));
    env.extend(docker.config_dir.iter().map(|dir| ("DOCKER_CONFIG".to_owned(), dir.display().to_string())));
    let command = Command {
        program: argv.first().cloned().unwrap_or_default(),
        args: argv.iter().skip(1).cloned().collect(),
        env,
        dir: Some(snapshot.path.clone()),
        deadline,
        mask: Arc::clone(&runner.plan.data.mask),
        lock: None,
    };
    let captured: Captured = process::capture(&command, cancel).await;
    captured.success().map(|_| ()).map_err(|why| shown(runner, why.trim_end_matches('.')))
}

/// A call of the app.
struct Call<'a> {
    runner: &'a Runner,
    url: &'a url::Url,
    credential: Option<&'a SecretSource>,
    deadline: Duration,
}

/// Why a call did not hold, and whether another try may.
struct Failed {
    why: String,
    again: bool,
}

impl Call<'_> {
    async fn until_through(&self, snapshot: &Snapshot, retries: u32, cancel: &Cancel) -> Result<(), String> {
        let mut pause = FIRST_PAUSE;
        for left in (0..=retries).rev() {
            let failed = tokio::select! {
                done = self.once(snapshot) => match done {
                    Ok(()) => return Ok(()),
                    Err(failed) => failed,
                },
                () = cancel.cancelled() => return Err("tagalong is being stopped.".to_owned()),
            };
            if left == 0 || !failed.again {
                return Err(failed.why);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }

    async fn once(&self, snapshot: &Snapshot) -> Result<(), Failed> {
        let body = json!({ "dataset": self.runner.name(), "commit": snapshot.commit, "dir": snapshot.path });
        let mut request = self.runner.common.http.post(self.url.clone()).timeout(self.deadline).json(&body);
        if let Some(source) = self.credential {
            let secret = source.read().map_err(|why| Failed { why, again: false })?;
            request = request.bearer_auth(secret.reveal());
        }
        let answer = request.send().await.map_err(|error| {
            // One that did not answer in time may be at work; calling it again would only add to that.
            Failed { why: unanswered(self.url, &error, self.deadline), again: error.is_connect() }
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = text_of(answer).await.unwrap_or_default();
        let said = if text.trim().is_empty() { String::new() } else { format!(": {}", shown(self.runner, &text)) };
        Err(Failed {
            why: format!("The app answers {} at {}{said}.", status.as_u16(), self.url),
            again: matches!(status.as_u16(), 502..=504),
        })
    }
}

/// Why there was no answer, as one sentence.
pub(super) fn unanswered(url: &url::Url, error: &reqwest::Error, deadline: Duration) -> String {
    if error.is_timeout() {
        return format!("{url} did not answer within {} s.", deadline.as_secs_f64());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    format!("{url} cannot be reached: {cause}.")
}

/// The beginning of an answer's body.
pub(super) async fn text_of(mut answer: reqwest::Response) -> reqwest::Result<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk[..chunk.len().min(MOST_BYTES - bytes.len())]);
        if bytes.len() == MOST_BYTES {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A text from outside as a part of a sentence: one line, short, without secrets.
pub(super) fn shown(runner: &Runner, text: &str) -> String {
    let hidden = runner.plan.data.mask.hide(text.trim());
    let short: String = hidden.chars().take(SHOWN).collect();
    let dots = if short.len() < hidden.len() { "…" } else { "" };
    format!("{}{dots}", model::shown(&short))
}
