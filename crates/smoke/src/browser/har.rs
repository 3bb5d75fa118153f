//! The list of requests in the HTTP Archive format 1.2. Headers that carry credentials are left out.

use serde_json::Value;
use serde_json::json;

use crate::browser::watch::Request;
use crate::browser::watch::Watched;
use crate::plan::SmokePlan;

const SECRET: [&str; 4] = ["authorization", "cookie", "set-cookie", "proxy-authorization"];

pub(super) fn render(plan: &SmokePlan, watched: &Watched) -> String {
    let own: Vec<String> = plan.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let entries: Vec<Value> = watched.requests.iter().map(|request| entry(request, &own)).collect();
    let creator = json!({ "name": "tagalong", "version": env!("CARGO_PKG_VERSION") });
    json!({ "log": { "version": "1.2", "creator": creator, "pages": [], "entries": entries } }).to_string()
}

fn entry(request: &Request, own: &[String]) -> Value {
    let began = jiff::Timestamp::from_millisecond((request.began_s * 1000.0) as i64).unwrap_or_default().to_string();
    let protocol = if request.protocol.is_empty() { "unknown" } else { &request.protocol };
    let query = url::Url::parse(&request.url)
        .map(|url| url.query_pairs().map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>());
    json!({
        "startedDateTime": began,
        "time": request.took_ms,
        "request": {
            "method": request.method, "url": request.url, "httpVersion": protocol, "cookies": [], "headersSize": -1, "bodySize": -1,
            "headers": headers(&request.sent_headers, own), "queryString": query.unwrap_or_default(),
        },
        "response": {
            "status": request.status.unwrap_or(0), "statusText": request.status_text, "httpVersion": protocol, "cookies": [],
            "headers": headers(&request.got_headers, own), "redirectURL": redirect(request), "headersSize": -1, "bodySize": request.bytes,
            "content": { "size": request.bytes, "mimeType": request.mime }, "_error": request.failed,
        },
        "cache": {},
        "timings": { "send": 0, "wait": request.took_ms, "receive": 0 },
    })
}

fn headers(headers: &Value, own: &[String]) -> Vec<Value> {
    let is_secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        SECRET.contains(&name.as_str()) || own.contains(&name)
    };
    let shown = headers.as_object().into_iter().flatten().filter(|(name, _)| !is_secret(name));
    shown.map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn redirect(request: &Request) -> &str {
    let headers = request.got_headers.as_object();
    let location = headers.into_iter().flatten().find(|(name, _)| name.eq_ignore_ascii_case("location"));
    location.and_then(|(_, value)| value.as_str()).unwrap_or_default()
}
