//! `/api/v1/deployments/{id}/log`: stored lines, then live ones, then the outcome. As text, or as server-sent events that go on
//! behind `Last-Event-ID`.

use std::collections::VecDeque;
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

use crate::clock;
use crate::http::Shared;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::auth::Proven;
use crate::http::error::ApiError;
use crate::http::followers::Place;
use crate::http::routes::deployments::ReadOne;
use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::Line;
use crate::model::LineKind;
use crate::model::Outcome;
use crate::model::State;
use crate::model::Verb;
use crate::orders;
use crate::store::Deployment;
use crate::store::StoreError;

/// How many lines are read at a time.
const PAGE: i64 = 500;
/// How often a silent stream shows that it lives, and looks for itself.
const ALIVE: Duration = Duration::from_secs(10);
/// How often a deployment is looked at that may be another server's; of one that runs here every change is told.
const LOOK: Duration = Duration::from_secs(1);

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct LogQuery {
    /// `false`: the lines that are stored by now, and then the end. Else until the outcome.
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
    let follower = Follower {
        told: shared.hub.follow(&found.id),
        place: Arc::new(place),
        is_let_go: false,
        runs_here: false,
        shared: shared.clone(),
        id: found.id,
        after,
        as_events,
        live,
        pending: VecDeque::new(),
        ended: false,
        silent_since: tokio::time::Instant::now(),
    };
    let body = stream::unfold(follower, |mut follower| async move {
        let chunk = match follower.next_or_leave().await? {
            Ok(chunk) => Ok(chunk),
            Err(error) => Err(actix_web::Error::from(error)),
        };
        Some((chunk, follower))
    });
    let kind = if as_events { "text/event-stream" } else { "text/plain; charset=utf-8" };
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header(("cache-control", "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body))
}

struct Follower {
    told: watch::Receiver<i64>,
    place: Arc<Place>,
    is_let_go: bool,
    runs_here: bool,
    shared: web::Data<Shared>,
    id: DeploymentId,
    /// The position of the last line that was read.
    after: i64,
    as_events: bool,
    live: bool,
    pending: VecDeque<Bytes>,
    ended: bool,
    silent_since: tokio::time::Instant,
}

impl Follower {
    /// The next piece, unless the place is needed for somebody else. Events may end then, since whoever reads them comes again; a
    /// text that ended would look whole, so it breaks off.
    async fn next_or_leave(&mut self) -> Option<Result<Bytes, ApiError>> {
        if self.is_let_go {
            return None;
        }
        let place = Arc::clone(&self.place);
        let why = tokio::select! {
            chunk = self.next() => return chunk.map(Ok),
            () = place.given_away() => ApiError::busy("This place was given to another follower; connect again."),
        };
        self.is_let_go = true;
        (!self.as_events).then_some(Err(why))
    }

    /// The next piece of the answer; none when it is whole.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.pending.pop_front() {
                self.silent_since = tokio::time::Instant::now();
                return Some(chunk);
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.read().await {
                // The follower comes again behind the last line that it has.
                tracing::warn!(deployment = %self.id, %error, "a follower was disconnected, because the journal cannot be read");
                return None;
            }
            if self.pending.is_empty() && !self.ended {
                let look = if self.runs_here { ALIVE } else { LOOK };
                let _ = tokio::time::timeout(look, self.told.changed()).await;
                if self.pending.is_empty() && self.silent_since.elapsed() >= ALIVE {
                    self.silent_since = tokio::time::Instant::now();
                    if self.as_events {
                        return Some(Bytes::from_static(b": still here\n\n"));
                    }
                }
            }
        }
    }

    /// Reads what is new. The state is read before the lines, so that no line can come behind an end.
    async fn read(&mut self) -> Result<(), StoreError> {
        self.told.mark_unchanged();
        let store = &self.shared.store;
        let stored = store.get(&self.id).await?;
        let lines = store.lines_after(&self.id, self.after, PAGE).await?;
        let more = lines.len() as i64 == PAGE;
        for line in lines {
            self.after = line.position;
            let text = if self.as_events { event(&line) } else { text(&line) };
            self.pending.push_back(Bytes::from(text));
        }
        let mine = |stored: &Deployment| stored.executor.as_deref() == Some(self.shared.deployer.executor());
        self.runs_here = stored.as_ref().is_some_and(|stored| matches!(stored.state, State::Running { .. }) && mine(stored));
        let Some(stored) = stored else {
            self.ended = true;
            return Ok(());
        };
        if more {
            return Ok(());
        }
        match &stored.state {
            State::Done { outcome } => {
                self.ended = true;
                if self.as_events {
                    self.pending.push_back(Bytes::from(outcome_event(&orders::view(&stored), outcome)));
                }
            }
            State::Waiting { .. } | State::Running { .. } => self.ended = !self.live,
        }
        Ok(())
    }
}

fn event(line: &Line) -> String {
    format!("id: {}\nevent: line\ndata: {}\n\n", line.position, serde_json::to_string(line).unwrap_or_default())
}

fn text(line: &Line) -> String {
    let mark = match line.kind {
        LineKind::Step => "==>",
        LineKind::Error => "!!!",
        LineKind::Warning => " ! ",
        LineKind::Note => "   ",
        LineKind::Output => "  |",
        LineKind::Outcome => "***",
    };
    format!("{} {:<11} {mark} {}\n", clock::utc(line.at_ms), line.step, line.text)
}

/// The last event: the outcome's own fields, its sentence, exit code and whether it is success.
fn outcome_event(view: &crate::api::Deployment, outcome: &Outcome) -> String {
    let mut data = serde_json::to_value(outcome).unwrap_or_default();
    data["summary"] = view.summary.clone().into();
    data["exit_code"] = outcome.exit_code().into();
    data["success"] = outcome.is_success().into();
    data["deployment"] = view.id.to_string().into();
    format!("event: outcome\ndata: {data}\n\n")
}
