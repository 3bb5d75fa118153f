//! The journal: lines of a deployment and its runs, stored in batches and told to anybody who follows.
//!
//! A line is first stored and then told, so a follower reads everything from the store and nothing can be missed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use text::Mask;
use tokio::sync::OwnedRwLockReadGuard;
use tokio::sync::RwLock;
use tokio::sync::mpsc;
use tokio::sync::watch;

use crate::clock;
use crate::model::DeploymentId;
use crate::model::LineDraft;
use crate::model::LineKind;
use crate::model::Stage;
use crate::model::Step;
use crate::store::Fence;
use crate::store::Store;
use crate::store::StoreError;

pub use text::clean;

/// How long lines are gathered before they are stored together.
const GATHER: Duration = Duration::from_millis(40);
/// How long until lines that could not be stored are tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long the end of a journal waits for a database that does not take its last lines.
const LAST_TRY: Duration = Duration::from_secs(10);

/// Who follows what, in this process.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    topics: Arc<Mutex<HashMap<DeploymentId, watch::Sender<i64>>>>,
    /// Changes whenever there is something new about any deployment.
    news: Arc<watch::Sender<u64>>,
    /// How many journals wait for a database that does not take their lines.
    stuck: Arc<AtomicUsize>,
    /// Read by every writer that still has lines to store.
    writing: Arc<RwLock<()>>,
}

impl Hub {
    /// A signal that changes whenever lines of `id` were stored here, and when it ended.
    #[must_use]
    pub fn follow(&self, id: &DeploymentId) -> watch::Receiver<i64> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.entry(id.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// A signal that changes whenever there is something new about any deployment.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Tells the followers of `id` that there is more to read.
    pub fn tell(&self, id: &DeploymentId) {
        self.news.send_modify(|count| *count += 1);
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(id) {
            topic.send_modify(|count| *count += 1);
        }
        topics.retain(|_, topic| topic.receiver_count() > 0);
    }

    /// Waits until every journal that has no owner any more is stored: an orderly stop loses no line.
    pub async fn settled(&self) {
        let _all = self.writing.write().await;
    }

    /// Whether lines wait that cannot be stored: no new order should be taken then.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        self.stuck.load(Ordering::Relaxed) > 0
    }
}

/// A journal that waits. However it ends, it does not wait any more.
struct Stuck(Arc<AtomicUsize>);

impl Stuck {
    fn of(hub: &Hub) -> Self {
        hub.stuck.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&hub.stuck))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The journal of one run that is being carried out here. Giving it a line never waits.
#[derive(Debug)]
pub struct Journal {
    pen: Arc<Pen>,
    writer: tokio::task::JoinHandle<()>,
}

/// Writes to a journal beside its owner, until that is closed.
#[derive(Debug, Clone)]
pub struct Voice(Weak<Pen>);

impl Voice {
    /// What a person should look at; nothing when the journal is closed.
    pub fn warning(&self, text: &str) {
        if let Some(pen) = self.0.upgrade() {
            pen.line(LineKind::Warning, text);
        }
    }
}

#[derive(Debug)]
struct Pen {
    sender: mpsc::UnboundedSender<LineDraft>,
    mask: Arc<Mask>,
    /// The step that lines belong to, and the number of the next one.
    at: Mutex<(Stage, i64)>,
}

impl Pen {
    fn line(&self, kind: LineKind, text: &str) {
        let text = clean(&self.mask.hide(text));
        // Lines are sent in the order of their numbers.
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let line = LineDraft { seq: at.1, at_ms: clock::now_ms(), step: at.0, kind, text };
        at.1 += 1;
        // The writer ends after this value only.
        let _ = self.sender.send(line);
    }
}

impl Journal {
    /// Goes on behind the last stored line of the run. One that another executor has taken over stores nothing any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(store: &Store, hub: &Hub, fence: &Fence, mask: Arc<Mask>) -> Result<Self, StoreError> {
        let next_seq = store.last_seq(fence).await? + 1;
        let (sender, receiver) = mpsc::unbounded_channel();
        let writing = Arc::clone(&hub.writing).read_owned().await;
        let writer = tokio::spawn(write(store.clone(), hub.clone(), fence.clone(), receiver, writing));
        Ok(Self { pen: Arc::new(Pen { sender, mask, at: Mutex::new((Step::Guards.into(), next_seq)) }), writer })
    }

    /// The step that lines belong to from now on; `title` says what happens in it.
    pub fn step(&mut self, step: impl Into<Stage>, title: &str) {
        self.pen.at.lock().unwrap_or_else(PoisonError::into_inner).0 = step.into();
        self.line(LineKind::Step, title);
    }

    /// What tagalong has to say.
    pub fn note(&mut self, text: impl AsRef<str>) {
        self.line(LineKind::Note, text.as_ref());
    }

    /// What a person should look at.
    pub fn warning(&mut self, text: impl AsRef<str>) {
        self.line(LineKind::Warning, text.as_ref());
    }

    /// Why something failed.
    pub fn error(&mut self, text: impl AsRef<str>) {
        self.line(LineKind::Error, text.as_ref());
    }

    /// A line of a program's or container's output.
    pub fn output(&mut self, text: impl AsRef<str>) {
        self.line(LineKind::Output, text.as_ref());
    }

    /// Another hand for this journal.
    #[must_use]
    pub fn voice(&self) -> Voice {
        Voice(Arc::downgrade(&self.pen))
    }

    fn line(&mut self, kind: LineKind, text: &str) {
        self.pen.line(kind, text);
    }

    /// Stores what is left and gives the number for the outcome's line.
    pub async fn close(self) -> i64 {
        let next_seq = self.pen.at.lock().unwrap_or_else(PoisonError::into_inner).1;
        drop(self.pen);
        let _ = self.writer.await;
        next_seq
    }
}

async fn write(store: Store, hub: Hub, fence: Fence, mut lines: mpsc::UnboundedReceiver<LineDraft>, _writing: OwnedRwLockReadGuard<()>) {
    let mut last_try = None;
    while let Some(first) = lines.recv().await {
        let mut batch = vec![first];
        tokio::time::sleep(if lines.is_closed() { Duration::ZERO } else { GATHER }).await;
        while let Ok(line) = lines.try_recv() {
            batch.push(line);
        }
        // A full disk is freed again sooner or later: the lines wait, and the API takes no new order meanwhile.
        let mut stuck = None;
        while let Err(error) = store.append_lines(&fence, &batch).await {
            if matches!(error, StoreError::Fenced) {
                return;
            }
            // Where somebody holds this very row, every other journal can be written.
            if stuck.is_none() && !error.is_held() {
                tracing::error!(deployment = %fence.id, %error, "journal lines could not be stored");
                stuck = Some(Stuck::of(&hub));
            }
            if lines.is_closed() && last_try.get_or_insert_with(tokio::time::Instant::now).elapsed() > LAST_TRY {
                tracing::error!(deployment = %fence.id, lines = batch.len(), "the last lines of a journal are lost");
                return;
            }
            tokio::time::sleep(AGAIN).await;
            while let Ok(line) = lines.try_recv() {
                batch.push(line);
            }
        }
        drop(stuck);
        hub.tell(&fence.id);
    }
}
