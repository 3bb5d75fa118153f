//! The frame of a page for whoever looks at it, and the page that says why another could not be made.

use actix_web::HttpResponse;
use actix_web::ResponseError as _;
use actix_web::http::StatusCode;
use askama::Template;

use crate::http::auth::Viewer;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::error::ApiError;
use crate::model::Scope;
use crate::model::Target;
use crate::model::Verb;
use crate::store::StoreError;

/// What reading the keys and the audit trail needs.
pub(super) const READ_ALL: Scope = Scope { verb: Verb::Read, target: Target::Everything };

/// The frame of a page.
pub(in crate::http) fn frame(viewer: &Viewer, place: Place) -> Frame {
    Frame {
        place,
        user: Some(viewer.name().to_owned()),
        form_token: viewer.form_token().to_owned(),
        sees_all: viewer.may(&READ_ALL),
        fresh_s: 0,
    }
}

/// Why a page cannot be shown.
#[derive(Debug)]
pub(in crate::http) struct Failed {
    status: StatusCode,
    why: String,
}

impl Failed {
    /// There is no such thing, or this person must not know of it: both look the same.
    pub(in crate::http) fn missing(what: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, why: format!("There is no such {what}, or you may not see it.") }
    }

    /// The person may not do this.
    pub(in crate::http) fn forbidden(what: &str) -> Self {
        Self { status: StatusCode::FORBIDDEN, why: format!("You may not {what}; somebody who manages the users can change that.") }
    }

    /// The page that says so.
    pub(in crate::http) fn page(&self, viewer: &Viewer) -> HttpResponse {
        let title = match self.status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "Not allowed",
            _ => "Not now",
        };
        answer(self.status, &Message { frame: frame(viewer, Place::Elsewhere), title, why: self.why.clone() })
    }
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self { status: error.status_code(), why: error.to_string() }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    frame: Frame,
    title: &'static str,
    why: String,
}
