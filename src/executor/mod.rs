//! Who carries orders out: this process on this host, an agent on its own, or several of them one after the other.

mod account;
mod agents;
mod asked;
mod awaited;
mod carrier;
mod conflicts;
mod drafts;
mod errand;
mod gate;
mod gone;
mod hearing;
mod here;
mod mends;
mod problems;
mod rollout;
mod seat;
mod ssh;
mod stray;
mod telling;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use process::Cancel;

use crate::clock;
use crate::config::Config;
use crate::config::Service;
use crate::engine::Engine;
use crate::executor::account::Account;
use crate::landing::Claimed;
use crate::model::AgentName;
use crate::model::Outcome;

pub use agents::Agents;
pub use asked::AskError;
pub use carrier::container_of;
pub use here::Here;
pub use seat::Seat;
pub use ssh::dial_hosts;

/// Where orders are carried out: each where its service stands.
#[derive(Debug)]
pub struct Executor {
    here: Here,
    agents: Arc<Agents>,
}

impl Executor {
    /// What stands on this host is carried out `here`, the rest by `agents`.
    #[must_use]
    pub fn new(here: Here, agents: Arc<Agents>) -> Self {
        Self { here, agents }
    }

    /// The name that runs of this executor carry.
    #[must_use]
    pub fn id(&self) -> &str {
        self.here.id()
    }

    /// The agents whose lines end here.
    #[must_use]
    pub fn agents(&self) -> &Arc<Agents> {
        &self.agents
    }

    /// Carries an order out, or finishes what an earlier process left of it: where it was begun, whatever the configuration says by now.
    /// When this returns, its outcome is stored and told; none: it could not be, and the next round takes it up.
    pub async fn carry_out(&self, config: &Config, claimed: Claimed, cancel: Cancel) -> Option<Outcome> {
        if let Some(plan) = claimed.deployment.plan.clone() {
            return Box::pin(rollout::carry_out(&self.agents, claimed, plan, config.mask.as_ref(), cancel)).await;
        }
        match claimed.deployment.agents().pop() {
            Some(agent) => errand::carry_out(&self.agents, claimed, agent, config.mask.as_ref(), cancel).await,
            None if claimed.service.stack.is_here() => self.here.carry_out(config, claimed, cancel).await,
            None => self.moved(config, &claimed).await,
        }
    }

    /// Ends what was begun on this host, and whose service stands on another one by now: nothing here says any more where its stack is.
    async fn moved(&self, config: &Config, claimed: &Claimed) -> Option<Outcome> {
        let Claimed { deployment, service, .. } = claimed;
        let name = &service.name;
        let hosts = service.stack.agents().iter().map(AgentName::as_str).collect::<Vec<_>>().join(", ");
        let moved = format!("the configuration says that {name} stands on {hosts} now, and this was begun on this host");
        let outcome = if claimed.recovered {
            let folder = "look at the folder of its stack on this host, and at what still runs there";
            Outcome::NeedsOperator { why: format!("{moved}; {folder}") }
        } else {
            Outcome::Failed { why: format!("{moved}; order it again") }
        };
        let books = &self.agents.books;
        let account = Account { books, mask: config.mask.as_ref(), fence: deployment.fence(), service: name.clone(), on_host: None };
        account.conclude(outcome).await
    }

    /// The engine of a service's stack, for looking only; none: the stack is not on this host.
    #[must_use]
    pub fn engine(&self, service: &Service) -> Option<Engine> {
        self.here.engine(service)
    }

    /// Puts another configuration in force: for every order from now on, not for what runs.
    pub fn set_config(&self, config: &Config) {
        self.here.set_config(config);
    }
}

/// The id of this executor: made once and kept in the data folder.
///
/// # Errors
/// When the file can be neither read nor written.
pub fn executor_id(data_dir: &Path) -> std::io::Result<String> {
    let file = data_dir.join("executor-id");
    if let Ok(id) = std::fs::read_to_string(&file)
        && !id.trim().is_empty()
    {
        return Ok(id.trim().to_owned());
    }
    let id = clock::new_id().to_string();
    // A name of ours that others cannot read, whatever the umask is.
    let mut made = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&file)?;
    made.write_all(id.as_bytes())?;
    Ok(id)
}
