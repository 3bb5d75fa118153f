//! The git folder that git uses for a checkout: our own, beside the checkout's.
//!
//! Anybody who can write a checkout can write its `.git` too, and git believes what it finds there: programs in `config` and in
//! `info/attributes`, other folders in `objects/info/alternates`, `commondir` or `.git` itself, other hosts. Therefore git
//! never sees that folder. It uses one of our own, in a folder that only we can write, which borrows only data from the
//! checkout:
//!
//! | in it | what it is |
//! |---|---|
//! | `refs`, `packed-refs`, `reftable`, `shallow`, split indexes | links into the checkout, so that values and locks are the checkout's own |
//! | `objects/pack`, `objects/00` to `ff`, the graph of commits | the same |
//! | `objects/info`, `hooks`, `worktrees`, `logs`, `modules` | empty: no alternates, no hooks, no other folder |
//! | `objects` itself | a link to `borrowed` beside it: git looks for refs beside a folder that is called `objects` |
//! | `config` | ours; only words of a closed set are taken from the checkout's own ([`Traits`]) |
//! | `info/attributes` | no filter, for no file: it takes precedence over every `.gitattributes` |
//! | `info/exclude` | a copy of the checkout's, because it contains only patterns |
//! | `HEAD` | the branch; the checkout's own HEAD is read and written in `head.rs` |
//!
//! The index is given by name. Everything that is borrowed is examined first: it must be plain files and folders, not links or
//! pipes.

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

/// Another layout needs another number, so that folders of an older tagalong are created again.
const LAYOUT: &str = "3";
/// No program is run over the content of any file.
const ATTRIBUTES: &str = "* -filter\n";

/// A git folder of our own for one checkout, and room for short-lived files.
#[derive(Debug)]
pub(super) struct Own {
    /// The git folder.
    pub(super) git: PathBuf,
    /// Our own files. The holder of the dataset's lock may write them.
    pub(super) scratch: PathBuf,
    /// Whether the checkout keeps its refs in tables.
    pub(super) is_reftable: bool,
    /// Removed when this value is dropped.
    _passing: Option<Passing>,
}

impl Own {
    /// Our git folder for the checkout's `git_dir`; it is created, or brought up to date, if `may_make`: only the holder of the dataset's
    /// lock may. Others get it as it is if it is whole, and one of their own, which they leave nowhere, while it is not.
    ///
    /// # Errors
    /// When there is no folder to create it in.
    pub(super) fn of(settings: &config::Dataset, git_dir: &Path, is_bare: bool, may_make: bool) -> Result<Arc<Self>, DatasetError> {
        let name = text::hex(&sha2::Sha256::digest(git_dir.as_os_str().as_bytes())[..8]);
        if !may_make {
            let error = |error| DatasetError::File(git_dir.to_owned(), error);
            let traits = Traits::of(git_dir).map_err(error)?;
            let own = Self::at(&settings.state.join(&name), &traits, None);
            return if own.is_whole(settings, git_dir, &traits.config(is_bare)) {
                Ok(Arc::new(own))
            } else {
                Self::passing(settings, git_dir, is_bare)
            };
        }
        let (root, passing) = match folder(&settings.state.join(&name)) {
            Ok(()) => (settings.state.join(&name), None),
            // For example in an init container without a data folder: for the duration of this call it is elsewhere.
            Err(error) => match Passing::anywhere() {
                Ok(passing) => (passing.path().to_owned(), Some(passing)),
                Err(_) => return Err(DatasetError::File(settings.state.clone(), error)),
            },
        };
        Self::made(settings, &root, git_dir, is_bare, passing).map_err(|error| DatasetError::File(root, error))
    }

