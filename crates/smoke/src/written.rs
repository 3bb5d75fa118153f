//! How the parts of an exchange are written in a report.

use reqwest::header::HeaderValue;
use url::Url;

/// A header's value as text.
pub(super) fn header_text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// `url` without user and password, which belong into no report and no request but the plan's own.
pub(super) fn without_credentials(url: &Url) -> Url {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// Scheme, host and port: paths and queries may carry secrets and are not repeated.
pub(super) fn origin_text(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{}://{host}:{port}", url.scheme()),
        (Some(host), None) => format!("{}://{host}", url.scheme()),
        (None, _) => format!("{}:", url.scheme()),
    }
}
