//! `asset_integrity`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::Digest as _;
use sha2::Sha256;
use sha2::Sha384;
use sha2::Sha512;

use crate::assets::Flaw;
use crate::assets::Got;
use crate::assets::Wanted;
use crate::catalogue::ASSET_INTEGRITY;

/// Whether it is what the `integrity` attribute promises.
///
/// Source: Subresource Integrity, "do bytes match metadataList": of the hashes that browsers know the strongest kind counts,
/// and one of that kind must fit.
pub(crate) fn judge(wanted: &Wanted, got: &Got) -> Option<Flaw> {
    let promised = strongest(&wanted.integrity);
    let (algorithm, hashes) = promised?;
    if got.is_foreign && wanted.cors.is_none() {
        let flaw = Flaw::of(&ASSET_INTEGRITY, "has an integrity attribute, but browsers may not read it and so cannot check it".to_owned());
        return Some(flaw.with_fix("Add crossorigin to the element, and let the other host send Access-Control-Allow-Origin."));
    }
    if !got.is_whole {
        return None;
    }
    let actual = STANDARD.encode(algorithm.digest(&got.body));
    let fits = hashes.iter().any(|hash| bytes_of(hash).is_some_and(|hash| hash == algorithm.digest(&got.body)));
    (!fits)
        .then(|| Flaw::of(&ASSET_INTEGRITY, format!("does not match its integrity attribute: its hash is {}-{actual}", algorithm.name())))
}

/// The kinds of hashes that browsers know, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// The hashes of the strongest kind; none: nothing is promised that browsers check.
fn strongest(integrity: &str) -> Option<(Algorithm, Vec<&str>)> {
    let known = integrity.split_ascii_whitespace().filter_map(|word| {
        let (name, rest) = word.split_once('-')?;
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| name.eq_ignore_ascii_case(algorithm.name()))?;
        let hash = rest.split('?').next().unwrap_or_default();
        is_hash(hash).then_some((algorithm, hash))
    });
    let known: Vec<(Algorithm, &str)> = known.collect();
    let best = known.iter().map(|(algorithm, _)| *algorithm).max()?;
    Some((best, known.into_iter().filter(|(algorithm, _)| *algorithm == best).map(|(_, hash)| hash).collect()))
}

/// Whether Chromium reads it as a hash: a placeholder that nobody filled in promises nothing.
fn is_hash(text: &str) -> bool {
    let plain = text.trim_end_matches('=');
    !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte))
}

/// Both alphabets are taken, with padding or without.
fn bytes_of(hash: &str) -> Option<Vec<u8>> {
    let plain: String = hash
        .trim_end_matches('=')
        .chars()
        .map(|c| {
            if c == '-' {
                '+'
            } else if c == '_' {
                '/'
            } else {
                c
            }
        })
        .collect();
    STANDARD_NO_PAD.decode(plain).ok()
}
