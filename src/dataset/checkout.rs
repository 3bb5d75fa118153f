//! Moves the branch and the files that are checked out from one commit to another, without losing an edit.
//!
//! git's own `index.lock` is held all the time, so no git of the app works on the index meanwhile. The files come first, then
//! the index, then the branch by compare-and-swap: no matter when the process is killed, nothing is committed that reverts the
//! remote's work. `tagalong/moving` records what was about to happen, and [`Repo::settle`] undoes or completes it.

use std::path::Path;
use std::path::PathBuf;

use process::Cancel;
use process::Ended;

use crate::dataset::DatasetError;
use crate::dataset::beneath::stays_below;
use crate::dataset::call::error_lines;
use crate::dataset::call::failed;
use crate::dataset::git::Repo;
use crate::dataset::locks::IndexLock;
use crate::model::Commit;

/// From this many loose objects or packs on, they are packed together; these are git's own numbers.
const MANY_LOOSE: u64 = 6700;
const MANY_PACKS: u64 = 50;
/// How often we try while somebody keeps writing into files that are in the way.
const TRIES: usize = 8;

/// The result of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Moved {
    /// The branch, the index and the files are at the new commit.
    Done {
        /// The name under which edits that were in the way were parked.
        parked: Option<String>,
    },
    /// The branch had moved meanwhile; nothing was changed.
    Raced,
}

impl Repo {
    /// Moves the branch from `from` to `to`, together with the files and the index.
    pub(super) async fn go(&self, from: Option<&Commit>, to: &Commit, cancel: &Cancel) -> Result<Moved, DatasetError> {
        let Some(work) = self.work.clone() else {
            let swapped = self.swap_ref(&self.local_ref(), to, from, cancel).await?;
            return Ok(if swapped { Moved::Done { parked: None } } else { Moved::Raced });
        };
        let lock = IndexLock::take(self, cancel).await?;
        let index = self.borrowed_index()?;
        let base = match from {
            Some(from) => from.to_string(),
            None => self.empty_tree(cancel).await?,
        };
        self.remember_move(&base, to)?;
        let parked = match self.place_files(&base, to, &index, cancel).await {
            Ok(parked) => parked,
            Err(error) => {
                // Undo what was written so far if possible; otherwise the next pass does.
                let _ = self.take_back(&work, &base, to, cancel).await;
                return Err(error);
            }
        };
        self.install_index(&index)?;
        if !self.swap_ref(&self.local_ref(), to, from, cancel).await? {
            let now = self.object(&self.local_ref(), cancel).await?;
            self.two_way(to.as_str(), &now, cancel).await?;
            self.forget_move();
            return Ok(Moved::Raced);
        }
        self.forget_move();
        drop(lock);
        Ok(Moved::Done { parked })
    }

    /// Brings the files and `index` from `base` to `to`. If edits are in the way, all edits are parked, because half of a
    /// change would be useless. git itself checks each file right before it writes it.
    async fn place_files(&self, base: &str, to: &Commit, index: &Path, cancel: &Cancel) -> Result<Option<String>, DatasetError> {
        if self.read_tree(base, to.as_str(), index, cancel).await?.is_none() {
            return Ok(None);
        }
        // A file whose time differs but whose content does not is not an edit.
        self.git_on_files(["update-index", "-q", "--ignore-submodules", "--refresh"]).index(index).run(cancel).await;
        if self.read_tree(base, to.as_str(), index, cancel).await?.is_none() {
            return Ok(None);
        }
        self.park_and_place(to.as_str(), index, cancel).await
    }

    /// Parks all edits and brings files and `index` to `to`. Returns the name of the parked work.
    pub(super) async fn park_and_place(&self, to: &str, index: &Path, cancel: &Cancel) -> Result<Option<String>, DatasetError> {
        let mut parked = None;
        let mut why = String::new();
        for _ in 0..TRIES {
            let edits = self.park_edits(index, cancel).await?;
            parked = edits.parked.or(parked);
            match self.read_tree(&edits.tree, to, index, cancel).await? {
                None => return Ok(parked),
                Some(err) => why = err,
            }
        }
        let why = format!("other programs keep writing files that are in the way: {}", error_lines(&why));
        Err(DatasetError::Git { what: "read-tree".to_owned(), why })
    }

    /// Runs `read-tree -m -u`. Returns git's message if files or index entries are in the way, in which case nothing was
    /// changed. Files that no object could restore are moved aside first.
    async fn read_tree(&self, from: &str, to: &str, index: &Path, cancel: &Cancel) -> Result<Option<String>, DatasetError> {
        self.clear_the_way(from, to, index, cancel).await?;
        let (ended, _, err) = self.git_on_files(["read-tree", "-m", "-u", from, to]).index(index).run(cancel).await;
        match ended {
            Ended::Exit(0) => Ok(None),
            Ended::Exit(128) if in_the_way(&err) => Ok(Some(err)),
            ended => Err(failed("read-tree", &ended, &err)),
        }
    }

