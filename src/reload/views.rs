//! The state of datasets, for people and programs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use process::Cancel;
use tokio::time::Instant;

use crate::api;
use crate::clock;
use crate::model::Commit;
use crate::model::DatasetName;
use crate::model::Message;
use crate::reload::reloader::ReloadError;
use crate::reload::reloader::Reloader;
use crate::reload::runner::Common;
use crate::reload::runner::Runner;
use crate::store::StoreError;
use crate::telemetry::DatasetNow;

impl Reloader {
    /// The state of every dataset, by name.
    ///
    /// # Errors
    /// When the database does not answer. A repository that cannot be read is reported in `fault`.
    pub async fn datasets(&self) -> Result<Vec<api::Dataset>, StoreError> {
        let all = self.all();
        join_all(all.iter().map(view)).await.into_iter().collect()
    }

    /// The state of one dataset.
    ///
    /// # Errors
    /// When there is no dataset of that name, or the database does not answer.
    pub async fn dataset(&self, name: &DatasetName) -> Result<api::Dataset, ReloadError> {
        Ok(view(&self.runner(name)?).await?)
    }

    /// Updates the metrics of every dataset.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn measure(&self) -> Result<(), StoreError> {
        for dataset in self.datasets().await? {
            let age_ms = dataset.loaded_ms.map(|at_ms| (clock::now_ms() - at_ms).max(0) as u64);
            let now = DatasetNow {
                pending: dataset.pending,
                parked: dataset.parked.len(),
                owed: dataset.owed.len(),
                loaded_age: age_ms.map(Duration::from_millis),
                stale: dataset.head != dataset.loaded,
            };
            self.common.metrics.set_dataset(&dataset.name, now);
        }
        Ok(())
    }

    /// What waits for an operator or for somebody else, one sentence each, at most a second old. The sentences name no address,
    /// because everybody may read them; and however many do, git is asked once a second, for one of them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn notes(&self) -> Result<Vec<String>, StoreError> {
        const FRESH: Duration = Duration::from_secs(1);
        let mut noted = self.noted.lock().await;
        if let Some((_, notes)) = noted.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(notes.clone());
        }
        let notes = self.take_notes().await?;
        *noted = Some((Instant::now(), notes.clone()));
        Ok(notes)
    }

    async fn take_notes(&self) -> Result<Vec<String>, StoreError> {
        let mut notes = Vec::new();
        for dataset in self.datasets().await? {
            let name = &dataset.name;
            if dataset.fault.is_some() {
                notes.push(format!("The dataset {name} cannot be read."));
            }
            if dataset.last.as_ref().is_some_and(|last| last.load_fault.is_some()) {
                notes.push(format!("The app does not serve the newest data of {name}."));
            }
            for (count, one, many) in [
                (dataset.parked.len(), "conflict of {name} is parked and waits", "conflicts of {name} are parked and wait"),
                (dataset.aside.len(), "folder of {name} was moved aside and waits", "folders of {name} were moved aside and wait"),
            ] {
                if count > 0 {
                    let what = if count == 1 { one } else { many };
                    notes.push(format!("{count} {} for a person.", what.replace("{name}", name.as_str())));
                }
            }
            match dataset.owed.len() {
                0 => {}
                1 => notes.push(format!("1 peer of {name} has not been told about a commit yet.")),
                owed => notes.push(format!("{owed} peers of {name} have not been told about a commit yet.")),
            }
            match dataset.owed.iter().filter(|owed| owed.refused_ms.is_some()).count() {
                0 => {}
                1 => notes.push(format!("1 peer of {name} refuses to be told about a commit; a person must look at it.")),
                refused => notes.push(format!("{refused} peers of {name} refuse to be told about a commit; a person must look at them.")),
            }
        }
        Ok(notes)
    }
}

async fn view(runner: &Arc<Runner>) -> Result<api::Dataset, StoreError> {
    let Common { store, executor, .. } = &*runner.common;
    let last = store.last_reload(executor, runner.name()).await?;
    let owed = runner.owed().await?;
    let text = |commit: Option<Commit>| commit.map(|commit| commit.to_string());
    let look = async { Arc::new(runner.dataset.status(&Cancel::default()).await.map_err(|error| error.to_string())) };
    let seen = runner.seen.share((), look).await;
    let status = seen.as_ref().as_ref().ok();
    let fault = seen.as_ref().as_ref().err().cloned();
    let parked = status.iter().flat_map(|status| &status.parked);
    Ok(api::Dataset {
        name: runner.name().clone(),
        agent: None,
        branch: runner.plan.data.branch.clone(),
        head: text(status.as_ref().and_then(|status| status.head.clone())),
        remote: text(status.as_ref().and_then(|status| status.remote.clone())),
        loaded: text(runner.loaded().or_else(|| status.as_ref()?.loaded.clone())),
        loaded_ms: last.as_ref().and_then(|last| last.loaded_ms),
        pending: status.as_ref().map_or(0, |status| status.pending),
        push: runner.push_seen(),
        parked: parked
            .map(|one| api::Parked { branch: one.branch.clone(), commit: one.commit.to_string(), published: one.published })
            .collect(),
        kept: status
            .iter()
            .flat_map(|status| &status.kept)
            .map(|one| api::Kept { name: one.name.clone(), commit: one.commit.to_string(), holds: one.holds.clone(), more: one.more })
            .collect(),
        outward: status.iter().flat_map(|status| &status.outward).cloned().collect(),
        aside: status.iter().flat_map(|status| &status.aside).map(|folder| folder.display().to_string()).collect(),
        owed: owed
            .into_iter()
            .filter_map(|debt| {
                let Message::Commit(commit) = debt.message else { return None };
                let since_ms = debt.since_ms;
                let refused_ms = debt.refused_ms;
                Some(api::Owed { peer: debt.receiver, commit: commit.to_string(), since_ms, tries: debt.tries, why: debt.why, refused_ms })
            })
            .collect(),
        last: last.map(|last| api::LastReload { outcome: last.outcome, why: last.why, load_fault: last.load_fault, at_ms: last.at_ms }),
        fault,
    })
}
