//! `asset_empty`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// Something that the page asks for is there, and empty.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "asset_empty",
    severity: Severity::Error,
    effect: Effect::Missing,
    wait: Wait::Confirm,
    meaning: "Something that the page asks for is there, and empty.",
    fix: "Look at how the file was built and whether the disk was full.",
};
