//! Talking to the remote: fetching, asking, pushing, and interpreting its answers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use process::Cancel;
use process::Ended;

use crate::clock::Backoff;
use crate::config;
use crate::dataset::DatasetError;
use crate::dataset::call::Call;
use crate::dataset::call::error_lines;
use crate::dataset::call::failed;
use crate::dataset::git::Repo;
use crate::model::Commit;

/// The pauses while somebody else writes the same ref on the remote.
const WHILE_BUSY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(800));
/// How many of them there are.
const BUSY_WAITS: u32 = 5;

/// The result of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fetched {
    /// The remote's tip, which is also in `fetched_ref`.
    Tip(Commit),
    /// The remote answers, but has no such branch.
    NoBranch,
    /// It could not be read, and why.
    Unreachable(String),
}

/// The result of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The remote has it.
    Done,
    /// The remote's ref has another value than expected.
    Moved,
    /// The remote refused it: a hook, a protected branch, a missing permission.
    Refused(String),
    /// It may succeed a little later: the network, or a full disk there.
    Transient(String),
    /// Somebody else is writing the same ref there.
    Busy(String),
}

impl Repo {
    /// Fetches the remote's branch into `fetched_ref`, and nothing else.
    ///
    /// # Errors
    /// When the fault is in the repository on this host and not at the remote.
    pub(super) async fn fetch(&self, cancel: &Cancel) -> Result<Fetched, DatasetError> {
        let fetched = self.fetch_with(&[], cancel).await?;
        if let Fetched::Unreachable(_) = fetched {
            self.sweep();
        }
        Ok(fetched)
    }

    /// Completes a shallow repository.
    pub(super) async fn unshallow(&self, cancel: &Cancel) -> Result<Fetched, DatasetError> {
        let error = |error| DatasetError::File(self.git_dir.join("shallow"), error);
        self.own.show_shallow(&self.git_dir).map_err(error)?;
        let fetched = self.fetch_with(&["--unshallow"], cancel).await?;
        self.own.made_whole(&self.git_dir).map_err(error)?;
        Ok(fetched)
    }

    async fn fetch_with(&self, more: &[&str], cancel: &Cancel) -> Result<Fetched, DatasetError> {
        let branch = self.local_ref();
        let mut args = vec!["fetch", "--quiet", "--no-tags", "--no-auto-gc", "--no-recurse-submodules"];
        args.extend(more);
        args.extend(["--", self.settings.remote.as_str(), branch.as_str()]);
        let deadline = self.settings.fetch_deadline;
        match self.fetching(&args)?.run(cancel).await {
            (Ended::Exit(0), ..) => self.take_in(cancel).await.map(Fetched::Tip),
            (Ended::Cancelled, ..) => Err(DatasetError::Cancelled),
            (ended @ Ended::NotStarted(_), _, err) => Err(failed("fetch", &ended, &err)),
            (Ended::Exit(_), _, err) if is_local_fault(&err) => Err(failed("fetch", &Ended::Exit(128), &err)),
            (Ended::Exit(_), _, err) => match ask(&self.settings, deadline, cancel).await? {
                Ask::NoBranch => Ok(Fetched::NoBranch),
                Ask::There | Ask::Unreachable(_) if is_refusal_of_access(&err) => {
                    Ok(Fetched::Unreachable(with_credential(&self.settings.access(), &error_lines(&err))))
                }
                Ask::There | Ask::Unreachable(_) => Ok(Fetched::Unreachable(error_lines(&err))),
            },
            (ended, _, err) => Ok(Fetched::Unreachable(format!("git fetch {ended}. {}", error_lines(&err)).trim_end().to_owned())),
        }
    }

    /// Pushes `commit` to `to` (a full ref), whose value there must be `at`; none: it must not exist. The commit always
    /// contains `at`, so nothing is overwritten by force: the lease only makes the remote's answer precise. If the remote has
    /// refused that ref recently, it is not asked again.
    pub(super) async fn push(&self, commit: &Commit, to: &str, at: Option<&Commit>, deadline: Duration, cancel: &Cancel) -> Pushed {
        if let Some(why) = self.held_back(to) {
            return Pushed::Refused(why);
        }
        if let Err(error) = self.is_all_here(commit, at, cancel).await {
            return Pushed::Transient(error.to_string());
        }
        let answer = self.push_now(commit, to, at, deadline, cancel).await;
        self.note_answer(to, &answer);
        answer
    }

