//! Tokens that we make ourselves: read tokens, sent with a 202, so that a caller who ordered a deployment can follow it after the forge's own
//! token has expired; the tokens of sessions, and those of their forms.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Hmac;
use hmac::KeyInit as _;
use hmac::Mac as _;
use sha2::Digest as _;
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
    mac_of(key, &format!("read {id} {until_ms}"))
}

fn mac_of(key: &[u8], text: &str) -> String {
    // HMAC accepts a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(text.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// A new token of a session, which nobody can guess. It says that we made it, so that what others make up is never looked up.
pub(super) fn new_session(key: &[u8]) -> String {
    sealed(key, "session", &URL_SAFE_NO_PAD.encode(clock::random_bytes::<32>()))
}

/// Whether `given` is a token of [`new_session`]. Whether that session is there is the store's to say.
pub(super) fn is_session(key: &[u8], given: &str) -> bool {
    opened(key, "session", given).is_some()
}

/// What the store knows a token or a code by.
pub(super) fn digest(given: &str) -> String {
    text::hex(&Sha256::digest(given))
}

/// What the forms of a session carry, by the token of the session.
pub(super) fn form(session: &str) -> String {
    mac_of(session.as_bytes(), "form")
}

/// Whether `given` is `right`; timing reveals nothing of how far it is.
pub(super) fn is_same(given: &str, right: &str) -> bool {
    bool::from(Sha256::digest(given).ct_eq(&Sha256::digest(right)))
}

/// `text` for `purpose`, with a proof that we wrote it.
pub(super) fn sealed(key: &[u8], purpose: &str, text: &str) -> String {
    format!("{text}.{}", mac_of(key, &format!("{purpose} {text}")))
}

/// The text that was [`sealed`] for `purpose`.
pub(super) fn opened<'g>(key: &[u8], purpose: &str, given: &'g str) -> Option<&'g str> {
    let (text, shown) = given.rsplit_once('.')?;
    is_same(shown, &mac_of(key, &format!("{purpose} {text}"))).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::check;
    use super::digest;
    use super::form;
    use super::is_session;
    use super::make;
    use super::new_session;
    use super::opened;
    use super::sealed;
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

    #[test]
    fn a_session_is_known_as_ours_and_its_forms_are_its_own() {
        let (one, two) = (new_session(b"key"), new_session(b"key"));
        assert!(is_session(b"key", &one) && is_session(b"key", &two) && one != two);
        let other_end = if one.ends_with('A') { "B" } else { "A" };
        for wrong in ["", ".", "a.b", &one[1..], &format!("{}{other_end}", &one[..one.len() - 1]), &sealed(b"key", "login", "x")] {
            assert!(!is_session(b"key", wrong), "{wrong}");
        }
        assert!(!is_session(b"other", &one));
        assert!(form(&one) != form(&two) && form(&one) == form(&one) && digest(&one) != form(&one));
        assert_eq!(opened(b"key", "login", &sealed(b"key", "login", "a.b")), Some("a.b"));
        assert_eq!(opened(b"key", "session", &sealed(b"key", "login", "a.b")), None);
    }
}
