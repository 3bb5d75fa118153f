//! Whether a freeze keeps an order back.

use crate::config::Config;
use crate::config::Service;
use crate::orders::Deployer;
use crate::orders::answer::Answer;
use crate::orders::answer::Question;

/// Whether a freeze is configured that the service is under. None is so far.
pub(super) fn is_wanted(_config: &Config, _service: &Service) -> bool {
    false
}

impl Deployer {
    /// What is said about the freezes that the order's service is under.
    #[allow(clippy::unused_self, clippy::unused_async, reason = "a guard like the others")]
    pub(super) async fn freeze(&self, _question: &Question<'_>) -> Answer {
        Answer::passes()
    }
}