    async fn push_now(&self, commit: &Commit, to: &str, at: Option<&Commit>, deadline: Duration, cancel: &Cancel) -> Pushed {
        let lease = format!("--force-with-lease={to}:{}", at.map_or("", Commit::as_str));
        let refspec = format!("{commit}:{to}");
        let args = ["push", "--porcelain", "--no-verify", "--no-follow-tags", "--no-signed", &lease, "--", &self.settings.remote, &refspec];
        let mut again = WHILE_BUSY;
        let mut left = BUSY_WAITS;
        loop {
            let (ended, out, err) = self.git(args).remote(&self.settings.access(), deadline).run(cancel).await;
            match pushed(&ended, &out, &err) {
                Pushed::Busy(why) if left == 0 => return Pushed::Transient(why),
                Pushed::Busy(_) => tokio::time::sleep(again.fail()).await,
                Pushed::Refused(why) if is_refusal_of_access(&err) => {
                    return Pushed::Refused(with_credential(&self.settings.access(), &why));
                }
                other => return other,
            }
            left -= 1;
        }
    }

    /// Whether the remote would let us write: everything that a push does, except writing.
    pub(super) async fn push_dry(&self, commit: &Commit, cancel: &Cancel) -> Pushed {
        let refspec = format!("{commit}:{}", self.local_ref());
        let args =
            ["push", "--dry-run", "--porcelain", "--no-verify", "--no-follow-tags", "--no-signed", "--", &self.settings.remote, &refspec];
        let (ended, out, err) = self.git(args).remote(&self.settings.access(), self.settings.push_deadline).run(cancel).await;
        pushed(&ended, &out, &err)
    }

    /// Whether the remote is still the one whose tip is remembered. If it is another, it is not known what it had.
    pub(super) fn is_same_remote(&self) -> bool {
        self.memo("remote").is_some_and(|seen| seen == without_user(&self.settings.remote))
    }

    /// Whether any remote was followed from here already.
    pub(super) fn is_remote_known(&self) -> bool {
        self.memo("remote").is_some()
    }

    pub(super) fn remember_remote(&self) -> Result<(), DatasetError> {
        self.set_memo("remote", &without_user(&self.settings.remote))
    }
}

/// An address without its user and password: with a rotated credential it is still the same remote.
fn without_user(remote: &str) -> String {
    match remote.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{scheme}://{}/{path}", host.rsplit('@').next().unwrap_or(host))
        }
        None => remote.to_owned(),
    }
}

/// `why`, with the source of the credential that was sent to the remote, but never the credential itself.
pub(super) fn with_credential(access: &config::Access, why: &str) -> String {
    let shown = match (&access.login, &access.ssh_key_file) {
        (Some(login), _) => format!("user \"{}\" with password_file {}", login.user, login.secret_file.display()),
        (None, Some(key)) => format!("ssh_key_file {}", key.display()),
        (None, None) => format!("the configuration of git and ssh in {}, because no login is configured", access.git.home),
    };
    format!("{why} (tagalong used {shown})")
}

/// The remote's answer to the question whether it has the branch.
pub(super) enum Ask {
    There,
    NoBranch,
    Unreachable(String),
}

/// Asks the remote for the branch, without a repository on this host.
pub(super) async fn ask(settings: &Arc<config::Dataset>, deadline: Duration, cancel: &Cancel) -> Result<Ask, DatasetError> {
    let branch = format!("refs/heads/{}", settings.branch);
    let args = ["ls-remote", "--quiet", "--exit-code", "--", settings.remote.as_str(), branch.as_str()];
    match Call::new(&settings.access(), args).remote(&settings.access(), deadline).run(cancel).await {
        (Ended::Exit(0), ..) => Ok(Ask::There),
        (Ended::Exit(2), ..) => Ok(Ask::NoBranch),
        (ended @ (Ended::Cancelled | Ended::NotStarted(_)), _, err) => Err(failed("ls-remote", &ended, &err)),
        (Ended::Exit(_), _, err) => Ok(Ask::Unreachable(error_lines(&err))),
        (ended, _, err) => Ok(Ask::Unreachable(format!("git ls-remote {ended}. {}", error_lines(&err)).trim_end().to_owned())),
    }
}

/// The refs below `conflicts/` on the remote, with their commits; none if it cannot be asked.
pub(super) async fn conflicts_there(settings: &Arc<config::Dataset>, cancel: &Cancel) -> Option<Vec<(String, String)>> {
    refs_there(settings, "refs/heads/conflicts/*", cancel).await
}

