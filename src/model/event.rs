//! What happened that people may want to hear of.

use std::fmt;

use sha2::Digest as _;
use sha2::Sha256;

use crate::model::ServiceName;
use crate::model::word::WordError;

/// What kind of thing happened. Each word stands in the configuration, the API and the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A release did not land: nothing was changed, or the service is left as it is and needs a person.
    Failed,
    /// The previous release serves again: tagalong went back to it, or somebody ordered that.
    RolledBack,
    /// The first release that is live after one that was not.
    Recovered,
    /// A release is live.
    Live,
    /// A guard refused an order.
    Refused,
    /// An order waits for somebody's approval.
    ApprovalWanted,
    /// An order was approved.
    ApprovalGiven,
    /// Nobody approved an order in time, or somebody declined it.
    ApprovalExpired,
    /// Something is wrong with a service that nobody has ordered anything of.
    IncidentOpened,
    /// It is well again.
    IncidentClosed,
    /// Data that conflicts was put aside and waits for a person.
    Parked,
    /// Something could not be told to somebody else for a long time.
    Debt,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Failed,
        Self::RolledBack,
        Self::Recovered,
        Self::Live,
        Self::Refused,
        Self::ApprovalWanted,
        Self::ApprovalGiven,
        Self::ApprovalExpired,
        Self::IncidentOpened,
        Self::IncidentClosed,
        Self::Parked,
        Self::Debt,
    ];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Recovered => "recovered",
            Self::Live => "live",
            Self::Refused => "refused",
            Self::ApprovalWanted => "approval_wanted",
            Self::ApprovalGiven => "approval_given",
            Self::ApprovalExpired => "approval_expired",
            Self::IncidentOpened => "incident_opened",
            Self::IncidentClosed => "incident_closed",
            Self::Parked => "parked",
            Self::Debt => "debt",
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is no kind of event.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let allowed = "it is failed, rolled_back, recovered, live, refused, approval_wanted, approval_given, approval_expired, \
             incident_opened, incident_closed, parked or debt";
        Self::ALL.into_iter().find(|kind| kind.as_str() == given).ok_or_else(|| WordError::new("The event", given, allowed))
    }

    /// Whether people hear of it who have not said what they want to hear of: what went as it should is not news to all, and whoever
    /// gave an order that was refused knows it already.
    #[must_use]
    pub fn is_news(self) -> bool {
        !matches!(self, Self::Live | Self::Refused)
    }

    /// Whether something is wrong that was not before.
    #[must_use]
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::RolledBack | Self::IncidentOpened | Self::Parked | Self::Debt)
    }
}

/// Which event: there is one of each kind about each thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventName {
    /// Its kind.
    pub kind: EventKind,
    /// What it is about: the id of a deployment or an incident, the name of a dataset with a branch.
    pub of: String,
}

impl EventName {
    /// Reads the text form that [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// When it is not a kind and, behind a space, what it is about.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = || WordError::new("The event", given, "it is a kind of event and what it is about");
        let (kind, of) = given.split_once(' ').filter(|(_, of)| !of.is_empty()).ok_or_else(error)?;
        Ok(Self { kind: EventKind::parse(kind)?, of: of.to_owned() })
    }

    /// A word by which receivers know the event again, however often they are told: letters, digits and `_` alone.
    #[must_use]
    pub fn id(&self) -> String {
        format!("evt_{}", &text::hex(&Sha256::digest(self.to_string()))[..32])
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.of)
    }
}

/// Something that happened, with what a person needs to know of it. No secret and no code stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which one; who records it again records nothing.
    pub name: EventName,
    /// The service that it is about; none: it is about no single one.
    pub service: Option<ServiceName>,
    /// When (ms since 1970, UTC).
    pub at_ms: i64,
    /// What happened, and to what: one sentence.
    pub what: String,
    /// Why; empty: that is said already.
    pub why: String,
    /// The one command to run next, if there is one.
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::EventKind;
    use super::EventName;

    #[test]
    fn events_are_named_by_one_text_form() {
        for kind in EventKind::ALL {
            let name = EventName { kind, of: "01J0 a b".to_owned() };
            assert_eq!(EventName::parse(&name.to_string()), Ok(name.clone()));
            let id = name.id();
            assert!(id.len() == 36 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{id}");
        }
        for wrong in ["", "failed", "failed ", "fine 01J0", " x"] {
            assert!(EventName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
