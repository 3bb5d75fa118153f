//! Where secrets are kept, and how one is followed by the next.

use std::path::Path;
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

    /// The secret as it is now, and the one before it while it is rotated.
    ///
    /// # Errors
    /// One sentence, when the file cannot be read, is empty or has more than two lines.
    pub fn read_both(&self) -> Result<Rotating<Secret>, String> {
        Rotating::of_lines(self.read()?.reveal())
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Env(_) => None,
        }
    }
}

/// A secret, and while it is rotated the one before it, which is as good.
#[derive(Debug, Clone)]
pub struct Rotating<T> {
    /// The one that stays.
    pub newest: T,
    /// The one that goes when the rotation is finished.
    pub older: Option<T>,
}

impl<T: Clone> Rotating<T> {
    /// The newest alone, or the one before it, as long as there is one.
    pub(super) fn one(&self, newest: bool) -> Self {
        Self::only(self.older.as_ref().filter(|_| !newest).unwrap_or(&self.newest).clone())
    }
}

impl<T> Rotating<T> {
    /// A secret that is not rotated.
    pub fn only(newest: T) -> Self {
        Self { newest, older: None }
    }

    /// Both, the one that is known the longest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.older.iter().chain(std::iter::once(&self.newest))
    }

    /// Both, each made into something else.
    pub fn map<U>(&self, mut make: impl FnMut(&T) -> U) -> Rotating<U> {
        Rotating { older: self.older.as_ref().map(&mut make), newest: make(&self.newest) }
    }

    /// Both, each made into something else.
    ///
    /// # Errors
    /// The first that `make` has.
    pub fn try_map<U, E>(&self, mut make: impl FnMut(&T) -> Result<U, E>) -> Result<Rotating<U>, E> {
        Ok(Rotating { older: self.older.as_ref().map(&mut make).transpose()?, newest: make(&self.newest)? })
    }
}

impl Rotating<Secret> {
    /// The secrets of a text: one a line, the newest last.
    ///
    /// # Errors
    /// One sentence, when there is none or there are more than two.
    pub fn of_lines(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(|line| Secret::new(line.to_owned()));
        match (lines.next(), lines.next(), lines.next()) {
            (None, ..) => Err("the secret is empty.".to_owned()),
            (Some(newest), None, _) => Ok(Self::only(newest)),
            (Some(older), Some(newest), None) => Ok(Self { newest, older: Some(older) }),
            _ => Err("there may be two secrets at most, one a line, the newest last.".to_owned()),
        }
    }

    /// As [`Rotating::of_lines`] reads them.
    #[must_use]
    pub fn lines(&self) -> Secret {
        Secret::new(self.iter().flat_map(|secret| [secret.reveal(), "\n"]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Rotating;

    #[test]
    fn one_or_two_lines_are_read_and_written_the_same() {
        for (text, lines) in [("a", "a\n"), ("a\r\nb", "a\nb\n"), ("\na\n\nb\n\n", "a\nb\n")] {
            let both = Rotating::of_lines(text).expect("it holds");
            assert_eq!(both.lines().reveal(), lines);
            assert!(text.trim_end().ends_with(both.newest.reveal()));
        }
        for text in ["", "\n", "a\nb\nc"] {
            assert!(Rotating::of_lines(text).is_err(), "{text:?}");
        }
    }
}
