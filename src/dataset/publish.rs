//! `publish = "worktree"`: readers follow one symlink that is swapped atomically between whole worktrees.
//!
//! A worktree is named by its commit. It begins as hard links to the files of the one before, so that only what changed is
//! written: a change always makes a new file, for git unlinks before it writes.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock;
use crate::config::Publish;
use crate::dataset::Dataset;
use crate::dataset::DatasetError;
use crate::dataset::Snapshot;
use crate::dataset::git::Repo;
use crate::dataset::git::shown;
use crate::model::Commit;
use crate::process::Cancel;
use crate::process::Ended;

/// In a worktree's git folder: it is whole. Its time says when the symlink last left it.
const WHOLE: &str = "tagalong-whole";

impl Dataset {
    /// A whole worktree of `commit`, beside the one that is served; in place, the checkout itself. Made once.
    ///
    /// # Errors
    /// When it cannot be written; what is served is not touched.
    pub async fn stage(&self, commit: &Commit, cancel: &Cancel) -> Result<Snapshot, DatasetError> {
        let settings = &self.0.settings;
        let Publish::Worktree { dir, .. } = &settings.publish else {
            return Ok(Snapshot { commit: commit.clone(), path: settings.dir.clone() });
        };
        let work = self.begin(cancel).await?;
        let path = dir.join(commit.as_str());
        let snapshot = Snapshot { commit: commit.clone(), path };
        std::fs::create_dir_all(dir).map_err(|error| DatasetError::File(dir.clone(), error))?;
        if !is_whole(&snapshot.path) {
            work.repo.remove_worktree(&snapshot.path, cancel).await?;
            let before = self.current().await.filter(|now| is_whole(&now.path));
            if let Err(error) = work.repo.fill(&snapshot, before.as_ref(), cancel).await {
                // The next try removes what is left.
                let _ = work.repo.remove_worktree(&snapshot.path, &Cancel::default()).await;
                return Err(error);
            }
        }
        Ok(snapshot)
    }

    /// Swaps the symlink to `snapshot`. Readers see the old worktree or the new one, never none.
    ///
    /// # Errors
    /// When the symlink's place is taken by something else, or cannot be written; the old worktree is then served on.
    pub async fn flip(&self, snapshot: &Snapshot) -> Result<(), DatasetError> {
        let Publish::Worktree { link, .. } = &self.0.settings.publish else { return Ok(()) };
        if link.symlink_metadata().is_ok_and(|meta| !meta.is_symlink()) {
            return Err(DatasetError::NotALink(link.clone()));
        }
        let before = self.current().await;
        let error = |error| DatasetError::File(link.clone(), error);
        let folder = link.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(error)?;
        // A name of its own: a fixed one that a crash left behind would be in the way for ever.
        let new = folder.join(format!("{}{}", temporary(link), clock::new_id()));
        std::os::unix::fs::symlink(relative(folder, &snapshot.path), &new).map_err(error)?;
        if let Err(why) = std::fs::rename(&new, link) {
            let _ = std::fs::remove_file(&new);
            return Err(error(why));
        }
        // Without it the swap would only not survive the loss of power.
        let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        if let Some(before) = before.filter(|before| before.path != snapshot.path) {
            touch(&before.path);
        }
        Ok(())
    }

    /// What the symlink leads to; in place, the checkout with its branch's commit.
    pub async fn current(&self) -> Option<Snapshot> {
        match &self.0.settings.publish {
            Publish::InPlace => Some(Snapshot { commit: self.head().await.ok()??, path: self.0.settings.dir.clone() }),
            Publish::Worktree { link, .. } => {
                let path = link.canonicalize().ok()?;
                let commit = Commit::parse(path.file_name()?.to_str()?).ok()?;
                Some(Snapshot { commit, path })
            }
        }
    }

    /// Removes worktrees that the symlink left longer ago than the grace, except those of `needed`. One in which somebody has
    /// edited is set aside instead. Gives how many went.
    ///
    /// # Errors
    /// When the repository cannot be worked with.
    pub async fn tidy(&self, needed: &[Commit], cancel: &Cancel) -> Result<usize, DatasetError> {
        let Publish::Worktree { link, dir, keep } = &self.0.settings.publish else { return Ok(0) };
        let work = self.begin(cancel).await?;
        let serving = self.current().await.map(|now| now.commit);
        let mut gone = 0;
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(commit) = name.to_str().and_then(|name| Commit::parse(name).ok()) else { continue };
            if serving.as_ref() == Some(&commit) || needed.contains(&commit) || !left_since(&entry.path(), *keep) {
                continue;
            }
            if work.repo.is_edited(&entry.path(), cancel).await {
                set_worktree_aside(&entry.path(), &work.place.side)?;
            }
            work.repo.remove_worktree(&entry.path(), cancel).await?;
            gone += 1;
        }
        remove_temporaries(link);
        Ok(gone)
    }
}

