//! Turns the folder as it is found into a complete repository with the branch checked out. Nothing is deleted: foreign files
//! are moved aside, and work is parked.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use process::Cancel;
use process::Ended;
use process::HostLock;

use crate::config;
use crate::dataset::DatasetError;
use crate::dataset::Ready;
use crate::dataset::call::Call;
use crate::dataset::call::failed;
use crate::dataset::damage::LOOKS;
use crate::dataset::git::Repo;
use crate::dataset::git::version_of;
use crate::dataset::place::Found;
use crate::dataset::place::Place;
use crate::dataset::remote;
use crate::dataset::remote::Fetched;
use crate::dataset::remote::is_damage;
use crate::dataset::rescue;
use crate::model::Commit;

/// A repository of at most this size is checked completely at every start, which takes about a second.
const ALWAYS_WHOLE_BYTES: u64 = 64 << 20;

/// How often the folder that was moved aside is read again while an app continues to commit there.
const LATE_ROUNDS: usize = 20;

/// The oldest git that has `merge-tree --write-tree`.
const OLDEST: (u32, u32) = (2, 38);

/// Whether the installed git is suitable.
pub(super) async fn check_git(settings: &Arc<config::Dataset>, cancel: &Cancel) -> Result<(), DatasetError> {
    let (ended, out, err) = Call::new(&settings.access(), ["version"]).run(cancel).await;
    if ended != Ended::Exit(0) {
        return match failed("version", &ended, &err) {
            DatasetError::Git { why, .. } => Err(DatasetError::GitMissing(why)),
            other => Err(other),
        };
    }
    let version = out.trim().trim_start_matches("git version ").to_owned();
    if version_of(&out) < OLDEST { Err(DatasetError::GitTooOld(version)) } else { Ok(()) }
}

/// How thoroughly a folder is healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// As much as a pass needs.
    Pass,
    /// Objects and index are checked too. Edits stay where they are, because an app may be working.
    Inspect,
    /// The same before the app starts: edits are parked.
    Boot,
}

/// A dataset's folder under its lock.
pub(super) struct Ground {
    pub(super) settings: Arc<config::Dataset>,
    pub(super) place: Place,
    pub(super) lock: HostLock,
}

impl Ground {
    fn repo(&self) -> Result<Option<Repo>, DatasetError> {
        Repo::found(&self.settings, &self.place.dir, Some(self.lock.file()))
    }

    /// Whatever is found becomes a repository that can be used.
    pub(super) async fn heal(&self, depth: Depth, ready: &mut Ready, cancel: &Cancel) -> Result<Repo, DatasetError> {
        let found = self.place.found()?;
        // git has checked everything that it has just cloned.
        let depth = if found == Found::Nothing { Depth::Pass } else { depth };
        match found {
            Found::Nothing => {
                self.clone_anew(cancel).await?;
                ready.healed.push("There was no data yet: the remote was cloned.".to_owned());
            }
            Found::Foreign => self.replace("The folder was not a git repository", ready, cancel).await?,
            Found::Repository if self.repo()?.is_none() => self.replace("The repository had no objects", ready, cancel).await?,
            Found::Repository => {}
        }
        let mut repo = self.opened(cancel).await?;
        if (depth != Depth::Pass || !repo.has_branch_on_disk()) && !has_commits(&repo, cancel).await {
            self.replace("The repository had no commit, as after an interrupted clone", ready, cancel).await?;
            repo = self.opened(cancel).await?;
        }
        match self.mend_until_sure(&repo, depth, ready, cancel).await {
            Err(DatasetError::Git { what, why }) if is_damage(&why) => {
                self.renew(&repo, &format!("git {what}: {why}"), ready, cancel).await?;
                repo = self.opened(cancel).await?;
                self.mend(&repo, Depth::Pass, ready, cancel).await?;
            }
            other => other?,
        }
        Ok(repo)
    }

    async fn opened(&self, cancel: &Cancel) -> Result<Repo, DatasetError> {
        let repo = self.repo()?.ok_or_else(|| DatasetError::Damaged(self.place.dir.clone(), "it has no git folder".to_owned()))?;
        repo.unlock(cancel).await?;
        repo.mend_head()?;
        Ok(repo)
    }

    /// Repairs until it works or has failed twice for the same damage, because git's messages may be wrong for a moment while
    /// an app writes. An fsck has been run more than once already.
    async fn mend_until_sure(&self, repo: &Repo, depth: Depth, ready: &mut Ready, cancel: &Cancel) -> Result<(), DatasetError> {
        let mut before: Option<String> = None;
        for _ in 1..LOOKS {
            match self.mend(repo, depth, ready, cancel).await {
                Err(DatasetError::Git { what, why }) if is_damage(&why) && what != "fsck" && before.as_ref() != Some(&why) => {
                    before = Some(why);
                }
                other => return other,
            }
        }
        self.mend(repo, depth, ready, cancel).await
    }

