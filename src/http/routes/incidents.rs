//! `/api/v1/incidents`.

use actix_web::HttpResponse;
use actix_web::web;
use utoipa::IntoParams as _;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::path::ParameterIn;

use crate::http::Shared;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::auth::Proven;
use crate::http::error::ApiError;
use crate::model::IncidentId;
use crate::model::ServiceName;
use crate::model::Target;
use crate::model::Verb;
use crate::store::IncidentFilter;

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Those of one service only.
    #[param(value_type = Option<String>)]
    service: Option<ServiceName>,
    /// `true`: those that are closed as well.
    all: Option<bool>,
    /// Those older than this incident: `next_before` of the page before.
    #[param(value_type = Option<String>)]
    before: Option<IncidentId>,
    /// How many at most; 50 if it is not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
}

pub(super) fn list_takes() -> Vec<Parameter> {
    ListQuery::into_params(|| Some(ParameterIn::Query))
}

/// Incidents of one service, or of all.
pub(super) struct Listed(IncidentFilter);

impl Ask for Listed {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        let ListQuery { service, all, before, limit } = call.query()?;
        Ok(Self(IncidentFilter { service, all: all.unwrap_or(false), before, limit: limit.unwrap_or(50).clamp(1, 200) }))
    }

    fn needs(&self) -> Needs {
        Needs::to_read(self.0.service.clone().map_or(Target::Services, Target::Service))
    }
}

pub(super) async fn list(proven: Proven<Listed>, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(shared.watcher.incidents(&proven.ask.0).await?))
}
