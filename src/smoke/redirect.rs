//! Follows redirects hop by hop, as far as the plan allows.

use reqwest::header::LOCATION;
use url::Url;

use crate::config::SmokePlan;
use crate::model;
use crate::model::Finding;

use crate::smoke::client::Answer;
use crate::smoke::client::Visitor;
use crate::smoke::client::without_credentials;
use crate::smoke::cookies::Cookies;
use crate::smoke::rules;

/// Where a walk along the redirects ended.
pub(super) struct Walk {
    /// The last answer, when one came.
    pub(super) answer: Option<Answer>,
    /// What went wrong on the way.
    pub(super) finding: Option<Finding>,
    /// What was set on the way.
    pub(super) cookies: Cookies,
}

/// Asks for `start` and goes where it leads.
pub(super) async fn follow(visitor: &Visitor, plan: &SmokePlan, start: &Url) -> Walk {
    let mut cookies = Cookies::default();
    let mut seen: Vec<(Url, Cookies)> = Vec::new();
    let mut url = start.clone();
    loop {
        let answer = match visitor.get(&url, &cookies).await {
            Ok(answer) => answer,
            Err(finding) => return Walk { answer: None, finding: Some(*finding), cookies },
        };
        seen.push((page_of(&url), cookies.clone()));
        cookies.take(&url, &answer.headers);
        let Some(location) = location(&answer) else { return Walk { answer: Some(answer), finding: None, cookies } };
        let next = match next_hop(&answer, &location) {
            Ok(next) => next,
            Err(finding) => return Walk { answer: Some(answer), finding: Some(*finding), cookies },
        };
        if plan.status.contains(&answer.status) {
            // The plan wants this redirect to be the last answer.
            return Walk { answer: Some(answer), finding: None, cookies };
        }
        if let Some(finding) = too_far(plan, &seen, &next, &cookies) {
            return Walk { answer: Some(answer), finding: Some(finding), cookies };
        }
        url = next;
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
                rules::bad_redirect::RULE.finding(format!("{from} redirects to \"{}\", which is no web address.", shown(location))),
            ));
        }
    };
    if answer.url.scheme() == "https" && next.scheme() == "http" {
        let mut finding = rules::redirect_to_http::RULE.finding(format!("{from} redirects from https to {next}."));
        finding.resolved = Some(next.to_string());
        return Err(told(finding));
    }
    Ok(next)
}

fn too_far(plan: &SmokePlan, seen: &[(Url, Cookies)], next: &Url, cookies: &Cookies) -> Option<Finding> {
    // The same address with other cookies is another page: logins and consent pages do that once.
    if seen.iter().any(|(url, held)| *url == page_of(next) && held == cookies) {
        return Some(rules::redirect_loop::RULE.finding(format!("The redirects come back to {next} after {} hops.", seen.len())));
    }
    let most = plan.max_redirects as usize;
    (seen.len() > most).then(|| {
        let message = format!("There are more than {most} redirects; the next one leads to {next}.");
        rules::too_many_redirects::RULE.finding(message)
    })
}

fn page_of(url: &Url) -> Url {
    let mut url = without_credentials(url);
    url.set_fragment(None);
    url
}

/// Text from outside, shortened and without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut short = model::shown(&text.chars().take(200).collect::<String>());
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
