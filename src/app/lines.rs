//! The lines of a server: those of agents that dial it, those that it dials, and the one to its own control plane.

use std::sync::Arc;

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
use crate::line::Presence;
use crate::line::control_keys;

/// What agents meet here, of whom there may be `most`.
pub(super) fn agent_lines(
    config: &Config,
    most: usize,
    holder: &str,
    uplink: Option<watch::Receiver<api::Uplink>>,
) -> anyhow::Result<AgentLines> {
    Ok(AgentLines { keys: control_keys(&config.server.data_dir)?, presence: Presence::new(most), holder: holder.to_owned(), uplink })
}

/// What goes on beside calls and the queue until `stop`: lines to control planes and to hosts that are dialled, and what is tidied. Gives
/// what serves the lines to control planes.
pub(super) fn work_beside(shared: &Shared, config: &Config, dial: Option<Dial>, stop: &Cancel) -> anyhow::Result<Arc<Agent>> {
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
    tokio::spawn(dial_hosts(Arc::clone(shared.deployer.agents()), shared.config.clone(), stop.clone()));
    Ok(agent)
}
