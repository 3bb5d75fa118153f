//! Calls that make no deployment and come again: a repeat gets the answer of the first, and nothing is done for it. That a call
//! came stands in the store, so that a restart changes nothing; answers are kept in memory, the last of them.

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
use crate::store::Came;
use crate::store::Delivery;

/// How many answers are kept. Signatures hold for minutes, and few calls come in that time.
const MOST: usize = 128;

/// An answer that can be given again.
pub(super) type Answer = Result<(StatusCode, api::Reloaded), ApiError>;

/// What was answered lately, the oldest first.
#[derive(Debug, Default)]
pub struct Repeats(Mutex<VecDeque<Known>>);

#[derive(Debug)]
struct Known {
    delivery: Delivery,
    answer: watch::Receiver<Option<Answer>>,
}

/// Whose turn it is to do the work.
enum Turn {
    Mine(watch::Sender<Option<Answer>>, watch::Receiver<Option<Answer>>),
    Another(watch::Receiver<Option<Answer>>),
}

/// The answer of `work`, which is done at most once for each delivery. An error of `work` itself says that nothing was done, so it
/// may be tried again.
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
            // Anybody who asked may go away meanwhile; anybody who asks again is told nevertheless.
            tokio::spawn(async move { tell.send_replace(Some(first(&shared, &delivery, work).await)) });
            answer
        }
    };
    let given = answer.wait_for(Option::is_some).await.ok().and_then(|given| given.clone());
    given.unwrap_or_else(|| Err(ApiError::busy("The server is shutting down; try again.")))
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
