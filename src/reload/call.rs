//! What calls of the app and calls of peers have in common.

use std::time::Duration;

use text::Mask;
use text::Secret;

use crate::answer::beginning;
use crate::api;
use crate::config::Rotating;
use crate::config::SecretSource;

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

/// Sends `request` with a bearer token. While that is rotated it is sent with the other one as well, if the one that is known the
/// longest is refused: who is called may have had its own copy changed already, or not yet.
pub(super) async fn send_with(
    request: reqwest::RequestBuilder,
    token: Option<&Rotating<Secret>>,
) -> Result<reqwest::Response, reqwest::Error> {
    let Some(Rotating { newest, older }) = token else { return request.send().await };
    if let Some((older, first)) = older.as_ref().zip(request.try_clone()) {
        let answer = first.bearer_auth(older.reveal()).send().await?;
        if !matches!(answer.status().as_u16(), 401 | 403) {
            return Ok(answer);
        }
    }
    request.bearer_auth(newest.reveal()).send().await
}

/// Which credential was sent, for the end of a sentence about a refusal: never the credential itself. `key` is its key in the
/// configuration without `_file` or `_env`. Nothing where the answer is no refusal of a credential.
pub(super) fn sent(status: u16, key: &str, source: Option<&SecretSource>) -> String {
    if !matches!(status, 401 | 403) {
        return String::new();
    }
    match source {
        None => format!(" (tagalong sent no credential, because {key}_file is not set)"),
        Some(source) => match source.file() {
            Some(file) => format!(" (tagalong sent that of {key}_file {})", file.display()),
            None => format!(" (tagalong sent that of {key}_env)"),
        },
    }
}

/// Why there was no answer, as one sentence.
pub(super) fn unanswered(url: &url::Url, error: &reqwest::Error, deadline: Duration) -> String {
    if error.is_timeout() {
        // What is left of a longer time is no round number.
        let seconds = (deadline.as_secs_f64() * 10.0).ceil() / 10.0;
        return format!("{url} did not answer within {seconds} s.");
    }
    format!("{url} cannot be reached: {}.", text::root_cause(error))
}

/// The beginning of an answer's body.
pub(super) async fn text_of(answer: reqwest::Response) -> reqwest::Result<String> {
    Ok(String::from_utf8_lossy(&beginning(answer, MOST_BYTES).await?).into_owned())
}

/// A text from outside as part of a sentence: one line, short, and without the secrets that `mask` hides.
pub(super) fn masked_excerpt(mask: &Mask, text: &str) -> String {
    let hidden = mask.hide(text.trim());
    let short: String = hidden.chars().take(SHOWN).collect();
    let dots = if short.len() < hidden.len() { "…" } else { "" };
    format!("{}{dots}", text::without_controls(&short))
}
