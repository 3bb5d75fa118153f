//! A run that was to be carried out by a process of its own, and was not.

use crate::landing::record::Record;
use crate::landing::restart::Left;
use crate::model::Outcome;
use crate::store::Deployment;

/// Ends a run that nobody carries out, for the reason `why`, where it has changed nothing. None: it has, so the next round tries again.
pub async fn not_begun(mut record: Record, deployment: &Deployment, why: String) -> Option<Outcome> {
    if Left::recorded(deployment).is_some() {
        tracing::error!(deployment = %deployment.id, %why, "a deployment of tagalong itself is not carried on; trying again");
        return None;
    }
    record.journal.error(&why);
    let outcome = Outcome::Failed { why };
    record.end(&outcome, None).await.is_some().then_some(outcome)
}
