//! Where a deployment stands.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::Outcome;
use crate::model::Stage;
use crate::model::word::WordError;

/// What an order waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// Its turn: another deployment of the service is being carried out.
    Turn,
    /// Somebody who approves of it.
    Approval,
    /// A time at which the service may be changed.
    Window,
    /// The forge's checks of the commit.
    Checks,
    /// A host that does not answer.
    Host,
}

impl WaitsFor {
    /// Everything that an order can wait for.
    pub const ALL: [Self; 5] = [Self::Turn, Self::Approval, Self::Window, Self::Checks, Self::Host];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Approval => "approval",
            Self::Window => "window",
            Self::Checks => "checks",
            Self::Host => "host",
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is nothing that an order waits for.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = || WordError::new("What it waits for", given, "it is turn, approval, window, checks or host");
        Self::ALL.into_iter().find(|one| one.as_str() == given).ok_or_else(error)
    }
}

/// Where a deployment stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It is not carried out yet.
    Waiting {
        /// What for.
        waits_for: WaitsFor,
    },
    /// It is being carried out.
    Running {
        /// The step it is at.
        step: Stage,
    },
    /// It has ended.
    Done {
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
    },
}

impl State {
    /// The name of each, as the API and the record show it.
    pub const NAMES: [&'static str; 3] = ["waiting", "running", "done"];

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Running { .. } => "running",
            Self::Done { .. } => "done",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::State;
    use super::WaitsFor;
    use crate::model::Stage;
    use crate::model::outcome::tests::one_of_each;

    #[test]
    fn states_round_trip() {
        let mut states: Vec<State> = WaitsFor::ALL.into_iter().map(|waits_for| State::Waiting { waits_for }).collect();
        states.extend(Stage::all().map(|step| State::Running { step }));
        states.extend(one_of_each().into_iter().map(|outcome| State::Done { outcome }));
        for state in states {
            let text = serde_json::to_string(&state).unwrap_or_default();
            assert!(State::NAMES.contains(&state.name()) && text.starts_with(&format!("{{\"state\":\"{}\"", state.name())), "{text}");
            assert_eq!(serde_json::from_str::<State>(&text).ok(), Some(state), "{text}");
        }
    }

    #[test]
    fn everything_to_wait_for_has_one_text_form() {
        for one in WaitsFor::ALL {
            assert_eq!(WaitsFor::parse(one.as_str()), Ok(one));
            assert_eq!(serde_json::to_value(one).ok(), Some(serde_json::Value::from(one.as_str())));
        }
    }
}
