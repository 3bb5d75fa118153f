//! `asset_empty`.

use crate::assets::Flaw;
use crate::assets::Got;
use crate::assets::Wanted;
use crate::page::AssetKind;
use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// Something that the page asks for is there, and empty.
pub(crate) const RULE: Rule = Rule {
    name: "asset_empty",
    severity: Severity::Error,
    effect: Effect::Missing,
    wait: Wait::Confirm,
    meaning: "Something that the page asks for is there, and empty.",
    fix: "Look at how the file was built and whether the disk was full.",
};

/// Whether there is anything in it.
pub(crate) fn judge(wanted: &Wanted, got: &Got) -> Option<Flaw> {
    let flaw = || Flaw::of(&RULE, "is empty".to_owned());
    match wanted.kind {
        _ if got.bytes > 0 => None,
        AssetKind::Prefetch => None,
        // An empty frame may be meant so, and a picture that only counts visits has nothing to show.
        AssetKind::Image if got.status == 204 => Some(flaw().mild()),
        AssetKind::Frame => Some(flaw().mild()),
        _ => Some(flaw()),
    }
}
