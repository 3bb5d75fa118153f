//! Who is answered by which reload.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::Place;
use crate::support::Plan;
use crate::support::Running;
use crate::support::Server;
use crate::support::commit;
use crate::support::git;
use crate::support::tagalong;
use crate::support::until;

/// A check that stops while its gate is there, and says that it has come so far.
fn gated(place: &Place) -> String {
    let (gate, reached) = (place.path().join("gate"), place.path().join("reached"));
    let script =
        format!("if [ -e {g} ]; then touch {r}; while [ -e {g} ]; do sleep 0.02; done; fi", g = gate.display(), r = reached.display());
    format!("[dataset.notes.check]\nargv = [\"sh\", \"-c\", {script:?}]\n")
}

/// 200 deliveries of one push make one fetch and one load (two at most), and nobody is told "no changes" before it is loaded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_deliveries_make_one_load() {
    let place = Place::new();
    let plan = Plan::new("pod").with_secret(&place);
    git(place.path(), &["clone", "--quiet", "remote.git", "pod-checkout"]);
    let app = Running::app(&plan.checkout(&place), "127.0.0.1:0").await;
    let plan = plan.over(&app).dataset(&format!("git = {:?}", place.counting_git()));
    let server = Server::start(plan.write(&place)).await;
    server.until_loaded(&place.tip()).await;
    for (round, with_commit) in [true, false].into_iter().enumerate() {
        let (fetches, loads) = (place.calls("fetch"), app.version().await["loads"].as_u64().unwrap());
        let new = place.push(&[("notes/new.md", &format!("round {round}\n"))]);
        let body = if with_commit { json!({ "branch": "main", "commitHash": new }) } else { json!({ "branch": "main" }) };
        let answers = join_all((0..200).map(|_| async {
            let (status, answer) = server.reload_data(&body).await;
            // Asked the moment after an answer, the app serves it.
            (status, answer, app.commit().await)
        }))
        .await;
        let mut rebuilt = 0;
        for (status, answer, served) in answers {
            assert_eq!((status, &served), (200, &new), "{answer}");
            rebuilt += u32::from(answer["data"]["rebuilt"] == true);
        }
        let fetched = place.calls("fetch") - fetches;
        // Who names the commit and comes when it is loaded is answered without a fetch; who names none and comes when the
        // last fetch has begun needs one more, and a slow machine spreads two hundred calls over several.
        let most = if with_commit { 2 } else { 20 };
        assert!((1..=most).contains(&fetched), "{fetched} fetches");
        assert_eq!(app.version().await["loads"], loads + 1);
        assert!(rebuilt >= 1);
        println!("200 deliveries: {fetched} fetches, 1 load, {rebuilt} answered by it");
    }
    server.stop().await;
}

/// Reload calls, the alias, restarts, `data sync` and the push of new commits: a refused push is asked of the remote once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_push_is_asked_once_by_all_callers() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let (hook, log) = (place.remote().join("hooks/pre-receive"), place.path().join("pushes"));
    let plan = || Plan::new("pod").with_secret(&place);
    let server = Server::start(plan().write(&place)).await;
    server.until_loaded(&place.tip()).await;
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, format!("#!/bin/sh\ncat >>{}\necho 'not today' >&2\nexit 1\n", log.display())).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let checkout = plan().checkout(&place);
    let is_refused = |shown: &serde_json::Value| shown["push"].as_str().is_some_and(|push| push.contains("not today"));
    let pushes = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
    for n in 0..3 {
        commit(&checkout, &[("own.md", &format!("{n}\n"))]);
        server.until("the refusal to be shown", is_refused).await;
        let (_, answer) = server.reload(&json!({})).await;
        assert_eq!(answer["outcome"], "push-refused", "{answer}");
        let (_, answer) = server.reload_data(&json!({ "branch": "main" })).await;
        assert_eq!(answer["data"]["outcome"], "push-refused", "{answer}");
    }
    assert_eq!(pushes(), 1);
    // The last push of a stop, and what a boot does.
    server.stop().await;
    let (code, said) = tagalong(&plan().write(&place), &["data", "sync"]);
    assert!(code == 0 && said.contains("not today"), "{code}: {said}");
    let server = Server::start(plan().write(&place)).await;
    server.until("the refusal to be shown", is_refused).await;
    let (_, answer) = server.reload(&json!({})).await;
    assert_eq!(answer["outcome"], "push-refused", "{answer}");
    server.stop().await;
    assert_eq!(pushes(), 1);
}

