//! Work that a damaged repository holds and that can still be read.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::dataset::DatasetError;
use crate::dataset::git::Repo;
use crate::dataset::git::shown;
use crate::model::Commit;
use crate::process::Cancel;
use crate::process::Ended;

/// So many traces of the remote are taken along from a damaged repository.
const MOST_TRACES: usize = 64;

impl Repo {
    /// The tips that exist here alone, of a repository that may be damaged: read by git, and from the files where git gives up.
    pub(super) async fn local_tips(&self) -> Vec<(String, Commit)> {
        let cancel = Cancel::default();
        let (_, out, _) = self.git(["for-each-ref", "--format=%(objectname) %(refname)"]).run(&cancel).await;
        let parse = |line: &str| line.split_once(' ').and_then(|(commit, name)| Some((name.to_owned(), Commit::parse(commit).ok()?)));
        let mut tips: Vec<(String, Commit)> = out.lines().filter_map(parse).collect();
        for path in locals_on_disk(self) {
            let name = path.strip_prefix(&self.common).map(shown).unwrap_or_default();
            if let Ok(commit) = Commit::parse(std::fs::read_to_string(&path).unwrap_or_default().trim())
                && tips.iter().all(|(at, _)| *at != name)
            {
                tips.push((name, commit));
            }
        }
        if let Ok(commit) = Commit::parse(std::fs::read_to_string(self.git_dir.join("HEAD")).unwrap_or_default().trim()) {
            tips.push(("refs/heads/detached".to_owned(), commit));
        }
        let is_work = |name: &str| {
            name.starts_with("refs/heads/")
                || name.starts_with("refs/tagalong/parked/")
                || name.starts_with("refs/stash")
                || name.starts_with("refs/tags/")
        };
        tips.retain(|(name, _)| is_work(name));
        tips
    }

    /// Takes along what a damaged repository knows of what the remote had, so that it does not count as own work here.
    pub(super) async fn take_traces(&self, old: &Self, cancel: &Cancel) -> Result<(), DatasetError> {
        let names = old.had_names().await;
        let from = shown(&old.common);
        for name in names.iter().collect::<BTreeSet<_>>().into_iter().take(MOST_TRACES) {
            if self.tip(name, cancel).await?.is_none() {
                // What cannot be read there is not below any work that can.
                let args = ["-c", "uploadpack.allowAnySHA1InWant=true", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head"];
                self.git(args.into_iter().chain(["--", &from, name.as_str()])).run(cancel).await;
            }
        }
        self.note_all_had(&names)
    }

    /// Brings the work at `tip` over from a damaged repository. None when it is here already; false when it cannot be read.
    pub(super) async fn rescue(&self, old: &Self, name: &str, tip: &Commit, cancel: &Cancel) -> Result<Option<bool>, DatasetError> {
        let upstream = self.tip(&self.upstream_ref(), cancel).await?;
        if let Some(upstream) = upstream
            && self.is_ancestor(tip.as_str(), &upstream, cancel).await?
        {
            return Ok(None);
        }
        let from = shown(&old.common);
        let to = if name == self.local_ref() { "refs/tagalong/rescued".to_owned() } else { name.to_owned() };
        let refspec = format!("+{name}:{to}");
        let args =
            ["-c", "uploadpack.allowAnySHA1InWant=true", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", &from, &refspec];
        let (ended, ..) = self.git(args).run(cancel).await;
        if ended != Ended::Exit(0) {
            return Ok(Some(false));
        }
        if name == self.local_ref() {
            // The new clone is checked out at the remote's tip; it moves to the work, as a checkout does.
            let from = self.tip(name, cancel).await?;
            self.go(from.as_ref(), tip, cancel).await?;
            self.drop_ref("refs/tagalong/rescued", tip, cancel).await?;
        }
        Ok(Some(true))
    }
}

/// Names of refs that stand as files, readable or not.
pub(super) fn locals_on_disk(repo: &Repo) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repo.common.join("refs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}
