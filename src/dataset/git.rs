//! A repository on this host, and git called on it through a git folder of our own (`own.rs`).

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use process::Cancel;
use process::Confinement;
use process::Ended;
use process::can_confine;
use tokio::sync::OnceCell;

use crate::config;
use crate::config::Confine;
use crate::dataset::DatasetError;
use crate::dataset::beneath::Beneath;
use crate::dataset::call::Call;
use crate::dataset::call::failed;
use crate::dataset::call::path_text;
use crate::dataset::configured::Configured;
use crate::dataset::own;
use crate::dataset::own::Own;
use crate::dataset::shape;
use crate::model::Commit;

/// The first git version whose `merge-tree` accepts trees in place of commits.
pub(super) const TAKES_TREES: (u32, u32) = (2, 45);

/// The folder for our notes in the checkout's git folder.
const NOTES: &str = "tagalong";

/// A repository on this host, for the duration of one piece of work.
#[derive(Debug, Clone)]
pub(super) struct Repo {
    pub(super) settings: Arc<config::Dataset>,
    /// The checkout's git folder. git never sees it, because others can write it.
    pub(super) git_dir: PathBuf,
    /// Where objects and refs are; git never sees this folder either.
    pub(super) common: PathBuf,
    /// The work tree; none in a bare repository.
    pub(super) work: Option<PathBuf>,
    /// The dataset's lock, which children inherit.
    pub(super) lock: Option<Arc<File>>,
    /// Our own git folder.
    pub(super) own: Arc<Own>,
    /// The files that git may access, held open since the repository was found.
    pub(super) reach: Arc<Reach>,
    /// Messages of this piece of work for people, one sentence each.
    pub(super) notes: Arc<std::sync::Mutex<Vec<String>>>,
    /// Whether the operator's configuration names merge drivers, if that was asked already.
    has_drivers: Arc<OnceCell<bool>>,
    /// git's version, if it was asked already.
    version: Arc<OnceCell<(u32, u32)>>,
    /// The remotes of the repository's configuration, if it was read already (`traces.rs`).
    pub(super) configured: Arc<OnceCell<Vec<Configured>>>,
}

impl Repo {
    /// The repository in `dir`, with a work tree or bare; none if there is no repository.
    ///
    /// # Errors
    /// When its git folder is elsewhere, or contains something that is neither a plain file nor a folder.
    pub(super) fn found(settings: &Arc<config::Dataset>, dir: &Path, lock: Option<Arc<File>>) -> Result<Option<Self>, DatasetError> {
        let Some((git_dir, work)) = git_folder(dir)? else { return Ok(None) };
        if !git_dir.join("objects").symlink_metadata().is_ok_and(|meta| meta.is_dir() || meta.is_symlink()) {
            return Ok(None);
        }
        let shape = shape::read_shape(&git_dir)?;
        let own = if dir == settings.dir {
            Own::of(settings, &git_dir, work.is_none(), lock.is_some())?
        } else {
            Own::passing(settings, &git_dir, work.is_none())?
        };
        let mine = |error| DatasetError::File(own.git.clone(), error);
        own.take_split(&git_dir, &shape.split).map_err(mine)?;
        if !shape.has_fans && (lock.is_some() || dir != settings.dir) {
            own::make_object_folders(&git_dir).map_err(|error| DatasetError::File(git_dir.join("objects"), error))?;
        }
        let reach = Arc::new(Reach::of(settings, dir, work.is_some(), &own)?);
        let settings = Arc::clone(settings);
        Ok(Some(Self {
            settings,
            common: git_dir.clone(),
            git_dir,
            work,
            lock,
            own,
            reach,
            notes: Arc::default(),
            has_drivers: Arc::default(),
            version: Arc::default(),
            configured: Arc::default(),
        }))
    }

    /// Adds a message for people, once.
    pub(super) fn note(&self, text: String) {
        let mut notes = self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !notes.contains(&text) {
            notes.push(text);
        }
    }

    /// The messages that were added since the last call.
    pub(super) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The checkout's git folder, for reading and writing beside git.
    pub(super) fn files(&self) -> Result<Beneath, DatasetError> {
        Beneath::open(&self.git_dir).map_err(|error| DatasetError::File(self.git_dir.clone(), error))
    }

    /// A folder of our own, outside the checkout, for files that are needed only while the dataset's lock is held.
    pub(super) fn own_dir(&self) -> Result<PathBuf, DatasetError> {
        let scratch = &self.own.scratch;
        std::fs::create_dir_all(scratch).map_err(|error| DatasetError::File(scratch.clone(), error))?;
        Ok(scratch.clone())
    }

