//! The far end of a line: an agent takes its orders over a connection that it dialled itself, through the same door as every other
//! caller, and tells the control plane what becomes of them. What it has accepted it finishes, whoever is there.

mod answers;
mod dial;
mod intake;
mod local;
mod reporter;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Mutex;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock;
use crate::config::Config;
use crate::config::Live;
use crate::config::Service;
use crate::journal::Hub;
use crate::line::AgentLine;
use crate::line::FromAgent;
use crate::line::FromControl;
use crate::line::Hello;
use crate::line::HostFacts;
use crate::line::NewestOf;
use crate::line::ServiceSeen;
use crate::line::VERSION;
use crate::line::Welcome;
use crate::model::DatasetName;
use crate::model::DeploymentId;
use crate::orders::Deployer;
use crate::reload::Reloader;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Untold;
use crate::watch::Watcher;

pub use dial::Dial;
pub use local::socket;

use reporter::Heard;
use reporter::Reporter;

/// How long the control plane has for its welcome.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many journals a hello names.
const MOST_NAMED: i64 = 64;
/// How many questions are answered at a time.
const MOST_ASKED: usize = 8;
/// How many frames wait for the reporter.
const ROOM: usize = 64;

/// What serves lines to control planes.
#[derive(Debug)]
pub struct Agent {
    config: Live<Config>,
    store: Store,
    hub: Hub,
    deployer: Arc<Deployer>,
    watcher: Arc<Watcher>,
    reloader: Arc<Reloader>,
    /// Held by the one line that is served: what came over an older one is finished before.
    turn: Mutex<()>,
}

/// Why a line is not served any more.
#[derive(Debug, thiserror::Error)]
pub enum Unserved {
    /// It has ended.
    #[error("the line has ended")]
    Ended,
    /// The control plane said nothing that is understood.
    #[error("the control plane did not answer the hello")]
    NoWelcome,
    /// Another major version.
    #[error("{0}")]
    Version(String),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Agent {
    /// An agent that serves no line yet.
    #[must_use]
    pub fn new(
        config: Live<Config>,
        store: &Store,
        hub: Hub,
        deployer: Arc<Deployer>,
        watcher: Arc<Watcher>,
        reloader: Arc<Reloader>,
    ) -> Self {
        Self { config, store: store.for_runs(), hub, deployer, watcher, reloader, turn: Mutex::default() }
    }

    /// Serves a line until it ends. A later line waits for an earlier one to end.
    pub async fn serve(&self, line: AgentLine) -> Unserved {
        let _turn = self.turn.lock().await;
        let AgentLine { to, mut from } = line;
        // What changes from here on is told.
        let mut changes = self.config.changes();
        match self.begin(&to, &mut from).await {
            Ok((hello, welcome)) => {
                tracing::info!(version = welcome.program, "the control plane welcomed this agent");
                let ended = tokio::select! {
                    ended = self.go_on(&to, &mut from) => ended,
                    ended = self.say_what_changes(&mut changes, hello, &to) => ended,
                };
                ended.map_or_else(Unserved::Store, |()| Unserved::Ended)
            }
            Err(error) => error,
        }
    }

    /// Says hello again whenever another configuration names other services or datasets than the hello `told`, until the line ends.
    async fn say_what_changes(
        &self,
        changes: &mut watch::Receiver<Arc<Config>>,
        told: Hello,
        to: &mpsc::Sender<FromAgent>,
    ) -> Result<(), StoreError> {
        let mut told = configured(&told);
        while changes.changed().await.is_ok() {
            let hello = self.hello(Vec::new()).await?;
            let now = configured(&hello);
            if now == told {
                continue;
            }
            tracing::info!(services = hello.services.len(), "the control plane is told of another configuration");
            if to.send(FromAgent::Hello(hello)).await.is_err() {
                return Ok(());
            }
            told = now;
        }
        Ok(())
    }

    /// Whether a control plane is connected, or something is left to do for one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn is_needed(&self) -> Result<bool, StoreError> {
        let is_served = self.turn.try_lock().is_err();
        Ok(is_served || self.store.counts().await? != (0, 0))
    }

