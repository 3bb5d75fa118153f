//! Signatures of [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), and
//! of the native webhooks of forges.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use hmac::KeyInit as _;
use hmac::Mac as _;
use sha2::Sha256;

/// HMAC-SHA256 over `id.timestamp.body`.
#[must_use]
pub fn webhook_mac(secret: &[u8], id: &str, timestamp_s: i64, body: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return [0; 32] };
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// What is signed in the place of a body for a call that has none, `path` with its query: `{"call":"GET /api/v1/…"}`. So a
/// signature that was overheard is good for that very call, and for no other.
#[must_use]
pub fn webhook_call(method: &str, path: &str) -> String {
    serde_json::json!({ "call": format!("{method} {path}") }).to_string()
}

/// The value of `webhook-signature` for a call: `v1,` and the base64 of [`webhook_mac`].
#[must_use]
pub fn webhook_signature(secret: &[u8], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    format!("v1,{}", STANDARD.encode(webhook_mac(secret, id, timestamp_s, body)))
}

/// The signature of a native webhook of a forge: HMAC-SHA256 over the body alone, in lower-case hex.
#[must_use]
pub fn forge_signature(secret: &[u8], body: &[u8]) -> String {
    keyed_hash(secret, body)
}

/// HMAC-SHA256 over `bytes` in lower-case hex.
pub(super) fn keyed_hash(key: &[u8], bytes: &[u8]) -> String {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(bytes);
    text::hex(&mac.finalize().into_bytes())
}
