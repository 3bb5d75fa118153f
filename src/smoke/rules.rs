//! Every rule, with its meaning and what to do.

use crate::model::Effect;
use crate::model::Finding;
use crate::model::Severity;

/// How long a finding is waited for before it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It stands at once.
    No,
    /// Until a second look agrees: it may have been an old container that was still answering.
    Confirm,
    /// Until the plan's `within` is over.
    Page,
    /// Until the plan's `certificate_within` is over.
    Certificate,
}

/// A rule: the same name in code, tests, README and reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// How bad a finding of it is, unless the finding itself says less.
    pub severity: Severity,
    /// What a browser does.
    pub effect: Effect,
    /// How long it is waited for.
    pub wait: Wait,
    /// What it means, as one sentence.
    pub meaning: &'static str,
    /// What to change, as one sentence.
    pub fix: &'static str,
}

impl Rule {
    /// A finding of this rule that says `message`.
    pub(super) fn finding(&self, message: String) -> Finding {
        Finding {
            rule: self.name.to_owned(),
            severity: self.severity,
            message,
            effect: self.effect,
            fix: self.fix.to_owned(),
            url: None,
            resolved: None,
            element: None,
            line: None,
            known: false,
        }
    }
}

/// Every rule, in the order in which a look meets them.
#[must_use]
pub fn rules() -> &'static [Rule] {
    RULES
}

