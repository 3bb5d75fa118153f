//! `redirect_elsewhere`.

use url::Url;

use crate::fault;
use crate::hosts::Hosts;
use crate::hosts::LeadsHome;
use crate::hosts::Stray;
use crate::report::Effect;
use crate::report::Finding;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// A redirect leads to another host or to a private address, which the check does not ask unless the plan names it.
pub(crate) const RULE: Rule = Rule {
    name: "redirect_elsewhere",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::Confirm,
    meaning: "A redirect leads to another host or to a private address, which the check does not ask unless the plan names it.",
    fix: "If visitors belong there, name the host in allowed_hosts (--allowed-host) or give the final address; if the redirect itself is right, accept its status.",
};

/// What a visitor is led by, `from` somewhere, to `to`, where the check does not go because of `stray`.
pub(crate) fn finding(hosts: &Hosts, from: &str, to: &Url, stray: Stray) -> Finding {
    let name = pattern_of(to);
    let mut finding = match stray {
        Stray::Elsewhere => {
            let what = if hosts.is_own_host(to) { "another port of its host" } else { "another host" };
            let mut finding = RULE.finding(format!("{from} leads to {to}: {what}, which the check does not ask."));
            finding.fix = format!(
                "If visitors belong there, add \"{name}\" to allowed_hosts (--allowed-host {name}) or give the final address; if the redirect \
                 itself is right, accept its status."
            );
            finding
        }
        Stray::Near => near(format!("{from} leads to {to}: a private address, and the page was asked at a public one.")),
    };
    finding.resolved = Some(to.to_string());
    finding
}

/// The name in `url` stands for private addresses alone.
pub(crate) fn by_name(url: &Url, home: &LeadsHome) -> Finding {
    near(format!("The name in {} cannot be asked: {home}.", fault::place(url)))
}

fn near(message: String) -> Finding {
    let mut finding = RULE.finding(message);
    "Correct the redirect or the DNS record of that name: visitors outside that network get nothing there.".clone_into(&mut finding.fix);
    finding
}

/// How `allowed_hosts` names the place of `url`.
fn pattern_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
