//! `asset_empty`.

use crate::assets::Flaw;
use crate::assets::Got;
use crate::assets::Wanted;
use crate::catalogue::ASSET_EMPTY;
use crate::page::AssetKind;

/// Whether there is anything in it.
pub(crate) fn judge(wanted: &Wanted, got: &Got) -> Option<Flaw> {
    let flaw = || Flaw::of(&ASSET_EMPTY, "is empty".to_owned());
    match wanted.kind {
        _ if got.bytes > 0 => None,
        AssetKind::Prefetch => None,
        // An empty frame may be meant so, and a picture that only counts visits has nothing to show.
        AssetKind::Image if got.status == 204 => Some(flaw().mild()),
        AssetKind::Frame => Some(flaw().mild()),
        _ => Some(flaw()),
    }
}
