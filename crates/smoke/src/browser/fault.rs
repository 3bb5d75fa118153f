//! Why the browser could not look at a page.

/// Why the browser could not look; a whole sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(pub(super) String);
