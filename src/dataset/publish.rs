//! `publish = "worktree"`: readers follow one symbolic link, which is switched in one step from one complete worktree to
//! another.
//!
//! A worktree is named after its commit. It starts with hard links to the files of the previous one, so only changed files are
//! written: a change always creates a new file, because git removes a file before it writes it.
//!
//! Everything that must be known about a worktree (its index, that it is complete, when readers left it) is in a record in our
//! own folder. The `.git` in the worktree is for readers who ask git for their commit; it is written but never read here.
//!
//! Our own folder may be inside the checkout, where others write: no link in it is followed.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use process::Cancel;
use process::Confinement;
use process::Ended;

use crate::clock;
use crate::config::Publish;
use crate::dataset::Dataset;
use crate::dataset::DatasetError;
use crate::dataset::Snapshot;
use crate::dataset::Work;
use crate::dataset::beneath::Beneath;
use crate::dataset::beneath::plain_folder;
use crate::dataset::call::Call;
use crate::dataset::git::Repo;
use crate::dataset::outward;
use crate::dataset::place::ASIDE;
use crate::dataset::place::Place;
use crate::model::Commit;

/// In a worktree's record: the worktree is complete. The file's time says when the symbolic link last left it.
const WHOLE: &str = "whole";
/// The index that git works on, in a folder that only we can write.
const INDEX: &str = "published-index";
/// The folder of the records, in our own folder.
const RECORDS: &str = "published";

impl Dataset {
    /// A complete worktree of `commit`, beside the one that is being served; in place: the checkout itself. It is created once.
    ///
    /// # Errors
    /// When it cannot be written; the data that is being served is not touched.
    pub async fn stage(&self, commit: &Commit, cancel: &Cancel) -> Result<Snapshot, DatasetError> {
        let settings = &self.0.settings;
        let Publish::Worktree { dir, .. } = &settings.publish else {
            return Ok(Snapshot { commit: commit.clone(), path: settings.dir.clone() });
        };
        let work = self.begin(cancel).await?;
        let path = dir.join(commit.as_str());
        let snapshot = Snapshot { commit: commit.clone(), path };
        std::fs::create_dir_all(dir).map_err(|error| DatasetError::File(dir.clone(), error))?;
        let tree = Tree::of(&work, dir, commit)?;
        let now = self.current().await;
        let is_served = now.as_ref().is_some_and(|now| now.commit == *commit);
        let is_there = tree.is_whole() || is_served && tree.adopt(cancel).await;
        let before = match now {
            Some(now) if !is_served => Some(Tree::of(&work, dir, &now.commit)?).filter(Tree::is_whole),
            _ => None,
        };
        if !is_there {
            tree.remove()?;
            if let Err(error) = tree.fill(before.as_ref(), cancel).await {
                // The next attempt removes what is left.
                let _ = tree.remove();
                return Err(error);
            }
        }
        if !outward::is_noted(&tree.record) {
            let before = before.as_ref().map(|before| (before.record.as_path(), &before.commit));
            outward::note_links(&work.repo, &tree.record, commit, before, cancel).await?;
        }
        Ok(snapshot)
    }

    /// The symbolic links of a published worktree that lead out of it; in place: none, because nothing is examined.
    #[must_use]
    pub fn links_out(&self, snapshot: &Snapshot) -> Vec<String> {
        let Publish::Worktree { .. } = &self.0.settings.publish else { return Vec::new() };
        let Ok(place) = Place::of(&self.0.settings) else { return Vec::new() };
        outward::leading_out(&snapshot.path, &place.side.join(RECORDS).join(snapshot.commit.as_str()))
    }

