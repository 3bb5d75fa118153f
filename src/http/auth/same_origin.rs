//! Whether a call comes from a page of this very server, and whether the browser called this server by a name of its own.

use actix_web::HttpRequest;
use actix_web::http::header::HOST;
use actix_web::http::header::ORIGIN;
use url::Host;

use crate::config::Server;
use crate::http::auth::attempt::Attempt;

/// Whether a browser says that our own page sent it. Browsers that do not say `Sec-Fetch-Site` say the origin; a program that says
/// neither has an interface of its own.
pub(super) fn is_from_here(attempt: &Attempt<'_>) -> bool {
    match attempt.header("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => is_own_origin(attempt),
    }
}

/// Whether a browser says that a page of another site had it sent without anybody's going there, as an image or a frame is loaded.
/// Nothing that such a call shows is anybody's guess, and whoever looks at the page does not know of it.
pub(super) fn is_had_by_another_site(attempt: &Attempt<'_>) -> bool {
    matches!(attempt.header("sec-fetch-site"), Some("cross-site" | "same-site")) && attempt.header("sec-fetch-dest") != Some("document")
}

/// Whether the header `Origin` is there and names this server, as the browser calls it.
pub(super) fn is_own_origin(attempt: &Attempt<'_>) -> bool {
    let scheme = if attempt.origin.is_https() { "https://" } else { "http://" };
    let (Some(origin), Some(host)) = (attempt.header(ORIGIN.as_str()), attempt.header(HOST.as_str())) else { return false };
    origin.strip_prefix(scheme).is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

/// Whether the browser called this server by a name that is its own: the one in `server.public_url`, `localhost`, or a bare address. By
/// any other name, which somebody else may have made to lead here (DNS rebinding), a page of theirs would count as ours.
pub(super) fn is_own_name(request: &HttpRequest, server: &Server) -> bool {
    let mut names = request.headers().get_all(HOST);
    let (Some(name), None) = (names.next().and_then(|name| name.to_str().ok()), names.next()) else { return false };
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    let Some(called) = url::Url::parse(&format!("http://{name}")).ok().filter(|_| is_plain) else { return false };
    match called.host() {
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        Some(Host::Domain(name)) => {
            let own = server.public_url.as_ref().and_then(url::Url::host_str);
            name == "localhost" || own.is_some_and(|own| own.eq_ignore_ascii_case(name))
        }
        None => false,
    }
}
