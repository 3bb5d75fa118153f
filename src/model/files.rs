//! The files of a stack that a repository keeps, as values: what they are called, what is in them, and what tells two contents
//! apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use sha2::Digest as _;
use text::misleads;

use crate::model::word::WordError;
use crate::model::word::text_form;

/// The full object name of a git tree, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tree(String);

impl Tree {
    /// Takes `given` as a tree's full name.
    ///
    /// # Errors
    /// When it is not 40 or 64 hex digits.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        if is_object(given) {
            Ok(Self(given.to_ascii_lowercase()))
        } else {
            Err(WordError::new("The tree", given, "it is a full object name, 40 or 64 hex digits"))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
text_form!(Tree);

fn is_object(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What a file of a repository is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A file.
    Plain,
    /// A file that may be run.
    Program,
    /// A symbolic link; its content is where it leads.
    Link,
}

impl FileKind {
    /// As git writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "100644",
            Self::Program => "100755",
            Self::Link => "120000",
        }
    }

    /// Reads what git writes; none: it is something else than a file.
    #[must_use]
    pub fn parse(given: &str) -> Option<Self> {
        [Self::Plain, Self::Program, Self::Link].into_iter().find(|kind| kind.as_str() == given)
    }
}

/// A file's kind and the name that git has for its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mark {
    /// What it is.
    pub kind: FileKind,
    /// The name of the blob.
    pub blob: String,
}

impl Mark {
    /// The mark of `bytes` in a repository whose object names have so many hex `digits`.
    #[must_use]
    pub fn of(kind: FileKind, bytes: &[u8], digits: usize) -> Self {
        let head = format!("blob {}\0", bytes.len());
        let blob = if digits == 64 {
            text::hex(&sha2::Sha256::new().chain_update(head).chain_update(bytes).finalize())
        } else {
            text::hex(&sha1::Sha1::new().chain_update(head).chain_update(bytes).finalize())
        };
        Self { kind, blob }
    }

    /// Whether both have the same content. The right to be run is not part of it: many file systems give it to every file.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.blob == other.blob && (self.kind == FileKind::Link) == (other.kind == FileKind::Link)
    }
}

impl TryFrom<String> for Mark {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.split_once(' ').and_then(|(kind, blob)| Some((FileKind::parse(kind)?, blob)));
        match parsed {
            Some((kind, blob)) if is_object(blob) => Ok(Self { kind, blob: blob.to_owned() }),
            _ => Err(format!("\"{}\" is not the mark of a file", text.escape_default())),
        }
    }
}

impl From<Mark> for String {
    fn from(mark: Mark) -> Self {
        format!("{} {}", mark.kind.as_str(), mark.blob)
    }
}

/// Marks of files, by their paths from the stack's folder.
pub type Marks = BTreeMap<String, Mark>;

/// A file with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackFile {
    /// Its kind and the name of its content.
    pub mark: Mark,
    /// Its content.
    pub bytes: Arc<[u8]>,
}

/// The files that a stack has from its repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StackFiles {
    /// Where they come from, for people: the beginning of a commit's name, where it is known.
    pub from: Option<String>,
    /// The tree that they are; none: they are no tree of the repository.
    pub tree: Option<Tree>,
    /// By their paths from the stack's folder.
    pub files: BTreeMap<String, StackFile>,
}

impl StackFiles {
    /// The same without their contents.
    #[must_use]
    pub fn laid(&self) -> LaidFiles {
        let files = self.files.iter().map(|(path, file)| (path.clone(), file.mark.clone())).collect();
        LaidFiles { from: self.from.clone(), tree: self.tree.clone(), files }
    }
}

/// [`StackFiles`] without their contents, as they are remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LaidFiles {
    /// Where they come from, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The tree that they are; none: they are no tree of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Tree>,
    /// By their paths from the stack's folder.
    pub files: Marks,
}

