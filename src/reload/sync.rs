//! What an entrypoint does before the app starts: it makes the folder available, repaired, as new as possible, and published.

use process::Cancel;

use crate::config::Reload;
use crate::dataset::Dataset;
use crate::dataset::DatasetError;
use crate::dataset::links_sentence;
use crate::model::Commit;
use crate::model::Reconcile;

/// The result of a sync.
#[derive(Debug, Clone)]
pub struct Synced {
    /// How checkout and remote were brought together.
    pub outcome: Reconcile,
    /// The commit that readers have now.
    pub commit: Option<Commit>,
    /// What was repaired, parked or moved aside, and why the remote could not be followed: one sentence each.
    pub notes: Vec<String>,
}

/// Makes a dataset ready, brings it together with its remote and publishes it. A remote that cannot be reached is not an error
/// if there is data. With `app_follows` the app is about to start: from now on nothing counts as loaded until the app says so
/// or was told.
///
/// # Errors
/// When there is no data to publish, or the folder cannot be used; nothing was lost.
pub async fn sync(plan: &Reload, app_follows: bool, cancel: &Cancel) -> Result<Synced, DatasetError> {
    let dataset = Dataset::new(plan.data.clone());
    let ready = dataset.ready(cancel).await?;
    if app_follows {
        dataset.forget_loaded().await?;
    }
    let mut notes = ready.healed;
    notes.extend(ready.parked.iter().map(|name| format!("work is parked as {name}; a person must merge it")));
    notes.extend(ready.aside.iter().map(|folder| format!("{} was moved aside; check its contents", folder.display())));
    let done = dataset.reconcile(cancel).await?;
    notes.extend(done.why);
    notes.extend(done.parked.map(|branch| format!("conflicting work is parked as {branch}; a person must merge it")));
    let commit = done.to.or(ready.head);
    if let Some(commit) = &commit {
        let staged = dataset.stage(commit, cancel).await?;
        dataset.flip(&staged).await?;
        notes.extend(links_sentence(&dataset.links_out(&staged)));
        dataset.tidy(&[], cancel).await?;
    }
    Ok(Synced { outcome: done.outcome, commit, notes })
}
