//! `asset_cors`.

use crate::assets::Flaw;
use crate::assets::Got;
use crate::redirect::shown;
use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// Something from another origin may be used only if its host allows it, and it does not.
pub(crate) const RULE: Rule = Rule {
    name: "asset_cors",
    severity: Severity::Error,
    effect: Effect::Missing,
    wait: Wait::Confirm,
    meaning: "Something from another origin may be used only if its host allows it, and it does not.",
    fix: "Let that host send Access-Control-Allow-Origin for this page, or serve the file from the page's own origin.",
};

/// Whether the other origin lets the page read it.
pub(crate) fn judge(got: &Got) -> Option<Flaw> {
    let (origin, allowed) = got.refused.as_ref()?;
    let instead = if allowed.is_empty() { "says nothing of it".to_owned() } else { format!("allows {}", shown(allowed)) };
    Some(Flaw::of(&RULE, format!("may not be read by {origin}: its host {instead}")))
}
