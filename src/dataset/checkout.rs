//! Moving the branch and the files that are checked out from one commit to another, without losing an edit.
//!
//! git's own `index.lock` is held all the while, so that no git of the app works on the index meanwhile. Files first, then
//! the index, then the branch by compare-and-swap: wherever it is killed, nothing is committed that reverts the remote's
//! work. What it was about to do stands in `tagalong/moving`, and [`Repo::settle`] undoes or ends it.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use crate::dataset::DatasetError;
use crate::dataset::git::Repo;
use crate::dataset::git::failed;
use crate::dataset::git::said;
use crate::dataset::git::shown;
use crate::dataset::in_the_way::remove_empty;
use crate::dataset::locks::IndexLock;
use crate::model::Commit;
use crate::process::Cancel;
use crate::process::Ended;

/// How often it is tried while somebody keeps writing into files that are in the way.
const TRIES: usize = 8;

/// What became of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Moved {
    /// The branch, the index and the files stand at the new commit.
    Done {
        /// The name under which edits were parked that were in the way.
        parked: Option<String>,
    },
    /// The branch had moved meanwhile; nothing was changed.
    Raced,
}

impl Repo {
    /// Moves the branch from `from` to `to`, and what is checked out with it.
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
                // What was written so far is taken back now if that is possible, else by the next pass.
                let _ = self.take_back(&work, &base, to, cancel).await;
                return Err(error);
            }
        };
        let own = self.git_dir.join("index");
        std::fs::rename(&index, &own).map_err(|error| DatasetError::File(own.clone(), error))?;
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

    /// Brings the files and `index` from `base` to `to`. Edits that are in the way are parked, all of them, for half of what
    /// belongs together would be no use. git itself checks each file just before it writes it.
    async fn place_files(&self, base: &str, to: &Commit, index: &Path, cancel: &Cancel) -> Result<Option<String>, DatasetError> {
        if self.read_tree(base, to.as_str(), index, cancel).await?.is_none() {
            return Ok(None);
        }
        // Times that differ while the content does not are no edit.
        self.git(["update-index", "-q", "--refresh"]).index(index).run(cancel).await;
        if self.read_tree(base, to.as_str(), index, cancel).await?.is_none() {
            return Ok(None);
        }
        self.park_and_place(to.as_str(), index, cancel).await
    }

    /// Parks all edits and brings files and `index` to `to`. Gives the name of what was parked.
    pub(super) async fn park_and_place(&self, to: &str, index: &Path, cancel: &Cancel) -> Result<Option<String>, DatasetError> {
        let (mut parked, mut why) = (None, String::new());
        for _ in 0..TRIES {
            let edits = self.park_edits(index, cancel).await?;
            parked = edits.parked.or(parked);
            match self.read_tree(&edits.tree, to, index, cancel).await? {
                None => return Ok(parked),
                Some(err) => why = err,
            }
        }
        let why = format!("files in the way are written again and again: {}", said(&why));
        Err(DatasetError::Git { what: "read-tree".to_owned(), why })
    }

    /// `read-tree -m -u`; what it says when files or index entries are in the way, and nothing was changed. What no object could
    /// bring back is moved aside first.
    async fn read_tree(&self, from: &str, to: &str, index: &Path, cancel: &Cancel) -> Result<Option<String>, DatasetError> {
        self.clear_the_way(from, to, index, cancel).await?;
        let (ended, _, err) = self.git(["read-tree", "-m", "-u", from, to]).index(index).run(cancel).await;
        match ended {
            Ended::Exit(0) => Ok(None),
            Ended::Exit(128) if in_the_way(&err) => Ok(Some(err)),
            ended => Err(failed("read-tree", &ended, &err)),
        }
    }

    /// The same on the repository's own index, whose lock is held: by way of a copy.
    async fn two_way(&self, from: &str, to: &str, cancel: &Cancel) -> Result<bool, DatasetError> {
        let index = self.borrowed_index()?;
        self.git(["update-index", "-q", "--refresh"]).index(&index).run(cancel).await;
        let done = self.read_tree(from, to, &index, cancel).await?.is_none();
        let own = self.git_dir.join("index");
        if done {
            std::fs::rename(&index, &own).map_err(|error| DatasetError::File(own.clone(), error))?;
        }
        Ok(done)
    }

    /// A copy of the index, with its time, by which git knows which entries it must look at again.
    pub(super) fn borrowed_index(&self) -> Result<PathBuf, DatasetError> {
        let (own, copy) = (self.git_dir.join("index"), self.own_dir()?.join("index"));
        let _ = std::fs::remove_file(&copy);
        let _ = std::fs::remove_file(copy.with_extension("lock"));
        if own.exists() {
            let copied = || {
                std::fs::copy(&own, &copy)?;
                let time = std::fs::metadata(&own)?.modified()?;
                std::fs::File::options().write(true).open(&copy)?.set_modified(time)
            };
            copied().map_err(|error| DatasetError::File(copy.clone(), error))?;
        }
        Ok(copy)
    }

    fn record(&self) -> PathBuf {
        self.git_dir.join("tagalong").join("moving")
    }

    fn remember_move(&self, from: &str, to: &Commit) -> Result<(), DatasetError> {
        let record = self.own_dir()?.join("moving");
        let whole = record.with_extension("new");
        std::fs::write(&whole, format!("{from} {to}\n"))
            .and_then(|()| std::fs::rename(&whole, &record))
            .map_err(|error| DatasetError::File(record.clone(), error))
    }

    fn forget_move(&self) {
        // Found again it is settled again, which changes nothing.
        let _ = std::fs::remove_file(self.record());
    }

    /// Ends or takes back a move that was cut off. Afterwards index and files are those of one commit again, and edits beside.
    pub(super) async fn settle(&self, cancel: &Cancel) -> Result<bool, DatasetError> {
        let Ok(record) = std::fs::read_to_string(self.record()) else { return Ok(false) };
        let (Some(work), Some((from, to))) = (self.work.clone(), record.trim_end().split_once(' ')) else {
            self.forget_move();
            return Ok(false);
        };
        let Ok(to) = Commit::parse(to) else {
            self.forget_move();
            return Ok(false);
        };
        let lock = IndexLock::take(self, cancel).await?;
        let now = self.tip(&self.local_ref(), cancel).await?;
        if now.as_ref() != Some(&to) {
            if self.index_is_nearer(&to, from, cancel).await? {
                // Files and index had arrived. The branch follows if nobody moved it, else they go where it is.
                let old = Commit::parse(from).ok().filter(|from| now.as_ref() == Some(from));
                if !(now.is_none() || old.is_some()) || !self.swap_ref(&self.local_ref(), &to, old.as_ref(), cancel).await? {
                    let there = self.object(&self.local_ref(), cancel).await?;
                    let same = self.git(["diff-index", "--cached", "--quiet", &there]).run(cancel).await.0 == Ended::Exit(0);
                    if !same {
                        self.two_way(to.as_str(), &there, cancel).await?;
                    }
                }
            } else {
                self.take_back(&work, from, &to, cancel).await?;
            }
        }
        self.forget_move();
        drop(lock);
        Ok(true)
    }

    /// Whether the index holds the new tree rather than the old one.
    async fn index_is_nearer(&self, to: &Commit, from: &str, cancel: &Cancel) -> Result<bool, DatasetError> {
        if !self.git_dir.join("index").exists() {
            return Ok(false);
        }
        let mut differ = [0, 0];
        for (count, tree) in differ.iter_mut().zip([to.as_str(), from]) {
            *count = self.git(["diff-index", "--cached", "--name-only", tree]).text(cancel).await?.lines().count();
        }
        Ok(differ[0] < differ[1])
    }

    /// Puts every file that a cut-off move had written, or had begun to write, back to what the index says. A file is one of
    /// those when its bytes are the beginning of the new content, or it is missing: nobody's edit is touched.
    async fn take_back(&self, work: &Path, from: &str, to: &Commit, cancel: &Cancel) -> Result<(), DatasetError> {
        let raw = self.git(["diff-tree", "-r", "-z", "--no-renames", from, to.as_str()]).bytes(cancel).await?;
        let index = self.git_dir.join("index");
        let known = self.entries(&index, cancel).await?;
        let touched: Vec<Vec<u8>> =
            self.git(["diff-files", "-z", "--name-only"]).bytes(cancel).await?.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
        let (mut back, mut folders) = (Vec::new(), Vec::new());
        for entry in changes(&raw) {
            let path = path_in(work, &entry.path);
            let in_index = known.contains(&entry.path);
            if in_index && !touched.contains(&entry.path) || !in_index && path.symlink_metadata().is_err() {
                continue;
            }
            if !self.is_begun(&path, &entry, to, cancel).await? {
                continue;
            }
            if !in_index {
                remove_file(&path)?;
            } else if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                folders.push((entry.path, path));
            } else {
                back.extend_from_slice(&entry.path);
                back.push(0);
            }
        }
        // A folder that was begun in place of a file is empty by now; one that holds something is somebody's.
        for (entry, path) in folders {
            remove_empty(&path);
            if path.symlink_metadata().is_err() {
                back.extend_from_slice(&entry);
                back.push(0);
            }
        }
        if back.is_empty() {
            return Ok(());
        }
        let list = self.own_dir()?.join("back");
        std::fs::write(&list, back).map_err(|error| DatasetError::File(list.clone(), error))?;
        let file = std::fs::File::open(&list).map_err(|error| DatasetError::File(list.clone(), error))?;
        self.git(["checkout-index", "-f", "-q", "-z", "--stdin"]).index(&index).stdin(file).text(cancel).await.map(drop)
    }

    /// Whether what stands at `path` is the new content, or the beginning of it.
    async fn is_begun(&self, path: &Path, entry: &Change, to: &Commit, cancel: &Cancel) -> Result<bool, DatasetError> {
        let found = match path.symlink_metadata() {
            Err(_) => return Ok(true),
            Ok(meta) if meta.is_symlink() => {
                use std::os::unix::ffi::OsStrExt as _;
                std::fs::read_link(path).map(|to| to.as_os_str().as_bytes().to_vec())
            }
            Ok(meta) if meta.is_dir() => return Ok(true),
            Ok(_) => std::fs::read(path),
        };
        let found = found.map_err(|error| DatasetError::File(path.to_owned(), error))?;
        if entry.gone {
            return Ok(false);
        }
        // By the bytes of the object, and where the repository converts line ends by those that git would write.
        let plain = self.git(["cat-file", "blob", &entry.object]).bytes(cancel).await?;
        if plain.starts_with(&found) {
            return Ok(true);
        }
        let name = format!("{to}:{}", String::from_utf8_lossy(&entry.path));
        let (ended, written, _) = self.git(["cat-file", "--filters", &name]).run_bytes(cancel).await;
        Ok(ended == Ended::Exit(0) && written.starts_with(&found))
    }

    /// The paths that `index` holds.
    async fn entries(&self, index: &Path, cancel: &Cancel) -> Result<BTreeSet<Vec<u8>>, DatasetError> {
        let out = self.git(["ls-files", "-z"]).index(index).bytes(cancel).await?;
        Ok(out.split(|b| *b == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// The commit that a full ref stands at; none when there is no such ref.
    pub(super) async fn tip(&self, name: &str, cancel: &Cancel) -> Result<Option<Commit>, DatasetError> {
        // Most refs stand in files of their own, and a pass asks often.
        if name.starts_with("refs/")
            && let Ok(text) = std::fs::read_to_string(self.common.join(name))
            && let Ok(commit) = Commit::parse(text.trim_end())
        {
            return Ok(Some(commit));
        }
        match self.git(["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]).run(cancel).await {
            (Ended::Exit(0), out, _) => Ok(Commit::parse(out.trim()).ok()),
            (Ended::Exit(1), ..) => Ok(None),
            (Ended::Exit(128), _, err) if err.contains("Needed a single revision") => Ok(None),
            (ended, _, err) => Err(failed("rev-parse", &ended, &err)),
        }
    }

    /// An index that was lost is made anew: of the branch, beside the files as they are.
    pub(super) async fn make_index(&self, cancel: &Cancel) -> Result<(), DatasetError> {
        let (Some(_), Some(tip)) = (&self.work, self.tip(&self.local_ref(), cancel).await?) else { return Ok(()) };
        if self.git_dir.join("index").exists() {
            return Ok(());
        }
        let lock = IndexLock::take(self, cancel).await?;
        let index = self.borrowed_index()?;
        self.git(["read-tree", tip.as_str()]).index(&index).text(cancel).await?;
        self.git(["update-index", "-q", "--refresh"]).index(&index).run(cancel).await;
        let own = self.git_dir.join("index");
        std::fs::rename(&index, &own).map_err(|error| DatasetError::File(own, error))?;
        drop(lock);
        Ok(())
    }

    /// Makes index and files those of the branch: edits and untracked files are parked, then cleaned away. Gives the name of
    /// what was parked.
    pub(super) async fn clean(&self, cancel: &Cancel) -> Result<Option<String>, DatasetError> {
        let (Some(_), Some(tip)) = (&self.work, self.tip(&self.local_ref(), cancel).await?) else { return Ok(None) };
        let lock = IndexLock::take(self, cancel).await?;
        let had_index = self.git_dir.join("index").exists();
        let index = self.borrowed_index()?;
        if !had_index {
            // Never checked out, or the index was lost: what is missing then is no edit.
            self.git(["read-tree", tip.as_str()]).index(&index).text(cancel).await?;
            self.git(["checkout-index", "-a", "-q"]).index(&index).run(cancel).await;
        }
        self.git(["update-index", "-q", "--refresh"]).index(&index).run(cancel).await;
        self.remember_rules(cancel).await?;
        let (mut parked, mut left) = (None, None);
        match self.unedit(&tip, &index, &mut parked, cancel).await {
            Ok(true) => {}
            Ok(false) => left = Some("they are written again and again".to_owned()),
            // One file that cannot be written must not keep the rest from being served.
            Err(DatasetError::Git { why, .. }) if is_no_right(&why) => left = Some(why),
            Err(error @ DatasetError::InTheWay(..)) => left = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        if let Some(why) = left {
            self.note(format!("Edited files could not be brought back to what the branch has, and stay as they are: {why}"));
            self.git(["read-tree", tip.as_str()]).index(&index).text(cancel).await?;
            self.git(["update-index", "-q", "--refresh"]).index(&index).run(cancel).await;
        }
        let own = self.git_dir.join("index");
        std::fs::rename(&index, &own).map_err(|error| DatasetError::File(own.clone(), error))?;
        drop(lock);
        Ok(parked)
    }

    /// Parks the edits and brings files and `index` back to `tip`; false when they are written meanwhile. What is edited only
    /// in how it is written stays as it is.
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

/// Whether git says that a file cannot be written or removed by us, now or ever.
fn is_no_right(why: &str) -> bool {
    ["Operation not permitted", "Permission denied", "Device or resource busy"].iter().any(|word| why.contains(word))
}

/// One path of `diff-tree`.
struct Change {
    path: Vec<u8>,
    object: String,
    gone: bool,
}

fn changes(raw: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut fields = raw.split(|b| *b == 0);
    while let (Some(meta), Some(path)) = (fields.next(), fields.next()) {
        let meta = String::from_utf8_lossy(meta).into_owned();
        if let [_, mode, _, object, _] = meta.trim_start_matches(':').split(' ').collect::<Vec<_>>()[..] {
            // A commit of a submodule is no content of ours.
            if mode != "160000" {
                changes.push(Change { path: path.to_vec(), object: object.to_owned(), gone: mode == "000000" });
            }
        }
    }
    changes
}

fn path_in(work: &Path, path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    work.join(std::ffi::OsStr::from_bytes(path))
}

fn remove_file(path: &Path) -> Result<(), DatasetError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DatasetError::File(PathBuf::from(shown(path)), error)),
        _ => Ok(()),
    }
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
