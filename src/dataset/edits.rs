//! Edits that nobody has committed are put into commits: edits of tracked files to be published, untracked files to stay here.
//! Files that are ignored, special, or part of another repository are left where they are.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use process::Cancel;
use process::Ended;

use crate::clock;
use crate::dataset::DatasetError;
use crate::dataset::beneath::stays_below;
use crate::dataset::call::in_memory;
use crate::dataset::commit::new_commit;
use crate::dataset::git::Repo;
use crate::dataset::in_the_way::SUBMODULE;
use crate::dataset::in_the_way::is_readable;
use crate::dataset::in_the_way::is_repository;
use crate::dataset::in_the_way::is_special;
use crate::dataset::in_the_way::touched;
use crate::dataset::park::KEPT;
use crate::dataset::park::PARKED;
use crate::dataset::park::PUBLISHED;
use crate::dataset::park::SETTLED;
use crate::dataset::place::INSIDE;
use crate::dataset::replay::index_info;
use crate::model::Commit;

/// The beginning of the messages of our commits of edits.
const FOUND: [&str; 2] = ["Staged changes found in the checkout of", "Uncommitted edits found in the checkout of"];

/// Edits as they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edits {
    /// The name of the parked work, which will be published.
    pub(super) parked: Option<String>,
    /// The tree with the files as they were found.
    pub(super) tree: String,
    /// Entries that differ from the branch only in line endings or filters, in the branch's version: input of `update-index
    /// --index-info`.
    pub(super) same: Vec<u8>,
}

impl Repo {
    /// Parks edited and staged files and keeps untracked ones, as seen through `index`, which then contains all of them.
    pub(super) async fn park_edits(&self, index: &Path, cancel: &Cancel) -> Result<Edits, DatasetError> {
        let tip = self.tip("HEAD", cancel).await?;
        let tip_tree = match &tip {
            Some(tip) => self.object(&format!("{tip}^{{tree}}"), cancel).await?,
            None => self.empty_tree(cancel).await?,
        };
        // The staged content may differ from the file's present content. An index with unmerged paths has no tree.
        let staged = match self.git(["write-tree"]).index(index).run(cancel).await {
            (Ended::Exit(0), out, _) => Some(out.trim().to_owned()),
            _ => None,
        };
        let edited = self.edited(index, cancel).await?;
        let untracked = self.untracked(index, cancel).await?;
        self.add(index, &edited, cancel).await?;
        let tracked = self.tree_of(index, cancel).await?;
        self.add(index, &untracked, cancel).await?;
        let tree = self.tree_of(index, cancel).await?;
        if tree == tip_tree && staged.as_ref().is_none_or(|staged| *staged == tree) {
            return Ok(Edits { parked: None, tree, same: Vec::new() });
        }
        let same = self.same_but_written_otherwise(&tip_tree, &tracked, cancel).await?;
        let public = if self.settings.push_untracked { &tree } else { &tracked };
        let public = self.public_tree(&tip_tree, public, &same, cancel).await?;
        let mut parents: Vec<String> = tip.iter().map(ToString::to_string).collect();
        let mut kept = None;
        if let Some(whole) = staged {
            let staged = self.public_tree(&tip_tree, &whole, &same, cancel).await?;
            if staged != tip_tree && staged != public {
                // It has the branch's date, so that the same content gives the same commit the next time.
                let at_s = match &tip {
                    Some(tip) => self.parts(tip.as_str(), cancel).await?.committed_s,
                    None => 0,
                };
                let message = format!("{} {}", FOUND[0], self.settings.branch);
                let commit = self.write_commit(&new_commit(&self.settings, &staged, &parents, at_s, &message), cancel).await?;
                parents = vec![commit.to_string()];
            }
            kept = self.keep_rest(&staged, &whole, &same, cancel).await?;
        }
        let is_edited = public != tip_tree || parents.first() != tip.as_ref().map(ToString::to_string).as_ref();
        let parked = if is_edited { Some(self.park_tree(&public, &parents, cancel).await?) } else { None };
        // Everything that is in the files but neither published nor on the branch stays here.
        let kept = self.keep_rest(&public, &tree, &same, cancel).await?.or(kept);
        if let Some(name) = &kept {
            self.note(format!("Untracked and ignored files are kept on this host under {name}; they are not pushed."));
        }
        Ok(Edits { parked, tree, same })
    }

