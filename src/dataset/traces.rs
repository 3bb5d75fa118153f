//! Finds out what the remote is known to have had, from every trace of it that git and tagalong have left here. A commit that
//! the remote once had and no longer has was removed there: it is not our own work and is never pushed back.
//!
//! Traces are the refs that follow the remote (their values, their values in `packed-refs`, and their reflogs), `FETCH_HEAD`,
//! the entries of our own reflogs about clones, pulls and merges, and our record of what was followed. `ORIG_HEAD` is not a
//! trace: it says where the branch was, which may be our own work.

use std::collections::BTreeSet;

use process::Cancel;
use process::Ended;

use crate::dataset::DatasetError;
use crate::dataset::address;
use crate::dataset::call::failed;
use crate::dataset::call::in_memory;
use crate::dataset::configured::Configured;
use crate::dataset::configured::Whose;
use crate::dataset::git::Repo;
use crate::dataset::remote;
use crate::dataset::shape::files_below;
use crate::model::Commit;

/// Our notes of traces that the repository itself does not keep, in our own folder: one object name per line.
const NOTED: &str = "had";

/// What the remote had and no longer has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gone {
    /// Every commit contained in these that the remote does not have now was removed there.
    pub(super) tips: Vec<Commit>,
    /// False if the traces may belong to another remote: then the commits that they cover are kept here.
    pub(super) is_sure: bool,
}

/// Names of commits that a remote had.
#[derive(Debug)]
struct Trace {
    whose: Whose,
    /// Whether it is from the followed branch; a commit of another branch may still exist there.
    is_branch: bool,
    names: Vec<String>,
}

impl Repo {
    /// What the remote had and none of `now` contains, according to all traces, also those of its other branches.
    pub(super) async fn gone(&self, now: &[String], cancel: &Cancel) -> Result<Gone, DatasetError> {
        let traces = self.counted(cancel).await?;
        self.gone_of(&names_of(&traces, false), now, is_sure(&traces), cancel).await
    }

    /// The part of `local` that the remote had and no longer has, if its branch is now `remote`. A commit that it still has on
    /// another branch is not gone.
    pub(super) async fn gone_from(&self, local: &Commit, remote: &Commit, cancel: &Cancel) -> Result<Gone, DatasetError> {
        let traces = self.counted(cancel).await?;
        let of_branch = names_of(&traces, true);
        let of_all = names_of(&traces, false);
        let is_sure = is_sure(&traces);
        let now = [remote.to_string()];
        let branch = self.gone_of(&of_branch, &now, is_sure, cancel).await?;
        if of_branch == of_all {
            return Ok(branch);
        }
        let all = self.gone_of(&of_all, &now, is_sure, cancel).await?;
        if branch == all || self.own(local, remote, &branch, cancel).await? == self.own(local, remote, &all, cancel).await? {
            return Ok(branch);
        }
        // Traces of another branch would change the result: ask the remote what it has there.
        let Some(there) = remote::branches_there(&self.settings, cancel).await else { return Ok(all) };
        let now: Vec<String> = now.into_iter().chain(there.into_iter().map(|(_, commit)| commit)).collect();
        self.gone_of(&of_all, &now, is_sure, cancel).await
    }

    async fn own(&self, local: &Commit, remote: &Commit, gone: &Gone, cancel: &Cancel) -> Result<u64, DatasetError> {
        let tips = gone.tips.iter().map(|tip| format!("^{tip}"));
        let range: Vec<String> = [local.to_string(), format!("^{remote}")].into_iter().chain(tips).collect();
        self.count(&range.iter().map(String::as_str).collect::<Vec<_>>(), cancel).await
    }

