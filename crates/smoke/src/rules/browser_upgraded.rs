//! `browser_upgraded`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// Chromium itself asked over https for something that the page names by http.
pub(crate) const RULE: Rule = Rule {
    name: "browser_upgraded",
    severity: Severity::Error,
    effect: Effect::Upgraded,
    wait: Wait::No,
    meaning: "Chromium itself asked over https for something that the page names by http.",
    fix: "Write https:// instead of http://, or an address without scheme and host; a script may be what asks.",
};
