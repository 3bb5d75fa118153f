//! The catalogue: every rule in one entry, in the order in which a look meets them.
//!
//! What is written about the rules is made from here: `docs/smoke.md`, the table of `config/tagalong.toml` and what `--explain` says.
//! How a rule judges stands where it is judged, or in a file of its name in `rules/`.

use text::nearest;
use text::without_controls;

use crate::report::Effect;
use crate::report::Finding;
use crate::report::Severity;

/// How long the check waits before a finding is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It is final at once.
    No,
    /// Until a second attempt agrees: an old container may still have answered.
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
    /// The severity of its findings, unless a finding itself says less.
    pub severity: Severity,
    /// What a browser does.
    pub effect: Effect,
    /// How long the check waits for it.
    pub wait: Wait,
    /// What it means, as one sentence.
    pub meaning: &'static str,
    /// What to change, as one sentence.
    pub fix: &'static str,
}

impl Rule {
    /// A finding of this rule that says `message`.
    pub(crate) fn finding(&self, message: String) -> Finding {
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
            column: None,
            sheet: None,
            known: false,
        }
    }
}

/// The name of a rule of the catalogue, by its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName(usize);

/// The severity that a service sets for a rule; none: its findings are dropped.
pub type RuleLevel = Option<Severity>;

impl RuleName {
    /// The rule of this name.
    ///
    /// # Errors
    /// There is none; the sentence names the one that is most likely meant.
    pub fn parse(text: &str) -> Result<Self, String> {
        RULES.iter().position(|rule| rule.name == text).map(Self).ok_or_else(|| {
            let hint = match nearest(RULES.iter().map(|rule| rule.name), text) {
                Some(near) => format!("did you mean {near}?"),
                None => "`tagalong smoke --explain` lists them all.".to_owned(),
            };
            format!("there is no rule \"{}\"; {hint}", without_controls(text))
        })
    }

    /// The rule of this name.
    #[must_use]
    pub fn rule(self) -> &'static Rule {
        &RULES[self.0]
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
    name == SETUP.name || name == BROWSER_FAILED.name
}

/// Makes a constant of each entry, and the list of them all. An entry says: name, severity, what a browser does, how long it is waited
/// for; what it means; what to change.
macro_rules! catalogue {
    ($($rule:ident = $name:literal, $severity:ident, $effect:ident, $wait:ident, $meaning:literal, $fix:literal;)+) => {
        $(
            #[doc = $meaning]
            pub(crate) const $rule: Rule = Rule {
                name: $name,
                severity: Severity::$severity,
                effect: Effect::$effect,
                wait: Wait::$wait,
                meaning: $meaning,
                fix: $fix,
            };
        )+

        const RULES: &[Rule] = &[$($rule),+];

        #[cfg(test)]
        const CONSTANTS: &[&str] = &[$(stringify!($rule)),+];
    };
}

