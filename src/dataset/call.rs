//! One call of git: a command line as a value, in an environment that we build ourselves.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Seek as _;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use process::Cancel;
use process::Command;
use process::Confinement;
use process::Ended;
use text::Mask;
use text::misleads;

use crate::config::Access;
use crate::dataset::DatasetError;
use crate::dataset::own;
use crate::dataset::own::Own;

/// Settings that the user's and the host's configuration must not change. Credentials, proxies, rewritten addresses and ssh
/// remain theirs. They are passed in the environment, which takes precedence over every file.
const FIXED: &[(&str, &str)] = &[
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
    // To ask whether a nested repository was edited, git would use that repository's own configuration.
    ("diff.ignoreSubmodules", "dirty"),
    ("diff.external", ""),
    ("status.showUntrackedFiles", "all"),
    ("gc.auto", "0"),
    ("gc.autoDetach", "false"),
    ("maintenance.auto", "false"),
    ("checkout.workers", "1"),
    ("worktree.useRelativePaths", "false"),
    ("extensions.worktreeConfig", "false"),
    // Credentials for one host are not sent to another.
    ("http.followRedirects", "false"),
];

/// No output of git is longer than this, except one that is meant to harm.
const MOST_BYTES: u64 = 256 << 20;

/// One call of git, to be run.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) command: Command,
    /// Hides the secrets of the configuration, besides the command's own.
    mask: Arc<Mask>,
    what: String,
    /// The files that it may access; none if that cannot be enforced, or if it runs programs that the operator configured.
    pub(super) within: Option<Confinement>,
    /// The git folder that it uses, kept while it runs, and the checkout's own.
    pub(super) keep: Option<(Arc<Own>, PathBuf)>,
    /// So much of its output is read.
    most_bytes: u64,
}

impl Call {
    /// `git ARGS` outside any repository.
    pub(super) fn new<S: Into<String>>(access: &Access, args: impl IntoIterator<Item = S>) -> Self {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        let what = args.first().cloned().unwrap_or_default();
        let command = Command {
            program: access.git.program.clone(),
            args,
            env: environment(access, FIXED.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            dir: Some(PathBuf::from("/")),
            deadline: access.local_deadline,
            mask: Arc::clone(&access.mask),
            lock: None,
        };
        Self { command, mask: Arc::clone(&access.mask), what, within: None, keep: None, most_bytes: MOST_BYTES }
    }

    /// Makes it a call that talks to the remote, with its credentials and with `deadline`.
    pub(super) fn remote(mut self, access: &Access, deadline: Duration) -> Self {
        let mut config: Vec<(String, String)> = FIXED.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        // Takes precedence over any other setting for this address.
        config.push((format!("http.{}.followRedirects", access.remote), "false".to_owned()));
        if let Some(login) = &access.login {
            // If the file cannot be read, the remote refuses the call, and that is shown.
            let secret = std::fs::read_to_string(&login.secret_file).unwrap_or_default();
            let secret = secret.trim_end();
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("{}:{secret}", login.user));
            self.command.mask = Arc::new(Mask::new([secret, pair.as_str()]));
            config.push((format!("http.{}.extraHeader", access.remote), format!("Authorization: Basic {pair}")));
        }
        let kept = std::mem::take(&mut self.command.env);
        self.command.env = environment(access, config);
        self.command.env.extend(kept.into_iter().filter(|(name, _)| !name.starts_with("GIT_CONFIG")));
        // The remote must not depend on the files: their .gitmodules could make every fetch fail.
        self.command.env.remove("GIT_WORK_TREE");
        self.command.env.insert("GIT_IMPLICIT_WORK_TREE".to_owned(), "0".to_owned());
        self.command.deadline = deadline;
        self.within = None;
        self
    }

    /// Ignores the user's and the host's configuration, because this work is ours alone.
    pub(super) fn by_itself(self) -> Self {
        self.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1")
    }

