//! Keys: who may call.

use std::path::PathBuf;

use base64::Engine as _;
use sha2::Digest as _;
use text::Secret;

use crate::config::Rotating;
use crate::config::SecretSource;
use crate::config::reader::Section;
use crate::model::KeyId;
use crate::model::Scope;

/// A key of the configuration.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name, which stands in records.
    pub id: KeyId,
    /// What a request must show.
    pub proof: KeyProof,
    /// The file of its secret; none where the secret is kept elsewhere.
    pub file: Option<PathBuf>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The git refs its orders may come from; empty: any.
    pub refs: Vec<RefPattern>,
    /// From when it counts (ms since 1970, UTC).
    pub not_before_ms: Option<i64>,
    /// Until when it counts (ms since 1970, UTC).
    pub not_after_ms: Option<i64>,
}

/// What a request must show.
#[derive(Clone)]
pub enum KeyProof {
    /// `Authorization: Bearer`: the token's SHA-256.
    Bearer(Rotating<[u8; 32]>),
    /// Standard Webhooks: the bytes behind `whsec_`.
    Webhook(Rotating<Vec<u8>>),
    /// That the caller could open the unix socket of this key.
    Socket,
}

impl KeyProof {
    /// The newest secret alone, or the one before it, as long as there is one.
    #[must_use]
    pub fn only(&self, newest: bool) -> Self {
        match self {
            Self::Bearer(digests) => Self::Bearer(digests.one(newest)),
            Self::Webhook(secrets) => Self::Webhook(secrets.one(newest)),
            Self::Socket => Self::Socket,
        }
    }

    /// What two keys that the same secret proves have in common, in whichever scheme each takes it.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<[u8; 32]> {
        let of_bytes = |bytes: &Vec<u8>| {
            let text = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes));
            [sha2::Sha256::digest(bytes).into(), sha2::Sha256::digest(text).into()]
        };
        match self {
            Self::Bearer(digests) => digests.iter().copied().collect(),
            Self::Webhook(secrets) => secrets.iter().flat_map(of_bytes).collect(),
            Self::Socket => Vec::new(),
        }
    }

    /// What the newest secret is known by; none where nothing is secret.
    #[must_use]
    pub fn newest(&self) -> Option<&[u8]> {
        match self {
            Self::Bearer(digests) => Some(&digests.newest),
            Self::Webhook(secrets) => Some(&secrets.newest),
            Self::Socket => None,
        }
    }

    /// Whether the secret before is as good.
    #[must_use]
    pub fn is_rotating(&self) -> bool {
        match self {
            Self::Bearer(digests) => digests.older.is_some(),
            Self::Webhook(secrets) => secrets.older.is_some(),
            Self::Socket => false,
        }
    }

    /// Whether it is one byte over and over; of a digest alone nobody can say.
    pub(super) fn is_monotonous(&self) -> bool {
        match self {
            Self::Bearer(digests) => digests.iter().any(|digest| monotonous_digests().any(|one| one == *digest)),
            Self::Webhook(secrets) => secrets.iter().any(|bytes| is_monotonous(bytes)),
            Self::Socket => false,
        }
    }
}

/// Whether `bytes` are one byte over and over.
pub(super) fn is_monotonous(bytes: &[u8]) -> bool {
    bytes.windows(2).all(|pair| pair[0] == pair[1])
}

/// Of every visible character, as long as tokens are.
fn monotonous_digests() -> impl Iterator<Item = [u8; 32]> {
    (b'!'..=b'~').flat_map(|byte| (24..=64).map(move |length| sha2::Sha256::digest(vec![byte; length]).into()))
}

impl std::fmt::Debug for KeyProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(…)",
            Self::Webhook(_) => "Webhook(…)",
            Self::Socket => "Socket",
        })
    }
}

/// A git ref, or the beginning of one with `*` behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefPattern(String);

impl RefPattern {
    /// Takes `given` as a pattern.
    ///
    /// # Errors
    /// When it does not begin with `refs/`, or has a `*` elsewhere than at its end.
    pub fn parse(given: &str) -> Result<Self, String> {
        let head = given.strip_suffix('*').unwrap_or(given);
        if head.starts_with("refs/") && !head.contains('*') {
            Ok(Self(given.to_owned()))
        } else {
            Err(format!("\"{}\" is not a git ref: write refs/heads/main or refs/tags/*.", given.escape_default()))
        }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `git_ref` is meant.
    #[must_use]
    pub fn matches(&self, git_ref: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(head) => git_ref.starts_with(head),
            None => git_ref == self.0,
        }
    }
}

/// Secrets that stand in our own documentation, as SHA-256 of their text: anybody who copies one has no secret.
const EXAMPLES: [&str; 2] = ["whsec_dGhpcyBpcyBhbiBleGFtcGxlLCBub3QgYSBzZWNyZXQ=", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];

impl Key {
    pub(super) fn read(mut from: Section, secrets: &mut Vec<Secret>) -> Option<Self> {
        let id = from.needed("id", "every key needs an id, which appears in records and messages.", KeyId::parse);
        let file = from.file("secret_file").or_else(|| from.file("token_file"));
        let proof = read_proof(&mut from, secrets);
        let scopes = read_scopes(&mut from, "key");
        let refs = from.list("refs", RefPattern::parse);
        let not_before_ms = from.parsed("not_before", instant);
        let not_after_ms = from.parsed("not_after", instant);
        if matches!((not_before_ms, not_after_ms), (Some(from), Some(to)) if from >= to) {
            from.problem("not_after", "it must be later than not_before.");
        }
        from.finish();
        Some(Self { id: id?, proof: proof?, file, scopes, refs, not_before_ms, not_after_ms })
    }

