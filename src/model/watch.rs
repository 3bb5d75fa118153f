//! Words of looks: how a watch stands, what a look saw, and what was found wrong.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::word::WordError;
use crate::model::word::text_form;

/// How the watch over a release stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WatchState {
    /// It is looked at.
    Watching,
    /// Its time is over, and nothing was found wrong with the release.
    Passed,
    /// Something was found wrong with the release, and an order to go back was placed.
    WentBack,
    /// Something was found wrong with the release, and it was left for a person.
    Left,
    /// Something else is live by now, or somebody has changed the stack by hand.
    Overtaken,
}

impl WatchState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Watching, Self::Passed, Self::WentBack, Self::Left, Self::Overtaken];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Watching => "watching",
            Self::Passed => "passed",
            Self::WentBack => "went_back",
            Self::Left => "left",
            Self::Overtaken => "overtaken",
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is no state.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = || WordError::new("The state of the watch", given, "it is watching, passed, went_back, left or overtaken");
        // What earlier versions wrote.
        let given = if given == "held" { "passed" } else { given };
        Self::ALL.into_iter().find(|state| state.as_str() == given).ok_or_else(error)
    }
}

/// What a look has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LookResult {
    /// Nothing is wrong.
    Good,
    /// Something is.
    Bad,
    /// Nothing could be seen: the network or Docker was away.
    Blind,
}

impl LookResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Good, Self::Bad, Self::Blind];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Blind => "blind",
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is no result.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = || WordError::new("The result of the look", given, "it is good, bad or blind");
        Self::ALL.into_iter().find(|result| result.as_str() == given).ok_or_else(error)
    }
}

/// What an incident is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// The page has a finding that fails the check.
    Page,
    /// The page's certificate runs out.
    Certificate,
    /// A container does not run as it should, or is gone.
    Container,
    /// Something else runs or is pinned than what is live in the record.
    Drift,
    /// A release that is watched does not hold, and a person has to decide.
    Watch,
}

impl IncidentKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Page, Self::Certificate, Self::Container, Self::Drift, Self::Watch];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Certificate => "certificate",
            Self::Container => "container",
            Self::Drift => "drift",
            Self::Watch => "watch",
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is no kind of incident.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = || WordError::new("The kind of the incident", given, "it is page, certificate, container, drift or watch");
        Self::ALL.into_iter().find(|kind| kind.as_str() == given).ok_or_else(error)
    }
}

/// The reference of an incident: a ULID in upper case, so references sort by the time at which they were opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IncidentId(String);

impl IncidentId {
    /// The reference made of a time (ms since 1970, UTC) and 80 random bits.
    #[must_use]
    pub fn from_parts(at_ms: u64, random: u128) -> Self {
        Self(ulid::Ulid::from_parts(at_ms, random).to_string())
    }

    /// Takes `given` as a reference; lower case is taken as upper case.
    ///
    /// # Errors
    /// When it is not a ULID.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = |_| WordError::new("The incident", given, "it is a ULID of 26 characters, as `tagalong incidents` shows it");
        ulid::Ulid::from_string(&given.to_ascii_uppercase()).map(|id| Self(id.to_string())).map_err(error)
    }

    /// The reference as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
text_form!(IncidentId);

#[cfg(test)]
mod tests {
    use super::IncidentId;
    use super::IncidentKind;
    use super::LookResult;
    use super::WatchState;

    #[test]
    fn every_word_reads_back() {
        assert!(WatchState::ALL.into_iter().all(|state| WatchState::parse(state.as_str()) == Ok(state)));
        assert!(LookResult::ALL.into_iter().all(|result| LookResult::parse(result.as_str()) == Ok(result)));
        assert!(IncidentKind::ALL.into_iter().all(|kind| IncidentKind::parse(kind.as_str()) == Ok(kind)));
        let id = IncidentId::from_parts(1, 2);
        assert_eq!(IncidentId::parse(&id.as_str().to_lowercase()), Ok(id));
        assert!(WatchState::parse("").is_err() && LookResult::parse("x").is_err() && IncidentKind::parse("x").is_err());
        assert!(IncidentId::parse("x").is_err());
    }
}
