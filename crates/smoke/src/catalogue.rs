//! The catalogue: every rule in one entry, in the order in which a look meets them.
//!
//! What is written about the rules is made from here: `docs/smoke.md`, the table of `config/tagalong.toml` and what `--explain` says.
//! How a rule judges stands where it is judged, or in a file of its name in `rules/`.

use text::nearest;
use text::without_controls;

use crate::report::Effect;
use crate::report::Finding;
use crate::report::Severity;

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

/// How bad a finding of a rule is taken to be, when a service says so itself; none: it is left out.
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
        "The check itself could not begin.",
        "Correct the smoke section of the service's configuration.";

    DNS = "dns", Error, PageFails, Page,
        "The host's name does not resolve.",
        "Check the DNS record of the name and that this host's resolver knows it; for a name that only leads here later, set connect_to.";

    UNREACHABLE = "unreachable", Error, PageFails, Page,
        "No connection was made, or it broke before the answer was whole.",
        "Check that the reverse proxy runs, listens on this port and is not kept away by a firewall.";

    TIMEOUT = "timeout", Error, PageFails, Page,
        "The answer did not come in the time of one request.",
        "Look at the log of the app and of the proxy; if the page really needs longer, raise timeout.";

    CERTIFICATE_PENDING = "certificate_pending", Error, PageFails, Certificate,
        "The proxy answers with a placeholder certificate, or with none: the real one is still being issued.",
        "Look at the proxy's ACME log: the name must lead to this host and port 80 or 443 must be open; to wait longer, raise certificate_within.";

    CERTIFICATE_EXPIRED = "certificate_expired", Error, PageFails, No,
        "The certificate is past its end, or not valid yet.",
        "Renew the certificate and look at why its renewal failed; when it is \"not valid yet\", check the clocks of both hosts.";

    CERTIFICATE_NAME = "certificate_name", Error, PageFails, No,
        "The certificate is for other names.",
        "Add this name to the proxy's router or virtual host, so that a certificate for it is asked for and served.";

    CERTIFICATE_UNTRUSTED = "certificate_untrusted", Error, PageFails, No,
        "No browser trusts whoever issued the certificate.",
        "Serve a certificate of a public authority together with its intermediate; for an authority of your own, set ca_file.";

    CERTIFICATE_DAYS = "certificate_days", Error, Nothing, No,
        "The certificate ends in fewer days than the plan asks for.",
        "Renew the certificate and look at why the proxy has not done so; or lower certificate_days.";

    REDIRECT_TO_HTTP = "redirect_to_http", Error, PageFails, Confirm,
        "The page, asked over https, sends its visitors to http.",
        "Let the app see that visitors come over https: have the proxy send X-Forwarded-Proto and the app trust it; or make its redirects relative.";

    REDIRECT_ELSEWHERE = "redirect_elsewhere", Error, Nothing, Confirm,
        "A redirect leads to another host or to a private address, which the check does not ask unless the plan names it.",
        "If visitors belong there, name the host in allowed_hosts (--allowed-host) or give the final address; if the redirect itself is right, accept its status.";

    REDIRECT_LOOP = "redirect_loop", Error, PageFails, Page,
        "The redirects come back to where they were.",
        "Often the app redirects to https although the proxy has done so: let it trust X-Forwarded-Proto.";

    TOO_MANY_REDIRECTS = "too_many_redirects", Error, PageFails, Page,
        "There are more redirects than the plan follows.",
        "Give the final address in the plan, or raise max_redirects.";

    BAD_REDIRECT = "bad_redirect", Error, PageFails, Page,
        "A redirect leads to something that is no web address.",
        "Correct the Location header that the app or the proxy sends.";

    STATUS = "status", Error, PageFails, Page,
        "The status is none that the plan accepts.",
        "Look at the log of the app and of the proxy; if this status is right, add it to status in the plan.";

    HEADER = "header", Error, Nothing, Page,
        "A header that the plan expects is missing or has another value.",
        "Send the header from the app or the proxy, or correct expect_headers in the plan.";

    CONTENT_ENCODING = "content_encoding", Error, PageFails, Confirm,
        "The content is not packed as its Content-Encoding says, or by a word that no browser knows.",
        "Let the app or the proxy send a Content-Encoding that is true: gzip, br, zstd, deflate, or none.";

    BODY = "body", Error, Nothing, Page,
        "The body does not match the plan's pattern.",
        "Look at what the page shows now; if that is right, correct body in the plan.";

    BODY_SIZE = "body_size", Error, Nothing, Page,
        "The page is empty, or smaller than the plan allows.",
        "Look at what the page shows now; if it is right and so small, lower min_body_bytes in the plan.";

    JSON = "json", Error, Nothing, Page,
        "A value of the JSON answer is missing or is not what the plan expects.",
        "Look at what the address answers now; if that is right, correct expect_json in the plan.";

    LATENCY = "latency", Error, Nothing, Page,
        "The answer began later than the plan allows.",
        "Look at what the app does for this page; if it may take so long, raise max_latency_ms in the plan.";

    HTTP_VERSION = "http_version", Error, Nothing, No,
        "The page is served by another version of HTTP than the plan asks for.",
        "Switch the version on in the proxy (for HTTP/2 by ALPN over TLS), or correct http_version in the plan.";

    ADDRESS_FAMILY = "address_family", Warning, Nothing, No,
        "The name has IPv4 and IPv6 addresses, and those of one kind take no connection.",
        "Let the proxy listen on both, or remove the A or AAAA record that leads nowhere.";

    RELEASE = "release", Error, Nothing, Page,
        "The page does not show the release that was deployed: an old one may still be answering.",
        "Check that the new container got the requests (the proxy's target, a second copy, a cache) and that the app shows its tag or commit.";

    BLOCKED_ASSET = "blocked_asset", Error, Blocked, Confirm,
        "An https page asks for something over http that browsers do not load there.",
        "Write https:// instead of http://, or an address without scheme and host.";

    UPGRADED_ASSET = "upgraded_asset", Error, Upgraded, Confirm,
        "An https page asks for something over http that browsers ask for over https instead; it is missing if https does not serve it.",
        "Write https:// instead of http://, or an address without scheme and host.";

    RESCUED_ASSET = "rescued_asset", Warning, Rescued, Confirm,
        "An https page writes an http address and its own policy upgrade-insecure-requests rewrites it.",
        "Nothing is broken now; write https:// so that the page does not depend on the policy.";

    PRIVATE_ASSET = "private_asset", Warning, Nothing, Confirm,
        "An https page asks for something over http from a private address, which only some browsers and only visitors inside can load.",
        "Serve it from the page's own host over https.";

    INSECURE_FORM = "insecure_form", Warning, Nothing, Confirm,
        "A form on an https page sends what is typed into it over http; browsers warn before they send it.",
        "Write https:// in the form's action, or a relative address.";

    MALFORMED_PAGE = "malformed_page", Error, PageFails, Confirm,
        "The page is served as XHTML and breaks a rule of XML: browsers show what stands before that, and an error.",
        "Mend the markup in the line that is named, or serve the page as text/html, which forgives it.";

    ASSET_UNREACHABLE = "asset_unreachable", Error, Missing, Confirm,
        "Something that the page asks for gave no whole answer.",
        "Check that its address is right and that its host answers over https.";

    ASSET_REDIRECT = "asset_redirect", Error, Missing, Confirm,
        "Something that the page asks for is redirected to http, in a circle, or to no web address.",
        "Write the final https address into the page, or correct the redirect.";

    ASSET_STATUS = "asset_status", Error, Missing, Confirm,
        "Something that the page asks for is answered with an error.",
        "Look whether the file is in the release under this name and whether the proxy leads there.";

    ASSET_EMPTY = "asset_empty", Error, Missing, Confirm,
        "Something that the page asks for is there, and empty.",
        "Look at how the file was built and whether the disk was full.";

    ASSET_TYPE = "asset_type", Error, Missing, Confirm,
        "Something that the page asks for comes as another type, and browsers do not use it as what it is asked for.",
        "Send the right Content-Type; where it is text/html, the app answers its own page for a file that is missing.";

    ASSET_CORS = "asset_cors", Error, Missing, Confirm,
        "Something from another origin may be used only if its host allows it, and it does not.",
        "Let that host send Access-Control-Allow-Origin for this page, or serve the file from the page's own origin.";

    ASSET_INTEGRITY = "asset_integrity", Error, Missing, Confirm,
        "The content is not what the integrity attribute promises, so browsers do not use it.",
        "Build page and file together, so that the hash is the file's; or leave out integrity.";

    IMPORT_LOOP = "import_loop", Warning, Nothing, No,
        "A style sheet imports itself, directly or through others; browsers leave that import out.",
        "Take the import out of the sheet.";

    BROWSER_BLOCKED = "browser_blocked", Error, Blocked, No,
        "Chromium itself did not load something that the https page asks for over http.",
        "Write https:// instead of http://, or an address without scheme and host; a script may be what asks.";

    BROWSER_UPGRADED = "browser_upgraded", Error, Upgraded, No,
        "Chromium itself asked over https for something that the page names by http.",
        "Write https:// instead of http://, or an address without scheme and host; a script may be what asks.";

    BROWSER_REQUEST = "browser_request", Error, Blocked, No,
        "Something that the page asks for does not come.",
        "Look at the address: the file may be missing in the release, or the page's own policy may forbid it.";

    BROWSER_EXCEPTION = "browser_exception", Error, Nothing, No,
        "A script of the page ends with an exception that nothing catches.",
        "Look at the script where the message says; a part of the page does not work.";

    BROWSER_CONSOLE = "browser_console", Warning, Nothing, No,
        "The page writes an error to the browser's console.",
        "Look at what it says; visitors may miss something.";

    BROWSER_DIALOG = "browser_dialog", Warning, Nothing, No,
        "The page opens a dialog before its visitor has done anything.",
        "Take the alert(), confirm() or prompt() out of what runs at load, or show its text on the page.";

    BROWSER_FAILED = "browser_failed", Error, Nothing, No,
        "The browser could not look at the page.",
        "Install Chromium on this host or correct browser_program; if the page needs longer to load, raise browser_deadline_s.";

    NOT_CHECKED = "not_checked", Note, Nothing, No,
        "A part of the page was not looked at.",
        "Nothing need be changed; look at that part yourself.";

    TRUNCATED = "truncated", Warning, Nothing, No,
        "Only the first part of the page was looked at.",
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