    /// The same for the repository's own index, whose lock is held: it works on a copy.
    pub(super) async fn two_way(&self, from: &str, to: &str, cancel: &Cancel) -> Result<bool, DatasetError> {
        let index = self.borrowed_index()?;
        self.git_on_files(["update-index", "-q", "--ignore-submodules", "--refresh"]).index(&index).run(cancel).await;
        let done = self.read_tree(from, to, &index, cancel).await?.is_none();
        if done {
            self.install_index(&index)?;
        }
        Ok(done)
    }

    /// A copy of the index in our own folder. It keeps the time, from which git knows which entries it must examine again.
    pub(super) fn borrowed_index(&self) -> Result<PathBuf, DatasetError> {
        let copy = self.own_dir()?.join("index");
        let _ = std::fs::remove_file(&copy);
        let _ = std::fs::remove_file(copy.with_extension("lock"));
        let copied = match self.files()?.file("index") {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(copy),
            found => found.and_then(|mut own| {
                let mut to = std::fs::File::create(&copy)?;
                std::io::copy(&mut own, &mut to)?;
                to.set_modified(own.metadata()?.modified()?)
            }),
        };
        copied.map(|()| copy).map_err(|error| DatasetError::File(self.git_dir.join("index"), error))
    }

    /// Arguments for every path except the nested repositories that `index` knows. To compare one of them, git would read its
    /// configuration, which others control.
    pub(super) async fn without_nested(&self, index: &Path, cancel: &Cancel) -> Result<Vec<String>, DatasetError> {
        let listed = self.git(["ls-files", "-z", "--stage"]).index(index).bytes(cancel).await?;
        let nested = listed.split(|b| *b == 0).filter(|entry| entry.starts_with(b"160000 "));
        // git refuses a path that leads out of the work tree, and checks nothing out there.
        let path = |entry: &[u8]| {
            let path = entry.splitn(2, |b| *b == b'\t').nth(1).filter(|path| stays_below(path))?;
            Some(String::from_utf8_lossy(path).into_owned())
        };
        let except = nested.filter_map(path).map(|path| format!(":(exclude,literal){path}"));
        Ok(["--".to_owned(), ".".to_owned()].into_iter().chain(except).collect())
    }