    /// Hello and welcome. From then on both know what the other has.
    async fn begin(&self, to: &mpsc::Sender<FromAgent>, from: &mut mpsc::Receiver<FromControl>) -> Result<(Hello, Welcome), Unserved> {
        let journals = self.store.untold(MOST_NAMED).await?;
        let named: Vec<DeploymentId> = journals.iter().map(|one| one.id.clone()).collect();
        let hello = self.hello(named).await?;
        to.send(FromAgent::Hello(hello.clone())).await.map_err(|_| Unserved::Ended)?;
        let welcome = loop {
            match timeout(PATIENCE, from.recv()).await {
                Ok(Some(FromControl::Welcome(welcome))) => break welcome,
                Ok(Some(FromControl::Unknown)) => {}
                Ok(None) => return Err(Unserved::Ended),
                Ok(Some(_)) | Err(_) => return Err(Unserved::NoWelcome),
            }
        };
        VERSION.speaks(welcome.version, "the control plane").map_err(Unserved::Version)?;
        self.store.tells(&welcome.store, welcome.newest.as_ref()).await?;
        for NewestOf { service, deployment } in &welcome.newest_of {
            self.store.tells_of(service, deployment.as_ref()).await?;
        }
        for untold in journals {
            let known = welcome.journals.iter().find(|known| known.deployment == untold.id);
            let seq = known.map_or(0, |known| known.seq);
            let position = self.store.position_of(&untold.id, seq).await?.min(untold.position);
            if position != untold.position || (known.is_none() && untold.ended) {
                let ended = untold.ended && known.is_some();
                self.store.was_told(&Untold { position, ended, id: untold.id }, false).await?;
            }
        }
        Ok((hello, welcome))
    }

    async fn hello(&self, journals: Vec<DeploymentId>) -> Result<Hello, StoreError> {
        let mut services = Vec::new();
        let config = self.config.now();
        for service in config.services.values().filter(|service| service.stack.is_here()) {
            services.push(self.service_seen(service).await?);
        }
        let datasets = config.datasets.keys().cloned().collect();
        Ok(Hello { version: VERSION, program: env!("CARGO_PKG_VERSION").to_owned(), host: host(), services, datasets, journals })
    }

    async fn service_seen(&self, service: &Service) -> Result<ServiceSeen, StoreError> {
        let live = self.store.last_verified(&service.name, 1).await?.into_iter().next().and_then(Result::ok);
        Ok(ServiceSeen {
            name: service.name.clone(),
            images: service.stack.pins().iter().map(|pin| pin.image.clone()).collect(),
            address: service.smoke.as_ref().map(|smoke| smoke.plan.url.to_string()),
            live: live.map(|live| live.images.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        })
    }

    /// Takes what comes, and tells what there is to tell, side by side.
    async fn go_on(&self, to: &mpsc::Sender<FromAgent>, from: &mut mpsc::Receiver<FromControl>) -> Result<(), StoreError> {
        let (heard, hears) = mpsc::channel(ROOM);
        let reporter = Reporter::new(&self.store, &self.hub, to.clone(), hears);
        let taking = async {
            let mut answers = FuturesUnordered::new();
            loop {
                let frame = tokio::select! {
                    frame = from.recv() => frame,
                    // What takes long to answer keeps no order waiting.
                    Some(answer) = answers.next() => match to.send(FromAgent::Answer(answer)).await {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                };
                let (about, answer) = match frame {
                    None => return,
                    Some(FromControl::Order(order)) => (Some(Heard::At(order.deployment.clone())), self.take(*order).await),
                    Some(FromControl::Cancel(cancel)) => (Some(Heard::At(cancel.deployment.clone())), self.cancel(&cancel).await),
                    Some(FromControl::Ack(ack)) => (Some(Heard::Ack(ack)), None),
                    Some(FromControl::Ask(asked)) if answers.len() < MOST_ASKED => {
                        answers.push(self.answer(asked));
                        continue;
                    }
                    Some(FromControl::Ask(asked)) => (None, Some(FromAgent::Answer(answers::too_many(&asked)))),
                    Some(FromControl::Unreadable(what)) => (None, self.cannot_read(what).await),
                    Some(FromControl::Welcome(_) | FromControl::Unknown) => (None, None),
                };
                if let Some(answer) = answer
                    && to.send(answer).await.is_err()
                {
                    return;
                }
                if let Some(about) = about
                    && heard.send(about).await.is_err()
                {
                    return;
                }
            }
        };
        tokio::select! {
            () = taking => Ok(()),
            () = to.closed() => Ok(()),
            told = reporter.tell() => told,
        }
    }
}

/// What of a hello follows from the configuration alone.
fn configured(hello: &Hello) -> (Vec<ServiceSeen>, Vec<DatasetName>) {
    let services = hello.services.iter().map(|service| ServiceSeen { live: Vec::new(), ..service.clone() });
    (services.collect(), hello.datasets.clone())
}

fn host() -> HostFacts {
    let uname = rustix::system::uname();
    HostFacts {
        name: uname.nodename().to_string_lossy().into_owned(),
        system: uname.sysname().to_string_lossy().into_owned(),
        architecture: uname.machine().to_string_lossy().into_owned(),
        now_ms: clock::now_ms(),
    }
}
