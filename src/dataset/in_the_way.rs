//! What lies in a checkout where the remote's files are to be, and could not be brought back from an object: folders with a
//! repository of their own, submodules that are filled, ignored files, special files, what cannot be read. It is moved aside
//! whole, under its own path, into a folder that `data status` lists; where that cannot be done nothing is changed at all.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::FileType;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;

use crate::dataset::DatasetError;
use crate::dataset::git::Repo;
use crate::dataset::git::shown;
use crate::dataset::place::INSIDE;
use crate::dataset::place::Place;
use crate::process::Cancel;

/// The mode of a submodule's commit in a tree.
pub(super) const SUBMODULE: &str = "160000";

/// One path of `diff-tree` or `diff-index`, both sides.
pub(super) struct Touched {
    pub(super) path: Vec<u8>,
    pub(super) old: String,
    pub(super) new: String,
}

/// What an index holds: path and mode.
struct Tracked(BTreeMap<Vec<u8>, String>);

/// What was found to be in the way.
#[derive(Default)]
struct Found {
    /// Must go, whole.
    whole: BTreeSet<Vec<u8>>,
    /// Plain files that are in no index, and what goes with each when it is ignored.
    plain: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Repo {
    /// Moves aside what `read-tree` from `from` to `to` would destroy or stumble over.
    pub(super) async fn clear_the_way(&self, from: &str, to: &str, index: &Path, cancel: &Cancel) -> Result<(), DatasetError> {
        let raw = self.git(["diff-tree", "-r", "-z", "--no-renames", from, to]).bytes(cancel).await?;
        let touched = touched(&raw);
        if touched.iter().any(|one| one.path.ends_with(crate::dataset::ignored::RULES)) {
            self.remember_rules(cancel).await?;
        }
        self.clear(&touched, index, cancel).await
    }

    /// The same for what keeps the files from being those of `tip` again, as `index` sees them.
    pub(super) async fn clear_for(&self, tip: &str, index: &Path, cancel: &Cancel) -> Result<(), DatasetError> {
        let raw = self.git(["diff-index", "-z", "--ignore-submodules=all", tip]).index(index).bytes(cancel).await?;
        let mut touched = touched(&raw);
        // All of it goes back to what the commit has.
        for one in &mut touched {
            one.new.clone_from(&one.old);
        }
        // Submodules are not asked, for that would run what their repositories say: only whether each is a folder.
        let submodules = self.tracked(index, cancel).await?.0.into_iter().filter(|(_, mode)| mode == SUBMODULE);
        touched.extend(submodules.map(|(path, mode)| Touched { path, old: mode.clone(), new: mode }));
        self.clear(&touched, index, cancel).await?;
        if let Some(work) = &self.work {
            for one in touched.iter().filter(|one| one.new == SUBMODULE) {
                // As a checkout leaves it: an empty folder. Without it git shows it as deleted, no more.
                let _ = std::fs::create_dir(work.join(OsStr::from_bytes(&one.path)));
            }
        }
        Ok(())
    }

    async fn clear(&self, touched: &[Touched], index: &Path, cancel: &Cancel) -> Result<(), DatasetError> {
        let Some(work) = self.work.clone() else { return Ok(()) };
        let suspects = suspects(&work, touched);
        if suspects.is_empty() {
            return Ok(());
        }
        let tracked = self.tracked(index, cancel).await?;
        let mut found = Found::default();
        for (path, is_above) in &suspects {
            let at = work.join(OsStr::from_bytes(path));
            // A folder that stays one is only looked into where something else is to stand.
            if *is_above && at.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                let is_filled = std::fs::read_dir(&at).is_ok_and(|mut entries| entries.next().is_some());
                if is_filled && (tracked.mode(path) == Some(SUBMODULE) || !tracked.has_below(path)) {
                    found.whole.insert(path.clone());
                }
            } else {
                look(&work, path, &tracked, &mut found);
            }
        }
        let plain: BTreeSet<Vec<u8>> = found.plain.iter().map(|(path, _)| path.clone()).collect();
        let ignored = self.ignored(&plain, cancel).await?;
        found.whole.extend(found.plain.into_iter().filter(|(path, _)| ignored.contains(path)).map(|(_, with)| with));
        // What goes with something above it is not moved by itself.
        let all: Vec<Vec<u8>> = found.whole.iter().cloned().collect();
        found
            .whole
            .retain(|path| !all.iter().any(|above| path.len() > above.len() && path.starts_with(above) && path[above.len()] == b'/'));
        self.move_aside(&work, &found.whole)
    }

