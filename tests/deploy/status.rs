//! What `tagalong status` says of a stack that is broken in every way a host knows, on Docker itself: the first word, why, and
//! the command that mends it, which is then carried out.
//!
//! The table in `docs/operations.md` is compared with what was seen; `WRITE_DOCUMENTS=1` writes it anew.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;
use std::time::Instant;

use regex::Regex;
use serde_json::json;

use crate::real::Daemon;
use crate::real::Docker;
use crate::real::Images;
use crate::real::Site;
use crate::real::is_outcome;
use crate::support::host;
use crate::support::until;

/// Everything is done by then, also where others use the machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the command line said.
struct Said {
    code: i32,
    text: String,
}

impl Said {
    fn word(&self) -> &str {
        self.text.split_whitespace().next().unwrap_or_default()
    }

    /// The second column behind `name`.
    fn fact(&self, name: &str) -> String {
        let line = self.text.lines().find_map(|line| line.strip_prefix(&format!("  {name:<10} ")));
        line.unwrap_or_default().to_owned()
    }

    fn command(&self) -> String {
        let mend = self.fact("mend");
        if mend.is_empty() { self.fact("next") } else { mend }
    }
}

fn tagalong(site: &Site, args: &[&str]) -> Said {
    let socket = site.dir.path().join("s");
    let ran = Command::new(env!("CARGO_BIN_EXE_tagalong")).args(args).arg("--socket").arg(socket).output().expect("it runs");
    let text = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    Said { code: ran.status.code().unwrap_or(-1), text }
}

/// What was seen, as rows of the table.
#[derive(Default)]
struct Board(Vec<String>);

