//! Where a deployment is: on its way, or on the way back.

use std::borrow::Cow;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::schema::Type;

use crate::model::Step;
use crate::model::word::WordError;

/// Where a deployment is. Its text is one word, so that a line of the journal says which way things go; records of every version
/// hold that word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// What was ordered is landed.
    Landing(Step),
    /// What was there before comes back.
    Unwinding(StepBack),
}

/// A step on the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepBack {
    /// The previous pin is written.
    Pin,
    /// The `undo` hook, and the previous release is brought up.
    Up,
    /// Containers become healthy.
    Health,
    /// The public page is looked at.
    Smoke,
}

impl StepBack {
    /// Every step, in their order.
    pub const ALL: [Self; 4] = [Self::Pin, Self::Up, Self::Health, Self::Smoke];
}

impl Stage {
    /// Every stage: the steps of the story, then those back.
    pub fn all() -> impl Iterator<Item = Self> {
        Step::ALL.into_iter().map(Self::Landing).chain(StepBack::ALL.into_iter().map(Self::Unwinding))
    }

    /// The text form, as the API, the journal and the metrics show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Landing(step) => step.as_str(),
            Self::Unwinding(StepBack::Pin) => "undo_pin",
            Self::Unwinding(StepBack::Up) => "undo_up",
            Self::Unwinding(StepBack::Health) => "undo_health",
            Self::Unwinding(StepBack::Smoke) => "undo_smoke",
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is no stage's name.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        Self::all()
            .find(|stage| stage.as_str() == given)
            .ok_or_else(|| WordError::new("The step", given, "it is one of the step names in docs/architecture.md"))
    }

    /// Whether something on the host may have changed once this stage has begun.
    #[must_use]
    pub fn changes_the_host(self) -> bool {
        match self {
            Self::Landing(step) => step >= Step::Pin,
            Self::Unwinding(_) => true,
        }
    }

    /// Whether what was there before comes back.
    #[must_use]
    pub fn is_unwinding(self) -> bool {
        matches!(self, Self::Unwinding(_))
    }
}

impl From<Step> for Stage {
    fn from(step: Step) -> Self {
        Self::Landing(step)
    }
}

impl From<StepBack> for Stage {
    fn from(step: StepBack) -> Self {
        Self::Unwinding(step)
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Stage {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let names = Self::all().map(Self::as_str);
        let said = "A step of a deployment. The steps of the way back have their own names (`undo_…`), so that one word says which way \
                    things go.";
        ObjectBuilder::new().schema_type(Type::String).description(Some(said)).enum_values(Some(names)).into()
    }
}

impl utoipa::ToSchema for Stage {
    /// The API knows it by the name of its field.
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Step")
    }
}

#[cfg(test)]
mod tests {
    use super::Stage;
    use super::StepBack;
    use crate::model::Step;

    #[test]
    fn every_stage_has_one_text_form() {
        for stage in Stage::all() {
            assert_eq!(Stage::parse(stage.as_str()), Ok(stage));
            let json = serde_json::to_value(stage).expect("a word");
            assert_eq!(json, serde_json::Value::from(stage.as_str()));
            assert_eq!(serde_json::from_value::<Stage>(json).ok(), Some(stage));
        }
        assert!(["", "undo", "undo_resolve", "guard"].iter().all(|bad| Stage::parse(bad).is_err()));
    }

    /// Records of earlier versions hold these words, and the version before reads them.
    #[test]
    fn the_words_of_the_record_stay() {
        let words: Vec<&str> = Stage::all().map(Stage::as_str).collect();
        let landing = ["guards", "resolve", "preflight", "before_hook", "pull", "pin", "up", "health", "smoke", "after_hook"];
        assert_eq!(words, [&landing[..], &["undo_pin", "undo_up", "undo_health", "undo_smoke"]].concat());
    }

    #[test]
    fn the_host_changes_from_the_pin_on_and_on_the_whole_way_back() {
        let changes: Vec<Stage> = Stage::all().filter(|stage| stage.changes_the_host()).collect();
        let landing = [Step::Pin, Step::Up, Step::Health, Step::Smoke, Step::AfterHook].map(Stage::from);
        assert_eq!(changes, [&landing[..], &StepBack::ALL.map(Stage::from)].concat());
    }
}
