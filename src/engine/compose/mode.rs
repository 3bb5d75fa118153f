//! Where a pin is stored.

/// How the pin is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PinMode {
    /// A variable in `.env`.
    Env,
    /// A generated override file.
    Override,
}

impl PinMode {
    /// `env` or `override`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::Override => "override",
        }
    }
}
