//! `/api/v1/deployments/{id}/log`: stored lines, then live ones, then the outcome. As text, or as server-sent events that go on
//! behind `Last-Event-ID`.

use actix_web::HttpResponse;
use actix_web::web;
use futures_util::stream;
use utoipa::IntoParams as _;
use utoipa::PartialSchema as _;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::path::ParameterBuilder;
use utoipa::openapi::path::ParameterIn;

use crate::http::Shared;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::auth::Proven;
use crate::http::error::ApiError;
use crate::http::follower::Follower;
use crate::http::follower::Wanted;
use crate::http::pages::Form;
use crate::http::routes::deployments::ReadOne;
use crate::model::Caller;
use crate::model::Verb;

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct LogQuery {
    /// `false` returns the lines that are stored by now; otherwise the answer continues until the outcome.
    follow: Option<bool>,
}

pub(super) fn takes() -> Vec<Parameter> {
    let mut takes = LogQuery::into_params(|| Some(ParameterIn::Query));
    let last = ParameterBuilder::new().name("Last-Event-ID").parameter_in(ParameterIn::Header).schema(Some(i64::schema()));
    takes.push(last.description(Some("The position of the last line that the client already has")).build());
    takes
}

/// A journal that is read.
pub(super) struct Follow {
    deployment: ReadOne,
    as_events: bool,
    /// The last line that is known already.
    after: i64,
    /// Whether until the outcome.
    live: bool,
}

impl Ask for Follow {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, body: NoBody) -> Result<Self, ApiError> {
        let query = call.query().unwrap_or(LogQuery { follow: None });
        Ok(Self {
            deployment: ReadOne::read(call, body).await?,
            as_events: call.header("accept").is_some_and(|accept| accept.contains("text/event-stream")),
            after: call.header("last-event-id").and_then(|id| id.parse().ok()).unwrap_or(0),
            live: query.follow.unwrap_or(true),
        })
    }

    fn needs(&self) -> Needs {
        self.deployment.needs()
    }

    fn ordered_by(&self) -> Option<&Caller> {
        self.deployment.ordered_by()
    }
}

pub(super) async fn follow(proven: Proven<Follow>, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let right = proven.right(&proven.ask.deployment.0.order.service, None, &shared);
    let Proven { ask: Follow { deployment: ReadOne(found), as_events, after, live }, caller, .. } = proven;
    let form = if as_events { Form::Events } else { Form::Text };
    Ok(streamed(Follower::of(&shared, &found, &caller, right, Wanted { form, after, live }).await?, form))
}

/// What a follower gets, as an answer.
pub(super) fn streamed(follower: Follower, form: Form) -> HttpResponse {
    let body = stream::unfold(follower, |mut follower| async move {
        let piece = follower.next().await?;
        Some((piece.map_err(actix_web::Error::from), follower))
    });
    let kind = if form == Form::Events { "text/event-stream" } else { "text/plain; charset=utf-8" };
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header(("cache-control", "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body)
}
