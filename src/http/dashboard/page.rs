//! What all pages have in common: the bar at their top, and the headers of their answers.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use askama::Template;
use text::misleads;

/// Everything comes from this server: no script and no style stands in a page itself, nobody may frame it, and what is typed goes nowhere
/// else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// A page of the bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Place {
    /// Every service.
    Overview,
    /// Deployments of all services.
    Deployments,
    /// Incidents.
    Incidents,
    /// Datasets.
    Data,
    /// The hosts of agents.
    Agents,
    /// Who may log in.
    Users,
    /// Who may call.
    Keys,
    /// The audit trail.
    Audit,
    /// None of the bar's.
    Elsewhere,
}

impl Place {
    /// In their order.
    pub(super) const IN_BAR: [Self; 8] =
        [Self::Overview, Self::Deployments, Self::Incidents, Self::Agents, Self::Data, Self::Users, Self::Keys, Self::Audit];

    fn tab(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview | Self::Elsewhere => ("Overview", "/"),
            Self::Deployments => ("Deployments", "/deployments"),
            Self::Incidents => ("Incidents", "/incidents"),
            Self::Data => ("Data", "/data"),
            Self::Agents => ("Agents", "/agents"),
            Self::Users => ("Users", "/users"),
            Self::Keys => ("Keys", "/keys"),
            Self::Audit => ("Audit", "/audit"),
        }
    }
}

/// A link of the bar.
#[derive(Debug)]
pub(in crate::http) struct Tab {
    pub(in crate::http) name: &'static str,
    pub(in crate::http) href: &'static str,
    pub(in crate::http) is_here: bool,
}

/// What stands around the content of a page.
#[derive(Debug, Clone)]
pub(in crate::http) struct Frame {
    pub(in crate::http) place: Place,
    /// Who looks at it; none: nobody has logged in, and the bar has no pages.
    pub(in crate::http) user: Option<String>,
    /// What every form of the page carries.
    pub(in crate::http) form_token: String,
    /// The pages of the bar that this person may open.
    pub(in crate::http) open: Vec<Place>,
    /// After how many seconds its parts are asked for again; 0: never.
    pub(in crate::http) fresh_s: u32,
}

impl Frame {
    /// The frame of a page for somebody who has not logged in.
    pub(in crate::http) fn nobody() -> Self {
        Self { place: Place::Elsewhere, user: None, form_token: String::new(), open: Vec::new(), fresh_s: 0 }
    }

    /// The links of the bar that this person can follow.
    pub(in crate::http) fn tabs(&self) -> Vec<Tab> {
        self.open.iter().map(|place| Tab { name: place.tab().0, href: place.tab().1, is_here: *place == self.place }).collect()
    }
}

/// `page` as an answer.
pub(in crate::http) fn answer(status: StatusCode, page: &impl Template) -> HttpResponse {
    let text = match page.render() {
        Ok(text) => plain(text),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            return HttpResponse::InternalServerError().content_type("text/plain; charset=utf-8").body("The page could not be made.\n");
        }
    };
    HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .insert_header(("permissions-policy", "camera=(), geolocation=(), microphone=()"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}

/// The templates escape what HTML knows. Here go, for every page at once, the characters that mislead whoever reads it, wherever they
/// came from.
fn plain(page: String) -> String {
    let is_bad = |c: char| c != '\n' && misleads(c);
    if page.contains(is_bad) { page.replace(is_bad, " ") } else { page }
}
