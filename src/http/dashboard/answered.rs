//! What forms have in common: their reasons, and where they lead.

use actix_web::HttpResponse;
use actix_web::http::header;

use crate::http::error::ApiError;

/// A reason for the record, as the API takes one.
const LONGEST: usize = 2000;

/// What was typed as the reason; none: nothing.
pub(super) fn reason_of(typed: &str) -> Result<Option<String>, ApiError> {
    let typed = typed.trim();
    if typed.len() > LONGEST || typed.contains('\0') {
        return Err(ApiError::bad_request(format!("The reason must be shorter than {LONGEST} bytes and must not contain NUL.")));
    }
    Ok(Some(typed.to_owned()).filter(|reason| !reason.is_empty()))
}

/// It is done: the browser goes to `path`, and showing that page again does nothing again.
pub(super) fn to(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path)).insert_header((header::CACHE_CONTROL, "no-store")).finish()
}
