//! One call of a forge's API, and its answer.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::forge::error::ForgeError;
use crate::forge::error::ForgeErrorKind;

/// One call: the path begins behind the address of the API, with a `/`, and may have a query.
#[derive(Debug, Clone, Copy)]
pub enum Call<'c> {
    /// Reads.
    Get(&'c str),
    /// Makes something.
    Post(&'c str, &'c Value),
    /// Puts something in its place.
    Put(&'c str, &'c Value),
    /// Changes a part of something.
    Patch(&'c str, &'c Value),
    /// Removes something.
    Delete(&'c str),
}

impl<'c> Call<'c> {
    /// Where it goes.
    pub(super) fn path(&self) -> &'c str {
        match self {
            Self::Get(path) | Self::Post(path, _) | Self::Put(path, _) | Self::Patch(path, _) | Self::Delete(path) => path,
        }
    }
}

/// An answer of success.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status: 200 to 299.
    pub status: u16,
    /// Its JSON; null: it has no body.
    pub body: Value,
    /// Whether the list goes on behind this page.
    pub goes_on: bool,
}

impl Answer {
    /// Its body as what it should be.
    ///
    /// # Errors
    /// When it is another thing.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, ForgeError> {
        let odd = |error| ForgeError::new(ForgeErrorKind::Odd, format!("The forge's answer is not what its API describes: {error}."));
        serde_json::from_value(self.body).map_err(odd)
    }
}

/// `text` as one part of a path or a value in a query.
#[must_use]
pub fn path_part(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::path_part;

    #[test]
    fn a_part_of_a_path_stays_one() {
        assert_eq!(path_part("tagalong/web ü&?#%"), "tagalong%2Fweb%20%C3%BC%26%3F%23%25");
        assert_eq!(path_part("a-Z_0.~"), "a-Z_0.~");
    }
}