    /// Repairs what can be repaired in place.
    async fn mend(&self, repo: &Repo, depth: Depth, ready: &mut Ready, cancel: &Cancel) -> Result<(), DatasetError> {
        repo.exclude(self.place.not_data())?;
        if depth != Depth::Pass {
            repo.mend_index(cancel).await?;
            repo.inspect(cancel).await?;
        }
        if depth == Depth::Inspect {
            repo.make_index(cancel).await?;
        }
        if repo.settle(cancel).await? {
            ready.healed.push("An interrupted move of the checkout was completed or undone.".to_owned());
        }
        if repo.common.join("shallow").exists() {
            match repo.unshallow(cancel).await? {
                Fetched::Tip(_) => ready.healed.push("The repository was shallow; its full history was fetched.".to_owned()),
                Fetched::NoBranch => {}
                Fetched::Unreachable(why) => {
                    ready.healed.push(format!("The repository is shallow, and its full history could not be fetched: {why}"));
                }
            }
        }
        let unfinished = repo.end_unfinished(ready, cancel).await?;
        let moved = repo.take_branch(ready, cancel).await?;
        if depth == Depth::Boot || unfinished || moved {
            let parked = repo.clean(cancel).await?;
            if parked.is_some() {
                ready.healed.push("Uncommitted edits were parked.".to_owned());
            }
            ready.parked.extend(parked);
        }
        Ok(())
    }

    async fn clone_anew(&self, cancel: &Cancel) -> Result<(), DatasetError> {
        let clone = self.fresh(cancel).await?;
        self.place.install(&clone)
    }

    /// A complete new clone, not in its place yet.
    async fn fresh(&self, cancel: &Cancel) -> Result<PathBuf, DatasetError> {
        let to = self.place.new_clone();
        remote::clone(&self.settings, &to, cancel).await?;
        let gone = || DatasetError::NoBranchYet(self.settings.dir.clone(), self.settings.branch.clone());
        let repo = Repo::found(&self.settings, &to, None)?.ok_or_else(gone)?;
        // If there is no such branch, a tag of that name is cloned too.
        let tip = repo.tip(&repo.local_ref(), cancel).await?.ok_or_else(gone)?;
        repo.set_ref(&repo.upstream_ref(), &tip, cancel).await?;
        repo.set_ref(&repo.fetched_ref(), &tip, cancel).await?;
        repo.remember_remote()?;
        repo.exclude(self.place.not_data())?;
        repo.fill_first(&tip, cancel).await?;
        Ok(to)
    }

    /// Clones first, so that an unreachable remote changes nothing; then moves aside what is there.
    async fn replace(&self, found: &str, ready: &mut Ready, cancel: &Cancel) -> Result<(), DatasetError> {
        let clone = self.fresh(cancel).await?;
        let aside = self.place.set_aside()?;
        self.place.install(&clone)?;
        ready.healed.push(format!("{found}: it was moved aside to {}, and the remote was cloned again.", aside.display()));
        ready.aside.push(aside);
        Ok(())
    }

    /// Replaces a damaged repository by a new clone. Local work that can still be read is carried over; the old folder is kept
    /// aside.
    async fn renew(&self, old: &Repo, why: &str, ready: &mut Ready, cancel: &Cancel) -> Result<(), DatasetError> {
        let damaged = || DatasetError::Damaged(self.place.dir.clone(), why.to_owned());
        let clone = match self.fresh(cancel).await {
            Ok(clone) => clone,
            Err(DatasetError::NothingYet(_, remote) | DatasetError::NoBranchYet(_, remote)) => {
                return Err(DatasetError::Damaged(self.place.dir.clone(), format!("{why}; cloning it again failed as well: {remote}")));
            }
            Err(error) => return Err(error),
        };
        let new = Repo::found(&self.settings, &clone, None)?.ok_or_else(damaged)?;
        let mut rescued = Vec::new();
        let mut lost = Vec::new();
        new.take_traces(old, cancel).await?;
        let tips = old.local_tips().await;
        for (name, tip) in tips.clone() {
            match new.rescue(old, &name, &tip, cancel).await? {
                Some(true) => rescued.push(name),
                Some(false) => lost.push(format!("{name} at {tip}")),
                None => {}
            }
        }
        let aside = self.place.set_aside()?;
        self.place.install(&clone)?;
        self.carry_late(&aside, tips, &mut rescued, &mut lost, cancel).await;
        let mut text = vec![format!(
            "The repository was damaged ({why}): all of it was moved aside to {}, and the remote was cloned again.",
            aside.display()
        )];
        if !rescued.is_empty() {
            text.push(format!("Unpushed work was carried over: {}.", rescued.join(", ")));
        }
        if !lost.is_empty() {
            text.push(format!("UNPUSHED WORK COULD NOT BE READ and exists only there: {}.", lost.join(", ")));
        }
        ready.healed.push(text.join(" "));
        ready.aside.push(aside);
        Ok(())
    }

