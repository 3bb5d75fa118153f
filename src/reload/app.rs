//! The app: it is told about new data, and programs check the data before readers see it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use process::Cancel;
use process::Captured;
use process::Command;
use serde_json::json;

use crate::clock::Backoff;
use crate::config::Docker;
use crate::config::OnChange;
use crate::config::Reload;
use crate::config::SecretSource;
use crate::config::SignalTo;
use crate::dataset::Dataset;
use crate::dataset::Snapshot;
use crate::reload::call;

/// The pauses between two attempts of a call.
const AGAIN: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_mins(1));

/// The app that uses a dataset: how it is told about new data, and how it is asked what it serves.
#[derive(Debug)]
pub(super) struct App {
    pub(super) plan: Arc<Reload>,
    pub(super) docker: Docker,
    pub(super) dataset: Dataset,
    pub(super) http: reqwest::Client,
}

impl App {
    /// Runs the configured check over `staged`, in its folder.
    ///
    /// # Errors
    /// One sentence: the output of the check.
    pub(super) async fn check(&self, staged: &Snapshot, cancel: &Cancel) -> Result<(), String> {
        let Some(check) = &self.plan.check else { return Ok(()) };
        let done = self.run(staged, &check.argv, check.deadline, cancel).await;
        done.map_err(|why| format!("The check of {} failed: {why}.", staged.commit))
    }

    /// Tells the app that the data is now `snapshot`. When this returns, a call was answered with success, a signal was sent,
    /// or a program ended with success.
    ///
    /// # Errors
    /// One sentence: what went wrong.
    pub(super) async fn tell(&self, snapshot: &Snapshot, cancel: &Cancel) -> Result<(), String> {
        match &self.plan.on_change {
            None => Ok(()),
            Some(OnChange::Http { url, credential, deadline, retries }) => {
                let call = Call { app: self, url, credential: credential.as_ref(), deadline: *deadline };
                call.until_through(snapshot, *retries, cancel).await
            }
            Some(OnChange::Signal { to: SignalTo::PidFile(file), signal }) => {
                let text = tokio::fs::read_to_string(file).await.map_err(|error| format!("{} cannot be read: {error}.", file.display()))?;
                let pid = text.trim().parse().map_err(|_| format!("{} does not contain a process id.", file.display()))?;
                process::send_signal(pid, signal).map_err(|error| format!("SIG{signal} could not be sent to process {pid}: {error}."))
            }
            Some(OnChange::Signal { to: SignalTo::Container(name), signal }) => {
                let argv = [self.docker.program.as_str(), "kill", "--signal", signal, "--", name].map(str::to_owned);
                let done = self.run(snapshot, &argv, Duration::from_secs(30), cancel).await;
                done.map_err(|why| format!("SIG{signal} could not be sent to the container {name}: {why}."))
            }
            Some(OnChange::Command { argv, deadline }) => {
                let done = self.run(snapshot, argv, *deadline, cancel).await;
                done.map_err(|why| format!("The program on_change.argv failed: {why}."))
            }
        }
    }

    /// Runs a program in the folder of `snapshot`, which is also in its environment.
    async fn run(&self, snapshot: &Snapshot, argv: &[String], deadline: Duration, cancel: &Cancel) -> Result<(), String> {
        let docker = &self.docker;
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), docker.path.clone()),
            ("HOME".to_owned(), docker.home.clone()),
            ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
            ("TAGALONG_DATASET".to_owned(), self.plan.data.name.to_string()),
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
            mask: Arc::clone(&self.plan.data.mask),
            lock: None,
        };
        let captured: Captured = process::capture(&command, cancel).await;
        captured.success().map(|_| ()).map_err(|why| call::masked_excerpt(&self.plan.data.mask, why.trim_end_matches('.')))
    }
}

/// One call of the app.
struct Call<'a> {
    app: &'a App,
    url: &'a url::Url,
    credential: Option<&'a SecretSource>,
    deadline: Duration,
}

/// Why a call failed, and whether another attempt is allowed.
struct Failed {
    why: String,
    again: bool,
}

impl Call<'_> {
    async fn until_through(&self, snapshot: &Snapshot, retries: u32, cancel: &Cancel) -> Result<(), String> {
        let mut again = AGAIN;
        let tries = async {
            for left in (0..=retries).rev() {
                match self.once(snapshot).await {
                    Ok(()) => break,
                    Err(failed) if left == 0 || !failed.again => return Err(failed.why),
                    Err(_) => tokio::time::sleep(again.fail()).await,
                }
            }
            Ok(())
        };
        tokio::select! {
            done = tries => done,
            () = cancel.cancelled() => Err("tagalong is shutting down.".to_owned()),
        }
    }

    async fn once(&self, snapshot: &Snapshot) -> Result<(), Failed> {
        let body = json!({ "dataset": self.app.plan.data.name, "commit": snapshot.commit, "dir": snapshot.path });
        let request = self.app.http.post(self.url.clone()).timeout(self.deadline).json(&body);
        let token = self.credential.map(SecretSource::read_both).transpose().map_err(|why| Failed { why, again: false })?;
        let answer = call::send_with(request, token.as_ref()).await.map_err(|error| {
            // An app that did not answer in time may be working; another call would only add to its work.
            Failed { why: call::unanswered(self.url, &error, self.deadline), again: error.is_connect() }
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = call::text_of(answer).await.unwrap_or_default();
        let said =
            if text.trim().is_empty() { String::new() } else { format!(": {}", call::masked_excerpt(&self.app.plan.data.mask, &text)) };
        Err(Failed {
            why: format!(
                "The app answered {} at {}{}{}.",
                status.as_u16(),
                self.url,
                said.trim_end_matches('.'),
                call::sent(status.as_u16(), "on_change.token", self.credential)
            ),
            again: matches!(status.as_u16(), 502..=504),
        })
    }
}
