//! What the clients of all forges have in common: how they call, and what an answer means.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::ACCEPT;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use serde_json::Value;
use text::root_cause;
use url::Url;

use crate::answer::whole;
use crate::clock;
use crate::clock::retry_after;
use crate::forge::call::Answer;
use crate::forge::error::ForgeError;
use crate::forge::error::ForgeErrorKind;

const CONNECT: Duration = Duration::from_secs(10);
/// For one call, its answer among it.
pub(super) const EXCHANGE: Duration = Duration::from_secs(30);
/// A page of a hundred checks with their output is the largest that is asked for.
const MOST_BYTES: usize = 8 << 20;
/// No forge is left alone for longer, whatever it asks for.
const LONGEST_SILENCE_MS: i64 = 24 * 3_600_000;
/// What GitHub asks for when it limits calls without saying for how long.
const LIMITED_MS: i64 = 60_000;

/// A client for the API at `api_url`, whose answers are of the type `accept`: it follows no redirect, since that could lead a credential elsewhere.
pub(super) fn client(api_url: &str, accept: &'static str) -> Result<reqwest::Client, ForgeError> {
    let is_https = Url::parse(api_url).is_ok_and(|url| url.scheme() == "https");
    let mut client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .timeout(EXCHANGE)
        .redirect(Policy::none())
        .https_only(is_https)
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_secs(20))
        .default_headers(HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
        .user_agent(concat!("tagalong/", env!("CARGO_PKG_VERSION")));
    if !is_https {
        client = client.no_proxy();
    }
    client.build().map_err(|error| {
        ForgeError::new(ForgeErrorKind::Unreachable, format!("The HTTP client could not be set up: {}.", root_cause(&error)))
    })
}

/// The forge could not be asked.
pub(super) fn unreachable(api_url: &str, error: &(dyn std::error::Error + 'static)) -> ForgeError {
    ForgeError::new(ForgeErrorKind::Unreachable, format!("{api_url} cannot be reached: {}.", root_cause(error)))
}

/// What `response` of the API at `api_url` means.
///
/// # Errors
/// When it is no success.
pub(super) async fn answer(api_url: &str, response: Response) -> Result<Answer, ForgeError> {
    let status = response.status();
    let headers = response.headers().clone();
    let bytes = body(api_url, response).await?;
    if !status.is_success() {
        return Err(refusal(status.as_u16(), &headers, &bytes).answered(status.as_u16()));
    }
    let odd = |_| ForgeError::new(ForgeErrorKind::Odd, format!("{api_url} answered {} with something that is not JSON.", status.as_u16()));
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).map_err(odd)? };
    let links = headers.get("link").and_then(|link| link.to_str().ok()).unwrap_or_default();
    Ok(Answer { status: status.as_u16(), body, goes_on: links.contains("rel=\"next\"") })
}

async fn body(api_url: &str, response: Response) -> Result<Vec<u8>, ForgeError> {
    let too_large = || ForgeError::new(ForgeErrorKind::Odd, format!("An answer of {api_url} is larger than {MOST_BYTES} bytes."));
    whole(response, MOST_BYTES).await.map_err(|error| unreachable(api_url, &error))?.ok_or_else(too_large)
}

/// Why the answer of `status` is no success.
fn refusal(status: u16, headers: &HeaderMap, body: &[u8]) -> ForgeError {
    let said = message(body);
    let words = if said.is_empty() { ".".to_owned() } else { format!(": {said}") };
    if let Some(until_ms) = limited_until(status, headers, &said) {
        let until = clock::utc(until_ms);
        let why = format!("The forge wants no more calls before {until} ({status}){words}");
        return ForgeError::new(ForgeErrorKind::RateLimited { until_ms }, why);
    }
    let (kind, what) = match status {
        300..=399 => (ForgeErrorKind::Odd, "redirects, which is not followed; the repository may have been renamed or moved"),
        401 => (ForgeErrorKind::Refused, "does not accept the token"),
        403 => (ForgeErrorKind::Refused, "does not allow it"),
        404 | 410 => (ForgeErrorKind::NotFound, "has no such thing, or the token may not see it"),
        408 | 425 | 500..=599 => (ForgeErrorKind::Unreachable, "has a fault"),
        _ => (ForgeErrorKind::Refused, "refuses it"),
    };
    ForgeError::new(kind, format!("The forge {what} ({status}){words}"))
}

