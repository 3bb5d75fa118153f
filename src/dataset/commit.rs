//! A commit object as bytes: which parts are kept when it is rebased, and how a new one is written.

use process::Cancel;
use sha2::Digest as _;

use crate::config;
use crate::dataset::DatasetError;
use crate::dataset::call::path_text;
use crate::dataset::git::Repo;
use crate::model::Commit;

/// A parsed commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) tree: String,
    pub(super) parents: Vec<String>,
    /// The commit time, in seconds since 1970.
    pub(super) committed_s: i64,
    /// The author's line, with its line end.
    author: Vec<u8>,
    /// Encoding and every other header that remains valid, with their line ends.
    kept: Vec<u8>,
    /// Everything after the empty line.
    message: Vec<u8>,
}

/// Headers that are no longer valid for a rewritten commit.
const DROPPED: [&[u8]; 7] = [b"tree", b"parent", b"author", b"committer", b"gpgsig", b"gpgsig-sha256", b"mergetag"];

impl Parts {
    /// Parses the output of `git cat-file commit`.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(2).position(|two| two == b"\n\n").map_or(bytes.len(), |at| at + 1);
        let mut parts = Self {
            tree: String::new(),
            parents: Vec::new(),
            committed_s: 0,
            author: Vec::new(),
            kept: Vec::new(),
            message: bytes.get(end + 1..).unwrap_or_default().to_vec(),
        };
        let mut keep = false;
        for line in bytes[..end].split_inclusive(|b| *b == b'\n') {
            // A line that begins with a space continues the previous header.
            if !line.starts_with(b" ") {
                let name = line.split(|b| *b == b' ').next().unwrap_or_default();
                keep = !DROPPED.contains(&name);
                let value = String::from_utf8_lossy(&line[(name.len() + 1).min(line.len())..]).trim_end().to_owned();
                match name {
                    b"tree" => parts.tree = value,
                    b"author" => parts.author = line.to_vec(),
                    b"parent" => parts.parents.push(value),
                    b"committer" => parts.committed_s = value.rsplit(' ').nth(1).and_then(|at| at.parse().ok()).unwrap_or(0),
                    _ => {}
                }
            }
            if keep {
                parts.kept.extend_from_slice(line);
            }
        }
        parts
    }

    /// Whether it is one of our commits whose message begins like this.
    pub(super) fn is_our_own(&self, settings: &config::Dataset, begins: &str) -> bool {
        self.author.starts_with(format!("author {} ", identity(settings)).as_bytes()) && self.message.starts_with(begins.as_bytes())
    }

    /// The bytes of the same commit with other parents and another tree: author, date and message are kept byte for byte, the
    /// committer is replaced by the configured one. The committer's time is kept too, so that doing it twice gives the same
    /// commit.
    pub(super) fn again(&self, settings: &config::Dataset, tree: &str, parents: &[String]) -> Vec<u8> {
        let mut bytes = header(tree, parents);
        bytes.extend_from_slice(&self.author);
        bytes.extend_from_slice(format!("committer {} {} +0000\n", identity(settings), self.committed_s).as_bytes());
        bytes.extend_from_slice(&self.kept);
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.message);
        bytes
    }
}

/// The bytes of a new commit of our own.
pub(super) fn new_commit(settings: &config::Dataset, tree: &str, parents: &[String], at_s: i64, message: &str) -> Vec<u8> {
    let mut bytes = header(tree, parents);
    let who = identity(settings);
    bytes.extend_from_slice(format!("author {who} {at_s} +0000\ncommitter {who} {at_s} +0000\n\n{message}\n").as_bytes());
    bytes
}

fn header(tree: &str, parents: &[String]) -> Vec<u8> {
    let parents = parents.iter().flat_map(|parent| ["parent ", parent, "\n"]);
    ["tree ", tree, "\n"].into_iter().chain(parents).collect::<String>().into_bytes()
}

pub(super) fn identity(settings: &config::Dataset) -> String {
    let clean = |text: &str| text.chars().filter(|c| !matches!(c, '<' | '>' | '\n' | '\0')).collect::<String>();
    format!("{} <{}>", clean(&settings.committer_name), clean(&settings.committer_email))
}

impl Repo {
    pub(super) async fn parts(&self, commit: &str, cancel: &Cancel) -> Result<Parts, DatasetError> {
        Ok(Parts::parse(&self.git(["cat-file", "commit", commit]).bytes(cancel).await?))
    }

    /// Writes a commit object.
    pub(super) async fn write_commit(&self, bytes: &[u8], cancel: &Cancel) -> Result<Commit, DatasetError> {
        let file = self.own_dir()?.join("commit");
        std::fs::write(&file, bytes).map_err(|error| DatasetError::File(file.clone(), error))?;
        let name = self.git(["hash-object", "-t", "commit", "-w", "--no-filters", "--", &path_text(&file)]).text(cancel).await?;
        Commit::parse(name.trim()).map_err(|error| DatasetError::Git { what: "hash-object".to_owned(), why: error.to_string() })
    }
}

/// The name of a commit object, with as many hex digits as the repository's names have.
pub(super) fn object_name(bytes: &[u8], digits: usize) -> String {
    let head = format!("commit {}\0", bytes.len());
    if digits == 64 {
        text::hex(&sha2::Sha256::new().chain_update(head).chain_update(bytes).finalize())
    } else {
        text::hex(&sha1::Sha1::new().chain_update(head).chain_update(bytes).finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::Parts;

    #[test]
    fn author_encoding_and_message_are_kept_to_the_byte() {
        let raw = b"tree 1\nparent 2\nparent 3\nauthor \xc4 <a@b> 1 +0200\ncommitter c <c@d> 77 +0000\nencoding latin-1\ngpgsig -----BEGIN\n  x\n -----END\nodd header\n\nsubject\r\n\n\x00\xff  \n\n";
        let parts = Parts::parse(raw);
        assert_eq!(
            (parts.tree.as_str(), parts.parents.as_slice(), parts.committed_s),
            ("1", ["2".to_owned(), "3".to_owned()].as_slice(), 77)
        );
        assert_eq!(parts.author, b"author \xc4 <a@b> 1 +0200\n");
        assert_eq!(parts.kept, b"encoding latin-1\nodd header\n");
        assert_eq!(parts.message, b"subject\r\n\n\x00\xff  \n\n");
        assert_eq!(Parts::parse(b"tree 1\nauthor a <b> 1 +0000\ncommitter c <d> 5 +0000\n\n").message, b"");
    }
}
