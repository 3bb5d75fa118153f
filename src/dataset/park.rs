//! Work that conflicted: stored on a local ref first, and on the remote as `conflicts/<UTC time>`.

use process::Cancel;

use crate::clock;
use crate::dataset::DatasetError;
use crate::dataset::Kept;
use crate::dataset::git::Repo;
use crate::dataset::range::Own;
use crate::dataset::remote::Pushed;
use crate::dataset::remote::conflicts_there;
use crate::model::Commit;

pub(super) const PARKED: &str = "refs/tagalong/parked/";
pub(super) const PUBLISHED: &str = "refs/tagalong/published/";
/// Refs of work that stays on this host and is never pushed.
pub(super) const KEPT: &str = "refs/tagalong/kept/";
/// Published work whose branch a person has removed from the remote: kept here, but no longer shown.
pub(super) const SETTLED: &str = "refs/tagalong/settled/";
/// How many files of kept work are shown.
const SHOWN_FILES: usize = 8;
/// How many names are tried if others park in the same second.
const NAMES: i64 = 60;

impl Repo {
    /// Every ref below `prefix` with its commit.
    pub(super) async fn refs_below(&self, prefix: &str, cancel: &Cancel) -> Result<Vec<(String, Commit)>, DatasetError> {
        let out = self.git(["for-each-ref", "--format=%(objectname) %(refname)", prefix]).text(cancel).await?;
        let parse = |line: &str| line.split_once(' ').and_then(|(commit, name)| Some((name.to_owned(), Commit::parse(commit).ok()?)));
        Ok(out.lines().filter_map(parse).collect())
    }

    /// Stores `commit` on a local ref of its own, named after the time. The same commit is parked only once.
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
        Err(DatasetError::Git { what: "update-ref".to_owned(), why: "no free branch name for parked work was found".to_owned() })
    }

    /// Keeps `commit` on a local ref that is never pushed. The same commit is kept only once. Returns the ref.
    pub(super) async fn keep(&self, commit: &Commit, cancel: &Cancel) -> Result<String, DatasetError> {
        let taken = self.refs_below(KEPT, cancel).await?;
        if let Some((name, _)) = taken.iter().find(|(_, at)| at == commit) {
            return Ok(name.clone());
        }
        for name in names().into_iter().map(|name| format!("{KEPT}{name}")) {
            if self.swap_ref(&name, commit, None, cancel).await? {
                return Ok(name);
            }
        }
        Err(DatasetError::Git { what: "update-ref".to_owned(), why: "no free branch name for kept work was found".to_owned() })
    }

    /// Work that is kept only on this host, with the first files of each.
    pub(super) async fn kept(&self, cancel: &Cancel) -> Result<Vec<Kept>, DatasetError> {
        let mut all = Vec::new();
        for (name, commit) in self.refs_below(KEPT, cancel).await? {
            let files = self.git(["ls-tree", "-r", "-z", "--name-only", commit.as_str()]).text(cancel).await?;
            let mut files = files.split('\0').filter(|file| !file.is_empty());
            let holds: Vec<String> = files.by_ref().take(SHOWN_FILES).map(str::to_owned).collect();
            all.push(Kept { name, commit, holds, more: files.count() as u64 });
        }
        Ok(all)
    }

    /// Pushes parked work to the remote. Afterwards it is a branch there and a ref below `published`.
    pub(super) async fn publish(&self, name: &str, commit: &Commit, cancel: &Cancel) -> Result<(Pushed, String), DatasetError> {
        let mut name = name.to_owned();
        let deadline = self.settings.push_deadline;
        for _ in 0..NAMES {
            let branch = format!("refs/heads/conflicts/{name}");
            match self.push(commit, &branch, None, deadline, cancel).await {
                Pushed::Done => {}
                // The name is taken: by a push of ours that was interrupted, or by another pod in the same second.
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
        Ok((Pushed::Transient("no free branch name for parked work was found on the remote".to_owned()), name))
    }

    /// False if no file could contain a parked ref, which saves most passes a call of git.
    pub(super) fn may_have_parked(&self) -> bool {
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
        Err(DatasetError::Git { what: "update-ref".to_owned(), why: "no free branch name for parked work was found".to_owned() })
    }

    /// Publishes work that is parked only here; `remote` is the branch there now. Returns the first reason why something is not
    /// on the remote, if any.
    pub(super) async fn publish_parked(&self, remote: &Commit, cancel: &Cancel) -> Result<Option<Pushed>, DatasetError> {
        let mut first = None;
        if !self.may_have_parked() {
            return Ok(None);
        }
        for (name, commit) in self.refs_below(PARKED, cancel).await? {
            let fit = self.without_ignored(&commit, cancel).await?;
            if fit != commit {
                self.set_ref(&name, &fit, cancel).await?;
            }
            let Some(commit) = self.without_gone(&name, fit, remote, cancel).await? else { continue };
            match self.publish(&name[PARKED.len()..], &commit, cancel).await?.0 {
                Pushed::Done => {}
                other => first = first.or(Some(other)),
            }
        }
        Ok(first)
    }

    /// Parked work as it may be pushed: commits that the remote has removed from its history do not come back below it. None if
    /// nothing of it is our own.
    async fn without_gone(&self, name: &str, commit: Commit, remote: &Commit, cancel: &Cancel) -> Result<Option<Commit>, DatasetError> {
        let gone = self.gone_from(&commit, remote, cancel).await?;
        if gone.tips.is_empty() {
            return Ok(Some(commit));
        }
        let own = Own { local: &commit, remote, gone: &gone.tips };
        let range = own.range();
        let args: Vec<&str> = range.iter().map(String::as_str).collect();
        let ahead = self.count(&args[..2], cancel).await?;
        let ours = self.count(&args, cancel).await?;
        if ours == ahead {
            return Ok(Some(commit));
        }
        if !gone.is_sure {
            self.keep(&commit, cancel).await?;
        }
        if ours == 0 {
            self.drop_ref(name, &commit, cancel).await?;
            return Ok(None);
        }
        let laid = self.lay_over(&own, cancel).await?;
        self.set_ref(name, &laid, cancel).await?;
        Ok(Some(laid))
    }

    /// Settles work whose branch was removed from the remote.
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

/// The names to try: this second, then the following ones. `2026-11-21T03-00-00Z`.
fn names() -> Vec<String> {
    let now = clock::now_ms();
    (0..NAMES).map(|more| clock::utc(now + more * 1000).replace(':', "-")).collect()
}
