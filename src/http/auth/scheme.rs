//! The authentication schemes: bearer tokens, Standard Webhooks, tokens of jobs (see `job`), which need no shared secret, and signatures of
//! forges (see `delivered`). A request uses exactly one, and only this module compares secrets.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use actix_web::http::header::HeaderName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest as _;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use text::Secret;

use crate::config::Key;
use crate::config::KeyProof;
use crate::config::Rotating;
use crate::http::auth::token;
use crate::http::refused::Check;
use crate::model::KeyId;
use crate::model::forge_signature;
use crate::model::webhook_mac;
use crate::oidc::seems_to_be_one;

pub use crate::model::webhook_signature as sign;

/// How far a signature's time may be off, seconds, inclusive
/// ([Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)).
const WINDOW_S: i64 = 300;

/// The headers of a proof.
pub(super) static HEADERS: [HeaderName; 4] = [
    AUTHORIZATION,
    HeaderName::from_static("webhook-id"),
    HeaderName::from_static("webhook-timestamp"),
    HeaderName::from_static("webhook-signature"),
];

/// How a caller authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// By opening the unix socket.
    Socket,
    /// A bearer token of a key.
    Bearer,
    /// A token that came with the 202 of one deployment.
    ReadToken,
    /// The OIDC token of a job.
    Job,
    /// Standard Webhooks.
    Signed,
    /// The cookie of a session.
    Session,
}

impl Scheme {
    /// Whether somebody who sees the call can use its authentication data.
    pub(super) fn is_bearer(self) -> bool {
        match self {
            Self::Bearer | Self::ReadToken | Self::Job | Self::Session => true,
            Self::Socket | Self::Signed => false,
        }
    }
}

/// The authentication data of a request.
#[derive(Debug)]
pub enum Shown {
    /// No scheme's header.
    Nothing,
    /// Something invalid: two schemes at once, a repeated header, or a malformed value.
    Malformed,
    /// A bearer token.
    Bearer(String),
    /// Standard Webhooks.
    Signed {
        /// `webhook-id`.
        id: String,
        /// `webhook-timestamp`.
        timestamp_s: i64,
        /// `webhook-signature`, all of them.
        signatures: String,
    },
}

impl Shown {
    /// The authentication data of `request`, not verified yet.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        let mut found: [Option<String>; 4] = [None, None, None, None];
        for (slot, name) in found.iter_mut().zip(&HEADERS) {
            let mut values = request.headers().get_all(name);
            *slot = values.next().map(|value| value.to_str().unwrap_or_default().to_owned());
            if values.next().is_some() {
                return Self::Malformed;
            }
        }
        match found {
            [None, None, None, None] => Self::Nothing,
            [Some(authorization), None, None, None] => {
                let token = authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
                token.map_or(Self::Malformed, |(_, token)| Self::Bearer(token.trim().to_owned()))
            }
            [None, Some(id), Some(timestamp), Some(signatures)] if is_id(&id) => match seconds(&timestamp) {
                Some(timestamp_s) => Self::Signed { id, timestamp_s, signatures },
                None => Self::Malformed,
            },
            _ => Self::Malformed,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing | Self::Malformed)
    }

    pub(super) fn is_signed(&self) -> bool {
        matches!(self, Self::Signed { .. })
    }

    /// What a key is verified with.
    pub(super) fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::Nothing | Self::Malformed => None,
            Self::Bearer(_) => Some(Scheme::Bearer),
            Self::Signed { .. } => Some(Scheme::Signed),
        }
    }

    pub(super) fn read_token(&self) -> Option<&str> {
        match self {
            Self::Bearer(token) if token.starts_with(token::PREFIX) => Some(token),
            _ => None,
        }
    }

    /// A bearer token that may be the token of a job.
    pub(super) fn job_token(&self) -> Option<&str> {
        match self {
            Self::Bearer(token) if seems_to_be_one(token) => Some(token),
            _ => None,
        }
    }

    /// The check that fails, as far as this can be told without comparing keys.
    pub(super) fn fails(&self, now_ms: i64) -> Check {
        match self {
            Self::Nothing => Check::NoProof,
            Self::Malformed => Check::Malformed,
            Self::Bearer(token) if token.starts_with(token::PREFIX) => Check::ReadToken,
            Self::Bearer(_) => Check::Token,
            Self::Signed { timestamp_s, .. } => match timestamp_s.saturating_sub(now_ms.div_euclid(1000)) {
                off_s if off_s.abs() > WINDOW_S => Check::Clock(off_s),
                _ => Check::Signature,
            },
        }
    }

    /// The check that fails, and the key whose secret is right nevertheless: a key that is not valid now, or a signature of another time.
    pub(super) fn fails_closer<'k>(&self, keys: &'k [Key], body: &[u8], now_ms: i64) -> (Check, Option<&'k KeyId>) {
        let check = self.fails(now_ms);
        let holder = match self {
            Self::Nothing | Self::Malformed => None,
            Self::Bearer(token) => bearer_of(token, keys.iter()),
            Self::Signed { id, timestamp_s, signatures } => signer_of(id, *timestamp_s, signatures, body, keys.iter()),
        }
        .map(|matched| matched.key);
        match (check, holder) {
            (check @ Check::Clock(_), holder) => (check, holder.map(|key| &key.id)),
            (_, Some(key)) => (Check::KeyTime, Some(&key.id)),
            (check, None) => (check, None),
        }
    }

    /// The key that matches. All keys are compared, whatever the first results are, so that timing reveals nothing.
    #[must_use]
    pub fn key<'k>(&self, keys: &'k [Key], body: &[u8], now_ms: i64) -> Option<Match<'k>> {
        let counting = keys.iter().filter(|key| key.counts_at(now_ms));
        match self {
            Self::Nothing | Self::Malformed => None,
            Self::Bearer(token) => bearer_of(token, counting),
            Self::Signed { id, timestamp_s, signatures } => {
                let now_s = now_ms.div_euclid(1000);
                if timestamp_s.checked_sub(now_s).is_none_or(|off| off.abs() > WINDOW_S) {
                    return None;
                }
                signer_of(id, *timestamp_s, signatures, body, counting)
            }
        }
    }
}

