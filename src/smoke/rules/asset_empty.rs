//! `asset_empty`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::assets::Flaw;
use crate::smoke::assets::Got;
use crate::smoke::assets::Wanted;
use crate::smoke::page::AssetKind;
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

/// Whether there is anything in it.
pub(in crate::smoke) fn judge(wanted: &Wanted, got: &Got) -> Option<Flaw> {
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
