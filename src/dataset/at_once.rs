//! Carrying a straight line of own commits over in a handful of calls, where they touch other files than the remote did. Then
//! each one's tree is what a plain merge of it gives, none of them waits for the one before it, and git does them in one go.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use sha2::Digest as _;

use crate::dataset::DatasetError;
use crate::dataset::commit::Parts;
use crate::dataset::git::Repo;
use crate::dataset::git::shown;
use crate::dataset::heal::version_of;
use crate::dataset::replay::Own;
use crate::dataset::traces::in_memory;
use crate::model::Commit;
use crate::process::Cancel;
use crate::process::Ended;

/// The first git whose `merge-tree` can be told the base.
const TAKES_BASE: (u32, u32) = (2, 40);

impl Repo {
    /// The new tip of `commits`, oldest first, on the remote's; none where it is not as simple as that.
    pub(super) async fn carry_at_once(
        &self,
        own: &Own<'_>,
        commits: &[String],
        parts: &BTreeMap<String, Parts>,
        cancel: &Cancel,
    ) -> Result<Option<Commit>, DatasetError> {
        let Some(base) = straight_from(own, commits, parts).filter(|_| own.gone.is_empty()) else { return Ok(None) };
        if !self.touch_other_files(own, base, commits, cancel).await? {
            return Ok(None);
        }
        let Some(trees) = self.merged_trees(own, base, commits, cancel).await? else { return Ok(None) };
        let mut last_tree = self.object(&format!("{}^{{tree}}", own.remote), cancel).await?;
        let mut old_tree = self.object(&format!("{base}^{{tree}}"), cancel).await?;
        let (mut tip, mut written) = (own.remote.to_string(), Vec::new());
        for (commit, tree) in commits.iter().zip(trees) {
            let parts = &parts[commit];
            // One that became empty falls away, one that was empty stays.
            if tree != last_tree || parts.tree == old_tree {
                let bytes = parts.again(&self.settings, &tree, &[tip]);
                tip = object_name(&bytes, own.remote.as_str().len());
                written.push((tip.clone(), bytes));
            }
            (last_tree, old_tree) = (tree, parts.tree.clone());
        }
        self.write_commits(&written, cancel).await?;
        Commit::parse(&tip).map(Some).map_err(|error| DatasetError::Git { what: "hash-object".to_owned(), why: error.to_string() })
    }