    /// The tips of the commits that `names` lead to and none of `now` contains.
    async fn gone_of(&self, names: &BTreeSet<&str>, now: &[String], is_sure: bool, cancel: &Cancel) -> Result<Gone, DatasetError> {
        let mut input: String = names.iter().filter(|name| !now.iter().any(|now| now == *name)).flat_map(|name| [name, "\n"]).collect();
        if input.is_empty() {
            return Ok(Gone { tips: Vec::new(), is_sure });
        }
        input.extend(now.iter().flat_map(|now| ["^", now, "\n"]));
        let args = ["rev-list", "--children", "--ignore-missing", "--stdin"];
        let out = self.git(args).stdin(in_memory(input.as_bytes())?).text(cancel).await?;
        // A commit without a child in the list is a tip.
        let tips = out.lines().filter(|line| !line.contains(' ')).filter_map(|line| Commit::parse(line).ok()).collect();
        Ok(Gone { tips, is_sure })
    }

    /// The traces that count. Traces of other remotes count only for a checkout that was never followed and has no trace of
    /// this address.
    async fn counted(&self, cancel: &Cancel) -> Result<Vec<Trace>, DatasetError> {
        let mut traces = self.traces(cancel).await?;
        if self.is_remote_known() || traces.iter().any(|trace| trace.whose == Whose::Ours) {
            traces.retain(|trace| trace.whose != Whose::Others);
        }
        Ok(traces)
    }

    /// Notes that the remote had `tip`, until everything is followed.
    pub(super) fn note_had(&self, tip: &Commit) -> Result<(), DatasetError> {
        self.note_all_had(&[tip.to_string()])
    }

    /// Notes further names that the remote had.
    pub(super) fn note_all_had(&self, names: &[String]) -> Result<(), DatasetError> {
        let before = self.memo(NOTED).unwrap_or_default();
        let new: String = names.iter().filter(|name| !before.contains(name.as_str())).flat_map(|name| [name, "\n"]).collect();
        if new.is_empty() { Ok(()) } else { self.set_memo(NOTED, &format!("{before}{new}")) }
    }

    /// Every name in a trace of the remote.
    pub(super) async fn had_names(&self) -> Vec<String> {
        let traces = self.traces(&Cancel::default()).await.unwrap_or_default();
        traces.into_iter().filter(|trace| trace.whose != Whose::Others).flat_map(|trace| trace.names).collect()
    }

    pub(super) fn has_noted(&self) -> bool {
        self.memo(NOTED).is_some()
    }

    /// Removes the notes, because everything in them is followed now.
    pub(super) fn forget_had(&self) {
        // If the file cannot be removed, it only repeats what was true.
        self.drop_memo(NOTED);
    }

    /// The refs in which git itself remembers the followed branch of the remote.
    pub(super) async fn tracking_refs(&self, cancel: &Cancel) -> Result<Vec<String>, DatasetError> {
        let mut names = BTreeSet::from([format!("refs/remotes/origin/{}", self.settings.branch)]);
        for one in self.configured(cancel).await.iter().filter(|one| one.whose == Whose::Ours) {
            names.extend(one.prefixes.iter().map(|prefix| format!("{prefix}{}", self.settings.branch)));
        }
        if !self.is_remote_known() {
            // Before anything was followed, refs of another address do not count as ours.
            let others = self.configured(cancel).await.iter().filter(|one| one.whose == Whose::Others);
            for prefix in others.flat_map(|one| &one.prefixes) {
                names.remove(&format!("{prefix}{}", self.settings.branch));
            }
        }
        let mut there = Vec::new();
        for name in names {
            if self.tip(&name, cancel).await?.is_some() {
                there.push(name);
            }
        }
        Ok(there)
    }

    async fn traces(&self, cancel: &Cancel) -> Result<Vec<Trace>, DatasetError> {
        let configured = self.configured(cancel).await;
        let mut traces = self.of_refs(configured, cancel).await?;
        traces.extend(self.of_packed_refs(configured));
        if self.common.join("reftable").exists() {
            traces.extend(self.of_reftable_logs(configured, cancel).await);
        } else {
            traces.extend(self.of_logs(configured));
        }
        traces.extend(self.of_fetch_heads());
        let mut noted = vec![self.memo(NOTED).unwrap_or_default()];
        for name in [self.upstream_ref(), self.fetched_ref()] {
            noted.extend(self.tip(&name, cancel).await?.map(|tip| tip.to_string()));
        }
        let names = noted.iter().flat_map(|text| text.lines()).filter(|name| is_name(name)).map(str::to_owned).collect();
        traces.push(Trace { whose: Whose::Unknown, is_branch: true, names });
        Ok(traces)
    }

