//! Where orders are accepted. Those that come while others are being committed are taken together by the next commit, so the
//! disk is waited for once; each is decided by itself, in the order in which they came, and answered after its own commit has
//! been read back over another connection.
//!
//! Callers that were answered together tend to come again together. Without a moment's patience they would split into halves,
//! each of which waits for the other's commit; so the next batch waits for as many as there were, but only for a part of the
//! time that a commit takes.

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

/// How many orders one commit takes.
const MOST: usize = 32;

type Answer = Result<Accepted, OrderError>;

/// The next batch waits for those who were answered at most for this part of the time that the last one took.
const PATIENCE: u32 = 2;
/// A commit that took longer says nothing of the next one.
const MOST_PATIENCE: Duration = Duration::from_millis(20);

/// The orders that wait for the next commit.
#[derive(Debug, Default)]
pub(super) struct Desk {
    waiting: Mutex<Waiting>,
    /// Told when as many wait as are hoped for.
    enough: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    orders: VecDeque<(Asked, oneshot::Sender<Answer>)>,
    is_at_work: bool,
    /// How many the next batch waits for.
    hoped_for: usize,
}

impl Desk {
    /// Puts an order last. Returns whether nobody is at work, so that the caller must see to it.
    fn put(&self, asked: Asked, answer: oneshot::Sender<Answer>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.orders.push_back((asked, answer));
        if waiting.orders.len() >= waiting.hoped_for {
            self.enough.notify_one();
        }
        !std::mem::replace(&mut waiting.is_at_work, true)
    }

    /// Hopes for `answered` orders beside those that wait by now: anybody who is answered may come again at once.
    fn hope(&self, answered: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.hoped_for = (waiting.orders.len() + answered).min(MOST);
    }

    /// Waits until as many are there as are hoped for, or `patience` ends.
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

    /// The next orders; when there are none, the work ends.
    fn take(&self) -> Vec<(Asked, oneshot::Sender<Answer>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let many = waiting.orders.len().min(MOST);
        waiting.is_at_work = many > 0;
        waiting.orders.drain(..many).collect()
    }
}

/// Whatever breaks the work off, the next order begins it again.
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
    /// Accepts `order`: when this returns, it is on disk, a waiting order of the service is superseded, and, for a
    /// rollback, the running one is told to stop and the service is held. A repeated delivery gets its first answer. A caller
    /// that stops waiting takes nothing back.
    ///
    /// Which release of the record is `wanted` is looked up within the same transaction, so nothing changes meanwhile.
    ///
    /// # Errors
    /// [`OrderError`]; nothing has changed then, unless the database did not say whether it had.
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

    /// Accepts what waits until nothing does.
    async fn accept(self) {
        let mut at_work = AtWork { desk: Arc::clone(&self.desk), is_over: false };
        let mut patience = Duration::ZERO;
        self.desk.hope(0);
        loop {
            self.desk.gather(patience).await;
            let (asked, answers): (Vec<_>, Vec<_>) = self.desk.take().into_iter().unzip();
            if asked.is_empty() {
                // Anybody who comes from here on starts again, and may have begun already.
                at_work.is_over = true;
                return;
            }
            let began = Instant::now();
            let together: Vec<&Asked> = asked.iter().collect();
            let decided = self.accept_together(&together).await;
            patience = began.elapsed().min(MOST_PATIENCE) / PATIENCE;
            self.desk.hope(answers.len());
            for (answer, decided) in answers.into_iter().zip(decided) {
                // Who has gone has gone; the order stays.
                let _ = answer.send(decided);
            }
        }
    }

    /// Accepts a batch in one commit. What one order alone may be at fault for is tried again with each by itself.
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
        // A COMMIT that was not answered may have been carried out nevertheless: what is there tells, not the answer.
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

    /// Whether all that was accepted is there for somebody else.
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
