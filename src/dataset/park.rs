//! Work that does not fit: put on a local ref first, and on the remote as `conflicts/<UTC time>`.

use std::path::Path;

use crate::clock;
use crate::dataset::DatasetError;
use crate::dataset::commit::new_commit;
use crate::dataset::git::Repo;
use crate::dataset::remote::Pushed;
use crate::dataset::remote::conflicts_there;
use crate::model::Commit;
use crate::process::Cancel;
use crate::process::Ended;

pub(super) const PARKED: &str = "refs/tagalong/parked/";
pub(super) const PUBLISHED: &str = "refs/tagalong/published/";
/// Published work whose branch on the remote a person has removed: kept here, shown no more.
const SETTLED: &str = "refs/tagalong/settled/";
/// How many names are tried when others park in the same second.
const NAMES: i64 = 60;

/// Edits that were parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edits {
    /// The name of the parked work.
    pub(super) name: String,
    /// The tree that holds the files as they were found.
    pub(super) tree: String,
}

impl Repo {
    /// Every ref below `prefix` with its commit.
    pub(super) async fn refs_below(&self, prefix: &str, cancel: &Cancel) -> Result<Vec<(String, Commit)>, DatasetError> {
        let out = self.git(["for-each-ref", "--format=%(objectname) %(refname)", prefix]).text(cancel).await?;
        let parse = |line: &str| line.split_once(' ').and_then(|(commit, name)| Some((name.to_owned(), Commit::parse(commit).ok()?)));
        Ok(out.lines().filter_map(parse).collect())
    }

    /// Puts `commit` on a local ref of its own, named by the time. The same commit is parked once.
    pub(super) async fn park(&self, commit: &Commit, cancel: &Cancel) -> Result<String, DatasetError> {
        for prefix in [PARKED, PUBLISHED] {
            if let Some((name, _)) = self.refs_below(prefix, cancel).await?.into_iter().find(|(_, at)| at == commit) {
                return Ok(name[prefix.len()..].to_owned());
            }
        }
        let taken = self.refs_below("refs/tagalong/", cancel).await?;
        for name in names() {
            let is_free = taken.iter().all(|(at, _)| !at.ends_with(&format!("/{name}")));
            if is_free && self.swap_ref(&format!("{PARKED}{name}"), commit, None, cancel).await? {
                return Ok(name);
            }
        }
        Err(DatasetError::Git { what: "update-ref".to_owned(), why: "no name for parked work is free".to_owned() })
    }

    /// Parks what is edited, staged or untracked, as seen through `index`, which then holds it. None when there is nothing.
    pub(super) async fn park_edits(&self, index: &Path, cancel: &Cancel) -> Result<Option<Edits>, DatasetError> {
        let tip = self.tip("HEAD", cancel).await?;
        let tip_tree = match &tip {
            Some(tip) => self.object(&format!("{tip}^{{tree}}"), cancel).await?,
            None => self.empty_tree(cancel).await?,
        };
        let mut parents: Vec<String> = tip.iter().map(ToString::to_string).collect();
        // What was staged may differ from what the file says now. An index with unmerged paths has no tree.
        let staged = match self.git(["write-tree"]).index(index).run(cancel).await {
            (Ended::Exit(0), out, _) => Some(out.trim().to_owned()),
            _ => None,
        };
        self.take_in(index, cancel).await?;
        let tree = self.git(["write-tree"]).index(index).text(cancel).await?.trim().to_owned();
        let at_s = clock::now_ms() / 1000;
        let was_staged = staged.filter(|staged| *staged != tip_tree && *staged != tree);
        if tree == tip_tree && was_staged.is_none() {
            return Ok(None);
        }
        if let Some(staged) = was_staged {
            let message = format!("Staged changes found in the checkout of {}", self.settings.branch);
            let commit = self.write_commit(&new_commit(&self.settings, &staged, &parents, at_s, &message), cancel).await?;
            parents = vec![commit.to_string()];
        }
        let message = format!("Uncommitted edits found in the checkout of {}", self.settings.branch);
        let commit = self.write_commit(&new_commit(&self.settings, &tree, &parents, at_s, &message), cancel).await?;
        let name = self.park(&commit, cancel).await?;
        Ok(Some(Edits { name, tree }))
    }

