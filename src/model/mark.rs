//! Keyed hashes by which a secret is known again without being kept.

use subtle::ConstantTimeEq as _;

use crate::model::webhook::keyed_hash;

/// HMAC-SHA256 of `secret` in hex. Whoever has it without `key` learns nothing, not even by trying all likely secrets.
#[must_use]
pub fn mark(key: &[u8], secret: &[u8]) -> String {
    keyed_hash(key, secret)
}

/// Whether two marks are the same; timing reveals nothing of how far they are.
#[must_use]
pub(super) fn is_same_mark(one: &str, other: &str) -> bool {
    bool::from(one.as_bytes().ct_eq(other.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::is_same_mark;
    use super::mark;

    #[test]
    fn a_mark_is_of_its_secret_and_key_alone() {
        // RFC 4231, test case 2.
        let known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(mark(b"Jefe", b"what do ya want for nothing?"), known);
        assert_ne!(mark(b"jefe", b"what do ya want for nothing?"), known);
        assert!(is_same_mark(known, known) && !is_same_mark(known, "") && !is_same_mark(known, &known[..63]));
    }
}