    /// A note that must last as long as the checkout: `tagalong/NAME` in its git folder. Others may have written it.
    pub(super) fn memo(&self, name: &str) -> Option<String> {
        self.files().ok()?.text(Path::new(NOTES).join(name)).ok()
    }

    /// Writes the note.
    pub(super) fn set_memo(&self, name: &str, text: &str) -> Result<(), DatasetError> {
        let error = |error| DatasetError::File(self.git_dir.join(NOTES).join(name), error);
        self.files()?.made(Path::new(NOTES)).and_then(|notes| notes.write(name, text)).map_err(error)
    }

    /// Removes the note. If it cannot be removed, it is found again, and it is still true.
    pub(super) fn drop_memo(&self, name: &str) {
        let _ = self.files().map(|files| files.remove(Path::new(NOTES).join(name)));
    }

    /// The folder of the notes, for anything that is not a single file.
    pub(super) fn memos(&self) -> Result<PathBuf, DatasetError> {
        let dir = self.git_dir.join(NOTES);
        self.files()?.made(Path::new(NOTES)).map(|_| dir.clone()).map_err(|error| DatasetError::File(dir, error))
    }

    pub(super) fn local_ref(&self) -> String {
        format!("refs/heads/{}", self.settings.branch)
    }

    pub(super) fn upstream_ref(&self) -> String {
        format!("refs/tagalong/upstream/{}", self.settings.branch)
    }

    pub(super) fn fetched_ref(&self) -> String {
        format!("refs/tagalong/fetched/{}", self.settings.branch)
    }

    /// `git ARGS` in this repository: over objects, refs and an index. It cannot see or touch the checkout's files, because
    /// examining a nested repository means believing its configuration.
    pub(super) fn git<S: Into<String>>(&self, args: impl IntoIterator<Item = S>) -> Call {
        let mut call = Call::new(&self.settings.access(), args).env("GIT_DIR", path_text(&self.own.git)).by_itself();
        call = call.in_tree(&self.own.empty()).index(&self.git_dir.join("index"));
        call.command.lock.clone_from(&self.lock);
        call.within.clone_from(&self.reach.repository);
        call.keep = Some((Arc::clone(&self.own), self.git_dir.clone()));
        call
    }

    /// The same, with access to the checkout's files, if there are any.
    pub(super) fn git_on_files<S: Into<String>>(&self, args: impl IntoIterator<Item = S>) -> Call {
        let mut call = self.git(args);
        if let Some(work) = &self.work {
            call = call.in_tree(work);
            call.within.clone_from(&self.reach.files);
        }
        call
    }

    /// The same for a merge of trees. Merge drivers of the operator's configuration are run if there are any; which files they
    /// need is not known here.
    pub(super) async fn git_merging(&self, args: Vec<String>, cancel: &Cancel) -> Call {
        let ask = async || {
            let args = ["config", "--name-only", "--get-regexp", r"^merge\..*\.driver$"];
            Call::new(&self.settings.access(), args).run(cancel).await.0 == Ended::Exit(0)
        };
        let call = self.git(args);
        if *self.has_drivers.get_or_init(ask).await { call.by_configuration() } else { call }
    }

    /// The first two numbers of git's version.
    pub(super) async fn version(&self, cancel: &Cancel) -> Result<(u32, u32), DatasetError> {
        let ask = async || Ok(version_of(&Call::new(&self.settings.access(), ["version"]).text(cancel).await?));
        self.version.get_or_try_init(ask).await.copied()
    }

    /// The object that `name` refers to; `name` is a full ref or an expression over an object name.
    pub(super) async fn object(&self, name: &str, cancel: &Cancel) -> Result<String, DatasetError> {
        Ok(self.git(["rev-parse", "--verify", "--end-of-options", name]).text(cancel).await?.trim().to_owned())
    }

    /// Whether `ancestor` is contained in `of`. A name that is not a commit here is not.
    pub(super) async fn is_ancestor(&self, ancestor: &str, of: &Commit, cancel: &Cancel) -> Result<bool, DatasetError> {
        let (ended, _, err) = self.git(["merge-base", "--is-ancestor", ancestor, of.as_str()]).run(cancel).await;
        match ended {
            Ended::Exit(0) => Ok(true),
            Ended::Exit(1) => Ok(false),
            Ended::Exit(128) if err.contains("Not a valid") => Ok(false),
            ended => Err(failed("merge-base", &ended, &err)),
        }
    }

    /// How many commits `rev-list ARGS` lists.
    pub(super) async fn count(&self, args: &[&str], cancel: &Cancel) -> Result<u64, DatasetError> {
        let out = self.git(["rev-list", "--count"].iter().chain(args).copied()).text(cancel).await?;
        Ok(out.trim().parse().unwrap_or(0))
    }

