//! Orders and what becomes of them: accepted, held back by guards, queued, given to an executor, cancelled, shown.

mod answer;
mod approval;
mod approve;
mod asking;
mod cancel;
mod carry;
mod checks;
mod codes;
mod elsewhere;
mod enqueue;
mod freeze;
mod glimpse;
mod guards;
mod holidays;
mod met;
mod places;
mod queue;
#[cfg(test)]
mod sample;
mod seen;
mod several;
mod shown;
mod sights;
mod standing;
mod state;
mod sweep;
mod tags;
mod unsent;
mod watched;
mod way_back;

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use process::Cancel;
use process::Looks;
use text::Secret;
use tokio::sync::Notify;
use tokio::sync::OnceCell;

use crate::api;
use crate::clock;
use crate::config::Config;
use crate::config::Live;
use crate::engine::Engine;
use crate::executor::Agents;
use crate::executor::Executor;
use crate::forge::Forges;
use crate::journal::Hub;
use crate::model::DeploymentId;
use crate::model::ServiceName;
use crate::orders::places::Places;
use crate::orders::seen::Offered;
use crate::orders::seen::Seen;
use crate::orders::sights::Sights;
use crate::orders::unsent::UnsentCodes;
use crate::results::Results;
use crate::store::Store;
use crate::telemetry::Metrics;

pub use approve::Form;
pub use glimpse::{Depth, Glimpse, SeenWhen};
pub use guards::at_the_door;
pub use holidays::holidays;
pub use standing::Fault;
pub use state::view;
pub use watched::{ReleaseSeen, Served, StackSeen};

/// Why an order was not taken, and why a code approved nothing.
pub use crate::store::{OrderError, Unapproved};

/// Everything that deployments need, shared by the API and the queue.
#[derive(Debug)]
pub struct Deployer {
    config: Live<Config>,
    store: Store,
    hub: Hub,
    metrics: Arc<Metrics>,
    executor: Executor,
    results: Arc<Results>,
    /// Orders have come, or a place is free.
    wake: Notify,
    /// What is carried out in this process, and how to stop it.
    running: Mutex<HashMap<DeploymentId, Running>>,
    /// Who waits because enough is carried out already.
    places: Mutex<Places>,
    /// For those who ask how a service stands: by whether something changes its stack, and whether its images are wanted.
    seen: Looks<(ServiceName, bool, bool), Arc<Seen>>,
    /// How services stood when somebody looked last, for pages.
    glimpsed: Sights<(ServiceName, Depth), api::Service>,
    /// What services could be deployed with when somebody looked last, for pages.
    offered_last: Sights<ServiceName, Option<Arc<Offered>>>,
    /// For those who ask for a service's tags.
    offered: Looks<ServiceName, Arc<Offered>>,
    /// The forges that are asked about checks.
    forges: Arc<Forges>,
    /// Notified when something that this server carried out has ended.
    ended: Notify,
    /// The orders that guards are being asked about.
    asking: Mutex<HashSet<DeploymentId>>,
    /// The configuration was read again: what guards have granted under the one before counts no more.
    forgets_grants: AtomicBool,
    /// What codes and addresses of forms are known by.
    approval_key: OnceCell<Secret>,
    /// Codes that approvers are still to be sent.
    unsent: UnsentCodes,
    /// Which life of which server this is: codes that an earlier one sent are made anew.
    life: String,
}

/// Something that is carried out.
#[derive(Debug, Clone)]
struct Running {
    cancel: Cancel,
    /// Whether it needs a place on this host.
    is_here: bool,
}

impl Deployer {
    /// A deployer over `store` that carries nothing out yet.
    #[must_use]
    pub fn new(config: Live<Config>, store: Store, hub: Hub, metrics: Arc<Metrics>, executor: Executor, results: Arc<Results>) -> Self {
        Self {
            forges: results.forges(),
            approval_key: OnceCell::new(),
            unsent: UnsentCodes::default(),
            life: format!("{} {}", executor.id(), clock::new_id()),
            config,
            store,
            hub,
            metrics,
            executor,
            results,
            wake: Notify::new(),
            running: Mutex::default(),
            places: Mutex::default(),
            seen: Looks::default(),
            glimpsed: Sights::default(),
            offered_last: Sights::default(),
            offered: Looks::default(),
            ended: Notify::new(),
            asking: Mutex::default(),
            // An earlier life may have had another configuration.
            forgets_grants: AtomicBool::new(true),
        }
    }

    /// The configuration was read again: it holds for every order from now on, not for what runs.
    pub fn read_again(&self) {
        self.executor.set_config(&self.config.now());
        self.results.read_again();
        self.forgets_grants.store(true, Ordering::Relaxed);
        self.unsent.forget_all();
        self.wake.notify_one();
    }

    /// The name that runs of this server carry.
    #[must_use]
    pub fn executor(&self) -> &str {
        self.executor.id()
    }

    /// Ends when something that was carried out here has ended, at once where that was so since the last time.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }

    /// The agents that carry orders out elsewhere.
    #[must_use]
    pub fn agents(&self) -> &Arc<Agents> {
        self.executor.agents()
    }

    /// The engine over a service's stack, for looking only: it holds no lock. None: the stack is on another host.
    fn engine(&self, service: &crate::config::Service) -> Option<Engine> {
        self.executor.engine(service)
    }

    /// Why the order of `service` waits though nothing of the service is in its way.
    fn waits_for_a_place(&self, service: &ServiceName) -> Option<String> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).why(service)
    }

    fn cancel_of(&self, id: &DeploymentId) -> Option<Cancel> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(id).map(|running| running.cancel.clone())
    }
}
