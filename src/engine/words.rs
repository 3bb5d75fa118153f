//! What an engine calls its things, for sentences that people read.

/// The words of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// Who runs the containers.
    pub name: &'static str,
    /// The program that drives a stack.
    pub program: &'static str,
    /// The command that brings a stack up.
    pub up: &'static str,
    /// The command that brings an image to the host without a registry.
    pub load: &'static str,
    /// The routine clean-up of images that nothing uses.
    pub clean_up: &'static str,
}
