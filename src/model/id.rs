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

    /// `fresh`, or where it would not sort behind `last` the id next to `last`: orders of one moment, or of a clock that was set
    /// back, keep the order in which they came.
    #[must_use]
    pub fn after(last: Option<&Self>, fresh: Self) -> Self {
        let next = last.filter(|last| **last >= fresh).and_then(|last| ulid::Ulid::from_string(&last.0).ok());
        next.and_then(|last| last.0.checked_add(1)).map_or(fresh, |next| Self(ulid::Ulid(next).to_string()))
    }

    /// The id of the part `number` (1 or more) of this one: it sorts behind it, and before the ids of every later moment.
    #[must_use]
    pub fn part(&self, number: u32) -> Self {
        let own = ulid::Ulid::from_string(&self.0).unwrap_or_default();
        Self(ulid::Ulid(own.0.saturating_add(u128::from(number) << 40)).to_string())
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

#[cfg(test)]
mod tests {
    use super::DeploymentId;

    #[test]
    fn the_next_id_sorts_behind_the_last_whatever_the_clock_says() {
        let last = DeploymentId::from_parts(2000, u128::MAX);
        let earlier = DeploymentId::from_parts(1000, 7);
        let next = DeploymentId::after(Some(&last), earlier.clone());
        assert!(next > last, "{next}");
        assert_eq!(DeploymentId::after(Some(&earlier), last.clone()), last);
        assert_eq!(DeploymentId::after(Some(&last), last.clone()), next);
        assert_eq!(DeploymentId::after(None, earlier.clone()), earlier);
    }

    #[test]
    fn a_part_sorts_behind_its_whole_and_before_what_comes_later() {
        let whole = DeploymentId::from_parts(1000, 7);
        let parts = [whole.part(1), whole.part(2), whole.part(1000)];
        assert!(parts.is_sorted() && parts[0] > whole && parts[2] < DeploymentId::from_parts(1001, 0), "{parts:?}");
        assert!(parts[0] > DeploymentId::after(Some(&whole), whole.clone()));
    }
}
