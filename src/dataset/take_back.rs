//! A move of the checkout that was interrupted is completed or undone.

use std::collections::BTreeSet;
use std::path::Path;

use process::Cancel;
use process::Ended;

use crate::dataset::DatasetError;
use crate::dataset::beneath::Beneath;
use crate::dataset::git::Repo;
use crate::dataset::locks::IndexLock;
use crate::model::Commit;

/// The note that says which move is in progress.
const MOVING: &str = "moving";

impl Repo {
    pub(super) fn remember_move(&self, from: &str, to: &Commit) -> Result<(), DatasetError> {
        self.set_memo(MOVING, &format!("{from} {to}\n"))
    }

    pub(super) fn forget_move(&self) {
        // If it is found again, the move is settled again, which changes nothing.
        self.drop_memo(MOVING);
    }

    /// Completes or undoes an interrupted move. Afterwards index and files are those of one commit again, with the edits kept.
    pub(super) async fn settle(&self, cancel: &Cancel) -> Result<bool, DatasetError> {
        let Some(record) = self.memo(MOVING) else { return Ok(false) };
        // It must be two object names; otherwise it is not ours.
        let parsed = record.trim_end().split_once(' ').and_then(|(from, to)| Some((Commit::parse(from).ok()?, Commit::parse(to).ok()?)));
        let (Some(work), Some((from, to))) = (self.work.clone(), parsed) else {
            self.forget_move();
            return Ok(false);
        };
        let from = from.as_str();
        let lock = IndexLock::take(self, cancel).await?;
        let now = self.tip(&self.local_ref(), cancel).await?;
        if now.as_ref() != Some(&to) {
            if self.index_is_nearer(&to, from, cancel).await? {
                // Files and index are complete. The branch follows if nobody has moved it; otherwise they go back to the
                // branch.
                let old = Commit::parse(from).ok().filter(|from| now.as_ref() == Some(from));
                if !(now.is_none() || old.is_some()) || !self.swap_ref(&self.local_ref(), &to, old.as_ref(), cancel).await? {
                    let there = self.object(&self.local_ref(), cancel).await?;
                    let same = self.git(["diff-index", "--cached", "--quiet", "--ignore-submodules", &there]).run(cancel).await.0
                        == Ended::Exit(0);
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

    /// Whether the index contains the new tree rather than the old one.
    async fn index_is_nearer(&self, to: &Commit, from: &str, cancel: &Cancel) -> Result<bool, DatasetError> {
        if !self.git_dir.join("index").exists() {
            return Ok(false);
        }
        let mut differ = [0, 0];
        for (count, tree) in differ.iter_mut().zip([to.as_str(), from]) {
            *count = self.git(["diff-index", "--cached", "--name-only", "--ignore-submodules", tree]).text(cancel).await?.lines().count();
        }
        Ok(differ[0] < differ[1])
    }

    /// Puts every file that an interrupted move had written, or had begun to write, back to the index's version. A file counts
    /// if its bytes are the beginning of the new content, or if it is missing; edits are not touched.
    pub(super) async fn take_back(&self, work: &Path, from: &str, to: &Commit, cancel: &Cancel) -> Result<(), DatasetError> {
        let raw = self.git(["diff-tree", "-r", "-z", "--no-renames", from, to.as_str()]).bytes(cancel).await?;
        let index = self.git_dir.join("index");
        let known = self.entries(&index, cancel).await?;
        let mut args = ["diff-files", "-z", "--name-only", "--ignore-submodules=dirty"].map(str::to_owned).to_vec();
        args.extend(self.without_nested(&index, cancel).await?);
        let touched: Vec<Vec<u8>> = self.git_on_files(args).bytes(cancel).await?.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
        let files = Beneath::open_real(work).map_err(|error| DatasetError::File(work.to_owned(), error))?;
        let mut back = Vec::new();
        let mut folders = Vec::new();
        for entry in changes(&raw) {
            let path = relative(&entry.path);
            let in_index = known.contains(&entry.path);
            if in_index && !touched.contains(&entry.path) || !in_index && !files.has(path) || leads_out(work, &entry.path) {
                continue;
            }
            if !self.is_begun(&files, &entry, to, cancel).await? {
                continue;
            }
            if !in_index {
                remove_file(&files, &entry.path).map_err(|error| DatasetError::File(work.join(path), error))?;
            } else if files.is_folder(path) {
                folders.push(entry.path);
            } else {
                back.extend_from_slice(&entry.path);
                back.push(0);
            }
        }
        // A folder that was created in place of a file is empty by now; one that is not empty belongs to somebody else.
        for entry in folders {
            files.remove_empty(relative(&entry));
            if !files.has(relative(&entry)) {
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
        self.git_on_files(["checkout-index", "-f", "-q", "-z", "--stdin"]).index(&index).stdin(file).text(cancel).await.map(drop)
    }

    /// Whether the content at `path` is the new content, or the beginning of it.
    async fn is_begun(&self, files: &Beneath, entry: &Change, to: &Commit, cancel: &Cancel) -> Result<bool, DatasetError> {
        let path = relative(&entry.path);
        let found = match files.meta(path) {
            Err(_) => return Ok(true),
            Ok(meta) if meta.is_symlink() => files.link_target(path),
            Ok(meta) if meta.is_dir() => return Ok(true),
            // git never writes a pipe or a device.
            Ok(meta) if !meta.is_file() => return Ok(false),
            Ok(_) => files.read(path),
        };
        let found = found.map_err(|error| DatasetError::File(path.to_owned(), error))?;
        if entry.gone {
            return Ok(false);
        }
        // Compared with the object's bytes, and, if the repository converts line endings, with the bytes that git would write.
        let plain = self.git(["cat-file", "blob", &entry.object]).bytes(cancel).await?;
        if plain.starts_with(&found) {
            return Ok(true);
        }
        let name = format!("{to}:{}", String::from_utf8_lossy(&entry.path));
        let (ended, written, _) = self.git_on_files(["cat-file", "--filters", &name]).run_bytes(cancel).await;
        Ok(ended == Ended::Exit(0) && written.starts_with(&found))
    }

    /// The paths in `index`.
    async fn entries(&self, index: &Path, cancel: &Cancel) -> Result<BTreeSet<Vec<u8>>, DatasetError> {
        let out = self.git(["ls-files", "-z"]).index(index).bytes(cancel).await?;
        Ok(out.split(|b| *b == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect())
    }
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
            // A submodule's commit is not content of ours.
            if mode != "160000" {
                changes.push(Change { path: path.to_vec(), object: object.to_owned(), gone: mode == "000000" });
            }
        }
    }
    changes
}

fn relative(path: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(path))
}

/// Whether there is a link on the way to `path`: files behind it must not be touched.
pub(super) fn leads_out(work: &Path, path: &[u8]) -> bool {
    let folder = relative(path).parent().unwrap_or(Path::new(""));
    match Beneath::open_real(work).and_then(|work| work.at(folder)) {
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        Ok(_) => false,
    }
}

fn remove_file(files: &Beneath, path: &[u8]) -> std::io::Result<()> {
    match files.remove(relative(path)) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::IsADirectory | std::io::ErrorKind::NotFound) => Ok(()),
        other => other,
    }
}