    /// Parked edits as they may be published: ignore rules that the remote has brought since they were parked count as well.
    /// Commits of the app are published unchanged.
    pub(super) async fn without_ignored(&self, commit: &Commit, cancel: &Cancel) -> Result<Commit, DatasetError> {
        let mut chain = Vec::new();
        let mut base = Some(commit.to_string());
        while let Some(at) = base.clone() {
            let parts = self.parts(&at, cancel).await?;
            if !FOUND.iter().any(|found| parts.is_our_own(&self.settings, found)) {
                break;
            }
            base = parts.parents.first().cloned();
            chain.push(parts);
        }
        let Some(base_tree) = (match &base {
            Some(base) if !chain.is_empty() => Some(self.object(&format!("{base}^{{tree}}"), cancel).await?),
            None => Some(self.empty_tree(cancel).await?),
            Some(_) => None,
        }) else {
            return Ok(commit.clone());
        };
        let mut parents = base.into_iter().collect::<Vec<_>>();
        let mut made = commit.clone();
        let mut is_changed = false;
        for parts in chain.iter().rev() {
            let tree = self.public_tree(&base_tree, &parts.tree, &[], cancel).await?;
            is_changed |= tree != parts.tree;
            self.keep_rest(&tree, &parts.tree, &[], cancel).await?;
            made = self.write_commit(&parts.again(&self.settings, &tree, &parents), cancel).await?;
            parents = vec![made.to_string()];
        }
        Ok(if is_changed { made } else { commit.clone() })
    }

    /// Tracked files that differ from `index`, except what git cannot store; submodules do not count as edits here.
    async fn edited(&self, index: &Path, cancel: &Cancel) -> Result<BTreeSet<Vec<u8>>, DatasetError> {
        let Some(work) = &self.work else { return Ok(BTreeSet::new()) };
        let mut args = ["diff-files", "-z", "--ignore-submodules=all"].map(str::to_owned).to_vec();
        args.extend(self.without_nested(index, cancel).await?);
        let out = self.git_on_files(args).index(index).bytes(cancel).await?;
        let touched = touched(&out).into_iter().filter(|one| one.old != SUBMODULE);
        let mut paths: BTreeSet<Vec<u8>> = touched.map(|one| one.path).collect();
        paths.retain(|path| {
            let at = work.join(OsStr::from_bytes(path));
            match at.symlink_metadata() {
                Err(_) => true,
                Ok(meta) if meta.is_dir() => !is_repository(&at),
                Ok(meta) => !is_special(meta.file_type()) && (meta.is_symlink() || is_readable(&at)),
            }
        });
        Ok(paths)
    }

    /// Plain files that are in no index, are not ignored, and belong to no repository of their own.
    async fn untracked(&self, index: &Path, cancel: &Cancel) -> Result<BTreeSet<Vec<u8>>, DatasetError> {
        let Some(work) = &self.work else { return Ok(BTreeSet::new()) };
        let out = self.git_on_files(["ls-files", "-z", "--others", "--exclude-standard"]).index(index).bytes(cancel).await?;
        let mut paths = paths(&out);
        paths.retain(|path| {
            let at = work.join(OsStr::from_bytes(path));
            let of_ours = path.split(|b| *b == b'/').next() == Some(INSIDE.as_bytes());
            let is_plain = at.symlink_metadata().is_ok_and(|meta| meta.is_symlink() || meta.is_file() && is_readable(&at));
            let above = at.ancestors().skip(1).take_while(|above| *above != work);
            !of_ours && is_plain && !above.into_iter().any(is_repository)
        });
        let ignored = self.ignored(&paths, cancel).await?;
        Ok(paths.difference(&ignored).cloned().collect())
    }

    /// Adds `paths` to `index` as they are on disk; missing ones are removed from it.
    async fn add(&self, index: &Path, paths: &BTreeSet<Vec<u8>>, cancel: &Cancel) -> Result<(), DatasetError> {
        let Some(work) = &self.work else { return Ok(()) };
        let (there, gone): (Vec<_>, Vec<_>) = paths.iter().partition(|path| is_there(work, path));
        for (paths, how) in [(gone, "--force-remove"), (there, "--remove")] {
            if !paths.is_empty() {
                let list: Vec<u8> = paths.into_iter().flat_map(|path| path.iter().copied().chain([0])).collect();
                let args = ["update-index", "--add", "--replace", how, "-z", "--stdin"];
                self.git_on_files(args).index(index).stdin(in_memory(&list)?).text(cancel).await?;
            }
        }
        Ok(())
    }

    async fn tree_of(&self, index: &Path, cancel: &Cancel) -> Result<String, DatasetError> {
        Ok(self.git(["write-tree"]).index(index).text(cancel).await?.trim().to_owned())
    }

