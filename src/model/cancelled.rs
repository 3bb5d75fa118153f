//! Who stops a deployment.

use std::borrow::Cow;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;

use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::word::WordError;

/// Who or what cancelled a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelledBy {
    /// An operator's rollback took over.
    Rollback(DeploymentId),
    /// Somebody asked for it.
    Caller(Caller),
    /// Whoever ordered it: a job that was cancelled, or somebody whose name is not known.
    Nameless,
}

impl CancelledBy {
    /// `caller`, as far as a record of it can name them in words that the version before can read: a job can cancel only what its own run
    /// ordered, and who the user was stands in the audit trail.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        match caller {
            Caller::Oidc(_) | Caller::User(_) | Caller::Of(_) => Self::Nameless,
            other => Self::Caller(other.clone()),
        }
    }

    /// Reads the text form that [`Display`](std::fmt::Display) writes.
    ///
    /// # Errors
    /// When it is neither a rollback's nor a caller's.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        match given.strip_prefix("rollback ") {
            Some(id) => DeploymentId::parse(id).map(Self::Rollback),
            None if given == "its caller" => Ok(Self::Nameless),
            None => Caller::parse(given).map(Self::Caller),
        }
    }
}

impl std::fmt::Display for CancelledBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rollback(id) => write!(f, "rollback {id}"),
            Self::Caller(caller) => caller.fmt(f),
            Self::Nameless => f.write_str("its caller"),
        }
    }
}

impl Serialize for CancelledBy {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CancelledBy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for CancelledBy {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        <String as utoipa::PartialSchema>::schema()
    }
}

impl utoipa::ToSchema for CancelledBy {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("CancelledBy")
    }
}

#[cfg(test)]
mod tests {
    use super::CancelledBy;
    use crate::model::Caller;
    use crate::model::DeploymentId;

    #[test]
    fn whoever_stops_has_one_text_form() {
        let rollback = CancelledBy::Rollback(DeploymentId::from_parts(1, 2));
        for by in [rollback, CancelledBy::Caller(Caller::Local(0)), CancelledBy::Nameless] {
            assert_eq!(CancelledBy::parse(&by.to_string()).ok(), Some(by.clone()));
            assert_eq!(serde_json::to_value(&by).ok(), Some(serde_json::Value::from(by.to_string())));
        }
        for bad in ["", "rollback", "rollback x", "somebody"] {
            assert!(CancelledBy::parse(bad).is_err(), "{bad}");
        }
    }
}
