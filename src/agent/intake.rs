//! Orders and cancels of a control plane, taken through the door that every caller uses.

use crate::agent::Agent;
use crate::clock;
use crate::line::Accepted;
use crate::line::CancelOrder;
use crate::line::FromAgent;
use crate::line::Refused;
use crate::line::SentOrder;
use crate::line::Unreadable;
use crate::line::is_of_now;
use crate::model::AgentName;
use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::Guard;
use crate::model::Guest;
use crate::model::Refusal;
use crate::store::OrderError;
use crate::store::StoreError;

/// What an agent calls its control plane in the callers of the record.
const CONTROL: &str = "control";

/// The caller `who`, whom the control plane has let in.
pub(super) fn guest(who: &str) -> Option<Caller> {
    Guest::parse(who, AgentName::parse(CONTROL).ok()?).ok().map(Caller::Of)
}

impl Agent {
    /// Takes an order. What is answered is on disk. None: nothing can be said now, and the control plane asks again.
    pub(super) async fn take(&self, sent: SentOrder) -> Option<FromAgent> {
        let id = sent.deployment.clone();
        let refused = |guard, why: String, later| Some(FromAgent::Refused(Refused { deployment: id.clone(), guard, why, later }));
        let place = AgentName::parse(CONTROL).ok()?;
        if let Err(why) = is_of_now(&id, clock::now_ms()) {
            return refused(None, why.to_string(), false);
        }
        if sent.good_for_s == Some(0) {
            match self.store.get(&id).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let why = "it came when the time that it may wait (max_wait_s) was over; order it again".to_owned();
                    return refused(Some(Guard::Age), why, false);
                }
                Err(error) => return unsaid(&id, &error),
            }
        }
        let sent = sent.bounded();
        let images = sent.exact_images();
        let undoes = sent.undoes.clone();
        let order = match images.and_then(|images| Ok((sent.into_order(&place)?, images))) {
            Ok(order) => order,
            Err(error) => return refused(None, error.to_string(), false),
        };
        match self.deployer.take_given(id.clone(), order.0, order.1, undoes).await {
            Ok(_) => match self.store.will_tell(&id).await {
                Ok(()) => Some(FromAgent::Accepted(Accepted { deployment: id })),
                Err(error) => unsaid(&id, &error),
            },
            Err(OrderError::Refused(refusal)) => {
                let later = matches!(refusal, Refusal::Full(_) | Refusal::Waiting { .. } | Refusal::Unwritable | Refusal::Unapproved(_));
                refused(refusal.guard(), refusal.to_string(), later)
            }
            Err(OrderError::Store(error)) => {
                tracing::error!(deployment = %id, %error, "an order of the control plane could not be stored; it is asked for again");
                // It may be stored all the same, which asking again finds out.
                refused(None, unstored(&error).to_owned(), true)
            }
        }
    }

    /// What is answered to a frame that this version cannot read: an order that is not here already is not taken.
    pub(super) async fn cannot_read(&self, what: Unreadable) -> Option<FromAgent> {
        let id = what.deployment.filter(|_| what.kind == "order")?;
        if !matches!(self.store.get(&id).await, Ok(None)) {
            return None;
        }
        let why = format!("it cannot read the order ({}); upgrade the older of the two", what.why);
        Some(FromAgent::Refused(Refused { deployment: id, guard: None, why, later: false }))
    }

    /// Cancels a deployment. None: it comes to an end by itself, which is told then.
    pub(super) async fn cancel(&self, cancel: &CancelOrder) -> Option<FromAgent> {
        let id = &cancel.deployment;
        let deployment = match self.store.get(id).await {
            Ok(Some(deployment)) => deployment,
            Ok(None) => {
                let why = "it was never accepted here".to_owned();
                return Some(FromAgent::Refused(Refused { deployment: id.clone(), guard: None, why, later: false }));
            }
            Err(error) => return unsaid(id, &error),
        };
        let by = guest(&cancel.by).unwrap_or(Caller::Tagalong);
        if let Err(error) = self.deployer.cancel(&deployment, &by).await {
            return unsaid(id, &error);
        }
        Some(FromAgent::Accepted(Accepted { deployment: id.clone() }))
    }
}

/// Why nothing can be stored on this host, without what only its own log should say.
fn unstored(error: &StoreError) -> &'static str {
    if error.is_disk_full() { "the disk of its database is full" } else { "its database does not answer" }
}

fn unsaid(id: &DeploymentId, error: &StoreError) -> Option<FromAgent> {
    tracing::error!(deployment = %id, %error, "an order of the control plane could not be answered; it will ask again");
    None
}
