//! A call whose proof holds: it gives the caller and the body only after the scope does.

use tokio::sync::OwnedSemaphorePermit;

use crate::api;
use crate::config::Key;
use crate::http::error::ApiError;
use crate::model::Caller;
use crate::model::DatasetName;
use crate::model::DeploymentId;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::Verb;
use crate::model::ref_text;
use crate::store::Delivery;

/// A call whose proof holds.
#[derive(Debug)]
pub struct Proof {
    pub(super) who: Who,
    pub(super) verb: Verb,
    pub(super) body: Vec<u8>,
    pub(super) delivery: Option<Delivery>,
    pub(super) is_signed: bool,
    /// Method and path with its query.
    pub(super) call: String,
    /// Held as long as a large body is.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
pub(super) enum Who {
    /// Somebody on the host: everything is allowed.
    Local(u32),
    Key(Box<Key>),
    /// A follower with a read token of one deployment.
    Follower(DeploymentId),
}

impl Proof {
    /// The caller, when their scope covers this route's verb on `service`.
    ///
    /// # Errors
    /// 403, naming the caller's own scopes.
    pub fn allow(&self, service: Option<&ServiceName>) -> Result<Caller, ApiError> {
        self.allow_verb(self.verb, service)
    }

    /// Whether the caller may force an order of `service`. To pass a hold or land an older release is to overrule whoever
    /// rolled back, so it needs what a rollback needs.
    ///
    /// # Errors
    /// 403, naming the caller's own scopes.
    pub fn allow_force(&self, service: &ServiceName) -> Result<(), ApiError> {
        self.allow_verb(Verb::Rollback, Some(service)).map(|_| ())
    }

    fn allow_verb(&self, verb: Verb, service: Option<&ServiceName>) -> Result<Caller, ApiError> {
        match &self.who {
            Who::Local(uid) => Ok(Caller::Local(*uid)),
            Who::Key(key) if key.scopes.iter().any(|scope| scope.covers(verb, service)) => Ok(Caller::Key(key.id.clone())),
            Who::Key(key) => {
                let scopes: Vec<String> = key.scopes.iter().map(Scope::to_string).collect();
                let target = service.map_or(String::new(), |service| format!(":{service}"));
                Err(ApiError::forbidden(format!("The key {} may {}; this needs {}{target}.", key.id, scopes.join(", "), verb.as_str())))
            }
            Who::Follower(_) => Err(ApiError::forbidden(super::READ_TOKEN)),
        }
    }

    /// Whether the caller may read deployment `id` of `service`.
    ///
    /// # Errors
    /// 403.
    pub fn allow_deployment(&self, id: &DeploymentId, service: &ServiceName) -> Result<(), ApiError> {
        match &self.who {
            Who::Follower(mine) if mine == id => Ok(()),
            _ => self.allow(Some(service)).map(|_| ()),
        }
    }

    /// Whose places a follower of a deployment takes that `ordered_by` ordered: a read token's are those of whoever ordered.
    #[must_use]
    pub fn follows_as(&self, ordered_by: &Caller) -> String {
        match &self.who {
            Who::Local(uid) => Caller::Local(*uid).to_string(),
            Who::Key(key) => Caller::Key(key.id.clone()).to_string(),
            Who::Follower(_) => ordered_by.to_string(),
        }
    }

    /// Which services the caller may read.
    #[must_use]
    pub fn may_read(&self, service: &ServiceName) -> bool {
        self.allow(Some(service)).is_ok()
    }

    /// The caller, when their scope covers this route's verb on a dataset.
    ///
    /// # Errors
    /// 403, naming the caller's own scopes.
    pub fn allow_dataset(&self, dataset: &DatasetName) -> Result<Caller, ApiError> {
        // Services and datasets share the words of scopes.
        self.allow(ServiceName::parse(dataset.as_str()).ok().as_ref())
    }

    /// Whether the caller may read a dataset.
    #[must_use]
    pub fn may_read_dataset(&self, dataset: &DatasetName) -> bool {
        self.allow_dataset(dataset).is_ok()
    }

