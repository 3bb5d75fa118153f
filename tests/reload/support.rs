//! A remote, a checkout, an app over it, and a server that follows.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use tagalong::app::App;
use tagalong::config::Config;

/// No wait of a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// What calls of `/api/_internal/reload-data` show.
pub(crate) const SECRET: &str = "the-reload-secret-of-the-tests";

/// Waits until `look` finds something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a program to its end.
#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
pub(crate) fn program(program: &str, args: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).stdin(Stdio::null());
    command.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.com")]);
    command.envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@example.com"), ("LC_ALL", "C")]);
    command.output().unwrap()
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let done = program("git", args, dir);
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// Commits `files` in a checkout and returns the commit.
pub(crate) fn commit(dir: &Path, files: &[(&str, &str)]) -> String {
    for (name, text) in files {
        let file = dir.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    // Anybody who writes into a checkout that is followed waits for git's own lock.
    let began = Instant::now();
    for args in [&["add", "--all"] as &[&str], &["commit", "--quiet", "--message", "edit"]] {
        loop {
            let done = program("git", args, dir);
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            if done.status.success() {
                break;
            }
            assert!(said.contains(".lock") && began.elapsed() < PATIENCE, "git {args:?}: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    git(dir, &["rev-parse", "HEAD"])
}

/// A folder with a remote and somebody who pushes to it.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// The remote has one commit.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let place = Self { dir };
        git(place.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"]);
        git(place.path(), &["clone", "--quiet", "remote.git", "writer"]);
        git(&place.writer(), &["checkout", "--quiet", "-B", "main"]);
        place.push(&[("notes/one.md", "the first note\n")]);
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn writer(&self) -> PathBuf {
        self.path().join("writer")
    }

    pub(crate) fn remote(&self) -> PathBuf {
        self.path().join("remote.git")
    }

    /// Somebody pushes a commit; it is returned.
    pub(crate) fn push(&self, files: &[(&str, &str)]) -> String {
        let commit = commit(&self.writer(), files);
        git(&self.writer(), &["push", "--quiet", "origin", "main"]);
        commit
    }

    /// The remote's tip.
    pub(crate) fn tip(&self) -> String {
        git(&self.remote(), &["rev-parse", "refs/heads/main"])
    }

    /// The remote cannot be reached while the answer lives.
    pub(crate) fn unplug(&self) -> Unplugged {
        let (here, away) = (self.remote(), self.path().join("away.git"));
        std::fs::rename(&here, &away).unwrap();
        Unplugged { here, away }
    }

    /// A git that notes every call of it.
    pub(crate) fn counting_git(&self) -> PathBuf {
        let file = self.path().join("counting-git");
        let log = self.path().join("git.log");
        std::fs::write(&log, "").unwrap();
        std::fs::write(&file, format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >>'{}'\nexec git \"$@\"\n", log.display())).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    /// How often the counting git was asked to `verb`.
    pub(crate) fn calls(&self, verb: &str) -> usize {
        let log = std::fs::read_to_string(self.path().join("git.log")).unwrap();
        log.lines().filter(|line| line.split(' ').any(|word| word == verb)).count()
    }
}

/// Plugged in again when dropped.
pub(crate) struct Unplugged {
    here: PathBuf,
    away: PathBuf,
}

impl Unplugged {
    /// Where it is meanwhile.
    pub(crate) fn away(&self) -> &str {
        self.away.to_str().unwrap()
    }
}

impl Drop for Unplugged {
    fn drop(&mut self) {
        std::fs::rename(&self.away, &self.here).unwrap();
    }
}

/// The example, built.
fn example() -> &'static Path {
    static EXAMPLE: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLE.get_or_init(|| {
        let built = Path::new(env!("CARGO_BIN_EXE_tagalong")).with_file_name("examples").join("searchable");
        // With a part of the tests chosen, examples are not built by themselves. The whole workspace has the features that the tests
        // were built with, and a dependency is built anew if a variable that cargo gives to tests stands in its environment; so nothing
        // else is compiled again.
        let args = ["build", "--quiet", "--locked", "--workspace", "--example", "searchable"];
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let of_a_test = names.filter(|name| ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|begin| name.starts_with(begin)));
        let mut words: Vec<String> = of_a_test.flat_map(|name| ["-u".to_owned(), name]).collect();
        words.push(env!("CARGO").to_owned());
        let words: Vec<&str> = words.iter().map(String::as_str).chain(args).collect();
        let done = program("env", &words, Path::new(env!("CARGO_MANIFEST_DIR")));
        assert!(done.status.success() && built.exists(), "the example: {}", String::from_utf8_lossy(&done.stderr));
        built
    })
}

/// The app over a dataset, running.
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
}

impl Running {
    /// Starts the app over `data`; when this returns, it answers.
    #[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
    pub(crate) async fn app(data: &Path, listen: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port_file = folder.path().join("port");
        let mut command = Command::new(example());
        command.arg("--data").arg(data).args(["--listen", listen]).arg("--port-file").arg(&port_file);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let port = until("the app's port", async || std::fs::read_to_string(&port_file).ok()?.parse().ok()).await;
        Self { child, port }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn version(&self) -> Value {
        http().get(self.url("/version")).send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn commit(&self) -> String {
        self.version().await["commit"].as_str().unwrap().to_owned()
    }

    /// The files that hold `word`.
    pub(crate) async fn search(&self, word: &str) -> Value {
        let answer: Value = http().get(self.url(&format!("/search?q={word}"))).send().await.unwrap().json().await.unwrap();
        answer["files"].clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of configuration for a server.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    /// Further lines of `[server]`.
    pub(crate) server: String,
    /// Further lines of `[dataset.notes]`.
    pub(crate) dataset: String,
    /// Further tables.
    pub(crate) tables: String,
}

impl Plan {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, server: String::new(), dataset: "interval_s = 0".to_owned(), tables: String::new() }
    }

    pub(crate) fn dataset(mut self, line: &str) -> Self {
        self.dataset = format!("{}\n{line}", self.dataset);
        self
    }

    pub(crate) fn table(mut self, lines: &str) -> Self {
        self.tables = format!("{}\n{lines}\n", self.tables);
        self
    }

    /// The app is told by a call and asked by another.
    pub(crate) fn over(self, app: &Running) -> Self {
        let (reload, version) = (app.url("/reload"), app.url("/version"));
        self.table(&format!(
            "[dataset.notes.on_change]\nurl = \"{reload}\"\n[dataset.notes.verify]\nurl = \"{version}\"\njson = \"/commit\"\nwithin_s = 20"
        ))
    }

    /// Takes calls of `/api/_internal/reload-data`.
    pub(crate) fn with_secret(self, place: &Place) -> Self {
        std::fs::write(place.path().join("reload.secret"), format!("{SECRET}\n")).unwrap();
        self.dataset("reload_secret_file = \"reload.secret\"")
    }

    pub(crate) fn checkout(&self, place: &Place) -> PathBuf {
        place.path().join(format!("{}-checkout", self.name))
    }

    /// Writes the configuration and returns its path.
    pub(crate) fn write(&self, place: &Place) -> PathBuf {
        let file = place.path().join(format!("{}.toml", self.name));
        let listen = if self.server.contains("listen") { "" } else { "listen = [\"127.0.0.1:0\"]" };
        let text = format!(
            "version = 1\n[server]\n{listen}\nsocket = \"{name}.sock\"\ndata_dir = \"{name}-data\"\nlog_level = \"info,tagalong=debug\"\nfailed_attempts_per_min = 100000\n{server}\n\
             [dataset.notes]\ndir = \"{name}-checkout\"\nremote = \"file://{remote}\"\n{dataset}\n{tables}\n",
            name = self.name,
            server = self.server,
            remote = place.remote().display(),
            dataset = self.dataset,
            tables = self.tables,
        );
        std::fs::write(&file, text).unwrap();
        file
    }
}

/// A server in this process.
pub(crate) struct Server {
    app: Option<App>,
    pub(crate) file: PathBuf,
    pub(crate) http: reqwest::Client,
    over_socket: reqwest::Client,
}

/// One client for all: making one takes longer than most calls.
fn http() -> reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap()).clone()
}

