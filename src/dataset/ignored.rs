//! Files that somebody wants to be ignored, according to the rules of the work tree, of the branch, of the remote, or of
//! earlier passes. Such a file is never pushed, even if the rule that ignored it is gone by now.

use std::collections::BTreeSet;
use std::hash::DefaultHasher;
use std::hash::Hash as _;
use std::hash::Hasher as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;

use process::Cancel;
use process::Ended;

use crate::dataset::DatasetError;
use crate::dataset::beneath::Beneath;
use crate::dataset::beneath::stays_below;
use crate::dataset::call::failed;
use crate::dataset::call::in_memory;
use crate::dataset::call::path_text;
use crate::dataset::git::Repo;
use crate::dataset::take_back::leads_out;

/// The name of a file of rules.
pub(super) const RULES: &[u8] = b".gitignore";
/// Where the rules of earlier passes are, in the checkout's git folder, where others may write.
const SETS_IN: &str = "tagalong/ignores";
/// How many sets of rules of earlier passes are remembered.
const SETS: usize = 24;

impl Repo {
    /// Those of `paths` (of files) that any set of rules ignores.
    pub(super) async fn ignored(&self, paths: &BTreeSet<Vec<u8>>, cancel: &Cancel) -> Result<BTreeSet<Vec<u8>>, DatasetError> {
        let mut ignored = BTreeSet::new();
        let Some(work) = self.work.clone().filter(|_| !paths.is_empty()) else { return Ok(ignored) };
        // A literal path, whatever it begins with.
        let listed = |path: &Vec<u8>| b"./".iter().chain(path).copied().chain([0]).collect::<Vec<u8>>();
        // git refuses to examine a path behind a link. The work tree's rules are also among those of earlier passes.
        let here: Vec<u8> = paths.iter().filter(|path| !leads_out(&work, path)).flat_map(listed).collect();
        self.ask_rules(&work, Path::new("/dev/null"), &here, &mut ignored, cancel).await?;
        let list: Vec<u8> = paths.iter().flat_map(listed).collect();
        for set in self.remembered_sets() {
            self.ask_rules(&set.join("tree"), &set.join("exclude"), &list, &mut ignored, cancel).await?;
        }
        for name in ["HEAD".to_owned(), self.local_ref(), self.fetched_ref()] {
            if let Some(tip) = self.tip(&name, cancel).await? {
                let set = self.own_dir()?.join("ignores-of-a-commit");
                self.write_rules_of(tip.as_str(), &set, cancel).await?;
                self.ask_rules(&set.join("tree"), Path::new("/dev/null"), &list, &mut ignored, cancel).await?;
            }
        }
        Ok(ignored)
    }

    /// Remembers the present rules of the work tree, also across restarts.
    pub(super) async fn remember_rules(&self, cancel: &Cancel) -> Result<(), DatasetError> {
        let Some(work) = self.work.clone() else { return Ok(()) };
        let found = self.git_on_files(["ls-files", "-z", "--cached", "--others", "--", ":(glob)**/.gitignore"]).bytes(cancel).await?;
        let mut rules = Vec::new();
        let work = Beneath::open_real(&work).map_err(|error| DatasetError::File(work, error))?;
        for path in found.split(|b| *b == 0).filter(|path| stays_below(path)).collect::<BTreeSet<_>>() {
            let file = Path::new(std::ffi::OsStr::from_bytes(path));
            if work.meta(file).is_ok_and(|meta| meta.is_file()) {
                rules.push((path.to_vec(), work.read(file).unwrap_or_default()));
            }
        }
        let exclude = self.files()?.read("info/exclude").unwrap_or_default();
        let mut hash = DefaultHasher::new();
        (&rules, &exclude).hash(&mut hash);
        let memos = self.memos()?;
        let files = self.files()?;
        let set = Path::new(SETS_IN).join(format!("{:016x}", hash.finish()));
        let made = files.made(&set).map_err(|error| DatasetError::File(memos.clone(), error))?;
        write_set(&made, &rules, &memos)?;
        // It is written last, and again each time: its time says when the set was seen.
        made.write("exclude", exclude).map_err(|error| DatasetError::File(memos, error))?;
        for old in self.remembered_sets().into_iter().skip(SETS) {
            // If it cannot be removed, it continues to ignore the same files.
            let _ = files.remove_all(old.strip_prefix(&self.git_dir).unwrap_or(&old));
        }
        Ok(())
    }

