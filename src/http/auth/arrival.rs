//! Somebody who comes to a page by which people log in. Nothing about them is proven; what they type is taken only from our own page, over
//! a way that nobody else can read, and only while few attempts from there have failed.

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::USER_AGENT;
use text::Secret;
use text::without_controls;

use crate::http::Shared;
use crate::http::auth::attempt::Attempt;
use crate::http::auth::cookie::Cookie;
use crate::http::auth::same_origin::is_from_here;
use crate::http::auth::session::Session;
use crate::http::auth::token;
use crate::http::auth::viewer::PageError;
use crate::http::auth::viewer::is_there;
use crate::http::refused::Check;

/// How much of the name of a browser is kept.
const AGENT_CHARS: usize = 160;
/// How long an address may be to which somebody goes after the login.
const LONGEST_NEXT: usize = 1024;

/// Somebody at the login page.
#[derive(Debug)]
pub(in crate::http) struct Arrival {
    /// The page to which they want to go, by its path here.
    pub(in crate::http) next: String,
    /// Whether somebody is logged in already.
    pub(in crate::http) is_logged_in: bool,
    /// Why nothing that is typed can be taken; none: it can.
    pub(in crate::http) closed: Option<NotIn>,
    /// Whether the browser opened an https address.
    pub(super) is_https: bool,
    /// Where they come from, for their list of sessions.
    pub(super) address: String,
    /// With what.
    pub(super) agent: String,
    /// The digest of the session whose token the browser has.
    pub(super) before: Option<String>,
    /// That of the login by a forge which has begun in this browser.
    pub(super) begun: Option<String>,
    limit_key: String,
    fields: Vec<(String, Secret)>,
    request: HttpRequest,
}

/// Why somebody is not logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct NotIn {
    pub(in crate::http) status: StatusCode,
    pub(in crate::http) why: &'static str,
}

const fn not_in(status: StatusCode, why: &'static str) -> NotIn {
    NotIn { status, why }
}

impl NotIn {
    /// Whether something else that is typed on the same page may do.
    pub(in crate::http) fn may_try_again(self) -> bool {
        self != IN_THE_CLEAR
    }
}

/// The one answer to everything that is wrong.
pub(super) const WRONG: NotIn =
    not_in(StatusCode::UNAUTHORIZED, "That did not work: the name and password, or the code, are not right, or count no longer.");
pub(super) const TOO_MANY: NotIn =
    not_in(StatusCode::TOO_MANY_REQUESTS, "Too many wrong attempts came from your address; wait a minute and try again.");
pub(super) const IN_THE_CLEAR: NotIn = not_in(
    StatusCode::FORBIDDEN,
    "You cannot log in here, because this page came over plain http and anybody on the way could read what you type: open it with https, \
     which a reverse proxy listed in trusted_proxies or tls_certificate_file provides, or on the host itself by http://localhost.",
);
pub(super) const ELSEWHERE: NotIn =
    not_in(StatusCode::FORBIDDEN, "This was sent from a page of another site, so nothing was done; log in on this page.");
pub(super) const LATER: NotIn =
    not_in(StatusCode::SERVICE_UNAVAILABLE, "The server cannot check logins at the moment; try again in a few seconds.");

impl Arrival {
    /// Who comes to the login page, and what they have typed there.
    ///
    /// # Errors
    /// [`PageError`] without a dashboard, or under a name that is not this server's.
    pub(super) async fn of(request: &HttpRequest, payload: Payload, shared: &Shared) -> Result<Self, PageError> {
        let attempt = Attempt::of(request, shared)?;
        is_there(&attempt)?;
        let is_https = attempt.origin.is_https();
        let cookie = Cookie::Session.of(request, is_https);
        let before = cookie.filter(|given| token::is_session(&shared.token_key, given)).map(token::digest);
        let begun = Cookie::Login.of(request, is_https).and_then(|given| token::opened(&shared.token_key, "login", given));
        let session = Session::of(&attempt).await?;
        if session.is_some() {
            attempt.hold();
        }
        let mut arrival = Self {
            next: "/".to_owned(),
            is_logged_in: session.is_some(),
            closed: closed(&attempt),
            is_https,
            address: attempt.origin.address().map_or_else(|| "this host".to_owned(), |address| address.to_string()),
            agent: attempt
                .header(USER_AGENT.as_str())
                .map(|agent| without_controls(agent).chars().take(AGENT_CHARS).collect())
                .unwrap_or_default(),
            before,
            begun: begun.map(str::to_owned),
            limit_key: attempt.limit_key().to_owned(),
            fields: Vec::new(),
            request: request.clone(),
        };
        if attempt.is_bodiless() {
            arrival.fields = pairs(request.query_string().as_bytes());
        } else if arrival.closed.is_none() {
            attempt.keep_place()?;
            arrival.fields = pairs(&attempt.body(payload, true).await?.bytes);
        }
        if let Some(next) = arrival.field("next").and_then(|next| own_path(next.reveal())) {
            arrival.next = next;
        }
        Ok(arrival)
    }

