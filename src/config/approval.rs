//! Which orders of a service need an approval, and by whom.

use std::time::Duration;

use crate::config::People;
use crate::config::Person;
use crate::config::reader::Section;
use crate::model::Caller;
use crate::model::Order;
use crate::model::OrderKind;

/// What an order of a service needs before it is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Whose orders need it.
    pub orders: WhoseOrders,
    /// Whether rollbacks need it as well.
    pub rollbacks: bool,
    /// Who may give it, as the configuration names them.
    pub(super) approvers: Vec<String>,
    /// How many different people must give it.
    pub needed: usize,
    /// How long an order waits for it.
    pub expires: Duration,
}

/// Whose orders need an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhoseOrders {
    /// Everybody's.
    All,
    /// Those of jobs, of webhooks, and of keys that are no person's.
    Ci,
}

impl Approval {
    pub(super) fn read(mut from: Section) -> Self {
        let orders = from.choice("orders", &[("all", WhoseOrders::All), ("ci", WhoseOrders::Ci)]);
        let rollbacks = from.flag("rollbacks", false);
        let approvers = from.texts("approvers").unwrap_or_default();
        let needed = from.whole("needed", 1, 1..=2) as usize;
        let expires = from.seconds("expires_s", 21_600.0, 60.0..=604_800.0);
        from.finish();
        Self { orders, rollbacks, approvers, needed, expires }
    }

    /// Whether `order` needs it. What lands nothing, or lands once more what has been verified, needs none.
    #[must_use]
    pub fn is_for(&self, order: &Order, people: &People) -> bool {
        !order.dry_run && self.is_for_such(order, people)
    }

    /// Whether `order` needs it if it is no dry run.
    #[must_use]
    pub fn is_for_such(&self, order: &Order, people: &People) -> bool {
        let is_kind = match order.kind {
            OrderKind::Deploy => true,
            OrderKind::Rollback => self.rollbacks,
            OrderKind::Adopt | OrderKind::Repair => false,
        };
        let is_of_ci = match &order.caller {
            // A release that does not hold goes at once; nobody is asked whether a broken page may stay.
            Caller::Watch(_) => return false,
            Caller::Oidc(_) | Caller::Forge(_) | Caller::Of(_) => true,
            Caller::Key(_) => people.calling(&order.caller).is_none(),
            Caller::Local(_) | Caller::User(_) | Caller::Tagalong => false,
        };
        is_kind && (self.orders == WhoseOrders::All || is_of_ci)
    }

    /// Everybody who may approve.
    pub fn approvers<'p>(&self, people: &'p People) -> impl Iterator<Item = &'p Person> {
        self.approvers.iter().filter_map(|word| people.named(word))
    }

    /// Who may approve `order`: never who is behind it.
    #[must_use]
    pub fn able<'p>(&self, order: &Order, people: &'p People) -> Vec<&'p Person> {
        self.approvers(people).filter(|person| !people.is_behind(person, order)).collect()
    }
}
