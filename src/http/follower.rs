//! One client that follows a journal: stored lines, then live ones, then the outcome, in the form that it asked for. It takes them from the
//! [`Reader`] that all followers of the deployment share.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use actix_web::web::Bytes;
use tokio::sync::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::http::Shared;
use crate::http::auth::Right;
use crate::http::error::ApiError;
use crate::http::followers::Place;
use crate::http::pages::Form;
use crate::http::readers::Reader;
use crate::http::readers::Seen;
use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::State;
use crate::store::Deployment;
use crate::store::StoreError;

/// How often a silent stream shows that it lives. Proxies commonly end what was silent for a minute.
const ALIVE: Duration = Duration::from_secs(10);

/// What a client wants of a journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) form: Form,
    /// The last line that it has already.
    pub(super) after: i64,
    /// Whether until the outcome; else it gets what is stored by now.
    pub(super) live: bool,
}

/// A client that follows. Its place is free again when this is dropped.
pub(super) struct Follower {
    seen: watch::Receiver<Seen>,
    reader: Arc<Reader>,
    place: Arc<Place>,
    right: Arc<Mutex<Right>>,
    shared: web::Data<Shared>,
    form: Form,
    id: DeploymentId,
    /// The position up to which it has everything.
    after: i64,
    is_over: bool,
    silent_since: Instant,
}

impl Follower {
    /// A follower with a place of its own, which it has as long as its `right` lasts.
    ///
    /// # Errors
    /// 503 when all places are taken, or the database does not answer.
    pub(super) async fn of(
        shared: &web::Data<Shared>,
        deployment: &Deployment,
        caller: &Caller,
        right: Right,
        wanted: Wanted,
    ) -> Result<Self, ApiError> {
        let most = shared.config.now().server.max_followers.min(shared.most_followers);
        let place = shared.followers.take(&caller.to_string(), most);
        let Some(place) = place else {
            return Err(ApiError::busy(format!("{most} clients are already following journals (max_followers); try again.")));
        };
        let reader = shared.readers.of(shared, &deployment.id);
        let is_over = matches!(deployment.state, State::Done { .. });
        Ok(Self {
            seen: if wanted.live && !is_over { reader.follow() } else { reader.so_far().await? },
            reader,
            place: Arc::new(place),
            right: Arc::new(Mutex::new(right)),
            shared: shared.clone(),
            form: wanted.form,
            id: deployment.id.clone(),
            after: wanted.after.max(0),
            is_over: false,
            silent_since: Instant::now(),
        })
    }

    /// The next piece of what is sent; none when it is whole. Nothing is lost if this is dropped before it returns. Events may also end
    /// before they are whole, since anybody who reads them comes again after the last line that it has; a text that ended would look whole,
    /// so it breaks off, and a WebSocket can say why.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, ApiError>> {
        if self.is_over {
            return None;
        }
        let place = Arc::clone(&self.place);
        let right = Arc::clone(&self.right);
        let shared = self.shared.clone();
        let next = tokio::select! {
            next = self.piece() => next,
            why = async { right.lock().await.ends(&shared).await } => Err(why),
            () = place.given_away() => Err(ApiError::busy("This place was given to another follower; connect again.")),
        };
        self.silent_since = Instant::now();
        next.map_or_else(
            |why| {
                self.is_over = true;
                (self.form != Form::Events).then_some(Err(why))
            },
            |piece| piece.map(Ok),
        )
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let seen = self.seen.borrow_and_update().clone();
            if self.after < seen.position {
                let Some(piece) = self.reader.piece(self.after, self.form).await.inspect_err(|error| self.is_let_go(error))? else {
                    return Err(ApiError::busy("These lines have been deleted meanwhile."));
                };
                self.after = piece.through;
                if !piece.bytes.is_empty() {
                    return Ok(Some(piece.bytes));
                }
            } else if let Some(outcome) = seen.end {
                self.is_over = true;
                return Ok(self.form.end(&outcome));
            } else if tokio::time::timeout_at(self.silent_since + ALIVE, self.seen.changed()).await.is_err() {
                self.silent_since = Instant::now();
                if let Some(alive) = self.form.alive() {
                    return Ok(Some(alive));
                }
            }
        }
    }

    fn is_let_go(&self, error: &StoreError) {
        tracing::warn!(deployment = %self.id, %error, "a follower was disconnected, because the journal cannot be read");
    }
}
