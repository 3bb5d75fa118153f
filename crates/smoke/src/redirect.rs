//! Follows redirects hop by hop, as far as the plan allows.

use std::net::IpAddr;

use reqwest::header::LOCATION;
use url::Url;

use crate::catalogue;
use crate::client::Answer;
use crate::client::Visitor;
use crate::cookies::Cookies;
use crate::hosts::Hosts;
use crate::plan::SmokePlan;
use crate::report::Finding;
use crate::rules;
use crate::written::without_credentials;

/// Where a walk along the redirects ended.
pub(super) struct Walk {
    /// The last answer, when one came.
    pub(super) answer: Option<Answer>,
    /// What went wrong on the way.
    pub(super) finding: Option<Finding>,
    /// What was set on the way.
    pub(super) cookies: Cookies,
    /// The hosts that answered, and at which address each did, in order.
    pub(super) met: Vec<(String, IpAddr)>,
}

/// Asks for `start` and goes where it leads, hop by hop: to its own host, and to those that the plan allows. Where the first
/// server that was asked has a public address, private ones are not asked.
pub(super) async fn follow(visitor: &Visitor, plan: &SmokePlan, start: &Url) -> Walk {
    let mut walk = Walk { answer: None, finding: None, cookies: Cookies::default(), met: Vec::new() };
    let mut seen: Vec<(Url, Cookies)> = Vec::new();
    let mut url = start.clone();
    loop {
        let hosts = Hosts::of(plan, visitor.first());
        let asked =
            if hosts.may_be_near() { visitor.get(&url, &walk.cookies).await } else { visitor.get_from_afar(&url, &walk.cookies).await };
        let answer = match asked {
            Ok(answer) => answer,
            Err(finding) => return Walk { answer: None, finding: Some(*finding), ..walk },
        };
        walk.met.extend(url.host_str().map(str::to_owned).zip(answer.server));
        seen.push((page_of(&url), walk.cookies.clone()));
        walk.cookies.take(&url, &answer.headers);
        let next = match next((visitor, plan), &answer, &seen, &walk.cookies) {
            Ok(next) => next,
            Err(finding) => return Walk { answer: Some(answer), finding: Some(*finding), ..walk },
        };
        match next {
            Some(next) => url = next,
            None => return Walk { answer: Some(answer), ..walk },
        }
    }
}

/// Where the answer leads; none: it is the last.
fn next(
    (visitor, plan): (&Visitor, &SmokePlan),
    answer: &Answer,
    seen: &[(Url, Cookies)],
    cookies: &Cookies,
) -> Result<Option<Url>, Box<Finding>> {
    let Some(location) = location(answer) else { return Ok(None) };
    let next = next_hop(answer, &location)?;
    if plan.status.contains(&answer.status) {
        // The plan wants this redirect to be the last answer.
        return Ok(None);
    }
    let hosts = Hosts::of(plan, visitor.first());
    if let Err(stray) = hosts.judge_hop(&next) {
        let mut finding = rules::redirect_elsewhere::finding(&hosts, without_credentials(&answer.url).as_str(), &next, stray);
        finding.url = Some(location);
        finding.element = Some("Location".to_owned());
        return Err(Box::new(finding));
    }
    match too_far(plan, seen, &next, cookies) {
        Some(finding) => Err(Box::new(finding)),
        None => Ok(Some(next)),
    }
}

/// Where the answer sends its visitor.
fn location(answer: &Answer) -> Option<String> {
    let redirects = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
    redirects.then(|| answer.header(LOCATION)).flatten()
}

fn next_hop(answer: &Answer, location: &str) -> Result<Url, Box<Finding>> {
    let from = without_credentials(&answer.url);
    let told = |mut finding: Finding| {
        finding.url = Some(location.to_owned());
        finding.element = Some("Location".to_owned());
        Box::new(finding)
    };
    let next = match answer.url.join(location) {
        Ok(next) if matches!(next.scheme(), "http" | "https") && next.host().is_some() => without_credentials(&next),
        _ => {
            return Err(told(
                catalogue::BAD_REDIRECT.finding(format!("{from} redirects to \"{}\", which is not a web address.", excerpt(location))),
            ));
        }
    };
    if answer.url.scheme() == "https" && next.scheme() == "http" {
        let mut finding = catalogue::REDIRECT_TO_HTTP.finding(format!("{from} redirects from https to {next}."));
        finding.resolved = Some(next.to_string());
        return Err(told(finding));
    }
    Ok(next)
}

fn too_far(plan: &SmokePlan, seen: &[(Url, Cookies)], next: &Url, cookies: &Cookies) -> Option<Finding> {
    // The same address with other cookies is another page: logins and consent pages do that once.
    if seen.iter().any(|(url, held)| *url == page_of(next) && held == cookies) {
        return Some(
            catalogue::REDIRECT_LOOP
                .finding(format!("The redirects form a loop: after {} redirects they lead back to {next}.", seen.len())),
        );
    }
    let most = plan.max_redirects as usize;
    (seen.len() > most).then(|| {
        let message = format!("There are more than {most} redirects; the next one would lead to {next}.");
        catalogue::TOO_MANY_REDIRECTS.finding(message)
    })
}

fn page_of(url: &Url) -> Url {
    let mut url = without_credentials(url);
    url.set_fragment(None);
    url
}

/// Text from outside, shortened and without control characters.
pub(super) fn excerpt(text: &str) -> String {
    let mut short = text::without_controls(&text.chars().take(200).collect::<String>());
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
