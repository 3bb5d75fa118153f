//! People hear of what happened, by the notifiers of the configuration.
//!
//! Two reconcilers, which take no input. One looks for deployments that have ended, for debts that stay, and for events that others have
//! recorded, and owes each of them once to whoever wants it; the other tells what is owed. Runs and orders know of neither, so that no
//! notifier can change or delay an outcome. What was missed is found by the next look, after a restart as well.

mod debts;
mod desk;
mod ends;
mod tell;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use process::Cancel;
use tokio::sync::Notify;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::api;
use crate::clock;
use crate::clock::Backoff;
use crate::config::Config;
use crate::config::Live;
use crate::model::Event;
use crate::model::Lane;
use crate::model::Message;
use crate::notices::desk::Desk;
use crate::outbox::Outbox;
use crate::outbox::Terms;
use crate::store::Debt;
use crate::store::Owe;
use crate::store::Store;
use crate::store::StoreError;
use crate::telemetry::Metrics;

pub use words::trial;

/// How often it looks without being told: another server may have recorded something.
const ROUND: Duration = Duration::from_secs(10);
/// How often it looks for debts that stay.
const SLOW_ROUND: Duration = Duration::from_mins(1);
/// The first look finds what ended so long ago: an earlier life may not have owed it any more.
const FIRST_LOOK_MS: i64 = 24 * 3_600_000;
/// The later ones: servers' clocks may be apart, and a database may have been away.
const LATER_LOOK_MS: i64 = 30 * 60_000;
/// What was not taken for so long is told to people.
const LONG_MS: i64 = 15 * 60_000;
/// The name in the record of when there was anybody to tell for the first time.
const SINCE: &str = "notifiers_since";
/// A service that is away is asked again within a minute, however long it is away. The deadline is for the wait between two messages
/// and for two calls.
const TERMS: Terms =
    Terms { deadline: Duration::from_mins(2), again: Backoff::new(Duration::from_secs(1), Duration::from_mins(1)).spread() };

/// What people are told.
#[derive(Debug)]
pub struct Notices {
    config: Live<Config>,
    store: Store,
    metrics: Arc<Metrics>,
    outbox: Outbox,
    /// The notifiers in use, by their ids.
    desks: Mutex<BTreeMap<String, Arc<Desk>>>,
    /// Since when there is anybody to tell (ms since 1970, UTC).
    since_ms: OnceCell<i64>,
    wake: Notify,
    /// The configuration was read again: what was refused may be taken now.
    revives: AtomicBool,
}

impl Notices {
    /// What this server, called `executor`, owes and tells.
    #[must_use]
    pub fn new(config: Live<Config>, store: Store, metrics: Arc<Metrics>, executor: &str) -> Self {
        let outbox = Outbox::new(store.clone(), Lane::Notifiers, executor.to_owned(), TERMS);
        let wake = Notify::new();
        let revives = AtomicBool::new(true);
        Self { config, store, metrics, outbox, desks: Mutex::default(), since_ms: OnceCell::new(), wake, revives }
    }

    /// The configuration was read again: what was refused is tried once more.
    pub fn read_again(&self) {
        self.revives.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Owes and tells until `stop`.
    pub async fn work(self: Arc<Self>, stop: Cancel) {
        tokio::join!(self.keep_looking(&stop), self.outbox.keep_telling(|debt| self.tell(debt), &stop));
    }

    /// How each notifier of the configuration stands.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn states(&self) -> Result<Vec<api::Notifier>, StoreError> {
        let config = self.config.now();
        if config.notifiers.is_empty() {
            return Ok(Vec::new());
        }
        let owed = self.outbox.owed().await?;
        let dropped = self.outbox.dropped().await?;
        let state = |notifier: &Arc<crate::config::Notify>| {
            let mine: Vec<&Debt> = owed.iter().filter(|debt| debt.receiver == notifier.id.as_str()).collect();
            // What was refused is seen before what is only tried again.
            let worst = mine.iter().find(|debt| debt.refused_ms.is_some()).or_else(|| mine.first());
            api::Notifier {
                id: notifier.id.to_string(),
                kind: notifier.to.kind().to_owned(),
                owed: mine.iter().filter(|debt| debt.refused_ms.is_none()).count(),
                refused: mine.iter().filter(|debt| debt.refused_ms.is_some()).count(),
                dropped: dropped.get(notifier.id.as_str()).copied().unwrap_or_default(),
                since_ms: mine.iter().map(|debt| debt.since_ms).min(),
                tries: worst.map_or(0, |debt| debt.tries),
                why: worst.and_then(|debt| debt.why.clone()),
            }
        };
        Ok(config.notifiers.iter().map(state).collect())
    }

