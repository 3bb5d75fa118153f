//! What is owed to others: stored before it is told, and told until the receiver has it.
//!
//! A [`Lane`] is a kind of receivers with somebody who knows how to tell them; its [`Outbox`] is the one reconciler for all of
//! them. It takes no input: what is owed stands in the store, an event or a timer wakes it, and the next round is the retry.
//!
//! - Everything is told at least once. What is newer takes the place of what is owed under the same key.
//! - A receiver gets one thing after the other, in the order in which they were owed. One that hangs keeps nobody else waiting.
//! - Of several servers on one database one tells a receiver at a time; when that one is gone, another does.
//! - What is refused is kept to be seen, and is not tried again before something newer is owed, [`Outbox::revive`] or
//!   [`Outbox::try_refused`].
//! - So many are kept for one receiver and no more; what is dropped is counted.
//! - A receiver that asks for silence gets it, whatever else is owed to it meanwhile.

mod told;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use process::Cancel;
use tokio::sync::Notify;

use crate::clock;
use crate::clock::Backoff;
use crate::model::Lane;
use crate::store::Claimed;
use crate::store::Debt;
use crate::store::Owe;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Wait;

pub use told::Told;

/// How often it is looked without any event: another server may have left something behind.
const SLOW: Duration = Duration::from_secs(30);
/// The waits after a database that did not answer.
const STORE_AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30)).spread();
/// This long after telling must be over another server may tell: the end must be recorded.
const MARGIN: Duration = Duration::from_secs(30);
/// No receiver is left alone for longer, whatever it asks for.
const LONGEST_SILENCE: Duration = Duration::from_hours(24);

/// One lane, and who tells its receivers here.
#[derive(Debug)]
pub struct Outbox {
    store: Store,
    lane: Lane,
    holder: String,
    terms: Terms,
    wake: Notify,
}

/// How a lane's receivers are told.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long telling one of them may take.
    pub deadline: Duration,
    /// The waits after what could not be told.
    pub again: Backoff,
}

impl Outbox {
    /// The outbox of `lane`; anybody who tells its receivers here is called `holder`, a name of this server alone.
    #[must_use]
    pub fn new(store: Store, lane: Lane, holder: String, terms: Terms) -> Self {
        Self { store, lane, holder, terms, wake: Notify::new() }
    }

    /// Owes each of `all`: when this returns, that survives a restart. They are told `after` this at the earliest. Gives what is
    /// owed now.
    ///
    /// # Errors
    /// When the database does not answer; then nothing of it is owed.
    pub async fn owe(&self, all: &[Owe], after: Duration) -> Result<Vec<Debt>, StoreError> {
        let now_ms = clock::now_ms();
        let owed = self.store.owe(&self.lane, all, now_ms, now_ms + millis(after)).await?;
        self.wake.notify_one();
        Ok(owed)
    }

