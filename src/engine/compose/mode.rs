//! Where a pin is stored.

/// How the pin is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinMode {
    /// A variable in `.env`.
    Env,
    /// A generated override file.
    Override,
}

impl PinMode {
    /// `env` or `override`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::Override => "override",
        }
    }
}