/// Every branch of the remote, with its commit; none if it cannot be asked.
pub(super) async fn branches_there(settings: &Arc<config::Dataset>, cancel: &Cancel) -> Option<Vec<(String, String)>> {
    refs_there(settings, "refs/heads/*", cancel).await
}

async fn refs_there(settings: &Arc<config::Dataset>, pattern: &str, cancel: &Cancel) -> Option<Vec<(String, String)>> {
    let args = ["ls-remote", "--quiet", "--", settings.remote.as_str(), pattern];
    let (ended, out, _) = Call::new(&settings.access(), args).remote(&settings.access(), settings.fetch_deadline).run(cancel).await;
    let parse = |line: &str| line.split_once('\t').map(|(commit, name)| (name.to_owned(), commit.to_owned()));
    (ended == Ended::Exit(0)).then(|| out.lines().filter_map(parse).collect())
}

/// Clones the branch into `to`, which must not exist: the folder that is moved into its place afterwards.
///
/// # Errors
/// When there is no such branch, or the remote cannot be read.
pub(super) async fn clone(settings: &Arc<config::Dataset>, to: &Path, cancel: &Cancel) -> Result<(), DatasetError> {
    let to_text = crate::dataset::call::path_text(to);
    let branch = settings.branch.as_str();
    let mut args = vec!["clone", "--quiet", "--single-branch", "--branch", branch, "--no-tags", "--origin", "origin", "--template="];
    // Attributes in the history must not decide how files are checked out: our own git folder writes them. From a folder of this host git
    // would copy file by file, which fails when somebody pushes meanwhile.
    args.extend(["--no-checkout", "--no-local", "--", settings.remote.as_str(), to_text.as_str()]);
    let call = Call::new(&settings.access(), args).remote(&settings.access(), settings.fetch_deadline);
    let (ended, _, err) = call.run(cancel).await;
    match ended {
        Ended::Exit(0) => return Ok(()),
        Ended::Exit(_) if is_local_fault(&err) => return Err(failed("clone", &ended, &err)),
        Ended::Exit(_) | Ended::Deadline(_) | Ended::Signal(_) => {}
        ended => return Err(failed("clone", &ended, &err)),
    }
    match ask(settings, settings.fetch_deadline, cancel).await? {
        Ask::NoBranch => Err(DatasetError::NoBranchYet(settings.dir.clone(), settings.branch.clone())),
        Ask::Unreachable(why) if is_refusal_of_access(&why) => {
            Err(DatasetError::NothingYet(settings.dir.clone(), with_credential(&settings.access(), &why)))
        }
        Ask::Unreachable(why) => Err(DatasetError::NothingYet(settings.dir.clone(), why)),
        Ask::There => Err(DatasetError::NothingYet(settings.dir.clone(), format!("git clone {ended}. {}", error_lines(&err)))),
    }
}

/// Whether git's message is about this host's disk and not about the remote.
fn is_local_fault(err: &str) -> bool {
    let here = err.lines().filter(|line| !line.starts_with("remote:"));
    let text: String = here.collect::<Vec<_>>().join("\n");
    ["No space left on device", "Disk quota exceeded", "Read-only file system", "could not create work tree", "insufficient permission"]
        .iter()
        .any(|word| text.contains(word))
        || is_damage(&text)
}

/// Whether git's message is about a damaged repository.
pub(super) fn is_damage(err: &str) -> bool {
    const WORDS: &[&str] = &[
        "is corrupt",
        "corrupted",
        "is empty",
        "bad object",
        "bad tree",
        "bad signature",
        "missing blob",
        "missing tree",
        "missing commit",
        "missing necessary objects",
        "unable to read tree",
        "unable to read sha1",
        "Could not read ",
        "unable to unpack",
        "unable to parse",
        "could not parse",
        "cannot be read",
        "inflate:",
        "index file smaller",
        "index file corrupt",
        "bad index",
        "invalid sha1 pointer",
        "does not point to a valid object",
        "not a git repository",
        "packfile",
        "broken ref",
        "unable to resolve reference",
        "bad ref",
        "unable to find",
        "not our ref",
        "hash mismatch",
    ];
    !err.contains("Could not read from remote") && !err.contains("No space left") && WORDS.iter().any(|word| err.contains(word))
}

