//! Rebases a straight line of own commits in a handful of calls. Each commit's tree is guessed by merging it with the remote's
//! tip, independently of the others. If the commits touch other files than the remote did, the guess is what rebasing them one
//! by one would give; otherwise a second round rebases each commit onto the guess for its parent, and all results must agree.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use process::Cancel;
use process::Ended;

use crate::dataset::DatasetError;
use crate::dataset::call::in_memory;
use crate::dataset::call::path_text;
use crate::dataset::commit::Parts;
use crate::dataset::commit::new_commit;
use crate::dataset::commit::object_name;
use crate::dataset::git::Repo;
use crate::dataset::git::TAKES_TREES;
use crate::dataset::range::Own;
use crate::model::Commit;

/// The first git version whose `merge-tree` can be told the base.
const TAKES_BASE: (u32, u32) = (2, 40);

impl Repo {
    /// The new tip of `commits` (oldest first) on top of the remote's; none if the case is not that simple.
    pub(super) async fn carry_at_once(
        &self,
        own: &Own<'_>,
        commits: &[String],
        parts: &BTreeMap<String, Parts>,
        cancel: &Cancel,
    ) -> Result<Option<Commit>, DatasetError> {
        let Some(base) = straight_from(own, commits, parts).filter(|_| own.gone.is_empty()) else { return Ok(None) };
        let is_apart = self.touch_other_files(own, base, commits, cancel).await?;
        // A commit that the remote has already is left out, which no merge can know.
        if !is_apart && !self.already_there(own, cancel).await?.is_empty() {
            return Ok(None);
        }
        let version = self.version(cancel).await?;
        let before = if version >= TAKES_BASE { format!("{base} -- ") } else { String::new() };
        let list: String = commits.iter().flat_map(|commit| [before.as_str(), own.remote.as_str(), " ", commit, "\n"]).collect();
        let Some(trees) = self.merged_trees(&list, commits.len(), cancel).await? else { return Ok(None) };
        let ends = self.all_parts(&[base.to_owned(), own.remote.to_string()], cancel).await?;
        let remote_tree = ends[own.remote.as_str()].tree.clone();
        if !is_apart && !self.is_one_by_one((base, &remote_tree), commits, &trees, parts, cancel).await? {
            return Ok(None);
        }
        let mut last_tree = remote_tree;
        let mut old_tree = ends[base].tree.clone();
        let mut tip = own.remote.to_string();
        let mut written = Vec::new();
        for (commit, tree) in commits.iter().zip(trees) {
            let parts = &parts[commit];
            // A commit that became empty is dropped; one that was empty from the start stays.
            if tree != last_tree || parts.tree == old_tree {
                let bytes = parts.again(&self.settings, &tree, &[tip]);
                tip = object_name(&bytes, own.remote.as_str().len());
                written.push((tip.clone(), bytes));
            }
            last_tree = tree;
            old_tree = parts.tree.clone();
        }
        self.write_commits(&written, cancel).await?;
        Commit::parse(&tip).map(Some).map_err(|error| DatasetError::Git { what: "hash-object".to_owned(), why: error.to_string() })
    }