    /// The remotes in the repository's configuration, read from the file; nothing in it is executed.
    async fn configured(&self, cancel: &Cancel) -> &[Configured] {
        self.configured.get_or_init(|| self.read_configured(cancel)).await
    }

    async fn read_configured(&self, cancel: &Cancel) -> Vec<Configured> {
        let Ok(text) = self.files().and_then(|files| in_memory(&files.read("config").unwrap_or_default())) else { return Vec::new() };
        let args = ["config", "--file", "-", "--no-includes", "-z", "--get-regexp", r"^remote\..*\.(url|pushurl|fetch)$"];
        let (ended, out, _) = self.git(args).stdin(text).run(cancel).await;
        if ended != Ended::Exit(0) {
            return Vec::new();
        }
        let mut all = Vec::<Configured>::new();
        for (key, value) in out.split('\0').filter_map(|entry| entry.split_once('\n')) {
            let Some((name, field)) = key.strip_prefix("remote.").and_then(|rest| rest.rsplit_once('.')) else { continue };
            let at = all.iter().position(|one| one.name == name).unwrap_or_else(|| {
                let prefixes = ["refs/remotes/", "refs/prefetch/remotes/"].map(|below| format!("{below}{name}/")).to_vec();
                all.push(Configured { name: name.to_owned(), whose: Whose::Others, prefixes });
                all.len() - 1
            });
            if field == "fetch" {
                all[at].prefixes.extend(followed_below(value));
            } else if self.is_ours(value) {
                all[at].whose = Whose::Ours;
            }
        }
        all
    }

    fn is_ours(&self, address: &str) -> bool {
        address::is_same(address, &self.settings.remote, self.work.as_ref().unwrap_or(&self.git_dir))
    }

    /// Which remote a ref follows, and whether it is the branch; none if it follows no remote.
    fn follower(&self, name: &str, configured: &[Configured]) -> Option<(Whose, bool)> {
        for one in configured {
            if let Some(branch) = one.prefixes.iter().find_map(|prefix| name.strip_prefix(prefix.as_str())) {
                return Some((one.whose, branch == self.settings.branch));
            }
        }
        let rest = ["refs/remotes/", "refs/prefetch/remotes/"].iter().find_map(|below| name.strip_prefix(below))?;
        Some((Whose::Unknown, rest.ends_with(&format!("/{}", self.settings.branch))))
    }

    fn trace(&self, name: &str, names: Vec<String>, configured: &[Configured]) -> Option<Trace> {
        let (whose, is_branch) = self.follower(name, configured)?;
        Some(Trace { whose, is_branch, names })
    }

    async fn of_refs(&self, configured: &[Configured], cancel: &Cancel) -> Result<Vec<Trace>, DatasetError> {
        let mut args = vec!["for-each-ref".to_owned(), "--format=%(objectname) %(refname)".to_owned()];
        args.extend(["refs/remotes/".to_owned(), "refs/prefetch/remotes/".to_owned()]);
        args.extend(configured.iter().flat_map(|one| one.prefixes.iter().skip(2)).cloned());
        let (ended, out, err) = self.git(args).run(cancel).await;
        if let Ended::Cancelled | Ended::NotStarted(_) | Ended::Deadline(_) | Ended::Signal(_) = ended {
            return Err(failed("for-each-ref", &ended, &err));
        }
        let lines = out.lines().filter_map(|line| line.split_once(' '));
        Ok(lines.filter_map(|(commit, name)| self.trace(name, vec![commit.to_owned()], configured)).collect())
    }

    /// The values in `packed-refs`, even if a loose ref has a newer value.
    fn of_packed_refs(&self, configured: &[Configured]) -> Vec<Trace> {
        let text = self.files().ok().and_then(|files| files.text("packed-refs").ok()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(' ')).filter(|(commit, _)| is_name(commit));
        lines.filter_map(|(commit, name)| self.trace(name, vec![commit.to_owned()], configured)).collect()
    }