    /// Updates the metrics of the notifiers.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn measure(&self) -> Result<(), StoreError> {
        for state in self.states().await? {
            let is_failing = state.refused > 0 || state.tries > 0;
            self.metrics.set_notifier(&state.id, state.owed, state.dropped, is_failing);
        }
        Ok(())
    }

    async fn keep_looking(&self, stop: &Cancel) {
        let mut since_ms = clock::now_ms() - FIRST_LOOK_MS;
        let mut slow = None::<Instant>;
        while !stop.is_cancelled() {
            let is_slow_due = slow.is_none_or(|last| last.elapsed() >= SLOW_ROUND);
            match self.look_once(since_ms, is_slow_due).await {
                Ok(()) => {
                    since_ms = clock::now_ms() - LATER_LOOK_MS;
                    slow = slow.filter(|_| !is_slow_due).or_else(|| Some(Instant::now()));
                }
                Err(error) => tracing::warn!(%error, "what people are to be told could not be recorded; trying again"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.store.news() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    async fn look_once(&self, since_ms: i64, is_slow_due: bool) -> Result<(), StoreError> {
        if self.revives.swap(false, Ordering::Relaxed) {
            self.outbox.revive().await.inspect_err(|_| self.revives.store(true, Ordering::Relaxed))?;
        }
        let config = self.config.now();
        if !config.notifiers.is_empty() {
            self.notice_ends(since_ms.max(self.first_ms().await?)).await?;
            if is_slow_due {
                self.notice_debts().await?;
            }
        }
        self.owe_events(&config).await
    }

    /// Since when there is anybody to tell: what ended before is no news to them.
    async fn first_ms(&self) -> Result<i64, StoreError> {
        let read = async {
            let since = self.store.named_value(SINCE, || clock::now_ms().to_string()).await?;
            Ok(since.parse().unwrap_or_default())
        };
        self.since_ms.get_or_try_init(|| read).await.copied()
    }

    /// Each receiver that has not had something for long is an event.
    async fn notice_debts(&self) -> Result<(), StoreError> {
        let now_ms = clock::now_ms();
        for owed in self.store.owed_long(now_ms - LONG_MS).await? {
            self.store.happened(&debts::stays(&owed, now_ms)).await?;
        }
        Ok(())
    }

    /// Every event is owed to those who want it; where nobody does, that is over as well.
    async fn owe_events(&self, config: &Config) -> Result<(), StoreError> {
        loop {
            let events = self.store.events_to_owe().await?;
            for event in &events {
                let owes: Vec<Owe> = config.notifiers.iter().filter(|one| is_for(one, event)).map(|one| owe(one, event)).collect();
                if self.store.owe_event(&Lane::Notifiers, &event.name, &owes).await? && !owes.is_empty() {
                    self.outbox.wake();
                }
            }
            if events.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Whether `notifier` tells `event`; none tells that it fails itself.
fn is_for(notifier: &crate::config::Notify, event: &Event) -> bool {
    notifier.wants(event) && debts::notifier_of(&event.name) != Some(notifier.id.as_str())
}

fn owe(notifier: &crate::config::Notify, event: &Event) -> Owe {
    Owe { receiver: notifier.id.to_string(), key: event.name.to_string(), message: Message::Event(event.name.clone()) }
}
