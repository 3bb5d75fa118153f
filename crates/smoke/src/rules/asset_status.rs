//! `asset_status`.

use crate::assets::Flaw;
use crate::assets::Got;
use crate::catalogue::ASSET_STATUS;

/// What its status says.
pub(crate) fn judge(got: &Got) -> Option<Flaw> {
    if (200..300).contains(&got.status) {
        return None;
    }
    let flaw = Flaw::of(&ASSET_STATUS, format!("answers {}", got.status));
    Some(match got.status {
        429 => flaw.with_fix("The host limits the rate of requests: lower concurrency in the plan.").mild(),
        401 | 403 => flaw.with_fix("Allow visitors to load the file; if the page needs a login, set basic_auth or headers in the plan."),
        502..=504 => flaw.with_fix("The proxy cannot reach the app: check the app's log, its port and the proxy's target."),
        _ => flaw,
    })
}