impl Server {
    pub(crate) async fn start(file: PathBuf) -> Self {
        let app = App::start(Config::load(&file).unwrap()).await.unwrap();
        let over_socket = reqwest::Client::builder().unix_socket(file.with_extension("sock")).pool_max_idle_per_host(0).build().unwrap();
        Self { app: Some(app), file, http: http(), over_socket }
    }

    pub(crate) fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app().addresses()[0])
    }

    /// Calls `/api/_internal/reload-data` as a workflow does.
    pub(crate) async fn reload_data(&self, body: &Value) -> (u16, Value) {
        let call = self.http.post(self.url("/api/_internal/reload-data")).bearer_auth(SECRET).json(body);
        let answer = call.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// A call over the socket, where everything is allowed.
    pub(crate) async fn local(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut call = self.over_socket.request(method, format!("http://tagalong{path}"));
        if let Some(body) = body {
            call = call.json(body);
        }
        let answer = call.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn reload(&self, more: &Value) -> (u16, Value) {
        let mut body = json!({ "dataset": "notes" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.local(reqwest::Method::POST, "/api/v1/reloads", Some(&body)).await
    }

    pub(crate) async fn dataset(&self) -> Value {
        let (status, shown) = self.local(reqwest::Method::GET, "/api/v1/datasets/notes", None).await;
        assert_eq!(status, 200, "{shown}");
        shown
    }

    /// Waits until the dataset is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, async || Some(self.dataset().await).filter(&wanted)).await
    }

    /// Waits until the commit is loaded.
    pub(crate) async fn until_loaded(&self, commit: &str) -> Value {
        self.until(&format!("{commit} to be loaded"), |shown| shown["loaded"] == commit).await
    }

    pub(crate) async fn metrics(&self) -> String {
        self.over_socket.get("http://tagalong/metrics").send().await.unwrap().text().await.unwrap()
    }

    pub(crate) async fn stop(mut self) {
        self.app.take().unwrap().stop().await;
    }
}

/// `value` with what differs from run to run as `*`.
pub(crate) fn masked(mut value: Value) -> Value {
    fn mask(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    if matches!(name.as_str(), "traceId" | "durationMs") {
                        assert!(field.is_u64() || field.as_str().is_some_and(|id| id.len() == 26), "{name}: {field}");
                        *field = "*".into();
                    }
                    mask(field);
                }
            }
            Value::Array(all) => all.iter_mut().for_each(mask),
            _ => {}
        }
    }
    mask(&mut value);
    value
}

/// The binary, as a process.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    #[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
    pub(crate) fn start(config: &Path, args: &[&str]) -> Self {
        let log = config.with_extension(format!("{}.log", args[0]));
        let file = std::fs::File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagalong"));
        command.arg("--config").arg(config).args(args).current_dir(config.parent().unwrap());
        let child = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Ends it at once, with nothing of its own.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn terminate(mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        until("the process to end", async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the binary to its end and returns its exit code and all that it said.
pub(crate) fn tagalong(config: &Path, args: &[&str]) -> (i32, String) {
    let all = [&["--config", config.to_str().unwrap()], args].concat();
    let done = program(env!("CARGO_BIN_EXE_tagalong"), &all, config.parent().unwrap());
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    (done.status.code().unwrap_or(-1), said)
}
