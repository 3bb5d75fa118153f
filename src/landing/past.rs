//! What the record has of a service's earlier releases.

use smoke::Availability;

use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::State;
use crate::store::Deployment;
use crate::store::Listed;
use crate::store::Store;
use crate::store::StoreError;

/// The earlier releases of a service. It reads and never writes.
#[derive(Debug, Clone)]
pub(super) struct Past {
    store: Store,
    service: ServiceName,
}

impl Past {
    pub(super) fn new(store: Store, service: ServiceName) -> Self {
        Self { store, service }
    }

    /// The past of another service of this host.
    pub(super) fn of(&self, service: &ServiceName) -> Self {
        Self { service: service.clone(), ..self.clone() }
    }

    pub(super) fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The verified releases, newest first; one that cannot be read is represented by its error.
    pub(super) async fn verified(&self) -> Result<Vec<Result<Deployment, StoreError>>, StoreError> {
        self.store.verified(&self.service).await
    }

    /// The last `most` of them.
    pub(super) async fn last_verified(&self, most: usize) -> Result<Vec<Result<Deployment, StoreError>>, StoreError> {
        self.store.last_verified(&self.service, most as i64).await
    }

    /// Waiting and running deployments, and those that cannot be read and may be either.
    pub(super) async fn unfinished(&self) -> Result<Listed, StoreError> {
        self.store.unfinished(&self.service).await
    }

    /// How the page answered during the last deployments, the newest first.
    pub(super) async fn away(&self, most: i64) -> Result<Vec<Availability>, StoreError> {
        self.store.last_away(&self.service, most).await
    }

    /// [`left_half_way`] for `order`.
    pub(super) async fn left_half_way(&self, order: &Order) -> Result<Option<Deployment>, StoreError> {
        left_half_way(&self.store, order).await
    }
}

/// The deployment that was stopped half-way for a rollback and whose change nobody has brought back yet, where the rollback
/// `order` has to.
///
/// # Errors
/// When the database does not answer.
pub async fn left_half_way(store: &Store, order: &Order) -> Result<Option<Deployment>, StoreError> {
    if order.kind != OrderKind::Rollback {
        return Ok(None);
    }
    let last = match store.last_change(&order.service).await?.transpose() {
        Ok(last) => last,
        Err(error) => {
            tracing::error!(service = %order.service, %error, "the record of the last change could not be read, so it is not undone");
            None
        }
    };
    let is_left =
        |one: &Deployment| matches!(one.state, State::Done { outcome: Outcome::Cancelled { changed: true, brought_back: false, .. } });
    Ok(last.filter(is_left))
}