    /// Carries over what an app has added to the old folder after its tips were read, until nothing more is added. What cannot
    /// be carried over is reported, because the new clone is in place already.
    async fn carry_late(
        &self,
        aside: &Path,
        mut seen: Vec<(String, Commit)>,
        rescued: &mut Vec<String>,
        lost: &mut Vec<String>,
        cancel: &Cancel,
    ) {
        let (Ok(Some(new)), Ok(Some(old))) = (self.repo(), Repo::found(&self.settings, aside, None)) else {
            lost.push(format!("the most recent commits in {}, which could not be read any more", aside.display()));
            return;
        };
        for _ in 0..LATE_ROUNDS {
            old.until_written(cancel).await;
            let mut late = old.local_tips().await;
            late.retain(|tip| !seen.contains(tip));
            if late.is_empty() {
                return;
            }
            for (name, tip) in late {
                match new.rescue_late(&old, &name, &tip, cancel).await {
                    Ok(true) => rescued.push(name.clone()),
                    Ok(false) => {}
                    Err(_) => lost.push(format!("{name} at {tip}")),
                }
                seen.push((name, tip));
            }
        }
        lost.push(format!("commits that are still being made in {}", aside.display()));
    }
}

/// Whether any ref points to something. A repository that cannot be examined counts as having commits: it is damaged, not
/// empty.
async fn has_commits(repo: &Repo, cancel: &Cancel) -> bool {
    let (ended, out, _) = repo.git(["for-each-ref", "--count=1", "--format=%(refname)"]).run(cancel).await;
    if ended != Ended::Exit(0) || !out.trim().is_empty() {
        return true;
    }
    repo.tip("HEAD", cancel).await.is_ok_and(|tip| tip.is_some()) || !rescue::locals_on_disk(repo).is_empty()
}

impl Repo {
    fn has_branch_on_disk(&self) -> bool {
        self.common.join(self.local_ref()).is_file()
    }

    /// Writes a HEAD again that a crash left empty.
    fn mend_head(&self) -> Result<(), DatasetError> {
        let text = self.files()?.text("HEAD").unwrap_or_default();
        if text.starts_with("ref: refs/") || Commit::parse(text.trim()).is_ok() {
            return Ok(());
        }
        let written = self.files()?.write("HEAD", format!("ref: {}\n", self.local_ref()));
        written.map_err(|error| DatasetError::File(self.git_dir.join("HEAD"), error))
    }

    /// Removes an index that cannot be read; the files are compared with the branch instead.
    async fn mend_index(&self, cancel: &Cancel) -> Result<(), DatasetError> {
        let index = self.git_dir.join("index");
        if self.work.is_none() || !index.exists() {
            return Ok(());
        }
        let (ended, _, err) =
            self.git(["ls-files", "-z", "--error-unmatch", "--", ":(top,literal).tagalong-no-such-file"]).run(cancel).await;
        if matches!(ended, Ended::Exit(128)) && (err.contains("index") || err.contains("bad signature")) {
            let files = self.files()?;
            let moved =
                files.made(Path::new("tagalong")).and_then(|_| files.rename(Path::new("index"), Path::new("tagalong/index.damaged")));
            moved.map_err(|error| DatasetError::File(index, error))?;
        }
        Ok(())
    }

    /// The size of the packs.
    fn objects_bytes(&self) -> u64 {
        let packs = std::fs::read_dir(self.common.join("objects/pack")).into_iter().flatten().flatten();
        packs.filter_map(|pack| pack.metadata().ok()).map(|meta| meta.len()).sum()
    }

    /// Checks every object that the refs lead to, and its content; of a large repository the content is checked only once after
    /// each start of the machine.
    async fn inspect(&self, cancel: &Cancel) -> Result<(), DatasetError> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let file = self.own_dir()?.join("boot");
        let seen = std::fs::read_to_string(&file).unwrap_or_default();
        let same_boot = !boot.is_empty() && seen == boot;
        let mut args = vec!["fsck", "--no-dangling", "--no-progress", "--no-reflogs"];
        if same_boot && self.objects_bytes() > ALWAYS_WHOLE_BYTES {
            args.push("--connectivity-only");
        }
        // A repository that is too large to be checked completely in time is used as it is.
        if self.look_until_sure(&args, cancel).await? {
            // If this cannot be written, the check is repeated the next time.
            let _ = std::fs::write(&file, boot);
        }
        Ok(())
    }

    /// Adds names that git must not take for data to the repository's own exclude file, once.
    fn exclude(&self, names: &[&str]) -> Result<(), DatasetError> {
        let files = self.files()?;
        let old = files.text("info/exclude").unwrap_or_default();
        let new: String = names.iter().filter(|name| !old.lines().any(|line| line == **name)).flat_map(|name| [name, "\n"]).collect();
        if new.is_empty() {
            return Ok(());
        }
        let written = files.made(Path::new("info")).and_then(|info| info.write("exclude", format!("{old}{new}")));
        let written = written.and_then(|()| std::fs::write(self.own.git.join("info/exclude"), format!("{old}{new}")));
        written.map_err(|error| DatasetError::File(self.git_dir.join("info/exclude"), error))
    }
}