/// The rule of this name.
#[must_use]
pub fn explain(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

/// Whether a finding of the rule of this name says that the check, or its browser, could not look: no fault of the page.
#[must_use]
pub fn is_own_fault(name: &str) -> bool {
    matches!(name, "setup" | "browser_failed")
}

/// Declares each rule as a constant and all of them as one table.
macro_rules! table {
    ($($id:ident: $name:literal, $severity:ident, $effect:ident, $wait:ident, $meaning:literal, $fix:literal;)*) => {
        $(pub(super) const $id: Rule = Rule {
            name: $name,
            severity: Severity::$severity,
            effect: Effect::$effect,
            wait: Wait::$wait,
            meaning: $meaning,
            fix: $fix,
        };)*
        const RULES: &[Rule] = &[$($id),*];
    };
}

table! {
    SETUP: "setup", Error, Nothing, No,
        "The check itself could not begin.",
        "Correct the smoke section of the service's configuration.";
    DNS: "dns", Error, PageFails, Page,
        "The host's name does not resolve.",
        "Check the DNS record of the name and that this host's resolver knows it; for a name that only leads here later, set connect_to.";
    UNREACHABLE: "unreachable", Error, PageFails, Page,
        "No connection was made, or it broke before the answer was whole.",
        "Check that the reverse proxy runs, listens on this port and is not kept away by a firewall.";
    TIMEOUT: "timeout", Error, PageFails, Page,
        "The answer did not come in the time of one request.",
        "Look at the log of the app and of the proxy; if the page really needs longer, raise timeout.";
    CERTIFICATE_PENDING: "certificate_pending", Error, PageFails, Certificate,
        "The proxy answers with a placeholder certificate, or with none: the real one is still being issued.",
        "Look at the proxy's ACME log: the name must lead to this host and port 80 or 443 must be open; to wait longer, raise certificate_within.";
    CERTIFICATE_EXPIRED: "certificate_expired", Error, PageFails, No,
        "The certificate is past its end, or not valid yet.",
        "Renew the certificate and look at why its renewal failed; when it is \"not valid yet\", check the clocks of both hosts.";
    CERTIFICATE_NAME: "certificate_name", Error, PageFails, No,
        "The certificate is for other names.",
        "Add this name to the proxy's router or virtual host, so that a certificate for it is asked for and served.";
    CERTIFICATE_UNTRUSTED: "certificate_untrusted", Error, PageFails, No,
        "No browser trusts whoever issued the certificate.",
        "Serve a certificate of a public authority together with its intermediate; for an authority of your own, set ca_file.";
    CERTIFICATE_DAYS: "certificate_days", Error, Nothing, No,
        "The certificate ends in fewer days than the plan asks for.",
        "Renew the certificate and look at why the proxy has not done so; or lower certificate_days.";
    REDIRECT_TO_HTTP: "redirect_to_http", Error, PageFails, Confirm,
        "The page, asked over https, sends its visitors to http.",
        "Let the app see that visitors come over https: have the proxy send X-Forwarded-Proto and the app trust it; or make its redirects relative.";
    REDIRECT_LOOP: "redirect_loop", Error, PageFails, Page,
        "The redirects come back to where they were.",
        "Often the app redirects to https although the proxy has done so: let it trust X-Forwarded-Proto.";
    TOO_MANY_REDIRECTS: "too_many_redirects", Error, PageFails, Page,
        "There are more redirects than the plan follows.",
        "Give the final address in the plan, or raise max_redirects.";
    BAD_REDIRECT: "bad_redirect", Error, PageFails, Page,
        "A redirect leads to something that is no web address.",
        "Correct the Location header that the app or the proxy sends.";
    STATUS: "status", Error, PageFails, Page,
        "The status is none that the plan accepts.",
        "Look at the log of the app and of the proxy; if this status is right, add it to status in the plan.";
    HEADER: "header", Error, Nothing, Page,
        "A header that the plan expects is missing or has another value.",
        "Send the header from the app or the proxy, or correct expect_headers in the plan.";
    BODY: "body", Error, Nothing, Page,
        "The body does not match the plan's pattern.",
        "Look at what the page shows now; if that is right, correct body in the plan.";
    RELEASE: "release", Error, Nothing, Page,
        "The page does not show the release that was deployed: an old one may still be answering.",
        "Check that the new container got the requests (the proxy's target, a second copy, a cache) and that the app shows its tag or commit.";
    BLOCKED_ASSET: "blocked_asset", Error, Blocked, Confirm,
        "An https page asks for something over http that browsers do not load there.",
        "Write https:// instead of http://, or an address without scheme and host.";
    UPGRADED_ASSET: "upgraded_asset", Error, Upgraded, Confirm,
        "An https page asks for something over http that browsers ask for over https instead; it is missing if https does not serve it.",
        "Write https:// instead of http://, or an address without scheme and host.";
    RESCUED_ASSET: "rescued_asset", Warning, Rescued, Confirm,
        "An https page writes an http address and its own policy upgrade-insecure-requests rewrites it.",
        "Nothing is broken now; write https:// so that the page does not depend on the policy.";
    PRIVATE_ASSET: "private_asset", Warning, Nothing, Confirm,
        "An https page asks for something over http from a private address, which only some browsers and only visitors inside can load.",
        "Serve it from the page's own host over https.";
    INSECURE_FORM: "insecure_form", Warning, Nothing, Confirm,
        "A form on an https page sends what is typed into it over http; browsers warn before they send it.",
        "Write https:// in the form's action, or a relative address.";
    BROWSER_BLOCKED: "browser_blocked", Error, Blocked, No,
        "Chromium itself did not load something that the https page asks for over http.",
        "Write https:// instead of http://, or an address without scheme and host; a script may be what asks.";
    BROWSER_UPGRADED: "browser_upgraded", Error, Upgraded, No,
        "Chromium itself asked over https for something that the page names by http.",
        "Write https:// instead of http://, or an address without scheme and host; a script may be what asks.";
    BROWSER_REQUEST: "browser_request", Error, Blocked, No,
        "Something that the page asks for does not come.",
        "Look at the address: the file may be missing in the release, or the page's own policy may forbid it.";
    BROWSER_EXCEPTION: "browser_exception", Error, Nothing, No,
        "A script of the page ends with an exception that nothing catches.",
        "Look at the script where the message says; a part of the page does not work.";
    BROWSER_CONSOLE: "browser_console", Warning, Nothing, No,
        "The page writes an error to the browser's console.",
        "Look at what it says; visitors may miss something.";
    BROWSER_FAILED: "browser_failed", Error, Nothing, No,
        "The browser could not look at the page.",
        "Install Chromium on this host or correct browser_program; if the page needs longer to load, raise browser_deadline_s.";
    NOT_CHECKED: "not_checked", Note, Nothing, No,
        "A part of the page was not looked at.",
        "Nothing need be changed; look at that part yourself.";
    TRUNCATED: "truncated", Warning, Nothing, No,
        "Only the first part of the page was looked at.",
        "Raise max_body_bytes in the plan so that the whole page is read.";
}

#[cfg(test)]
mod tests {
    use super::explain;
    use super::rules;

    #[test]
    fn every_rule_has_its_own_name_and_whole_sentences() {
        for (index, rule) in rules().iter().enumerate() {
            assert!(rules().iter().skip(index + 1).all(|other| other.name != rule.name), "{}", rule.name);
            assert!(rule.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            for sentence in [rule.meaning, rule.fix] {
                assert!(sentence.starts_with(char::is_uppercase) && sentence.ends_with('.'), "{sentence}");
            }
            assert_eq!(explain(rule.name), Some(rule));
        }
        assert_eq!(explain("nothing"), None);
    }
}