/// A push that lands while a reload runs is not forgotten, and anybody who asks meanwhile is answered by the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_during_a_reload_is_loaded_by_the_next() {
    let place = Place::new();
    let plan = Plan::new("pod").with_secret(&place).table(&gated(&place));
    let server = Server::start(plan.write(&place)).await;
    let first = place.tip();
    server.until_loaded(&first).await;
    let gate = place.path().join("gate");
    std::fs::write(&gate, "").unwrap();
    let second = place.push(&[("notes/two.md", "two\n")]);
    let ask = |commit: &str| json!({ "commitHash": commit });
    let (ask_first, ask_second) = (ask(&first), ask(&second));
    let (slow, quick) = tokio::join!(server.reload_data(&ask_second), async {
        until("the reload to run", async || place.path().join("reached").exists().then_some(())).await;
        // What is loaded is answered beside it, at once.
        let contained = server.reload_data(&ask_first).await;
        let third = place.push(&[("notes/three.md", "three\n")]);
        let ask_third = ask(&third);
        let open_the_gate = async {
            for _ in 0..20 {
                assert_eq!(server.reload_data(&ask_first).await.0, 200);
            }
            std::fs::remove_file(&gate).unwrap();
        };
        let (asked, ()) = tokio::join!(server.reload_data(&ask_third), open_the_gate);
        (contained, asked, third)
    });
    let ((status, contained), (asked_status, asked), third) = quick;
    assert_eq!((status, &contained["data"]["head"]), (200, &json!(first)));
    assert_eq!((slow.0, &slow.1["data"]["newCommit"]), (200, &json!(second)));
    assert_eq!((asked_status, &asked["data"]["newCommit"], &asked["data"]["rebuilt"]), (200, &json!(third), &json!(true)), "{asked}");
    assert_eq!(server.dataset().await["loaded"], third);
    server.stop().await;
}

/// The timer brings what nobody has called for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timer_brings_what_nobody_called_for() {
    let place = Place::new();
    let mut plan = Plan::new("pod");
    plan.dataset = "interval_s = 0.2".to_owned();
    let server = Server::start(plan.write(&place)).await;
    server.until_loaded(&place.tip()).await;
    let new = place.push(&[("notes/two.md", "two\n")]);
    server.until_loaded(&new).await;
    server.stop().await;
}

/// A changed configuration takes the place of the old one without losing a call; an unchanged dataset goes on untouched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_configuration_loses_no_call() {
    let place = Place::new();
    git(&place.writer(), &["push", "--quiet", "origin", "main:other"]);
    let server = Server::start(Plan::new("pod").write(&place)).await;
    server.until_loaded(&place.tip()).await;
    let new = place.push(&[("notes/two.md", "two\n")]);
    server.app().read_again(&server.file);
    let (status, answer) = server.reload(&json!({ "commitHash": new })).await;
    assert_eq!((status, &answer["loaded"]), (200, &json!(new)), "{answer}");
    // Another check: the dataset starts again.
    Plan::new("pod").table("[dataset.notes.check]\nargv = [\"false\"]").write(&place);
    server.app().read_again(&server.file);
    let newer = place.push(&[("notes/three.md", "three\n")]);
    let (status, answer) = server.reload(&json!({ "commitHash": newer })).await;
    assert_eq!((status, &answer["code"]), (502, &json!("not_loaded")), "{answer}");
    // Gone from the configuration, gone from the API.
    std::fs::write(&server.file, "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\nsocket = \"pod.sock\"\ndata_dir = \"pod-data\"\n")
        .unwrap();
    server.app().read_again(&server.file);
    let (status, answer) = server.reload(&json!({})).await;
    assert_eq!((status, &answer["code"]), (404, &json!("unknown_dataset")), "{answer}");
    server.stop().await;
}