impl Board {
    /// Waits until the status of `site` begins with `word`, says `why` and names `command`, in which `SERVICE` is the service;
    /// notes it as the row of `state`.
    async fn shows(&mut self, site: &Site, state: &str, [word, why, command]: [&str; 3]) -> Said {
        let began = Instant::now();
        let command = command.replace("SERVICE", &site.project);
        let said = loop {
            let said = tagalong(site, &["status", &site.project]);
            let is_it = said.word() == word && said.fact("why").contains(why) && said.command().starts_with(&command);
            if is_it {
                break said;
            }
            assert!(began.elapsed() < PATIENCE, "{state}: expected {word}, {why}, {command}; it says:\n{}", said.text);
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let is_bad = ["DOWN", "UNHEALTHY", "DRIFT", "UNKNOWN"].contains(&word);
        assert_eq!(said.code, if is_bad { 20 } else { 0 }, "{}", said.text);
        let name = &site.project;
        assert!(said.text.starts_with(&format!("{word} {name}\n")), "{}", said.text);
        let cells = [said.fact("why"), said.command()].map(|text| plain(site, &text));
        self.0.push(format!("| {state} | `{word}` | {} | {} |", cells[0], code(&cells[1])));
        said
    }

    /// Carries out what `said` names, after which all is well.
    async fn mends(&mut self, site: &Site, said: &Said) {
        let command = said.command();
        let args: Vec<&str> = command.split_whitespace().skip(1).collect();
        let ran = tagalong(site, &args);
        assert_eq!(ran.code, 0, "{command}: {}", ran.text);
        let rows = self.0.len();
        self.shows(site, "mended", ["ok", "", ""]).await;
        self.0.truncate(rows);
    }
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// Without what another run has otherwise.
fn plain(site: &Site, text: &str) -> String {
    static CHANGES: LazyLock<[(Regex, &str); 6]> = LazyLock::new(|| {
        [
            (r"sha256:[0-9a-f]{64}", "sha256:…"),
            (r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "ID"),
            (r"\d+ restarts", "3 restarts"),
            (r"(is unhealthy: ).*?(\.( |$))", "${1}…$2"),
            (r"127\.0\.0\.1:\d+/", "registry.example.com/"),
            (r"answer:? .*|does not answer.*", "does not answer …"),
        ]
        .map(|(pattern, by)| (Regex::new(pattern).unwrap(), by))
    });
    let run = std::process::id().to_string();
    let text = text.replace(&site.project, "site").replace(&format!("-{run}"), "");
    CHANGES.iter().fold(text, |text, (pattern, by)| pattern.replace_all(&text, *by).into_owned())
}

/// A web service that crashes unless the file `stack/switch/ok` is there.
async fn broken_site(images: &Images) -> Site {
    let start = "test -e /switch/ok || exit 3; exec httpd -f -p 80 -h /www";
    let site = Site::make(
        images,
        &Docker { host: None },
        &images.port,
        json!({"command": ["/bin/sh", "-c", start], "volumes": ["./switch:/switch"], "stop_grace_period": "1s"}),
    )
    .await;
    let switch = site.dir.path().join("stack/switch");
    std::fs::create_dir(&switch).expect("a folder");
    std::fs::write(switch.join("ok"), "").expect("a file");
    site
}

fn docker(args: &[&str]) -> String {
    Docker { host: None }.says(args)
}

/// What a person types in the stack's folder.
fn compose(site: &Site, tag: Option<&str>, args: &[&str]) {
    let mut command = Docker { host: None }.command(&[&["compose"], args].concat());
    command.current_dir(site.dir.path().join("stack"));
    if let Some(tag) = tag {
        command.env("SITE_TAG", tag);
    }
    let ran = command.output().expect("it runs");
    assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

fn web(site: &Site) -> String {
    format!("{}-web-1", site.project)
}

/// Nothing was deployed; then one release, and another.
async fn in_the_beginning(board: &mut Board, site: &Site, images: &Images) {
    board.shows(site, "a fresh service, nothing deployed", ["empty", "Nothing was deployed yet", "tagalong deploy SERVICE TAG"]).await;
    for tag in ["one", "two"] {
        is_outcome(&site.deploy(&images.tag(tag)).await, "live");
    }
    let said = board.shows(site, "all is well", ["ok", "", ""]).await;
    assert!(said.fact("live").starts_with(&format!("{} verified ", images.tag("two"))), "{}", said.text);
    assert!(said.fact("runs now").ends_with(&format!(":{}", images.tag("two"))), "{}", said.text);
    assert!(!said.text.contains("blocked"), "{}", said.text);
}

/// The container is stopped, removed, killed, paused, half removed; the whole project is down.
async fn what_does_not_run(board: &mut Board, site: &Site) {
    let web = web(site);
    let repair = "tagalong repair SERVICE";
    for (state, args, why) in [
        ("container stopped", vec!["stop", "-t", "1", &web], "has ended"),
        ("container removed", vec!["rm", "-f", &web], "has no container"),
        ("container killed", vec!["kill", &web], "exit code 137"),
        ("container paused", vec!["pause", &web], "is paused"),
    ] {
        docker(&args);
        let said = board.shows(site, state, ["DOWN", why, repair]).await;
        if state == "container removed" {
            assert!(!said.fact("runs now").contains("acme/site"), "{}", said.text);
        }
        board.mends(site, &said).await;
    }
    dead(board, site).await;
    compose(site, None, &["down", "--timeout", "1"]);
    let said = board.shows(site, "whole project down", ["DOWN", "worker of the compose file has no container", repair]).await;
    assert_eq!(said.fact("runs now"), "nothing");
    board.mends(site, &said).await;
    assert_eq!(site.containers().len(), 3);
}

/// Docker cannot remove all of a container and gives it up.
async fn dead(board: &mut Board, site: &Site) {
    let id = docker(&["inspect", "-f", "{{.Id}}", &web(site)]);
    let file = format!("{}/containers/{id}/hostname", docker(&["info", "-f", "{{.DockerRootDir}}"]));
    host("chattr", &["+i", &file]);
    Docker { host: None }.tries(&["rm", "-f", &web(site)]);
    let said = board.shows(site, "container dead (Docker could not remove it)", ["DOWN", "dead", "tagalong repair SERVICE"]).await;
    host("chattr", &["-i", &file]);
    board.mends(site, &said).await;
}

/// The container runs and does not do its work. A repair that cannot help says so.
async fn what_runs_badly(board: &mut Board, site: &Site) {
    let repair = "tagalong repair SERVICE";
    let ok = site.dir.path().join("stack/switch/ok");
    std::fs::remove_file(&ok).expect("a file");
    let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &web(site)]);
    host("kill", &["-KILL", &pid]);
    let said = board.shows(site, "crash loop", ["UNHEALTHY", "last exit code 3", repair]).await;
    let ran = tagalong(site, &["repair", &site.project]);
    assert_eq!(ran.code, 15, "{}", ran.text);
    let after = board.shows(site, "crash loop, and a repair did not help", ["UNHEALTHY", "last exit code 3", repair]).await;
    assert!(after.fact("last").starts_with("broken "), "{}", after.text);
    std::fs::write(&ok, "").expect("a file");
    board.mends(site, &said).await;
    docker(&["kill", "-s", "STOP", &web(site)]);
    let said = board.shows(site, "health check fails", ["UNHEALTHY", "is unhealthy", repair]).await;
    board.mends(site, &said).await;
}

/// Somebody brings up another tag, or edits `.env`.
async fn what_is_another_release(board: &mut Board, site: &Site, images: &Images) {
    let repair = "tagalong repair SERVICE";
    compose(site, Some(&images.tag("one")), &["up", "-d", "web"]);
    let said = board.shows(site, "replaced by hand with another tag", ["DRIFT", "is made from", repair]).await;
    assert!(said.fact("runs now").ends_with(&format!(":{}", images.tag("one"))), "{}", said.text);
    board.mends(site, &said).await;
    let before = site.containers();
    let env = site.dir.path().join("stack/.env");
    let text = std::fs::read_to_string(&env).expect("a file");
    std::fs::write(&env, format!("# by hand\nSITE_TAG={}\n", images.tag("one"))).expect("a file");
    let said = board.shows(site, "`.env` edited by hand", ["DRIFT", "The stack pins", repair]).await;
    board.mends(site, &said).await;
    assert_eq!(before, site.containers(), "what ran was right");
    let pin = text.lines().find(|line| line.starts_with("SITE_TAG=")).expect("a pin").trim_end();
    let now = std::fs::read_to_string(&env).expect("a file");
    assert!(now.starts_with("# by hand\n") && now.contains(pin), "{now}");
}

/// How the last deployment ended stands there with what to do next.
async fn what_was_done_last(board: &mut Board, site: &mut Site, images: &Images) {
    let undone = site.deploy(&images.tag("three")).await;
    is_outcome(&undone, "rolled_back");
    let id = undone["id"].as_str().expect("an id");
    let said = board.shows(site, "a release was undone (`rolled_back`)", ["ok", "", &format!("tagalong logs {id}")]).await;
    assert!(said.fact("last").starts_with("rolled_back ") && said.fact("last").contains("unhealthy"), "{}", said.text);
    is_outcome(&site.roll_back().await, "live");
    let said = board.shows(site, "held after a rollback", ["ok", "", "tagalong resume SERVICE"]).await;
    assert!(said.fact("held").ends_with(&format!("`tagalong resume {}` lets CI deploy again", site.project)), "{}", said.text);
    history_reads_well(site);
    assert_eq!(tagalong(site, &["resume", &site.project]).code, 0);
    let file = site.dir.path().join("tagalong.toml");
    let config = std::fs::read_to_string(&file).expect("a file").replace("variable =", "on_failure = \"leave\"\nvariable =");
    std::fs::write(&file, config).expect("a file");
    site.kill_and_start().await;
    is_outcome(&site.deploy(&images.tag("three")).await, "needs_operator");
    let said = board.shows(site, "a release was left for a person (`needs_operator`)", ["UNHEALTHY", "", "tagalong repair SERVICE"]).await;
    assert!(said.fact("last").starts_with("needs_operator "), "{}", said.text);
    assert!(said.text.contains("is not the live release"), "{}", said.text);
    board.mends(site, &said).await;
    let (status, refusal) = site.server().post("/api/v1/deployments", json!({"service": site.project, "tag": images.tag("two")})).await;
    assert_eq!((status, &refusal["code"]), (422, &json!("needs_operator")), "a repair does not let CI go on: {refusal}");
}

fn history_reads_well(site: &Site) {
    let said = tagalong(site, &["history", &site.project]).text;
    for words in
        ["rollback done", "rollback by local:0, took ", "repaired", "repair of ", "rolled_back", "rollback done, the earlier release"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.lines().filter(|line| !line.starts_with(' ')).all(|line| line.chars().count() <= 80), "{said}");
}

/// The daemon is gone; what it runs cannot be told.
async fn docker_is_away(board: &mut Board, images: &Images) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut daemon = Daemon::start(dir.path(), true).await;
    let site = Site::make(images, &daemon.docker.clone(), &images.port, json!({})).await;
    is_outcome(&site.deploy(&images.tag("one")).await, "live");
    daemon.kill();
    let said = board.shows(&site, "Docker does not answer", ["UNKNOWN", "Docker daemon", "tagalong doctor"]).await;
    assert_eq!(said.fact("runs now"), "unknown");
    daemon.start_again().await;
    let rows = board.0.len();
    board.shows(&site, "back", ["ok", "", ""]).await;
    board.0.truncate(rows);
    site.finish().await;
    drop(daemon);
}

