//! The agents whose lines end here: who is there, what stands on their hosts, and who gets what they say.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock;
use crate::config::Config;
use crate::config::Live;
use crate::config::Placement;
use crate::executor::seat::Attached;
use crate::executor::seat::Seat;
use crate::executor::stray;
use crate::landing::Books;
use crate::line::AnswerBody;
use crate::line::Asked;
use crate::line::AskedFor;
use crate::line::ControlLine;
use crate::line::FromAgent;
use crate::line::FromControl;
use crate::line::Hello;
use crate::line::Known;
use crate::line::VERSION;
use crate::line::Welcome;
use crate::model::AgentName;
use crate::model::DeploymentId;
use crate::model::ServiceName;
use crate::store::Fence;
use crate::store::StoreError;

/// How long an agent has for its hello, and for each frame that it is sent.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many frames wait for one order until its agent is read no further.
const ROOM: usize = 16;

/// The agents whose lines end here.
#[derive(Debug)]
pub struct Agents {
    pub(super) books: Books,
    pub(super) config: Live<Config>,
    /// What the file says, without the services that only agents name.
    written: Mutex<Arc<Config>>,
    /// What stands on which host.
    placements: Mutex<Vec<Placement>>,
    /// Which store this is.
    store_id: String,
    started_ms: i64,
    seats: Mutex<BTreeMap<AgentName, watch::Sender<Seat>>>,
    /// Who gets what an agent says of an order.
    at_work: Mutex<HashMap<(DeploymentId, AgentName), mpsc::Sender<FromAgent>>>,
    asked: Mutex<HashMap<u64, oneshot::Sender<AnswerBody>>>,
    numbers: AtomicU64,
    /// Changes whenever somebody comes or goes.
    changes: watch::Sender<u64>,
    /// Why a service of an agent is not taken, by both names.
    refused: Mutex<BTreeMap<(ServiceName, AgentName), String>>,
    /// Why a host could not be reached when it was dialled last.
    unreached: Mutex<BTreeMap<AgentName, String>>,
    /// How often each agent came.
    came: Mutex<BTreeMap<AgentName, u64>>,
}

/// Why an agent did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It is not there.
    #[error("{0}")]
    Away(String),
    /// It did not answer in time, or its line has ended.
    #[error("the agent {0} did not answer")]
    Silent(AgentName),
    /// It does not do what it was asked.
    #[error("the agent {0} says: {1}")]
    Refused(AgentName, String),
}