    /// Moves `name` from `old` to `new`, or creates it if there is no `old`. False if it had another value: nothing was
    /// changed.
    pub(super) async fn swap_ref(&self, name: &str, new: &Commit, old: Option<&Commit>, cancel: &Cancel) -> Result<bool, DatasetError> {
        let zero = "0".repeat(new.as_str().len());
        let before = old;
        let old = old.map_or(zero.as_str(), Commit::as_str);
        let call = self.git(["update-ref", "--no-deref", "-m", "tagalong", name, new.as_str(), old]);
        match call.run(cancel).await {
            (Ended::Exit(0), ..) => {
                self.log_branch(name, before, new);
                Ok(true)
            }
            (Ended::Exit(_), _, err) if err.contains("but expected") || err.contains("reference already exists") => Ok(false),
            (ended, _, err) => Err(failed("update-ref", &ended, &err)),
        }
    }

    /// Sets `name`, whatever its value was.
    pub(super) async fn set_ref(&self, name: &str, new: &Commit, cancel: &Cancel) -> Result<(), DatasetError> {
        self.git(["update-ref", "--no-deref", "-m", "tagalong", name, new.as_str()]).text(cancel).await.map(drop)
    }

    /// Sets all of `names`, or none.
    pub(super) async fn set_refs(&self, names: &[String], new: &Commit, cancel: &Cancel) -> Result<(), DatasetError> {
        let path = self.own_dir()?.join("refs");
        let text: String = names.iter().flat_map(|name| ["update ", name, " ", new.as_str(), "\n"]).collect();
        let written = std::fs::write(&path, text).and_then(|()| File::open(&path));
        let file = written.map_err(|error| DatasetError::File(path, error))?;
        self.git(["update-ref", "--no-deref", "-m", "tagalong", "--stdin"]).stdin(file).text(cancel).await.map(drop)
    }

    /// Removes `name` if its value is `old`.
    pub(super) async fn drop_ref(&self, name: &str, old: &Commit, cancel: &Cancel) -> Result<(), DatasetError> {
        self.git(["update-ref", "--no-deref", "-d", name, old.as_str()]).text(cancel).await.map(drop)
    }
}

/// The files that the git processes of one piece of work may access; none if that is not enforced.
#[derive(Debug)]
pub(super) struct Reach {
    /// The checkout's git folder, and ours.
    pub(super) repository: Option<Confinement>,
    /// The checkout's files as well.
    pub(super) files: Option<Confinement>,
}

impl Reach {
    fn of(settings: &config::Dataset, dir: &Path, has_files: bool, own: &Own) -> Result<Self, DatasetError> {
        match settings.git.confine {
            Confine::WherePossible | Confine::Always if can_confine() => {}
            Confine::Always => return Err(DatasetError::NotConfined(dir.to_owned())),
            Confine::WherePossible | Confine::Never => return Ok(Self { repository: None, files: None }),
        }
        let opened = || {
            let work = Beneath::open_real(dir)?;
            let own = Confinement::default().with(Beneath::open_real(own.root())?.into_folder());
            if !has_files {
                return Ok(Self { repository: Some(own.with(work.into_folder())), files: None });
            }
            let git = work.at(Path::new(".git"))?.into_folder();
            Ok(Self { repository: Some(own.clone().with(git)), files: Some(own.with(work.into_folder())) })
        };
        opened().map_err(|error| DatasetError::File(dir.to_owned(), error))
    }
}

/// The first two numbers in the output of `git version`.
pub(super) fn version_of(said: &str) -> (u32, u32) {
    let version = said.trim().trim_start_matches("git version ");
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The git folder and the work tree of the repository in `dir`; none if there is no repository.
///
/// # Errors
/// When `.git` is not a folder but leads elsewhere.
pub(super) fn git_folder(dir: &Path) -> Result<Option<(PathBuf, Option<PathBuf>)>, DatasetError> {
    let dot = dir.join(".git");
    match dot.symlink_metadata().map(|meta| meta.file_type()) {
        Ok(kind) if kind.is_dir() => Ok(Some((dot, Some(dir.to_owned())))),
        Ok(kind) if kind.is_file() => {
            let text = Beneath::open(dir).and_then(|folder| folder.text(".git")).unwrap_or_default();
            if text.trim_start().starts_with("gitdir:") { Err(DatasetError::Elsewhere(dot)) } else { Ok(None) }
        }
        Ok(kind) => Err(DatasetError::NotPlain(dot, shape::word(kind))),
        Err(_) if dir.join("HEAD").is_file() && dir.join("objects").is_dir() => Ok(Some((dir.to_owned(), None))),
        Err(_) => Ok(None),
    }
}
