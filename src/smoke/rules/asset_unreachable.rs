//! `asset_unreachable`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// Something that the page asks for gave no whole answer.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "asset_unreachable",
    severity: Severity::Error,
    effect: Effect::Missing,
    wait: Wait::Confirm,
    meaning: "Something that the page asks for gave no whole answer.",
    fix: "Check that its address is right and that its host answers over https.",
};
