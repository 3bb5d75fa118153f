//! The program under test as a child process, how it is called, and how things are waited for.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

/// Longer than anything takes here that will happen at all.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_mins(1);

/// Waits until `look` sees something.
pub(crate) async fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until `holds`.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_some(what, || holds().then_some(())).await;
}

/// Runs a program of the host and gives what it wrote; it must end well.
pub(crate) fn host(program: &str, args: &[&str]) -> String {
    let ran = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(ran.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}

/// `tagalong serve` over `DIR/tagalong.toml`, listening at the socket `DIR/s`; it is killed with this value.
pub(crate) struct Server {
    child: Child,
    http: reqwest::Client,
    log: PathBuf,
}

impl Server {
    /// Starts it and waits until it answers.
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_by(dir, Command::new(env!("CARGO_BIN_EXE_tagalong"))).await
    }

    /// The same, where it may have so many files open and no more.
    pub(crate) async fn start_with_open_files(dir: &Path, limit: u32) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_tagalong")]);
        Self::start_by(dir, command).await
    }

    /// The same with a variable in its environment.
    pub(crate) async fn start_with_env(dir: &Path, name: &str, value: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagalong"));
        command.env(name, value);
        Self::start_by(dir, command).await
    }

    async fn start_by(dir: &Path, mut command: Command) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let log = dir.join("serve.log");
        let writer = File::options().create(true).append(true).open(&log).expect("a log");
        let socket = dir.join("s");
        let _ = std::fs::remove_file(&socket);
        let child = command
            .args(["serve", "--config"])
            .arg(dir.join("tagalong.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(writer)
            .spawn()
            .expect("tagalong starts");
        let http = reqwest::Client::builder()
            .unix_socket(socket.clone())
            .pool_idle_timeout(tagalong::api::IDLE_CONNECTION / 2)
            .timeout(ANSWER)
            .build()
            .expect("a client");
        let mut server = Self { child, http, log };
        until("tagalong listens", || {
            let ended = server.child.try_wait().expect("a child");
            assert!(ended.is_none(), "tagalong ended at once: {}", server.log());
            // The file is there a moment before the server listens.
            UnixStream::connect(&socket).is_ok()
        })
        .await;
        server
    }

    /// What a server says that does not start.
    pub(crate) fn refuses_to_start(config: &Path) -> String {
        let ran = Command::new(env!("CARGO_BIN_EXE_tagalong")).arg("serve").arg("--config").arg(config).output().expect("it runs");
        assert!(!ran.status.success());
        String::from_utf8_lossy(&ran.stderr).into_owned()
    }

    /// What it has written.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as a power cut would: SIGKILL, and nothing else that it started.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it lives until now");
        self.child.wait().expect("a child");
    }

    /// Ends it as systemd does.
    pub(crate) fn stop(mut self) {
        host("kill", &["-TERM", &self.child.id().to_string()]);
        assert!(self.child.wait().expect("a child").success());
    }

    /// The same, and the value stays.
    pub(crate) fn kill_now(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_some())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it where it is, and nothing that it has started.
    pub(crate) fn freeze(&self) {
        host("kill", &["-STOP", &self.pid().to_string()]);
    }

    /// Its process id where it is stopped.
    pub(crate) fn stopped(&self) -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')).then(|| self.pid())
    }

    /// Status and body of a GET.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.http.get(format!("http://tagalong{path}")).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("GET {path}: {error:?}; {}", self.log()));
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"))
    }

    /// Status and body of a GET whose answer is no JSON.
    pub(crate) async fn get_text(&self, path: &str) -> (u16, String) {
        let answer = self.http.get(format!("http://tagalong{path}")).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }

    /// Status and body of a POST.
    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let call = self.http.post(format!("http://tagalong{path}")).header("content-type", "application/json");
        let answer = call.body(body.to_string()).send().await.expect("an answer");
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"))
    }

    /// [`Server::get`] of one that may not answer.
    pub(crate) async fn try_get(&self, path: &str) -> Option<(u16, Value)> {
        let answer = self.http.get(format!("http://tagalong{path}")).send().await.ok()?;
        Some((answer.status().as_u16(), serde_json::from_str(&answer.text().await.ok()?).ok()?))
    }

    /// [`Server::post`] to one that may not answer, or not soon.
    pub(crate) async fn try_post(&self, path: &str, body: Value) -> Option<(u16, Value)> {
        let call = self.http.post(format!("http://tagalong{path}")).header("content-type", "application/json");
        let answer = call.body(body.to_string()).timeout(Duration::from_secs(10)).send().await.ok()?;
        Some((answer.status().as_u16(), serde_json::from_str(&answer.text().await.ok()?).ok()?))
    }

    /// The whole journal of an ended deployment.
    pub(crate) async fn journal(&self, id: &str) -> String {
        self.text(&format!("/api/v1/deployments/{id}/log")).await
    }

    /// The text that is answered for a path.
    pub(crate) async fn text(&self, path: &str) -> String {
        let answer = self.http.get(format!("http://tagalong{path}")).send().await.expect("an answer");
        answer.text().await.expect("a body")
    }

    /// What the journal holds by now.
    pub(crate) async fn journal_so_far(&self, id: &str) -> String {
        self.text(&format!("/api/v1/deployments/{id}/log?follow=false")).await
    }

    /// Orders something and gives its id; it must be accepted.
    pub(crate) async fn order(&self, path: &str, body: Value) -> String {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 202, "{answer}");
        answer["id"].as_str().expect("an id").to_owned()
    }

    /// Orders `tag` and gives the deployment's id and its read token.
    pub(crate) async fn deploy_with_token(&self, tag: &str) -> (String, String) {
        let call = self.http.post("http://tagalong/api/v1/deployments").body(json!({"service": "web", "tag": tag}).to_string());
        let answer = call.send().await.expect("an answer");
        let token = answer.headers()[tagalong::api::READ_TOKEN_HEADER].to_str().expect("a text").to_owned();
        let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        (body["id"].as_str().expect("an id").to_owned(), token)
    }

    /// Orders `tag` and gives the deployment's id.
    pub(crate) async fn deploy(&self, tag: &str) -> String {
        self.order("/api/v1/deployments", json!({"service": "web", "tag": tag})).await
    }

    /// Orders a rollback and gives the deployment's id.
    pub(crate) async fn roll_back(&self, to: Value) -> String {
        self.order("/api/v1/rollbacks", json!({"service": "web", "to": to})).await
    }

    /// A deployment as it is now.
    pub(crate) async fn show(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/deployments/{id}")).await.1
    }

    /// A deployment when it has ended.
    pub(crate) async fn outcome(&self, id: &str) -> Value {
        let began = Instant::now();
        loop {
            let shown = self.show(id).await;
            if shown["state"] == "done" {
                return shown;
            }
            assert!(began.elapsed() < PATIENCE, "{id} does not end: {shown}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