    /// Reflogs that are files: every value of refs that follow a remote, and everything that the branch took over.
    fn of_logs(&self, configured: &[Configured]) -> Vec<Trace> {
        let mut traces = Vec::new();
        let logs = self.common.join("logs");
        for path in files_below(&logs.join("refs")) {
            let name = path.strip_prefix(&logs).map(crate::dataset::call::path_text).unwrap_or_default();
            let text = self.read_in(&path);
            let names = text.lines().flat_map(|line| line.splitn(3, ' ').take(2)).filter(|name| is_name(name)).map(str::to_owned).collect();
            traces.extend(self.trace(&name, names, configured));
        }
        let mut own = vec![logs.join("HEAD"), self.git_dir.join("logs/HEAD"), logs.join(self.local_ref())];
        own.extend(self.worktrees().into_iter().map(|tree| tree.join("logs/HEAD")));
        for path in own {
            let text = self.read_in(&path);
            let entries =
                text.lines().filter_map(|line| line.split_once('\t')).filter_map(|(head, said)| Some((head.split(' ').nth(1)?, said)));
            traces.extend(self.taken_over(path.ends_with(self.local_ref()), entries, configured));
        }
        traces
    }

    /// Reflogs of refs that are kept in tables: read through git, together with the value before each one's oldest entry.
    async fn of_reftable_logs(&self, configured: &[Configured], cancel: &Cancel) -> Vec<Trace> {
        let mut traces = Vec::new();
        for trace_of in self.of_reftable_names(configured, cancel).await {
            let mut names = self.log_of(&trace_of, cancel).await.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
            let oldest = format!("{trace_of}@{{{}}}", names.len());
            let (ended, out, _) = self.git(["rev-parse", "--verify", "--quiet", "--end-of-options", &oldest]).run(cancel).await;
            if ended == Ended::Exit(0) {
                names.push(out.trim().to_owned());
            }
            traces.extend(self.trace(&trace_of, names, configured));
        }
        for name in ["HEAD".to_owned(), self.local_ref()] {
            let entries = self.log_of(&name, cancel).await;
            traces.extend(self.taken_over(name != "HEAD", entries.iter().map(|(name, said)| (name.as_str(), said.as_str())), configured));
        }
        traces
    }

    async fn of_reftable_names(&self, configured: &[Configured], cancel: &Cancel) -> Vec<String> {
        let (_, out, _) = self.git(["for-each-ref", "--format=%(refname)"]).run(cancel).await;
        out.lines().filter(|name| self.follower(name, configured).is_some()).map(str::to_owned).collect()
    }

    async fn log_of(&self, name: &str, cancel: &Cancel) -> Vec<(String, String)> {
        let (_, out, _) = self.git(["log", "--walk-reflogs", "--format=%H %gs", "--end-of-options", name, "--"]).run(cancel).await;
        let split = |line: &str| line.split_once(' ').map(|(name, said)| (name.to_owned(), said.to_owned()));
        out.lines().filter_map(split).filter(|(name, _)| is_name(name)).collect()
    }

