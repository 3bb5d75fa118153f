//! The remotes that a checkout's configuration names: whose they are, and where they are followed.

/// Whose trace it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The remote that is followed.
    Ours,
    /// A remote for which nothing is configured.
    Unknown,
    /// A remote with another address.
    Others,
}

/// A remote in the repository's configuration.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) name: String,
    pub(super) whose: Whose,
    /// The prefix of the refs that follow its branches.
    pub(super) prefixes: Vec<String>,
}
