//! `asset_cors`.

use crate::assets::Flaw;
use crate::assets::Got;
use crate::catalogue::ASSET_CORS;
use crate::redirect::excerpt;

/// Whether the other origin lets the page read it.
pub(crate) fn judge(got: &Got) -> Option<Flaw> {
    let (origin, allowed) = got.refused.as_ref()?;
    let instead =
        if allowed.is_empty() { "sends no Access-Control-Allow-Origin".to_owned() } else { format!("allows {}", excerpt(allowed)) };
    Some(Flaw::of(&ASSET_CORS, format!("may not be used by {origin} (CORS): its host {instead}")))
}