    /// Switches the symbolic link to `snapshot`. At every moment readers see the old worktree or the new one.
    ///
    /// # Errors
    /// When something else has the link's name, or the link cannot be written; the old worktree is served as before.
    pub async fn flip(&self, snapshot: &Snapshot) -> Result<(), DatasetError> {
        let Publish::Worktree { link, .. } = &self.0.settings.publish else { return Ok(()) };
        if link.symlink_metadata().is_ok_and(|meta| !meta.is_symlink()) {
            return Err(DatasetError::NotALink(link.clone()));
        }
        let before = self.current().await;
        let error = |error| DatasetError::File(link.clone(), error);
        let folder = link.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(error)?;
        // The name is unique: a fixed name that a crash left behind would be in the way for ever.
        let new = folder.join(format!("{}{}", temporary(link), clock::new_id()));
        std::os::unix::fs::symlink(relative(folder, &snapshot.path), &new).map_err(error)?;
        if let Err(why) = std::fs::rename(&new, link) {
            let _ = std::fs::remove_file(&new);
            return Err(error(why));
        }
        // If this fails, the switch may be lost in a power failure, and nothing else.
        let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        if let Some(before) = before.filter(|before| before.path != snapshot.path)
            && let Ok(record) = Place::of(&self.0.settings)?.open_side().and_then(|side| side.at(&record_of(&before.commit)))
            && record.has(WHOLE)
        {
            // The file's time says when. If this fails, the worktree is removed a little earlier, or after it is left the next
            // time.
            let _ = record.write(WHOLE, "left");
        }
        Ok(())
    }

    /// The target of the symbolic link; in place: the checkout with its branch's commit.
    pub async fn current(&self) -> Option<Snapshot> {
        match &self.0.settings.publish {
            Publish::InPlace => Some(Snapshot { commit: self.head().await.ok()??, path: self.0.settings.dir.clone() }),
            Publish::Worktree { link, dir, .. } => {
                let path = link.canonicalize().ok()?;
                // Somebody has pointed the link elsewhere, so it serves nothing of ours.
                let is_ours = path.parent() == dir.canonicalize().ok().as_deref();
                let commit = Commit::parse(path.file_name()?.to_str()?).ok().filter(|_| is_ours)?;
                Some(Snapshot { commit, path })
            }
        }
    }

    /// Removes worktrees that the symbolic link left longer than the grace period ago, except those of `needed`. A worktree
    /// that somebody has edited is moved aside instead. Returns how many were removed.
    ///
    /// # Errors
    /// When the repository cannot be used.
    pub async fn tidy(&self, needed: &[Commit], cancel: &Cancel) -> Result<usize, DatasetError> {
        let Publish::Worktree { link, dir, keep } = &self.0.settings.publish else { return Ok(0) };
        let work = self.begin(cancel).await?;
        let serving = self.current().await.map(|now| now.commit);
        let mut gone = 0;
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(commit) = name.to_str().and_then(|name| Commit::parse(name).ok()) else { continue };
            let tree = Tree::of(&work, dir, &commit)?;
            if serving.as_ref() == Some(&commit) || needed.contains(&commit) || !tree.was_left_since(*keep) {
                continue;
            }
            if tree.is_edited(cancel).await {
                tree.set_aside()?;
            }
            tree.remove()?;
            gone += 1;
        }
        remove_temporaries(link);
        Ok(gone)
    }
}

/// A published worktree: a direct child of the configured folder, and its record.
struct Tree<'a> {
    repo: &'a Repo,
    place: &'a Place,
    /// The folder of all worktrees.
    dir: &'a Path,
    commit: Commit,
    path: PathBuf,
    record: PathBuf,
}

impl<'a> Tree<'a> {
    fn of(work: &'a Work, dir: &'a Path, commit: &Commit) -> Result<Self, DatasetError> {
        let records = work.place.side.join(RECORDS);
        plain_folder(&records).map_err(|error| DatasetError::File(records.clone(), error))?;
        let path = dir.join(commit.as_str());
        let record = records.join(commit.as_str());
        Ok(Self { repo: &work.repo, place: &work.place, dir, commit: commit.clone(), path, record })
    }

    /// `git ARGS` over the worktree's files, with a copy of its index in our own folder.
    fn git<S: Into<String>>(&self, args: impl IntoIterator<Item = S>) -> Call {
        let call = self.repo.git(args).in_tree(&self.path).index(&self.index());
        match self.files() {
            Ok(files) => call.reaching(&Confinement::default().with(files.into_folder())),
            // In that case git finds no files either.
            Err(_) => call,
        }
    }

    fn index(&self) -> PathBuf {
        self.repo.own.scratch.join(INDEX)
    }

