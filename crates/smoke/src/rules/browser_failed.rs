//! `browser_failed`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The browser could not look at the page.
pub(crate) const RULE: Rule = Rule {
    name: "browser_failed",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "The browser could not look at the page.",
    fix: "Install Chromium on this host or correct browser_program; if the page needs longer to load, raise browser_deadline_s.",
};
