//! The steps of the story, each with one name everywhere.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::word::WordError;

/// A step of a deployment. The undo story has its own names, so a line of the journal says which way things go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Guards are asked and what runs now is looked at.
    Guards,
    /// Tag to digest at the registry, platform checked.
    Resolve,
    /// Everything that can be known before anything changes.
    Preflight,
    /// The `before` hook.
    BeforeHook,
    /// Images are pulled.
    Pull,
    /// The pin is written.
    Pin,
    /// `docker compose up`.
    Up,
    /// Containers become healthy.
    Health,
    /// The public page is looked at.
    Smoke,
    /// The `after` hook.
    AfterHook,
    /// Undo: the previous pin is written.
    UndoPin,
    /// Undo: the `undo` hook and `docker compose up`.
    UndoUp,
    /// Undo: wait for healthy containers.
    UndoHealth,
    /// Undo: the public page is looked at.
    UndoSmoke,
}

impl Step {
    /// Every step, in the order of the story and then of the undo.
    pub const ALL: [Self; 14] = [
        Self::Guards,
        Self::Resolve,
        Self::Preflight,
        Self::BeforeHook,
        Self::Pull,
        Self::Pin,
        Self::Up,
        Self::Health,
        Self::Smoke,
        Self::AfterHook,
        Self::UndoPin,
        Self::UndoUp,
        Self::UndoHealth,
        Self::UndoSmoke,
    ];

    /// The text form, as the API, the journal and the metrics show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guards => "guards",
            Self::Resolve => "resolve",
            Self::Preflight => "preflight",
            Self::BeforeHook => "before_hook",
            Self::Pull => "pull",
            Self::Pin => "pin",
            Self::Up => "up",
            Self::Health => "health",
            Self::Smoke => "smoke",
            Self::AfterHook => "after_hook",
            Self::UndoPin => "undo_pin",
            Self::UndoUp => "undo_up",
            Self::UndoHealth => "undo_health",
            Self::UndoSmoke => "undo_smoke",
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is no step's name.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        Self::ALL
            .into_iter()
            .find(|step| step.as_str() == given)
            .ok_or_else(|| WordError::new("The step", given, "it is one of the step names in docs/architecture.md"))
    }

    /// Whether something on the host may have changed once this step has begun.
    #[must_use]
    pub fn changes_the_host(self) -> bool {
        self >= Self::Pin
    }

    /// Whether this is a step of the undo.
    #[must_use]
    pub fn is_undo(self) -> bool {
        self >= Self::UndoPin
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn every_step_has_one_text_form() {
        for step in Step::ALL {
            assert_eq!(Step::parse(step.as_str()), Ok(step));
            assert_eq!(serde_json::to_value(step).ok(), Some(serde_json::Value::from(step.as_str())));
        }
    }
}
