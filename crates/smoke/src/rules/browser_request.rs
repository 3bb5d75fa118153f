//! `browser_request`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// Something that the page asks for does not come.
pub(crate) const RULE: Rule = Rule {
    name: "browser_request",
    severity: Severity::Error,
    effect: Effect::Blocked,
    wait: Wait::No,
    meaning: "Something that the page asks for does not come.",
    fix: "Look at the address: the file may be missing in the release, or the page's own policy may forbid it.",
};
