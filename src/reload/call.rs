//! What calls of the app and calls of peers have in common.

use std::time::Duration;

use text::Mask;

use crate::api;

/// How much of an answer is shown.
const SHOWN: usize = 300;
/// How much of an answer is read.
const MOST_BYTES: usize = 64 << 10;

/// Builds the client for these calls.
pub(super) fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .pool_idle_timeout(api::IDLE_CONNECTION / 2)
        .user_agent(concat!("tagalong/", env!("CARGO_PKG_VERSION")))
}

/// Why there was no answer, as one sentence.
pub(super) fn unanswered(url: &url::Url, error: &reqwest::Error, deadline: Duration) -> String {
    if error.is_timeout() {
        return format!("{url} did not answer within {} s.", deadline.as_secs_f64());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    format!("{url} cannot be reached: {cause}.")
}

/// The beginning of an answer's body.
pub(super) async fn text_of(mut answer: reqwest::Response) -> reqwest::Result<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk[..chunk.len().min(MOST_BYTES - bytes.len())]);
        if bytes.len() == MOST_BYTES {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A text from outside as part of a sentence: one line, short, and without the secrets that `mask` hides.
pub(super) fn masked_excerpt(mask: &Mask, text: &str) -> String {
    let hidden = mask.hide(text.trim());
    let short: String = hidden.chars().take(SHOWN).collect();
    let dots = if short.len() < hidden.len() { "…" } else { "" };
    format!("{}{dots}", text::without_controls(&short))
}