    /// A folder that is removed with its last user: for a checkout that is examined once.
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
        let traits = Traits::of(git_dir)?;
        let own = Self::at(root, &traits, passing);
        own.ensure(settings, git_dir, &traits.config(is_bare))?;
        Ok(Arc::new(own))
    }

    /// The folder below `root`, whether it is there or not.
    fn at(root: &Path, traits: &Traits, passing: Option<Passing>) -> Self {
        Self { git: root.join("git"), scratch: root.join("scratch"), is_reftable: traits.is_reftable(), _passing: passing }
    }

    /// What a folder bears that is made as this program makes it now.
    fn mark(settings: &config::Dataset, git_dir: &Path, config: &str) -> String {
        format!("{LAYOUT}\n{}\n{}\n{config}", git_dir.display(), settings.branch)
    }

    fn is_whole(&self, settings: &config::Dataset, git_dir: &Path, config: &str) -> bool {
        let mark = Self::mark(settings, git_dir, config);
        self.has_all() && std::fs::read_to_string(self.git.join("whole")).is_ok_and(|old| old == mark)
    }

    /// Whether everything is there without which git takes it for no repository.
    fn has_all(&self) -> bool {
        ["HEAD", "objects", "refs", "config"].iter().all(|name| self.git.join(name).symlink_metadata().is_ok())
    }

    fn ensure(&self, settings: &config::Dataset, git_dir: &Path, config: &str) -> std::io::Result<()> {
        let theirs = Beneath::open(git_dir)?;
        let mark = Self::mark(settings, git_dir, config);
        let old = std::fs::read_to_string(self.git.join("whole")).unwrap_or_default();
        if old != mark || !self.has_all() {
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

    /// An empty folder: the work tree of calls that need no files.
    pub(super) fn empty(&self) -> PathBuf {
        self.scratch.join("empty")
    }

    /// The folder that contains both.
    pub(super) fn root(&self) -> &Path {
        self.git.parent().unwrap_or(Path::new("/"))
    }

    /// Where new objects arrive that git must not put into the checkout itself.
    pub(super) fn incoming(&self) -> PathBuf {
        self.root().join("incoming")
    }

    /// Tells git again which commits have no parents here.
    pub(super) fn show_shallow(&self, git_dir: &Path) -> std::io::Result<()> {
        link(&self.git.join("shallow"), &git_dir.join("shallow"))
    }

    /// Takes over the parts of a split index, which git expects in its own folder.
    pub(super) fn take_split(&self, git_dir: &Path, names: &[std::ffi::OsString]) -> std::io::Result<()> {
        names.iter().try_for_each(|name| link(&self.git.join(name), &git_dir.join(name)))
    }

    /// Call this after git has completed a shallow repository: it removed our link, so the checkout's own file must go too.
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

/// Creates the folders of loose objects, which git cannot create through our links, and those beside them. git removes empty
/// ones.
pub(super) fn make_object_folders(git_dir: &Path) -> std::io::Result<()> {
    let objects = Beneath::open(git_dir)?.at(Path::new("objects"))?;
    for name in fans().chain(["pack".to_owned(), "info/commit-graphs".to_owned()]) {
        objects.made(Path::new(&name))?;
    }
    Ok(())
}

/// The files and folders that are borrowed from the checkout, by their names in our folder.
fn links(git_dir: &Path) -> BTreeMap<String, PathBuf> {
    let names = ["refs", "packed-refs", "reftable", "shallow", "objects/pack", "objects/info/commit-graph", "objects/info/commit-graphs"];
    let all = names.into_iter().map(str::to_owned).chain(fans().map(|fan| format!("objects/{fan}")));
    all.map(|name| (name.clone(), git_dir.join(name))).collect()
}

/// The folders of loose objects.
pub(super) fn fans() -> impl Iterator<Item = String> {
    (0..=0xff_u8).map(|fan| format!("{fan:02x}"))
}

/// The settings that are taken over from a repository's own configuration: how its objects and refs are stored, and what its
/// file system can do. Each value is a word of a closed set; any other value is ignored.
#[derive(Debug, Default, PartialEq, Eq)]
struct Traits(BTreeMap<&'static str, String>);

/// The keys, with their permitted values.
const KNOWN: &[(&str, &[&str])] = &[
    ("core.filemode", &["true", "false"]),
    ("core.ignorecase", &["true", "false"]),
    ("core.precomposeunicode", &["true", "false"]),
    ("core.sharedrepository", &["umask", "group", "all", "world", "true", "false", "0660", "0664", "0640", "1", "2"]),
    ("extensions.objectformat", &["sha1", "sha256"]),
    ("extensions.refstorage", &["files", "reftable"]),
];

impl Traits {
    /// Those of the repository in `git_dir`.
    fn of(git_dir: &Path) -> std::io::Result<Self> {
        Ok(Self::read(&Beneath::open(git_dir)?.text("config").unwrap_or_default()))
    }

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
        // If refs are files, their logs are files too, and ours are written without git (`head.rs`): git appends to a log by
        // its name, which may have become a link.
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

/// A folder that nobody else can enter.
fn folder(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates a link at `at` that leads to `to`, and replaces whatever was there.
fn link(at: &Path, to: &Path) -> std::io::Result<()> {
    if std::fs::read_link(at).is_ok_and(|there| there == to) {
        return Ok(());
    }
    let new = at.with_file_name(format!("new-{}", clock::new_id()));
    std::os::unix::fs::symlink(to, &new).and_then(|()| std::fs::rename(&new, at))
}

/// Writes the file in one step, because another process may be reading it.
fn put(at: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut new = tempfile::NamedTempFile::new_in(at.parent().unwrap_or(Path::new("/")))?;
    new.write_all(bytes)?;
    new.persist(at).map(drop).map_err(|error| error.error)
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
