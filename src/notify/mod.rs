//! Tells people something, each in the way of their service.
//!
//! A [`Notifier`] sends one [`Message`] at a time to one receiver and says what came of it. Nothing is repeated here, no redirect is
//! followed, and no answer is larger or later than it may be. Each service has a file of its own, which makes a call of a message:
//! whatever a message says stays words there, and is no markup, no mention and no link of its own.

mod chat;
mod discord;
mod email;
mod error;
mod fit;
mod message;
mod push;
mod room;
mod slack;
mod teams;
mod webhook;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use text::Mask;

use crate::config::Notify;
use crate::config::NotifyTo;
use crate::notify::wire::Call;
use crate::notify::wire::Wire;

pub use error::{NotifyError, NotifyErrorKind};
pub use fit::line;
pub use message::{Message, Piece, Tone};

/// How much a message can say at a receiver, and how soon after the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How many bytes of text fit; none: each event is a message of its own.
    pub room_bytes: Option<usize>,
    /// How long after a message the next one is sent at the earliest; what happens meanwhile is told together.
    pub gap: Duration,
}

/// A way to tell somebody something.
#[derive(Debug)]
pub struct Notifier {
    plan: Arc<Notify>,
    wire: Wire,
}

impl Notifier {
    /// The notifier of `plan`. What it says of answers shows nothing that `mask` hides.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(plan: &Arc<Notify>, mask: &Arc<Mask>) -> Result<Self, NotifyError> {
        Ok(Self { plan: Arc::clone(plan), wire: Wire::new(Arc::clone(mask))? })
    }

    /// The plan that it was made of.
    #[must_use]
    pub fn plan(&self) -> &Arc<Notify> {
        &self.plan
    }

    /// Sends `message` now: when this returns well, the receiver's service has it.
    ///
    /// # Errors
    /// When the service did not take it, and whether another time may do.
    pub async fn send(&self, message: &Message) -> Result<(), NotifyError> {
        self.send_for_answer(message).await.map(drop)
    }

    /// The same, and what the service answered, as a sentence.
    ///
    /// # Errors
    /// As for [`Notifier::send`].
    pub async fn send_for_answer(&self, message: &Message) -> Result<String, NotifyError> {
        match self.call(message)? {
            Some(call) => self.wire.send(call).await,
            None => match &self.plan.to {
                NotifyTo::Email(plan) => email::send(plan, message, self.wire.mask()).await,
                _ => Err(NotifyError::refused("There is no way to send this.".to_owned())),
            },
        }
    }

    /// The call that tells `message`; none: it is told by e-mail.
    fn call(&self, message: &Message) -> Result<Option<Call>, NotifyError> {
        let call = match &self.plan.to {
            NotifyTo::Webhook { url, secret } => webhook::call(url, secret, message),
            NotifyTo::Slack(url) => slack::call(url, message),
            NotifyTo::Discord(url) => discord::call(url, message),
            NotifyTo::Teams(url) => teams::call(url, message),
            NotifyTo::Matrix { url, room, token } => room::call(url, room, token, message),
            NotifyTo::Telegram { url, chat, topic, token } => chat::call(url, &chat::Place { chat, topic: *topic }, token, message),
            NotifyTo::Ntfy { url, topic, token } => push::ntfy(url, topic, token.as_ref(), message),
            NotifyTo::Gotify { url, token } => push::gotify(url, token, message),
            NotifyTo::Email(_) => return Ok(None),
        };
        call.map(Some)
    }

    /// How much a message can say there, and how soon after the last one. The room is what is left of the service's limit however
    /// its markup has to be escaped; the gap is what the service allows for a while, or more.
    #[must_use]
    pub fn pace(&self) -> Pace {
        let grouped = |room_bytes: usize, gap_s: u64| Pace { room_bytes: Some(room_bytes), gap: Duration::from_secs(gap_s) };
        match &self.plan.to {
            NotifyTo::Webhook { .. } => Pace { room_bytes: None, gap: Duration::ZERO },
            // Slack takes one message a second: https://docs.slack.dev/apis/web-api/rate-limits
            NotifyTo::Slack(_) | NotifyTo::Teams(_) | NotifyTo::Matrix { .. } | NotifyTo::Gotify { .. } => grouped(10_000, 2),
            NotifyTo::Discord(_) => grouped(2000, 2),
            // Twenty messages a minute to one group: https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this
            NotifyTo::Telegram { .. } => grouped(3500, 3),
            NotifyTo::Ntfy { .. } => grouped(3500, 5),
            NotifyTo::Email(_) => grouped(20_000, 20),
        }
    }
}
