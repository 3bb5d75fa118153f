//! `asset_cors`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// Something from another origin may be used only if its host allows it, and it does not.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "asset_cors",
    severity: Severity::Error,
    effect: Effect::Missing,
    wait: Wait::Confirm,
    meaning: "Something from another origin may be used only if its host allows it, and it does not.",
    fix: "Let that host send Access-Control-Allow-Origin for this page, or serve the file from the page's own origin.",
};
