//! Keys by which agents and control planes know each other, and what names a machine.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::word::WordError;
use crate::model::word::text_form;

/// A public key (ed25519). Its text form is base64 without padding, safe in addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey {
    bytes: [u8; 32],
    text: String,
}

impl PublicKey {
    /// The key of these bytes.
    #[must_use]
    pub fn of(bytes: [u8; 32]) -> Self {
        Self { bytes, text: URL_SAFE_NO_PAD.encode(bytes) }
    }

    /// Takes `given` as a key.
    ///
    /// # Errors
    /// When it is not the base64 of 32 bytes.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let bytes = URL_SAFE_NO_PAD.decode(given).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(Self::of).ok_or_else(|| WordError::new("The public key", given, "it is 43 characters of base64 without padding"))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}
text_form!(PublicKey);

/// What names a machine: 32 lower-case hex digits that are made from the machine's own id and do not reveal it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineId(String);

impl MachineId {
    /// The id of these bytes.
    #[must_use]
    pub fn of(bytes: [u8; 16]) -> Self {
        Self(text::hex(&bytes))
    }

    /// Takes `given` as the id of a machine.
    ///
    /// # Errors
    /// When it is not 32 lower-case hex digits.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        if given.len() == 32 && given.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(given.to_owned()))
        } else {
            Err(WordError::new("The machine id", given, "it is 32 lower-case hex digits"))
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
text_form!(MachineId);

#[cfg(test)]
mod tests {
    use super::MachineId;
    use super::PublicKey;

    #[test]
    fn keys_and_machine_ids_read_back_and_nothing_else_is_one() {
        let key = PublicKey::of([7; 32]);
        assert_eq!(PublicKey::parse(key.as_str()), Ok(key.clone()));
        for bad in ["", "AAAA", &format!("{key}="), &key.as_str()[1..], &"*".repeat(43)] {
            assert!(PublicKey::parse(bad).is_err(), "{bad}");
        }
        assert!(MachineId::parse(&"0f".repeat(16)).is_ok());
        for bad in ["", &"0F".repeat(16), &"0f".repeat(15), &"zz".repeat(16)] {
            assert!(MachineId::parse(bad).is_err(), "{bad}");
        }
    }
}
