//! The story of one reload.

use std::time::Duration;

use process::Cancel;
use tokio::time::Instant;

use crate::config::Publish;
use crate::config::Reload;
use crate::dataset::Dataset;
use crate::dataset::DatasetError;
use crate::dataset::Snapshot;
use crate::dataset::links_sentence;
use crate::model::Commit;
use crate::reload::app::App;
use crate::reload::ran::Load;
use crate::reload::ran::Ran;
use crate::reload::watched::Watched;
use crate::telemetry::Metrics;

/// Everything that one reload needs.
pub(super) struct Story<'a> {
    /// The request.
    pub(super) plan: &'a Reload,
    /// The checkout.
    pub(super) dataset: &'a Dataset,
    /// The app that reads it.
    pub(super) app: &'a App,
    /// The known state of both.
    pub(super) watched: &'a Watched,
    /// The metrics.
    pub(super) metrics: &'a Metrics,
    /// Cancels it.
    pub(super) cancel: &'a Cancel,
}

impl Story<'_> {
    /// One reload: reconcile · stage · check · flip · tell the app · verify · swap back if it fails · record.
    pub(super) async fn run(&self) -> Ran {
        let mut ran = self.reconcile().await;
        if let Some(commit) = self.to_load(&ran).await {
            ran.load = match self.load(&commit).await {
                Ok(told) => {
                    ran.note = told_both(ran.note.take(), told);
                    Load::Loaded
                }
                Err(why) => Load::Failed(why),
            };
        }
        ran
    }

    /// Brings checkout and remote together. The folder is made ready first, if that has not been done yet.
    async fn reconcile(&self) -> Ran {
        let done = self.timed("reconcile", self.reconciled()).await;
        match done {
            Ok(ran) => ran,
            // The folder is as healthy as before: the next pass repairs what it must, and leaves the edits of a running app
            // alone.
            Err(error) => {
                let note = Some(error.to_string());
                Ran { reconciled: None, note, from: None, to: None, parked: None, pushed: 0, is_behind: false, load: Load::Nothing }
            }
        }
    }

    async fn reconciled(&self) -> Result<Ran, DatasetError> {
        let dataset = self.dataset;
        let name = &self.plan.data.name;
        if !self.watched.is_ready() {
            // Edits are parked only once, when the process begins; afterwards the app may be working.
            let ready = if self.watched.begins() { dataset.ready(self.cancel).await? } else { dataset.ready_beside(self.cancel).await? };
            for healed in &ready.healed {
                tracing::warn!(dataset = %name, "{healed}");
            }
            for aside in &ready.aside {
                tracing::error!(dataset = %name, folder = %aside.display(), "a damaged folder was moved aside; check its contents");
            }
            self.watched.set_loaded(dataset.loaded().await?);
            self.watched.set_ready();
        }
        let done = dataset.reconcile(self.cancel).await?;
        Ok(Ran {
            reconciled: Some(done.outcome),
            note: done.why,
            from: done.from,
            to: done.to,
            parked: done.parked,
            pushed: done.pushed,
            is_behind: done.is_behind,
            load: Load::Nothing,
        })
    }

    /// The commit that readers should have and do not have.
    async fn to_load(&self, ran: &Ran) -> Option<Commit> {
        let head = ran.to.clone()?;
        let loaded = self.watched.loaded();
        if loaded.as_ref() == Some(&head) {
            return None;
        }
        // An app that reads the checkout itself knows its own commits. Only a reload brings in others, and the first one of a
        // process cannot know what the last process left unloaded.
        let own_only = self.plan.data.publish == Publish::InPlace && ran.from == ran.to && self.watched.is_known_loaded();
        if own_only && loaded.is_some() {
            if let Err(error) = self.record(&head).await {
                tracing::warn!(dataset = %self.plan.data.name, %error, "the loaded commit could not be recorded");
            }
            return None;
        }
        Some(head)
    }

    /// Brings `commit` to the readers, or leaves them what they have. Returns what a person should know about it.
    async fn load(&self, commit: &Commit) -> Result<Option<String>, String> {
        let staged = self.timed("stage", self.dataset.stage(commit, self.cancel)).await.map_err(error_text)?;
        self.timed("check", self.app.check(&staged, self.cancel)).await?;
        let before = self.dataset.current().await;
        self.timed("flip", self.dataset.flip(&staged)).await.map_err(error_text)?;
        if let Err(why) = self.show(&staged).await {
            return Err(self.swap_back(before.as_ref(), &staged, why).await);
        }
        self.record(commit).await.map_err(error_text)?;
        Ok(links_sentence(&self.dataset.links_out(&staged)))
    }

    /// Tells the app about `staged`, and asks whether it serves it.
    async fn show(&self, staged: &Snapshot) -> Result<(), String> {
        self.timed("tell", self.app.tell(staged, self.cancel)).await?;
        self.timed("verify", self.app.serves(&staged.commit, self.cancel)).await
    }

    /// Gives readers back what they had, and tells the app about that too, because it may have loaded half of the new data.
    async fn swap_back(&self, before: Option<&Snapshot>, staged: &Snapshot, why: String) -> String {
        let Some(before) = before.filter(|before| *before != staged && before.path != staged.path) else {
            return why;
        };
        if let Err(error) = self.dataset.flip(before).await {
            return format!("{why} The previous data could not be restored: {error}");
        }
        match self.app.tell(before, self.cancel).await {
            Ok(()) => format!("{why} Readers see {} again.", before.commit),
            Err(error) => format!("{why} Readers see {} again, but the app could not be told: {error}", before.commit),
        }
    }

    /// From now on `commit` counts as loaded.
    async fn record(&self, commit: &Commit) -> Result<(), DatasetError> {
        self.dataset.set_loaded(commit).await?;
        self.watched.set_loaded(Some(commit.clone()));
        Ok(())
    }

    async fn timed<T>(&self, phase: &str, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = work.await;
        let took: Duration = began.elapsed();
        self.metrics.phase(&self.plan.data.name, phase, took);
        tracing::debug!(dataset = %self.plan.data.name, phase, took_ms = took.as_millis() as u64, "phase of a reload");
        done
    }
}

/// Both sentences, if there are two.
fn told_both(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first} {second}")),
        (first, second) => first.or(second),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it stands where a function over an error is wanted")]
fn error_text(error: DatasetError) -> String {
    error.to_string()
}
