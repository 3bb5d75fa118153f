//! Where secrets are kept.

use std::path::PathBuf;

use text::Secret;

/// Where a secret is kept: it is read again for each use, so that one that was rotated counts without a restart.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// In this file; line ends behind it do not count.
    File(PathBuf),
    /// In the environment, which does not change while a process lives.
    Env(Secret),
}

impl SecretSource {
    /// The secret as it is now.
    ///
    /// # Errors
    /// One sentence, when the file cannot be read or is empty.
    pub fn read(&self) -> Result<Secret, String> {
        match self {
            Self::Env(secret) => Ok(secret.clone()),
            Self::File(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}.", file.display()))?;
                let text = text.trim_end_matches(['\r', '\n']);
                if text.is_empty() { Err(format!("{} is empty.", file.display())) } else { Ok(Secret::new(text.to_owned())) }
            }
        }
    }
}
