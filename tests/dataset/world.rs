//! A host with a dataset, its remote, and somebody else who works on the remote.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use tagalong::config;
use tagalong::dataset::Dataset;
use tagalong::dataset::Ready;
use tagalong::dataset::Reconciled;
use tagalong::model::Commit;
use tagalong::model::DatasetName;
use tagalong::model::Reconcile;

/// Longer than anything takes here that will happen at all.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Runs a test on the git of the distribution and on the newest.
macro_rules! on_both_gits {
    ($($(#[$meta:meta])* async fn $name:ident($world:ident: $kind:ty) $body:block)*) => { $(
        mod $name {
            #[allow(unused_imports, reason = "each test uses some")]
            use super::*;
            $(#[$meta])*
            #[allow(unused_mut, reason = "some tests change the settings")]
            async fn run(mut $world: $kind) $body
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn old_git() {
                run($crate::world::World::new("/usr/bin/git")).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn new_git() {
                run($crate::world::World::new(&$crate::world::newest_git())).await;
            }
        }
    )* };
}
pub(crate) use on_both_gits;

/// The first git on PATH.
pub(crate) fn newest_git() -> String {
    let path = std::env::var("PATH").unwrap();
    path.split(':').map(|dir| format!("{dir}/git")).find(|file| Path::new(file).is_file()).expect("a git")
}

pub(crate) struct World {
    pub(crate) root: tempfile::TempDir,
    pub(crate) git: String,
    pub(crate) cancel: Cancel,
    settings: config::Dataset,
    data: Dataset,
}

impl World {
    /// A remote with one commit (`a`, `b`, `c`, of three lines each), and nothing here yet.
    pub(crate) fn new(git: &str) -> Self {
        Self::with(git, &[])
    }

    pub(crate) fn with(git: &str, init: &[&str]) -> Self {
        let root = tempfile::Builder::new().prefix("tagalong-data-").tempdir_in(memory()).unwrap();
        std::fs::create_dir(root.path().join("home")).unwrap();
        let settings = settings(root.path(), git);
        let world = Self { root, git: git.to_owned(), cancel: Cancel::default(), data: Dataset::new(settings.clone()), settings };
        let args: Vec<&str> = ["init", "-q", "--bare", "-b", "main"].iter().chain(init).chain(&["remote.git"]).copied().collect();
        world.run(world.root.path(), &args);
        let args: Vec<&str> = ["init", "-q", "-b", "main"].iter().chain(init).chain(&["other"]).copied().collect();
        world.run(world.root.path(), &args);
        world.run(&world.other(), &["remote", "add", "origin", &world.settings.remote]);
        for file in ["a", "b", "c"] {
            std::fs::write(world.other().join(file), format!("1 {file}\n2 {file}\n3 {file}\n")).unwrap();
        }
        world.commit(&world.other(), "first");
        world.run(&world.other(), &["push", "-q", "origin", "main"]);
        world
    }

    /// With other settings from now on.
    pub(crate) fn set(&mut self, change: impl FnOnce(&mut config::Dataset)) {
        change(&mut self.settings);
        self.data = Dataset::new(self.settings.clone());
    }

    pub(crate) fn settings(&self) -> &config::Dataset {
        &self.settings
    }

    pub(crate) fn data(&self) -> &Dataset {
        &self.data
    }

    /// The same dataset, as a process that was started again has it.
    pub(crate) fn again(&self) -> Dataset {
        Dataset::new(self.settings.clone())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn remote(&self) -> PathBuf {
        self.path("remote.git")
    }

    /// The checkout of somebody else.
    pub(crate) fn other(&self) -> PathBuf {
        self.path("other")
    }

    pub(crate) async fn ready(&self) -> Ready {
        self.data.ready(&self.cancel).await.expect("ready")
    }

    pub(crate) async fn reconcile(&self) -> Reconciled {
        self.data.reconcile(&self.cancel).await.expect("a pass")
    }

    /// One pass that must end so.
    pub(crate) async fn expect(&self, outcome: Reconcile) -> Reconciled {
        let done = self.reconcile().await;
        assert_eq!(done.outcome, outcome, "{done:?}");
        done
    }

    /// The command, in an environment of its own.
    pub(crate) fn command(&self, dir: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.git);
        command.current_dir(dir).args(args).env_clear().stdin(Stdio::null());
        command
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", self.root.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Ann Other").env(format!("GIT_{role}_EMAIL"), "ann@other.invalid");
        }
        command
    }

    pub(crate) fn output(&self, dir: &Path, args: &[&str]) -> Output {
        self.command(dir, args).output().expect("git runs")
    }

    /// Runs git; it must end well. Gives what it wrote.
    pub(crate) fn run(&self, dir: &Path, args: &[&str]) -> String {
        let ran = self.output(dir, args);
        assert!(ran.status.success(), "git {args:?} in {}: {}", dir.display(), String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim_end().to_owned()
    }

    /// Runs git, however it ends.
    pub(crate) fn try_run(&self, dir: &Path, args: &[&str]) -> bool {
        self.output(dir, args).status.success()
    }

    /// Commits everything in `dir`; gives the commit.
    pub(crate) fn commit(&self, dir: &Path, message: &str) -> String {
        self.run(dir, &["add", "-A"]);
        self.run(dir, &["commit", "-q", "--allow-empty", "-m", message]);
        self.run(dir, &["rev-parse", "HEAD"])
    }

    /// Writes a file and commits it.
    pub(crate) fn write(&self, dir: &Path, file: &str, text: &str, message: &str) -> String {
        std::fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
        std::fs::write(dir.join(file), text).unwrap();
        self.commit(dir, message)
    }

    /// Somebody else commits a file and pushes it.
    pub(crate) fn elsewhere(&self, file: &str, text: &str) -> String {
        let commit = self.write(&self.other(), file, text, &format!("elsewhere: {file}"));
        self.run(&self.other(), &["push", "-q", "origin", "HEAD:refs/heads/main"]);
        commit
    }

    /// Somebody else takes over what the remote has.
    pub(crate) fn follow(&self) {
        self.run(&self.other(), &["fetch", "-q", "origin", "main"]);
        self.run(&self.other(), &["reset", "-q", "--hard", "FETCH_HEAD"]);
    }

    /// The app commits a file here.
    pub(crate) fn here(&self, file: &str, text: &str) -> String {
        self.write(&self.dir(), file, text, &format!("here: {file}"))
    }

    pub(crate) fn head(&self) -> String {
        self.run(&self.dir(), &["rev-parse", "refs/heads/main"])
    }

    pub(crate) fn remote_tip(&self) -> String {
        self.run(&self.remote(), &["rev-parse", "refs/heads/main"])
    }

    /// The branches below `conflicts/` on the remote.
    pub(crate) fn conflicts(&self) -> Vec<String> {
        let out = self.run(&self.remote(), &["for-each-ref", "--format=%(refname)", "refs/heads/conflicts/"]);
        out.lines().map(|name| name["refs/heads/".len()..].to_owned()).collect()
    }

    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.dir().join(file)).unwrap_or_else(|error| format!("({error})"))
    }

    /// Here and the remote are the same, and the checkout is whole and clean.
    pub(crate) fn assert_same(&self) {
        assert_eq!(self.head(), self.remote_tip());
        self.assert_clean();
    }

    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.run(&self.dir(), &["status", "--porcelain"]), "");
        assert_eq!(self.run(&self.dir(), &["symbolic-ref", "HEAD"]), format!("refs/heads/{}", self.settings.branch));
        assert!(!self.dir().join(".git/index.lock").exists());
    }

    pub(crate) fn commit_of(&self, dir: &Path, name: &str) -> Commit {
        Commit::parse(&self.run(dir, &["rev-parse", name])).unwrap()
    }

    /// Whether a ref of `dir` leads to `commit`.
    pub(crate) fn is_kept(&self, dir: &Path, commit: &str) -> bool {
        let out = self.output(dir, &["for-each-ref", "--count=1", "--contains", commit]);
        out.status.success() && !out.stdout.is_empty()
    }

    /// A hook of the remote that says no to refs that match the shell pattern.
    pub(crate) fn refuse(&self, pattern: &str) {
        let hook = self.remote().join("hooks/update");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, format!("#!/bin/sh\ncase $1 in {pattern}) echo 'not here, please' >&2; exit 1;; esac\n")).unwrap();
        executable(&hook);
    }

    /// Refuses every push, and notes the refs of each.
    pub(crate) fn refuse_and_count(&self) {
        let hook = self.remote().join("hooks/pre-receive");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, format!("#!/bin/sh\ncat >>{}\necho 'not today' >&2\nexit 1\n", self.path("pushes").display())).unwrap();
        executable(&hook);
    }

    /// How often a push to `name` came to the remote that refuses and counts.
    pub(crate) fn refused(&self, name: &str) -> usize {
        std::fs::read_to_string(self.path("pushes")).unwrap_or_default().lines().filter(|line| line.contains(name)).count()
    }

    /// The clock stands where refused pushes may be tried again.
    pub(crate) fn let_the_refusal_end(&self) {
        let file = self.dir().join(".git/tagalong/refused");
        let text = std::fs::read_to_string(&file).unwrap();
        let old = text.lines().map(|line| line.split_once(' ').unwrap().1).fold(String::new(), |old, rest| old + "1 " + rest + "\n");
        assert_ne!(old, text);
        std::fs::write(file, old).unwrap();
    }

    pub(crate) fn take_all(&self) {
        std::fs::remove_file(self.remote().join("hooks/update")).unwrap();
    }
}

/// The settings of a dataset below `root`.
pub(crate) fn settings(root: &Path, git: &str) -> config::Dataset {
    config::Dataset {
        name: DatasetName::parse("data").unwrap(),
        dir: root.join("data"),
        state: root.join("state"),
        remote: format!("file://{}", root.join("remote.git").display()),
        branch: "main".to_owned(),
        committer_name: "data bot".to_owned(),
        committer_email: "bot@data.invalid".to_owned(),
        fetch_deadline: PATIENCE,
        push_deadline: PATIENCE,
        local_deadline: PATIENCE,
        publish: config::Publish::InPlace,
        push_untracked: false,
        git: config::Git {
            program: git.to_owned(),
            path: std::env::var("PATH").unwrap(),
            home: root.join("home").display().to_string(),
            confine: config::Confine::Always,
        },
        ssh_key_file: None,
        ssh_known_hosts_file: None,
        login: None,
        mask: Arc::default(),
    }
}

/// In memory: the suites run side by side on slow disks.
fn memory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

pub(crate) fn executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Waits until `holds`.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
