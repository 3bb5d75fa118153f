//! Cancelling.

use crate::landing;
use crate::model::Caller;
use crate::model::CancelledBy;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Stage;
use crate::model::State;
use crate::model::WaitsFor;
use crate::orders::Deployer;
use crate::store::Deployment;
use crate::store::StoreError;

impl Deployer {
    /// Cancels a deployment for `caller`: one that waits ends at once, one that runs stops what it does and brings back what it
    /// changed. A rollback that waits has stopped what ran, which may leave its change behind: then it keeps its turn and, without
    /// landing anything, brings the last verified release back. Returns what came of it, as one sentence, and whether anything did.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cancel(&self, deployment: &Deployment, caller: &Caller) -> Result<(bool, String), StoreError> {
        let id = &deployment.id;
        self.store.audit(&caller.to_string(), "cancel", deployment.order.service.as_str(), id.as_str()).await?;
        let by = CancelledBy::of(caller);
        let outcome = Outcome::Cancelled { by: by.clone(), changed: false, brought_back: false };
        let is_waiting = matches!(deployment.state, State::Waiting { .. });
        // One that nobody has approved yet has stopped nothing. If a code has come meanwhile, it has.
        let is_unapproved = matches!(deployment.state, State::Waiting { waits_for: WaitsFor::Approval });
        let ended_unapproved = is_unapproved && self.store.finish_unapproved(id, &outcome).await?;
        let keeps_its_turn = !ended_unapproved && self.may_be_left_half_way(&deployment.order).await?;
        if ended_unapproved || (is_waiting && !keeps_its_turn && self.store.finish_waiting(id, &outcome).await?) {
            self.metrics.ended(&deployment.order.service, &outcome, 0);
            self.hub.tell(id);
            self.results.wake();
            return Ok((true, format!("{id} was still waiting and is now cancelled; nothing was changed.")));
        }
        if self.store.ask_cancel(id, &by).await? {
            if let Some(cancel) = self.cancel_of(id) {
                cancel.cancel();
            }
            if keeps_its_turn && is_waiting {
                let then = "when its turn comes, it deploys nothing, but restores the last verified release if the deployment that it \
                stopped had changed the stack";
                return Ok((true, format!("{id} is cancelled; {then}.")));
            }
            return Ok((true, format!("{id} was told to stop; follow it to see what it restores.")));
        }
        Ok((false, format!("{id} has already ended, so there is nothing to cancel.")))
    }

    /// Whether the deployment that the rollback `order` stopped has left, or may leave, a half-finished change.
    async fn may_be_left_half_way(&self, order: &Order) -> Result<bool, StoreError> {
        if order.kind != OrderKind::Rollback {
            return Ok(false);
        }
        // Running deployments are read before ended ones, so that none is missed in between.
        let unfinished = self.store.unfinished(&order.service).await?;
        // Nothing interrupts an undo, so it leaves nothing to this rollback.
        let may_stop = |one: &Deployment| matches!(one.state, State::Running { .. }) && !one.step.is_some_and(Stage::is_unwinding);
        for error in &unfinished.unreadable {
            tracing::error!(service = %order.service, %error, "a record that cannot be read counts as a running deployment");
        }
        let may_run = !unfinished.unreadable.is_empty() || unfinished.deployments.iter().any(may_stop);
        Ok(may_run || landing::left_half_way(&self.store, order).await?.is_some())
    }
}
