//! Parts of a journal, for programs and for the log of the dashboard: some lines by their positions, and where lines are that are searched
//! for. A search goes through a limited number of lines; whoever asks goes on where it ended.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web;
use utoipa::IntoParams as _;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::path::ParameterIn;

use crate::api;
use crate::http::Shared;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::auth::Page;
use crate::http::auth::PageError;
use crate::http::auth::Proven;
use crate::http::auth::Right;
use crate::http::error::ApiError;
use crate::http::follower::Follower;
use crate::http::follower::Wanted;
use crate::http::pages::Form;
use crate::http::routes::deployments::ReadOne;
use crate::http::routes::log;
use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::LineKind;
use crate::model::Verb;
use crate::store::Store;
use crate::store::StoreError;

/// The most lines of one answer.
const MOST_LINES: i64 = 500;
/// The most positions of one answer.
const MOST_FOUND: usize = 1000;
/// How many lines one call searches at most, and how many it reads at a time.
const SEARCHED: i64 = 20_000;
const READ: i64 = 2_000;
/// The longest text that is searched for.
const LONGEST: usize = 500;

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct LinesQuery {
    /// Only lines after this position.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// The most lines to return; the default is 500.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

pub(super) fn list_takes() -> Vec<Parameter> {
    LinesQuery::into_params(|| Some(ParameterIn::Query))
}

/// Some lines of a journal.
pub(super) struct Range {
    deployment: ReadOne,
    after: i64,
    limit: i64,
}

impl Ask for Range {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, body: NoBody) -> Result<Self, ApiError> {
        let LinesQuery { after, limit } = call.query()?;
        let limit = limit.unwrap_or(MOST_LINES).clamp(1, MOST_LINES);
        Ok(Self { deployment: ReadOne::read(call, body).await?, after: after.unwrap_or(0), limit })
    }

    fn needs(&self) -> Needs {
        self.deployment.needs()
    }

    fn ordered_by(&self) -> Option<&Caller> {
        self.deployment.ordered_by()
    }
}

pub(super) async fn list(proven: Proven<Range>, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(answer(&lines(&shared.store, &proven.ask).await?))
}

pub(super) async fn list_page(page: Page<Range>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    Ok(answer(&lines(&shared.store, &page.ask).await?))
}

async fn lines(store: &Store, range: &Range) -> Result<api::Lines, StoreError> {
    let Range { deployment: ReadOne(found), after, limit } = range;
    // The end is read before the lines, so that every line up to it is among them, or behind the last of them.
    let last = store.last_position(&found.id).await?;
    Ok(api::Lines { lines: store.lines_after(&found.id, *after, *limit).await?, last })
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct SearchQuery {
    /// Text that the lines contain, in upper or lower case.
    text: Option<String>,
    /// Only lines of this kind.
    kind: Option<LineKind>,
    /// Only lines after this position: `through` of the answer before.
    #[param(minimum = 0)]
    after: Option<i64>,
}

pub(super) fn search_takes() -> Vec<Parameter> {
    SearchQuery::into_params(|| Some(ParameterIn::Query))
}

/// A journal that is searched.
pub(super) struct Search {
    deployment: ReadOne,
    sought: Sought,
}

struct Sought {
    /// In lower case.
    text: String,
    kind: Option<LineKind>,
    after: i64,
}

impl Sought {
    fn is(&self, kind: LineKind, text: &str) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind) && (self.text.is_empty() || text.to_lowercase().contains(&self.text))
    }
}

impl Ask for Search {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, body: NoBody) -> Result<Self, ApiError> {
        let SearchQuery { text, kind, after } = call.query()?;
        let sought = Sought { text: text.unwrap_or_default().to_lowercase(), kind, after: after.unwrap_or(0) };
        Ok(Self { deployment: ReadOne::read(call, body).await?, sought })
    }

    fn needs(&self) -> Needs {
        self.deployment.needs()
    }

    fn ordered_by(&self) -> Option<&Caller> {
        self.deployment.ordered_by()
    }
}

pub(super) async fn search(proven: Proven<Search>, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let Search { deployment: ReadOne(found), sought } = proven.ask;
    Ok(answer(&searched(&shared.store, &found.id, &sought).await?))
}

pub(super) async fn search_page(page: Page<Search>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let Search { deployment: ReadOne(found), sought } = page.ask;
    Ok(answer(&searched(&shared.store, &found.id, &sought).await?))
}

async fn searched(store: &Store, id: &DeploymentId, sought: &Sought) -> Result<api::FoundLines, ApiError> {
    if sought.text.len() > LONGEST || sought.text.is_empty() && sought.kind.is_none() {
        return Err(ApiError::bad_request(format!("A search needs a text of at most {LONGEST} bytes, or a kind of lines.")));
    }
    let mut found = api::FoundLines { positions: Vec::new(), through: sought.after, is_whole: false };
    for _ in 0..SEARCHED / READ {
        let lines = store.texts_after(id, found.through, READ).await?;
        found.is_whole = (lines.len() as i64) < READ;
        for (position, kind, text) in &lines {
            if found.positions.len() == MOST_FOUND {
                found.is_whole = false;
                return Ok(found);
            }
            found.through = *position;
            if sought.is(*kind, text) {
                found.positions.push(*position);
            }
        }
        if found.is_whole {
            break;
        }
    }
    Ok(found)
}

fn answer(body: &impl serde::Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(body)
}

/// The whole text, as far as it is stored by now.
pub(super) async fn text_page(page: Page<ReadOne>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let ReadOne(found) = page.ask;
    let right = Right::of_one_answer(&found.order.service, &shared);
    let follower = Follower::of(&shared, &found, &page.viewer.caller(), right, Wanted { form: Form::Text, after: 0, live: false }).await?;
    Ok(log::streamed(follower, Form::Text))
}
