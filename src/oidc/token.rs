//! A token as it was sent: taken apart, and not believed yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Map;
use serde_json::Value;
use sha2::Digest as _;
use sha2::Sha256;

use crate::model::json_object;
use crate::oidc::key::Algorithm;
use crate::oidc::key::PublicKey;

/// No token of a forge is longer; bytes.
const LONGEST: usize = 12 << 10;
/// The longest id of a key that is looked for.
const LONGEST_KEY_ID: usize = 256;

/// Members of a header that would bring a key along, or change what is signed.
const NOT_TAKEN: [&str; 9] = ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc", "cty"];

/// Why nothing in a token is believed. Who sent it has proven nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is none, or not signed as it must be.
    #[error("The token {0}.")]
    Form(String),
    /// No policy is for its issuer.
    #[error("No policy has the issuer of the token.")]
    Issuer,
    /// The key is not in the issuer's key set.
    #[error("The issuer {issuer} has no such key: {why}.")]
    Key {
        /// Who issued it, as it says.
        issuer: String,
        /// What is known of the key set.
        why: String,
    },
    /// Too many wait for the issuer's key set.
    #[error("Too many calls wait for the key set of {0}.")]
    Busy(String),
    /// The key did not sign it.
    #[error("The signature was not made by the issuer's key over this token.")]
    Signature,
}

/// A token, taken apart.
#[derive(Clone)]
pub struct Token {
    algorithm: Algorithm,
    key_id: String,
    claims: Map<String, Value>,
    /// What is signed.
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Takes `given` apart.
    ///
    /// # Errors
    /// [`Fault::Form`], without a word of the token.
    pub fn parse(given: &str) -> Result<Self, Fault> {
        let fault = |why: &str| Fault::Form(why.to_owned());
        if given.len() > LONGEST {
            return Err(fault("is too long"));
        }
        let parts: Vec<&str> = given.split('.').collect();
        let [header, payload, signature] = parts[..] else { return Err(fault("does not have three parts")) };
        let decode =
            |part: &str, what: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Fault::Form(format!("has a {what} that is not base64url")));
        let object =
            |part: &str, what: &str| json_object(&decode(part, what)?).map_err(|why| Fault::Form(format!("has a {what} that {why}")));
        let head = object(header, "header")?;
        if let Some(name) = NOT_TAKEN.iter().find(|name| head.contains_key(**name)) {
            return Err(Fault::Form(format!("has {name} in its header, which is not taken")));
        }
        let algorithm = head.get("alg").and_then(Value::as_str).and_then(Algorithm::parse);
        let algorithm = algorithm.ok_or_else(|| fault("is not signed with RS256, RS384, RS512, ES256, ES384 or EdDSA"))?;
        // RFC 7519, 5.1: it may be missing, and its case does not count.
        if !head.get("typ").is_none_or(|kind| kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("JWT"))) {
            return Err(fault("has a typ other than JWT"));
        }
        let key_id = head.get("kid").and_then(Value::as_str).filter(|id| (1..=LONGEST_KEY_ID).contains(&id.len()));
        let key_id = key_id.ok_or_else(|| fault("does not say which key signed it (kid)"))?.to_owned();
        let claims = object(payload, "payload")?;
        let signature = decode(signature, "signature")?;
        if signature.is_empty() {
            return Err(fault("is not signed"));
        }
        let message = given.as_bytes()[..header.len() + 1 + payload.len()].to_vec();
        Ok(Self { algorithm, key_id, claims, message, signature })
    }

    /// Which key it says to be signed with.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Who it says to have issued it.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Whether it says to be of this issuer, to the byte.
    pub(super) fn is_of(&self, issuer: &str) -> bool {
        self.issuer() == Some(issuer)
    }

    pub(super) fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// Whether the key of `keys` that it names signed it.
    ///
    /// # Errors
    /// [`Fault::Key`] and [`Fault::Signature`].
    pub fn proven_by(&self, keys: &[PublicKey]) -> Result<(), Fault> {
        let mut mine = keys.iter().filter(|key| key.id() == self.key_id).peekable();
        if mine.peek().is_none() {
            let issuer = self.issuer().unwrap_or_default().escape_debug().to_string();
            return Err(Fault::Key { issuer, why: "it is not in its key set".to_owned() });
        }
        let is_signed = mine.any(|key| key.verifies(self.algorithm, &self.message, &self.signature));
        if is_signed { Ok(()) } else { Err(Fault::Signature) }
    }

    /// What tells it from every other token, in hex. The signature is no part of it: some can be written in more than one way.
    #[must_use]
    pub fn digest(&self) -> String {
        text::hex(&Sha256::digest(&self.message))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Token;

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_none_is_shown(given in "\\PC*|[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,4}") {
            if let Err(fault) = Token::parse(&given) {
                prop_assert!(given.len() < 12 || !fault.to_string().contains(&given));
            }
        }

        #[test]
        fn no_header_or_payload_makes_it_panic(header in "\\PC*", payload in "\\PC*") {
            use base64::Engine as _;
            let b64 = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
            let _ = Token::parse(&format!("{}.{}.AAAA", b64(&header), b64(&payload)));
            let _ = Token::parse(&format!("{}.{}.AAAA", b64(r#"{"alg":"RS256","kid":"k"}"#), b64(&payload)));
        }
    }
}
