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

use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::clock;
use crate::config::Config;
use crate::config::Live;
use crate::config::Placement;
use crate::executor::conflicts::let_go;
use crate::executor::conflicts::not_taken;
use crate::executor::gate;
use crate::executor::gate::Pace;
use crate::executor::gate::Said;
use crate::executor::seat::Attached;
use crate::executor::seat::Seat;
use crate::executor::stray::Strays;
use crate::executor::telling::Telling;
use crate::landing::Books;
use crate::line::AnswerBody;
use crate::line::ControlLine;
use crate::line::Cut;
use crate::line::FromAgent;
use crate::line::FromControl;
use crate::line::Hello;
use crate::line::Known;
use crate::line::NewestOf;
use crate::line::Presence;
use crate::line::VERSION;
use crate::line::Welcome;
use crate::model::AgentName;
use crate::model::DeploymentId;
use crate::model::Repository;
use crate::model::ServiceName;
use crate::store::Fence;
use crate::store::StoreError;

/// How long an agent has for its hello, and for each frame that it is sent.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How many frames wait for one order until its agent is read no further.
const ROOM: usize = 16;

/// The agents whose lines end here.
#[derive(Debug)]
pub struct Agents {
    pub(super) books: Books,
    /// Who is here.
    pub(super) presence: Arc<Presence>,
    pub(super) config: Live<Config>,
    /// What the file says, without the services that only agents name.
    written: Mutex<Arc<Config>>,
    /// What stands on which host.
    pub(super) placements: Mutex<Vec<Placement>>,
    /// Which store this is.
    store_id: String,
    started_ms: i64,
    seats: Mutex<BTreeMap<AgentName, watch::Sender<Seat>>>,
    /// Who gets what an agent says of an order.
    pub(super) at_work: Mutex<HashMap<(DeploymentId, AgentName), mpsc::Sender<Said>>>,
    /// Who waits for an answer, by the line that was asked and the number of the question.
    pub(super) asked: Mutex<HashMap<(u64, u64), oneshot::Sender<AnswerBody>>>,
    /// The places of those who have an agent look at a page.
    pub(super) looking: Mutex<BTreeMap<AgentName, Arc<Semaphore>>>,
    pub(super) numbers: AtomicU64,
    /// Changes whenever somebody comes or goes.
    changes: watch::Sender<u64>,
    /// Why a service of an agent is not taken, by both names.
    pub(super) refused: Mutex<BTreeMap<(ServiceName, AgentName), String>>,
    /// Where the services stood that nothing names any more.
    pub(super) left: Mutex<BTreeMap<ServiceName, Vec<AgentName>>>,
    /// Why a host could not be reached when it was dialled last.
    pub(super) unreached: Mutex<BTreeMap<AgentName, String>>,
    /// Until when no other server of the same database dials the hosts; none: one may.
    pub(super) dials_until: Mutex<Option<Instant>>,
    /// How often each agent came.
    came: Mutex<BTreeMap<AgentName, u64>>,
    pub(super) pace: Pace,
    pub(super) strays: Strays,
    pub(super) telling: Telling,
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
    pub async fn new(config: Live<Config>, books: Books, presence: Arc<Presence>) -> Result<Self, StoreError> {
        let random = || text::hex(&clock::random_bytes::<16>());
        let store_id = books.store.named_value("store_id", random).await?;
        let placements = books.store.placements().await?;
        let agents = Self {
            books,
            presence,
            written: Mutex::new(config.now()),
            config,
            placements: Mutex::new(placements),
            store_id,
            started_ms: clock::now_ms(),
            seats: Mutex::default(),
            at_work: Mutex::default(),
            asked: Mutex::default(),
            looking: Mutex::default(),
            numbers: AtomicU64::new(1),
            changes: watch::Sender::new(0),
            refused: Mutex::default(),
            left: Mutex::default(),
            unreached: Mutex::default(),
            dials_until: Mutex::default(),
            came: Mutex::default(),
            pace: Pace::default(),
            strays: Strays::default(),
            telling: Telling::default(),
        };
        agents.put_in_force();
        Ok(agents)
    }

