//! Tells a notifier what it is owed: one event, or several that have come together.

use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use crate::clock;
use crate::config;
use crate::model::Event;
use crate::model::Message;
use crate::notices::Notices;
use crate::notices::desk::Desk;
use crate::notices::words;
use crate::notices::words::Frame;
use crate::notify::Notifier;
use crate::notify::NotifyError;
use crate::notify::NotifyErrorKind;
use crate::outbox::Told;
use crate::store::Debt;
use crate::store::StoreError;

impl Notices {
    /// Tells what is owed, and with it what else is owed to the same notifier and fits, and gives what the service made of it.
    pub(super) async fn tell(&self, debt: Debt) -> Told {
        let config = self.config.now();
        let Some(plan) = config.notifier(&debt.receiver) else { return Told::Gone };
        let now_ms = clock::now_ms();
        if let Some(end_ms) = plan.quiet.as_ref().and_then(|quiet| quiet.end_ms(now_ms)) {
            let why = format!("It is sent when the quiet hours are over, at {}.", clock::utc(end_ms));
            return Told::Later { why, wait: Duration::from_millis(u64::try_from(end_ms - now_ms).unwrap_or_default()) };
        }
        let desk = match self.desk(plan, &config) {
            Ok(desk) => desk,
            Err(error) => return Told::NotNow { why: error.to_string(), after: None },
        };
        // Before it is sent: who is stopped while waiting has sent nothing yet.
        tokio::time::sleep(desk.wait()).await;
        match self.send(&desk, &debt, &Frame::of(&config)).await {
            Ok(told) => told,
            Err(error) => Told::NotNow { why: error.to_string(), after: None },
        }
    }

    async fn send(&self, desk: &Desk, debt: &Debt, frame: &Frame) -> Result<Told, StoreError> {
        let group = self.group(desk, debt).await?;
        let events: Vec<Event> = group.iter().filter_map(|(_, event)| event.clone()).collect();
        let mut sent = if events.is_empty() { Ok(()) } else { self.send_events(desk, &events, frame).await };
        let mut debts: Vec<Debt> = group.into_iter().map(|(debt, _)| debt).collect();
        if debts.len() > 1 && sent.as_ref().is_err_and(is_final) {
            // One of them may be at fault: the first is told alone, and the others after it.
            debts.truncate(1);
            sent = self.send_events(desk, &events[..1], frame).await;
        }
        match sent {
            Ok(()) => {
                self.outbox.settle(&debts).await?;
                Ok(Told::Taken)
            }
            Err(error) => Ok(refusal(&error)),
        }
    }

    async fn send_events(&self, desk: &Desk, events: &[Event], frame: &Frame) -> Result<(), NotifyError> {
        let message = words::message(events, desk.notifier.pace().room_bytes, frame);
        let sent = desk.notifier.send(&message).await;
        desk.is_sent();
        self.metrics.notified(desk.notifier.plan().id.as_str(), sent.is_ok());
        sent
    }

    /// What is told together with `debt`, which is the first of it, as far as it is known still.
    async fn group(&self, desk: &Desk, debt: &Debt) -> Result<Vec<(Debt, Option<Event>)>, StoreError> {
        let most = desk.notifier.pace().room_bytes.map_or(1, words::most_events);
        let others = if most > 1 { self.outbox.owed_to(&debt.receiver).await? } else { Vec::new() };
        let others = others.into_iter().filter(|other| other.number != debt.number && other.number > debt.number);
        let mut group = Vec::new();
        for one in std::iter::once(debt.clone()).chain(others.take(most - 1)) {
            let Message::Event(name) = &one.message else { continue };
            let event = match self.store.event(name).await {
                Ok(event) => event,
                Err(error) if error.is_unreadable() => None,
                Err(error) => return Err(error),
            };
            group.push((one, event));
        }
        Ok(group)
    }

    /// The notifier of `plan`, made when it is first needed and when the configuration was read again.
    fn desk(&self, plan: &Arc<config::Notify>, config: &config::Config) -> Result<Arc<Desk>, NotifyError> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        let known = desks.get(plan.id.as_str());
        if let Some(desk) = known.filter(|desk| Arc::ptr_eq(desk.notifier.plan(), plan)) {
            return Ok(Arc::clone(desk));
        }
        let desk = Arc::new(Desk::new(Notifier::new(plan, &config.mask)?, known.map(AsRef::as_ref)));
        desks.insert(plan.id.to_string(), Arc::clone(&desk));
        Ok(desk)
    }
}

/// Whether the very same message will not be taken another time either.
fn is_final(error: &NotifyError) -> bool {
    matches!(refusal(error), Told::Refused { .. })
}

fn refusal(error: &NotifyError) -> Told {
    let why = error.to_string();
    match error.kind {
        NotifyErrorKind::Answered { status, after } => Told::refusal(status, after, why),
        NotifyErrorKind::Refused => Told::Refused { why },
        NotifyErrorKind::Unreachable => Told::NotNow { why, after: None },
    }
}
