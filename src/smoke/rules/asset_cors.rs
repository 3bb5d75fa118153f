//! `asset_cors`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::assets::Flaw;
use crate::smoke::assets::Got;
use crate::smoke::redirect::shown;
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

/// Whether the other origin lets the page read it.
pub(in crate::smoke) fn judge(got: &Got) -> Option<Flaw> {
    let (origin, allowed) = got.refused.as_ref()?;
    let instead = if allowed.is_empty() { "says nothing of it".to_owned() } else { format!("allows {}", shown(allowed)) };
    Some(Flaw::of(&RULE, format!("may not be read by {origin}: its host {instead}")))
}
