//! Ids that we give.

use crate::model::word::WordError;
use crate::model::word::text_form;

/// The id of a deployment: a ULID in upper case (26 characters), so ids sort by the time of their order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeploymentId(String);

impl DeploymentId {
    /// The id made of a time (ms since 1970, UTC) and 80 random bits.
    #[must_use]
    pub fn from_parts(at_ms: u64, random: u128) -> Self {
        Self(ulid::Ulid::from_parts(at_ms, random).to_string())
    }

    /// Takes `given` as an id; lower case is taken as upper case.
    ///
    /// # Errors
    /// When it is not a ULID.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = |_| WordError::new("The deployment id", given, "it is a ULID of 26 characters, as `tagalong history` shows it");
        ulid::Ulid::from_string(&given.to_ascii_uppercase()).map(|id| Self(id.to_string())).map_err(error)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
text_form!(DeploymentId);