    /// Reads every commit of `names` in one call.
    pub(super) async fn all_parts(&self, names: &[String], cancel: &Cancel) -> Result<BTreeMap<String, Parts>, DatasetError> {
        let list: String = names.iter().flat_map(|name| [name, "\n"]).collect();
        let out = self.git(["cat-file", "--batch"]).stdin(in_memory(list.as_bytes())?).bytes(cancel).await?;
        let mut all = BTreeMap::new();
        let mut rest = out.as_slice();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            let unreadable = || DatasetError::Git { what: "cat-file".to_owned(), why: format!("unable to read sha1 file: {head}") };
            let [name, "commit", size] = head.split(' ').collect::<Vec<_>>()[..] else { return Err(unreadable()) };
            let size: usize = size.parse().map_err(|_| unreadable())?;
            let bytes = rest.get(end + 1..end + 1 + size).ok_or_else(unreadable)?;
            all.insert(name.to_owned(), Parts::parse(bytes));
            rest = rest.get(end + 2 + size..).unwrap_or_default();
        }
        Ok(all)
    }

    /// Whether no path that an own commit touches equals, contains or lies below a path that the remote has changed since
    /// `base`.
    async fn touch_other_files(&self, own: &Own<'_>, base: &str, commits: &[String], cancel: &Cancel) -> Result<bool, DatasetError> {
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--name-only", base, own.remote.as_str()];
        let theirs = self.git(args).bytes(cancel).await?;
        let theirs: BTreeSet<&[u8]> = theirs.split(|b| *b == 0).filter(|path| !path.is_empty()).collect();
        let are_apart = |ours: &[u8]| {
            ours.split(|b| *b == 0).filter(|path| !path.is_empty()).collect::<BTreeSet<_>>().into_iter().all(|path| {
                let below: Vec<u8> = path.iter().copied().chain([b'/']).collect();
                let is_above = theirs.range(below.as_slice()..).next().is_some_and(|other| other.starts_with(&below));
                let is_below = path.iter().enumerate().any(|(at, b)| *b == b'/' && theirs.contains(&path[..at]));
                !theirs.contains(path) && !is_above && !is_below
            })
        };
        // The combined result usually decides; a change that one commit made and another reverted shows only commit by commit.
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--name-only", base, own.local.as_str()];
        if !are_apart(&self.git(args).bytes(cancel).await?) {
            return Ok(false);
        }
        let list: String = commits.iter().flat_map(|name| [name, "\n"]).collect();
        let args = ["diff-tree", "--stdin", "-r", "-z", "--no-renames", "--name-only", "--no-commit-id"];
        Ok(are_apart(&self.git(args).stdin(in_memory(list.as_bytes())?).bytes(cancel).await?))
    }

    /// Whether each commit, rebased onto the tree of its parent, gives its own tree in `trees`.
    async fn is_one_by_one(
        &self,
        (base, remote_tree): (&str, &String),
        commits: &[String],
        trees: &[String],
        parts: &BTreeMap<String, Parts>,
        cancel: &Cancel,
    ) -> Result<bool, DatasetError> {
        let ontos = std::iter::once(remote_tree).chain(trees);
        let bases = std::iter::once(base).chain(commits.iter().map(String::as_str));
        let mut list = String::new();
        let mut helpers = Vec::new();
        let takes_trees = self.version(cancel).await? >= TAKES_TREES;
        for ((commit, onto), base) in commits.iter().zip(ontos).zip(bases) {
            if takes_trees {
                list.extend([base, " -- ", onto, " ", commit, "\n"]);
            } else {
                // A commit with that tree and that parent forces the base.
                let bytes = new_commit(&self.settings, onto, &[base.to_owned()], parts[commit].committed_s, "base");
                let name = object_name(&bytes, remote_tree.len());
                list.extend([&name, " ", commit, "\n"]);
                helpers.push((name, bytes));
            }
        }
        self.write_commits(&helpers, cancel).await?;
        Ok(self.merged_trees(&list, commits.len(), cancel).await?.as_deref() == Some(trees))
    }

    /// The tree of each of `count` merges, one per line; none if one of them conflicts.
    async fn merged_trees(&self, list: &str, count: usize, cancel: &Cancel) -> Result<Option<Vec<String>>, DatasetError> {
        let args = ["merge-tree", "--write-tree", "--stdin", "-z", "--name-only", "--no-messages"].map(str::to_owned).to_vec();
        let (ended, out, _) = self.git_merging(args, cancel).await.stdin(in_memory(list.as_bytes())?).run(cancel).await;
        if ended == Ended::Cancelled {
            return Err(DatasetError::Cancelled);
        }
        // A clean merge prints `1`, its tree, and nothing more. Any other output is left to the one-by-one way.
        let fields: Vec<&str> = out.split('\0').map(str::trim_start).collect();
        let trees: Vec<String> =
            fields.chunks_exact(3).filter(|fields| fields[0] == "1" && fields[2].is_empty()).map(|fields| fields[1].to_owned()).collect();
        Ok((ended == Ended::Exit(0) && trees.len() == count).then_some(trees))
    }

    /// Writes commit objects whose names are already known.
    pub(super) async fn write_commits(&self, commits: &[(String, Vec<u8>)], cancel: &Cancel) -> Result<(), DatasetError> {
        if commits.is_empty() {
            return Ok(());
        }
        let folder = self.own_dir()?.join("commits");
        let error = |error| DatasetError::File(folder.clone(), error);
        // It is left over from a pass that was interrupted.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(error)?;
        let mut list = String::new();
        for (name, bytes) in commits {
            let file = folder.join(name);
            std::fs::write(&file, bytes).map_err(error)?;
            list.push_str(&path_text(&file));
            list.push('\n');
        }
        let args = ["hash-object", "-t", "commit", "-w", "--no-filters", "--stdin-paths"];
        let out = self.git(args).stdin(in_memory(list.as_bytes())?).text(cancel).await?;
        let _ = std::fs::remove_dir_all(&folder);
        if out.lines().eq(commits.iter().map(|(name, _)| name.as_str())) {
            return Ok(());
        }
        Err(DatasetError::Git { what: "hash-object".to_owned(), why: "it returned unexpected object names".to_owned() })
    }
}

/// The commit on which a straight line of own commits begins; none if there is a merge or a root among them.
fn straight_from<'a>(own: &Own<'_>, commits: &[String], parts: &'a BTreeMap<String, Parts>) -> Option<&'a str> {
    let parent = |commit: &String| match parts.get(commit)?.parents.as_slice() {
        [parent] => Some(parent.as_str()),
        _ => None,
    };
    let is_line = commits.windows(2).all(|two| parent(&two[1]) == Some(two[0].as_str()));
    (is_line && commits.last()? == own.local.as_str()).then(|| parent(&commits[0])).flatten()
}
