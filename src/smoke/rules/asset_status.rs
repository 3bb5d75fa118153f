//! `asset_status`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// Something that the page asks for is answered with an error.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "asset_status",
    severity: Severity::Error,
    effect: Effect::Missing,
    wait: Wait::Confirm,
    meaning: "Something that the page asks for is answered with an error.",
    fix: "Look whether the file is in the release under this name and whether the proxy leads there.",
};
