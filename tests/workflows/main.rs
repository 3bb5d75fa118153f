//! The shipped workflows, with everything that comes from outside gone bad: each input and variable of each of them, and each
//! field that a server answers with. Nothing of it may be run, and nothing may reach the runner as a command.
//!
//! The scripts are taken out of the files and run by bash as a runner does it; one is run by the real runner `act` as well.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests end at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "tests run programs")]

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;

use saphyr::LoadableYamlNode as _;
use saphyr::Yaml;

const TOKEN: &str = "read-token";
const SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The step of a workflow that runs a script: its environment's names, and the script.
fn step(file: &str) -> (Vec<String>, String) {
    let text = std::fs::read_to_string(root().join("workflows").join(file)).unwrap();
    let document = Yaml::load_from_str(&text).unwrap().remove(0);
    let jobs = document.as_mapping_get("jobs").and_then(Yaml::as_mapping).unwrap();
    let steps = jobs.iter().flat_map(|(_, job)| job.as_mapping_get("steps").and_then(Yaml::as_sequence).into_iter().flatten());
    let step = steps.into_iter().find(|step| step.as_mapping_get("run").is_some()).unwrap();
    let names = step.as_mapping_get("env").and_then(Yaml::as_mapping).unwrap().iter().map(|(name, _)| name.as_str().unwrap().to_owned());
    let script = step.as_mapping_get("run").and_then(Yaml::as_str).unwrap();
    assert!(!script.contains("${{"), "{file}: an expression stands in a script");
    (names.collect(), script.to_owned())
}

/// What is said instead of something good: each would run a command or forge one somewhere. `canary` is a file that it makes.
fn hostile(canary: &Path) -> Vec<String> {
    let touch = format!("touch {}", canary.display());
    vec![
        format!("a[$({touch})]"),
        format!("x[`{touch}`]+1"),
        format!("1;{touch};$({touch})`{touch}`\n::set-output name=forged::yes\r\n##[set-env name=FORGED]yes\n::add-mask::a\n"),
        format!(
            "%0A::set-output name=forged::$({touch})%0D%0A::stop-commands::x ##[add-path]/tmp \\n::error::forged \\\"${{IFS}}'|{touch}#"
        ),
    ]
}

/// What a server answers an order and its journal with, and a call to reload.
#[derive(Clone)]
struct Answers {
    status: u16,
    headers: String,
    body: String,
    /// The events of the journal.
    events: String,
}

impl Answers {
    fn good() -> Self {
        Self {
            status: 202,
            headers: format!("Location: /api/v1/deployments/d1\r\nTagalong-Read-Token: {TOKEN}\r\n"),
            body: "{\"id\":\"d1\"}".into(),
            events: event("", "1", "{\"kind\":\"step\",\"text\":\"up\"}")
                + &event("outcome", "2", "{\"outcome\":\"live\",\"summary\":\"verified\"}"),
        }
    }
}

fn event(name: &str, id: &str, data: &str) -> String {
    format!("id: {id}\r\nevent: {name}\r\ndata: {data}\r\n\r\n")
}

/// A server of somebody else: it answers as it is told.
struct Server {
    port: u16,
    answers: Arc<Mutex<Answers>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, answers) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Answers::good())));
        let told = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let told = Arc::clone(&told);
                std::thread::spawn(move || answer(stream, &told));
            }
        });
        Self { port, answers }
    }
}

fn answer(mut stream: TcpStream, told: &Mutex<Answers>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    while reader.read_line(&mut head).unwrap_or(0) > 2 {
        let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
        length = line.strip_prefix("content-length: ").map_or(length, |value| value.parse().unwrap());
    }
    let _ = reader.read_exact(&mut vec![0; length]);
    let mut answers = told.lock().unwrap();
    let text = if head.starts_with("GET") {
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{}", answers.events)
    } else {
        let (length, body) = (answers.body.len(), answers.body.clone());
        let text =
            format!("HTTP/1.1 {} X\r\n{}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}", answers.status, answers.headers);
        if answers.status == 503 {
            // Trouble passes.
            *answers = Answers::good();
        }
        text
    };
    let _ = stream.write_all(text.as_bytes());
}

/// A run of one script; what it leaves is judged when it has ended.
struct Run {
    dir: tempfile::TempDir,
    what: String,
}

