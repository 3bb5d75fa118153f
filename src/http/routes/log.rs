//! `/api/v1/deployments/{id}/log`: stored lines, then live ones, then the outcome. As text, or as server-sent events that go on
//! behind `Last-Event-ID`.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web;
use actix_web::web::Bytes;
use futures_util::stream;
use tokio::sync::watch;
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
use crate::http::followers::Place;
use crate::http::pages::Form;
use crate::http::readers::Reader;
use crate::http::readers::Seen;
use crate::http::routes::deployments::ReadOne;
use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::State;
use crate::model::Verb;
use crate::store::StoreError;

/// How often a silent stream of events shows that it lives.
const ALIVE: Duration = Duration::from_secs(10);

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
    let Proven { ask: Follow { deployment: ReadOne(found), as_events, after, live }, caller, .. } = proven;
    let most = shared.config.now().server.max_followers.min(shared.most_followers);
    let place = shared.followers.take(&caller.to_string(), most);
    let Some(place) = place else {
        return Err(ApiError::busy(format!("{most} clients are already following journals (max_followers); try again.")));
    };
    let reader = shared.readers.of(&shared, &found.id);
    let is_over = matches!(found.state, State::Done { .. });
    let follower = Follower {
        seen: if live && !is_over { reader.follow() } else { reader.so_far().await? },
        reader,
        place: Arc::new(place),
        form: if as_events { Form::Events } else { Form::Text },
        id: found.id,
        after: after.max(0),
        is_over: false,
        silent_since: tokio::time::Instant::now(),
    };
    let body = stream::unfold(follower, |mut follower| async move {
        let piece = follower.next().await?;
        Some((piece.map_err(actix_web::Error::from), follower))
    });
    let kind = if as_events { "text/event-stream" } else { "text/plain; charset=utf-8" };
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header(("cache-control", "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body))
}

struct Follower {
    seen: watch::Receiver<Seen>,
    reader: Arc<Reader>,
    place: Arc<Place>,
    form: Form,
    id: DeploymentId,
    /// The position up to which it has everything.
    after: i64,
    is_over: bool,
    silent_since: tokio::time::Instant,
}

impl Follower {
    /// The next piece of the answer; none when it is whole. Events may also end before, since anybody who reads them comes again behind
    /// the last line that it has; a text that ended would look whole, so it breaks off.
    async fn next(&mut self) -> Option<Result<Bytes, ApiError>> {
        if self.is_over {
            return None;
        }
        let place = Arc::clone(&self.place);
        let next = tokio::select! {
            next = self.piece() => next,
            () = place.given_away() => Err(ApiError::busy("This place was given to another follower; connect again.")),
        };
        self.silent_since = tokio::time::Instant::now();
        next.map_or_else(
            |why| {
                self.is_over = true;
                (self.form == Form::Text).then_some(Err(why))
            },
            |piece| piece.map(Ok),
        )
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let seen = self.seen.borrow_and_update().clone();
            if self.after < seen.position {
                let Some(piece) = self.reader.piece(self.after, self.form).await.inspect_err(|error| self.is_let_go(error))? else {
                    return Err(ApiError::busy("These lines have been deleted meanwhile."));
                };
                self.after = piece.through;
                if !piece.bytes.is_empty() {
                    return Ok(Some(piece.bytes));
                }
            } else if let Some(end) = seen.end {
                self.is_over = true;
                return Ok(Some(end).filter(|end| self.form == Form::Events && !end.is_empty()));
            } else if tokio::time::timeout_at(self.silent_since + ALIVE, self.seen.changed()).await.is_err() {
                self.silent_since = tokio::time::Instant::now();
                if self.form == Form::Events {
                    return Ok(Some(Bytes::from_static(b": still here\n\n")));
                }
            }
        }
    }

    fn is_let_go(&self, error: &StoreError) {
        tracing::warn!(deployment = %self.id, %error, "a follower was disconnected, because the journal cannot be read");
    }
}
