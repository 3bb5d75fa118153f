//! What can be at fault.

/// What kind of thing was at fault when a release did not land, or did not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A container of the release does not become good.
    Container,
    /// The engine or its host.
    Engine,
    /// The repository of the stack's files.
    Files,
    /// A hook of the service.
    Hook,
    /// An image that is not to be had.
    Image,
    /// The page from outside.
    Page,
    /// The registry.
    Registry,
    /// tagalong's own record or its lock.
    Tagalong,
}

impl FaultKind {
    /// The text form, as the log and the metrics show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Engine => "engine",
            Self::Files => "files",
            Self::Hook => "hook",
            Self::Image => "image",
            Self::Page => "page",
            Self::Registry => "registry",
            Self::Tagalong => "tagalong",
        }
    }
}