    /// What was typed, or stands in the query.
    pub(super) fn field(&self, name: &str) -> Option<&Secret> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// The part `{name}` of the path.
    pub(in crate::http) fn part(&self, name: &str) -> &str {
        self.request.match_info().get(name).unwrap_or_default()
    }

    /// It was wrong, which counts as a failed attempt.
    pub(super) fn was_wrong(&self, shared: &Shared) -> NotIn {
        if let Ok(attempt) = Attempt::of(&self.request, shared) {
            attempt.refused(Check::Login, || (Check::Login, None));
        }
        shared.metrics.refused_call();
        shared.store.count_failed(&self.limit_key);
        WRONG
    }
}

/// Why nothing can be taken from there.
fn closed(attempt: &Attempt<'_>) -> Option<NotIn> {
    if !attempt.origin.is_private() {
        return Some(IN_THE_CLEAR);
    }
    if attempt.is_spent() {
        attempt.refused(Check::TooMany, || (Check::TooMany, None));
        return Some(TOO_MANY);
    }
    if !attempt.is_bodiless() && !is_from_here(attempt) {
        attempt.refused(Check::OtherSite, || (Check::OtherSite, None));
        return Some(ELSEWHERE);
    }
    None
}

fn pairs(text: &[u8]) -> Vec<(String, Secret)> {
    url::form_urlencoded::parse(text).take(16).map(|(name, value)| (name.into_owned(), Secret::new(value.into_owned()))).collect()
}

/// `next`, if it leads to a page of this server as every browser reads it, and not to the login itself.
fn own_path(next: &str) -> Option<String> {
    let is_plain = next.len() <= LONGEST_NEXT && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if !is_plain || !next.starts_with('/') || next.starts_with("//") {
        return None;
    }
    let base = url::Url::parse("https://tagalong.invalid/").ok()?;
    let there = base.join(next).ok().filter(|there| there.origin() == base.origin() && !there.path().starts_with("//"))?;
    let leads_back = there.path() == "/login" || there.path().starts_with("/login/") || there.path() == "/logout";
    let query = there.query().map(|query| format!("?{query}")).unwrap_or_default();
    (!leads_back).then(|| format!("{}{query}", there.path()))
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn nobody_is_led_to_another_site() {
        for (next, to) in [
            ("/", Some("/")),
            ("/services/web?x=1&y=2", Some("/services/web?x=1&y=2")),
            ("/deployments/01J#L3", Some("/deployments/01J")),
            ("/a/../b", Some("/b")),
            ("//evil.example", None),
            ("/\\evil.example", None),
            ("\\\\evil.example", None),
            ("https://evil.example/", None),
            ("/.//evil.example", None),
            ("/..//evil.example", None),
            ("/%2F/evil.example", Some("/%2F/evil.example")),
            ("javascript:alert(1)", None),
            ("/\t/evil.example", None),
            ("/\r\nset-cookie: x", None),
            ("evil.example", None),
            ("", None),
            ("/login?next=/login", None),
            ("/login/github", None),
            ("/logout", None),
            ("/é", None),
        ] {
            assert_eq!(own_path(next).as_deref(), to, "{next:?}");
        }
        assert_eq!(own_path(&format!("/{}", "a".repeat(2000))), None);
    }
}
