//! The names of the rules that a smoke check judges by.

use crate::report::Severity;

/// The name of a rule: the same in code, tests, README, config and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName(&'static str);

/// How bad a finding of a rule is taken to be, when a service says so itself; none: it is left out.
pub type RuleLevel = Option<Severity>;

impl RuleName {
    /// Every name, in the order in which a look meets the rules.
    pub const ALL: [&'static str; 47] = [
        "setup",
        "dns",
        "unreachable",
        "timeout",
        "certificate_pending",
        "certificate_expired",
        "certificate_name",
        "certificate_untrusted",
        "certificate_days",
        "redirect_to_http",
        "redirect_elsewhere",
        "redirect_loop",
        "too_many_redirects",
        "bad_redirect",
        "status",
        "header",
        "content_encoding",
        "body",
        "body_size",
        "json",
        "latency",
        "http_version",
        "address_family",
        "release",
        "blocked_asset",
        "upgraded_asset",
        "rescued_asset",
        "private_asset",
        "insecure_form",
        "malformed_page",
        "asset_unreachable",
        "asset_redirect",
        "asset_status",
        "asset_empty",
        "asset_type",
        "asset_cors",
        "asset_integrity",
        "import_loop",
        "browser_blocked",
        "browser_upgraded",
        "browser_request",
        "browser_exception",
        "browser_console",
        "browser_dialog",
        "browser_failed",
        "not_checked",
        "truncated",
    ];

    /// The rule of this name.
    ///
    /// # Errors
    /// There is none; the sentence lists those that there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|name| **name == text);
        found.map(|name| Self(name)).ok_or_else(|| format!("there is no rule \"{text}\"; the rules are {}.", Self::ALL.join(", ")))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}
