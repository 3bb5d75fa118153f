//! `redirect_elsewhere`.

use url::Url;

use crate::catalogue::REDIRECT_ELSEWHERE;
use crate::hosts::Hosts;
use crate::hosts::LeadsHome;
use crate::hosts::Stray;
use crate::report::Finding;
use crate::written;

/// What a visitor is led by, `from` somewhere, to `to`, where the check does not go because of `stray`.
pub(crate) fn finding(hosts: &Hosts, from: &str, to: &Url, stray: Stray) -> Finding {
    let name = pattern_of(to);
    let mut finding = match stray {
        Stray::Elsewhere => {
            let what = if hosts.is_own_host(to) { "another port of its host" } else { "another host" };
            let mut finding = REDIRECT_ELSEWHERE.finding(format!("{from} leads to {to}: {what}, which the check does not contact."));
            finding.fix = format!(
                "If visitors should end up there, add \"{name}\" to allowed_hosts (--allowed-host {name}) or check the final address; \
                if the redirect itself is what you expect, accept its status."
            );
            finding
        }
        Stray::Near => near(format!("{from} leads to {to}: a private address, while the page has a public one.")),
    };
    finding.resolved = Some(to.to_string());
    finding
}

/// The name in `url` stands for private addresses alone.
pub(crate) fn by_name(url: &Url, home: &LeadsHome) -> Finding {
    near(format!("The host in {} was not contacted: {home}.", written::origin_text(url)))
}

fn near(message: String) -> Finding {
    let mut finding = REDIRECT_ELSEWHERE.finding(message);
    "Correct the redirect or the DNS record of that name: visitors outside that network cannot reach it.".clone_into(&mut finding.fix);
    finding
}

/// How `allowed_hosts` names the place of `url`.
fn pattern_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