    /// The configuration was read again as `written`: it is in force with the services of agents when this returns, and every line has
    /// ended to a host that it names no more, or names otherwise.
    pub fn read_again(&self, written: Config) {
        let written = Arc::new(written);
        let before = std::mem::replace(&mut *held(&self.written), Arc::clone(&written));
        self.put_in_force();
        for name in before.hosts.keys().chain(written.hosts.keys()).filter(|name| before.dialled(name) != written.dialled(name)) {
            self.cut(name, Cut::Dialled);
        }
    }

    /// The agent is there but does not do its part in time, or does again.
    pub(super) fn set_stuck(&self, name: &AgentName, is_stuck: bool) {
        self.presence.set_stuck(name, is_stuck);
        if let Some(seat) = held(&self.seats).get(name) {
            // It is there as before, so nobody who waits for it is woken.
            seat.send_if_modified(|now| {
                if let Seat::Here(attached) = now
                    && attached.stuck_ms.is_some() != is_stuck
                {
                    attached.stuck_ms = is_stuck.then(clock::now_ms);
                }
                false
            });
        }
    }

    /// The line of `name` ends, whichever side began it, and nothing is sent over it any more.
    pub fn cut(&self, name: &AgentName, why: Cut) {
        self.presence.cut(name, why);
        if let Seat::Here(attached) = self.seat_of(name) {
            self.sit(name, Seat::Away { since_ms: clock::now_ms(), hello: attached.hello });
        }
    }

    pub(super) fn put_in_force(&self) {
        let written = held(&self.written);
        let placements = held(&self.placements).clone();
        let next = written.with_services_of_agents(&placements);
        self.see_left(&next);
        self.config.read_again(next);
        drop(written);
        self.tell_conflicts(&placements);
    }

    /// What stands on two hosts by one name, or on a host that the configuration does not name for it, is not taken from the second.
    fn tell_conflicts(&self, placements: &[Placement]) {
        let config = self.config.now();
        let mut refused = BTreeMap::new();
        for Placement { agent, service, .. } in placements {
            let hosts = config.service(service).map(|known| known.stack.agents());
            let first = placements.iter().find(|first| first.service == *service);
            let why = match (hosts, first) {
                (Some(hosts), _) if hosts.contains(agent) => continue,
                (Some(hosts), _) => not_taken(service, agent, hosts),
                (None, Some(first)) if first.agent != *agent => let_go(service, agent, &first.agent),
                (None, _) => continue,
            };
            if !held(&self.refused).contains_key(&(service.clone(), agent.clone())) {
                tracing::error!(service = %service, agent = %agent, "{why}");
            }
            refused.insert((service.clone(), agent.clone()), why);
        }
        *held(&self.refused) = refused;
    }

    /// Whether a registry may be asked for `repository` of a service on other hosts: the configuration names the image, or its registry.
    /// What only an agent names would let it send this server to any address.
    #[must_use]
    pub fn may_ask_registry(&self, repository: &Repository) -> bool {
        let written = Arc::clone(&held(&self.written));
        let is_listed = repository.registry().is_some_and(|host| written.registries.iter().any(|registry| registry.host == host));
        is_listed || written.services.values().any(|service| service.stack.has_image(repository))
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
        if self.is_elsewhere(agent) {
            return Some(format!("the agent {agent} is connected to another server of this database; ask that one"));
        }
        Some(held(&self.unreached).get(agent).map_or(why.clone(), |reason| format!("{why} ({})", reason.trim_end_matches('.'))))
    }

    /// Whether `agent` is connected to another server of the same database, which carries out what is for it.
    #[must_use]
    pub fn is_elsewhere(&self, agent: &AgentName) -> bool {
        self.presence.is_elsewhere(agent) || (self.config.now().dials(agent) && self.host(agent).is_none())
    }