impl Run {
    fn new(what: String) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), what }
    }

    fn canary(&self) -> PathBuf {
        self.dir.path().join("canary")
    }

    /// Runs it as a runner does and judges what it left; gives its output back.
    fn go(&self, script: &str, env: &BTreeMap<String, String>) -> String {
        let (file, output, summary) = (self.dir.path().join("script"), self.dir.path().join("output"), self.dir.path().join("summary"));
        for file in [&output, &summary] {
            std::fs::write(file, "").unwrap();
        }
        std::fs::write(&file, script).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_tagalong")).parent().unwrap();
        let ran = Command::new("bash")
            .args(["--noprofile", "--norc", "-eo", "pipefail"])
            .arg(&file)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", program.display()))
            .env("HOME", self.dir.path())
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_STEP_SUMMARY", &summary)
            .env("GITHUB_RUN_ID", "77")
            .envs(env)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let log = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        self.judge(&log);
        let outputs = std::fs::read_to_string(output).unwrap();
        for line in outputs.lines() {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{}: {outputs}", self.what));
            let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            assert!(["deployment", "outcome"].contains(&name) && plain, "{}: {outputs}", self.what);
        }
        assert!(outputs.lines().count() <= 2, "{}: {outputs}", self.what);
        let summary = std::fs::read_to_string(summary).unwrap();
        if env.contains_key("ORDER") && !summary.is_empty() {
            let lines: Vec<&str> = summary.lines().collect();
            assert!(lines.len() == 2 && lines[0].starts_with("<h3>") && lines[1].starts_with("<pre>"), "{}: {summary}", self.what);
        }
        log
    }

    /// Reads the log as the runner does: `::name…::` begins a line, `##[name]` may stand anywhere in one, and nothing counts
    /// between a "stop-commands" and its word.
    fn judge(&self, log: &str) {
        assert!(!self.canary().exists(), "{}: it was run: {log}", self.what);
        let mut stopped: Option<String> = None;
        for line in log.split(['\n', '\r']).map(str::trim) {
            if let Some(word) = &stopped {
                if line == format!("::{word}::") {
                    stopped = None;
                }
                continue;
            }
            if let Some(command) = line.strip_prefix("::") {
                let name = command.split([' ', ':']).next().unwrap();
                assert!(["error", "warning", "notice", "stop-commands"].contains(&name), "{}: {line}", self.what);
                if let Some(word) = command.strip_prefix("stop-commands::") {
                    assert!(word.len() >= 32, "{}: a word that can be guessed: {word}", self.what);
                    stopped = Some(word.to_owned());
                } else {
                    assert!(command.contains("title="), "{}: a forged annotation: {line}", self.what);
                }
            } else {
                assert!(!line.contains("##["), "{}: {line}", self.what);
            }
        }
        assert_eq!(stopped, None, "{}: commands stay stopped", self.what);
        assert!(!log.contains(&SECRET[6..]), "{}: the secret is shown", self.what);
    }
}

