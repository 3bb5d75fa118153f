//! What a rule is known by.

/// The name of a rule of the catalogue, by its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName(pub(crate) usize);
