//! The repository that a stack's files come from, as it is kept here: a bare one of our own that nobody else writes in.
//!
//! git fetches into it and reads objects out of it, and that is all: nothing is checked out, so that no filter, attribute, hook or
//! submodule has a say. What the objects are called is examined before anybody gets them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use process::Cancel;
use process::Confinement;
use process::Ended;
use process::can_confine;

use crate::config::Confine;
use crate::config::StackSource;
use crate::dataset::DatasetError;
use crate::dataset::beneath::Beneath;
use crate::dataset::call::Call;
use crate::dataset::call::error_lines;
use crate::dataset::call::failed;
use crate::dataset::call::in_memory;
use crate::dataset::call::path_text;
use crate::dataset::listing;
use crate::dataset::remote::is_refusal_of_access;
use crate::dataset::remote::with_credential;
use crate::model::Commit;
use crate::model::LaidFiles;
use crate::model::Mark;
use crate::model::Marks;
use crate::model::StackFile;
use crate::model::StackFiles;
use crate::model::Tree;

/// So many refs are fetched by one call.
const AT_ONCE: usize = 200;
/// What git fetches is examined by git itself, but for the dates and names in commits: old tools wrote many of them wrong, and nobody
/// can mend them.
const FSCK: [&str; 11] = [
    "fetch.fsckObjects=true",
    "fetch.fsck.badDate=ignore",
    "fetch.fsck.badDateOverflow=ignore",
    "fetch.fsck.badEmail=ignore",
    "fetch.fsck.badName=ignore",
    "fetch.fsck.badTimezone=ignore",
    "fetch.fsck.missingEmail=ignore",
    "fetch.fsck.missingNameBeforeEmail=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "fetch.fsck.missingSpaceBeforeEmail=ignore",
    "fetch.fsck.zeroPaddedDate=ignore",
];
/// How many hex digits of a commit's name people see.
const SHORT: usize = 12;

/// The repository of a stack's files.
#[derive(Debug, Clone)]
pub struct Depot {
    source: Arc<StackSource>,
    /// What its programs hold.
    lock: Option<Arc<File>>,
}

/// Why the files of a commit cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// Somebody has to change the order, the repository or the configuration.
    #[error("{0}")]
    Refused(String),
    /// The order names a commit that no allowed ref contains.
    #[error("{0}")]
    NotAllowed(String),
    /// The remote does not answer, or refuses us.
    #[error("{0}")]
    Unreachable(String),
    /// What is kept here cannot be used.
    #[error(transparent)]
    Git(#[from] DatasetError),
}

impl Depot {
    /// The repository of `source`. Nothing is touched yet.
    #[must_use]
    pub fn new(source: Arc<StackSource>) -> Self {
        Self { source, lock: None }
    }

    /// The same, whose programs hold `lock`, a lock's file: whoever has it is alone here.
    #[must_use]
    pub fn locked(self, lock: Arc<File>) -> Self {
        Self { lock: Some(lock), ..self }
    }

    /// Afterwards `commit` is here with all that it needs, and it is contained in a ref of the remote that may bring files; that of
    /// the order, `git_ref`, is asked first. Gives the tree of its files.
    ///
    /// # Errors
    /// [`DepotError::NotAllowed`] when no such ref contains it, [`DepotError::Refused`] when it has no such folder.
    pub async fn bring(&self, commit: &Commit, git_ref: Option<&str>, cancel: &Cancel) -> Result<Tree, DepotError> {
        let repo = self.made(commit.as_str().len(), cancel).await?;
        let mut tips = self.tips(cancel).await?;
        tips.sort_by_key(|(name, _)| (git_ref != Some(name), !name.starts_with("refs/heads/")));
        let first = tips.len().min(1);
        let chunks = std::iter::once(&tips[..first]).chain(tips[first..].chunks(AT_ONCE));
        for chunk in chunks.filter(|chunk| !chunk.is_empty()) {
            self.fetch(&repo, chunk, cancel).await?;
            for (_, tip) in chunk {
                if self.contains(&repo, tip, commit, cancel).await? {
                    return self.tree_of(&repo, commit, cancel).await;
                }
            }
        }
        let refs: Vec<&str> = self.source.refs.iter().map(crate::config::RefPattern::as_str).collect();
        Err(DepotError::NotAllowed(format!(
            "the commit {commit} is in none of the refs of {} that may bring files of this service ({}): push it to one of them, or name its \
             ref in service.NAME.stack.refs.",
            self.source.access.remote,
            refs.join(", ")
        )))
    }

