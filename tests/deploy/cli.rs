//! The command line beside a server: what it prints, what it exits with, and what it says of every fault of the host.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;

use crate::support::host;
use crate::world::Settings;
use crate::world::World;

const INTERRUPTED: i32 = 130;

fn command(world: &World, config: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagalong"));
    command.args(args).arg("--config").arg(world.path(config)).stdin(Stdio::null());
    command
}

/// Exit code, and all that was printed.
fn tagalong(world: &World, args: &[&str]) -> (i32, String) {
    let ran = command(world, "tagalong.toml", args).output().expect("it runs");
    let text = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    (ran.status.code().unwrap_or(-1), text)
}

/// What the doctor finds fault with, by check, where `old` of the configuration is `new`.
fn faults(world: &World, old: &str, new: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(world.path("tagalong.toml")).expect("a file");
    // Docker is elsewhere, so that the socket of this machine does not matter.
    let text = text.replace("wait_s = 25", "wait_s = 1\nhost = \"tcp://127.0.0.1:1\"");
    assert!(text.contains(old), "{old}");
    std::fs::write(world.path("doctor.toml"), text.replace(old, new)).expect("a file");
    let ran = command(world, "doctor.toml", &["doctor", "--json"]).output().expect("it runs");
    let all: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let bad = all.as_array().expect("a list").iter().filter(|one| one["ok"] == false);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    bad.map(|one| (text(&one["check"]), text(&one["detail"]))).collect()
}

/// Exactly one fault is said, and it names a command to type.
fn is_only_fault(found: &[(String, String)], check: &str, words: &str) {
    let [(at, detail)] = found else { panic!("{check}: {found:#?}") };
    assert!(at.starts_with(check) && detail.contains(words), "{check}: {found:#?}");
    assert!(detail.split('`').nth(1).is_some_and(|command| command.contains(' ')), "no command: {detail}");
}

/// One cause is one line, however much hangs on it, and the line says what to type.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_says_each_fault_once_and_with_a_command() {
    let mut world = World::landed(&Settings::default()).await;
    assert_eq!(faults(&world, "", ""), []);
    let program = format!("program = \"{}\"", world.path("docker").display());
    for (old, new, check, words) in [
        (program.as_str(), "program = \"/no/such/docker\"", "docker", "apt-get install docker.io"),
        ("host = \"tcp://127.0.0.1:1\"", "host = \"unix:///no/such.sock\"", "docker socket", "systemctl start docker"),
        ("dir = \"stack\"", "dir = \"elsewhere\"", "web: folder", "mkdir -p"),
        ("data_dir = \"data\"", "data_dir = \"page.password\"", "data folder", "chown"),
    ] {
        is_only_fault(&faults(&world, old, new), check, words);
    }
    world.arm("daemon", "fail");
    is_only_fault(&faults(&world, "", ""), "docker", "systemctl start docker");
    world.disarm("daemon");
    world.close_registry();
    let found = faults(&world, "", "");
    is_only_fault(&found, "web: registry of 127.0.0.1:", "cannot be reached: ");
    assert!(found[0].1.contains("`curl -v http://127.0.0.1:") && !found[0].1.contains("correctly"), "{found:?}");
    // An order ends with the same sentence.
    let id = world.server().deploy("v2").await;
    let ended = world.server().outcome(&id).await;
    assert!(ended["why"].as_str().is_some_and(|why| why.contains("cannot be reached") && why.contains("`curl -v ")), "{ended}");
    world.finish().await;
}

/// An id is its own beginning or end, as far as only one of the newest deployments has it; a service is its newest deployment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_found_by_a_part_of_its_id() {
    let world = World::landed(&Settings::default()).await;
    let ids = [world.server().deploy("v2").await, world.server().deploy("v3").await];
    for id in &ids {
        world.server().outcome(id).await;
    }
    let end = ids[0][20..].to_lowercase();
    for which in [ids[0].as_str(), &end] {
        let (code, said) = tagalong(&world, &["logs", which]);
        assert!(code == 0 && said.contains(&ids[0]), "{which}: {said}");
    }
    let (code, said) = tagalong(&world, &["logs", "web"]);
    assert!(code == 0 && said.contains(&ids[1]) && !said.contains(&ids[0]), "{said}");
    // The beginning of an id is its time, so the ids of one minute have it in common.
    let (code, said) = tagalong(&world, &["cancel", &ids[0][..4]]);
    assert!(code == 1 && said.contains("matches more than one deployment") && said.contains("give more of the id"), "{said}");
    let (code, said) = tagalong(&world, &["retry", "0000ZZZZ"]);
    assert!(code == 1 && said.contains("newest 200 deployments") && said.contains("tagalong history SERVICE"), "{said}");
    let (code, said) = tagalong(&world, &["logs", "A.B"]);
    assert!(code == 2 && said.contains("at least 4 characters"), "{said}");
    let (code, said) = tagalong(&world, &["retry", &end, "--no-wait"]);
    assert_eq!(code, 0, "{said}");
    let retry = said.split(' ').next().expect("an id").to_owned();
    world.server().outcome(&retry).await;
    assert_eq!(world.running(), "v2", "{said}");
    world.finish().await;
}

