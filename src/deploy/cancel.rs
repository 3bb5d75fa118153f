//! Cancelling.

use crate::deploy::Deployer;
use crate::model::Caller;
use crate::model::Outcome;
use crate::model::State;
use crate::store::Deployment;
use crate::store::StoreError;

impl Deployer {
    /// Cancels a deployment for `caller`: one that waits ends at once, one that runs stops what it does and brings back what it
    /// changed. Returns what came of it, as one sentence, and whether anything did.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cancel(&self, deployment: &Deployment, caller: &Caller) -> Result<(bool, String), StoreError> {
        let id = &deployment.id;
        self.store.audit(&caller.to_string(), "cancel", deployment.order.service.as_str(), id.as_str()).await?;
        let outcome = Outcome::Cancelled { by: caller.to_string(), changed: false, brought_back: false };
        if matches!(deployment.state, State::Queued) && self.store.finish_waiting(id, &outcome).await? {
            self.metrics.ended(&deployment.order.service, &outcome, 0);
            self.hub.tell(id);
            return Ok((true, format!("{id} waited and is cancelled; nothing was changed.")));
        }
        if self.store.ask_cancel(id, &caller.to_string()).await? {
            if let Some(cancel) = self.cancel_of(id) {
                cancel.cancel();
            }
            return Ok((true, format!("{id} is told to stop; follow it to see what it brings back.")));
        }
        Ok((false, format!("{id} has ended already, so there is nothing to cancel.")))
    }
}
