//! The stack that tagalong itself runs in is replaced by a process that outlives the replacement: a container beside this one, of the
//! same image, in which `tagalong carry` takes the run over.
//!
//! The container is started again whenever it ends, by Docker, until its deployment has ended and it removes itself. Where it is gone, or
//! hangs, the run's lease runs out; whichever server works the queue then takes the run back, comes here again, and replaces the
//! container, by one of the same image.

use std::path::Path;
use std::time::Duration;

use process::Cancel;
use tokio::time::Instant;

use crate::engine::Beside;
use crate::engine::BesideKind;
use crate::engine::Engine;
use crate::engine::EngineError;
use crate::landing;
use crate::landing::Books;
use crate::landing::Claimed;
use crate::landing::Record;
use crate::model::DeploymentId;
use crate::model::OrderKind;
use crate::model::Outcome;

/// How long the container may take to take the run over.
const BEGIN: Duration = Duration::from_mins(1);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(100);

/// Whether an order replaces the process that would carry it out.
pub(super) fn is_wanted(claimed: &Claimed) -> bool {
    let order = &claimed.deployment.order;
    claimed.service.is_self && !order.dry_run && order.kind != OrderKind::Adopt
}

/// The name of the executor that carries out nothing but `id`.
pub(super) fn executor_of(id: &DeploymentId) -> String {
    format!("carrier {id}")
}

/// The name of the container that carries `id` out.
#[must_use]
pub fn container_of(id: &DeploymentId) -> String {
    format!("tagalong-carrier-{}", id.as_str().to_lowercase())
}

/// What a carrier is made with.
pub(super) struct Means<'a> {
    pub(super) books: &'a Books,
    pub(super) engine: Engine,
    pub(super) record: Record,
    pub(super) config_file: &'a Path,
    pub(super) passing_dir: &'a Path,
}

/// Hands the run over. None when another process has it from now on, or the next round has to try again.
pub(super) async fn hand_over(means: Means<'_>, claimed: Claimed, cancel: &Cancel) -> Option<Outcome> {
    let engine = means.engine.clone().acting_for(claimed.lease.clone());
    let deployment = &claimed.deployment;
    let why = match started(&engine, &means, &deployment.id, cancel).await {
        Ok(()) if is_taken(&means, &claimed).await => {
            tracing::info!(deployment = %deployment.id, container = container_of(&deployment.id), "another process carries it out");
            means.books.hub.tell(&deployment.id);
            return None;
        }
        Ok(()) => not_taken(&engine, &deployment.id).await,
        Err(why) => why,
    };
    landing::not_begun(means.record, deployment, why).await
}

/// Afterwards the container runs.
async fn started(engine: &Engine, means: &Means<'_>, id: &DeploymentId, cancel: &Cancel) -> Result<(), String> {
    let words = |error: EngineError| format!("the container that deploys tagalong itself could not be started: {error}.");
    let own = engine.own(cancel).await.map_err(words)?.ok_or(
        "self = true is for a tagalong that runs in a container of this very stack, and this one does not. Where it was installed on the \
         host, upgrade its package instead, and remove self from the service."
            .to_owned(),
    )?;
    let name = container_of(id);
    // The one that carried it out so far is of the version that began.
    let image = engine.image_beside(&name, cancel).await.map_err(words)?.unwrap_or_else(|| own.image_id.clone());
    let program = std::env::current_exe().map_err(|error| format!("the path of tagalong's own program is not known: {error}."))?;
    let config = std::path::absolute(means.config_file).unwrap_or_else(|_| means.config_file.to_owned());
    let args = ["--config".to_owned(), config.display().to_string(), "carry".to_owned(), id.to_string()];
    let beside = Beside {
        name,
        image,
        deployment: id.to_string(),
        kind: BesideKind::Carries,
        program: Some(program.display().to_string()),
        args: args.to_vec(),
    };
    engine.start_beside(&own, &beside, means.passing_dir, cancel).await.map_err(words)
}

/// Waits until the run is somebody else's.
async fn is_taken(means: &Means<'_>, claimed: &Claimed) -> bool {
    let until = Instant::now() + BEGIN;
    while Instant::now() < until {
        match means.books.store.get(&claimed.deployment.id).await {
            Ok(Some(now)) if now.fence != claimed.deployment.fence => return true,
            Ok(None) => return true,
            Ok(Some(_)) | Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
    false
}

/// Why it did not begin, in its own last words. Afterwards it is gone.
async fn not_taken(engine: &Engine, id: &DeploymentId) -> String {
    let name = container_of(id);
    let last = engine.tail(&name, 3, &Cancel::default()).await.unwrap_or_default().join(" ");
    if let Err(error) = engine.remove_beside(&name, &Cancel::default()).await {
        tracing::warn!(%error, container = name, "a container that does not carry its deployment out could not be removed");
    }
    format!("the container that deploys tagalong itself did not begin within {} s. Its last words: {last}", BEGIN.as_secs())
}