    /// Puts the index of this tree, or of the tree that it starts from, where git works on it.
    fn borrow_index(&self, of: &Self) -> std::io::Result<()> {
        self.forget_index();
        let scratch = Beneath::open_real(&self.repo.own.scratch)?;
        self.place.open_side()?.at(&record_of(&of.commit))?.copy_to(Path::new("index"), &scratch, Path::new(INDEX))
    }

    fn forget_index(&self) {
        // It is left over from another tree, or from a git that was killed.
        let _ = (std::fs::remove_file(self.index()), std::fs::remove_file(self.index().with_extension("lock")));
    }

    /// Makes the index that git worked on the tree's index.
    fn keep_index(&self) -> Result<(), DatasetError> {
        let kept = self.made_record().and_then(|record| record.bring(&self.index(), "index"));
        kept.map_err(|error| DatasetError::File(self.record.join("index"), error))
    }

    /// The worktree's files, held open.
    fn files(&self) -> std::io::Result<Beneath> {
        Beneath::open_real(self.dir)?.at(Path::new(self.commit.as_str()))
    }

    /// The worktree's record, held open; created if it is missing.
    fn made_record(&self) -> std::io::Result<Beneath> {
        self.place.open_side()?.made(&record_of(&self.commit))
    }

    fn mark_whole(&self) -> Result<(), DatasetError> {
        let marked = self.made_record().and_then(|record| record.write(WHOLE, ""));
        marked.map_err(|error| DatasetError::File(self.record.join(WHOLE), error))
    }

    /// An index that is a link is not ours, and git would write to its target.
    fn is_whole(&self) -> bool {
        let record = self.place.open_side().and_then(|side| side.at(&record_of(&self.commit)));
        let is_plain = |record: &Beneath, name| record.meta(name).is_ok_and(|meta| meta.is_file());
        record.is_ok_and(|record| is_plain(&record, WHOLE) && is_plain(&record, "index")) && is_folder(&self.path)
    }

    async fn fill(&self, before: Option<&Self>, cancel: &Cancel) -> Result<(), DatasetError> {
        let made = Beneath::open_real(self.dir).and_then(|dir| dir.make_folder(self.commit.as_str()));
        made.map_err(|error| DatasetError::File(self.path.clone(), error))?;
        self.forget_index();
        self.made_record().map_err(|error| DatasetError::File(self.record.clone(), error))?;
        let linked = match before {
            Some(before) => link_all(before, self).is_ok() && self.is_clean(cancel).await,
            None => false,
        };
        if let Some(before) = before.filter(|_| linked) {
            self.git(["read-tree", "-m", "-u", before.commit.as_str(), self.commit.as_str()]).text(cancel).await?;
        } else {
            self.forget_index();
            self.git(["read-tree", "--reset", "-u", self.commit.as_str()]).text(cancel).await?;
        }
        self.keep_index()?;
        self.tell_readers()?;
        self.mark_whole()
    }

    /// Takes over a complete worktree that an older tagalong created and that readers use.
    async fn adopt(&self, cancel: &Cancel) -> bool {
        let is_old = self.record.symlink_metadata().is_err() && is_folder(&self.path);
        is_old && !self.is_edited(cancel).await && self.keep_index().is_ok() && self.mark_whole().is_ok()
    }

    /// Lets a reader who asks git in the worktree get its commit, from a git folder as `git worktree add` creates it.
    fn tell_readers(&self) -> Result<(), DatasetError> {
        if self.repo.own.is_reftable {
            return Ok(());
        }
        let told = || {
            let admin = Path::new("worktrees").join(self.commit.as_str());
            let home = self.repo.git_dir.canonicalize()?;
            let here = self.path.canonicalize()?;
            let files = Beneath::open(&self.repo.git_dir)?;
            files.remove_all(&admin)?;
            let theirs = files.made(&admin)?;
            theirs.write("HEAD", format!("{}\n", self.commit))?;
            theirs.write("commondir", "../..\n")?;
            theirs.write("gitdir", format!("{}\n", here.join(".git").display()))?;
            self.made_record()?.copy_to(Path::new("index"), &theirs, Path::new("index"))?;
            self.files()?.write(".git", format!("gitdir: {}\n", home.join(admin).display()))
        };
        told().map_err(|error| DatasetError::File(self.path.join(".git"), error))
    }