    /// Packs loose objects and small packs together once there are many. Nothing is dropped, because objects may be in use that
    /// only an index, a log or a worktree of the app refers to, which cannot be seen from here. If somebody maintains an index
    /// over the packs, they maintain the packs too.
    pub(super) async fn pack_up(&self, cancel: &Cancel) -> Result<(), DatasetError> {
        if self.files()?.has("objects/pack/multi-pack-index") {
            return Ok(());
        }
        let counted = self.git(["count-objects", "-v"]).text(cancel).await?;
        let count = |name: &str| {
            let line = counted.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        if count("count") > MANY_LOOSE || count("packs") > MANY_PACKS {
            self.git(["repack", "-d", "-l", "-q", "-n", "--geometric=2"]).text(cancel).await?;
        }
        Ok(())
    }

    /// Writes the files and the index of a clone in which nobody works yet.
    pub(super) async fn fill_first(&self, tip: &Commit, cancel: &Cancel) -> Result<(), DatasetError> {
        let Some(_) = &self.work else { return Ok(()) };
        let index = self.own_dir()?.join("index");
        self.git_on_files(["read-tree", "-m", "-u", tip.as_str()]).index(&index).text(cancel).await?;
        self.install_index(&index)
    }

    /// Makes our `index` the checkout's index, whose lock is held.
    pub(super) fn install_index(&self, index: &Path) -> Result<(), DatasetError> {
        self.files()?.bring(index, "index").map_err(|error| DatasetError::File(self.git_dir.join("index"), error))
    }

    /// The commit that a full ref points to; none if there is no such ref.
    pub(super) async fn tip(&self, name: &str, cancel: &Cancel) -> Result<Option<Commit>, DatasetError> {
        if name == "HEAD" {
            return Box::pin(self.head_commit(cancel)).await;
        }
        // Most refs are files of their own, and a pass reads them often.
        if name.starts_with("refs/") {
            match self.files()?.text(name) {
                Ok(text) if Commit::parse(text.trim_end()).is_ok() => return Ok(Commit::parse(text.trim_end()).ok()),
                // A tag may be an object of its own.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.own.is_reftable && !name.starts_with("refs/tags/") => {
                    return Ok(self.packed_tip(name));
                }
                _ => {}
            }
        }
        match self.git(["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]).run(cancel).await {
            (Ended::Exit(0), out, _) => Ok(Commit::parse(out.trim()).ok()),
            (Ended::Exit(1), ..) => Ok(None),
            (Ended::Exit(128), _, err) if err.contains("Needed a single revision") => Ok(None),
            (ended, _, err) => Err(failed("rev-parse", &ended, &err)),
        }
    }

    /// The value in `packed-refs` of a ref that has no file of its own.
    fn packed_tip(&self, name: &str) -> Option<Commit> {
        let text = self.files().ok()?.text("packed-refs").ok()?;
        text.lines().find_map(|line| line.split_once(' ').filter(|(_, at)| *at == name).and_then(|(commit, _)| Commit::parse(commit).ok()))
    }

    /// Creates a lost index again, from the branch; the files stay as they are.
    pub(super) async fn make_index(&self, cancel: &Cancel) -> Result<(), DatasetError> {
        let (Some(_), Some(tip)) = (&self.work, self.tip(&self.local_ref(), cancel).await?) else { return Ok(()) };
        if self.git_dir.join("index").exists() {
            return Ok(());
        }
        let lock = IndexLock::take(self, cancel).await?;
        let index = self.borrowed_index()?;
        self.git(["read-tree", tip.as_str()]).index(&index).text(cancel).await?;
        self.git_on_files(["update-index", "-q", "--refresh"]).index(&index).run(cancel).await;
        self.install_index(&index)?;
        drop(lock);
        Ok(())
    }

    /// Brings index and files to the branch: edits and untracked files are parked and then removed. Returns the name of the
    /// parked work.
    pub(super) async fn clean(&self, cancel: &Cancel) -> Result<Option<String>, DatasetError> {
        let (Some(_), Some(tip)) = (&self.work, self.tip(&self.local_ref(), cancel).await?) else { return Ok(None) };
        let lock = IndexLock::take(self, cancel).await?;
        let had_index = self.git_dir.join("index").exists();
        let index = self.borrowed_index()?;
        if !had_index {
            // The branch was never checked out, or the index was lost: in that case a missing file is not an edit.
            self.git(["read-tree", tip.as_str()]).index(&index).text(cancel).await?;
            self.git_on_files(["checkout-index", "-a", "-q"]).index(&index).run(cancel).await;
        }
        self.git_on_files(["update-index", "-q", "--ignore-submodules", "--refresh"]).index(&index).run(cancel).await;
        self.remember_rules(cancel).await?;
        let mut parked = None;
        let mut left = None;
        match self.unedit(&tip, &index, &mut parked, cancel).await {
            Ok(true) => {}
            Ok(false) => left = Some("another program keeps writing them".to_owned()),
            // A single file that cannot be written must not keep the rest from being served.
            Err(DatasetError::Git { why, .. }) if is_no_right(&why) => left = Some(why),
            Err(error @ DatasetError::InTheWay(..)) => left = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        if let Some(why) = left {
            self.note(format!("Edited files could not be reset to the branch and were left as they are: {why}"));
            self.git(["read-tree", tip.as_str()]).index(&index).text(cancel).await?;
            self.git_on_files(["update-index", "-q", "--ignore-submodules", "--refresh"]).index(&index).run(cancel).await;
        }
        self.install_index(&index)?;
        drop(lock);
        Ok(parked)
    }

    /// Parks the edits and brings files and `index` back to `tip`; false if somebody writes them meanwhile. Files that differ
    /// only in how they are written stay as they are.
    async fn unedit(&self, tip: &Commit, index: &Path, parked: &mut Option<String>, cancel: &Cancel) -> Result<bool, DatasetError> {
        self.clear_for(tip.as_str(), index, cancel).await?;
        for _ in 0..TRIES {
            let edits = self.park_edits(index, cancel).await?;
            *parked = edits.parked.or(parked.take());
            let base = if edits.same.is_empty() {
                edits.tree
            } else {
                self.update_index(index, &edits.same, cancel).await?;
                self.git(["write-tree"]).index(index).text(cancel).await?.trim().to_owned()
            };
            if self.read_tree(&base, tip.as_str(), index, cancel).await?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether git says that we cannot write or remove a file, now or ever.
fn is_no_right(why: &str) -> bool {
    ["Operation not permitted", "Permission denied", "Device or resource busy"].iter().any(|word| why.contains(word))
}

/// Whether git says that edits, staged changes or untracked files are in the way.
fn in_the_way(err: &str) -> bool {
    [
        "not uptodate",
        "would be overwritten",
        "would be removed",
        "Cannot merge",
        "would lose",
        "Updating the following",
        "you need to resolve",
        "unmerged",
    ]
    .iter()
    .any(|word| err.contains(word))
}
