//! What a service asks of its stack.

use std::collections::BTreeMap;

use crate::name::RuleName;

/// What becomes of what a rule finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Nothing: the rule is not asked.
    Off,
    /// It is noted.
    #[default]
    Note,
    /// It is a warning.
    Warn,
    /// Nothing is deployed.
    Refuse,
}

impl Level {
    /// Every level, from the least on.
    pub const ALL: [Self; 4] = [Self::Off, Self::Note, Self::Warn, Self::Refuse];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Refuse => "refuse",
        }
    }
}

/// What a service asks of its stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The levels that are set; the others are [`Level::Note`].
    pub levels: BTreeMap<RuleName, Level>,
    /// Folders of the host, absolute, that may be mounted with all that is in them.
    pub folders: Vec<String>,
    /// Repositories of images, and what all of theirs begin with, that may be used beside the pinned ones; empty: any.
    pub repositories: Vec<String>,
    /// Labels that every service must have.
    pub labels: Vec<String>,
    /// Ports of the host that may be published.
    pub ports: Vec<u16>,
    /// Capabilities that may be added, without the `CAP_` in front.
    pub capabilities: Vec<String>,
}

impl Policy {
    /// The level of a rule.
    #[must_use]
    pub fn level(&self, rule: RuleName) -> Level {
        self.levels.get(&rule).copied().unwrap_or_default()
    }

    /// The rules whose findings refuse an order.
    pub fn refusing(&self) -> impl Iterator<Item = RuleName> {
        RuleName::all().filter(|rule| self.level(*rule) == Level::Refuse)
    }
}
