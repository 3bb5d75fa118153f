//! The form by which something gets a name, and the page that shows a code once.

use actix_web::HttpResponse;
use actix_web::ResponseError as _;
use actix_web::http::StatusCode;
use askama::Template;

use crate::http::auth::Viewer;
use crate::http::auth::once;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::words::Moment;
use crate::http::error::ApiError;

/// A form for a name, and for a user also for scopes.
#[derive(Template)]
#[template(path = "named.html")]
pub(super) struct Named {
    pub(super) frame: Frame,
    pub(super) said: Option<String>,
    pub(super) once: String,
    pub(super) title: String,
    pub(super) points: Vec<String>,
    pub(super) action: &'static str,
    pub(super) name_label: &'static str,
    pub(super) name: String,
    /// Whether it is about something that is there already, whose name stays.
    pub(super) is_known: bool,
    /// Scopes as they are typed; none: there is no such field.
    pub(super) scopes: Option<String>,
    pub(super) button: &'static str,
    /// Where somebody goes who does nothing.
    pub(super) back: &'static str,
}

impl Named {
    /// A form that `action` takes.
    pub(super) fn new(viewer: &Viewer, place: Place, action: &'static str, back: &'static str) -> Self {
        Self {
            frame: Frame::of(viewer, place),
            said: None,
            once: once(),
            title: String::new(),
            points: vec![format!("In the name of {}.", viewer.user())],
            action,
            name_label: "Name",
            name: String::new(),
            is_known: false,
            scopes: None,
            button: "",
            back,
        }
    }

    /// As a page.
    pub(super) fn answer(self) -> HttpResponse {
        answer(StatusCode::OK, &self)
    }

    /// The same page with what was typed and why it was refused.
    pub(super) fn refused(self, error: &ApiError) -> HttpResponse {
        answer(error.status_code(), &Self { said: Some(error.to_string()), ..self })
    }
}

/// A code that is shown this once.
#[derive(Template)]
#[template(path = "code.html")]
pub(super) struct Shown {
    frame: Frame,
    title: String,
    done: Option<String>,
    what: String,
    code: String,
    until: Moment,
    points: Vec<String>,
    command: Option<String>,
    back: &'static str,
}

impl Shown {
    /// `code`, which is good until `until_ms` (ms since 1970, UTC) for `what`.
    pub(super) fn new(
        viewer: &Viewer,
        place: Place,
        title: String,
        what: String,
        (code, until_ms): (String, i64),
        back: &'static str,
    ) -> Self {
        let frame = Frame::of(viewer, place);
        Self { frame, title, done: None, what, code, until: Moment(until_ms), points: Vec::new(), command: None, back }
    }

    /// With what was done before.
    pub(super) fn done(self, done: String) -> Self {
        Self { done: Some(done), ..self }
    }

    /// With one more sentence.
    pub(super) fn point(mut self, point: impl Into<String>) -> Self {
        self.points.push(point.into());
        self
    }

    /// With what is typed on a host.
    pub(super) fn command(self, command: String) -> Self {
        Self { command: Some(command), ..self }
    }

    /// As a page.
    pub(super) fn answer(self) -> HttpResponse {
        answer(StatusCode::OK, &self)
    }
}
