//! From what the browser reported to findings.

use url::Url;

use crate::browser::fence::Refused;
use crate::browser::watch::Mixed;
use crate::browser::watch::Request;
use crate::browser::watch::Watched;
use crate::catalogue;
use crate::hosts::Hosts;
use crate::plan::SmokePlan;
use crate::redirect::excerpt;
use crate::report::Finding;
use crate::report::Severity;
use crate::rules;

pub(super) fn findings(plan: &SmokePlan, hosts: &Hosts, watched: &Watched) -> Vec<Finding> {
    let mut findings: Vec<Finding> = watched.mixed.iter().map(mixed).collect();
    findings.extend(watched.refused.iter().filter_map(|refused| kept_away(hosts, refused)));
    findings.extend(redirected(watched));
    let is_refused = |request: &&Request| watched.refused.iter().any(|refused| refused.url().as_str() == request.url);
    findings.extend(watched.requests.iter().filter(|request| !is_refused(request)).filter_map(|request| failed(plan, request)));
    findings.extend(watched.dialogs.iter().map(|dialog| {
        let says = first_lines(&excerpt(&dialog.says));
        catalogue::BROWSER_DIALOG.finding(format!("The page opens a dialog while it loads, {}(\"{says}\"); it was closed.", dialog.kind))
    }));
    findings.extend(watched.is_over_full.then(rules::truncated::browser));
    findings.extend(
        watched
            .exceptions
            .iter()
            .map(|said| catalogue::BROWSER_EXCEPTION.finding(format!("A script on the page failed: {}", first_lines(said)))),
    );
    findings.extend(
        watched
            .console
            .iter()
            .map(|said| catalogue::BROWSER_CONSOLE.finding(format!("The page logged an error to the console: {}", first_lines(said)))),
    );
    findings
}

/// Where the browser was kept from going.
fn kept_away(hosts: &Hosts, refused: &Refused) -> Option<Finding> {
    let url = refused.url();
    let mut finding = match refused {
        Refused::Downgrade(_) => {
            catalogue::REDIRECT_TO_HTTP.finding(format!("In the browser, the page sends its visitors from https to {url}."))
        }
        Refused::Left(_, stray) => rules::redirect_elsewhere::finding(hosts, "In the browser, the page", url, *stray),
        Refused::Near(_) => {
            let message = format!("{url} has a private address and the page a public one: the browser was not allowed to request it.");
            let fix = "Use an address that visitors can reach; to check the page from inside that network, use its private address.";
            Finding { severity: Severity::Warning, fix: fix.to_owned(), ..catalogue::BROWSER_REQUEST.finding(message) }
        }
        Refused::Redirected(_) => return None,
    };
    finding.resolved = Some(url.to_string());
    Some(finding)
}

/// Redirects of what the page asks for to hosts that the plan does not name.
fn redirected(watched: &Watched) -> Option<Finding> {
    let hosts: std::collections::BTreeSet<String> = watched
        .refused
        .iter()
        .filter(|refused| matches!(refused, Refused::Redirected(_)))
        .filter_map(|refused| {
            let host = refused.url().host_str()?;
            Some(refused.url().port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
        })
        .collect();
    let named = hosts.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    let more = if hosts.len() > 5 { format!(" and {} more", hosts.len() - 5) } else { String::new() };
    (!hosts.is_empty()).then(|| {
        let message = format!("In the browser, redirects to other hosts were not followed: {named}{more}.");
        let fix = "To have them followed, add their hosts to allowed_hosts.";
        Finding { fix: fix.to_owned(), ..catalogue::NOT_CHECKED.finding(message) }
    })
}

fn mixed(mixed: &Mixed) -> Finding {
    let url = &mixed.url;
    let kind = &mixed.kind;
    let mut finding = match mixed.resolution.as_str() {
        "MixedContentBlocked" => {
            catalogue::BROWSER_BLOCKED.finding(format!("Chromium blocked {url} ({kind}): the page uses https and this uses http."))
        }
        "MixedContentAutomaticallyUpgraded" => {
            catalogue::BROWSER_UPGRADED.finding(format!("Chromium requested {url} ({kind}) over https instead."))
        }
        _ => Finding {
            severity: Severity::Warning,
            ..catalogue::BROWSER_BLOCKED.finding(format!("Chromium warned about {url} ({kind}): the page uses https and this uses http."))
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
    let mut finding = catalogue::BROWSER_REQUEST.finding(format!("{} ({}) failed to load: {why}.", request.url, request.kind));
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
