//! `redirect_loop`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// The redirects come back to where they were.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "redirect_loop",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Page,
    meaning: "The redirects come back to where they were.",
    fix: "Often the app redirects to https although the proxy has done so: let it trust X-Forwarded-Proto.",
};