fn good(server: &Server) -> BTreeMap<String, String> {
    let address = format!("http://127.0.0.1:{}", server.port);
    let sha = "0123456789abcdef0123456789abcdef01234567";
    let values = [
        ("ORDER", "deployments"),
        ("SERVICE", "web"),
        ("TAG", "1f0c9e2"),
        ("REASON", ""),
        ("COMMIT", sha),
        ("REF", "refs/heads/main"),
        ("RUN_URL", "https://forge.test/acme/web/actions/runs/7"),
        ("RUN_NUMBER", "7"),
        ("TIMEOUT_MINUTES", "1"),
        ("TAGALONG_SECRET", SECRET),
        ("TAGALONG_URL", &address),
        ("URLS", &address),
        ("SECRET", "reload-secret"),
        ("PLAIN_HTTP", ""),
        ("BRANCH", "main"),
        ("URL", "http://127.0.0.1:1/"),
        ("RELEASE", ""),
        ("BROWSER", ""),
        ("FLAGS", "--within-s 0 --timeout-s 2"),
    ];
    values.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn workflows() -> Vec<String> {
    let names = ["deploy", "rollback", "smoke", "notify-pods"];
    let all: Vec<String> = ["github", "forgejo"].iter().flat_map(|forge| names.map(|name| format!("{forge}/{name}.yml"))).collect();
    let there = ["github", "forgejo"].iter().flat_map(|forge| std::fs::read_dir(root().join("workflows").join(forge)).unwrap()).count();
    assert_eq!(all.len(), there, "a workflow is not tested");
    all
}

#[test]
fn no_input_is_run_or_taken_for_a_command() {
    let server = Server::start();
    for file in workflows() {
        let (names, script) = step(&file);
        let constant = file.contains("deploy") || file.contains("rollback");
        for name in names.iter().filter(|name| !(constant && *name == "ORDER")) {
            for at in 0..hostile(Path::new("/")).len() {
                let run = Run::new(format!("{file} {name} {at}"));
                let mut env: BTreeMap<String, String> = good(&server).into_iter().filter(|(name, _)| names.contains(name)).collect();
                if file.contains("rollback") {
                    env.insert("ORDER".into(), "rollbacks".into());
                }
                let bad = hostile(&run.canary()).remove(at);
                // Behind what makes it pass the first look as well.
                for bad in [bad.clone(), format!("{}{bad}", env[name])] {
                    env.insert(name.clone(), bad);
                    run.go(&script, &env);
                }
            }
        }
    }
}

/// What a server can say, each in a field of its own.
const FIELDS: [&str; 15] = [
    "detail of a refusal",
    "detail of a fault",
    "detail of a trouble",
    "retry-after",
    "location",
    "token",
    "text of a note",
    "text of a warning",
    "text of an error",
    "kind",
    "state",
    "summary",
    "outcome",
    "id of an event",
    "name of an event",
];

/// Good answers, but for `field`, which says `bad`.
fn saying(field: &str, bad: &str) -> Answers {
    let good = Answers::good();
    let (quoted, line) = (format!("{bad:?}").replace("\\'", "'"), bad.replace(['\r', '\n'], " "));
    let journal = |name: &str, id: &str, data: String| Answers { events: event(name, id, &data) + &good.events, ..good.clone() };
    let said =
        |status: u16| Answers { status, headers: "Retry-After: 1\r\n".into(), body: format!("{{\"detail\":{quoted}}}"), ..good.clone() };
    let headers = |headers: String| Answers { headers, ..good.clone() };
    match field {
        "detail of a refusal" => said(422),
        "detail of a fault" => said(404),
        "detail of a trouble" => said(503),
        "retry-after" => Answers { status: 503, ..headers(format!("Retry-After: {line}\r\n")) },
        "location" => headers(format!("Location: /x/{line}\r\nTagalong-Read-Token: {TOKEN}\r\n")),
        "token" => headers(format!("Location: /x/d1\r\nTagalong-Read-Token: {line}\r\n")),
        "kind" => journal("line", "1", format!("{{\"kind\":{quoted},\"text\":\"x\"}}")),
        "state" => journal("line", "1", format!("{{\"state\":{quoted},\"kind\":\"step\",\"text\":\"x\"}}")),
        "summary" => journal("outcome", "1", format!("{{\"outcome\":\"failed\",\"summary\":{quoted}}}")),
        "outcome" => journal("outcome", "1", format!("{{\"outcome\":{quoted},\"summary\":\"x\"}}")),
        "id of an event" => journal("line", &line, "{\"kind\":\"note\",\"text\":\"x\"}".into()),
        "name of an event" => journal(&line, "1", "{}".into()),
        text => {
            let kind = text.rsplit(' ').next().unwrap();
            journal("line", "1", format!("{{\"kind\":\"{kind}\",\"text\":{quoted}}}"))
        }
    }
}

#[test]
fn no_answer_is_run_or_taken_for_a_command() {
    let server = Server::start();
    let (names, script) = step("github/deploy.yml");
    let env: BTreeMap<String, String> = good(&server).into_iter().filter(|(name, _)| names.contains(name)).collect();
    let told = |field: &str, run: &Run, bad: &str| {
        *server.answers.lock().unwrap() = saying(field, bad);
        run.go(&script, &env)
    };
    for field in FIELDS {
        for at in 0..hostile(Path::new("/")).len() {
            let run = Run::new(format!("{field} {at}"));
            told(field, &run, &hostile(&run.canary())[at]);
        }
    }
    for number in ["08", "0x10", "-1"] {
        let log = told("retry-after", &Run::new("retry-after".into()), number);
        assert!(log.contains("::notice title="), "{number}: {log}");
        assert!(number != "08" || log.contains("trying again in 8 s"), "{log}");
    }
}

/// A finding stands in the log once, as its annotation, and the last annotation does not repeat it.
#[test]
fn a_finding_is_said_once() {
    let server = Server::start();
    let (names, script) = step("github/deploy.yml");
    let env: BTreeMap<String, String> = good(&server).into_iter().filter(|(name, _)| names.contains(name)).collect();
    let finding = "blocked_asset: Browsers do not load http://a.test/a.css";
    let outcome = format!(
        "{{\"outcome\":\"rolled_back\",\"why\":\"{finding}. (and 1 more)\",\"summary\":\"rolled back, v1 was restored: {finding}. (and 1 more)\"}}"
    );
    let events = event("", "1", &format!("{{\"kind\":\"error\",\"text\":\"{finding} (new since v1). Write https.\"}}"))
        + &event("", "2", "{\"kind\":\"step\",\"text\":\"undo\"}")
        + &event("outcome", "3", &outcome);
    *server.answers.lock().unwrap() = Answers { events, ..Answers::good() };
    let log = Run::new("a finding".into()).go(&script, &env);
    assert_eq!(log.matches(finding).count(), 1, "{log}");
    assert!(log.contains(&format!("::error title=tagalong%3A web 1f0c9e2::{finding} (new since v1). Write https.\n")), "{log}");
    assert!(log.contains("::error title=tagalong%3A web 1f0c9e2::rolled back, v1 was restored\n"), "{log}");
}

#[test]
fn no_answer_to_a_reload_is_run_or_taken_for_a_command() {
    let server = Server::start();
    let (names, script) = step("github/notify-pods.yml");
    let env: BTreeMap<String, String> = good(&server).into_iter().filter(|(name, _)| names.contains(name)).collect();
    for at in 0..hostile(Path::new("/")).len() {
        let run = Run::new(format!("the answer to a reload {at}"));
        *server.answers.lock().unwrap() = Answers { status: 200, body: hostile(&run.canary()).remove(at), ..Answers::good() };
        let log = run.go(&script, &env);
        assert!(log.contains("server http://127.0.0.1:"), "{log}");
    }
}

/// The secret of a reload is a bearer token: it goes to another machine unencrypted only where that is said.
#[test]
fn a_reload_secret_is_not_sent_in_the_clear() {
    let server = Server::start();
    for file in ["github/notify-pods.yml", "forgejo/notify-pods.yml"] {
        let (names, script) = step(file);
        let mut env: BTreeMap<String, String> = good(&server).into_iter().filter(|(name, _)| names.contains(name)).collect();
        let port = server.port;
        for (urls, said, is_refused) in [
            // It leads here as well, and nobody can know that by looking at it.
            (format!("http://0.0.0.0:{port}/"), "", true),
            (format!("http://0.0.0.0:{port}/"), "yes", true),
            (format!("http://0.0.0.0:{port}/"), "true", false),
            (format!("http://127.0.0.1.pods.invalid:{port}/"), "", true),
            (format!("http://localhost@0.0.0.0:{port}/"), "", true),
            (format!("http://localhost:{port}"), "", false),
            (format!("http://127.0.0.1:{port}/"), "", false),
            (format!("https://127.0.0.1:{port}/"), "", false),
        ] {
            env.insert("URLS".into(), urls.clone());
            env.insert("PLAIN_HTTP".into(), said.into());
            let log = Run::new(format!("{file} {urls} {said}")).go(&script, &env);
            assert_eq!(log.contains("uses plain http, so"), is_refused, "{urls} {said}: {log}");
            assert_eq!(log.contains(&format!("server {urls}: ")), !is_refused, "{urls} {said}: {log}");
        }
    }
}

/// The runner itself: what it made of an input that would run a command is a red job and nothing else.
#[test]
fn a_real_runner_runs_no_input() {
    let server = Server::start();
    for (input, ends_well) in [("timeout_minutes", false), ("reason", true)] {
        let run = Run::new(format!("act {input}"));
        for bad in hostile(&run.canary()).into_iter().filter(|bad| !bad.contains('\n')) {
            let ran = Command::new(root().join("tests/rig/workflow.sh"))
                .arg(root().join("workflows/github/deploy.yml"))
                .args(["service=web", "tag=1f0c9e2", &format!("{input}={bad}")])
                .env("TAGALONG_URL", format!("http://127.0.0.1:{}", server.port))
                .env("TAGALONG_SECRET", SECRET)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let log = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            assert!(!run.canary().exists(), "{log}");
            assert_eq!(ran.status.success(), ends_well, "{log}");
            assert!(!log.contains("::set-output:: forged") && !log.contains("set-env"), "{log}");
        }
    }
}