/// The id is the first word that is printed. Ctrl-C ends the following and nothing else; without it there is nothing to follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_outlives_the_terminal_that_gave_it() {
    let world = World::landed(&Settings::default()).await;
    world.arm("pull@v2", "hang");
    let mut child =
        command(&world, "tagalong.toml", &["deploy", "web", "v2"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut out = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    let id = line.split(' ').next().expect("an id").to_owned();
    assert_eq!(line, format!("{id} is accepted\n"));
    world.reached("pull@v2").await;
    // It follows by now, so it listens to Ctrl-C as well.
    line.clear();
    out.read_line(&mut line).expect("a line of the journal");
    host("kill", &["-INT", &child.id().to_string()]);
    let code = child.wait().expect("a child").code();
    let mut said = String::new();
    child.stderr.take().expect("its messages").read_to_string(&mut said).expect("a text");
    out.read_to_string(&mut said).expect("a text");
    assert_eq!(code, Some(INTERRUPTED), "{said}");
    assert!(said.contains(&format!("{id} continues without this terminal. Follow it: tagalong logs {id} -f.")), "{said}");
    world.disarm("pull@v2");
    assert_eq!(world.server().outcome(&id).await["outcome"], "live");
    world.arm("pull@v3", "hang");
    let (code, said) = tagalong(&world, &["deploy", "web", "v3", "--no-wait"]);
    let id = said.split(' ').next().expect("an id").to_owned();
    assert_eq!((code, said), (0, format!("{id} is accepted; follow it with: tagalong logs {id} -f\n")));
    world.disarm("pull@v3");
    assert_eq!(world.server().outcome(&id).await["outcome"], "live");
    let (code, said) = tagalong(&world, &["deploy", "web", "v4", "--no-wait", "--json"]);
    let accepted: Value = serde_json::from_str(&said).expect("JSON");
    let id = accepted["id"].as_str().expect("an id");
    assert_eq!((code, &accepted["location"]), (0, &json!(format!("/api/v1/deployments/{id}"))), "{said}");
    world.server().outcome(id).await;
    world.finish().await;
}

/// A service that was written into the compose file since is not forgotten in silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_service_of_the_compose_file_is_named() {
    let world = World::landed(&Settings::default()).await;
    let file = world.path("stack/compose.yaml");
    let mut stack: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("a file")).expect("JSON");
    stack["services"]["cache"] = json!({"image": "acme/db:1"});
    std::fs::write(&file, stack.to_string()).expect("a file");
    let id = world.server().deploy("v2").await;
    let ended = world.server().outcome(&id).await;
    let journal = world.server().journal(&id).await;
    assert_eq!(ended["outcome"], "live", "{journal}");
    let named = "the service cache of the compose file has no container";
    let is_up = world.containers().contains_key("cache");
    assert!(is_up != journal.contains(named), "brought up: {is_up}: {journal}");
    assert!(is_up || journal.contains("`tagalong repair web` starts it"), "{journal}");
    world.finish().await;
}

/// A token that anybody on the way could read does not leave this host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bearer_token_is_never_sent_in_the_clear() {
    let world = World::new(&Settings::default()).await;
    // Whatever is sent to the address comes by this proxy.
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("a listener");
    let call = |key: &str| {
        let file = world.path("key");
        std::fs::write(&file, key).expect("a file");
        let file = file.display().to_string();
        let mut command = command(&world, "tagalong.toml", &["status", "--url", "http://192.0.2.1", "--key-file", &file]);
        command.env("http_proxy", format!("http://{}", proxy.local_addr().expect("an address")));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs")
    };
    let refused = call("a-bearer-token-that-is-long-enough").wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("plain http") && said.contains("https://") && !said.contains("a-bearer-token"), "{said}");
    assert!(proxy.accept().is_err(), "a connection was made");
    // A signature may be read: the same call with a key that signs is made.
    let mut signed = call("whsec_c2l4dGVlbiBieXRlcyBhbmQgbW9yZSBvZiB0aGVt");
    crate::support::until("the signed call", || proxy.accept().is_ok()).await;
    signed.kill().expect("it lives");
    signed.wait().expect("a child");
    world.finish().await;
}
