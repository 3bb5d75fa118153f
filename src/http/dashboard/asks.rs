//! What the pages ask for, and what that needs: the same as the API's calls.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::Service;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Fields;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::error::ApiError;
use crate::http::people;
use crate::model::AgentName;
use crate::model::DatasetName;
use crate::model::DeploymentId;
use crate::model::OrderKind;
use crate::model::ServiceName;
use crate::model::Target;
use crate::model::UserName;
use crate::model::Verb;
use crate::store::Deployment;

/// A service that is looked at.
#[derive(Debug)]
pub(in crate::http) struct SeeService(pub(super) Arc<Service>);

impl Ask for SeeService {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        Ok(Self(service(call)?))
    }

    fn needs(&self) -> Needs {
        Needs::to_read(Target::Service(self.0.name.clone()))
    }
}

/// A deployment that is looked at.
#[derive(Debug)]
pub(in crate::http) struct SeeDeployment(pub(super) Deployment);

impl Ask for SeeDeployment {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        Ok(Self(deployment(call).await?))
    }

    fn needs(&self) -> Needs {
        Needs::to_read(Target::Service(self.0.order.service.clone()))
    }
}

/// What concerns everything: keys, the audit trail.
#[derive(Debug)]
pub(in crate::http) struct SeeAll;

impl Ask for SeeAll {
    const VERB: Verb = Verb::Read;
    type Body = Fields<Nothing>;

    async fn read(_: &Call<'_>, _: Self::Body) -> Result<Self, ApiError> {
        Ok(Self)
    }

    fn needs(&self) -> Needs {
        Needs::to_read(Target::Everything)
    }
}

/// What only operators do, by a form.
#[derive(Debug)]
pub(in crate::http) struct ByOperator<F>(pub(super) F);

impl<F: DeserializeOwned> Ask for ByOperator<F> {
    const VERB: Verb = Verb::Rollback;
    type Body = Fields<F>;

    async fn read(_: &Call<'_>, body: Self::Body) -> Result<Self, ApiError> {
        Ok(Self(body.0))
    }

    fn needs(&self) -> Needs {
        Needs::operator()
    }
}

/// What operators do about an agent.
#[derive(Debug)]
pub(in crate::http) struct OverAgent(pub(super) AgentName);

impl Ask for OverAgent {
    const VERB: Verb = Verb::Rollback;
    type Body = Fields<Nothing>;

    async fn read(call: &Call<'_>, _: Self::Body) -> Result<Self, ApiError> {
        let name = call.part("name");
        let missing = |_| ApiError::not_found(format!("There is no agent {}.", name.escape_default()));
        AgentName::parse(name).map(Self).map_err(missing)
    }

    fn needs(&self) -> Needs {
        Needs::operator()
    }
}

/// What is done about a user by whoever may do everything.
#[derive(Debug)]
pub(in crate::http) struct OverUser {
    pub(super) name: UserName,
    /// The session of the path, where it names one.
    pub(super) session: String,
}

impl Ask for OverUser {
    const VERB: Verb = Verb::Rollback;
    type Body = Fields<Nothing>;

    async fn read(call: &Call<'_>, _: Self::Body) -> Result<Self, ApiError> {
        let name = call.part("name");
        let name = UserName::parse(name).map_err(|_| people::nobody(name))?;
        Ok(Self { name, session: call.part("id").to_owned() })
    }

    fn needs(&self) -> Needs {
        Needs::operator()
    }
}

/// A dataset that is reloaded.
#[derive(Debug)]
pub(in crate::http) struct OverDataset(pub(super) DatasetName);

impl Ask for OverDataset {
    const VERB: Verb = Verb::Reload;
    type Body = Fields<Nothing>;

    async fn read(call: &Call<'_>, _: Self::Body) -> Result<Self, ApiError> {
        let name = call.part("name");
        let missing = || ApiError::not_found(format!("There is no dataset {}.", name.escape_default()));
        let found = DatasetName::parse(name).map_err(|_| missing())?;
        if call.shared().config.now().datasets.contains_key(&found) { Ok(Self(found)) } else { Err(missing()) }
    }

    fn needs(&self) -> Needs {
        Needs::to_act(Verb::Reload, Target::Dataset(self.0.clone()), None)
    }
}

/// A form without fields of its own.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Nothing {}

/// A form that orders something for a service.
pub(in crate::http) trait OrderForm: DeserializeOwned {
    /// What it orders.
    const KIND: OrderKind;

    /// Whether it overrules what stands against it.
    fn is_forced(&self) -> bool {
        false
    }
}

/// Something that is ordered for a service.
#[derive(Debug)]
pub(in crate::http) struct ForService<F> {
    pub(super) service: Arc<Service>,
    pub(super) form: F,
}

impl<F: OrderForm> Ask for ForService<F> {
    const VERB: Verb = match F::KIND {
        OrderKind::Deploy => Verb::Deploy,
        OrderKind::Rollback | OrderKind::Adopt | OrderKind::Repair => Verb::Rollback,
    };
    type Body = Fields<F>;

    async fn read(call: &Call<'_>, body: Self::Body) -> Result<Self, ApiError> {
        Ok(Self { service: service(call)?, form: body.0 })
    }

    fn needs(&self) -> Needs {
        Needs::to_order(F::KIND, &self.service.name, self.form.is_forced(), None)
    }
}

/// A deployment that is cancelled or ordered once more: it needs what its order needed.
#[derive(Debug)]
pub(in crate::http) struct Upon(pub(super) Deployment);

impl Ask for Upon {
    const VERB: Verb = Verb::Deploy;
    type Body = Fields<Nothing>;

    async fn read(call: &Call<'_>, _: Self::Body) -> Result<Self, ApiError> {
        Ok(Self(deployment(call).await?))
    }

    fn needs(&self) -> Needs {
        let order = &self.0.order;
        Needs::to_order(order.kind, &order.service, order.force, order.git_ref.as_deref())
    }
}

/// A code that is typed.
#[derive(Default, Deserialize)]
pub(in crate::http) struct Typed {
    #[serde(default)]
    pub(super) code: String,
}

/// A deployment that is approved.
pub(in crate::http) struct Approve {
    pub(super) deployment: Deployment,
    pub(super) typed: Typed,
}

impl Ask for Approve {
    const VERB: Verb = Verb::Approve;
    type Body = Fields<Typed>;

    async fn read(call: &Call<'_>, body: Self::Body) -> Result<Self, ApiError> {
        Ok(Self { deployment: deployment(call).await?, typed: body.0 })
    }

    fn needs(&self) -> Needs {
        let order = &self.deployment.order;
        Needs::to_act(Verb::Approve, Target::Service(order.service.clone()), order.git_ref.clone())
    }
}

fn service(call: &Call<'_>) -> Result<Arc<Service>, ApiError> {
    let name = call.part("name");
    let missing = || ApiError::not_found(format!("There is no service {}.", name.escape_default()));
    let name = ServiceName::parse(name).map_err(|_| missing())?;
    call.shared().config.now().service(&name).cloned().ok_or_else(missing)
}

async fn deployment(call: &Call<'_>) -> Result<Deployment, ApiError> {
    let id = call.part("id");
    let missing = || ApiError::not_found(format!("There is no deployment {}.", id.escape_default()));
    let id = DeploymentId::parse(id).map_err(|_| missing())?;
    call.shared().store.get(&id).await?.ok_or_else(missing)
}
