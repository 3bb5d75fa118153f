//! Words of datasets: their names, commits, and how a reconcile ended.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::word::WordError;
use crate::model::word::is_name;
use crate::model::word::text_form;

/// The name of a dataset, as in `[dataset.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetName(String);

impl DatasetName {
    /// Takes `given` as a dataset's name.
    ///
    /// # Errors
    /// When it is not `[a-z0-9][a-z0-9_-]{0,62}`.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        if is_name(given, 63) {
            Ok(Self(given.to_owned()))
        } else {
            Err(WordError::new("The dataset name", given, "it starts with a-z or 0-9 and has up to 63 of a-z, 0-9, _ and -"))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
text_form!(DatasetName);

/// The full object name of a commit, in lower case: 40 hex digits, 64 in a SHA-256 repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit(String);

impl Commit {
    /// Takes `given` as a commit's full name.
    ///
    /// # Errors
    /// When it is not 40 or 64 hex digits.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        if matches!(given.len(), 40 | 64) && given.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(given.to_ascii_lowercase()))
        } else {
            Err(WordError::new("The commit", given, "it is a full object name, 40 or 64 hex digits"))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
text_form!(Commit);

/// What a caller names a commit by: a full or abbreviated object name in lower case, never a ref.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommitName(String);

impl CommitName {
    /// Takes `given` as a full or abbreviated object name.
    ///
    /// # Errors
    /// When it is not 4 to 64 hex digits.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        if (4..=64).contains(&given.len()) && given.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(given.to_ascii_lowercase()))
        } else {
            Err(WordError::new("The commit", given, "it is a full or abbreviated object name, 4 to 64 hex digits"))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The commit that is meant, when the name is a full one.
    #[must_use]
    pub fn full(&self) -> Option<Commit> {
        Commit::parse(&self.0).ok()
    }
}
text_form!(CommitName);

impl From<Commit> for CommitName {
    fn from(commit: Commit) -> Self {
        Self(commit.0)
    }
}

/// How a reconcile of a dataset with its remote ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reconcile {
    /// Both were the same.
    InSync,
    /// The remote was ahead; the checkout followed.
    FastForwarded,
    /// Local commits were pushed unchanged.
    Pushed,
    /// Local commits were rebased onto the remote's and pushed.
    Rebased,
    /// Local work conflicted with the remote: it is parked on a branch of its own, and the checkout follows the remote.
    ConflictParked,
    /// The remote's history was rewritten; the checkout followed, and nothing of the old one came back.
    FollowedRewrite,
    /// The remote answers but has no such branch; nothing was touched.
    RemoteBranchMissing,
    /// The remote could not be reached; the local data stays in service.
    FetchFailed,
    /// The remote refused what was pushed.
    PushRefused,
    /// The remote could be read, but a push failed; it will be tried again.
    PushFailed,
}

impl Reconcile {
    /// Every outcome, for metrics that show zero before the first.
    pub const ALL: [Self; 10] = [
        Self::InSync,
        Self::FastForwarded,
        Self::Pushed,
        Self::Rebased,
        Self::ConflictParked,
        Self::FollowedRewrite,
        Self::RemoteBranchMissing,
        Self::FetchFailed,
        Self::PushRefused,
        Self::PushFailed,
    ];

    /// What stands in the place of an outcome when nothing could be done with a dataset at all.
    pub const UNUSABLE: &'static str = "unusable";

    /// Reads what is recorded of a reload: an outcome's text form, or [`Reconcile::UNUSABLE`].
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse_outcome(given: &str) -> Result<&'static str, WordError> {
        let mut names = Self::ALL.into_iter().map(Self::as_str).chain([Self::UNUSABLE]);
        names
            .find(|name| *name == given)
            .ok_or_else(|| WordError::new("The outcome", given, "it is one of the outcomes of a reload in docs/data.md"))
    }

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "in-sync",
            Self::FastForwarded => "fast-forwarded",
            Self::Pushed => "pushed",
            Self::Rebased => "rebased",
            Self::ConflictParked => "conflict-parked",
            Self::FollowedRewrite => "followed-rewrite",
            Self::RemoteBranchMissing => "remote-branch-missing",
            Self::FetchFailed => "fetch-failed",
            Self::PushRefused => "push-refused",
            Self::PushFailed => "push-failed",
        }
    }
}

impl std::fmt::Display for Reconcile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Commit;
    use super::CommitName;
    use super::Reconcile;

    #[test]
    fn outcomes_have_one_text_form() {
        for outcome in Reconcile::ALL {
            let text = serde_json::to_string(&outcome).unwrap_or_default();
            assert_eq!(text, format!("\"{outcome}\""));
            assert_eq!(serde_json::from_str::<Reconcile>(&text).ok(), Some(outcome));
        }
    }

    #[test]
    fn commits_are_object_names_and_never_refs() {
        let full = "0123456789ABCDEF0123456789abcdef01234567";
        assert_eq!(Commit::parse(full).map(|c| c.to_string()), Ok(full.to_ascii_lowercase()));
        for bad in ["", "main", "HEAD", "012345", "refs/heads/dead", &"a".repeat(41), &"a".repeat(65), "0123\n", &"a".repeat(1 << 20)] {
            assert!(Commit::parse(bad).is_err(), "{bad:.80}");
        }
        assert_eq!(CommitName::parse("BEEF").map(|c| c.to_string()), Ok("beef".to_owned()));
        for bad in ["", "bee", "HEAD", "beef~1", "beef^{tree}", "beef..", &"a".repeat(65)] {
            assert!(CommitName::parse(bad).is_err(), "{bad}");
        }
    }
}
