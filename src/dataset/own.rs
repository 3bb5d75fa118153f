//! The git folder by which git works on a checkout: our own, beside it.
//!
//! Anybody who may write a checkout may write its `.git` too, and git believes what it finds there: programs in `config` and in
//! `info/attributes`, other folders in `objects/info/alternates`, `commondir` or `.git` itself, other hosts. So git is never
//! shown that folder. It works by one of ours in a folder that only we may write, which borrows what is data and nothing else:
//!
//! | in it | is |
//! |---|---|
//! | `refs`, `packed-refs`, `reftable`, `shallow`, split indexes | links into the checkout, so that values and locks are the checkout's own |
//! | `objects/pack`, `objects/00` to `ff`, the graph of commits | the same |
//! | `objects/info`, `hooks`, `worktrees`, `logs`, `modules` | nothing: no alternates, no hooks, no other folder |
//! | `objects` itself | a link to `borrowed` beside it: git looks for refs beside a folder that is called `objects` |
//! | `config` | ours; of the checkout's own only words of a closed set ([`Traits`]) |
//! | `info/attributes` | no filter, for no file: it is stronger than every `.gitattributes` |
//! | `info/exclude` | a copy of the checkout's, for it holds patterns alone |
//! | `HEAD` | the branch; the checkout's own HEAD is read and written in `head.rs` |
//!
//! The index is given by name. What is borrowed is looked at first: plain files and folders, no link, no pipe.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use process::Passing;
use sha2::Digest as _;

use crate::clock;
use crate::config;
use crate::dataset::DatasetError;
use crate::dataset::beneath::Beneath;

/// Another layout needs another number, so that folders of an older tagalong are made again.
const LAYOUT: &str = "3";
/// No program is run over any file's content.
const ATTRIBUTES: &str = "* -filter\n";

/// A git folder of our own for one checkout, and room for what is only needed for a moment.
#[derive(Debug)]
pub(super) struct Own {
    /// The git folder.
    pub(super) git: PathBuf,
    /// Our own files. Anybody who holds the dataset's lock may write them.
    pub(super) scratch: PathBuf,
    /// Whether the checkout keeps its refs in tables.
    pub(super) is_reftable: bool,
    /// Removed when this goes.
    _passing: Option<Passing>,
}

impl Own {
    /// Our git folder for the checkout's `git_dir`; it is made, or brought up to date. Who only looks makes none that stays.
    ///
    /// # Errors
    /// When there is no folder to make it in.
    pub(super) fn of(settings: &config::Dataset, git_dir: &Path, is_bare: bool, may_make: bool) -> Result<Arc<Self>, DatasetError> {
        let name = hex(&sha2::Sha256::digest(git_dir.as_os_str().as_bytes())[..8]);
        if !may_make && !settings.state.join(&name).join("git").is_dir() {
            return Self::passing(settings, git_dir, is_bare);
        }
        let (root, passing) = match folder(&settings.state.join(&name)) {
            Ok(()) => (settings.state.join(&name), None),
            // As in an init container without a data folder: for the time of this call it stands elsewhere.
            Err(error) => match Passing::anywhere() {
                Ok(passing) => (passing.path().to_owned(), Some(passing)),
                Err(_) => return Err(DatasetError::File(settings.state.clone(), error)),
            },
        };
        Self::made(settings, &root, git_dir, is_bare, passing).map_err(|error| DatasetError::File(root, error))
    }

    /// One that goes with the last user of it: for a folder that is looked at once.
    pub(super) fn passing(settings: &config::Dataset, git_dir: &Path, is_bare: bool) -> Result<Arc<Self>, DatasetError> {
        let error = |error| DatasetError::File(settings.state.clone(), error);
        let passing = Passing::within(&settings.state).or_else(|_| Passing::anywhere()).map_err(error)?;
        let root = passing.path().to_owned();
        Self::made(settings, &root, git_dir, is_bare, Some(passing)).map_err(error)
    }

