//! What lies in a checkout where the remote's files are to be, and could not be brought back from an object: folders with a
//! repository of their own, submodules that are filled, ignored files, special files, what cannot be read. It is moved aside
//! whole, under its own path, into a folder that `data status` lists; where that cannot be done nothing is changed at all.
//!
//! The paths come from indexes and trees that others may have written: what is behind a link, or not below the work tree, is
//! neither looked at nor touched. git passes over it as well.

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
        let mut args = ["diff-index", "-z", "--ignore-submodules=all", tip].map(str::to_owned).to_vec();
        args.extend(self.without_nested(index, cancel).await?);
        let raw = self.git_on_files(args).index(index).bytes(cancel).await?;
        let mut touched = touched(&raw);
        // All of it goes back to what the commit has.
        for one in &mut touched {
            one.new.clone_from(&one.old);
        }
        // Submodules are not asked, for that would run what their repositories say: only whether each is a folder.
        let submodules = self.tracked(index, cancel).await?.0.into_iter().filter(|(_, mode)| mode == SUBMODULE);
        touched.extend(submodules.map(|(path, mode)| Touched { path, old: mode.clone(), new: mode }));
        self.clear(&touched, index, cancel).await?;
        if let Some(work) = self.work_tree()? {
            for one in touched.iter().filter(|one| one.new == SUBMODULE) {
                // As a checkout leaves it: an empty folder. Without it git shows it as deleted, no more.
                let _ = work.make_folder(as_path(&one.path));
            }
        }
        Ok(())
    }

    async fn clear(&self, touched: &[Touched], index: &Path, cancel: &Cancel) -> Result<(), DatasetError> {
        let Some(work) = self.work_tree()? else { return Ok(()) };
        // Our own folder may stand in the checkout, whatever an index says of it.
        let is_ours = |path: &[u8]| path.split(|b| *b == b'/').next() == Some(INSIDE.as_bytes());
        let suspects = suspects(&work, touched.iter().filter(|one| !is_ours(&one.path)));
        if suspects.is_empty() {
            return Ok(());
        }
        let tracked = self.tracked(index, cancel).await?;
        let mut found = Found::default();
        for (path, is_above) in &suspects {
            // A folder that stays one is only looked into where something else is to stand.
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
        // What goes with something above it is not moved by itself.
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

    /// All of `paths`, or none of them.
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
                    // What cannot go back stays in the folder, which is listed.
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

/// What `diff-tree` or `diff-index` said, of paths at which git would check something out.
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

/// The paths at which something stands that git's own look before it writes does not protect, and whether a folder is to stand
/// there. Mostly there is none, and nothing else is asked then.
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
        // Behind a link there is nothing of the checkout.
        let Ok(meta) = work.meta(as_path(&one.path)) else { continue };
        let is_plain = meta.is_file() || meta.is_symlink();
        let suspect = if meta.is_dir() {
            // A submodule's folder stays where it is until something else is to stand there.
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

/// Whether `path` is there and no folder, or one with a repository of its own.
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

/// Neither a file nor a symlink nor a folder.
pub(super) fn is_special(kind: FileType) -> bool {
    !kind.is_file() && !kind.is_symlink() && !kind.is_dir()
}

/// Looks at what stands at `path`.
fn find_what_lies(work: &Beneath, path: &[u8], tracked: &Tracked, found: &mut Found) {
    let Ok(meta) = work.meta(as_path(path)) else { return };
    if !meta.is_dir() {
        // git writes over what stands in place of a submodule without a look.
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
        // A folder that is not tracked goes as one.
        found.whole.insert(path.to_vec());
    } else {
        found.plain.extend(inside.plain.into_iter().map(|(file, _)| (file, path.to_vec())));
    }
}