    /// The refs of the remote that may bring files, with what they are now.
    ///
    /// # Errors
    /// When the remote does not say.
    pub async fn tips(&self, cancel: &Cancel) -> Result<Vec<(String, Commit)>, DepotError> {
        let access = &self.source.access;
        let head = ["ls-remote", "--quiet", "--", access.remote.as_str()];
        let args: Vec<&str> = head.into_iter().chain(self.source.refs.iter().map(crate::config::RefPattern::as_str)).collect();
        let (ended, out, err) = Call::new(access, args).remote(access, self.source.fetch_deadline).run(cancel).await;
        if ended != Ended::Exit(0) {
            return Err(self.unreachable("ls-remote", &ended, &err));
        }
        // A pattern of git's also means what only ends like it.
        let tip = |line: &str| {
            let (object, name) = line.split_once('\t')?;
            let is_meant = self.source.allows(name) && !name.ends_with("^{}");
            Commit::parse(object).ok().filter(|_| is_meant).map(|object| (name.to_owned(), object))
        };
        Ok(out.lines().filter_map(tip).collect())
    }

    /// The first `most` of those refs, each with its commit and the tree of its files, which are here afterwards. One that has no such
    /// folder is left out.
    ///
    /// # Errors
    /// When the remote does not say.
    pub async fn trees(&self, most: usize, cancel: &Cancel) -> Result<Vec<(String, Commit, Tree)>, DepotError> {
        let mut trees = Vec::new();
        for tip in self.tips(cancel).await?.into_iter().take(most) {
            let repo = self.made(tip.1.as_str().len(), cancel).await?;
            self.fetch(&repo, std::slice::from_ref(&tip), cancel).await?;
            match self.tree_of(&repo, &tip.1, cancel).await {
                Ok(tree) => trees.push((tip.0, tip.1, tree)),
                Err(DepotError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(trees)
    }

    /// The files of a commit's tree, which [`Depot::bring`] or an earlier release has brought here. No network is needed.
    ///
    /// # Errors
    /// [`DepotError::Refused`] when one of them has no place in a stack's folder, by its name.
    pub async fn files_of(&self, tree: &Tree, from: Option<String>, cancel: &Cancel) -> Result<StackFiles, DepotError> {
        let repo = self.made(tree.as_str().len(), cancel).await?;
        let call = self.git(&repo, ["ls-tree", "-r", "-z", "-l", "--full-tree", tree.as_str()])?.at_most(listing::LONGEST);
        let (ended, listed, err) = call.run_bytes(cancel).await;
        // A listing that goes on after that has more files than a stack may have, which is said of it.
        if ended != Ended::Exit(0) && (listed.len() as u64) < listing::LONGEST {
            return Err(failed("ls-tree", &ended, &err).into());
        }
        let marks = listing::parse(&listed).map_err(DepotError::Refused)?;
        let files = self.read(&repo, &marks, cancel).await?;
        listing::examine(&files).map_err(DepotError::Refused)?;
        Ok(StackFiles { from, tree: Some(tree.clone()), files })
    }

    /// Files that were laid once: their contents are kept here.
    ///
    /// # Errors
    /// When one of them is not.
    pub async fn remembered(&self, laid: &LaidFiles, cancel: &Cancel) -> Result<StackFiles, DepotError> {
        let LaidFiles { from, tree, files: marks } = laid.clone();
        let Some(digits) = marks.values().next().map(|mark| mark.blob.len()) else { return Ok(StackFiles::default()) };
        let repo = self.made(digits, cancel).await?;
        Ok(StackFiles { from, tree, files: self.read(&repo, &marks, cancel).await? })
    }

    /// Which of `marks` have a content that is not kept here.
    ///
    /// # Errors
    /// When git cannot be run.
    pub async fn lacking(&self, marks: &Marks, cancel: &Cancel) -> Result<BTreeSet<String>, DepotError> {
        let Some(digits) = marks.values().next().map(|mark| mark.blob.len()) else { return Ok(BTreeSet::new()) };
        let repo = self.made(digits, cancel).await?;
        let asked: String = marks.values().flat_map(|mark| [mark.blob.as_str(), "\n"]).collect();
        let said = self.git(&repo, ["cat-file", "--batch-check"])?.stdin(in_memory(asked.as_bytes())?).text(cancel).await?;
        let is_lacking = |line: &&str| line.split(' ').nth(1).is_none_or(|kind| kind != "blob");
        let lacking: BTreeSet<&str> = said.lines().filter(is_lacking).filter_map(|line| line.split(' ').next()).collect();
        Ok(marks.iter().filter(|(_, mark)| lacking.contains(mark.blob.as_str())).map(|(path, _)| path.clone()).collect())
    }

    /// Afterwards the content of `file` is kept here.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn keep(&self, file: &StackFile, cancel: &Cancel) -> Result<(), DepotError> {
        let repo = self.made(file.mark.blob.len(), cancel).await?;
        let call = self.git(&repo, ["hash-object", "-t", "blob", "-w", "--no-filters", "--stdin"])?;
        Ok(call.stdin(in_memory(&file.bytes)?).text(cancel).await.map(drop)?)
    }

    async fn read(&self, repo: &Path, marks: &Marks, cancel: &Cancel) -> Result<BTreeMap<String, StackFile>, DepotError> {
        let asked: String = marks.values().flat_map(|mark| [mark.blob.as_str(), "\n"]).collect();
        let bytes = self.git(repo, ["cat-file", "--batch"])?.stdin(in_memory(asked.as_bytes())?).bytes(cancel).await?;
        let mut blobs = listing::Blobs::new(&bytes);
        let mut files = BTreeMap::new();
        for (path, mark) in marks {
            let is_it = |bytes: &&[u8]| Mark::of(mark.kind, bytes, mark.blob.len()).blob == mark.blob;
            let bytes = blobs.next_of(&mark.blob).filter(is_it).ok_or_else(|| DatasetError::Git {
                what: "cat-file".to_owned(),
                why: format!("the content of {path} ({}) is not kept in {} any more", mark.blob, repo.display()),
            })?;
            files.insert(path.clone(), StackFile { mark: mark.clone(), bytes: bytes.into() });
        }
        Ok(files)
    }

    async fn contains(&self, repo: &Path, tip: &Commit, commit: &Commit, cancel: &Cancel) -> Result<bool, DepotError> {
        let args = ["merge-base", "--is-ancestor", commit.as_str(), tip.as_str()];
        match self.git(repo, args)?.run(cancel).await {
            (Ended::Exit(0), ..) => Ok(true),
            // Neither is a name that is not there, or not that of a commit.
            (Ended::Exit(_), ..) => Ok(false),
            (ended, _, err) => Err(failed("merge-base", &ended, &err).into()),
        }
    }

    async fn tree_of(&self, repo: &Path, commit: &Commit, cancel: &Cancel) -> Result<Tree, DepotError> {
        let path = &self.source.path;
        let none = || {
            let short: String = commit.as_str().chars().take(SHORT).collect();
            DepotError::Refused(format!("the commit {short} has no folder {path}: correct service.NAME.stack.path, or add the folder."))
        };
        let name = if path.is_empty() { format!("{commit}^{{tree}}") } else { format!("{commit}:{path}") };
        let (ended, out, _) = self.git(repo, ["rev-parse", "--verify", "--quiet", "--end-of-options", &name])?.run(cancel).await;
        let tree = Some(out.trim()).filter(|_| ended == Ended::Exit(0)).and_then(|out| Tree::parse(out).ok()).ok_or_else(none)?;
        let kind = self.git(repo, ["cat-file", "-t", tree.as_str()])?.text(cancel).await?;
        if kind.trim() == "tree" { Ok(tree) } else { Err(none()) }
    }

    /// Fetches what of `tips` is not here yet.
    async fn fetch(&self, repo: &Path, tips: &[(String, Commit)], cancel: &Cancel) -> Result<(), DepotError> {
        let mut wanted = Vec::new();
        for (name, tip) in tips {
            if self.git(repo, ["cat-file", "-e", tip.as_str()])?.run(cancel).await.0 != Ended::Exit(0) {
                // By its own name, so that branches that follow each other under one name never stand in each other's way.
                wanted.push(format!("+{name}:refs/tagalong/seen/{tip}"));
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let access = &self.source.access;
        let mut args: Vec<&str> = FSCK.iter().flat_map(|setting| ["-c", setting]).collect();
        args.extend(["fetch", "--quiet", "--no-tags", "--no-auto-gc", "--no-recurse-submodules", "--no-write-fetch-head", "--"]);
        args.push(&access.remote);
        args.extend(wanted.iter().map(String::as_str));
        match self.git(repo, args)?.remote(access, self.source.fetch_deadline).run(cancel).await {
            (Ended::Exit(0), ..) => Ok(()),
            (ended, _, err) => Err(self.unreachable("fetch", &ended, &err)),
        }
    }

    fn unreachable(&self, what: &str, ended: &Ended, err: &str) -> DepotError {
        let remote = &self.source.access.remote;
        match ended {
            Ended::Cancelled | Ended::NotStarted(_) => failed(what, ended, err).into(),
            Ended::Exit(_) if is_refusal_of_access(err) => {
                let why = with_credential(&self.source.access, &error_lines(err));
                DepotError::Unreachable(format!("{remote} does not let the stack's files be read: {why}."))
            }
            Ended::Exit(_) => DepotError::Unreachable(format!("the stack's files cannot be read from {remote}: {}.", error_lines(err))),
            ended => DepotError::Unreachable(format!("git {what} of {remote} {ended}. {}", error_lines(err)).trim_end().to_owned()),
        }
    }

    /// Our repository for objects whose names have so many `digits`; made where it is not there.
    async fn made(&self, digits: usize, cancel: &Cancel) -> Result<PathBuf, DepotError> {
        let format = if digits == 64 { "sha256" } else { "sha1" };
        let repo = self.source.state.join(format);
        let error = |error| DatasetError::File(self.source.state.clone(), error);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&repo).map_err(error)?;
        if self.lock.is_some() {
            remove_locks(&repo);
        }
        if !repo.join("HEAD").is_file() {
            let object_format = format!("--object-format={format}");
            let args = ["init", "--quiet", "--bare", "--template=", &object_format, "--", &path_text(&repo)];
            Call::new(&self.source.access, args).by_itself().text(cancel).await?;
        }
        Ok(repo)
    }

    /// `git ARGS` in our repository.
    fn git<S: Into<String>>(&self, repo: &Path, args: impl IntoIterator<Item = S>) -> Result<Call, DatasetError> {
        let mut call = Call::new(&self.source.access, args).env("GIT_DIR", path_text(repo)).by_itself();
        call.command.lock.clone_from(&self.lock);
        call.within = match self.source.access.git.confine {
            Confine::WherePossible | Confine::Always if can_confine() => {
                let folder = Beneath::open_real(repo).map_err(|error| DatasetError::File(repo.to_owned(), error))?;
                Some(Confinement::default().with(folder.into_folder()))
            }
            Confine::Always => return Err(DatasetError::NotConfined(repo.to_owned())),
            Confine::WherePossible | Confine::Never => None,
        };
        Ok(call)
    }
}

/// Removes the locks of a git that was killed: whoever holds the stack's lock is alone here, and its gits hold it too.
fn remove_locks(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !path.ends_with("objects") => remove_locks(&path),
            Ok(kind) if kind.is_file() && path.extension().is_some_and(|extension| extension == "lock") => {
                // git says it where it is still in its way.
                let _ = std::fs::remove_file(path);
            }
            _ => {}
        }
    }
}
