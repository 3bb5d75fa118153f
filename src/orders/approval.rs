//! Whether somebody who may has approved of an order.

use crate::config::Service;
use crate::model::Order;
use crate::orders::Deployer;
use crate::orders::answer::Answer;
use crate::orders::answer::Question;

/// Whether orders of the service may need somebody's approval.
pub(super) fn is_ever_needed(_service: &Service) -> bool {
    false
}

/// Whether the order needs somebody's approval. No service asks for one so far.
pub(super) fn is_needed(_service: &Service, _order: &Order) -> bool {
    false
}

impl Deployer {
    /// What is said about its approval.
    #[allow(clippy::unused_self, clippy::unused_async, reason = "a guard like the others")]
    pub(super) async fn approval(&self, _question: &Question<'_>) -> Answer {
        Answer::passes()
    }
}
