//! Whether somebody who may has approved of an order. Until then it waits: nobody's silence, and nothing that fails, is a yes.

use std::time::Duration;

use crate::clock;
use crate::config::Approval;
use crate::config::Config;
use crate::config::Person;
use crate::config::Service;
use crate::model::Approved;
use crate::model::EventKind;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Refusal;
use crate::orders::Deployer;
use crate::orders::answer::Answer;
use crate::orders::answer::Question;
use crate::orders::approve::CLOCKS_APART_MS;
use crate::store::Deployment;
use crate::store::Hold;

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(15);

/// Whether orders of the service may need somebody's approval.
pub(super) fn is_ever_needed(service: &Service) -> bool {
    service.approval.is_some()
}

/// Whether the order needs an approval that it does not have.
pub(super) fn is_needed(config: &Config, service: &Service, order: &Order, approved: Option<&Approved>) -> bool {
    let approval = service.approval.as_ref().filter(|approval| approval.is_for(order, &config.people));
    approval.is_some_and(|approval| !is_given(approval, &approval.able(order, &config.people), approved))
}

/// What asks for an approval of the order, or of the one that a dry run tries.
fn asked_for<'c>(config: &'c Config, service: &'c Service, order: &Order) -> Option<&'c Approval> {
    service.approval.as_ref().filter(|approval| approval.is_for_such(order, &config.people))
}

/// Whether the guard is asked about the order: it needs an approval that it does not have, or is a dry run of one that needs any.
pub(super) fn is_asked(config: &Config, service: &Service, order: &Order, approved: Option<&Approved>) -> bool {
    is_needed(config, service, order, approved) || (order.dry_run && asked_for(config, service, order).is_some())
}

/// What speaks against an order whose turn has come, whatever was granted before: an approval that it needs by now and does not have.
/// One that was begun before has had its turn.
pub(super) fn is_missing(config: &Config, service: &Service, deployment: &Deployment, hold: Option<&Hold>) -> Option<Refusal> {
    let is_asked = deployment.attempts <= 1 && !has_taken_over(deployment, hold);
    let is_missing = is_asked && is_needed(config, service, &deployment.order, deployment.approved.as_ref());
    let why = "needs an approval by now, which it did not need when its turn was given; order it again.";
    is_missing.then(|| Refusal::Approval(format!("The order {} {why}", deployment.id)))
}

/// Whether it is a rollback that has held its service and stopped what ran since it came, because it needed no approval then. Nobody is asked
/// about it later: until it is carried out, nothing else may be.
pub(super) fn has_taken_over(deployment: &Deployment, hold: Option<&Hold>) -> bool {
    let holds = hold.is_some_and(|hold| hold.by == deployment.id.as_str());
    holds && deployment.order.kind == OrderKind::Rollback && deployment.approved.is_none()
}

/// Whether enough of those who may have approved.
fn is_given(approval: &Approval, able: &[&Person], approved: Option<&Approved>) -> bool {
    let counts = |approved: &Approved| approved.by.iter().filter(|one| able.iter().any(|person| person.id == one.who)).count();
    approved.is_some_and(|approved| counts(approved) >= approval.needed)
}

impl Deployer {
    /// What is said about its approval. Whoever may approve is sent a code.
    pub(super) async fn approval(&self, question: &Question<'_>) -> Answer {
        let Question { config, service, order, .. } = *question;
        let Some(approval) = asked_for(config, service, order) else {
            return Answer::passes_since("The configuration asks for no approval any more.".to_owned());
        };
        if question.deployment.is_some_and(|one| has_taken_over(one, question.hold)) {
            return Answer::passes_since("It needed no approval when it was ordered, and has held the service since.".to_owned());
        }
        let able = approval.able(order, &config.people);
        if able.len() < approval.needed {
            return Answer::Refused(Refusal::Approval(nobody(service, approval, order)));
        }
        if order.dry_run {
            let names: Vec<&str> = able.iter().map(|person| person.id.as_str()).collect();
            let many = if approval.needed == 1 { "one".to_owned() } else { approval.needed.to_string() };
            return Answer::Waits(AGAIN, format!("It needs the approval of {many} of {}; nobody is asked for it now.", names.join(", ")));
        }
        // At the door nobody is asked yet.
        let Some(deployment) = question.deployment else { return Answer::Waits(Duration::ZERO, String::new()) };
        if is_given(approval, &able, deployment.approved.as_ref()) {
            return Answer::passes();
        }
        if question.now_ms + CLOCKS_APART_MS < question.since_ms {
            return Answer::Waits(
                AGAIN,
                "It waits for an approval, but the clock of this server was set back; set it, and try again later.".to_owned(),
            );
        }
        let ends_ms = question.since_ms + approval.expires.as_millis() as i64;
        if question.now_ms >= ends_ms {
            let why = format!("Nobody approved it until {} (approval.expires_s); order it again.", clock::utc(ends_ms));
            self.tell(EventKind::ApprovalExpired, deployment, why.clone(), None).await;
            return Answer::Refused(Refusal::Approval(why));
        }
        self.send_codes(question, deployment, &able, ends_ms).await
    }
}

/// Why nobody can approve `order`.
fn nobody(service: &Service, approval: &Approval, order: &Order) -> String {
    let by = order.actor.as_ref().map_or_else(|| order.caller.to_string(), |actor| format!("{actor} ({})", order.caller));
    format!(
        "{} of {} must be approved by {}, and nobody approves an order of their own: without {by} too few approvers are left; let somebody \
         else order it, or name more approvers (approval.approvers).",
        if order.force { "A forced order" } else { "An order" },
        service.name,
        if approval.needed == 1 { "another person".to_owned() } else { format!("{} other people", approval.needed) },
    )
}

#[cfg(test)]
mod tests {
    use super::has_taken_over;
    use crate::model::Approved;
    use crate::model::OrderKind;
    use crate::orders::sample::landed;
    use crate::store::Hold;
    use crate::store::HoldKind;

    #[test]
    fn only_a_rollback_that_holds_its_service_without_an_approval_has_taken_it_over() {
        let mut rollback = landed(2);
        rollback.order.kind = OrderKind::Rollback;
        let hold = |by: &str| Hold { kind: HoldKind::Rollback, by: by.into(), since_ms: 0, until_ms: None };
        let its_own = hold(rollback.id.as_str());
        assert!(has_taken_over(&rollback, Some(&its_own)));
        assert!(!has_taken_over(&rollback, None) && !has_taken_over(&rollback, Some(&hold("X"))));
        // Whose approval counts may change.
        rollback.approved = Some(Approved { images: Vec::new(), by: Vec::new() });
        assert!(!has_taken_over(&rollback, Some(&its_own)));
        assert!(!has_taken_over(&landed(2), Some(&its_own)));
    }
}
