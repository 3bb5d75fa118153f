//! `asset_type`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// Something that the page asks for comes as another type, and browsers do not use it as what it is asked for.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "asset_type",
    severity: Severity::Error,
    effect: Effect::Missing,
    wait: Wait::Confirm,
    meaning: "Something that the page asks for comes as another type, and browsers do not use it as what it is asked for.",
    fix: "Send the right Content-Type; where it is text/html, the app answers its own page for a file that is missing.",
};
