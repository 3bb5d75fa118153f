//! Saves work from a damaged repository, as far as it can be read.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use process::Ended;

use crate::dataset::DatasetError;
use crate::dataset::call::Call;
use crate::dataset::call::failed;
use crate::dataset::call::path_text;
use crate::dataset::checkout::Moved;
use crate::dataset::git::Repo;
use crate::dataset::head::Head;
use crate::dataset::park::KEPT;
use crate::dataset::park::PARKED;
use crate::dataset::park::SETTLED;
use crate::model::Commit;

/// Where work is fetched to until it gets its place.
const LATE: &str = "refs/tagalong/rescued";
/// How long a git that was running when its folder was moved aside is waited for.
const WRITING: Duration = Duration::from_secs(3);
const WRITING_POLL: Duration = Duration::from_millis(20);

/// How many traces of the remote are taken over from a damaged repository.
const MOST_TRACES: usize = 64;

impl Repo {
    /// The tips that exist only here, in a repository that may be damaged: read by git, or from the files if git gives up.
    pub(super) async fn local_tips(&self) -> Vec<(String, Commit)> {
        let cancel = Cancel::default();
        let (_, out, _) = self.git(["for-each-ref", "--format=%(objectname) %(refname)"]).run(&cancel).await;
        let parse = |line: &str| line.split_once(' ').and_then(|(commit, name)| Some((name.to_owned(), Commit::parse(commit).ok()?)));
        let mut tips: Vec<(String, Commit)> = out.lines().filter_map(parse).collect();
        for path in locals_on_disk(self) {
            let name = path.strip_prefix(&self.common).map(path_text).unwrap_or_default();
            let text = self.files().ok().and_then(|files| files.text(&name).ok()).unwrap_or_default();
            if let Ok(commit) = Commit::parse(text.trim())
                && tips.iter().all(|(at, _)| *at != name)
            {
                tips.push((name, commit));
            }
        }
        if let Ok(Head::Detached(commit)) = self.head(&cancel).await {
            tips.push(("refs/heads/detached".to_owned(), commit));
        }
        let is_work = |name: &str| {
            name.starts_with("refs/heads/")
                || name.starts_with(PARKED)
                || name.starts_with(KEPT)
                || name.starts_with(SETTLED)
                || name.starts_with("refs/stash")
                || name.starts_with("refs/tags/")
        };
        tips.retain(|(name, _)| is_work(name));
        tips
    }

    /// Takes over what a damaged repository knows about the remote's commits, so that they do not count as own work here.
    pub(super) async fn take_traces(&self, old: &Self, cancel: &Cancel) -> Result<(), DatasetError> {
        let names = old.had_names().await;
        for name in names.iter().collect::<BTreeSet<_>>().into_iter().take(MOST_TRACES) {
            if self.tip(name, cancel).await?.is_none() {
                // If a name cannot be read there, no readable work is based on it.
                self.fetch_from(old, name).run(cancel).await;
            }
        }
        self.note_all_had(&names)
    }

    /// `git fetch` of `what` from another repository of ours, through our own folder for it, because git believes that
    /// repository's files.
    fn fetch_from(&self, old: &Self, what: &str) -> Call {
        let from = path_text(&old.own.git);
        let args = ["-c", "uploadpack.allowAnySHA1InWant=true", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head"];
        let call = self.git(args.into_iter().chain(["--", &from, what]));
        match &old.reach.repository {
            Some(theirs) => call.reaching(theirs),
            None => call,
        }
    }

    /// Brings the work at `tip` over from a damaged repository. None if it is here already; false if it cannot be read.
    pub(super) async fn rescue(&self, old: &Self, name: &str, tip: &Commit, cancel: &Cancel) -> Result<Option<bool>, DatasetError> {
        let upstream = self.tip(&self.upstream_ref(), cancel).await?;
        if let Some(upstream) = upstream
            && self.is_ancestor(tip.as_str(), &upstream, cancel).await?
        {
            return Ok(None);
        }
        let to = if name == self.local_ref() { "refs/tagalong/rescued".to_owned() } else { name.to_owned() };
        let (ended, ..) = self.fetch_from(old, &format!("+{name}:{to}")).run(cancel).await;
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

    /// Like [`Self::rescue`], for a clone that is in its place already, in which an app may have worked. Work that is not based
    /// on what is here is parked, or kept here if it was never meant to be pushed. False if it was here already.
    pub(super) async fn rescue_late(&self, old: &Self, name: &str, tip: &Commit, cancel: &Cancel) -> Result<bool, DatasetError> {
        let here = self.tip(name, cancel).await?;
        if let Some(here) = &here
            && self.is_ancestor(tip.as_str(), here, cancel).await?
        {
            return Ok(false);
        }
        let (ended, _, err) = self.fetch_from(old, &format!("+{tip}:{LATE}")).run(cancel).await;
        if ended != Ended::Exit(0) {
            return Err(failed("fetch", &ended, &err));
        }
        let follows = match &here {
            Some(here) => self.is_ancestor(here.as_str(), tip, cancel).await?,
            None => true,
        };
        let is_moved = if !follows {
            false
        } else if name == self.local_ref() {
            matches!(self.go(here.as_ref(), tip, cancel).await, Ok(Moved::Done { .. }))
        } else {
            self.swap_ref(name, tip, here.as_ref(), cancel).await?
        };
        match () {
            () if is_moved => {}
            () if name.starts_with("refs/heads/") || name.starts_with("refs/stash") || name.starts_with(PARKED) => {
                self.park(tip, cancel).await?;
            }
            () => drop(self.keep(tip, cancel).await?),
        }
        self.drop_ref(LATE, tip, cancel).await?;
        Ok(true)
    }

    /// Waits for a while until no git holds the index: a git that began a commit before its folder was moved completes it
    /// there.
    pub(super) async fn until_written(&self, cancel: &Cancel) {
        let began = Instant::now();
        let lock = self.git_dir.join("index.lock");
        while lock.exists() && began.elapsed() < WRITING && !cancel.is_cancelled() {
            tokio::time::sleep(WRITING_POLL).await;
        }
    }
}

/// Names of refs that are files, readable or not.
pub(super) fn locals_on_disk(repo: &Repo) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repo.common.join("refs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder { folders.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found
}