    /// Brings parked work to the remote. Afterwards it is a branch there and a ref below `published`.
    pub(super) async fn publish(&self, name: &str, commit: &Commit, cancel: &Cancel) -> Result<(Pushed, String), DatasetError> {
        let (mut name, deadline) = (name.to_owned(), self.settings.push_deadline);
        for _ in 0..NAMES {
            let branch = format!("refs/heads/conflicts/{name}");
            match self.push(commit, &branch, None, deadline, cancel).await {
                Pushed::Done => {}
                // Taken: by a push of ours that was cut off, or by another pod in the same second.
                Pushed::Moved => {
                    let there = conflicts_there(&self.settings, cancel).await.unwrap_or_default();
                    if there.iter().all(|(at, tip)| *at != branch || tip != commit.as_str()) {
                        name = self.rename_parked(&name, commit, cancel).await?;
                        continue;
                    }
                }
                other => return Ok((other, name)),
            }
            self.set_ref(&format!("{PUBLISHED}{name}"), commit, cancel).await?;
            self.drop_ref(&format!("{PARKED}{name}"), commit, cancel).await?;
            return Ok((Pushed::Done, name));
        }
        Ok((Pushed::Transient("no name for parked work is free on the remote".to_owned()), name))
    }

    /// False when no file could hold a parked ref, which spares most passes a git.
    fn may_have_parked(&self) -> bool {
        let folder = self.common.join(PARKED);
        let has_files = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
        let packed = self.files().is_ok_and(|files| files.text("packed-refs").is_ok_and(|text| text.contains(PARKED)));
        has_files || packed || self.common.join("reftable").exists()
    }

    async fn rename_parked(&self, old: &str, commit: &Commit, cancel: &Cancel) -> Result<String, DatasetError> {
        for name in names().into_iter().filter(|name| name.as_str() > old) {
            if self.swap_ref(&format!("{PARKED}{name}"), commit, None, cancel).await? {
                self.drop_ref(&format!("{PARKED}{old}"), commit, cancel).await?;
                return Ok(name);
            }
        }
        Err(DatasetError::Git { what: "update-ref".to_owned(), why: "no name for parked work is free".to_owned() })
    }

    /// Publishes what is parked here alone. Gives the first reason why something is not on the remote, if any.
    pub(super) async fn publish_parked(&self, cancel: &Cancel) -> Result<Option<Pushed>, DatasetError> {
        let mut first = None;
        if !self.may_have_parked() {
            return Ok(None);
        }
        for (name, commit) in self.refs_below(PARKED, cancel).await? {
            match self.publish(&name[PARKED.len()..], &commit, cancel).await?.0 {
                Pushed::Done => {}
                other => first = first.or(Some(other)),
            }
        }
        Ok(first)
    }

    /// Work whose branch was removed from the remote is settled.
    pub(super) async fn settle_published(&self, cancel: &Cancel) -> Result<(), DatasetError> {
        let published = self.refs_below(PUBLISHED, cancel).await?;
        if published.is_empty() {
            return Ok(());
        }
        let Some(there) = conflicts_there(&self.settings, cancel).await else { return Ok(()) };
        for (name, commit) in published {
            let short = &name[PUBLISHED.len()..];
            if there.iter().all(|(at, _)| *at != format!("refs/heads/conflicts/{short}")) {
                self.set_ref(&format!("{SETTLED}{short}"), &commit, cancel).await?;
                self.drop_ref(&name, &commit, cancel).await?;
            }
        }
        Ok(())
    }
}

/// Names to try: this second, then the ones after it. `2026-11-21T03-00-00Z`.
fn names() -> Vec<String> {
    let now = clock::now_ms();
    (0..NAMES).map(|more| clock::utc(now + more * 1000).replace(':', "-")).collect()
}
