//! Rebasing own commits onto another tip, object by object, so that nothing can be left half done.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use process::Cancel;
use process::Ended;

use crate::dataset::DatasetError;
use crate::dataset::call::failed;
use crate::dataset::commit::Parts;
use crate::dataset::commit::object_name;
use crate::dataset::git::Repo;
use crate::dataset::git::TAKES_TREES;
use crate::dataset::range::Own;
use crate::model::Commit;

/// The result of a rebase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Carried {
    /// The new tip.
    Tip(Commit),
    /// This commit conflicts.
    Conflict(String),
}

/// A commit that is being rebased: its own tree, and the tip that represents it now with that tip's tree.
struct Base {
    commit: String,
    tree: String,
}

impl Repo {
    /// Rebases the own commits onto the remote's tip, including merges, all or none. A commit whose patch the remote already
    /// has is left out; one that was empty from the start stays.
    pub(super) async fn carry_over(&self, own: &Own<'_>, cancel: &Cancel) -> Result<Carried, DatasetError> {
        let commits = self.own_commits(own, cancel).await?;
        let mut parts = self.all_parts(&commits, cancel).await?;
        if let Some(tip) = self.carry_at_once(own, &commits, &parts, cancel).await? {
            return Ok(Carried::Tip(tip));
        }
        let there = self.already_there(own, cancel).await?;
        let takes_trees = self.version(cancel).await? >= TAKES_TREES;
        let outer = outer_parents(&parts);
        parts.extend(self.all_parts(&outer, cancel).await?);
        let tip = Base { commit: own.remote.to_string(), tree: self.object(&format!("{}^{{tree}}", own.remote), cancel).await? };
        let mut carried = BTreeMap::<String, Base>::new();
        let mut written = Vec::new();
        for commit in commits {
            let Some(this) = parts.get(&commit) else { continue };
            let onto = this.parents.iter().find_map(|parent| carried.get(parent)).unwrap_or(&tip);
            let base = base_of(&this.parents, &carried);
            let was_empty = this.parents.len() < 2 && base.and_then(|base| parts.get(base)).is_some_and(|base| base.tree == this.tree);
            let parents = new_parents(&this.parents, &carried, &tip.commit);
            let stays = Base { commit: onto.commit.clone(), tree: onto.tree.clone() };
            if !was_empty && there.contains(&commit) {
                carried.insert(commit, stays);
                continue;
            }
            let Some(tree) = self.merged((&commit, this), base.filter(|_| takes_trees), base, onto, cancel).await? else {
                return Ok(Carried::Conflict(commit));
            };
            if tree == onto.tree && !was_empty && parents.len() < 2 {
                carried.insert(commit, stays);
                continue;
            }
            let bytes = this.again(&self.settings, &tree, &parents);
            let made = object_name(&bytes, tip.commit.len());
            carried.insert(commit, Base { commit: made.clone(), tree });
            written.push((made, bytes));
        }
        self.write_commits(&written, cancel).await?;
        let last = carried.get(own.local.as_str()).map_or(&tip.commit, |base| &base.commit);
        Commit::parse(last).map(Carried::Tip).map_err(|error| DatasetError::Git { what: "merge-tree".to_owned(), why: error.to_string() })
    }

    /// The own commits, with every path that they did not change taken from the remote's tip. This is for parking after a
    /// rewrite, so that the old history does not come back below the own work.
    pub(super) async fn lay_over(&self, own: &Own<'_>, cancel: &Cancel) -> Result<Commit, DatasetError> {
        let index = self.own_dir()?.join("lay-over");
        let mut tip = own.remote.clone();
        self.git(["read-tree", own.remote.as_str()]).index(&index).text(cancel).await?;
        let commits = self.own_commits(own, cancel).await?;
        let ours: BTreeSet<&String> = commits.iter().collect();
        for commit in &commits {
            let parts = self.parts(commit, cancel).await?;
            // For a merge with the remote's side, only what it changes of that side counts: the rest is not ours.
            let parent = match parts.parents.iter().find(|parent| !ours.contains(parent)).or(parts.parents.first()) {
                Some(parent) => format!("{parent}^{{tree}}"),
                None => self.empty_tree(cancel).await?,
            };
            let changed = self.git(["diff-tree", "-r", "-z", "--no-renames", &parent, &parts.tree]).bytes(cancel).await?;
            self.update_index(&index, &index_info(&changed), cancel).await?;
            let tree = self.git(["write-tree"]).index(&index).text(cancel).await?;
            tip = self.write_commit(&parts.again(&self.settings, tree.trim(), &[tip.to_string()]), cancel).await?;
        }
        // If it cannot be removed, it is left for the next time.
        let _ = std::fs::remove_file(&index);
        Ok(tip)
    }