    /// Something was owed past this outbox: it is told at once.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// What is owed, and what was refused, by receiver and in order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn owed(&self) -> Result<Vec<Debt>, StoreError> {
        self.store.owed(&self.lane).await
    }

    /// The receiver has all of these: they are owed no more, unless something newer is under their keys by now.
    ///
    /// # Errors
    /// When the database does not answer; then all of them are told again.
    pub async fn settle(&self, debts: &[Debt]) -> Result<(), StoreError> {
        self.store.settle_all(&self.lane, debts).await
    }

    /// What is owed to `receiver` and was not refused, in order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn owed_to(&self, receiver: &str) -> Result<Vec<Debt>, StoreError> {
        self.store.owed_to(&self.lane, receiver).await
    }

    /// What waits or was refused is tried at once: what stood in the way may be another now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revive(&self) -> Result<(), StoreError> {
        self.store.revive(&self.lane).await?;
        self.wake.notify_one();
        Ok(())
    }

    /// Of what was refused, that is tried once more of which `is_due` says so.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn try_refused(&self, is_due: impl Fn(&Debt) -> bool) -> Result<(), StoreError> {
        let refused = self.store.refused(&self.lane).await?;
        for debt in refused.iter().filter(|debt| is_due(debt)) {
            self.store.try_again(&self.lane, debt).await?;
            self.wake.notify_one();
        }
        Ok(())
    }

    /// How many messages were dropped because too many were owed to one receiver, by receiver.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn dropped(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        self.store.dropped(&self.lane).await
    }

    /// Tells what is owed, by `tell`, until `stop`: each receiver in its own time, what is due at once, what failed after a wait.
    pub async fn keep_telling<F>(&self, tell: impl Fn(Debt) -> F + Sync, stop: &Cancel)
    where
        F: Future<Output = Told> + Send,
    {
        let mut telling = FuturesUnordered::new();
        let mut told: VecDeque<(Debt, Told)> = VecDeque::new();
        let mut busy = BTreeSet::new();
        let mut faults = STORE_AGAIN;
        while !stop.is_cancelled() {
            while let Some((debt, answer)) = told.pop_front() {
                busy.remove(&debt.receiver);
                beside(self.record_or_say(&debt, answer), &mut telling, &mut told).await;
            }
            let wait = match beside(self.claim(&busy), &mut telling, &mut told).await {
                Ok(claimed) => {
                    faults.reset();
                    for debt in claimed.debts {
                        busy.insert(debt.receiver.clone());
                        telling.push(self.in_time(debt.clone(), tell(debt)));
                    }
                    claimed.wait.map_or(SLOW, |wait| wait.min(SLOW))
                }
                Err(error) => {
                    tracing::warn!(lane = %self.lane, %error, "pending notifications could not be read; trying again");
                    faults.fail()
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                Some(one) = telling.next() => told.push_back(one),
                () = self.wake.notified() => {}
                () = tokio::time::sleep(if told.is_empty() { wait } else { Duration::ZERO }) => {}
            }
        }
        drop(telling);
        for (debt, answer) in told {
            self.record_or_say(&debt, answer).await;
        }
        if let Err(error) = self.store.let_go(&self.lane, &self.holder).await {
            tracing::debug!(lane = %self.lane, %error, "a notification that was being sent is left until its lease ends");
        }
    }

    async fn record_or_say(&self, debt: &Debt, answer: Told) {
        if let Err(error) = self.record(debt, answer).await {
            tracing::warn!(lane = %self.lane, receiver = debt.receiver, %error, "the result of a notification could not be recorded; it may be \
            sent twice");
        }
    }

    async fn claim(&self, busy: &BTreeSet<String>) -> Result<Claimed, StoreError> {
        self.store.take_due(&self.lane, &self.holder, busy, self.terms.deadline + MARGIN).await
    }

    async fn in_time(&self, debt: Debt, telling: impl Future<Output = Told>) -> (Debt, Told) {
        let limit = self.terms.deadline;
        let late = |_| Told::NotNow { why: format!("It did not answer within {} s.", limit.as_secs_f64()), after: None };
        let told = tokio::time::timeout(limit, telling).await.unwrap_or_else(late);
        (debt, told)
    }

    /// Records what the receiver made of `debt`.
    ///
    /// # Errors
    /// When the database does not answer; then it is told again.
    pub async fn record(&self, debt: &Debt, told: Told) -> Result<(), StoreError> {
        let lane = &self.lane;
        let receiver = &debt.receiver;
        let message = &debt.message;
        match told {
            Told::Taken => self.store.settle(lane, debt).await,
            Told::Gone => self.store.forgive(lane, receiver).await,
            Told::Later { why, wait } => self.store.postpone(lane, debt, &self.holder, clock::now_ms() + millis(wait), &why).await,
            Told::Refused { why } => {
                tracing::error!(%lane, receiver, %message, %why, "a receiver refused a notification");
                self.store.refuse(lane, debt, &self.holder, &why).await
            }
            Told::NotNow { why, after } => {
                let now_ms = clock::now_ms();
                let tries = debt.tries + 1;
                tracing::warn!(%lane, receiver, %message, tries, %why, "a notification could not be delivered; trying again");
                let wait = self.terms.again.after(u32::try_from(tries).unwrap_or(u32::MAX));
                let quiet_ms = after.map(|after| now_ms + millis(after.min(LONGEST_SILENCE)));
                self.store.put_off(lane, debt, &self.holder, &Wait { next_ms: now_ms + millis(wait), quiet_ms, why }).await
            }
        }?;
        self.wake.notify_one();
        Ok(())
    }
}

/// Does `work` while those who tell go on: they may have the very connection to the database that `work` waits for. What comes of them
/// meanwhile is put into `told`.
async fn beside<T, F>(work: impl Future<Output = T>, telling: &mut FuturesUnordered<F>, told: &mut VecDeque<(Debt, Told)>) -> T
where
    F: Future<Output = (Debt, Told)>,
{
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(one) = telling.next() => told.push_back(one),
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}