    /// With that configuration, and free to run the programs that it names.
    pub(super) fn by_configuration(mut self) -> Self {
        for name in ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"] {
            self.command.env.remove(name);
        }
        self.within = None;
        self
    }

    /// If it is confined, it may access the folders of `more` too.
    pub(super) fn reaching(mut self, more: &Confinement) -> Self {
        self.within = self.within.map(|within| within.and(more));
        self
    }

    /// With this index instead of the repository's.
    pub(super) fn index(self, file: &Path) -> Self {
        self.env("GIT_INDEX_FILE", path_text(file))
    }

    /// With this work tree instead of the repository's.
    pub(super) fn in_tree(mut self, tree: &Path) -> Self {
        self.command.dir = Some(tree.to_owned());
        self.env("GIT_WORK_TREE", path_text(tree))
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

    /// Reads no more of its output than `bytes`; git ends when it writes more.
    pub(super) fn at_most(self, bytes: u64) -> Self {
        Self { most_bytes: bytes, ..self }
    }

    /// The exit status, the output, and the last lines of standard error, masked.
    pub(super) async fn run(self, cancel: &Cancel) -> (Ended, String, String) {
        let (ended, out, err) = self.run_bytes(cancel).await;
        (ended, String::from_utf8_lossy(&out).into_owned(), err)
    }

    pub(super) async fn run_bytes(self, cancel: &Cancel) -> (Ended, Vec<u8>, String) {
        let mut done = process::capture_bytes(&self.command, self.within.as_ref(), self.most_bytes, cancel).await;
        if let (Some((_, git_dir)), Ended::Exit(code)) = (&self.keep, &done.0)
            && *code != 0
            && is_without_folder(&done.2)
            && own::make_object_folders(git_dir).is_ok()
        {
            done = process::capture_bytes(&self.command, self.within.as_ref(), self.most_bytes, cancel).await;
        }
        let (ended, out, err) = done;
        (ended, out, self.mask.hide(&err))
    }

    /// The output, if it succeeded.
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

/// Whether git misses a folder of loose objects: a git of the app that tidied up has just removed it.
fn is_without_folder(err: &str) -> bool {
    err.lines().any(|line| !line.starts_with("remote:") && line.contains("unable to create temporary file: No such file"))
}

/// The error for a git that failed.
pub(super) fn failed(what: &str, ended: &Ended, err: &str) -> DatasetError {
    let what = what.to_owned();
    match ended {
        Ended::Cancelled => DatasetError::Cancelled,
        Ended::NotStarted(why) => DatasetError::GitMissing(why.clone()),
        Ended::Exit(_) if !err.is_empty() => DatasetError::Git { what, why: error_lines(err) },
        ended => DatasetError::Git { what, why: format!("it {ended}. {}", error_lines(err)).trim_end().to_owned() },
    }
}

/// git's message on one line, without advice and limited in length.
pub(super) fn error_lines(err: &str) -> String {
    let lines = err.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("hint:"));
    let mut text: String = lines.collect::<Vec<_>>().join("; ").chars().filter(|c| !misleads(*c)).take(600).collect();
    if err.contains("The requested URL returned error: 30") {
        text.push_str(
            "; this is a redirect, and tagalong does not send a credential on to another host: set `remote` to the address that the \
            redirect leads to",
        );
    }
    text
}

fn environment(access: &Access, config: Vec<(String, String)>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), access.git.path.clone()),
        ("HOME".to_owned(), access.git.home.clone()),
        ("LC_ALL".to_owned(), "C".to_owned()),
        ("TZ".to_owned(), "UTC".to_owned()),
        ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
        ("GIT_ASKPASS".to_owned(), String::new()),
        ("GIT_ADVICE".to_owned(), "0".to_owned()),
        ("GIT_OPTIONAL_LOCKS".to_owned(), "0".to_owned()),
        ("GIT_NO_REPLACE_OBJECTS".to_owned(), "1".to_owned()),
        // A missing object is missing: nothing is fetched from an address that a repository names.
        ("GIT_NO_LAZY_FETCH".to_owned(), "1".to_owned()),
        ("GIT_ATTR_NOSYSTEM".to_owned(), "1".to_owned()),
        ("GIT_SSH_COMMAND".to_owned(), ssh(access)),
    ]);
    for role in ["AUTHOR", "COMMITTER"] {
        env.insert(format!("GIT_{role}_NAME"), access.committer_name.clone());
        env.insert(format!("GIT_{role}_EMAIL"), access.committer_email.clone());
    }
    env.insert("GIT_CONFIG_COUNT".to_owned(), config.len().to_string());
    for (number, (key, value)) in config.into_iter().enumerate() {
        env.insert(format!("GIT_CONFIG_KEY_{number}"), key);
        env.insert(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
    env
}

/// ssh that never asks and leaves no process behind; all other settings are the user's own.
fn ssh(access: &Access) -> String {
    let mut words = vec!["ssh -o BatchMode=yes -o ConnectTimeout=15 -o ControlMaster=no -o ControlPath=none".to_owned()];
    if let Some(key) = &access.ssh_key_file {
        words.push(format!("-o IdentitiesOnly=yes -i {}", quoted(&path_text(key))));
    }
    if let Some(known) = &access.ssh_known_hosts_file {
        words.push(format!("-o UserKnownHostsFile={}", quoted(&path_text(known))));
    }
    words.join(" ")
}

/// Quoted for the shell with which git starts ssh.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

pub(super) fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A file that only this process sees, positioned at its beginning.
pub(super) fn in_memory(bytes: &[u8]) -> Result<std::fs::File, DatasetError> {
    let made = || {
        let mut file = std::fs::File::from(rustix::fs::memfd_create("tagalong", rustix::fs::MemfdFlags::CLOEXEC)?);
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(file)
    };
    made().map_err(|error| DatasetError::File(std::path::PathBuf::from("a file in memory"), error))
}
