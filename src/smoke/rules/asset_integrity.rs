//! `asset_integrity`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// The content is not what the integrity attribute promises, so browsers do not use it.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "asset_integrity",
    severity: Severity::Error,
    effect: Effect::Missing,
    wait: Wait::Confirm,
    meaning: "The content is not what the integrity attribute promises, so browsers do not use it.",
    fix: "Build page and file together, so that the hash is the file's; or leave out integrity.",
};
