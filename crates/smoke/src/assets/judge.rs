//! What is wrong with something that came.

use crate::assets::courier::Got;
use crate::assets::flaw::Flaw;
use crate::assets::wanted::Wanted;
use crate::rules::asset_cors;
use crate::rules::asset_empty;
use crate::rules::asset_integrity;
use crate::rules::asset_status;
use crate::rules::asset_type;
use crate::rules::content_encoding;
use crate::rules::upgraded_asset;

/// What is wrong with something that came. A fault that explains the others stands alone.
pub(super) fn flaws(wanted: &Wanted, got: &Got) -> Vec<Flaw> {
    let alone = asset_status::judge(got)
        .or_else(|| content_encoding::broken(got))
        .or_else(|| asset_cors::judge(got))
        .or_else(|| asset_empty::judge(wanted, got));
    let content = if alone.is_some() { [alone, None] } else { [asset_type::judge(wanted, got), asset_integrity::judge(wanted, got)] };
    upgraded_asset::judge(got).into_iter().chain(content_encoding::unknown(got)).chain(content.into_iter().flatten()).collect()
}
