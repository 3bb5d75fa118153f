//! Keyed hashes by which a secret is known again without being kept.

use hmac::Hmac;
use hmac::KeyInit as _;
use hmac::Mac as _;
use sha2::Sha256;

/// HMAC-SHA256 of `secret` in hex. Whoever has it without `key` learns nothing, not even by trying all likely secrets.
#[must_use]
pub fn mark(key: &[u8], secret: &[u8]) -> String {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(secret);
    mac.finalize().into_bytes().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::mark;

    #[test]
    fn a_mark_is_of_its_secret_and_key_alone() {
        // RFC 4231, test case 2.
        let known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(mark(b"Jefe", b"what do ya want for nothing?"), known);
        assert_ne!(mark(b"jefe", b"what do ya want for nothing?"), known);
    }
}
