//! `browser_blocked`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// Chromium itself did not load something that the https page asks for over http.
pub(crate) const RULE: Rule = Rule {
    name: "browser_blocked",
    severity: Severity::Error,
    effect: Effect::Blocked,
    wait: Wait::No,
    meaning: "Chromium itself did not load something that the https page asks for over http.",
    fix: "Write https:// instead of http://, or an address without scheme and host; a script may be what asks.",
};