    fn made(
        settings: &config::Dataset,
        root: &Path,
        git_dir: &Path,
        is_bare: bool,
        passing: Option<Passing>,
    ) -> std::io::Result<Arc<Self>> {
        let traits = Traits::read(&Beneath::open(git_dir)?.text("config").unwrap_or_default());
        let git = root.join("git");
        let scratch = root.join("scratch");
        let is_reftable = traits.is_reftable();
        let own = Self { git, scratch, is_reftable, _passing: passing };
        own.ensure(settings, git_dir, &traits.config(is_bare))?;
        Ok(Arc::new(own))
    }

    fn ensure(&self, settings: &config::Dataset, git_dir: &Path, config: &str) -> std::io::Result<()> {
        let theirs = Beneath::open(git_dir)?;
        let mark = format!("{LAYOUT}\n{}\n{}\n{config}", git_dir.display(), settings.branch);
        let old = std::fs::read_to_string(self.git.join("whole")).unwrap_or_default();
        if old != mark {
            if old.lines().next() != Some(LAYOUT) && self.git.symlink_metadata().is_ok() {
                std::fs::remove_dir_all(&self.git)?;
            }
            folder(&self.scratch)?;
            folder(&self.empty())?;
            folder(&self.root().join("borrowed/info"))?;
            folder(&self.git.join("info"))?;
            link(&self.git.join("objects"), &self.root().join("borrowed"))?;
            for (name, to) in links(git_dir) {
                link(&self.git.join(name), &to)?;
            }
            let head = if self.is_reftable { "refs/heads/.invalid".to_owned() } else { format!("refs/heads/{}", settings.branch) };
            put(&self.git.join("HEAD"), format!("ref: {head}\n").as_bytes())?;
            put(&self.git.join("info/attributes"), ATTRIBUTES.as_bytes())?;
            put(&self.git.join("config"), config.as_bytes())?;
            put(&self.git.join("whole"), mark.as_bytes())?;
        }
        let exclude = theirs.read("info/exclude").unwrap_or_default();
        if std::fs::read(self.git.join("info/exclude")).ok().as_ref() != Some(&exclude) {
            put(&self.git.join("info/exclude"), &exclude)?;
        }
        Ok(())
    }

    /// A folder with nothing in it: the work tree of calls that need no files.
    pub(super) fn empty(&self) -> PathBuf {
        self.scratch.join("empty")
    }

    /// The folder that both stand in.
    pub(super) fn root(&self) -> &Path {
        self.git.parent().unwrap_or(Path::new("/"))
    }

    /// Where objects come in that git must not put into the checkout itself.
    pub(super) fn incoming(&self) -> PathBuf {
        self.root().join("incoming")
    }

    /// Shows git again which commits have no parents here.
    pub(super) fn show_shallow(&self, git_dir: &Path) -> std::io::Result<()> {
        link(&self.git.join("shallow"), &git_dir.join("shallow"))
    }

    /// Takes over the parts of a split index, which git looks for in its own folder.
    pub(super) fn take_split(&self, git_dir: &Path, names: &[std::ffi::OsString]) -> std::io::Result<()> {
        names.iter().try_for_each(|name| link(&self.git.join(name), &git_dir.join(name)))
    }

    /// After git made a shallow repository whole: it removed what it saw, which is our link. The checkout's own file goes too.
    pub(super) fn made_whole(&self, git_dir: &Path) -> std::io::Result<()> {
        if self.git.join("shallow").symlink_metadata().is_err() {
            let theirs = Beneath::open(git_dir)?;
            if theirs.has("shallow") {
                theirs.create("shallow.lock")?;
                theirs.remove("shallow").and(theirs.remove("shallow.lock"))?;
            }
            self.show_shallow(git_dir)?;
        }
        Ok(())
    }
}

/// Makes the folders of loose objects, which git cannot make through our links, and those beside them. git removes empty ones.
pub(super) fn make_object_folders(git_dir: &Path) -> std::io::Result<()> {
    let objects = Beneath::open(git_dir)?.at(Path::new("objects"))?;
    for name in fans().chain(["pack".to_owned(), "info/commit-graphs".to_owned()]) {
        objects.made(Path::new(&name))?;
    }
    Ok(())
}