    /// The sets of earlier passes, newest first.
    fn remembered_sets(&self) -> Vec<PathBuf> {
        let Ok(files) = self.files() else { return Vec::new() };
        let names = files.names(SETS_IN).unwrap_or_default().into_iter().map(|name| Path::new(SETS_IN).join(name));
        let mut sets: Vec<_> = names.filter_map(|set| Some((files.meta(set.join("exclude")).ok()?.modified().ok()?, set))).collect();
        sets.sort();
        sets.into_iter().rev().map(|(_, set)| self.git_dir.join(set)).collect()
    }

    /// The rules of a commit, as a folder.
    async fn write_rules_of(&self, commit: &str, set: &Path, cancel: &Cancel) -> Result<(), DatasetError> {
        // It is left over from a pass that was interrupted.
        let _ = std::fs::remove_dir_all(set);
        let made = std::fs::create_dir(set).and_then(|()| Beneath::open(set)).map_err(|error| DatasetError::File(set.to_owned(), error))?;
        let tree = self.git(["ls-tree", "-r", "-z", commit]).bytes(cancel).await?;
        let mut rules = Vec::new();
        for entry in tree.split(|b| *b == 0) {
            let Some(at) = entry.iter().position(|b| *b == b'\t') else { continue };
            let meta = String::from_utf8_lossy(&entry[..at]).into_owned();
            let path = &entry[at + 1..];
            let is_rules = path == RULES || path.ends_with(b"/.gitignore");
            if let (true, [mode, _, object]) = (is_rules, &meta.split(' ').collect::<Vec<_>>()[..])
                && mode.starts_with("100")
                && stays_below(path)
            {
                rules.push((path.to_vec(), self.git(["cat-file", "blob", object]).bytes(cancel).await?));
            }
        }
        write_set(&made, &rules, set)
    }

    /// Adds those of `list` that the rules in `tree`, or in the file `exclude`, ignore.
    async fn ask_rules(
        &self,
        tree: &Path,
        exclude: &Path,
        list: &[u8],
        ignored: &mut BTreeSet<Vec<u8>>,
        cancel: &Cancel,
    ) -> Result<(), DatasetError> {
        let rules = format!("core.excludesFile={}", path_text(exclude));
        let call = self.git_on_files(["-c", &rules, "check-ignore", "-z", "--no-index", "--stdin"]).in_tree(tree).stdin(in_memory(list)?);
        match call.run_bytes(cancel).await {
            (Ended::Exit(0 | 1), out, _) => {
                ignored.extend(out.split(|b| *b == 0).filter_map(|path| path.strip_prefix(b"./")).map(<[u8]>::to_vec));
                Ok(())
            }
            (ended, _, err) => Err(failed("check-ignore", &ended, &err)),
        }
    }
}

/// Writes rules into the folder `set`, which messages call `shown`.
fn write_set(set: &Beneath, rules: &[(Vec<u8>, Vec<u8>)], shown: &Path) -> Result<(), DatasetError> {
    let written = || {
        let tree = set.made(Path::new("tree"))?;
        for (path, text) in rules {
            let file = Path::new(std::ffi::OsStr::from_bytes(path));
            tree.made(file.parent().unwrap_or(Path::new("")))?;
            tree.write(file, text)?;
        }
        Ok(())
    };
    written().map_err(|error| DatasetError::File(shown.to_owned(), error))
}
