//! Repeated calls that make no deployment: a repeat gets the answer of the first call, and nothing is done for it. The store remembers that
//! a call came, also after a restart; the last answers are kept in memory.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use actix_web::http::StatusCode;
use actix_web::web;
use tokio::sync::watch;

use crate::api;
use crate::http::Shared;
use crate::http::error::ApiError;
use crate::model::Caller;
use crate::store::Came;
use crate::store::Delivery;

/// How many answers are kept. A signature is valid for a few minutes, and only a few such calls come in that time.
const MOST: usize = 128;

/// An answer that can be given again.
pub(super) type Answer = Result<(StatusCode, api::Reloaded), ApiError>;

/// The last answers, the oldest first.
#[derive(Debug, Default)]
pub struct Repeats(Mutex<VecDeque<Known>>);

#[derive(Debug)]
struct Known {
    delivery: Delivery,
    answer: watch::Receiver<Option<Answer>>,
}

/// Who does the work.
enum Turn {
    Mine(watch::Sender<Option<Answer>>, watch::Receiver<Option<Answer>>),
    Another(watch::Receiver<Option<Answer>>),
}

/// The answer of `work`, which is done at most once for each delivery. If `work` returns an error, nothing was done, and it may be tried
/// again.
///
/// # Errors
/// 409 when the id came with another body, or so long ago that its answer is forgotten; 503.
pub(super) async fn once(
    shared: &web::Data<Shared>,
    delivery: Option<Delivery>,
    work: impl Future<Output = Result<Answer, ApiError>> + Send + 'static,
) -> Answer {
    let Some(delivery) = delivery else { return work.await? };
    let mut answer = match shared.repeats.join(&delivery)? {
        Turn::Another(answer) => answer,
        Turn::Mine(tell, answer) => {
            let shared = shared.clone();
            // The caller may disconnect meanwhile; a repeated call gets the answer nevertheless.
            tokio::spawn(async move { tell.send_replace(Some(first(&shared, &delivery, work).await)) });
            answer
        }
    };
    let given = answer.wait_for(Option::is_some).await.ok().and_then(|given| given.clone());
    given.unwrap_or_else(|| Err(ApiError::busy("The server is shutting down; try again.")))
}

/// Marks the token of a job as used, for calls that record this nowhere else: the token is good for this call, and for the very same call
/// again.
///
/// # Errors
/// 409 when it was used for another call; 503.
pub(super) async fn use_up(shared: &Shared, caller: &Caller, delivery: Option<&Delivery>) -> Result<(), ApiError> {
    let Some(token) = delivery.filter(|_| matches!(caller, Caller::Oidc(_))) else { return Ok(()) };
    match shared.store.remember(token).await? {
        Came::First | Came::Before => Ok(()),
        Came::OtherBody => Err(ApiError::id_reused("The token was already used for another call; get a new one for every call.")),
    }
}

async fn first(shared: &Shared, delivery: &Delivery, work: impl Future<Output = Result<Answer, ApiError>>) -> Answer {
    let store = &shared.store;
    let not_done = match store.remember(delivery).await {
        Ok(Came::OtherBody) => reused(),
        Ok(Came::Before) => ApiError::conflict(
            "repeated",
            "This call was already carried out, and its answer is no longer stored; send it again with a new id.",
        ),
        Err(error) => error.into(),
        Ok(Came::First) => match work.await {
            Ok(answer) => return answer,
            Err(error) => {
                if let Err(error) = store.forget(delivery).await {
                    tracing::warn!(%error, "a call that changed nothing could not be removed from the record of deliveries");
                }
                error
            }
        },
    };
    shared.repeats.forget(delivery);
    Err(not_done)
}

fn reused() -> ApiError {
    ApiError::id_reused("The delivery id was already used for a different body; give every call its own id.")
}

impl Repeats {
    fn known(&self) -> MutexGuard<'_, VecDeque<Known>> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, delivery: &Delivery) -> Result<Turn, ApiError> {
        let mut known = self.known();
        if let Some(first) = known.iter().find(|one| one.is_of(delivery)) {
            let is_same = first.delivery.body_sha256 == delivery.body_sha256;
            return if is_same { Ok(Turn::Another(first.answer.clone())) } else { Err(reused()) };
        }
        if known.len() >= MOST {
            known.pop_front();
        }
        let (tell, answer) = watch::channel(None);
        known.push_back(Known { delivery: delivery.clone(), answer: answer.clone() });
        Ok(Turn::Mine(tell, answer))
    }

    fn forget(&self, delivery: &Delivery) {
        self.known().retain(|one| !one.is_of(delivery));
    }
}

impl Known {
    fn is_of(&self, delivery: &Delivery) -> bool {
        (&self.delivery.caller, &self.delivery.id) == (&delivery.caller, &delivery.id)
    }
}
