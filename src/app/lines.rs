//! The lines of a server: those of agents that dial it, those that it dials, and the one to its own control plane.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use process::Cancel;
use tokio::sync::watch;

use crate::agent::Agent;
use crate::agent::Dial;
use crate::api;
use crate::config::Config;
use crate::executor::dial_hosts;
use crate::http::AgentLines;
use crate::http::Shared;
use crate::line::AgentLine;
use crate::line::Memory;
use crate::line::Presence;
use crate::line::control_keys;

/// How often it is looked what agents have told other servers of the same database.
const SEEN_EVERY: Duration = Duration::from_secs(5);

/// What agents meet here.
pub(super) fn agent_lines(
    config: &Config,
    presence: Arc<Presence>,
    holder: &str,
    uplink: Option<watch::Receiver<api::Uplink>>,
) -> anyhow::Result<AgentLines> {
    let dir = &config.server.data_dir;
    Ok(AgentLines { keys: control_keys(dir)?, presence, memory: Memory::of(dir), holder: holder.to_owned(), uplink })
}

/// What goes on beside calls and the queue until `stop`: lines to control planes and to hosts that are dialled, and what is tidied. Gives
/// what serves the lines to control planes.
pub(super) fn work_beside(shared: &Arc<Shared>, config: &Config, dial: Option<Dial>, stop: &Cancel) -> anyhow::Result<Arc<Agent>> {
    let reloader = Arc::clone(&shared.reloader);
    let watcher = Arc::clone(&shared.watcher);
    let deployer = Arc::clone(&shared.deployer);
    let agent = Arc::new(Agent::new(shared.config.clone(), &shared.store, shared.hub.clone(), deployer, watcher, reloader));
    agent.listen(&config.server.data_dir, stop.clone()).context("The socket line.sock in server.data_dir cannot be made")?;
    if let Some(dial) = dial {
        let agent = Arc::clone(&agent);
        let serve = move |line: AgentLine| {
            let agent = Arc::clone(&agent);
            async move {
                let why = agent.serve(line).await;
                tracing::info!(%why, "the control plane is not served any more");
            }
        };
        tokio::spawn(dial.keep(serve, stop.clone()));
    }
    tokio::spawn(shared.store.clone().share_attempts(stop.clone()));
    tokio::spawn(Arc::clone(&shared.deployer).sweep(stop.clone()));
    tokio::spawn(Arc::clone(&shared.lines.presence).work(shared.store.clone(), shared.lines.holder.clone(), stop.clone()));
    if !shared.store.is_sqlite() {
        tokio::spawn(see_other_servers(Arc::clone(shared), stop.clone()));
    }
    let remembering = Arc::clone(shared);
    let stopped = stop.clone();
    tokio::spawn(async move { remembering.lines.remember(&remembering.store, &stopped).await });
    let agents = Arc::clone(shared.deployer.agents());
    tokio::spawn(dial_hosts(agents, shared.config.clone(), shared.lines.holder.clone(), stop.clone()));
    Ok(agent)
}

/// Sees until `stop` which services agents have named at other servers of the same database.
async fn see_other_servers(shared: Arc<Shared>, stop: Cancel) {
    while !stop.is_cancelled() {
        if let Err(error) = shared.deployer.agents().see_placements().await {
            tracing::warn!(%error, "which services agents have could not be read; trying again");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(SEEN_EVERY) => {}
        }
    }
}