    async fn tracked(&self, index: &Path, cancel: &Cancel) -> Result<Tracked, DatasetError> {
        let out = self.git(["ls-files", "-s", "-z"]).index(index).bytes(cancel).await?;
        let parse = |entry: &[u8]| {
            let at = entry.iter().position(|b| *b == b'\t')?;
            let mode = String::from_utf8_lossy(&entry[..at]).split(' ').next()?.to_owned();
            Some((entry[at + 1..].to_vec(), mode))
        };
        Ok(Tracked(out.split(|b| *b == 0).filter_map(parse).collect()))
    }

    /// All of `paths`, or none of them.
    fn move_aside(&self, work: &Path, paths: &BTreeSet<Vec<u8>>) -> Result<(), DatasetError> {
        if paths.is_empty() {
            return Ok(());
        }
        let folder = Place::of(&self.settings)?.new_aside()?;
        let mut moved = Vec::<(PathBuf, PathBuf)>::new();
        for path in paths {
            let (from, to) = (work.join(OsStr::from_bytes(path)), folder.join(OsStr::from_bytes(path)));
            let done = std::fs::create_dir_all(to.parent().unwrap_or(&folder)).and_then(|()| std::fs::rename(&from, &to));
            if let Err(error) = done {
                for (from, to) in moved.iter().rev() {
                    // What cannot go back stays in the folder, which is listed.
                    let _ = std::fs::rename(to, from);
                }
                remove_empty(&folder);
                return Err(DatasetError::InTheWay(from, error));
            }
            moved.push((from, to));
        }
        let names: Vec<String> = moved.iter().map(|(from, _)| shown(from.strip_prefix(work).unwrap_or(from))).collect();
        self.note(format!("In the way of the remote's files and moved aside whole to {}: {}.", folder.display(), names.join(", ")));
        Ok(())
    }
}

impl Tracked {
    fn mode(&self, path: &[u8]) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Whether anything below the folder `path` is tracked.
    fn has_below(&self, path: &[u8]) -> bool {
        let below: Vec<u8> = path.iter().copied().chain([b'/']).collect();
        self.0.range(below.clone()..).next().is_some_and(|(path, _)| path.starts_with(&below))
    }
}

pub(super) fn touched(raw: &[u8]) -> Vec<Touched> {
    let mut all = Vec::new();
    let mut fields = raw.split(|b| *b == 0);
    while let (Some(meta), Some(path)) = (fields.next(), fields.next()) {
        let meta = String::from_utf8_lossy(meta).into_owned();
        if let [old, new, ..] = meta.trim_start_matches(':').split(' ').collect::<Vec<_>>()[..] {
            all.push(Touched { path: path.to_vec(), old: old.to_owned(), new: new.to_owned() });
        }
    }
    all
}