    /// Whether the key counts at `now_ms`.
    #[must_use]
    pub fn counts_at(&self, now_ms: i64) -> bool {
        self.not_before_ms.is_none_or(|from| now_ms >= from) && self.not_after_ms.is_none_or(|to| now_ms < to)
    }
}

/// What the `who` that is read may do.
pub(super) fn read_scopes(from: &mut Section, who: &str) -> Vec<Scope> {
    let scopes = from.list("scopes", Scope::parse);
    if scopes.is_empty() {
        from.problem("scopes", format!("a {who} without scopes is not allowed to do anything; write scopes = [\"deploy:SERVICE\"]."));
    }
    scopes
}

fn read_proof(from: &mut Section, secrets: &mut Vec<Secret>) -> Option<KeyProof> {
    // By what is written: a secret that cannot be read is a problem already, and none of the scheme.
    let schemes = [from.has_any(&["secret_file", "secret_env"]), from.has_any(&["token_file", "token_env"]), from.has("token_sha256")];
    let webhook = from.secret("secret_file", "secret_env");
    let bearer = from.secret("token_file", "token_env");
    let digest = from.parsed("token_sha256", hex32);
    let webhook = both(webhook, "secret_file", from, secrets);
    let bearer = both(bearer, "token_file", from, secrets);
    match schemes {
        [true, false, false] => {
            let bytes = webhook?.try_map(|secret| webhook_bytes(secret.reveal()));
            bytes.map_err(|why| from.problem("secret_file", why)).ok().map(KeyProof::Webhook)
        }
        [false, true, false] => {
            let digests = bearer?.try_map(|token| token_sha256(token.reveal()));
            digests.map_err(|why| from.problem("token_file", why)).ok().map(KeyProof::Bearer)
        }
        [false, false, true] => digest.map(Rotating::only).map(KeyProof::Bearer),
        [false, false, false] => {
            from.problem("secret_file", "a key needs one of secret_file, secret_env, token_file, token_env and token_sha256.");
            None
        }
        _ => {
            from.problem("secret_file", "a key has only one scheme: set either a webhook secret or a bearer token.");
            None
        }
    }
}

/// The secrets that stand where one is kept, each of which nobody may see.
fn both(read: Option<Secret>, key: &str, from: &Section, secrets: &mut Vec<Secret>) -> Option<Rotating<Secret>> {
    let read = read?;
    if read.reveal().is_empty() {
        return Some(Rotating::only(read));
    }
    let both = Rotating::of_lines(read.reveal()).map_err(|why| from.problem(key, why)).ok()?;
    secrets.extend(both.iter().cloned());
    // What stands behind whsec_ is the secret; some tools write it without.
    secrets.extend(both.iter().filter_map(|secret| secret.reveal().strip_prefix("whsec_")).map(|bare| Secret::new(bare.to_owned())));
    Some(both)
}

fn token_sha256(token: &str) -> Result<[u8; 32], &'static str> {
    if token.len() < 24 {
        return Err("the token is shorter than 24 bytes; make one with `tagalong key new --bearer`.");
    }
    Ok(sha2::Sha256::digest(token).into())
}

/// The bytes of `whsec_BASE64`.
///
/// # Errors
/// When the form is another, the bytes are not 24 to 64, or it is one of our own examples.
pub(super) fn webhook_bytes(text: &str) -> Result<Vec<u8>, String> {
    let hint = "make one with `tagalong key new`";
    if EXAMPLES.contains(&text) {
        return Err(format!("the secret is an example from the documentation, so anybody knows it; {hint}."));
    }
    let encoded = text.strip_prefix("whsec_").ok_or_else(|| format!("the secret does not begin with whsec_; {hint}."))?;
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(encoded).map_err(|_| format!("the part after whsec_ is not base64; {hint}."))?;
    if (24..=64).contains(&bytes.len()) {
        Ok(bytes)
    } else {
        Err(format!("the secret has {} bytes, but it must have 24 to 64; {hint}.", bytes.len()))
    }
}

/// What is signed with, of a secret that is kept elsewhere.
///
/// # Errors
/// One sentence, when it cannot be read or is no secret of Standard Webhooks.
pub fn signing_secrets(source: &SecretSource) -> Result<Rotating<Vec<u8>>, String> {
    source.read_both()?.try_map(|secret| webhook_bytes(secret.reveal()))
}

fn hex32(text: &str) -> Result<[u8; 32], &'static str> {
    let error = "it must be 64 hex digits: the SHA-256 of the token.";
    let mut bytes = [0_u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(error);
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| error)?;
    }
    Ok(bytes)
}

fn instant(text: &str) -> Result<i64, String> {
    let stamp: Result<jiff::Timestamp, _> = text.parse();
    stamp
        .map(jiff::Timestamp::as_millisecond)
        .map_err(|_| format!("\"{}\" is not a time; write it like 2026-12-31T23:59:59Z.", text.escape_default()))
}
