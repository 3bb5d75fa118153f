//! A page that asks one question before something is done.

use actix_web::HttpResponse;
use actix_web::ResponseError as _;
use actix_web::http::StatusCode;
use askama::Template;

use crate::http::auth::Viewer;
use crate::http::auth::once;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::error::ApiError;

/// A question, what it means, and the button that does it.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(super) struct Confirm {
    frame: Frame,
    question: String,
    said: Option<String>,
    points: Vec<String>,
    action: String,
    button: &'static str,
    is_danger: bool,
    /// Where somebody goes who does nothing.
    back: String,
    /// Whether a code is typed.
    asks_code: bool,
    /// The code as it was typed before.
    code: String,
    once: String,
}

impl Confirm {
    /// A question that a form with `button` to `action` answers.
    pub(super) fn new(viewer: &Viewer, place: Place, question: String, action: String, button: &'static str, back: String) -> Self {
        let frame = Frame::of(viewer, place);
        let points = vec![format!("In the name of {}.", viewer.user())];
        Self {
            frame,
            question,
            said: None,
            points,
            action,
            button,
            is_danger: false,
            back,
            asks_code: false,
            code: String::new(),
            once: once(),
        }
    }

    /// With one more sentence, before that which says in whose name.
    pub(super) fn point(mut self, point: impl Into<String>) -> Self {
        self.points.insert(self.points.len() - 1, point.into());
        self
    }

    /// With a button that warns.
    pub(super) fn dangerous(self) -> Self {
        Self { is_danger: true, ..self }
    }

    /// With a field for a code.
    pub(super) fn asking_code(self) -> Self {
        Self { asks_code: true, ..self }
    }

    /// With a code that did not do, so that one can mend it.
    pub(super) fn typed(self, code: String) -> Self {
        Self { code, ..self }
    }

    /// As a page.
    pub(super) fn answer(self) -> HttpResponse {
        answer(StatusCode::OK, &self)
    }

    /// The same page with why it was refused.
    pub(super) fn refused(self, error: &ApiError) -> HttpResponse {
        answer(error.status_code(), &Self { said: Some(error.to_string()), ..self })
    }
}