impl LaidFiles {
    /// Whether both have the same files with the same contents.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let has = |path: &String, mark: &Mark| other.files.get(path).is_some_and(|it| it.is_same_as(mark) && it.kind == mark.kind);
        self.files.len() == other.files.len() && self.files.iter().all(|(path, mark)| has(path, mark))
    }

    /// The paths at which they differ.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<String> {
        let differs = |path: &&String| match (self.files.get(*path), other.files.get(*path)) {
            (Some(one), Some(other)) => !one.is_same_as(other),
            _ => true,
        };
        let all: std::collections::BTreeSet<&String> = self.files.keys().chain(other.files.keys()).collect();
        all.into_iter().filter(differs).cloned().collect()
    }
}

/// Why `path` cannot be the name of a file in a stack's folder; none: it can.
#[must_use]
pub fn wrong_path(path: &str) -> Option<&'static str> {
    const LONGEST: usize = 1000;
    match path {
        _ if path.is_empty() || path.len() > LONGEST => Some("its name is empty or too long"),
        _ if path.contains('\\') || path.chars().any(misleads) => Some("its name has characters that mislead"),
        _ if path.split('/').any(|part| matches!(part, "" | "." | "..")) => Some("its name leads out of the folder"),
        _ if path.split('/').any(|part| part.eq_ignore_ascii_case(".git")) => Some("nothing called .git belongs there"),
        _ => None,
    }
}

/// Whether the link at `path` leads to something in the same folder and not to that folder itself, whatever other links there are in it: first up, not further than
/// the folder, then down.
#[must_use]
pub fn link_stays(path: &str, target: &str) -> bool {
    let depth = path.split('/').count() - 1;
    let parts: Vec<&str> = target.split('/').collect();
    let ups = parts.iter().take_while(|part| **part == "..").count();
    let is_down = |part: &&str| !matches!(*part, "" | "..") && !part.eq_ignore_ascii_case(".git");
    let is_whole_folder = ups == depth && parts[ups..].iter().all(|part| *part == ".");
    ups <= depth && !is_whole_folder && parts[ups..].iter().all(is_down) && !target.chars().any(misleads)
}

#[cfg(test)]
mod tests {
    use super::FileKind;
    use super::Mark;
    use super::link_stays;
    use super::wrong_path;

    #[test]
    fn contents_have_the_names_that_git_gives_them() {
        let of = |digits| Mark::of(FileKind::Plain, b"hello\n", digits).blob;
        assert_eq!(of(40), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(of(64), "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4");
        let mark = Mark::of(FileKind::Program, b"", 40);
        assert_eq!(Mark::try_from(String::from(mark.clone())), Ok(mark.clone()));
        assert!(mark.is_same_as(&Mark { kind: FileKind::Plain, ..mark.clone() }));
        assert!(!mark.is_same_as(&Mark { kind: FileKind::Link, ..mark.clone() }));
        assert!(Mark::try_from("100644 ../x".to_owned()).is_err() && Mark::try_from(format!("160000 {}", mark.blob)).is_err());
    }

    #[test]
    fn paths_and_links_stay_in_the_folder() {
        for good in ["compose.yaml", "conf/web.conf", "a b/ä", "..x", "x..", ".gitignore"] {
            assert_eq!(wrong_path(good), None, "{good}");
        }
        for bad in ["", "/etc/passwd", "../x", "a/../x", "a//b", "./a", ".git/config", "sub/.GIT/hooks/x", "a\\b", "a\u{202e}b", "a\nb"] {
            assert!(wrong_path(bad).is_some(), "{bad:?}");
        }
        for (path, target) in [("a", "b"), ("a/b", "../c"), ("a/b", "c/d"), ("a/b/c", "../../d"), ("a", "./b")] {
            assert!(link_stays(path, target), "{path} {target}");
        }
        // What goes down first may go through another link, and up again from there.
        for (path, target) in [
            ("a", "/etc"),
            ("a", "../b"),
            ("a", "b/../c"),
            ("a/b", "../../c"),
            ("a", ""),
            ("a", "b//c"),
            ("a", ".git"),
            ("a", "."),
            ("a", "./."),
            ("a/b", ".."),
            ("a/b", "../."),
        ] {
            assert!(!link_stays(path, target), "{path} {target}");
        }
    }
}