    /// Passes `info` to `update-index --index-info`.
    pub(super) async fn update_index(&self, index: &std::path::Path, info: &[u8], cancel: &Cancel) -> Result<(), DatasetError> {
        let path = self.own_dir()?.join("index-info");
        std::fs::write(&path, info).map_err(|error| DatasetError::File(path.clone(), error))?;
        let file = std::fs::File::open(&path).map_err(|error| DatasetError::File(path.clone(), error))?;
        self.git(["update-index", "--replace", "-z", "--index-info"]).index(index).stdin(file).text(cancel).await.map(drop)
    }

    pub(super) async fn empty_tree(&self, cancel: &Cancel) -> Result<String, DatasetError> {
        Ok(self.git(["hash-object", "-t", "tree", "-w", "--", "/dev/null"]).text(cancel).await?.trim().to_owned())
    }

    async fn own_commits(&self, own: &Own<'_>, cancel: &Cancel) -> Result<Vec<String>, DatasetError> {
        let args = ["rev-list", "--topo-order", "--reverse"].map(str::to_owned);
        let out = self.git(args.into_iter().chain(own.range())).text(cancel).await?;
        Ok(out.lines().map(str::to_owned).collect())
    }

    /// Own commits whose patch the remote has already.
    pub(super) async fn already_there(&self, own: &Own<'_>, cancel: &Cancel) -> Result<BTreeSet<String>, DatasetError> {
        let mut args = ["rev-list", "--cherry-mark", "--right-only", "--no-merges"].map(str::to_owned).to_vec();
        args.push(format!("{}...{}", own.remote, own.local));
        args.extend(own.gone.iter().map(|gone| format!("^{gone}")));
        let out = self.git(args).text(cancel).await?;
        Ok(out.lines().filter_map(|line| line.strip_prefix('=')).map(str::to_owned).collect())
    }

    /// The tree of `commit` on top of `onto`; none if it conflicts. If git cannot be told the base, a commit with `onto`'s tree
    /// and the base as its parent forces it; it has the commit's date, because git walks all history above a date.
    async fn merged(
        &self,
        (commit, parts): (&str, &Parts),
        told: Option<&String>,
        base: Option<&String>,
        onto: &Base,
        cancel: &Cancel,
    ) -> Result<Option<String>, DatasetError> {
        let mut args: Vec<String> = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages"].map(str::to_owned).to_vec();
        if let Some(told) = told {
            args.extend([format!("--merge-base={told}"), onto.tree.clone()]);
        } else {
            let base: Vec<String> = base.cloned().into_iter().collect();
            let helper = crate::dataset::commit::new_commit(&self.settings, &onto.tree, &base, parts.committed_s, "base");
            args.extend(["--allow-unrelated-histories".to_owned(), self.write_commit(&helper, cancel).await?.to_string()]);
        }
        args.push(commit.to_owned());
        let (ended, out, err) = self.git_merging(args, cancel).await.run(cancel).await;
        match ended {
            Ended::Exit(0) => Ok(Some(out.split('\0').next().unwrap_or_default().trim().to_owned())),
            Ended::Exit(1) => Ok(None),
            ended => Err(failed("merge-tree", &ended, &format!("{err} (commit {commit}, tree {})", parts.tree))),
        }
    }
}

/// Parents of own commits that are not own commits.
fn outer_parents(parts: &BTreeMap<String, Parts>) -> Vec<String> {
    let parents = parts.values().flat_map(|parts| &parts.parents).filter(|parent| !parts.contains_key(*parent));
    parents.cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// What a commit is compared with to see its changes. For a merge with the remote's side, that is the remote's side: then its
/// changes are the own work and how conflicts were resolved, and nothing that the remote has removed is brought back.
fn base_of<'a>(parents: &'a [String], carried: &BTreeMap<String, Base>) -> Option<&'a String> {
    parents.iter().find(|parent| !carried.contains_key(*parent)).or(parents.first())
}

/// The new parents. A parent that belongs to the remote is replaced by its tip, and dropped beside a rebased one, which is
/// above it.
fn new_parents(old: &[String], carried: &BTreeMap<String, Base>, tip: &str) -> Vec<String> {
    let mut parents = Vec::<String>::new();
    for parent in old.iter().filter_map(|parent| carried.get(parent)).map(|base| &base.commit).filter(|commit| *commit != tip) {
        if !parents.contains(parent) {
            parents.push(parent.clone());
        }
    }
    if parents.is_empty() {
        parents.push(tip.to_owned());
    }
    parents
}

/// Raw output of `diff-tree -z` as input of `update-index -z --index-info`: the new side of each path.
pub(super) fn index_info(raw: &[u8]) -> Vec<u8> {
    let mut info = Vec::new();
    let mut fields = raw.split(|b| *b == 0);
    while let (Some(meta), Some(path)) = (fields.next(), fields.next()) {
        let meta = String::from_utf8_lossy(meta).into_owned();
        let words: Vec<&str> = meta.trim_start_matches(':').split(' ').collect();
        if let [_, mode, _, object, _] = words[..] {
            let mode = if mode == "000000" { "0" } else { mode };
            info.extend_from_slice(format!("{mode} {object}\t").as_bytes());
            info.extend_from_slice(path);
            info.push(0);
        }
    }
    info
}