    /// The body as what is asked of a dataset, and its caller.
    ///
    /// # Errors
    /// 400 when the body does not read, 403 when the scope does not cover the dataset or the key's refs not the branch.
    pub fn reload(&self) -> Result<(api::NewReload, Caller), ApiError> {
        let ask: api::NewReload =
            serde_json::from_slice(&self.body).map_err(|error| ApiError::bad_request(format!("The body does not read: {error}.")))?;
        let caller = self.allow_dataset(&ask.dataset)?;
        ask.branch.as_deref().map(ref_text).transpose().map_err(|error| ApiError::bad_request(error.to_string()))?;
        let full = |branch: &String| if branch.starts_with("refs/") { branch.clone() } else { format!("refs/heads/{branch}") };
        let git_ref = ask.branch.as_ref().map(full);
        self.allow_ref(git_ref.as_deref())?;
        Ok((ask, caller))
    }

    /// The body as an order, its caller and its delivery, when the scope covers the service that `service_of` names.
    ///
    /// # Errors
    /// 400 when the body does not read, 403 when the scope does not cover it or the key's refs do not.
    pub fn order<T: serde::de::DeserializeOwned>(
        &self,
        service_of: impl Fn(&T) -> &ServiceName,
        ref_of: impl Fn(&T) -> Option<&str>,
    ) -> Result<(T, Caller, Option<Delivery>), ApiError> {
        let body: T =
            serde_json::from_slice(&self.body).map_err(|error| ApiError::bad_request(format!("The body does not read: {error}.")))?;
        let caller = self.allow(Some(service_of(&body)))?;
        self.allow_ref(ref_of(&body))?;
        Ok((body, caller, self.delivery.clone()))
    }

    fn allow_ref(&self, named: Option<&str>) -> Result<(), ApiError> {
        if let Who::Key(key) = &self.who
            && !key.refs.is_empty()
            && !named.is_some_and(|named| key.refs.iter().any(|pattern| pattern.matches(named)))
        {
            return Err(ApiError::forbidden(format!(
                "The key {} may not act for the ref {}; its refs are set in the configuration.",
                key.id,
                named.unwrap_or("none").escape_default()
            )));
        }
        Ok(())
    }

    /// The caller of an action upon `order`, to carry it out once more or to call it off: it needs what that order needed, verb,
    /// force and ref.
    ///
    /// # Errors
    /// 400 when a signed body does not name this call, 403 when the scope or the key's refs do not cover it.
    pub fn upon(self, order: &Order) -> Result<(Caller, Option<Delivery>), ApiError> {
        self.acting(&order.service, order.kind, order.force, order.git_ref.as_deref())
    }

    /// The caller of an action that takes away or makes what a rollback makes: it names no ref, so a key that is bound to refs
    /// may not do it.
    ///
    /// # Errors
    /// 400 when a signed body does not name this call, 403 when the scope or the key's refs do not cover it.
    pub fn operator(self, service: &ServiceName) -> Result<(Caller, Option<Delivery>), ApiError> {
        self.acting(service, OrderKind::Rollback, false, None)
    }

    fn acting(
        mut self,
        service: &ServiceName,
        kind: OrderKind,
        force: bool,
        git_ref: Option<&str>,
    ) -> Result<(Caller, Option<Delivery>), ApiError> {
        self.verb = match kind {
            OrderKind::Deploy => Verb::Deploy,
            OrderKind::Rollback | OrderKind::Adopt => Verb::Rollback,
        };
        self.allow(Some(service))?;
        if force {
            self.allow_force(service)?;
        }
        self.allow_ref(git_ref)?;
        self.action(service)
    }

    /// The caller of an action that has no body of its own. A signature covers only the body, so a signed action names itself
    /// in it, `{"call": "POST /api/v1/…"}`: what was signed for one action cannot be sent to another.
    ///
    /// # Errors
    /// 400 when a signed body does not name this call, 403 when the scope does not cover it.
    fn action(self, service: &ServiceName) -> Result<(Caller, Option<Delivery>), ApiError> {
        let caller = self.allow(Some(service))?;
        if self.is_signed {
            let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
            if body["call"].as_str() != Some(&self.call) {
                return Err(ApiError::bad_request(format!(
                    "The signed body must be {{\"call\":\"{}\"}}, so that it is good for this call only.",
                    self.call
                )));
            }
        }
        Ok((caller, self.delivery))
    }
}