catalogue! {
    SETUP = "setup", Error, Nothing, No,
        "The check could not start.",
        "Correct the smoke section of the service's configuration.";

    DNS = "dns", Error, PageFails, Page,
        "The host name does not resolve.",
        "Check the DNS record of the name and that the resolver of this host knows it; if the name will point here only later, set \
        connect_to.";

    UNREACHABLE = "unreachable", Error, PageFails, Page,
        "The connection failed, or it broke before the response was complete.",
        "Check that the reverse proxy is running, listens on this port and is not blocked by a firewall.";

    TIMEOUT = "timeout", Error, PageFails, Page,
        "The server did not answer within the timeout of one request.",
        "Look at the logs of the app and the proxy; if the page really needs longer, raise timeout.";

    CERTIFICATE_PENDING = "certificate_pending", Error, PageFails, Certificate,
        "The proxy serves a placeholder certificate or none: the real one is still being issued.",
        "Look at the proxy's ACME log: the name must point to this host, and port 80 or 443 must be open; to wait longer, raise \
        certificate_within.";

    CERTIFICATE_EXPIRED = "certificate_expired", Error, PageFails, No,
        "The certificate has expired or is not valid yet.",
        "Renew the certificate and find out why its renewal failed; if it is not valid yet, check the clocks of both hosts.";

    CERTIFICATE_NAME = "certificate_name", Error, PageFails, No,
        "The certificate is for a different name.",
        "Add this name to the proxy's router or virtual host, so that a certificate for it is requested and served.";

    CERTIFICATE_UNTRUSTED = "certificate_untrusted", Error, PageFails, No,
        "Browsers do not trust the authority that issued the certificate.",
        "Serve a certificate from a public authority together with its intermediate certificate; for your own authority, set ca_file.";

    CERTIFICATE_DAYS = "certificate_days", Error, Nothing, No,
        "The certificate expires in fewer days than the plan requires.",
        "Renew the certificate and find out why the proxy has not done so, or lower certificate_days.";

    REDIRECT_TO_HTTP = "redirect_to_http", Error, PageFails, Confirm,
        "The page is requested over https and sends its visitors to http.",
        "Tell the app that visitors use https: let the proxy send X-Forwarded-Proto and the app trust it, or make its redirects relative.";

    REDIRECT_ELSEWHERE = "redirect_elsewhere", Error, Nothing, Confirm,
        "A redirect leads to another host or to a private address, which the check contacts only if the plan names it.",
        "If visitors should end up there, add the host to allowed_hosts (--allowed-host) or check the final address; if the redirect \
        itself is what you expect, accept its status.";

    REDIRECT_LOOP = "redirect_loop", Error, PageFails, Page,
        "The redirects form a loop.",
        "Often the app redirects to https although the proxy already did: let the app trust X-Forwarded-Proto.";

    TOO_MANY_REDIRECTS = "too_many_redirects", Error, PageFails, Page,
        "There are more redirects than the plan allows.",
        "Use the final address in the plan, or raise max_redirects.";

    BAD_REDIRECT = "bad_redirect", Error, PageFails, Page,
        "A redirect leads to something that is not a web address.",
        "Correct the Location header that the app or the proxy sends.";

    STATUS = "status", Error, PageFails, Page,
        "The server answered with a status that the plan does not accept.",
        "Look at the logs of the app and the proxy; if this status is right, add it to status in the plan.";

    HEADER = "header", Error, Nothing, Page,
        "A header that the plan expects is missing or has a different value.",
        "Send the header from the app or the proxy, or correct expect_headers in the plan.";

    CONTENT_ENCODING = "content_encoding", Error, PageFails, Confirm,
        "The content is not compressed as its Content-Encoding says, or browsers do not know that encoding.",
        "Let the app or the proxy send the Content-Encoding that it really uses: gzip, br, zstd, deflate, or none.";

    BODY = "body", Error, Nothing, Page,
        "The body does not match the plan's pattern.",
        "Look at what the page shows now; if that is right, correct body in the plan.";

    BODY_SIZE = "body_size", Error, Nothing, Page,
        "The page is empty, or smaller than the plan allows.",
        "Look at what the page shows now; if it is meant to be that small, lower min_body_bytes in the plan.";

    JSON = "json", Error, Nothing, Page,
        "A value in the JSON response is missing or is not what the plan expects.",
        "Look at what the address returns now; if that is right, correct expect_json in the plan.";

    LATENCY = "latency", Error, Nothing, Page,
        "The response started later than the plan allows.",
        "Find out what makes the page slow; if it may take this long, raise max_latency_ms in the plan.";

    HTTP_VERSION = "http_version", Error, Nothing, No,
        "The page is served over a different version of HTTP than the plan requires.",
        "Enable that version in the proxy (HTTP/2 needs TLS with ALPN), or correct http_version in the plan.";

    ADDRESS_FAMILY = "address_family", Warning, Nothing, No,
        "The name has IPv4 and IPv6 addresses, and the server cannot be reached over one of the two.",
        "Let the proxy listen on both, or remove the A or AAAA record that does not work.";

    RELEASE = "release", Error, Nothing, Page,
        "The page does not show the release that was deployed: an old release may still be answering.",
        "Check that requests reach the new container (the proxy's target, a second copy, a cache) and that the app shows its tag or \
        commit.";

    BLOCKED_ASSET = "blocked_asset", Error, Blocked, Confirm,
        "An https page requests something over http that browsers block.",
        "Write https:// instead of http://, or use a relative address.";

    UPGRADED_ASSET = "upgraded_asset", Error, Upgraded, Confirm,
        "An https page requests something over http that browsers request over https instead; it is missing if the host does not serve it \
        over https.",
        "Write https:// instead of http://, or use a relative address.";

    RESCUED_ASSET = "rescued_asset", Warning, Rescued, Confirm,
        "An https page contains an http address, which its own policy upgrade-insecure-requests rewrites to https.",
        "Nothing is broken at the moment; write https:// so that the page does not depend on the policy.";

    PRIVATE_ASSET = "private_asset", Warning, Nothing, Confirm,
        "An https page requests something over http from a private address, which only some browsers load, and only for visitors inside \
        that network.",
        "Serve it from the page's own host over https.";

    INSECURE_FORM = "insecure_form", Warning, Nothing, Confirm,
        "A form on an https page sends its input over http; browsers warn visitors before they send it.",
        "Use https:// or a relative address in the form's action.";

    MALFORMED_PAGE = "malformed_page", Error, PageFails, Confirm,
        "The page is served as XHTML and is not well-formed XML: browsers show the part before the fault, and an error.",
        "Correct the markup in that line, or serve the page as text/html, which tolerates it.";

    ASSET_UNREACHABLE = "asset_unreachable", Error, Missing, Confirm,
        "Something that the page requests could not be loaded completely.",
        "Check that its address is right and that its host can be reached over https.";

    ASSET_REDIRECT = "asset_redirect", Error, Missing, Confirm,
        "Something that the page requests is redirected to http, in a loop, or to something that is not a web address.",
        "Use the final https address in the page, or correct the redirect.";

    ASSET_STATUS = "asset_status", Error, Missing, Confirm,
        "Something that the page requests is answered with an error status.",
        "Check that the release contains a file of this name and that the proxy routes to it.";

    ASSET_EMPTY = "asset_empty", Error, Missing, Confirm,
        "Something that the page requests is empty.",
        "Check how the file was built and whether the disk was full.";

    ASSET_TYPE = "asset_type", Error, Missing, Confirm,
        "Something that the page requests has the wrong content type, and browsers refuse to use it.",
        "Send the right Content-Type; if it is text/html, the app probably returns its own page for a missing file.";

    ASSET_CORS = "asset_cors", Error, Missing, Confirm,
        "The page requests something from another origin, whose host does not allow it (CORS).",
        "Let that host send Access-Control-Allow-Origin for this page, or serve the file from the page's own origin.";

    ASSET_INTEGRITY = "asset_integrity", Error, Missing, Confirm,
        "The content does not match the integrity attribute, so browsers do not use it.",
        "Build the page and the file together, so that the hash matches, or remove the integrity attribute.";

    IMPORT_LOOP = "import_loop", Warning, Nothing, No,
        "A style sheet imports itself, directly or through others; browsers ignore that import.",
        "Remove the import from the style sheet.";

    BROWSER_BLOCKED = "browser_blocked", Error, Blocked, No,
        "Chromium blocked something that the https page requests over http.",
        "Write https:// instead of http://, or use a relative address; the request may come from a script.";

    BROWSER_UPGRADED = "browser_upgraded", Error, Upgraded, No,
        "Chromium requested something over https that the page addresses with http.",
        "Write https:// instead of http://, or use a relative address; the request may come from a script.";

    BROWSER_REQUEST = "browser_request", Error, Blocked, No,
        "Something that the page requests failed to load in Chromium.",
        "Check the address: the file may be missing from the release, or the page's own policy may forbid it.";

    BROWSER_EXCEPTION = "browser_exception", Error, Nothing, No,
        "A script on the page throws an exception that is not caught.",
        "Look at the script at the place that the message names; a part of the page does not work.";

    BROWSER_CONSOLE = "browser_console", Warning, Nothing, No,
        "The page logs an error to the browser's console.",
        "Read the message; something may be missing for visitors.";

    BROWSER_DIALOG = "browser_dialog", Warning, Nothing, No,
        "The page opens a dialog before the visitor has done anything.",
        "Do not call alert(), confirm() or prompt() while the page loads; show the text on the page instead.";

    BROWSER_FAILED = "browser_failed", Error, Nothing, No,
        "The browser could not check the page.",
        "Install Chromium on this host or correct browser_program; if the page needs longer to load, raise browser_deadline_s.";

    NOT_CHECKED = "not_checked", Note, Nothing, No,
        "A part of the page was not checked.",
        "You need not change anything; check that part yourself.";

    TRUNCATED = "truncated", Warning, Nothing, No,
        "Only the first part of the page was checked.",
        "Raise max_body_kib in the plan so that the whole page is read.";
}

