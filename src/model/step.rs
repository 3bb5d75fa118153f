//! The steps of the story, each with one name everywhere.

/// A step of the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    /// What is pinned is brought up.
    Up,
    /// Containers become healthy.
    Health,
    /// The public page is looked at.
    Smoke,
    /// The `after` hook.
    AfterHook,
}

impl Step {
    /// Every step, in the order of the story.
    pub const ALL: [Self; 10] = [
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
    ];

    /// The text form.
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
        }
    }
}
