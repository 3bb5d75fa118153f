//! From what the browser reported to findings.

use url::Url;

use crate::config::SmokePlan;
use crate::model::Finding;
use crate::model::Severity;

use crate::smoke::browser::watch::Mixed;
use crate::smoke::browser::watch::Request;
use crate::smoke::browser::watch::Watched;
use crate::smoke::rules;

pub(super) fn findings(plan: &SmokePlan, watched: &Watched) -> Vec<Finding> {
    let mut findings: Vec<Finding> = watched.mixed.iter().map(mixed).collect();
    findings.extend(watched.requests.iter().filter_map(|request| failed(plan, request)));
    findings.extend(
        watched
            .exceptions
            .iter()
            .map(|said| rules::browser_exception::RULE.finding(format!("A script of the page fails: {}", first_lines(said)))),
    );
    findings.extend(
        watched
            .console
            .iter()
            .map(|said| rules::browser_console::RULE.finding(format!("The page writes to the console: {}", first_lines(said)))),
    );
    findings
}

fn mixed(mixed: &Mixed) -> Finding {
    let (url, kind) = (&mixed.url, &mixed.kind);
    let mut finding = match mixed.resolution.as_str() {
        "MixedContentBlocked" => {
            rules::browser_blocked::RULE.finding(format!("Chromium does not load {url} ({kind}): the page is https and this is http."))
        }
        "MixedContentAutomaticallyUpgraded" => {
            rules::browser_upgraded::RULE.finding(format!("Chromium asks for {url} ({kind}) over https instead."))
        }
        _ => Finding {
            severity: Severity::Warning,
            ..rules::browser_blocked::RULE.finding(format!("Chromium warns of {url} ({kind}): the page is https and this is http."))
        },
    };
    finding.url = Some(url.clone());
    finding.resolved = Some(url.clone());
    finding
}

/// A request that brought nothing. What the page needs from its own host is an error; what others do not answer may be a
/// tracker that this host cannot reach, and is a warning.
fn failed(plan: &SmokePlan, request: &Request) -> Option<Finding> {
    let is_asked_by_itself = request.kind == "Other" && Url::parse(&request.url).is_ok_and(|url| url.path() == "/favicon.ico");
    let is_mixed = request.blocked.as_deref() == Some("mixed-content");
    if is_asked_by_itself || is_mixed {
        return None;
    }
    let why = match (request.status, &request.failed) {
        (_, Some(why)) => request.blocked.as_ref().map_or_else(|| why.clone(), |blocked| format!("{why}, {blocked}")),
        // The page's own status is the plan's to judge.
        (Some(status), None) if status >= 400 && request.kind != "Document" => format!("status {status}"),
        _ => return None,
    };
    let is_own = Url::parse(&request.url).is_ok_and(|url| url.origin() == plan.url.origin());
    let mut finding = rules::browser_request::RULE.finding(format!("{} ({}) does not come: {why}.", request.url, request.kind));
    if !is_own {
        finding.severity = Severity::Warning;
    }
    finding.url = Some(request.url.clone());
    finding.resolved = Some(request.url.clone());
    Some(finding)
}

/// A trace is for developers; its first lines tell which error it is.
fn first_lines(said: &str) -> String {
    const LONGEST: usize = 300;
    let lines: Vec<&str> = said.lines().take(2).map(str::trim).collect();
    let said = lines.join(" ");
    if said.chars().count() > LONGEST { said.chars().take(LONGEST).chain(['…']).collect() } else { said }
}