    /// The agents that are connected to other servers of the same database, and not to this one.
    #[must_use]
    pub fn elsewhere(&self) -> Vec<AgentName> {
        self.presence.elsewhere()
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

    /// What `name` says over its line `number` takes the place of what it said when that began.
    pub(super) fn says_now(&self, name: &AgentName, number: u64, hello: Hello) {
        let Some(seat) = held(&self.seats).get(name).cloned() else { return };
        let hello = Arc::new(hello);
        seat.send_if_modified(|seat| match seat {
            Seat::Here(attached) if attached.number == number => {
                attached.hello = hello;
                true
            }
            _ => false,
        });
    }

    /// Serves the line of the agent `name`, who has proven to be that, until the line ends or a newer one of the same agent takes its
    /// place.
    pub async fn attach(&self, name: AgentName, line: ControlLine) {
        let ControlLine { to, mut from } = line;
        let said = match timeout(PATIENCE, from.recv()).await {
            Ok(Some(frame)) => gate::admit(&self.config.now(), &name, frame).map(Said::into_frame),
            Ok(None) => return,
            Err(_) => Ok(FromAgent::Unknown),
        };
        let hello = match said {
            Ok(FromAgent::Hello(hello)) => hello,
            Ok(_) => {
                tracing::warn!(agent = %name, "a line ends, because its agent did not begin with a hello");
                return;
            }
            Err(why) => return self.not_reached(&name, &format!("its hello is not taken, because {why}")),
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
        let attached = Attached { to: to.clone(), number, since_ms: clock::now_ms(), stuck_ms: None, hello: Arc::clone(&hello) };
        tracing::info!(agent = %name, version = hello.program, services = hello.services.len(), "an agent is there");
        *held(&self.came).entry(name.clone()).or_default() += 1;
        self.reached(&name);
        self.sit(&name, Seat::Here(attached));
        let mut seat = self.seat(&name);
        let replaced = seat.wait_for(|now| now.attached().is_none_or(|now| now.number != number));
        tokio::select! {
            () = self.hear(&name, number, &mut from, &to) => {}
            _ = replaced => {
                tracing::warn!(agent = %name, "a line ends, because a newer one of the same agent takes its place, or it was cut");
                return;
            }
        }
        let seat = self.seat_of(&name);
        if let Some(now) = seat.attached().filter(|now| now.number == number) {
            self.sit(&name, Seat::Away { since_ms: clock::now_ms(), hello: Arc::clone(&now.hello) });
            tracing::warn!(agent = %name, "an agent is away");
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
                None if store.may_tell(deployment, name).await? => Fence { id: deployment.clone(), run: 1, number: 0 },
                None => continue,
            };
            journals.push(Known { deployment: deployment.clone(), seq: store.last_seq(&fence).await? });
        }
        let mut newest_of = Vec::new();
        for service in &hello.services {
            newest_of.push(NewestOf { service: service.name.clone(), deployment: store.newest_ended(&service.name).await? });
        }
        let welcome = Welcome {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            store: self.store_id.clone(),
            newest: newest_of.iter().filter_map(|one| one.deployment.clone()).max(),
            newest_of,
            journals,
        };
        // A line that takes nothing ends by itself.
        let _ = timeout(PATIENCE, to.send(FromControl::Welcome(welcome))).await;
        Ok(())
    }

    /// What `agent` says of the order `id` from now on, as long as the first of both is kept.
    pub(super) fn listen(&self, id: &DeploymentId, agent: &AgentName) -> (Leaves<'_>, mpsc::Receiver<Said>) {
        let (errand, said) = mpsc::channel(ROOM);
        let whose = (id.clone(), agent.clone());
        held(&self.at_work).insert(whose.clone(), errand);
        (Leaves { agents: self, whose }, said)
    }
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
