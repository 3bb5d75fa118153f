//! Read tokens: sent with a 202, so that a caller who ordered a deployment can follow it after the forge's own token has expired.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Hmac;
use hmac::KeyInit as _;
use hmac::Mac as _;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::clock;
use crate::model::DeploymentId;

/// The beginning of every read token.
pub const PREFIX: &str = "tr_";
/// How long a token is valid, ms.
const LIFE_MS: i64 = 6 * 3600 * 1000;

/// A token that reads deployment `id`, and nothing else, for six hours.
#[must_use]
pub fn make(key: &[u8], id: &DeploymentId) -> String {
    let until_ms = clock::now_ms() + LIFE_MS;
    format!("{PREFIX}{id}_{until_ms}_{}", mac(key, id, until_ms))
}

/// The deployment that `given` may read.
#[must_use]
pub fn check(key: &[u8], given: &str) -> Option<DeploymentId> {
    let mut parts = given.strip_prefix(PREFIX)?.splitn(3, '_');
    let id = DeploymentId::parse(parts.next()?).ok()?;
    let until_ms = parts.next()?.parse().ok()?;
    let shown = parts.next()?;
    let holds = bool::from(mac(key, &id, until_ms).as_bytes().ct_eq(shown.as_bytes()));
    (holds && clock::now_ms() < until_ms).then_some(id)
}

fn mac(key: &[u8], id: &DeploymentId, until_ms: i64) -> String {
    // HMAC accepts a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(format!("read {id} {until_ms}").as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::check;
    use super::make;
    use crate::clock;

    #[test]
    fn a_token_reads_its_own_deployment_only() {
        let (a, b) = (clock::new_id(), clock::new_id());
        let token = make(b"key", &a);
        assert_eq!(check(b"key", &token), Some(a.clone()));
        assert_eq!(check(b"other", &token), None);
        assert_eq!(check(b"key", &token.replace(a.as_str(), b.as_str())), None);
        assert_eq!(check(b"key", "tr_"), None);
    }
}
