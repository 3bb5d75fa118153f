//! Finds what lies where the remote's files must go and could not be restored from an object: folders with a repository of
//! their own, submodules with files, ignored files, special files, unreadable ones. It is moved aside as a whole, under its own
//! path, into a folder that `data status` lists; if that is impossible, nothing is changed at all.
//!
//! The paths come from indexes and trees that others may have written. Anything behind a link, or outside the work tree, is
//! neither examined nor touched; git ignores it as well.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::FileType;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;

use process::Cancel;

use crate::dataset::DatasetError;
use crate::dataset::beneath::Beneath;
use crate::dataset::beneath::stays_below;
use crate::dataset::call::path_text;
use crate::dataset::git::Repo;
use crate::dataset::place::INSIDE;
use crate::dataset::place::Place;

/// The mode of a submodule's commit in a tree.
pub(super) const SUBMODULE: &str = "160000";

/// One path of `diff-tree` or `diff-index`, with both sides.
pub(super) struct Touched {
    pub(super) path: Vec<u8>,
    pub(super) old: String,
    pub(super) new: String,
}

/// The content of an index: path and mode.
struct Tracked(BTreeMap<Vec<u8>, String>);

/// The result of the search.
#[derive(Default)]
struct Found {
    /// Must be moved as a whole.
    whole: BTreeSet<Vec<u8>>,
    /// Plain files that are in no index, each with what has to be moved if the file is ignored.
    plain: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Repo {
    /// Moves aside everything that `read-tree` from `from` to `to` would destroy or fail on.
    pub(super) async fn clear_the_way(&self, from: &str, to: &str, index: &Path, cancel: &Cancel) -> Result<(), DatasetError> {
        let raw = self.git(["diff-tree", "-r", "-z", "--no-renames", from, to]).bytes(cancel).await?;
        let touched = touched(&raw);
        if touched.iter().any(|one| one.path.ends_with(crate::dataset::ignored::RULES)) {
            self.remember_rules(cancel).await?;
        }
        self.clear(&touched, index, cancel).await
    }

    /// The same for everything that keeps the files from matching `tip` again, as seen through `index`.
    pub(super) async fn clear_for(&self, tip: &str, index: &Path, cancel: &Cancel) -> Result<(), DatasetError> {
        let mut args = ["diff-index", "-z", "--ignore-submodules=all", tip].map(str::to_owned).to_vec();
        args.extend(self.without_nested(index, cancel).await?);
        let raw = self.git_on_files(args).index(index).bytes(cancel).await?;
        let mut touched = touched(&raw);
        // All of these get the commit's content back.
        for one in &mut touched {
            one.new.clone_from(&one.old);
        }
        // Submodules are not asked, because that would execute what their repositories configure; only whether each is a folder
        // counts.
        let submodules = self.tracked(index, cancel).await?.0.into_iter().filter(|(_, mode)| mode == SUBMODULE);
        touched.extend(submodules.map(|(path, mode)| Touched { path, old: mode.clone(), new: mode }));
        self.clear(&touched, index, cancel).await?;
        if let Some(work) = self.work_tree()? {
            for one in touched.iter().filter(|one| one.new == SUBMODULE) {
                // A checkout leaves an empty folder. Without it, git only shows the submodule as deleted.
                let _ = work.make_folder(as_path(&one.path));
            }
        }
        Ok(())
    }

    async fn clear(&self, touched: &[Touched], index: &Path, cancel: &Cancel) -> Result<(), DatasetError> {
        let Some(work) = self.work_tree()? else { return Ok(()) };
        // Our own folder may be inside the checkout, whatever an index says about it.
        let is_ours = |path: &[u8]| path.split(|b| *b == b'/').next() == Some(INSIDE.as_bytes());
        let suspects = suspects(&work, touched.iter().filter(|one| !is_ours(&one.path)));
        if suspects.is_empty() {
            return Ok(());
        }
        let tracked = self.tracked(index, cancel).await?;
        let mut found = Found::default();
        for (path, is_above) in &suspects {
            // A folder that remains a folder is examined only if something else must go there.
            if *is_above && work.is_folder(as_path(path)) {
                let is_filled = work.names(as_path(path)).is_ok_and(|names| !names.is_empty());
                if is_filled && (tracked.mode(path) == Some(SUBMODULE) || !tracked.has_below(path)) {
                    found.whole.insert(path.clone());
                }
            } else {
                find_what_lies(&work, path, &tracked, &mut found);
            }
        }
        let plain: BTreeSet<Vec<u8>> = found.plain.iter().map(|(path, _)| path.clone()).collect();
        let ignored = self.ignored(&plain, cancel).await?;
        found.whole.extend(found.plain.into_iter().filter(|(path, _)| ignored.contains(path)).map(|(_, with)| with));
        // Anything below a path that is moved goes along with it.
        let all: Vec<Vec<u8>> = found.whole.iter().cloned().collect();
        found
            .whole
            .retain(|path| !all.iter().any(|above| path.len() > above.len() && path.starts_with(above) && path[above.len()] == b'/'));
        self.move_aside(&work, &found.whole)
    }

    /// The work tree, held open.
    fn work_tree(&self) -> Result<Option<Beneath>, DatasetError> {
        let open = |work: &PathBuf| Beneath::open_real(work).map_err(|error| DatasetError::File(work.clone(), error));
        self.work.as_ref().map(open).transpose()
    }

    async fn tracked(&self, index: &Path, cancel: &Cancel) -> Result<Tracked, DatasetError> {
        let out = self.git(["ls-files", "-s", "-z"]).index(index).bytes(cancel).await?;
        let parse = |entry: &[u8]| {
            let at = entry.iter().position(|b| *b == b'\t')?;
            let mode = String::from_utf8_lossy(&entry[..at]).split(' ').next()?.to_owned();
            Some((entry[at + 1..].to_vec(), mode)).filter(|(path, _)| stays_below(path))
        };
        Ok(Tracked(out.split(|b| *b == 0).filter_map(parse).collect()))
    }

    /// Moves all of `paths`, or none of them.
    fn move_aside(&self, work: &Beneath, paths: &BTreeSet<Vec<u8>>) -> Result<(), DatasetError> {
        if paths.is_empty() {
            return Ok(());
        }
        let place = Place::of(&self.settings)?;
        let (folder, aside) = place.new_aside()?;
        let mut moved = Vec::<&Path>::new();
        for path in paths.iter().map(|path| as_path(path)) {
            let done = aside.made(path.parent().unwrap_or(Path::new(""))).and_then(|_| work.move_to(path, &aside, path));
            if let Err(error) = done {
                for path in moved.iter().rev() {
                    // What cannot be moved back stays in the folder, which is listed.
                    let _ = aside.move_to(path, work, path);
                }
                place.drop_empty_aside(&folder);
                let at = self.work.as_deref().unwrap_or(Path::new("")).join(path);
                return Err(DatasetError::InTheWay(at, error));
            }
            moved.push(path);
        }
        let names: Vec<String> = moved.iter().map(|path| path_text(path)).collect();
        self.note(format!(
            "These were in the way of the remote's files and were moved aside to {}: {}.",
            folder.display(),
            names.join(", ")
        ));
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

/// The output of `diff-tree` or `diff-index`, limited to paths at which git would check something out.
pub(super) fn touched(raw: &[u8]) -> Vec<Touched> {
    let mut all = Vec::new();
    let mut fields = raw.split(|b| *b == 0);
    while let (Some(meta), Some(path)) = (fields.next(), fields.next()) {
        let meta = String::from_utf8_lossy(meta).into_owned();
        if let [old, new, ..] = meta.trim_start_matches(':').split(' ').collect::<Vec<_>>()[..]
            && stays_below(path)
        {
            all.push(Touched { path: path.to_vec(), old: old.to_owned(), new: new.to_owned() });
        }
    }
    all
}

/// The paths at which something exists that git's own check before it writes does not protect, and whether a folder must go
/// there. Usually there are none, and no further question is asked.
fn suspects<'a>(work: &Beneath, touched: impl Iterator<Item = &'a Touched> + Clone) -> BTreeSet<(Vec<u8>, bool)> {
    let gone: BTreeSet<&[u8]> = touched.clone().filter(|one| one.old == SUBMODULE).map(|one| one.path.as_slice()).collect();
    let mut suspects = BTreeSet::new();
    let mut folders = BTreeMap::<Vec<u8>, bool>::new();
    for one in touched {
        let is_there = one.new != "000000";
        if is_there {
            for (at, _) in one.path.iter().enumerate().filter(|(_, b)| **b == b'/') {
                let folder = &one.path[..at];
                let is_suspect = *folders.entry(folder.to_vec()).or_insert_with(|| {
                    gone.contains(folder) && work.is_folder(as_path(folder)) || is_no_plain_folder(work, as_path(folder))
                });
                if is_suspect {
                    suspects.insert((folder.to_vec(), true));
                    break;
                }
            }
        }
        // Nothing behind a link belongs to the checkout.
        let Ok(meta) = work.meta(as_path(&one.path)) else { continue };
        let is_plain = meta.is_file() || meta.is_symlink();
        let suspect = if meta.is_dir() {
            // A submodule's folder stays until something else must go there.
            let is = one.new == SUBMODULE;
            let was = one.old == SUBMODULE;
            !(was && (is || !is_there) || is && one.old == "000000")
        } else {
            !is_plain || one.old == "000000" || one.old == SUBMODULE || meta.is_file() && !work.is_readable(as_path(&one.path))
        };
        if suspect {
            suspects.insert((one.path.clone(), false));
        }
    }
    suspects
}

/// Whether `path` exists and is not a folder, or is a folder with a repository of its own.
fn is_no_plain_folder(work: &Beneath, path: &Path) -> bool {
    work.meta(path).is_ok_and(|meta| !meta.is_dir() || work.at(path).is_ok_and(|folder| is_repository(&folder.path())))
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// Whether the folder holds a repository, with files or bare.
pub(super) fn is_repository(path: &Path) -> bool {
    path.join(".git").symlink_metadata().is_ok()
        || path.join("HEAD").symlink_metadata().is_ok() && path.join("objects").is_dir() && path.join("refs").is_dir()
}

pub(super) fn is_readable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok()
}

/// Neither a file nor a symbolic link nor a folder.
pub(super) fn is_special(kind: FileType) -> bool {
    !kind.is_file() && !kind.is_symlink() && !kind.is_dir()
}

/// Examines what is at `path`.
fn find_what_lies(work: &Beneath, path: &[u8], tracked: &Tracked, found: &mut Found) {
    let Ok(meta) = work.meta(as_path(path)) else { return };
    if !meta.is_dir() {
        // git overwrites whatever is in place of a submodule without checking.
        let is_submodule = tracked.mode(path) == Some(SUBMODULE);
        if is_special(meta.file_type()) || is_submodule || meta.is_file() && !work.is_readable(as_path(path)) {
            found.whole.insert(path.to_vec());
        } else if tracked.mode(path).is_none() {
            found.plain.push((path.to_vec(), path.to_vec()));
        }
        return;
    }
    let (Ok(here), Ok(names)) = (work.at(as_path(path)), work.names(as_path(path))) else {
        found.whole.insert(path.to_vec());
        return;
    };
    let is_ours = tracked.has_below(path);
    if tracked.mode(path) == Some(SUBMODULE) || is_repository(&here.path()) && !is_ours {
        if !names.is_empty() {
            found.whole.insert(path.to_vec());
        }
        return;
    }
    let mut inside = Found::default();
    for name in &names {
        let below: Vec<u8> = path.iter().copied().chain([b'/']).chain(name.as_bytes().iter().copied()).collect();
        find_what_lies(work, &below, tracked, &mut inside);
    }
    if is_ours {
        found.whole.extend(inside.whole);
        found.plain.extend(inside.plain);
    } else if !inside.whole.is_empty() {
        // An untracked folder is moved as a whole.
        found.whole.insert(path.to_vec());
    } else {
        found.plain.extend(inside.plain.into_iter().map(|(file, _)| (file, path.to_vec())));
    }
}