pub(super) fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Agents {
    /// No agent is there yet. Those that were there before this start are remembered with their services, which are in force when this
    /// returns.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn new(config: Live<Config>, books: Books) -> Result<Self, StoreError> {
        let random = || text::hex(&clock::random_bytes::<16>());
        let store_id = books.store.named_value("store_id", random).await?;
        let placements = books.store.placements().await?;
        let agents = Self {
            books,
            written: Mutex::new(config.now()),
            config,
            placements: Mutex::new(placements),
            store_id,
            started_ms: clock::now_ms(),
            seats: Mutex::default(),
            at_work: Mutex::default(),
            asked: Mutex::default(),
            numbers: AtomicU64::new(1),
            changes: watch::Sender::new(0),
            refused: Mutex::default(),
            unreached: Mutex::default(),
            came: Mutex::default(),
        };
        agents.put_in_force();
        Ok(agents)
    }

    /// The configuration was read again as `written`: it is in force with the services of agents when this returns.
    pub fn read_again(&self, written: Config) {
        *held(&self.written) = Arc::new(written);
        self.put_in_force();
    }

    fn put_in_force(&self) {
        let written = held(&self.written);
        let placements = held(&self.placements).clone();
        self.config.read_again(written.with_services_of_agents(&placements));
        drop(written);
        self.tell_conflicts(&placements);
    }

    /// What stands on two hosts by one name, or on a host that the configuration does not name for it, is not taken from the second.
    fn tell_conflicts(&self, placements: &[Placement]) {
        let config = self.config.now();
        let mut refused = BTreeMap::new();
        for Placement { agent, service, .. } in placements {
            let hosts = config.service(service).map_or(&[][..], |known| known.stack.agents());
            if hosts.contains(agent) {
                continue;
            }
            let why = not_taken(service, agent, hosts);
            if !held(&self.refused).contains_key(&(service.clone(), agent.clone())) {
                tracing::error!(service = %service, agent = %agent, "{why}");
            }
            refused.insert((service.clone(), agent.clone()), why);
        }
        *held(&self.refused) = refused;
    }

    /// What a person should mend, each a sentence.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let refused: Vec<String> = held(&self.refused).values().cloned().collect();
        refused.into_iter().chain(held(&self.unreached).values().cloned()).collect()
    }

    /// A host was dialled in vain, or its line has ended.
    pub(super) fn not_reached(&self, agent: &AgentName, why: &str) {
        let why = format!("There is no line to the host of {agent}: {why}.");
        let before = held(&self.unreached).insert(agent.clone(), why.clone());
        if before.as_ref() != Some(&why) {
            tracing::warn!(agent = %agent, "{why}");
        }
    }

    /// Nothing is wrong with the way to a host, or nobody wants to go there any more.
    pub(super) fn reached(&self, agent: &AgentName) {
        held(&self.unreached).remove(agent);
    }

    /// How often an agent came since this server started.
    pub(super) fn times_here(&self, agent: &AgentName) -> u64 {
        held(&self.came).get(agent).copied().unwrap_or_default()
    }

    /// A signal that changes whenever an agent comes or goes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether `agent` is there.
    #[must_use]
    pub fn seat_of(&self, agent: &AgentName) -> Seat {
        self.seat(agent).borrow().clone()
    }

    /// Why nothing can be asked of `agent` now; none: it is there.
    #[must_use]
    pub fn why_not(&self, agent: &AgentName) -> Option<String> {
        let why = self.seat_of(agent).why_not(agent)?;
        Some(held(&self.unreached).get(agent).map_or(why.clone(), |reason| format!("{why} ({})", reason.trim_end_matches('.'))))
    }

    /// The agents that were there since this server has started.
    #[must_use]
    pub fn all(&self) -> Vec<(AgentName, Seat)> {
        held(&self.seats).iter().map(|(name, seat)| (name.clone(), seat.borrow().clone())).collect()
    }

    pub(super) fn seat(&self, agent: &AgentName) -> watch::Receiver<Seat> {
        let mut seats = held(&self.seats);
        let never = || watch::Sender::new(Seat::Never { since_ms: self.started_ms });
        seats.entry(agent.clone()).or_insert_with(never).subscribe()
    }

    fn sit(&self, agent: &AgentName, to: Seat) {
        drop(self.seat(agent));
        if let Some(seat) = held(&self.seats).get(agent) {
            seat.send_replace(to);
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Serves the line of the agent `name`, who has proven to be that, until the line ends or a newer one of the same agent takes its
    /// place.
    pub async fn attach(&self, name: AgentName, line: ControlLine) {
        let ControlLine { to, mut from } = line;
        let hello = match timeout(PATIENCE, from.recv()).await {
            Ok(Some(FromAgent::Hello(hello))) => hello,
            Ok(None) => return,
            Ok(Some(_)) | Err(_) => {
                tracing::warn!(agent = %name, "a line ends, because its agent did not begin with a hello");
                return;
            }
        };
        if let Err(why) = VERSION.speaks(hello.version, &format!("the agent {name}")) {
            tracing::error!(agent = %name, "{why}");
            return;
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let hello = Arc::new(hello);
        if let Err(error) = self.welcome(&name, &hello, &to).await {
            tracing::error!(agent = %name, %error, "a line ends, because what its agent said could not be stored");
            return;
        }
        let attached = Attached { to: to.clone(), number, since_ms: clock::now_ms(), hello: Arc::clone(&hello) };
        tracing::info!(agent = %name, version = hello.program, services = hello.services.len(), "an agent is there");
        *held(&self.came).entry(name.clone()).or_default() += 1;
        self.reached(&name);
        self.sit(&name, Seat::Here(attached));
        let mut seat = self.seat(&name);
        let replaced = seat.wait_for(|now| now.attached().is_none_or(|now| now.number != number));
        tokio::select! {
            () = self.hear(&name, &mut from, &to) => {}
            _ = replaced => {
                tracing::warn!(agent = %name, "a newer line of the same agent takes the place of one");
                return;
            }
        }
        if self.seat_of(&name).attached().is_some_and(|now| now.number == number) {
            tracing::warn!(agent = %name, "an agent is away");
            self.sit(&name, Seat::Away { since_ms: clock::now_ms(), hello });
        }
    }

    /// What it said is stored, and it is told how far its journals are known here.
    async fn welcome(&self, name: &AgentName, hello: &Hello, to: &mpsc::Sender<FromControl>) -> Result<(), StoreError> {
        let store = &self.books.store;
        self.settle(name, hello).await?;
        let mut journals = Vec::new();
        for deployment in &hello.journals {
            let fence = match store.host_run_of(deployment, name).await? {
                Some(run) => Fence { id: run.deployment, run: run.run, number: 0 },
                None if store.get(deployment).await?.is_some() => Fence { id: deployment.clone(), run: 1, number: 0 },
                None => continue,
            };
            journals.push(Known { deployment: deployment.clone(), seq: store.last_seq(&fence).await? });
        }
        let mut newest: Option<DeploymentId> = None;
        for service in &hello.services {
            newest = newest.max(store.newest_ended(&service.name).await?);
        }
        let welcome =
            Welcome { version: VERSION, program: env!("CARGO_PKG_VERSION").to_owned(), store: self.store_id.clone(), newest, journals };
        // A line that takes nothing ends by itself.
        let _ = timeout(PATIENCE, to.send(FromControl::Welcome(welcome))).await;
        Ok(())
    }

    /// The services of its host are stored and in force.
    async fn settle(&self, name: &AgentName, hello: &Hello) -> Result<(), StoreError> {
        let services: Vec<_> = hello.services.iter().map(|service| (service.name.clone(), service.images.clone())).collect();
        self.books.store.keep_placements(name, &services).await?;
        let placements = self.books.store.placements().await?;
        *held(&self.placements) = placements;
        self.put_in_force();
        Ok(())
    }

    async fn hear(&self, name: &AgentName, from: &mut mpsc::Receiver<FromAgent>, to: &mpsc::Sender<FromControl>) {
        while let Some(frame) = from.recv().await {
            let whose = frame.deployment().and_then(|id| held(&self.at_work).get(&(id.clone(), name.clone())).cloned());
            match (frame, whose) {
                (FromAgent::Unknown, _) => {}
                (FromAgent::Answer(answer), _) => {
                    if let Some(asker) = held(&self.asked).remove(&answer.ask) {
                        let _ = asker.send(answer.body);
                    }
                }
                (FromAgent::Hello(hello), _) => {
                    if let Err(error) = self.settle(name, &hello).await {
                        tracing::error!(agent = %name, %error, "the services of an agent could not be stored");
                    }
                }
                // Whoever carries the order out may have ended meanwhile; then the agent sends it again.
                (frame, Some(errand)) => drop(errand.send(frame).await),
                (frame, None) => {
                    let answer = stray::hear(&self.books, &self.config.now(), name, frame).await;
                    match answer {
                        Ok(Some(ack)) => drop(timeout(PATIENCE, to.send(FromControl::Ack(ack))).await),
                        Ok(None) => {}
                        Err(error) => {
                            tracing::error!(agent = %name, %error, "what an agent said could not be stored; it will say it again");
                        }
                    }
                }
            }
        }
    }

    /// Asks an agent that is there.
    ///
    /// # Errors
    /// When it is not there, does not answer within `within`, or does not do it.
    pub async fn ask(&self, agent: &AgentName, body: AskedFor, within: Duration) -> Result<AnswerBody, AskError> {
        let seen = self.seat_of(agent);
        let Some(attached) = seen.attached() else {
            return Err(AskError::Away(self.why_not(agent).unwrap_or_default()));
        };
        let ask = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (asker, answer) = oneshot::channel();
        held(&self.asked).insert(ask, asker);
        let asked = async {
            attached.to.send(FromControl::Ask(Asked { ask, body })).await.ok()?;
            tokio::select! {
                answer = answer => answer.ok(),
                () = attached.to.closed() => None,
            }
        };
        let answer = timeout(within, asked).await.ok().flatten();
        held(&self.asked).remove(&ask);
        match answer {
            Some(AnswerBody::Problem { why }) => Err(AskError::Refused(agent.clone(), why)),
            Some(answer) => Ok(answer),
            None => Err(AskError::Silent(agent.clone())),
        }
    }

    /// What `agent` says of the order `id` from now on, as long as the first of both is kept.
    pub(super) fn listen(&self, id: &DeploymentId, agent: &AgentName) -> (Leaves<'_>, mpsc::Receiver<FromAgent>) {
        let (errand, said) = mpsc::channel(ROOM);
        let whose = (id.clone(), agent.clone());
        held(&self.at_work).insert(whose.clone(), errand);
        (Leaves { agents: self, whose }, said)
    }
}

/// Why a service of an agent is not taken that stands on `hosts`, or on this one.
fn not_taken(service: &ServiceName, agent: &AgentName, hosts: &[AgentName]) -> String {
    let names = hosts.iter().map(AgentName::as_str).collect::<Vec<_>>().join(", ");
    let list: Vec<String> = hosts.iter().chain([agent]).map(|host| format!("\"{host}\"")).collect();
    let (other, instead) = if hosts.is_empty() {
        ("it stands on this host".to_owned(), format!("remove [service.{service}] here"))
    } else {
        let list = list.join(", ");
        (
            format!("it stands on the host of {names}"),
            format!("write hosts = [{list}] in [service.{service}] here, if it is one service on all of them"),
        )
    };
    format!("The service {service} of the agent {agent} is not taken, because {other}; give it another name there, or {instead}.")
}

/// However an errand ends, nobody is sent to it any more.
pub(super) struct Leaves<'a> {
    agents: &'a Agents,
    whose: (DeploymentId, AgentName),
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        held(&self.agents.at_work).remove(&self.whose);
    }
}
