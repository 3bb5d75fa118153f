//! Where the results of a service are shown.

use crate::config::Service;
use crate::config::Source;
use crate::model::Order;
use crate::model::ServiceName;
use crate::model::Tag;
use crate::store::Debt;

/// The place at a forge where the results of a service are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'s> {
    pub(super) service: &'s Service,
    pub(super) source: &'s Source,
}

impl<'s> Place<'s> {
    /// The place of `service`; none: its results are shown nowhere.
    pub(super) fn of(service: &'s Service) -> Option<Self> {
        let source = service.source.as_ref().filter(|source| source.report)?;
        Some(Self { service, source })
    }

    /// What the outbox calls it.
    pub(super) fn receiver(&self) -> String {
        format!("{} {} {}", self.source.forge, self.source.repository, self.service.name)
    }
}

/// Whether `debt` is owed to the forge of `service`.
#[must_use]
pub fn is_for(debt: &Debt, service: &ServiceName) -> bool {
    debt.receiver.rsplit(' ').next() == Some(service.as_str())
}

/// The commit that an order lands, if it is known by its whole name: as the order says it, or as the tag is one.
pub(super) fn commit_of(order: &Order) -> Option<String> {
    let is_whole = |text: &&str| matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let named = order.commit.as_deref().or(order.tag.as_ref().map(Tag::as_str));
    named.filter(is_whole).map(str::to_ascii_lowercase)
}