    /// `tree` as it may be published: files that differ only in how they are written are taken from the branch, and new files
    /// that are ignored are left out.
    async fn public_tree(&self, tip_tree: &str, tree: &str, same: &[u8], cancel: &Cancel) -> Result<String, DatasetError> {
        let raw =
            self.git(["diff-tree", "-r", "-z", "--no-renames", "--diff-filter=A", "--name-only", tip_tree, tree]).bytes(cancel).await?;
        let hidden = self.ignored(&paths(&raw), cancel).await?;
        if hidden.is_empty() && same.is_empty() {
            return Ok(tree.to_owned());
        }
        let index = self.own_dir()?.join("public-index");
        self.git(["read-tree", tree]).index(&index).text(cancel).await?;
        let mut info = same.to_vec();
        for path in hidden {
            info.extend_from_slice(format!("0 {}\t", "0".repeat(tip_tree.len())).as_bytes());
            info.extend_from_slice(&path);
            info.push(0);
        }
        self.update_index(&index, &info, cancel).await?;
        let public = self.tree_of(&index, cancel).await?;
        // If it cannot be removed, it is left for the next time.
        let _ = std::fs::remove_file(&index);
        Ok(public)
    }

    /// Keeps on a ref of this host what is in `tree` but not in `public`. Returns the ref, if there is anything to keep.
    async fn keep_rest(&self, public: &str, tree: &str, same: &[u8], cancel: &Cancel) -> Result<Option<String>, DatasetError> {
        let raw = self.git(["diff-tree", "-r", "-z", "--no-renames", "--diff-filter=AMT", public, tree]).bytes(cancel).await?;
        let written_otherwise: BTreeSet<&[u8]> =
            same.split(|b| *b == 0).filter_map(|entry| entry.splitn(2, |b| *b == b'\t').nth(1)).collect();
        let info: Vec<u8> = index_info(&raw)
            .split_inclusive(|b| *b == 0)
            .filter(|entry| {
                let path = entry.strip_suffix(&[0]).unwrap_or(entry).splitn(2, |b| *b == b'\t').nth(1).unwrap_or_default();
                !written_otherwise.contains(path)
            })
            .flatten()
            .copied()
            .collect();
        if info.is_empty() {
            return Ok(None);
        }
        let index = self.own_dir()?.join("kept-index");
        let _ = std::fs::remove_file(&index);
        self.update_index(&index, &info, cancel).await?;
        let kept = self.tree_of(&index, cancel).await?;
        let _ = std::fs::remove_file(&index);
        if let Some(name) = self.ref_of(&[KEPT], &kept, &[], cancel).await? {
            return Ok(Some(name));
        }
        let message = format!("Files that are not tracked, found in the checkout of {}", self.settings.branch);
        let commit = self.write_commit(&new_commit(&self.settings, &kept, &[], clock::now_ms() / 1000, &message), cancel).await?;
        self.keep(&commit, cancel).await.map(Some)
    }

    /// Parks a commit of `tree`; the same tree is parked only once. Returns its name.
    async fn park_tree(&self, tree: &str, parents: &[String], cancel: &Cancel) -> Result<String, DatasetError> {
        if let Some(name) = self.ref_of(&[PARKED, PUBLISHED, SETTLED], tree, parents, cancel).await? {
            return Ok(name.rsplit('/').next().unwrap_or_default().to_owned());
        }
        let message = format!("{} {}", FOUND[1], self.settings.branch);
        let commit = self.write_commit(&new_commit(&self.settings, tree, parents, clock::now_ms() / 1000, &message), cancel).await?;
        self.park(&commit, cancel).await
    }

    /// The ref below one of `prefixes` whose commit has that tree and those parents.
    async fn ref_of(&self, prefixes: &[&str], tree: &str, parents: &[String], cancel: &Cancel) -> Result<Option<String>, DatasetError> {
        let args = ["for-each-ref", "--format=%(tree) %(refname) %(parent)"].iter().chain(prefixes).copied();
        let out = self.git(args).text(cancel).await?;
        Ok(out.lines().find_map(|line| {
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            let at = words.next()?;
            let name = words.next()?;
            (at == tree && words.eq(parents)).then(|| name.to_owned())
        }))
    }
}

/// Whether there is a file or symbolic link at `path`, and no symbolic link above it.
fn is_there(work: &Path, path: &[u8]) -> bool {
    let at = work.join(OsStr::from_bytes(path));
    let mut above = at.ancestors().skip(1).take_while(|above| *above != work);
    at.symlink_metadata().is_ok_and(|meta| !meta.is_dir()) && above.all(|above| above.symlink_metadata().is_ok_and(|meta| meta.is_dir()))
}

fn paths(out: &[u8]) -> BTreeSet<Vec<u8>> {
    out.split(|b| *b == 0).filter(|path| !path.ends_with(b"/") && stays_below(path)).map(<[u8]>::to_vec).collect()
}
