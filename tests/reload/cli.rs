//! The commands, as processes.

use serde_json::Value;
use serde_json::json;

use crate::support::Place;
use crate::support::Plan;
use crate::support::Process;
use crate::support::Running;
use crate::support::Server;
use crate::support::commit;
use crate::support::git;
use crate::support::tagalong;
use crate::support::until;

fn status(config: &std::path::Path) -> Value {
    let (code, said) = tagalong(config, &["data", "status", "--json"]);
    assert_eq!(code, 0, "{said}");
    let all: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    all["datasets"][0].clone()
}

/// `data sync` replaces an entrypoint script: clone, reconcile, publish, and then it is the app.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_becomes_the_program_behind_it() {
    let place = Place::new();
    let config = Plan::new("pod").dataset("publish = \"worktree\"").write(&place);
    let (code, said) = tagalong(
        &config,
        &["data", "sync", "notes", "--once", "--", "sh", "-c", "cat pod-checkout.current/notes/one.md; echo $0 $$; exit 7"],
    );
    assert_eq!(code, 7, "{said}");
    assert!(said.contains("the first note"), "{said}");
    // The app has only been started: nobody has seen it serve anything.
    let shown = status(&config);
    assert_eq!((&shown["head"], &shown["loaded"]), (&json!(place.tip()), &json!(null)));
    // Own work is published too, and without a program behind it nothing is said to be loaded.
    let own = commit(&Plan::new("pod").checkout(&place), &[("notes/own.md", "ours\n")]);
    let (code, said) = tagalong(&config, &["data", "sync"]);
    assert_eq!(code, 0, "{said}");
    let shown = status(&config);
    assert_eq!((place.tip(), &shown["head"], shown["loaded"] == json!(own)), (own.clone(), &json!(own), false));
    let (code, said) = tagalong(&config, &["data", "sync", "--", "/no/such/program"]);
    assert!(code == 1 && said.contains("/no/such/program could not be started"), "{code} {said}");
}

/// What was published for an app that is not there is not served: not before it, and not by the word of its last life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_says_nothing_about_an_app_that_is_not_there() {
    let place = Place::new();
    let checkout = Plan::new("pod").checkout(&place);
    git(place.path(), &["clone", "--quiet", "remote.git", "pod-checkout"]);
    let app = Running::app(&checkout, "127.0.0.1:0").await;
    let listen = format!("127.0.0.1:{}", app.port);
    let config = Plan::new("pod").over(&app).write(&place);
    let text = std::fs::read_to_string(&config).unwrap().replace("within_s = 20", "within_s = 0.2");
    std::fs::write(&config, text).unwrap();
    let server = Server::start(config.clone()).await;
    server.until_loaded(&place.tip()).await;
    server.stop().await;
    drop(app);
    let (code, said) = tagalong(&config, &["data", "sync", "--once", "--", "sh", "-c", "exit 3"]);
    assert_eq!(code, 3, "{said}");
    let server = Server::start(config.clone()).await;
    let tip = place.tip();
    let (file, wanted) = (config.clone(), tip.clone());
    let reload = |more: &'static [&str]| {
        let (file, wanted) = (file.clone(), wanted.clone());
        tokio::task::spawn_blocking(move || tagalong(&file, &[&["reload", "notes", "--commit", &wanted], more].concat()))
    };
    let (code, said) = reload(&[]).await.unwrap();
    assert!(code == 19 && !said.contains("serves"), "{code} {said}");
    assert_eq!(server.dataset().await["loaded"], json!(null));
    // It waits for the app.
    let waiting = reload(&["--wait", "--wait-s", "60"]);
    let app = Running::app(&checkout, &listen).await;
    let (code, said) = waiting.await.unwrap();
    assert!(code == 0 && said.contains(&format!("serves {tip}")), "{code} {said}");
    assert_eq!(app.commit().await, tip);
    server.stop().await;
}

/// Without a remote: with data the app starts nevertheless; without, one try fails and otherwise it goes on trying.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_without_its_remote() {
    let place = Place::new();
    let config = Plan::new("pod").write(&place);
    let unplugged = place.unplug();
    let (code, said) = tagalong(&config, &["data", "sync", "--once", "--", "echo", "started"]);
    assert!(code == 1 && said.contains("The dataset notes is not available") && !said.contains("started"), "{code} {said}");
    let waiting = Process::start(&config, &["data", "sync"]);
    until("the first try", async || waiting.log().contains("trying again in").then_some(())).await;
    assert_eq!(waiting.terminate().await.code(), Some(143));
    let waiting = Process::start(&config, &["data", "sync", "--", "sh", "-c", "echo the app has started"]);
    until("the first try", async || waiting.log().contains("trying again in").then_some(())).await;
    drop(unplugged);
    until("the app", async || waiting.log().contains("the app has started").then_some(())).await;
    let unplugged = place.unplug();
    let (code, said) = tagalong(&config, &["data", "sync", "--once", "--", "echo", "started"]);
    assert!(code == 0 && said.contains("fetch-failed") && said.contains("started"), "{code} {said}");
    drop(unplugged);
}

