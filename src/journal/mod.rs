//! The journal: lines of a deployment, stored in batches and told to whoever follows.
//!
//! A line is first stored and then told, so a follower reads everything from the store and nothing can be missed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedRwLockReadGuard;
use tokio::sync::RwLock;
use tokio::sync::mpsc;
use tokio::sync::watch;

use crate::clock;
use crate::model::DeploymentId;
use crate::model::Line;
use crate::model::LineKind;
use crate::model::Mask;
use crate::model::Step;
use crate::store::Fence;
use crate::store::Store;
use crate::store::StoreError;

pub use crate::model::clean;

/// How long lines are gathered before they are stored together.
const GATHER: Duration = Duration::from_millis(40);
/// How long the end of a journal waits for a database that does not take its last lines.
const LAST_TRY: Duration = Duration::from_secs(10);

/// Who follows what, in this process.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    topics: Arc<Mutex<HashMap<DeploymentId, watch::Sender<i64>>>>,
    unwritable: Arc<AtomicBool>,
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

    /// Tells the followers of `id` that there is more to read.
    pub fn tell(&self, id: &DeploymentId) {
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

    /// Whether lines could not be stored lately: no new order should be taken then.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        self.unwritable.load(Ordering::Relaxed)
    }
}

/// The journal of one deployment that is being carried out here. Giving it a line never waits.
#[derive(Debug)]
pub struct Journal {
    sender: mpsc::UnboundedSender<Line>,
    mask: Arc<Mask>,
    step: Step,
    next_seq: i64,
    writer: tokio::task::JoinHandle<()>,
}

impl Journal {
    /// Goes on behind the last stored line of the deployment. A run that another has taken over stores nothing any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(store: &Store, hub: &Hub, fence: &Fence, mask: Arc<Mask>) -> Result<Self, StoreError> {
        let next_seq = store.last_seq(&fence.id).await? + 1;
        let (sender, receiver) = mpsc::unbounded_channel();
        let writing = Arc::clone(&hub.writing).read_owned().await;
        let writer = tokio::spawn(write(store.clone(), hub.clone(), fence.clone(), receiver, writing));
        Ok(Self { sender, mask, step: Step::Guards, next_seq, writer })
    }

    /// The step that lines belong to from now on; `title` says what happens in it.
    pub fn step(&mut self, step: Step, title: &str) {
        self.step = step;
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

    fn line(&mut self, kind: LineKind, text: &str) {
        let text = clean(&self.mask.hide(text));
        let line = Line { seq: self.next_seq, at_ms: clock::now_ms(), step: self.step, kind, text };
        self.next_seq += 1;
        // The writer ends after this value only.
        let _ = self.sender.send(line);
    }

    /// Stores what is left and gives the number for the outcome's line.
    pub async fn close(self) -> i64 {
        drop(self.sender);
        let _ = self.writer.await;
        self.next_seq
    }
}

async fn write(store: Store, hub: Hub, fence: Fence, mut lines: mpsc::UnboundedReceiver<Line>, _writing: OwnedRwLockReadGuard<()>) {
    let mut last_try = None;
    while let Some(first) = lines.recv().await {
        let mut batch = vec![first];
        tokio::time::sleep(if lines.is_closed() { Duration::ZERO } else { GATHER }).await;
        while let Ok(line) = lines.try_recv() {
            batch.push(line);
        }
        // A full disk is freed again sooner or later: the lines wait, and the API takes no new order meanwhile.
        while let Err(error) = store.append_lines(&fence, &batch).await {
            if matches!(error, StoreError::Fenced) {
                return;
            }
            if !hub.unwritable.swap(true, Ordering::Relaxed) {
                tracing::error!(deployment = %fence.id, %error, "journal lines cannot be stored");
            }
            if lines.is_closed() && last_try.get_or_insert_with(tokio::time::Instant::now).elapsed() > LAST_TRY {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            while let Ok(line) = lines.try_recv() {
                batch.push(line);
            }
        }
        hub.unwritable.store(false, Ordering::Relaxed);
        hub.tell(&fence.id);
    }
}