    /// Every commit of `names`, taken apart, by one call.
    pub(super) async fn all_parts(&self, names: &[String], cancel: &Cancel) -> Result<BTreeMap<String, Parts>, DatasetError> {
        let list: String = names.iter().flat_map(|name| [name, "\n"]).collect();
        let out = self.git(["cat-file", "--batch"]).stdin(in_memory(list.as_bytes())?).bytes(cancel).await?;
        let (mut all, mut rest) = (BTreeMap::new(), out.as_slice());
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

    /// Whether git's `merge-tree` can be told which base to take.
    pub(super) async fn takes_base(&self, cancel: &Cancel) -> Result<bool, DatasetError> {
        Ok(version_of(&self.git(["version"]).text(cancel).await?) >= TAKES_BASE)
    }

    /// Whether no path that an own commit touches is one, above one or below one that the remote has changed since `base`.
    async fn touch_other_files(&self, own: &Own<'_>, base: &str, commits: &[String], cancel: &Cancel) -> Result<bool, DatasetError> {
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--name-only", base, own.remote.as_str()];
        let theirs = self.git(args).bytes(cancel).await?;
        let theirs: BTreeSet<&[u8]> = theirs.split(|b| *b == 0).filter(|path| !path.is_empty()).collect();
        let list: String = commits.iter().flat_map(|name| [name, "\n"]).collect();
        let args = ["diff-tree", "--stdin", "-r", "-z", "--no-renames", "--name-only", "--no-commit-id"];
        let ours = self.git(args).stdin(in_memory(list.as_bytes())?).bytes(cancel).await?;
        Ok(ours.split(|b| *b == 0).filter(|path| !path.is_empty()).collect::<BTreeSet<_>>().into_iter().all(|path| {
            let below: Vec<u8> = path.iter().copied().chain([b'/']).collect();
            let is_above = theirs.range(below.as_slice()..).next().is_some_and(|other| other.starts_with(&below));
            let is_below = path.iter().enumerate().any(|(at, b)| *b == b'/' && theirs.contains(&path[..at]));
            !theirs.contains(path) && !is_above && !is_below
        }))
    }

    /// The tree of each commit merged with the remote's tip; none when one does not fit.
    async fn merged_trees(
        &self,
        own: &Own<'_>,
        base: &str,
        commits: &[String],
        cancel: &Cancel,
    ) -> Result<Option<Vec<String>>, DatasetError> {
        let before = if self.takes_base(cancel).await? { format!("{base} -- ") } else { String::new() };
        let list: String = commits.iter().map(|commit| format!("{before}{} {commit}\n", own.remote)).collect();
        let args = ["merge-tree", "--write-tree", "--stdin", "-z", "--name-only", "--no-messages"];
        let (ended, out, _) = self.git(args).stdin(in_memory(list.as_bytes())?).run(cancel).await;
        if ended == Ended::Cancelled {
            return Err(DatasetError::Cancelled);
        }
        // A clean one is `1`, its tree, and nothing more. Whatever else it says, one after the other finds out.
        let fields: Vec<&str> = out.split('\0').map(str::trim_start).collect();
        let trees: Vec<String> =
            fields.chunks_exact(3).filter(|fields| fields[0] == "1" && fields[2].is_empty()).map(|fields| fields[1].to_owned()).collect();
        Ok((ended == Ended::Exit(0) && trees.len() == commits.len()).then_some(trees))
    }

    /// Writes commit objects whose names are known.
    async fn write_commits(&self, commits: &[(String, Vec<u8>)], cancel: &Cancel) -> Result<(), DatasetError> {
        let folder = self.own_dir()?.join("commits");
        let error = |error| DatasetError::File(folder.clone(), error);
        // Left over from a pass that was cut off.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(error)?;
        let mut list = String::new();
        for (name, bytes) in commits {
            let file = folder.join(name);
            std::fs::write(&file, bytes).map_err(error)?;
            list.push_str(&shown(&file));
            list.push('\n');
        }
        let args = ["hash-object", "-t", "commit", "-w", "--no-filters", "--stdin-paths"];
        let out = self.git(args).stdin(in_memory(list.as_bytes())?).text(cancel).await?;
        let _ = std::fs::remove_dir_all(&folder);
        if out.lines().eq(commits.iter().map(|(name, _)| name.as_str())) {
            return Ok(());
        }
        Err(DatasetError::Git { what: "hash-object".to_owned(), why: "it gave other names than the commits have".to_owned() })
    }
}

/// The commit that a straight line of own commits begins on; none when there is a merge or a root among them.
fn straight_from<'a>(own: &Own<'_>, commits: &[String], parts: &'a BTreeMap<String, Parts>) -> Option<&'a str> {
    let parent = |commit: &String| match parts.get(commit)?.parents.as_slice() {
        [parent] => Some(parent.as_str()),
        _ => None,
    };
    let is_line = commits.windows(2).all(|two| parent(&two[1]) == Some(two[0].as_str()));
    (is_line && commits.last()? == own.local.as_str()).then(|| parent(&commits[0])).flatten()
}

/// The name of a commit object, of as many hex digits as the repository's names have.
fn object_name(bytes: &[u8], digits: usize) -> String {
    let head = format!("commit {}\0", bytes.len());
    let hex = |hash: &[u8]| hash.iter().map(|byte| format!("{byte:02x}")).collect();
    if digits == 64 {
        hex(&sha2::Sha256::new().chain_update(head).chain_update(bytes).finalize())
    } else {
        hex(&sha1::Sha1::new().chain_update(head).chain_update(bytes).finalize())
    }
}
