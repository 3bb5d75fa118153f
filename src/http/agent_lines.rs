//! The lines of agents at the control plane: from the upgrade to the end.

use std::sync::Arc;
use std::time::Duration;

use process::Cancel;
use tokio::io::DuplexStream;
use tokio::sync::watch;

use crate::api;
use crate::http::Shared;
use crate::http::auth::Dialled;
use crate::http::error::ApiError;
use crate::http::refused::Check;
use crate::line;
use crate::line::KeyPair;
use crate::line::Memory;
use crate::line::NotEntered;
use crate::line::OpenLine;
use crate::line::Opening;
use crate::line::Presence;
use crate::line::Socket;
use crate::line::Unmet;
use crate::model::AgentName;
use crate::model::PublicKey;
use crate::store::Store;
use crate::store::StoreError;

/// How often what is remembered of agents is compared with the database.
const REMEMBERED_EVERY: Duration = Duration::from_mins(1);

/// What agents meet here.
#[derive(Debug)]
pub struct AgentLines {
    /// What this control plane proves itself with.
    pub keys: KeyPair,
    /// Who is here.
    pub presence: Arc<Presence>,
    /// What the data folder remembers of agents.
    pub memory: Memory,
    /// The id of this server, which the database names as the holder of lines.
    pub holder: String,
    /// How the line to this server's own control plane stands; none: it is nobody's agent.
    pub uplink: Option<watch::Receiver<api::Uplink>>,
}

impl AgentLines {
    /// Remembers until `stop` which agents are enrolled: another server of the same database may have changed that.
    pub async fn remember(&self, store: &Store, stop: &Cancel) {
        while !stop.is_cancelled() {
            self.memory.keep(store).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(REMEMBERED_EVERY) => {}
            }
        }
    }
}

/// Carries the line of an agent until it ends.
pub(super) async fn attend(shared: Arc<Shared>, dialled: Dialled) {
    let Dialled { agent, opening, binding, stream, from, .. } = dialled;
    let name = &agent.name;
    let mut socket = Socket::upgraded(stream).await;
    let lines = &shared.lines;
    let proven = match line::challenge(&mut socket, &opening, &lines.keys, &binding).await {
        Ok(proven) => proven,
        Err(why) => {
            // An agent that has its key proves it, or its line ends without a word.
            if matches!(why, Unmet::NotTheAgent | Unmet::Unexpected | Unmet::Late) {
                from.failed(&shared, Check::AgentKey);
            }
            tracing::warn!(agent = %name, %why, "a line was not opened");
            return socket.leave(&why.to_string()).await;
        }
    };
    let open = match enter(&shared, &opening, proven.next).await {
        Ok(open) => open,
        Err(why) => {
            tracing::warn!(agent = %name, why, "a line was not opened");
            let _ = line::let_in(&mut socket, Some(why.clone())).await;
            return socket.leave(&why).await;
        }
    };
    if line::let_in(&mut socket, None).await.is_ok() {
        tracing::info!(agent = %name, "an agent is connected");
        let why = carry(&shared, name, socket, &open).await;
        tracing::info!(agent = %name, why, "an agent is away");
    }
    drop(open);
    if lines.presence.of(name).is_none()
        && let Err(error) = shared.store.agent_stands(name, &lines.holder, None).await
    {
        tracing::warn!(agent = %name, %error, "it could not be stored that an agent is away");
    }
}

/// The agent has proven itself, so an older line of it ends.
///
/// # Errors
/// Why its line is not opened, as one sentence.
async fn enter(shared: &Shared, opening: &Opening, next: Option<PublicKey>) -> Result<OpenLine, String> {
    let name = &opening.name;
    let lines = &shared.lines;
    let silent = |error: StoreError| {
        tracing::error!(%error, "the database did not answer");
        "The control plane's database does not answer; try again.".to_owned()
    };
    let open = match lines.presence.enter(name, &opening.life) {
        Ok(open) => open,
        Err(NotEntered::Full) => return Err("The control plane has no room for another agent now; try again.".to_owned()),
        Err(NotEntered::Clone) => {
            let what = format!("a second process on the machine {}", opening.machine);
            shared.store.agent_cloned(name, &what).await.map_err(silent)?;
            return Err(format!(
                "Two processes use the keys of the agent {name}: this one, and one that is connected; stop one of them, and enrol it with a name \
                 of its own."
            ));
        }
    };
    // Whoever revoked the agent before it was entered has cut nothing.
    let agent = shared.store.agent(name).await.map_err(silent)?.filter(|agent| agent.keys.contains(&opening.key));
    let agent = agent.ok_or_else(|| format!("The agent {name} was revoked."))?;
    // Neither has a configuration that was read since.
    if shared.config.now().dials(name) {
        return Err(ApiError::agent_is_a_host(name).to_string());
    }
    open.was_proven_with(&opening.key);
    if let Some(next) = &next {
        if !shared.store.add_agent_key(name, &opening.key, next).await.map_err(silent)? {
            return Err(format!("The next key of the agent {name} cannot be taken: the agent was revoked, or the key is another agent's."));
        }
        lines.memory.keep(&shared.store).await;
    } else if agent.keys.len() > 1 && agent.keys.last() == Some(&opening.key) {
        shared.store.keep_only_agent_key(name, &opening.key).await.map_err(silent)?;
        lines.memory.keep(&shared.store).await;
    }
    shared.store.agent_stands(name, &lines.holder, Some(open.since_ms)).await.map_err(silent)?;
    Ok(open)
}

/// Carries what is said until the line ends, and says why it did.
async fn carry(shared: &Shared, name: &AgentName, socket: Socket<DuplexStream>, open: &OpenLine) -> String {
    let (near, far) = line::ends();
    let until = async { open.cut().await.as_str() };
    let (parted, ()) = tokio::join!(socket.carry(far, until), shared.deployer.agents().attach(name.clone(), near));
    parted.to_string()
}