/// The paths at which something stands that git's own look before it writes does not protect, and whether a folder is to stand
/// there. Mostly there is none, and nothing else is asked then.
fn suspects(work: &Path, touched: &[Touched]) -> BTreeSet<(Vec<u8>, bool)> {
    let gone: BTreeSet<&[u8]> = touched.iter().filter(|one| one.old == SUBMODULE).map(|one| one.path.as_slice()).collect();
    let (mut suspects, mut folders) = (BTreeSet::new(), BTreeMap::<Vec<u8>, bool>::new());
    for one in touched {
        let is_there = one.new != "000000";
        if is_there {
            for (at, _) in one.path.iter().enumerate().filter(|(_, b)| **b == b'/') {
                let folder = &one.path[..at];
                let is_suspect = *folders.entry(folder.to_vec()).or_insert_with(|| {
                    let at = work.join(OsStr::from_bytes(folder));
                    gone.contains(folder) && at.is_dir() || is_no_plain_folder(&at)
                });
                if is_suspect {
                    suspects.insert((folder.to_vec(), true));
                    break;
                }
            }
        }
        let path = work.join(OsStr::from_bytes(&one.path));
        let Ok(meta) = path.symlink_metadata() else { continue };
        let is_plain = meta.is_file() || meta.is_symlink();
        let suspect = if meta.is_dir() {
            // A submodule's folder stays where it is until something else is to stand there.
            let (is, was) = (one.new == SUBMODULE, one.old == SUBMODULE);
            !(was && (is || !is_there) || is && one.old == "000000")
        } else {
            !is_plain || one.old == "000000" || one.old == SUBMODULE || meta.is_file() && !is_readable(&path)
        };
        if suspect {
            suspects.insert((one.path.clone(), false));
        }
    }
    suspects
}

/// Whether `path` is there and no folder, or one with a repository of its own.
fn is_no_plain_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| !meta.is_dir() || is_repository(path))
}

/// Whether the folder holds a repository, with files or bare.
pub(super) fn is_repository(path: &Path) -> bool {
    path.join(".git").symlink_metadata().is_ok()
        || path.join("HEAD").symlink_metadata().is_ok() && path.join("objects").is_dir() && path.join("refs").is_dir()
}

pub(super) fn is_readable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok()
}

/// Neither a file nor a symlink nor a folder.
pub(super) fn is_special(kind: FileType) -> bool {
    !kind.is_file() && !kind.is_symlink() && !kind.is_dir()
}

/// Looks at what stands at `path`.
fn look(work: &Path, path: &[u8], tracked: &Tracked, found: &mut Found) {
    let at = work.join(OsStr::from_bytes(path));
    let Ok(meta) = at.symlink_metadata() else { return };
    if !meta.is_dir() {
        // git writes over what stands in place of a submodule without a look.
        let is_submodule = tracked.mode(path) == Some(SUBMODULE);
        if is_special(meta.file_type()) || is_submodule || meta.is_file() && !is_readable(&at) {
            found.whole.insert(path.to_vec());
        } else if tracked.mode(path).is_none() {
            found.plain.push((path.to_vec(), path.to_vec()));
        }
        return;
    }
    let Ok(entries) = std::fs::read_dir(&at) else {
        found.whole.insert(path.to_vec());
        return;
    };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    let is_ours = tracked.has_below(path);
    if tracked.mode(path) == Some(SUBMODULE) || is_repository(&at) && !is_ours {
        if !names.is_empty() {
            found.whole.insert(path.to_vec());
        }
        return;
    }
    let mut inside = Found::default();
    for name in names.iter().filter(|name| !(path.is_empty() && *name == INSIDE)) {
        let below: Vec<u8> = path.iter().copied().chain([b'/']).chain(name.as_bytes().iter().copied()).collect();
        look(work, &below, tracked, &mut inside);
    }
    if is_ours {
        found.whole.extend(inside.whole);
        found.plain.extend(inside.plain);
    } else if !inside.whole.is_empty() {
        // A folder that is not tracked goes as one.
        found.whole.insert(path.to_vec());
    } else {
        found.plain.extend(inside.plain.into_iter().map(|(file, _)| (file, path.to_vec())));
    }
}

/// Removes folders that hold nothing.
pub(super) fn remove_empty(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    // One that holds something stays.
    let _ = std::fs::remove_dir(folder);
}