/// git's message for a push whose lease failed.
const MOVED: &[&str] = &["stale info", "fetch first", "non-fast-forward", "needs force"];
/// A remote's messages while somebody else writes the same ref.
const BUSY: &[&str] = &["failed to update ref", "cannot lock ref", "failed to lock", "unable to lock", "reference already locked"];
/// A remote's messages when it has no room, or is busy, for a while.
const TRANSIENT: &[&str] = &["unpacker error", "unable to migrate objects", "remote end hung up", "internal", "timeout"];

/// Parses the answer of `push --porcelain`.
fn pushed(ended: &Ended, out: &str, err: &str) -> Pushed {
    if *ended == Ended::Exit(0) {
        return Pushed::Done;
    }
    let why = error_lines(err);
    let Some(line) = out.lines().find(|line| line.starts_with('!')) else {
        return match ended {
            Ended::Exit(_) if is_refusal_of_access(err) => Pushed::Refused(why),
            Ended::Exit(_) => Pushed::Transient(why),
            ended => Pushed::Transient(format!("git push {ended}. {why}").trim_end().to_owned()),
        };
    };
    let summary = line.rsplit('\t').next().unwrap_or_default();
    let reason = summary.split_once('(').map_or(summary, |(_, reason)| reason.trim_end_matches(')'));
    let told: Vec<&str> =
        err.lines().filter_map(|line| line.strip_prefix("remote:")).map(str::trim).filter(|line| !line.is_empty()).collect();
    let why = error_lines(&std::iter::once(reason).chain(told.iter().copied()).collect::<Vec<_>>().join("\n"));
    let any = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    let quicker = ["but expected", "incorrect old value", "reference already exists"].iter().any(|word| why.contains(word));
    match () {
        () if summary.starts_with("[rejected]") && any(MOVED) => Pushed::Moved,
        () if quicker => Pushed::Moved,
        () if any(BUSY) => Pushed::Busy(why),
        () if any(TRANSIENT) || summary.starts_with("[remote failure]") => Pushed::Transient(why),
        () => Pushed::Refused(why),
    }
}

pub(super) fn is_refusal_of_access(err: &str) -> bool {
    const WORDS: &[&str] = &[
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "terminal prompts disabled",
        "Permission denied",
        "The requested URL returned error: 401",
        "The requested URL returned error: 403",
        "denied to",
        "not allowed",
        "read-only",
        "service not enabled",
    ];
    WORDS.iter().any(|word| err.contains(word))
}

#[cfg(test)]
mod tests {
    use process::Ended;

    use super::Pushed;
    use super::is_damage;
    use super::pushed;

    fn line(summary: &str) -> Pushed {
        pushed(&Ended::Exit(1), &format!("To x\n!\ta:refs/heads/main\t{summary}\nDone\n"), "error: failed to push some refs to 'x'")
    }

    #[test]
    fn push_answers_have_classes() {
        assert_eq!(pushed(&Ended::Exit(0), "Done\n", ""), Pushed::Done);
        for moved in ["[rejected] (stale info)", "[rejected] (fetch first)", "[rejected] (non-fast-forward)"] {
            assert_eq!(line(moved), Pushed::Moved, "{moved}");
        }
        for refused in ["[remote rejected] (pre-receive hook declined)", "[remote rejected] (protected branch hook declined)"] {
            assert!(matches!(line(refused), Pushed::Refused(_)), "{refused}");
        }
        for transient in ["[remote rejected] (unpacker error)", "[remote failure] (x)"] {
            assert!(matches!(line(transient), Pushed::Transient(_)), "{transient}");
        }
        assert!(matches!(line("[remote rejected] (failed to update ref)"), Pushed::Busy(_)));
        let none = |err| pushed(&Ended::Exit(128), "", err);
        assert!(matches!(none("fatal: unable to access 'http://h/': Failed to connect"), Pushed::Transient(_)));
        assert!(matches!(none("fatal: unable to access 'http://h/': The requested URL returned error: 503"), Pushed::Transient(_)));
        assert!(matches!(none("fatal: could not read Username for 'http://h': terminal prompts disabled"), Pushed::Refused(_)));
        assert!(matches!(none("git@h: Permission denied (publickey)."), Pushed::Refused(_)));
    }

    #[test]
    fn a_remote_that_hangs_up_is_no_damage_here() {
        assert!(!is_damage("fatal: Could not read from remote repository."));
        assert!(is_damage("fatal: loose object 0a (stored in .git/objects/0a/b) is corrupt"));
        assert!(!is_damage("error: unable to write file a: No space left on device"));
    }
}
