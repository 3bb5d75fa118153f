//! Accepts orders. Orders that arrive while others are being committed are accepted together by the next commit, so that there is one wait
//! for the disk. Each order is decided separately, in the order of arrival, and is answered after its commit was read back over another
//! connection.
//!
//! Callers that were answered together often send their next orders together. Without waiting a moment for them, they would split into two
//! halves that each wait for the other's commit. Therefore the next batch waits for as many orders as the last one had, but only for a
//! fraction of the time that a commit takes.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use sqlx::Row as _;
use tokio::sync::Notify;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::model::Order;
use crate::store::OrderError;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Terms;
use crate::store::Wanted;
use crate::store::batch;
use crate::store::batch::Decided;
use crate::store::many;
use crate::store::orders::Accepted;
use crate::store::orders::Asked;
use crate::store::orders::Delivery;

/// The most orders of one commit.
const MOST: usize = 32;

type Answer = Result<Accepted, OrderError>;

/// The next batch waits for further orders at most for the duration of the last commit divided by this.
const PATIENCE: u32 = 2;
/// The longest duration of a commit that counts for this; a longer one is an exception.
const MOST_PATIENCE: Duration = Duration::from_millis(20);

/// The orders that wait to be accepted.
#[derive(Debug, Default)]
pub(super) struct Desk {
    waiting: Mutex<Waiting>,
    /// Notified when as many orders wait as are expected.
    enough: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    orders: VecDeque<(Asked, oneshot::Sender<Answer>)>,
    is_at_work: bool,
    /// How many orders the next batch waits for.
    hoped_for: usize,
}

impl Desk {
    /// Appends an order. Returns whether no task is accepting orders, so that the caller must start one.
    fn put(&self, asked: Asked, answer: oneshot::Sender<Answer>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.orders.push_back((asked, answer));
        if waiting.orders.len() >= waiting.hoped_for {
            self.enough.notify_one();
        }
        !std::mem::replace(&mut waiting.is_at_work, true)
    }

    /// Expects `answered` orders in addition to those that wait by now, because callers that were answered may send their next order at
    /// once.
    fn hope(&self, answered: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.hoped_for = (waiting.orders.len() + answered).min(MOST);
    }

    /// Waits until as many orders wait as are expected, or until `patience` is over.
    async fn gather(&self, patience: Duration) {
        let until = Instant::now() + patience;
        loop {
            let enough = self.enough.notified();
            {
                let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.orders.len() >= waiting.hoped_for {
                    return;
                }
            }
            if tokio::time::timeout_at(until, enough).await.is_err() {
                return;
            }
        }
    }

    /// The next orders. If there are none, the accepting task ends.
    fn take(&self) -> Vec<(Asked, oneshot::Sender<Answer>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let many = waiting.orders.len().min(MOST);
        waiting.is_at_work = many > 0;
        waiting.orders.drain(..many).collect()
    }
}

/// Marks the accepting task as ended when it is dropped for any reason, so that the next order starts a new one.
struct AtWork {
    desk: Arc<Desk>,
    is_over: bool,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if !self.is_over {
            self.desk.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_at_work = false;
        }
    }
}

impl Store {
    /// Accepts `order`. When this returns, the order is on disk, a waiting order of the service is superseded, and for a rollback the
    /// running deployment is told to stop and the service is held. A repeated delivery gets its first answer. If the caller stops waiting,
    /// the order stays.
    ///
    /// The release that `wanted` means is looked up within the same transaction, so the record cannot change in between.
    ///
    /// # Errors
    /// [`OrderError`]; nothing has changed then, unless the database did not say whether the commit succeeded.
    pub async fn enqueue(
        &self,
        order: &Order,
        wanted: &Wanted,
        delivery: Option<&Delivery>,
        terms: &Terms,
    ) -> Result<Accepted, OrderError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { order: order.clone(), wanted: wanted.clone(), delivery: delivery.cloned(), terms: terms.clone() };
        if self.desk.put(asked, answer) {
            tokio::spawn(self.clone().accept());
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::from(sqlx::Error::WorkerCrashed).into()))
    }

    /// Accepts orders until none is waiting.
    async fn accept(self) {
        let mut at_work = AtWork { desk: Arc::clone(&self.desk), is_over: false };
        let mut patience = Duration::ZERO;
        self.desk.hope(0);
        loop {
            self.desk.gather(patience).await;
            let (asked, answers): (Vec<_>, Vec<_>) = self.desk.take().into_iter().unzip();
            if asked.is_empty() {
                // From here on the next order starts a new task, and may already have done so.
                at_work.is_over = true;
                return;
            }
            let began = Instant::now();
            let together: Vec<&Asked> = asked.iter().collect();
            let decided = self.accept_together(&together).await;
            patience = began.elapsed().min(MOST_PATIENCE) / PATIENCE;
            self.desk.hope(answers.len());
            for (answer, decided) in answers.into_iter().zip(decided) {
                // If the caller is gone, the order stays nevertheless.
                let _ = answer.send(decided);
            }
        }
    }

    /// Accepts a batch in one commit. If one order alone may be the reason for a failure, each order is tried again separately.
    async fn accept_together(&self, batch: &[&Asked]) -> Decided {
        let error = match self.accept_once(batch).await {
            Ok(decided) => return decided,
            Err(error) => error,
        };
        if batch.len() > 1 && error.may_be_one_rows_fault() {
            let mut decided = Vec::with_capacity(batch.len());
            for asked in batch {
                decided.push(match self.accept_once(&[asked]).await {
                    Ok(mut one) => one.remove(0),
                    Err(error) => Err(error.into()),
                });
            }
            return decided;
        }
        let shared = Arc::new(error);
        batch.iter().map(|_| Err(StoreError::Shared(Arc::clone(&shared)).into())).collect()
    }

    async fn accept_once(&self, batch: &[&Asked]) -> Result<Decided, StoreError> {
        let mut tx = self.gate.begin().await?;
        let (decided, head) = batch::carry(&mut tx, batch).await?;
        let committed = tx.commit().await;
        let Some(head) = head else {
            committed?;
            return Ok(decided);
        };
        // A COMMIT whose answer was lost may have succeeded nevertheless, so the rows are looked up.
        let there = match self.read_back(&decided).await {
            Ok(there) => there,
            Err(_) if committed.is_ok() => self.read_back(&decided).await?,
            Err(error) => return Err(committed.err().map_or(error, StoreError::from)),
        };
        if !there {
            committed?;
            tracing::error!("orders were committed, but another connection does not find them");
            return Err(StoreError::NotKept);
        }
        self.head.note(&self.gate, &head).await;
        Ok(decided)
    }

    /// Whether all accepted orders are visible to another connection.
    async fn read_back(&self, decided: &Decided) -> Result<bool, StoreError> {
        let mut wanted: HashSet<&str> = decided.iter().flatten().filter(|one| !one.repeated).map(|one| one.id.as_str()).collect();
        let ids: Vec<&str> = wanted.iter().copied().collect();
        let ids = many::padded(&ids);
        let query = many::among("SELECT id FROM deployments WHERE id IN", 1, ids.len());
        for row in self.gate.fetch_all(ids.iter().fold(query, |query, id| query.bind(*id))).await? {
            wanted.remove(row.try_get::<String, _>("id")?.as_str());
        }
        Ok(wanted.is_empty())
    }
}
