//! How git is called: its command line as values, in an environment of our own making.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;

use crate::config;
use crate::dataset::DatasetError;
use crate::model::Commit;
use crate::model::Mask;
use crate::model::misleads;
use crate::process;
use crate::process::Cancel;
use crate::process::Command;
use crate::process::Ended;

/// What the user's and the host's configuration must not change. Credentials, proxies, rewritten addresses and ssh stay
/// theirs. Given by the environment, which is stronger than every file.
const FIXED: &[(&str, &str)] = &[
    ("safe.directory", "*"),
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.autocrlf", "false"),
    ("core.safecrlf", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.symlinks", "true"),
    ("core.splitIndex", "false"),
    ("core.trustCtime", "false"),
    ("commit.gpgSign", "false"),
    ("push.gpgSign", "false"),
    ("push.followTags", "false"),
    ("push.pushOption", ""),
    ("push.recurseSubmodules", "no"),
    ("push.useForceIfIncludes", "false"),
    ("push.negotiate", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.prune", "false"),
    ("fetch.pruneTags", "false"),
    ("fetch.all", "false"),
    ("fetch.writeCommitGraph", "false"),
    ("fetch.bundleURI", ""),
    ("transfer.hideRefs", ""),
    ("merge.renames", "true"),
    ("merge.directoryRenames", "conflict"),
    ("merge.renormalize", "false"),
    ("diff.renames", "true"),
    ("diff.ignoreSubmodules", "none"),
    ("diff.external", ""),
    ("status.showUntrackedFiles", "all"),
    ("gc.auto", "0"),
    ("gc.autoDetach", "false"),
    ("maintenance.auto", "false"),
    ("checkout.workers", "1"),
    ("worktree.useRelativePaths", "false"),
    ("extensions.worktreeConfig", "false"),
    ("http.followRedirects", "initial"),
];

/// A repository on this host, as one piece of work sees it.
#[derive(Debug, Clone)]
pub(super) struct Repo {
    pub(super) settings: Arc<config::Dataset>,
    /// The git folder.
    pub(super) git_dir: PathBuf,
    /// Where objects and refs are: the same, except in a linked worktree.
    pub(super) common: PathBuf,
    /// The work tree; none in a bare repository.
    pub(super) work: Option<PathBuf>,
    /// The dataset's lock, which children inherit.
    pub(super) lock: Option<Arc<File>>,
    /// What a person should hear of this piece of work, a sentence each.
    pub(super) notes: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Repo {
    /// The repository that stands in `dir`: with a work tree, or bare; none when there is none.
    pub(super) fn found(settings: &Arc<config::Dataset>, dir: &Path, lock: Option<Arc<File>>) -> Option<Self> {
        let dot = dir.join(".git");
        let (git_dir, work) = if dot.is_dir() {
            (dot, Some(dir.to_owned()))
        } else if let Ok(text) = std::fs::read_to_string(&dot) {
            (dir.join(text.strip_prefix("gitdir: ")?.trim_end()), Some(dir.to_owned()))
        } else if dir.join("HEAD").is_file() && dir.join("objects").is_dir() {
            (dir.to_owned(), None)
        } else {
            return None;
        };
        let common = std::fs::read_to_string(git_dir.join("commondir")).map_or_else(|_| git_dir.clone(), |to| git_dir.join(to.trim_end()));
        common.join("objects").is_dir().then(|| Self { settings: Arc::clone(settings), git_dir, common, work, lock, notes: Arc::default() })
    }

    /// Says something that a person should hear, once.
    pub(super) fn note(&self, text: String) {
        let mut notes = self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !notes.contains(&text) {
            notes.push(text);
        }
    }

    /// What was to be said since it was taken last.
    pub(super) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Our own folder inside the git folder.
    pub(super) fn own_dir(&self) -> Result<PathBuf, DatasetError> {
        let dir = self.git_dir.join("tagalong");
        std::fs::create_dir_all(&dir).map_err(|error| DatasetError::File(dir.clone(), error))?;
        Ok(dir)
    }

    pub(super) fn local_ref(&self) -> String {
        format!("refs/heads/{}", self.settings.branch)
    }

    pub(super) fn upstream_ref(&self) -> String {
        format!("refs/tagalong/upstream/{}", self.settings.branch)
    }

    pub(super) fn fetched_ref(&self) -> String {
        format!("refs/tagalong/fetched/{}", self.settings.branch)
    }

    /// `git ARGS` in this repository.
    pub(super) fn git<S: Into<String>>(&self, args: impl IntoIterator<Item = S>) -> Call {
        let mut call = Call::new(&self.settings, args);
        call.command.env.insert("GIT_DIR".to_owned(), shown(&self.git_dir));
        if let Some(work) = &self.work {
            call.command.env.insert("GIT_WORK_TREE".to_owned(), shown(work));
        }
        call.command.dir = Some(self.work.clone().unwrap_or_else(|| self.git_dir.clone()));
        call.command.lock.clone_from(&self.lock);
        call
    }

    /// The object that `name` means; `name` is a full ref or an expression over an object name.
    pub(super) async fn object(&self, name: &str, cancel: &Cancel) -> Result<String, DatasetError> {
        Ok(self.git(["rev-parse", "--verify", "--end-of-options", name]).text(cancel).await?.trim().to_owned())
    }

    /// Whether `ancestor` is contained in `of`. Names that are no commits here are not.
    pub(super) async fn is_ancestor(&self, ancestor: &str, of: &Commit, cancel: &Cancel) -> Result<bool, DatasetError> {
        let (ended, _, err) = self.git(["merge-base", "--is-ancestor", ancestor, of.as_str()]).run(cancel).await;
        match ended {
            Ended::Exit(0) => Ok(true),
            Ended::Exit(1) => Ok(false),
            Ended::Exit(128) if err.contains("Not a valid") => Ok(false),
            ended => Err(failed("merge-base", &ended, &err)),
        }
    }

    /// How many commits `rev-list ARGS` gives.
    pub(super) async fn count(&self, args: &[&str], cancel: &Cancel) -> Result<u64, DatasetError> {
        let out = self.git(["rev-list", "--count"].iter().chain(args).copied()).text(cancel).await?;
        Ok(out.trim().parse().unwrap_or(0))
    }

    /// Moves `name` from `old` to `new`, or makes it when there is no `old`. False when it stood elsewhere: nothing was changed.
    pub(super) async fn swap_ref(&self, name: &str, new: &Commit, old: Option<&Commit>, cancel: &Cancel) -> Result<bool, DatasetError> {
        let zero = "0".repeat(new.as_str().len());
        let old = old.map_or(zero.as_str(), Commit::as_str);
        let call = self.git(["update-ref", "--no-deref", "-m", "tagalong", name, new.as_str(), old]);
        match call.run(cancel).await {
            (Ended::Exit(0), ..) => Ok(true),
            (Ended::Exit(_), _, err) if err.contains("but expected") || err.contains("reference already exists") => Ok(false),
            (ended, _, err) => Err(failed("update-ref", &ended, &err)),
        }
    }

    /// Sets `name` wherever it stands.
    pub(super) async fn set_ref(&self, name: &str, new: &Commit, cancel: &Cancel) -> Result<(), DatasetError> {
        self.git(["update-ref", "--no-deref", "-m", "tagalong", name, new.as_str()]).text(cancel).await.map(drop)
    }

    /// Sets all of `names`, or none.
    pub(super) async fn set_refs(&self, names: &[String], new: &Commit, cancel: &Cancel) -> Result<(), DatasetError> {
        let path = self.own_dir()?.join("refs");
        let text: String = names.iter().flat_map(|name| ["update ", name, " ", new.as_str(), "\n"]).collect();
        let written = std::fs::write(&path, text).and_then(|()| File::open(&path));
        let file = written.map_err(|error| DatasetError::File(path, error))?;
        self.git(["update-ref", "--no-deref", "-m", "tagalong", "--stdin"]).stdin(file).text(cancel).await.map(drop)
    }

    /// Removes `name` if it stands at `old`.
    pub(super) async fn drop_ref(&self, name: &str, old: &Commit, cancel: &Cancel) -> Result<(), DatasetError> {
        self.git(["update-ref", "--no-deref", "-d", name, old.as_str()]).text(cancel).await.map(drop)
    }
}

/// One call of git, to be run.
#[derive(Debug)]
pub(super) struct Call {
    command: Command,
    /// Hides the secrets of the configuration, beside the command's own.
    mask: Arc<Mask>,
    what: String,
}

impl Call {
    /// `git ARGS` outside any repository.
    pub(super) fn new<S: Into<String>>(settings: &Arc<config::Dataset>, args: impl IntoIterator<Item = S>) -> Self {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        let what = args.first().cloned().unwrap_or_default();
        let command = Command {
            program: settings.git.program.clone(),
            args,
            env: environment(settings, FIXED.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            dir: Some(PathBuf::from("/")),
            deadline: settings.local_deadline,
            mask: Arc::clone(&settings.mask),
            lock: None,
        };
        Self { command, mask: Arc::clone(&settings.mask), what }
    }

    /// Makes it a call that talks to the remote: with its credentials, and `deadline`.
    pub(super) fn remote(mut self, settings: &Arc<config::Dataset>, deadline: Duration) -> Self {
        let mut config: Vec<(String, String)> = FIXED.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        if let Some(login) = &settings.login {
            // A file that cannot be read becomes a refusal by the remote, which is shown.
            let secret = std::fs::read_to_string(&login.secret_file).unwrap_or_default();
            let secret = secret.trim_end();
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("{}:{secret}", login.user));
            self.command.mask = Arc::new(Mask::new([secret, pair.as_str()]));
            config.push((format!("http.{}.extraHeader", settings.remote), format!("Authorization: Basic {pair}")));
        }
        let kept = std::mem::take(&mut self.command.env);
        self.command.env = environment(settings, config);
        self.command.env.extend(kept.into_iter().filter(|(name, _)| !name.starts_with("GIT_CONFIG")));
        self.command.deadline = deadline;
        self
    }

    /// With this index instead of the repository's.
    pub(super) fn index(self, file: &Path) -> Self {
        self.env("GIT_INDEX_FILE", shown(file))
    }

    /// With this work tree instead of the repository's.
    pub(super) fn in_tree(mut self, tree: &Path) -> Self {
        self.command.dir = Some(tree.to_owned());
        self.env("GIT_WORK_TREE", shown(tree))
    }

    pub(super) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.command.env.insert(name.to_owned(), value.into());
        self
    }

    /// With this as its standard input, instead of the lock.
    pub(super) fn stdin(mut self, file: File) -> Self {
        self.command.lock = Some(Arc::new(file));
        self
    }

    /// How it ended, what it wrote, and its last lines of standard error, masked.
    pub(super) async fn run(self, cancel: &Cancel) -> (Ended, String, String) {
        let (ended, out, err) = self.run_bytes(cancel).await;
        (ended, String::from_utf8_lossy(&out).into_owned(), err)
    }

    pub(super) async fn run_bytes(self, cancel: &Cancel) -> (Ended, Vec<u8>, String) {
        let (ended, out, err) = process::capture_bytes(&self.command, cancel).await;
        (ended, out, self.mask.hide(&err))
    }

    /// What it wrote, when it ended well.
    pub(super) async fn text(self, cancel: &Cancel) -> Result<String, DatasetError> {
        self.bytes(cancel).await.map(|out| String::from_utf8_lossy(&out).into_owned())
    }

    pub(super) async fn bytes(self, cancel: &Cancel) -> Result<Vec<u8>, DatasetError> {
        let what = self.what.clone();
        match self.run_bytes(cancel).await {
            (Ended::Exit(0), out, _) => Ok(out),
            (ended, _, err) => Err(failed(&what, &ended, &err)),
        }
    }
}

/// The error of a git that did not end as it should.
pub(super) fn failed(what: &str, ended: &Ended, err: &str) -> DatasetError {
    let what = what.to_owned();
    match ended {
        Ended::Cancelled => DatasetError::Cancelled,
        Ended::NotStarted(why) => DatasetError::GitMissing(why.clone()),
        Ended::Exit(_) if !err.is_empty() => DatasetError::Git { what, why: said(err) },
        ended => DatasetError::Git { what, why: format!("it {ended}. {}", said(err)).trim_end().to_owned() },
    }
}

/// What git said, on one line, without advice and bounded.
pub(super) fn said(err: &str) -> String {
    let lines = err.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("hint:"));
    let text: String = lines.collect::<Vec<_>>().join("; ").chars().filter(|c| !misleads(*c)).take(600).collect();
    text
}

fn environment(settings: &config::Dataset, config: Vec<(String, String)>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), settings.git.path.clone()),
        ("HOME".to_owned(), settings.git.home.clone()),
        ("LC_ALL".to_owned(), "C".to_owned()),
        ("TZ".to_owned(), "UTC".to_owned()),
        ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
        ("GIT_ASKPASS".to_owned(), String::new()),
        ("GIT_ADVICE".to_owned(), "0".to_owned()),
        ("GIT_OPTIONAL_LOCKS".to_owned(), "0".to_owned()),
        ("GIT_NO_REPLACE_OBJECTS".to_owned(), "1".to_owned()),
        ("GIT_SSH_COMMAND".to_owned(), ssh(settings)),
    ]);
    for role in ["AUTHOR", "COMMITTER"] {
        env.insert(format!("GIT_{role}_NAME"), settings.committer_name.clone());
        env.insert(format!("GIT_{role}_EMAIL"), settings.committer_email.clone());
    }
    env.insert("GIT_CONFIG_COUNT".to_owned(), config.len().to_string());
    for (number, (key, value)) in config.into_iter().enumerate() {
        env.insert(format!("GIT_CONFIG_KEY_{number}"), key);
        env.insert(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
    env
}

/// ssh that never asks and leaves no process behind; everything else is the user's own configuration.
fn ssh(settings: &config::Dataset) -> String {
    let mut words = vec!["ssh -o BatchMode=yes -o ConnectTimeout=15 -o ControlMaster=no -o ControlPath=none".to_owned()];
    if let Some(key) = &settings.ssh_key_file {
        words.push(format!("-o IdentitiesOnly=yes -i {}", quoted(&shown(key))));
    }
    if let Some(known) = &settings.ssh_known_hosts_file {
        words.push(format!("-o UserKnownHostsFile={}", quoted(&shown(known))));
    }
    words.join(" ")
}

/// For the shell by which git starts ssh.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