#[cfg(test)]
mod tests {
    use super::CONSTANTS;
    use super::RuleName;
    use super::explain;
    use super::rules;

    #[test]
    fn every_rule_has_its_own_name_and_whole_sentences() {
        for (index, rule) in rules().iter().enumerate() {
            assert!(rules().iter().skip(index + 1).all(|other| other.name != rule.name), "{}", rule.name);
            assert!(rule.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert_eq!(CONSTANTS[index].to_lowercase(), rule.name);
            for sentence in [rule.meaning, rule.fix] {
                assert!(sentence.starts_with(char::is_uppercase) && sentence.ends_with('.'), "{sentence}");
            }
            assert_eq!(explain(rule.name), Some(rule));
        }
        assert_eq!(explain("nothing"), None);
    }

    #[test]
    fn a_slip_is_answered_with_the_rule_that_was_meant() {
        assert_eq!(RuleName::parse("dns").unwrap().rule().name, "dns");
        for (slip, hint) in [
            ("block_asset", "did you mean blocked_asset?"),
            ("asset-type", "did you mean asset_type?"),
            ("Latency", "did you mean latency?"),
            ("assets", "`tagalong smoke --explain` lists them all."),
            ("", "`tagalong smoke --explain` lists them all."),
        ] {
            assert_eq!(RuleName::parse(slip).unwrap_err(), format!("there is no rule \"{slip}\"; {hint}"));
        }
        assert!(!RuleName::parse("\u{1b}[2Jdns").unwrap_err().contains('\u{1b}'));
    }

    /// Files are for rules that judge.
    #[test]
    fn every_file_of_a_rule_has_the_name_of_one() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
            assert!(name == "mod" || explain(&name).is_some(), "there is no rule {name}");
        }
    }
}
