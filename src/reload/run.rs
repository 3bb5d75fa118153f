//! The story of one reload.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Publish;
use crate::dataset::DatasetError;
use crate::dataset::Snapshot;
use crate::dataset::told_links;
use crate::model::Commit;
use crate::model::Reconcile;
use crate::process::Cancel;
use crate::reload::app;
use crate::reload::runner::Runner;
use crate::reload::verify;

/// What one reload came to.
#[derive(Debug, Clone)]
pub struct Ran {
    /// How checkout and remote were brought together; none: nothing could be done with the dataset.
    pub reconciled: Option<Reconcile>,
    /// Why, where a person should know.
    pub note: Option<String>,
    /// The checkout before.
    pub from: Option<Commit>,
    /// The checkout now.
    pub to: Option<Commit>,
    /// The branch of the remote where work is parked that did not fit.
    pub parked: Option<String>,
    /// How many own commits the remote took.
    pub pushed: u64,
    /// Whether the checkout lacks what the remote has, since own work must be pushed first and was not.
    pub is_behind: bool,
    /// What readers have of it.
    pub load: Load,
}

/// What readers have of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Load {
    /// There was nothing to load.
    Nothing,
    /// The app serves the new commit.
    Loaded,
    /// It does not: the old data is served on, and the next reload tries again.
    Failed(String),
}

impl Ran {
    /// The outcome's text form.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        self.reconciled.map_or(Reconcile::UNUSABLE, Reconcile::as_str)
    }

    /// Whether what is served is as new as it can be had.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let is_fresh = !matches!(self.reconciled, None | Some(Reconcile::FetchFailed | Reconcile::RemoteBranchMissing));
        is_fresh && !self.is_behind && !matches!(self.load, Load::Failed(_))
    }

    /// Why, where a person should know: what stands in the way of the app comes first.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        match &self.load {
            Load::Failed(why) => Some(why.clone()),
            Load::Nothing | Load::Loaded => self.note.clone(),
        }
    }
}

/// One reload, told: reconcile · stage · check · flip · tell the app · verify · swap back when it does not hold · record.
pub(super) async fn run(runner: &Runner, cancel: &Cancel) -> Ran {
    let story = Story { runner, cancel };
    let mut ran = story.reconcile().await;
    if let Some(commit) = story.to_load(&ran).await {
        ran.load = match story.load(&commit).await {
            Ok(told) => {
                ran.note = told_both(ran.note.take(), told);
                Load::Loaded
            }
            Err(why) => Load::Failed(why),
        };
    }
    ran
}

struct Story<'a> {
    runner: &'a Runner,
    cancel: &'a Cancel,
}

impl Story<'_> {
    /// Brings checkout and remote together. The folder is made ready first where that has not been done yet.
    async fn reconcile(&self) -> Ran {
        let done = self.timed("reconcile", self.reconciled()).await;
        match done {
            Ok(ran) => ran,
            // The folder is as healthy as before: the next pass heals what it must, and leaves a live app's edits alone.
            Err(error) => {
                let note = Some(error.to_string());
                Ran { reconciled: None, note, from: None, to: None, parked: None, pushed: 0, is_behind: false, load: Load::Nothing }
            }
        }
    }

    async fn reconciled(&self) -> Result<Ran, DatasetError> {
        let dataset = &self.runner.dataset;
        if !self.runner.is_ready() {
            // Edits are parked once, when the process begins; from then on the app may be at work.
            let ready = if self.runner.begins() { dataset.ready(self.cancel).await? } else { dataset.ready_beside(self.cancel).await? };
            for healed in &ready.healed {
                tracing::warn!(dataset = %self.runner.name(), "{healed}");
            }
            for aside in &ready.aside {
                tracing::error!(dataset = %self.runner.name(), folder = %aside.display(), "a damaged folder was set aside; look into it");
            }
            self.runner.set_loaded(dataset.loaded().await?);
            self.runner.set_ready();
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

    /// The commit that readers should have and do not.
    async fn to_load(&self, ran: &Ran) -> Option<Commit> {
        let (head, loaded) = (ran.to.clone()?, self.runner.loaded());
        if loaded.as_ref() == Some(&head) {
            return None;
        }
        // Where the app reads the checkout itself, what it has committed there it knows. Only a reload brings in what is not
        // its own, and the first one of a process cannot know what the last process left unloaded.
        let own_only = self.runner.plan.data.publish == Publish::InPlace && ran.from == ran.to && self.runner.is_known_loaded();
        if own_only && loaded.is_some() {
            if let Err(error) = self.record(&head).await {
                tracing::warn!(dataset = %self.runner.name(), %error, "the loaded commit could not be recorded");
            }
            return None;
        }
        Some(head)
    }

    /// Brings `commit` to the readers, or leaves them what they have. Gives what a person should know of it.
    async fn load(&self, commit: &Commit) -> Result<Option<String>, String> {
        let staged = self.timed("stage", self.runner.dataset.stage(commit, self.cancel)).await.map_err(said)?;
        self.timed("check", app::check(self.runner, &staged, self.cancel)).await?;
        let before = self.runner.dataset.current().await;
        self.timed("flip", self.runner.dataset.flip(&staged)).await.map_err(said)?;
        if let Err(why) = self.show(&staged).await {
            return Err(self.swap_back(before.as_ref(), &staged, why).await);
        }
        self.record(commit).await.map_err(said)?;
        Ok(told_links(&self.runner.dataset.links_out(&staged)))
    }

    /// The app hears of `staged` and is asked whether it serves it.
    async fn show(&self, staged: &Snapshot) -> Result<(), String> {
        self.timed("tell", app::tell(self.runner, staged, self.cancel)).await?;
        self.timed("verify", verify::serves(self.runner, &staged.commit, self.cancel)).await
    }

    /// Readers get back what they had, and the app hears of that too: it may have loaded half of the new.
    async fn swap_back(&self, before: Option<&Snapshot>, staged: &Snapshot, why: String) -> String {
        let Some(before) = before.filter(|before| *before != staged && before.path != staged.path) else {
            return why;
        };
        if let Err(error) = self.runner.dataset.flip(before).await {
            return format!("{why} The old data could not be put back: {error}");
        }
        match app::tell(self.runner, before, self.cancel).await {
            Ok(()) => format!("{why} Readers have {} again.", before.commit),
            Err(error) => format!("{why} Readers have {} again, but the app could not be told: {error}", before.commit),
        }
    }

    /// From now on `commit` counts as loaded.
    async fn record(&self, commit: &Commit) -> Result<(), DatasetError> {
        self.runner.dataset.set_loaded(commit).await?;
        self.runner.set_loaded(Some(commit.clone()));
        Ok(())
    }

    async fn timed<T>(&self, phase: &str, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = work.await;
        let took: Duration = began.elapsed();
        self.runner.common.metrics.phase(self.runner.name(), phase, took);
        tracing::debug!(dataset = %self.runner.name(), phase, took_ms = took.as_millis() as u64, "phase of a reload");
        done
    }
}

/// Both sentences, where there are two.
fn told_both(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first} {second}")),
        (first, second) => first.or(second),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it stands where a function over an error is wanted")]
fn said(error: DatasetError) -> String {
    error.to_string()
}
