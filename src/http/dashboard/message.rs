//! A page that says one thing.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;

use crate::http::dashboard::Frame;
use crate::http::dashboard::answer;

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    frame: Frame,
    title: &'a str,
    text: &'a str,
}

/// A page that says `text` and asks for nothing.
pub(in crate::http) fn message(status: StatusCode, text: &str) -> HttpResponse {
    let title = status.canonical_reason().unwrap_or("Not possible");
    answer(status, &Message { frame: Frame::nobody(), title, text })
}
