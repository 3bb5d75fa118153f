//! Operations that somebody began in the checkout and did not complete: a merge, a rebase, commits on a detached HEAD.

use std::path::Path;

use process::Cancel;

use crate::dataset::DatasetError;
use crate::dataset::Ready;
use crate::dataset::git::Repo;
use crate::dataset::head::Head;
use crate::dataset::locks::IndexLock;
use crate::model::Commit;

/// The files that a merge, a rebase and similar operations keep in the git folder until they are completed.
const UNFINISHED: [&str; 15] = [
    "rebase-merge",
    "rebase-apply",
    "sequencer",
    "MERGE_HEAD",
    "MERGE_MODE",
    "MERGE_MSG",
    "MERGE_AUTOSTASH",
    "AUTO_MERGE",
    "SQUASH_MSG",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "REBASE_HEAD",
    "BISECT_LOG",
    "BISECT_START",
    "BISECT_NAMES",
];

impl Repo {
    /// Ends a merge, a rebase or a similar operation. Its files go into our own folder, and its stash is parked.
    pub(super) async fn end_unfinished(&self, ready: &mut Ready, cancel: &Cancel) -> Result<bool, DatasetError> {
        let left: Vec<&str> = UNFINISHED.into_iter().filter(|name| self.git_dir.join(name).symlink_metadata().is_ok()).collect();
        let is_only_text = left.iter().all(|name| matches!(*name, "MERGE_MSG" | "SQUASH_MSG" | "AUTO_MERGE"));
        if left.is_empty() || is_only_text {
            return Ok(false);
        }
        for stash in ["rebase-merge/autostash", "rebase-apply/autostash", "MERGE_AUTOSTASH"] {
            let text = self.files()?.text(stash).unwrap_or_default();
            if let Ok(commit) = Commit::parse(text.trim())
                && self.tip(commit.as_str(), cancel).await?.is_some()
            {
                ready.parked.push(self.park(&commit, cancel).await?);
            }
        }
        // The edits are read before the files are moved, so that they are found again after a kill between the two.
        if let Some(merging) = self.files()?.text("MERGE_HEAD").ok().and_then(|text| Commit::parse(text.lines().next()?).ok())
            && self.tip(merging.as_str(), cancel).await?.is_some()
            && !self.is_kept(&merging, cancel).await?
        {
            ready.parked.push(self.park(&merging, cancel).await?);
        }
        let notes = Path::new("tagalong").join(format!("unfinished-{}", crate::clock::new_id()));
        let files = self.files()?;
        let moved = files.made(&notes).and_then(|_| left.iter().try_for_each(|name| files.rename(Path::new(name), &notes.join(name))));
        moved.map_err(|error| DatasetError::File(self.git_dir.join(&notes), error))?;
        ready.healed.push(format!("An interrupted operation was completed ({}).", left.join(", ")));
        Ok(true)
    }

    /// Moves HEAD to the branch. Commits that only a detached HEAD contained are parked. True if HEAD was elsewhere.
    pub(super) async fn take_branch(&self, ready: &mut Ready, cancel: &Cancel) -> Result<bool, DatasetError> {
        let branch = self.local_ref();
        let head = self.head(cancel).await?;
        if head == Head::On(branch.clone()) {
            return Ok(false);
        }
        let stood = self.tip("HEAD", cancel).await?;
        if !matches!(head, Head::On(_))
            && let Some(stood) = &stood
            && !self.is_kept(stood, cancel).await?
        {
            ready.parked.push(self.park(stood, cancel).await?);
            ready.healed.push("Commits on a detached HEAD were parked.".to_owned());
        }
        if self.work.is_some() && stood.is_some() {
            self.leave(ready, cancel).await?;
        }
        self.set_head(cancel).await?;
        ready.healed.push(format!("The checkout was not on the branch {}; it was switched to it.", self.settings.branch));
        Ok(true)
    }

    /// Parks the edits relative to HEAD and brings the files to the branch, before HEAD follows.
    async fn leave(&self, ready: &mut Ready, cancel: &Cancel) -> Result<(), DatasetError> {
        let to = match self.tip(&self.local_ref(), cancel).await? {
            Some(to) => to.to_string(),
            None => self.empty_tree(cancel).await?,
        };
        let lock = IndexLock::take(self, cancel).await?;
        let index = self.borrowed_index()?;
        self.git_on_files(["update-index", "-q", "--ignore-submodules", "--refresh"]).index(&index).run(cancel).await;
        ready.parked.extend(self.park_and_place(&to, &index, cancel).await?);
        self.install_index(&index)?;
        drop(lock);
        Ok(())
    }

    /// Whether a ref contains `commit`.
    async fn is_kept(&self, commit: &Commit, cancel: &Cancel) -> Result<bool, DatasetError> {
        let args = ["for-each-ref", "--count=1", "--format=%(refname)", "--contains", commit.as_str()];
        Ok(!self.git(args).text(cancel).await?.trim().is_empty())
    }
}