    async fn is_clean(&self, cancel: &Cancel) -> bool {
        self.git(["diff-files", "--quiet", "--ignore-submodules=dirty"]).run(cancel).await.0 == Ended::Exit(0)
    }

    /// Whether somebody has changed or added a file in it. A worktree that cannot be examined counts as edited, one that was
    /// never complete does not.
    async fn is_edited(&self, cancel: &Cancel) -> bool {
        if !is_folder(&self.path) {
            return false;
        }
        if self.record.symlink_metadata().is_err() {
            // It comes from an older tagalong, or is not ours at all: compare it with its commit.
            self.forget_index();
            let read = self.made_record().is_ok() && self.git(["read-tree", self.commit.as_str()]).run(cancel).await.0 == Ended::Exit(0);
            if !read {
                return true;
            }
        } else if !self.is_whole() {
            return false;
        } else if self.borrow_index(self).is_err() {
            return true;
        }
        self.git(["update-index", "-q", "--ignore-submodules", "--refresh"]).run(cancel).await;
        let (ended, others, _) = self.git(["ls-files", "-z", "--others", "--exclude-standard"]).run(cancel).await;
        ended != Ended::Exit(0) || !others.is_empty() || !self.is_clean(cancel).await
    }

    /// Removes it in any state, by its name below the folder of all worktrees, no matter what its `.git` says.
    fn remove(&self) -> Result<(), DatasetError> {
        let name = self.commit.as_str();
        Beneath::open_real(self.dir)
            .and_then(|dir| dir.remove_all(name))
            .and_then(|()| Beneath::open(&self.repo.git_dir)?.remove_all(Path::new("worktrees").join(name)))
            .and_then(|()| self.place.open_side()?.remove_all(record_of(&self.commit)))
            .map_err(|error| DatasetError::File(self.path.clone(), error))
    }

    /// Keeps a worktree that somebody has edited, out of the way.
    fn set_aside(&self) -> Result<(), DatasetError> {
        let name = self.commit.as_str();
        let to = format!("worktree-{}-{}", clock::new_id(), self.commit);
        let moved = || {
            let aside = self.place.open_side()?.made(Path::new(ASIDE))?;
            Beneath::open_real(self.dir)?.move_to(Path::new(name), &aside, Path::new(&to))
        };
        moved().map_err(|error| DatasetError::File(self.place.side.join(ASIDE).join(&to), error))
    }

    fn was_left_since(&self, keep: Duration) -> bool {
        let mark = if self.is_whole() { self.record.join(WHOLE) } else { self.path.clone() };
        let Ok(left) = mark.symlink_metadata().and_then(|meta| meta.modified()) else { return true };
        let left_ms = left.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        clock::now_ms() - left_ms >= keep.as_millis() as i64
    }
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

/// The record of a commit's worktree, in our own folder.
fn record_of(commit: &Commit) -> PathBuf {
    Path::new(RECORDS).join(commit.as_str())
}

/// Links every file of `from` into `to`, and takes its index along.
fn link_all(from: &Tree<'_>, to: &Tree<'_>) -> std::io::Result<()> {
    let old = from.files()?;
    let new = to.files()?;
    let mut folders = vec![PathBuf::new()];
    while let Some(path) = folders.pop() {
        let old = old.at(&path)?;
        let new = new.at(&path)?;
        for name in old.names("")? {
            if name == ".git" {
                continue;
            }
            if old.is_folder(&name) {
                new.make_folder(&name)?;
                folders.push(path.join(&name));
            } else {
                old.link_to(Path::new(&name), &new, Path::new(&name))?;
            }
        }
    }
    to.borrow_index(from)
}

fn temporary(link: &Path) -> String {
    format!(".{}.tagalong-", link.file_name().unwrap_or_default().to_string_lossy())
}

fn remove_temporaries(link: &Path) {
    let folder = link.parent().unwrap_or(Path::new("/"));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&temporary(link)) {
            // The next cleaning does it.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// `to` as seen from the folder `from`, so that the link is also valid where the volume is mounted elsewhere.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (Ok(from), Ok(to)) = (from.canonicalize(), to.canonicalize()) else { return to.to_owned() };
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let mut path: PathBuf = from.components().skip(shared).map(|_| "..").collect();
    path.extend(to.components().skip(shared));
    path
}