/// A key that matches a call.
#[derive(Debug, Clone, Copy)]
pub struct Match<'k> {
    /// The key.
    pub key: &'k Key,
    /// Whether the newest of its secrets matches, so that the caller no longer needs the previous one.
    pub by_newest: bool,
}

/// The first of `keys` with a matching secret; every secret of every key is compared.
fn first_match<'k>(keys: impl Iterator<Item = &'k Key>, right: impl Fn(&Key) -> Rotating<bool>) -> Option<Match<'k>> {
    keys.fold(None, |found, key| {
        let Rotating { newest, older } = right(key);
        let older = older.unwrap_or(false);
        if newest | older { found.or(Some(Match { key, by_newest: newest && !older })) } else { found }
    })
}

/// The key with this bearer token.
fn bearer_of<'k>(token: &str, keys: impl Iterator<Item = &'k Key>) -> Option<Match<'k>> {
    let given: [u8; 32] = Sha256::digest(token).into();
    first_match(keys, |key| match &key.proof {
        KeyProof::Bearer(digests) => digests.map(|digest| bool::from(digest.ct_eq(&given))),
        KeyProof::Webhook(_) | KeyProof::Socket => Rotating::only(false),
    })
}

/// The key that made one of the signatures.
fn signer_of<'k>(id: &str, timestamp_s: i64, signatures: &str, body: &[u8], keys: impl Iterator<Item = &'k Key>) -> Option<Match<'k>> {
    let given: Vec<Vec<u8>> =
        signatures.split(' ').filter_map(|one| one.strip_prefix("v1,")).take(16).filter_map(|one| STANDARD.decode(one).ok()).collect();
    first_match(keys, |key| match &key.proof {
        KeyProof::Webhook(secrets) => secrets.map(|secret| {
            let right = webhook_mac(secret, id, timestamp_s, body);
            given.iter().fold(false, |any, one| any | bool::from(one.as_slice().ct_eq(&right)))
        }),
        KeyProof::Bearer(_) | KeyProof::Socket => Rotating::only(false),
    })
}

/// Whether a bearer token is `right`; neither timing nor length reveals how much of it matches.
pub(super) fn is_secret(given: &str, right: &Secret) -> bool {
    let (given, right): ([u8; 32], [u8; 32]) = (Sha256::digest(given).into(), Sha256::digest(right.reveal()).into());
    bool::from(given.ct_eq(&right))
}