/// What the body of an error says, as one short sentence; both forges have it as `message`.
fn message(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = json.get("message").and_then(Value::as_str).unwrap_or_default();
    let said: String = text::without_controls(said).chars().take(200).collect();
    if said.is_empty() { said } else { format!("{}.", said.trim_end_matches('.')) }
}

/// Until when the forge wants to be left alone ([GitHub's words on it](https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api)):
/// the primary limit says so by what remains, the secondary one by `Retry-After` or only in words.
fn limited_until(status: u16, headers: &HeaderMap, said: &str) -> Option<i64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let asked = text("retry-after").and_then(retry_after);
    let has_none_left = text("x-ratelimit-remaining") == Some("0");
    let in_words = said.to_ascii_lowercase().contains("rate limit");
    let is_limited = match status {
        429 => true,
        403 => asked.is_some() || has_none_left || in_words,
        503 => asked.is_some(),
        _ => false,
    };
    if !is_limited {
        return None;
    }
    let now_ms = clock::now_ms();
    let reset_ms = || text("x-ratelimit-reset")?.parse::<i64>().ok()?.checked_mul(1000).filter(|_| has_none_left);
    let asked_ms = asked.map(|asked| now_ms.saturating_add(i64::try_from(asked.as_millis()).unwrap_or(i64::MAX)));
    Some(asked_ms.or_else(reset_ms).unwrap_or(now_ms + LIMITED_MS).min(now_ms + LONGEST_SILENCE_MS))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::ForgeErrorKind;
    use super::refusal;
    use crate::clock;

    fn kind_of(status: u16, headers: &[(&'static str, String)], body: &str) -> ForgeErrorKind {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a header"));
        }
        refusal(status, &map, body.as_bytes()).kind
    }

    #[test]
    fn an_answer_says_whether_another_time_may_do() {
        for (status, kind) in [
            (301, ForgeErrorKind::Odd),
            (401, ForgeErrorKind::Refused),
            (403, ForgeErrorKind::Refused),
            (404, ForgeErrorKind::NotFound),
            (410, ForgeErrorKind::NotFound),
            (409, ForgeErrorKind::Refused),
            (422, ForgeErrorKind::Refused),
            (500, ForgeErrorKind::Unreachable),
            (502, ForgeErrorKind::Unreachable),
            (503, ForgeErrorKind::Unreachable),
        ] {
            assert_eq!(kind_of(status, &[], "{}"), kind, "{status}");
        }
    }

    #[test]
    fn a_limit_says_until_when() {
        let now_ms = clock::now_ms();
        let reset = (now_ms / 1000 + 900).to_string();
        let (none_left, some_left) = (("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-remaining", "12".to_owned()));
        let (reset, asked) = (("x-ratelimit-reset", reset), ("retry-after", "120".to_owned()));
        let secondary = r#"{"message":"You have exceeded a secondary rate limit."}"#;
        for (status, headers, body, in_s) in [
            (403, vec![none_left.clone(), reset.clone()], "", 900),
            (429, vec![none_left, reset.clone()], "", 900),
            (403, vec![some_left.clone(), reset.clone()], secondary, 60),
            (403, vec![some_left, reset, asked.clone()], secondary, 120),
            (403, vec![asked.clone()], "", 120),
            (429, vec![], "", 60),
            (503, vec![asked], "", 120),
            (429, vec![("retry-after", "999999999999".to_owned())], "", 86_400),
        ] {
            let ForgeErrorKind::RateLimited { until_ms } = kind_of(status, &headers, body) else { panic!("{status} {headers:?}") };
            let wait_s = (until_ms - now_ms + 500) / 1000;
            assert!((in_s - 1..=in_s + 5).contains(&wait_s), "{status} {headers:?}: {wait_s}");
        }
    }
}
