//! `upgraded_asset`.

use crate::assets::Flaw;
use crate::assets::Got;
use crate::catalogue::ASSET_REDIRECT;
use crate::catalogue::UPGRADED_ASSET;

/// Whether a redirect leads to http, from where browsers go on over https.
pub(crate) fn judge(got: &Got) -> Option<Flaw> {
    let http = got.upgraded.as_ref()?;
    let flaw = Flaw::of(&UPGRADED_ASSET, format!("is redirected to {http}, which browsers request over https instead")).mild();
    let flaw = flaw.or_in_a_set(&ASSET_REDIRECT, format!("is redirected from https to http: {http}"));
    Some(flaw.with_fix("Make the redirect lead to https: let the proxy send X-Forwarded-Proto and the app trust it."))
}
