//! One reader for each deployment whose journal is followed. Only the reader asks the store for new lines; it notifies the followers, which
//! take the lines from memory. A follower that is behind the lines in memory reads a range from the store, and other followers at the same
//! position then find it in memory. So a follower costs the database almost nothing, and no deployment waits for one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use actix_web::web;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::http::Shared;
use crate::http::pages;
use crate::http::pages::Form;
use crate::http::pages::Pages;
use crate::http::pages::Piece;
use crate::model::DeploymentId;
use crate::model::Outcome;
use crate::model::State;
use crate::orders;
use crate::store::StoreError;

/// How many lines are read at a time.
const LINES: i64 = 512;
/// How often a deployment that runs on this server is looked at; the reader is notified of its changes anyway.
const SELDOM: Duration = Duration::from_secs(10);
/// How often a deployment that may run on another server is looked at; also the pause after a failed look.
const LOOK: Duration = Duration::from_secs(1);
/// The more followers there are, the more lines are collected before they are notified again: the pause for each follower, and the longest
/// pause.
const PAUSE_EACH: Duration = Duration::from_micros(400);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// The readers that followers need now.
#[derive(Debug, Default)]
pub struct Readers {
    open: Mutex<HashMap<DeploymentId, Weak<Reader>>>,
    /// How many bytes of lines all readers keep.
    kept: Arc<AtomicUsize>,
}

/// How much of a journal is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The position of the last line.
    pub(super) position: i64,
    /// The outcome as a JSON object, when no line follows any more; empty if the deployment is gone.
    pub(super) end: Option<Arc<str>>,
}

/// The reader of one deployment's journal. It ends when the last of its users drops it.
#[derive(Debug)]
pub(super) struct Reader {
    journal: Arc<Journal>,
    watch: OnceLock<AbortHandle>,
}

struct Journal {
    id: DeploymentId,
    shared: web::Data<Shared>,
    pages: Mutex<Pages>,
    /// Held by a follower that reads lines which are no longer in memory, so that others wait and then find them.
    reading: tokio::sync::Mutex<()>,
    seen: watch::Sender<Seen>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Journal").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Readers {
    /// The reader of `id`: the same one for all who need it at the same time.
    pub(super) fn of(&self, shared: &web::Data<Shared>, id: &DeploymentId) -> Arc<Reader> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = open.get(id).and_then(Weak::upgrade) {
            return reader;
        }
        open.retain(|_, reader| reader.strong_count() > 0);
        let journal = Journal {
            id: id.clone(),
            shared: shared.clone(),
            pages: Mutex::new(Pages::new(Arc::clone(&self.kept))),
            reading: tokio::sync::Mutex::default(),
            seen: watch::Sender::default(),
        };
        let reader = Arc::new(Reader { journal: Arc::new(journal), watch: OnceLock::new() });
        open.insert(id.clone(), Arc::downgrade(&reader));
        reader
    }
}

impl Reader {
    /// Starts to read the journal. The receiver says how much of it is known, until its end.
    pub(super) fn follow(&self) -> watch::Receiver<Seen> {
        self.watch.get_or_init(|| tokio::spawn(Arc::clone(&self.journal).watch()).abort_handle());
        self.journal.seen.subscribe()
    }

    /// How much of the journal is stored by now, for a client that does not wait for more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn so_far(&self) -> Result<watch::Receiver<Seen>, StoreError> {
        // The state is read before the lines, so that no line can follow an end.
        let end = self.journal.state().await?.0.unwrap_or_default();
        let position = self.journal.shared.store.last_position(&self.journal.id).await?;
        Ok(watch::channel(Seen { position, end: Some(end) }).1)
    }

    /// Some lines after `after`, which must be less than the last known position; none if they were deleted meanwhile.
    ///
    /// # Errors
    /// When the lines must be read and the database does not answer.
    pub(super) async fn piece(&self, after: i64, form: Form) -> Result<Option<Piece>, StoreError> {
        let journal = &self.journal;
        if let Some(piece) = journal.pages().piece(after, form) {
            return Ok(Some(piece));
        }
        let _reading = journal.reading.lock().await;
        if let Some(piece) = journal.pages().piece(after, form) {
            return Ok(Some(piece));
        }
        journal.read(pages::number_behind(after)).await?;
        Ok(journal.pages().piece(after, form))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.get() {
            watch.abort();
        }
    }
}

impl Journal {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        // No code panics while it holds this lock, so the data are consistent.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads new lines whenever there are any and notifies the followers, until the deployment has ended.
    async fn watch(self: Arc<Self>) {
        let mut news = self.shared.hub.follow(&self.id);
        let mut is_away = false;
        while self.seen.borrow().end.is_none() {
            news.mark_unchanged();
            let again = match self.probe().await {
                Ok(again) => again,
                Err(error) => {
                    if !is_away {
                        tracing::warn!(deployment = %self.id, %error, "its followers wait: the journal cannot be read");
                    }
                    is_away = true;
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
            };
            is_away = false;
            let followers = u32::try_from(self.seen.receiver_count()).unwrap_or(u32::MAX);
            tokio::time::sleep(PAUSE_EACH.saturating_mul(followers).min(LONGEST_PAUSE)).await;
            let _ = tokio::time::timeout(again, news.changed()).await;
        }
    }

    /// Reads new lines and notifies the followers. Returns when to look again if no change is notified before.
    async fn probe(&self) -> Result<Duration, StoreError> {
        let mut position = self.seen.borrow().position;
        if position == 0 {
            // Lines that were stored before the first follower came are read only when somebody needs them.
            position = self.shared.store.last_position(&self.id).await?;
        }
        // The state is read before the lines, so that no line can come behind an end.
        let (end, again) = self.state().await?;
        loop {
            let (last, has_more) = self.read(pages::number_behind(position)).await?;
            position = position.max(last);
            if !has_more {
                break;
            }
        }
        self.seen.send_if_modified(|seen| {
            let is_new = seen.position < position || end.is_some();
            *seen = Seen { position, end };
            is_new
        });
        Ok(again)
    }

    /// The end if the deployment has ended or is gone, and when to look again if it has not.
    async fn state(&self) -> Result<(Option<Arc<str>>, Duration), StoreError> {
        let Some(stored) = self.shared.store.get(&self.id).await? else { return Ok((Some(Arc::default()), LOOK)) };
        let is_mine = stored.executor.as_deref() == Some(self.shared.deployer.executor());
        Ok(match &stored.state {
            State::Done { outcome } => (Some(outcome_object(&orders::view(&stored), outcome)), LOOK),
            State::Running { .. } if is_mine => (None, SELDOM),
            State::Waiting { .. } | State::Running { .. } => (None, LOOK),
        })
    }

    /// Reads the lines from page `number` on into memory. Returns the position of the last one, and whether there may be more.
    async fn read(&self, number: i64) -> Result<(i64, bool), StoreError> {
        let lines = self.shared.store.lines_after(&self.id, pages::before(number), LINES).await?;
        self.pages().keep(number, &lines);
        Ok((lines.last().map_or(0, |line| line.position), lines.len() as i64 == LINES))
    }
}

/// The end of a journal: the fields of the outcome, its sentence, its exit code, and whether it is a success.
fn outcome_object(view: &crate::api::Deployment, outcome: &Outcome) -> Arc<str> {
    let mut data = serde_json::to_value(outcome).unwrap_or_default();
    data["summary"] = view.summary.clone().into();
    data["exit_code"] = outcome.exit_code().into();
    data["success"] = outcome.is_success().into();
    data["deployment"] = view.id.to_string().into();
    data.to_string().into()
}