/// Whether `given`, in lower-case hex, is the signature of a forge over `body` with `secret`.
pub(super) fn is_forge_signature(given: &str, secret: &str, body: &[u8]) -> bool {
    bool::from(forge_signature(secret.as_bytes(), body).as_bytes().ct_eq(given.as_bytes()))
}

fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn seconds(text: &str) -> Option<i64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::Shown;
    use super::sign;
    use crate::config::Key;
    use crate::config::KeyProof;
    use crate::config::Rotating;
    use crate::model::KeyId;
    use actix_web::test::TestRequest;

    fn keys() -> Vec<Key> {
        let key = |id: &str, fill: u8| Key {
            id: KeyId::parse(id).expect("a name"),
            proof: KeyProof::Webhook(Rotating::only(vec![fill; 32])),
            file: None,
            scopes: Vec::new(),
            refs: Vec::new(),
            not_before_ms: None,
            not_after_ms: None,
        };
        vec![key("old", 1), key("new", 2)]
    }

    fn shown(headers: &[(&str, String)]) -> Shown {
        let mut request = TestRequest::default();
        for (name, value) in headers {
            request = request.append_header((*name, value.clone()));
        }
        Shown::of(&request.to_http_request())
    }

    const NOW_S: i64 = 1_800_000_000;

    fn signed(secret: u8, at_s: i64, body: &[u8], prefix: &str) -> Shown {
        let signature = format!("{prefix}{}", sign(&[secret; 32], "msg-1", at_s, body));
        shown(&[("webhook-id", "msg-1".into()), ("webhook-timestamp", at_s.to_string()), ("webhook-signature", signature)])
    }

    #[test]
    fn a_published_example_is_signed_the_same() {
        // The vector of the Standard Webhooks libraries.
        let secret = base64::Engine::decode(&super::STANDARD, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        assert_eq!(
            sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn the_window_is_five_minutes_inclusive_and_both_keys_of_a_rotation_hold() {
        let keys = keys();
        let name = |shown: &Shown, body: &[u8]| shown.key(&keys, body, NOW_S * 1000).map(|found| found.key.id.to_string());
        assert_eq!(name(&signed(1, NOW_S, b"x", ""), b"x").as_deref(), Some("old"));
        assert_eq!(name(&signed(2, NOW_S, b"x", "v1a,AAAA v1,AAAA "), b"x").as_deref(), Some("new"));
        assert_eq!(name(&signed(2, NOW_S - 300, b"x", ""), b"x").as_deref(), Some("new"));
        assert_eq!(name(&signed(2, NOW_S + 300, b"x", ""), b"x").as_deref(), Some("new"));
        for wrong in
            [signed(2, NOW_S - 301, b"x", ""), signed(2, NOW_S + 301, b"x", ""), signed(3, NOW_S, b"x", ""), signed(2, NOW_S, b"y", "")]
        {
            assert_eq!(name(&wrong, b"x"), None, "{wrong:?}");
        }
    }

    #[test]
    fn every_malformed_proof_proves_nothing() {
        for headers in [
            vec![],
            vec![("authorization", String::new())],
            vec![("authorization", "Basic YTpi".into())],
            vec![("authorization", "Bearer".into())],
            vec![("webhook-id", "a".into()), ("webhook-timestamp", "1".into())],
            vec![("webhook-id", "a b".into()), ("webhook-timestamp", "1".into()), ("webhook-signature", "v1,".into())],
            vec![("webhook-id", "a".into()), ("webhook-timestamp", "-1".into()), ("webhook-signature", "v1,".into())],
            vec![("webhook-id", "a".into()), ("webhook-timestamp", "99999999999999999999".into()), ("webhook-signature", "v1,".into())],
            vec![("authorization", "Bearer x".into()), ("webhook-id", "a".into())],
            vec![("authorization", "Bearer x".into()), ("authorization", "Bearer y".into())],
        ] {
            let found = shown(&headers);
            assert!(found.key(&keys(), b"", NOW_S * 1000).is_none(), "{headers:?}");
        }
        // An empty MAC and one made with an empty key.
        for signature in ["v1,".to_owned(), sign(b"", "a", NOW_S, b"")] {
            let found = shown(&[("webhook-id", "a".into()), ("webhook-timestamp", NOW_S.to_string()), ("webhook-signature", signature)]);
            assert!(found.key(&keys(), b"", NOW_S * 1000).is_none());
        }
    }
}
