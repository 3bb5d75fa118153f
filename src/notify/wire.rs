//! How services are called over HTTP, and what their answers mean.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderName;
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use serde_json::Value;
use text::Mask;
use text::Secret;
use url::Url;

use crate::answer::beginning;
use crate::clock::retry_after;
use crate::config::SecretSource;
use crate::notify::error::NotifyError;
use crate::notify::error::NotifyErrorKind;

const CONNECT: Duration = Duration::from_secs(5);
/// For one call, its answer among it.
const EXCHANGE: Duration = Duration::from_secs(20);
/// How much of an answer is read.
const MOST_BYTES: usize = 16 << 10;
/// How much of what a service says is shown.
const SHOWN: usize = 200;

/// One call. Address and headers may hold credentials, so neither is ever shown.
pub(super) struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Call {
    /// A POST of JSON.
    pub(super) fn post(url: Url, body: &Value) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self { method: Method::POST, url, headers, body: body.to_string().into_bytes() }
    }

    /// The same, put in its place: sent twice it is there once.
    pub(super) fn put(self) -> Self {
        Self { method: Method::PUT, ..self }
    }

    /// With a header whose value nobody may see.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Result<Self, NotifyError> {
        let odd = |_| NotifyError::unreachable(format!("The value for the header {name} has characters that no header may have."));
        let mut value = HeaderValue::from_str(value).map_err(odd)?;
        value.set_sensitive(true);
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }
}

/// A secret, read for this use.
pub(super) fn secret(source: &SecretSource) -> Result<Secret, NotifyError> {
    source.read().map_err(NotifyError::unreachable)
}

/// `base` with `parts` behind its path, each of which stays one.
pub(super) fn below(base: &Url, parts: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(parts);
    }
    url
}

/// The client.
#[derive(Debug)]
pub(super) struct Wire {
    http: reqwest::Client,
    mask: Arc<Mask>,
}

impl Wire {
    pub(super) fn new(mask: Arc<Mask>) -> Result<Self, NotifyError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(EXCHANGE)
            .redirect(Policy::none())
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(Duration::from_secs(20))
            .user_agent(concat!("tagalong/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| NotifyError::unreachable(format!("The HTTP client could not be set up: {}.", root_cause(error))))?;
        Ok(Self { http, mask })
    }

    pub(super) fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Calls, and gives what was answered, as a sentence.
    pub(super) async fn send(&self, call: Call) -> Result<String, NotifyError> {
        let host = call.url.host_str().unwrap_or_default().to_owned();
        let request = self.http.request(call.method, call.url).headers(call.headers).body(call.body);
        let unreachable = |error: reqwest::Error| {
            let why = if error.is_timeout() { "it did not answer in time".to_owned() } else { root_cause(error) };
            NotifyError::unreachable(format!("{host} cannot be reached: {why}."))
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let headers = answer.headers().clone();
        // What was decided stands in the status; an answer that breaks off changes nothing of it.
        let body = beginning(answer, MOST_BYTES).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        let said = self.answer_text(&body);
        let words = if said.is_empty() { ".".to_owned() } else { format!(": {said}") };
        let status = status.as_u16();
        match status {
            200..=299 => Ok(format!("{host} answered {status}{words}")),
            300..=399 => {
                let why = format!("{host} redirects ({status}), which is not followed; correct the address in the configuration.");
                Err(NotifyError::new(NotifyErrorKind::Answered { status, after: None }, why))
            }
            _ => {
                let kind = NotifyErrorKind::Answered { status, after: silence(&headers, &body) };
                Err(NotifyError::new(kind, format!("{host} answered {status}{words}")))
            }
        }
    }

    /// What a service says, as one short sentence: the words of its JSON, or the text.
    fn answer_text(&self, body: &str) -> String {
        let json: Value = serde_json::from_str(body).unwrap_or_default();
        let words = ["/description", "/error", "/errorDescription", "/message"].iter().find_map(|at| json.pointer(at)?.as_str());
        masked(&self.mask, words.unwrap_or(if json.is_null() { body } else { "" }))
    }
}

/// Words from outside as one short sentence, without what `mask` hides.
pub(super) fn masked(mask: &Mask, words: &str) -> String {
    let hidden = mask.hide(words.trim());
    let short: String = text::without_controls(&hidden).chars().take(SHOWN).collect();
    if short.is_empty() { short } else { format!("{}.", short.trim_end_matches('.')) }
}

/// For how long the service wants to be left alone: by its header, or where Discord, Telegram and Matrix say it.
fn silence(headers: &HeaderMap, body: &str) -> Option<Duration> {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let seconds = ["/retry_after", "/parameters/retry_after"].iter().find_map(|at| json.pointer(at)?.as_f64());
    let seconds = seconds.or_else(|| Some(json.get("retry_after_ms")?.as_f64()? / 1000.0));
    // The header has whole seconds, the body may be more exact.
    let said = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    said.or_else(|| headers.get("retry-after").and_then(|value| retry_after(value.to_str().ok()?)))
}

/// What is behind an error; its own words would name the address.
fn root_cause(error: reqwest::Error) -> String {
    text::root_cause(&error.without_url())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::HeaderMap;
    use reqwest::header::HeaderValue;

    use super::silence;

    #[test]
    fn every_services_words_for_later_are_known() {
        for (header, body, seconds) in [
            (Some("7"), "", Some(7.0)),
            (None, r#"{"message": "You are being rate limited.", "retry_after": 0.75, "global": false}"#, Some(0.75)),
            (Some("1"), r#"{"retry_after": 0.25}"#, Some(0.25)),
            (None, r#"{"ok": false, "error_code": 429, "parameters": {"retry_after": 31}}"#, Some(31.0)),
            (None, r#"{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1500}"#, Some(1.5)),
            (None, r#"{"retry_after": -1}"#, None),
            (None, r#"{"retry_after": "soon"}"#, None),
            (None, "busy", None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert("retry-after", HeaderValue::from_static(header));
            }
            assert_eq!(silence(&headers, body), seconds.map(Duration::from_secs_f64), "{header:?} {body}");
        }
    }
}
