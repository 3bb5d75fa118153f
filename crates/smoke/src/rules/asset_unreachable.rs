//! `asset_unreachable`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// Something that the page asks for gave no whole answer.
pub(crate) const RULE: Rule = Rule {
    name: "asset_unreachable",
    severity: Severity::Error,
    effect: Effect::Missing,
    wait: Wait::Confirm,
    meaning: "Something that the page asks for gave no whole answer.",
    fix: "Check that its address is right and that its host answers over https.",
};