/// The table in the documents is what was seen.
fn is_written(board: &Board) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let text = std::fs::read_to_string(&path).expect("a file");
    let head = "| state of the stack | first word | why | command |\n|---|---|---|---|\n";
    let begin = text.find(head).expect("the table") + head.len();
    let end = text[begin - 1..].find("\n\n").map_or(text.len(), |at| begin + at);
    let wanted = board.0.join("\n") + "\n";
    if text[begin..end] == wanted {
        return;
    }
    let may_write = std::env::var_os("WRITE_DOCUMENTS").is_some();
    assert!(may_write, "docs/operations.md says otherwise: WRITE_DOCUMENTS=1 cargo test --test deploy status\n{wanted}");
    std::fs::write(&path, format!("{}{wanted}{}", &text[..begin], &text[end..])).expect("a file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_of_a_broken_stack() {
    let images = Images::make();
    let mut board = Board::default();
    let mut site = broken_site(&images).await;
    in_the_beginning(&mut board, &site, &images).await;
    what_does_not_run(&mut board, &site).await;
    what_runs_badly(&mut board, &site).await;
    what_is_another_release(&mut board, &site, &images).await;
    what_was_done_last(&mut board, &mut site, &images).await;
    let (_, metrics) = site.server().get_text("/metrics").await;
    let is_well = format!("tagalong_service_standing{{service=\"{}\",word=\"ok\"}} 1", site.project);
    assert!(metrics.contains(&is_well), "{metrics}");
    until("nothing holds the lock", || tagalong::landing::holders(&site.dir.path().join("stack")).is_empty()).await;
    site.finish().await;
    docker_is_away(&mut board, &images).await;
    println!("{}", board.0.join("\n"));
    is_written(&board);
}