/// The daemon pushes what the app commits, follows what others push, and ends cleanly with what is left pushed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_pushes_and_follows() {
    let place = Place::new();
    let mut plan = Plan::new("pod");
    plan.dataset = "interval_s = 0.3".to_owned();
    let (config, checkout) = (plan.write(&place), plan.checkout(&place));
    let daemon = Process::start(&config, &["data", "daemon"]);
    until("the first load", async || checkout.join("notes/one.md").exists().then_some(())).await;
    until("the first load", async || (status(&config)["loaded"] == json!(place.tip())).then_some(())).await;
    let own = commit(&checkout, &[("notes/own.md", "ours\n")]);
    until("the push", async || (place.tip() == own).then_some(())).await;
    git(&place.writer(), &["pull", "--quiet", "--rebase", "origin", "main"]);
    let theirs = place.push(&[("notes/theirs.md", "theirs\n")]);
    until("the load", async || (status(&config)["loaded"] == json!(theirs)).then_some(())).await;
    // A second one on the same folder is refused, by name.
    let (code, said) = tagalong(&config, &["data", "daemon"]);
    assert!(code == 1 && said.contains("is in use by another tagalong"), "{said}");
    let last = commit(&checkout, &[("notes/last.md", "last\n")]);
    assert_eq!(daemon.terminate().await.code(), Some(0));
    assert_eq!(place.tip(), last);
}

/// What a daemon's push is at stands in `data status` as a server's does, and is gone with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_beside_a_daemon_says_what_it_says_under_a_server() {
    let place = Place::new();
    let plan = Plan::new("pod");
    let (config, checkout) = (plan.write(&place), plan.checkout(&place));
    let hook = place.remote().join("hooks/update");
    std::fs::write(&hook, "#!/bin/sh\necho 'not here, please' >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(tagalong(&config, &["data", "sync", "--once"]).0, 0);
    let own = commit(&checkout, &[("notes/own.md", "ours\n")]);
    let mut shown = Vec::new();
    for how in [&["data", "daemon"][..], &["serve"][..]] {
        let running = Process::start(&config, how);
        let refused = |shown: &Value| shown["push"].as_str().is_some_and(|push| push.contains("not here, please"));
        until("a refusal", async || Some(status(&config)).filter(|shown| refused(shown) && shown["last"].is_object())).await;
        let mut seen = status(&config);
        assert_eq!((&seen["head"], &seen["pending"]), (&json!(own), &json!(1)), "{seen}");
        for moment in ["at_ms", "loaded_ms"] {
            seen["last"].as_object_mut().unwrap().remove(moment);
            seen.as_object_mut().unwrap().remove(moment);
        }
        shown.push(seen);
        assert_eq!(running.terminate().await.code(), Some(0));
        assert_eq!(status(&config)["push"], json!(null), "nobody pushes any more");
    }
    assert_eq!(shown[0], shown[1]);
}

/// A daemon that was killed leaves nothing that a next one needs a person for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_is_taken_up() {
    let place = Place::new();
    let plan = Plan::new("pod");
    let (config, checkout) = (plan.write(&place), plan.checkout(&place));
    let daemon = Process::start(&config, &["data", "daemon"]);
    until("the first load", async || (status(&config)["loaded"] == json!(place.tip())).then_some(())).await;
    let unplugged = place.unplug();
    let own = commit(&checkout, &[("notes/own.md", "ours\n")]);
    until("a failed push", async || status(&config)["pending"].as_u64().filter(|pending| *pending == 1)).await;
    daemon.kill();
    drop(unplugged);
    let daemon = Process::start(&config, &["data", "daemon"]);
    until("the backlog", async || (place.tip() == own).then_some(())).await;
    assert_eq!(daemon.terminate().await.code(), Some(0));
}

/// The doctor asks the remote whether it would take a push, and pushes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_says_whether_a_push_is_taken() {
    let place = Place::new();
    let config = Plan::new("pod").write(&place);
    assert_eq!(tagalong(&config, &["data", "sync", "--once"]).0, 0);
    let tip = place.tip();
    let (_, said) = tagalong(&config, &["doctor"]);
    assert!(said.contains("✓ notes: remote: "), "{said}");
    let unplugged = place.unplug();
    let (code, said) = tagalong(&config, &["doctor"]);
    assert!(code == 1 && said.contains("✗ notes: remote: "), "{said}");
    drop(unplugged);
    assert_eq!(place.tip(), tip);
}

/// All, some, none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_ends_with_who_serves_it() {
    let place = Place::new();
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let alone = Plan::new("pod").write(&place);
    let server = Server::start(alone.clone()).await;
    server.until_loaded(&place.tip()).await;
    let new = place.push(&[("notes/two.md", "two\n")]);
    let run = async |args: &[&str]| {
        let (config, args) = (alone.clone(), args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
        tokio::task::spawn_blocking(move || tagalong(&config, &args.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap()
    };
    let (code, said) = run(&["reload", "notes", "--commit", &new, "--all-peers"]).await;
    assert!(code == 0 && said.contains("fast-forwarded") && said.contains(&new), "{code} {said}");
    let (code, said) = run(&["reload", "notes", "--commit", "0123456789012345678901234567890123456789"]).await;
    assert!(code == 19 && said.contains("is not part of the loaded data"), "{code} {said}");
    let (code, said) = run(&["reload", "other"]).await;
    assert!(code == 1 && said.contains("There is no dataset other"), "{code} {said}");
    let (code, said) = run(&["data", "status"]).await;
    assert!(code == 0 && said.contains("loaded") && said.contains(&new), "{said}");
    server.stop().await;
    Plan::new("pod").table(&format!("[[dataset.notes.peer]]\nurls = [{nobody:?}]")).write(&place);
    let server = Server::start(alone.clone()).await;
    let (code, said) = run(&["reload", "notes", "--all-peers"]).await;
    assert!(code == 18 && said.contains("cannot be reached"), "{code} {said}");
    let unplugged = place.unplug();
    let (code, said) = run(&["reload", "notes", "--all-peers", "--json"]).await;
    assert!(code == 19 && said.contains("\"fetch-failed\""), "{code} {said}");
    // It waits until the remote is back; the peer never is.
    let (waited, ()) = tokio::join!(run(&["reload", "notes", "--wait"]), async { drop(unplugged) });
    assert_eq!(waited.0, 0, "{}", waited.1);
    server.stop().await;
}
