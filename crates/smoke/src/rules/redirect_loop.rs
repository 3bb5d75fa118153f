//! `redirect_loop`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The redirects come back to where they were.
pub(crate) const RULE: Rule = Rule {
    name: "redirect_loop",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Page,
    meaning: "The redirects come back to where they were.",
    fix: "Often the app redirects to https although the proxy has done so: let it trust X-Forwarded-Proto.",
};
