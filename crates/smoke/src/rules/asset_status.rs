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
        429 => flaw.with_fix("The host says that it is asked too much: lower concurrency in the plan.").mild(),
        401 | 403 => {
            flaw.with_fix("Let visitors have the file; if the page needs a login, let basic_auth or headers in the plan carry it.")
        }
        502..=504 => flaw.with_fix("The proxy does not reach the app: look at the app's log, its port and the proxy's target."),
        _ => flaw,
    })
}