/// What is borrowed from the checkout, by its name in our folder.
fn links(git_dir: &Path) -> BTreeMap<String, PathBuf> {
    let names = ["refs", "packed-refs", "reftable", "shallow", "objects/pack", "objects/info/commit-graph", "objects/info/commit-graphs"];
    let all = names.into_iter().map(str::to_owned).chain(fans().map(|fan| format!("objects/{fan}")));
    all.map(|name| (name.clone(), git_dir.join(name))).collect()
}

/// The folders of loose objects.
pub(super) fn fans() -> impl Iterator<Item = String> {
    (0..=0xff_u8).map(|fan| format!("{fan:02x}"))
}

/// What is taken over of a repository's own configuration: how its objects and refs are stored, and what its file system can.
/// Each is a word of a closed set; anything else counts as not said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Traits(BTreeMap<&'static str, String>);

/// The keys, with the values that they may have.
const KNOWN: &[(&str, &[&str])] = &[
    ("core.filemode", &["true", "false"]),
    ("core.ignorecase", &["true", "false"]),
    ("core.precomposeunicode", &["true", "false"]),
    ("core.sharedrepository", &["umask", "group", "all", "world", "true", "false", "0660", "0664", "0640", "1", "2"]),
    ("extensions.objectformat", &["sha1", "sha256"]),
    ("extensions.refstorage", &["files", "reftable"]),
];

impl Traits {
    fn read(text: &str) -> Self {
        let mut section = String::new();
        let mut found = BTreeMap::new();
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.split(']').next().unwrap_or_default().trim().to_ascii_lowercase();
            } else if let Some((key, value)) = line.split_once('=') {
                let key = format!("{section}.{}", key.trim().to_ascii_lowercase());
                let value = value.trim().to_ascii_lowercase();
                if let Some((name, _)) = KNOWN.iter().find(|(name, values)| *name == key && values.contains(&value.as_str())) {
                    found.insert(*name, value);
                }
            }
        }
        Self(found)
    }

    fn is_reftable(&self) -> bool {
        self.0.get("extensions.refstorage").is_some_and(|storage| storage == "reftable")
    }

    fn config(&self, is_bare: bool) -> String {
        // Where refs are files their logs are, and ours are written beside git (`head.rs`): a log is appended to by its name,
        // which may be a link by then.
        let logs = if self.is_reftable() { "true" } else { "false" };
        // A pack index over many packs may name files elsewhere.
        let mut text =
            format!("[core]\n\trepositoryformatversion = 1\n\tbare = {is_bare}\n\tlogallrefupdates = {logs}\n\tmultipackindex = false\n");
        for (name, value) in &self.0 {
            if let Some((section, key)) = name.split_once('.') {
                text.extend(["[", section, "]\n\t", key, " = ", value, "\n"]);
            }
        }
        text
    }
}

/// A folder that nobody else may enter.
fn folder(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A link at `at` that leads to `to`, whatever was there.
fn link(at: &Path, to: &Path) -> std::io::Result<()> {
    if std::fs::read_link(at).is_ok_and(|there| there == to) {
        return Ok(());
    }
    let new = at.with_file_name(format!("new-{}", clock::new_id()));
    std::os::unix::fs::symlink(to, &new).and_then(|()| std::fs::rename(&new, at))
}

/// Puts a file there, whole: another process may read it.
fn put(at: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut new = tempfile::NamedTempFile::new_in(at.parent().unwrap_or(Path::new("/")))?;
    new.write_all(bytes)?;
    new.persist(at).map(drop).map_err(|error| error.error)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::Traits;

    #[test]
    fn only_words_of_the_closed_set_are_taken_over() {
        let text = "[core]\n\tFileMode = false\n sharedRepository=group\n fsmonitor = /bin/evil\n worktree = /\n[core \"x\"]\n ignorecase = true\n[include]\n path = /etc/passwd\n[extensions]\n objectFormat = sha256\n refstorage = /evil\n worktreeConfig = true\n";
        let config = Traits::read(text).config(false);
        let taken: Vec<&str> = config.lines().skip(5).map(str::trim).filter(|line| !line.starts_with('[')).collect();
        assert_eq!(taken, ["filemode = false", "sharedrepository = group", "objectformat = sha256"]);
    }
}