    /// Entries of the branch's own reflog that say where a commit came from.
    fn taken_over<'a>(&self, is_branch: bool, entries: impl Iterator<Item = (&'a str, &'a str)>, configured: &[Configured]) -> Vec<Trace> {
        let mut traces = Vec::new();
        for (name, said) in entries.filter(|(name, _)| is_name(name)) {
            if let Some((whose, of)) = self.came_from(said, configured) {
                let is_branch = of.map_or(is_branch, |of| of == self.settings.branch);
                traces.push(Trace { whose, is_branch, names: vec![name.to_owned()] });
            }
        }
        traces
    }

    /// Which remote an entry's commit came from, and where the name of the remote's branch is found; none if it may be our own
    /// work.
    fn came_from<'a>(&self, said: &'a str, configured: &[Configured]) -> Option<(Whose, Option<&'a str>)> {
        if let Some(from) = said.strip_prefix("clone: from ") {
            return Some((if self.is_ours(from) { Whose::Ours } else { Whose::Others }, None));
        }
        let (did, how) = said.split_once(": ").or_else(|| said.split_once(" (start): "))?;
        if let Some(words) = did.strip_prefix("pull") {
            let is_theirs = how == "Fast-forward" || how.starts_with("checkout ");
            let mut words = words.split(' ').filter(|word| !word.is_empty() && !word.starts_with(['-', '(']));
            return match words.next().filter(|_| is_theirs) {
                None => is_theirs.then_some((Whose::Unknown, None)),
                Some(from) => configured.iter().find(|one| one.name == from).map(|one| (one.whose, words.next())),
            };
        }
        // The name of a ref that follows a remote.
        let taken = match did {
            "reset" => how.strip_prefix("moving to ")?,
            "branch" => how.strip_prefix("Created from ")?,
            "checkout" => how.rsplit_once(" to ")?.1,
            _ if did.starts_with("rebase") => how.strip_prefix("checkout ")?,
            _ => did.strip_prefix("merge ").filter(|_| how == "Fast-forward")?,
        };
        let taken = taken.strip_prefix("refs/").unwrap_or(taken);
        let taken = taken.strip_prefix("remotes/").unwrap_or(taken);
        configured.iter().find_map(|one| Some((one.whose, Some(taken.strip_prefix(one.name.as_str())?.strip_prefix('/')?))))
    }

    /// What was fetched last, by a person or a program.
    fn of_fetch_heads(&self) -> Vec<Trace> {
        let mut files = vec![self.common.join("FETCH_HEAD"), self.git_dir.join("FETCH_HEAD")];
        files.extend(self.worktrees().into_iter().map(|tree| tree.join("FETCH_HEAD")));
        let mut traces = Vec::new();
        for file in files {
            let text = self.read_in(&file);
            for line in text.lines() {
                let mut fields = line.splitn(3, '\t');
                let (Some(name), Some(_), Some(what)) = (fields.next(), fields.next(), fields.next()) else { continue };
                let (branch, address) = match what.split_once(" of ") {
                    Some((branch, address)) => (branch, address),
                    None => ("", what),
                };
                let is_branch = branch.is_empty() || branch == format!("branch '{}'", self.settings.branch);
                let whose = if self.is_ours(address) { Whose::Ours } else { Whose::Others };
                if is_name(name) {
                    traces.push(Trace { whose, is_branch, names: vec![name.to_owned()] });
                }
            }
        }
        traces
    }

    /// The text of a plain file in the checkout's git folder; empty if there is none.
    fn read_in(&self, path: &std::path::Path) -> String {
        let name = path.strip_prefix(&self.git_dir).unwrap_or(path);
        self.files().ok().and_then(|files| files.text(name).ok()).unwrap_or_default()
    }

    /// The git folders of linked worktrees.
    fn worktrees(&self) -> Vec<std::path::PathBuf> {
        std::fs::read_dir(self.common.join("worktrees")).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }
}

fn names_of(traces: &[Trace], only_branch: bool) -> BTreeSet<&str> {
    traces.iter().filter(|trace| trace.is_branch || !only_branch).flat_map(|trace| &trace.names).map(String::as_str).collect()
}

fn is_sure(traces: &[Trace]) -> bool {
    traces.iter().all(|trace| trace.whose != Whose::Others)
}

/// The prefix under which a refspec stores what it fetches, unless our own work is stored there.
fn followed_below(refspec: &str) -> Option<String> {
    let (from, to) = refspec.trim_start_matches('+').split_once(':')?;
    let (before, _) = to.split_once('*')?;
    let is_own = ["refs/heads/", "refs/tags/", "refs/tagalong/"].iter().any(|own| before.starts_with(own) || own.starts_with(before));
    (from.starts_with("refs/heads/") && !is_own && before.starts_with("refs/")).then(|| before.to_owned())
}

/// A complete object name, other than the null name.
fn is_name(text: &str) -> bool {
    Commit::parse(text).is_ok() && text.bytes().any(|b| b != b'0')
}
