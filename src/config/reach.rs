//! By which notifier one person alone is reached.

use std::sync::Arc;

use lettre::message::Mailbox;

use crate::config::Email;
use crate::config::Notify;
use crate::config::NotifyTo;
use crate::config::Person;

impl Person {
    /// By what this person alone is told something: their own notifier, or a letter to their own address; none: by nothing.
    #[must_use]
    pub fn notifier(&self, notifiers: &[Arc<Notify>]) -> Option<Arc<Notify>> {
        let plan = notifiers.iter().find(|plan| Some(&plan.id) == self.notify.as_ref())?;
        let NotifyTo::Email(email) = &plan.to else { return Some(Arc::clone(plan)) };
        let own: Option<Mailbox> = self.emails.first().and_then(|address| address.parse().ok());
        let to = own.map_or_else(|| email.to.clone(), |own| vec![own]);
        (to.len() == 1).then(|| Arc::new(Notify { to: NotifyTo::Email(Email { to, ..email.clone() }), ..Notify::clone(plan) }))
    }
}
