//! Public keys of issuers, and the algorithms that they are used with. All of them are asymmetric, and each goes with one kind of key:
//! what the token's header says never decides how a key is used.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature;
use serde_json::Map;
use serde_json::Value;

/// How a token is signed (RFC 7518, 3.1; RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    const ALL: [(&'static str, Self); 6] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }
}

/// A key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: String,
    /// The only algorithm that it is for, if the issuer says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A shorter modulus is no protection any more.
const SHORTEST_RSA_BITS: usize = 2048;

impl PublicKey {
    /// The key that `jwk` is (RFC 7517).
    ///
    /// # Errors
    /// Why it is not used.
    pub(super) fn parse(jwk: &Map<String, Value>) -> Result<Self, &'static str> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok());
        let id = text("kid").filter(|id| !id.is_empty()).ok_or("it has no kid")?;
        if text("use").is_some_and(|what| what != "sig") {
            return Err("it is not for signatures");
        }
        if jwk.get("key_ops").and_then(Value::as_array).is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err("it is not for verifying");
        }
        let algorithm = match text("alg") {
            Some(name) => Some(Algorithm::parse(name).ok_or("it is for another algorithm")?),
            None => None,
        };
        let point = |length: usize| {
            let whole = |name| bytes(name).filter(|bytes| bytes.len() == length);
            Some([&[4], whole("x")?.as_slice(), whole("y")?.as_slice()].concat())
        };
        let material = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => rsa(bytes("n"), bytes("e"))?,
            (Some("EC"), Some("P-256")) => Material::P256(point(32).ok_or("it is no point of its curve")?),
            (Some("EC"), Some("P-384")) => Material::P384(point(48).ok_or("it is no point of its curve")?),
            (Some("OKP"), Some("Ed25519")) => Material::Ed25519(bytes("x").filter(|x| x.len() == 32).ok_or("it is no point of its curve")?),
            _ => return Err("it is of another kind"),
        };
        Ok(Self { id: id.to_owned(), algorithm, material })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether it made `signature` over `message` with `algorithm`.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if self.algorithm.is_some_and(|only| only != algorithm) {
            return false;
        }
        let rsa = |modulus: &[u8], exponent: &[u8], how| {
            signature::RsaPublicKeyComponents { n: modulus, e: exponent }.verify(how, message, signature).is_ok()
        };
        let other = |point: &[u8], how: &'static dyn signature::VerificationAlgorithm| {
            signature::UnparsedPublicKey::new(how, point).verify(message, signature).is_ok()
        };
        match (&self.material, algorithm) {
            (Material::Rsa { modulus, exponent }, Algorithm::Rs256) => rsa(modulus, exponent, &signature::RSA_PKCS1_2048_8192_SHA256),
            (Material::Rsa { modulus, exponent }, Algorithm::Rs384) => rsa(modulus, exponent, &signature::RSA_PKCS1_2048_8192_SHA384),
            (Material::Rsa { modulus, exponent }, Algorithm::Rs512) => rsa(modulus, exponent, &signature::RSA_PKCS1_2048_8192_SHA512),
            (Material::P256(point), Algorithm::Es256) => other(point, &signature::ECDSA_P256_SHA256_FIXED),
            (Material::P384(point), Algorithm::Es384) => other(point, &signature::ECDSA_P384_SHA384_FIXED),
            (Material::Ed25519(point), Algorithm::EdDsa) => other(point, &signature::ED25519),
            _ => false,
        }
    }
}

fn rsa(modulus: Option<Vec<u8>>, exponent: Option<Vec<u8>>) -> Result<Material, &'static str> {
    let stripped = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    let (Some(modulus), Some(exponent)) = (modulus.map(stripped), exponent.map(stripped)) else { return Err("its n or e is missing") };
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    if bits < SHORTEST_RSA_BITS {
        return Err("it is shorter than 2048 bits");
    }
    Ok(Material::Rsa { modulus, exponent })
}