impl Repo {
    async fn fill(&self, snapshot: &Snapshot, before: Option<&Snapshot>, cancel: &Cancel) -> Result<(), DatasetError> {
        let (path, commit) = (shown(&snapshot.path), snapshot.commit.as_str());
        self.git(["worktree", "prune"]).text(cancel).await?;
        self.git(["worktree", "add", "--detach", "--no-checkout", "-f", &path, commit]).text(cancel).await?;
        let admin =
            admin_of(&snapshot.path).ok_or_else(|| DatasetError::Damaged(snapshot.path.clone(), "it has no git folder".to_owned()))?;
        let at = Self { git_dir: admin.clone(), common: self.common.clone(), work: Some(snapshot.path.clone()), ..self.clone() };
        let linked = match before {
            Some(before) => link_all(before, &snapshot.path, &admin).is_ok() && at.is_clean(cancel).await,
            None => false,
        };
        match before.filter(|_| linked) {
            Some(before) => at.git(["read-tree", "-m", "-u", before.commit.as_str(), commit]).text(cancel).await?,
            None => at.git(["read-tree", "--reset", "-u", commit]).text(cancel).await?,
        };
        let mark = admin.join(WHOLE);
        std::fs::write(&mark, "").map_err(|error| DatasetError::File(mark, error))
    }

    async fn is_clean(&self, cancel: &Cancel) -> bool {
        self.git(["diff-files", "--quiet"]).run(cancel).await.0 == Ended::Exit(0)
    }

    /// Whether somebody has changed or added a file in the worktree at `path`. One that cannot be asked counts as edited.
    async fn is_edited(&self, path: &Path, cancel: &Cancel) -> bool {
        if !is_whole(path) {
            return false;
        }
        let Some(admin) = admin_of(path) else { return true };
        let at = Self { git_dir: admin, common: self.common.clone(), work: Some(path.to_owned()), ..self.clone() };
        let (ended, out, _) = at.git(["status", "--porcelain", "-z", "--ignored=no"]).run(cancel).await;
        ended != Ended::Exit(0) || !out.is_empty()
    }

    /// Removes the worktree at `path`, in whatever state it is.
    async fn remove_worktree(&self, path: &Path, cancel: &Cancel) -> Result<(), DatasetError> {
        let admin = admin_of(path);
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(DatasetError::File(path.to_owned(), error)),
            _ => {}
        }
        if let Some(admin) = admin.filter(|admin| admin.starts_with(self.common.join("worktrees"))) {
            // `worktree prune` does what is left.
            let _ = std::fs::remove_dir_all(admin);
        }
        self.git(["worktree", "prune"]).text(cancel).await.map(drop)
    }
}

/// What somebody has edited is kept whole, out of the way.
fn set_worktree_aside(path: &Path, side: &Path) -> Result<(), DatasetError> {
    let asides = side.join("aside");
    let to = asides.join(format!("worktree-{}-{}", clock::new_id(), path.file_name().unwrap_or_default().to_string_lossy()));
    std::fs::create_dir_all(&asides).and_then(|()| std::fs::rename(path, &to)).map_err(|error| DatasetError::File(to, error))
}

/// The git folder of a worktree.
fn admin_of(path: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(path.join(".git")).ok()?;
    Some(PathBuf::from(text.strip_prefix("gitdir: ")?.trim_end())).filter(|admin| admin.is_dir())
}

fn is_whole(path: &Path) -> bool {
    admin_of(path).is_some_and(|admin| admin.join(WHOLE).exists())
}

/// Links every file of `from` into `to`, and takes its index along.
fn link_all(from: &Snapshot, to: &Path, admin: &Path) -> std::io::Result<()> {
    let mut folders = vec![(from.path.clone(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        for entry in std::fs::read_dir(&from)? {
            let entry = entry?;
            let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
            if entry.file_name().as_bytes() == b".git" {
                continue;
            }
            if kind.is_dir() {
                std::fs::create_dir(&target)?;
                folders.push((entry.path(), target));
            } else {
                std::fs::hard_link(entry.path(), &target)?;
            }
        }
    }
    let old = admin_of(&from.path).map(|admin| admin.join("index")).ok_or(std::io::ErrorKind::NotFound)?;
    let new = admin.join("index");
    std::fs::copy(&old, &new)?;
    std::fs::File::options().write(true).open(&new)?.set_modified(std::fs::metadata(&old)?.modified()?)
}

/// Notes that the symlink leaves the worktree at `path` now.
fn touch(path: &Path) {
    if let Some(admin) = admin_of(path) {
        // Without it the worktree goes a little earlier, or stays until its next leaving.
        let _ = std::fs::write(admin.join(WHOLE), "left");
    }
}

fn left_since(path: &Path, keep: Duration) -> bool {
    let mark = admin_of(path).map_or_else(|| path.to_owned(), |admin| admin.join(WHOLE));
    let Ok(left) = std::fs::metadata(&mark).and_then(|meta| meta.modified()) else { return true };
    let left_ms = left.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    clock::now_ms() - left_ms >= keep.as_millis() as i64
}

fn temporary(link: &Path) -> String {
    format!(".{}.tagalong-", link.file_name().unwrap_or_default().to_string_lossy())
}

fn remove_temporaries(link: &Path) {
    let folder = link.parent().unwrap_or(Path::new("/"));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&temporary(link)) {
            // The next tidying does it.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// `to` as seen from the folder `from`, so that the symlink also holds where the volume is mounted elsewhere.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (Ok(from), Ok(to)) = (from.canonicalize(), to.canonicalize()) else { return to.to_owned() };
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let mut path: PathBuf = from.components().skip(shared).map(|_| "..").collect();
    path.extend(to.components().skip(shared));
    path
}
