//! What is to be told of deployments that have ended.

use crate::model::Event;
use crate::model::EventKind;
use crate::model::EventName;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::State;
use crate::notices::Notices;
use crate::store::Deployment;
use crate::store::StoreError;

impl Notices {
    /// The ends of deployments since `since_ms` are events, as far as there is anything to tell of them.
    pub(super) async fn notice_ends(&self, since_ms: i64) -> Result<(), StoreError> {
        for id in self.store.ends_to_notice(since_ms).await? {
            let event = match self.store.get(&id).await {
                Ok(Some(deployment)) => self.event_of(&deployment).await,
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            match event {
                Ok(event) => self.store.notice_end(&id, event.as_ref()).await?,
                Err(error) if error.is_unreadable() => {
                    tracing::debug!(%error, "nobody is told of the end of a deployment");
                    self.store.notice_end(&id, None).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn event_of(&self, deployment: &Deployment) -> Result<Option<Event>, StoreError> {
        let State::Done { outcome } = &deployment.state else { return Ok(None) };
        let order = &deployment.order;
        if order.dry_run || order.kind == OrderKind::Adopt {
            return Ok(None);
        }
        let was_bad = match outcome {
            Outcome::Live { .. } if order.kind != OrderKind::Rollback => self.was_bad_before(deployment).await?,
            _ => false,
        };
        Ok(event_of(deployment, outcome, was_bad))
    }

    /// Whether the last deployment before this one failed.
    async fn was_bad_before(&self, deployment: &Deployment) -> Result<bool, StoreError> {
        let Some(last) = self.store.told_last(&deployment.order.service, &deployment.id).await? else { return Ok(false) };
        let last = self.store.get(&last).await?;
        Ok(last.is_some_and(|last| !last.order.dry_run && !matches!(last.state, State::Done { outcome: Outcome::Live { .. } })))
    }
}

/// What is told of the end of `deployment`; none: there is nothing to tell.
fn event_of(deployment: &Deployment, outcome: &Outcome, was_bad: bool) -> Option<Event> {
    let order = &deployment.order;
    let service = &order.service;
    let release = order.tag.as_ref().map_or_else(|| format!("The release of {service}"), |tag| format!("{tag} of {service}"));
    let (kind, what, why) = match outcome {
        Outcome::Live { warnings, .. } => match (order.kind, was_bad) {
            (OrderKind::Rollback, _) => {
                let by = format!("Ordered by {}{}", order.caller, order.reason.as_ref().map_or(String::new(), |why| format!(": {why}")));
                (EventKind::RolledBack, format!("{service} was rolled back; {release} serves again."), by)
            }
            (_, true) => (EventKind::Recovered, format!("{service} has recovered: {release} is live."), warnings.join("; ")),
            (_, false) => (EventKind::Live, format!("{release} is live."), warnings.join("; ")),
        },
        Outcome::RolledBack { why, to, .. } => {
            (EventKind::RolledBack, format!("{release} failed and was rolled back; {to} serves again."), why.clone())
        }
        Outcome::RollbackFailed { why, and } => {
            let what = format!("{release} failed, and restoring the previous release failed too.");
            (EventKind::Failed, what, format!("{why}; and then: {and}"))
        }
        Outcome::Broken { why, runs } => {
            let what = format!("{release} failed, and there is no previous release to restore.");
            (EventKind::Failed, what, format!("{why}; what still runs: {runs}"))
        }
        Outcome::NeedsOperator { why } => {
            (EventKind::Failed, format!("{release} failed and is left as it is for an operator."), why.clone())
        }
        Outcome::Failed { why } => (EventKind::Failed, format!("{release} was not deployed; nothing was changed."), why.clone()),
        Outcome::Cancelled { changed: true, brought_back: false, by } => {
            (EventKind::Failed, format!("{release} was cancelled, and the previous release was not restored."), format!("Cancelled: {by}"))
        }
        Outcome::Refused { why, .. } => (EventKind::Refused, format!("{release} was refused; nothing was changed."), why.clone()),
        Outcome::Cancelled { .. } | Outcome::Superseded { .. } | Outcome::DryRun { .. } => return None,
    };
    let went_back = order.kind == OrderKind::Rollback && kind == EventKind::RolledBack;
    let resume = || went_back.then(|| format!("tagalong resume {service}"));
    Some(Event {
        name: EventName { kind, of: deployment.id.to_string() },
        service: Some(service.clone()),
        at_ms: deployment.ended_ms.unwrap_or(deployment.created_ms),
        what,
        why,
        next: outcome.next_step(&deployment.id, service).or_else(resume),
    })
}
