//! The remotes that a checkout's configuration names: whose they are, and where they are followed.

/// Whose trace it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The remote's that is followed.
    Ours,
    /// A remote's that nothing is configured of.
    Unknown,
    /// That of a remote with another address.
    Others,
}

/// A remote as the repository's configuration has it.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) name: String,
    pub(super) whose: Whose,
    /// Where its branches are followed: what stands before the branch's name.
    pub(super) prefixes: Vec<String>,
}
