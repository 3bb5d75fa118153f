//! Guards that ask somebody who does not answer, and orders that are forced past what may not be forced: whatever comes of them, no
//! container of the stack is touched, and a rollback waits for none of it.

use std::net::TcpListener;

use serde_json::Value;
use serde_json::json;

use crate::forge::Fault;
use crate::forge::Forge;
use crate::support::until_some;
use crate::world::Settings;
use crate::world::World;

const COMMIT: &str = "1f0c9e2a7d4105b3c8e6f9012345678901234567";

/// Orders v2 and gives the id, or what the order was refused with.
async fn order(world: &World, more: Value) -> Result<String, Value> {
    let mut body = json!({ "service": "web", "tag": "v2", "commit": COMMIT, "ref": "refs/heads/main" });
    for (name, value) in more.as_object().expect("a table") {
        body[name] = value.clone();
    }
    let (status, answer) = world.server().post("/api/v1/deployments", body).await;
    if status == 202 { Ok(answer["id"].as_str().expect("an id").to_owned()) } else { Err(answer) }
}

async fn cancelled(world: &World, id: &str) {
    world.server().post(&format!("/api/v1/deployments/{id}/cancel"), json!({})).await;
    let ended = world.server().outcome(id).await;
    assert_eq!((&ended["outcome"], &ended["changed"]), (&json!("cancelled"), &json!(false)), "{ended}");
}

/// Waits until it is said why the order waits, in these words.
async fn waits(world: &World, id: &str, guard: &str, words: &str) {
    for _ in 0..3000 {
        let shown = world.server().show(id).await;
        if shown["waits_for"] == guard && shown["waits_why"].as_str().is_some_and(|why| why.contains(words)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{words}: {:#}", world.server().show(id).await);
}

/// A forge that takes each call and answers none is waited for a minute; that is no yes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_that_nobody_answers_for_change_nothing() {
    let forge = Forge::github();
    let required = "repository = \"acme/web\"\nrequire_checks = [\"test\"]\nreport = false\n";
    let source = forge.config().replace("repository = \"acme/web\"\n", required);
    let world = World::new(&Settings { service: source, ..Settings::default() }).await;
    // Whoever is on the host may land past the checks.
    let first = order(&world, json!({ "tag": "v1", "force": true, "reason": "the first one" })).await.expect("it is taken");
    assert_eq!(world.server().outcome(&first).await["outcome"], "live");
    let before = world.containers();
    forge.set(Fault::Hangs);
    let id = order(&world, json!({})).await.expect("it is taken");
    until_some("the forge is asked", || (forge.shown().met > 0).then_some(())).await;
    assert_eq!(world.server().show(&id).await["waits_for"], "checks");
    assert_eq!(world.containers(), before);
    waits_no_more(&world, &id).await;
    let ended = world.server().outcome(&id).await;
    assert_eq!((&ended["outcome"], &ended["guard"]), (&json!("refused"), &json!("checks")), "{ended}");
    assert!(ended["why"].as_str().is_some_and(|why| why.contains("did not say how the checks are")), "{ended}");
    assert_eq!(world.containers(), before);
    forge.set(Fault::Nothing);
    world.finish().await;
}

/// Waits for longer than a forge may take.
async fn waits_no_more(world: &World, id: &str) {
    let began = std::time::Instant::now();
    while world.server().show(id).await["state"] != "done" {
        assert!(began.elapsed() < std::time::Duration::from_mins(3), "{:#}", world.server().show(id).await);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    println!("a forge that does not answer was waited for {:?}", began.elapsed());
}

/// Nobody is reached: the order waits and says so. To force it gives nobody's approval.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_that_nobody_is_asked_for_changes_nothing() {
    // It takes calls and answers none.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut world = World::landed(&Settings::default()).await;
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let tables = format!(
        "[service.web.approval]\napprovers = [\"ada\"]\n[[person]]\nid = \"ada\"\nnotify = \"ada\"\n\
         [[notify]]\nid = \"ada\"\nkind = \"ntfy\"\nurl = \"{url}\"\ntopic = \"ada\"\nevents = []\n[service.web.deadlines]"
    );
    world.reconfigure("[server]", "[server]\npublic_url = \"http://localhost:1\"").await;
    world.reconfigure("[service.web.deadlines]", &tables).await;
    let before = world.containers();
    for more in [json!({}), json!({ "force": true, "reason": "the page is down" })] {
        let id = order(&world, more).await.expect("it is taken");
        waits(&world, &id, "approval", "No code could be sent to ada (the notifier ada did not answer within 15 s); trying again.").await;
        assert_eq!(world.containers(), before);
        cancelled(&world, &id).await;
    }
    let back = world.server().roll_back(json!({ "tag": "v1" })).await;
    assert_eq!(world.server().outcome(&back).await["outcome"], "live", "a rollback asks nobody");
    assert_eq!(world.running(), "v1");
    world.finish().await;
}

/// Holidays that cannot be read are no free day: the order is refused, and only a reason forces it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_that_nobody_can_read_changes_nothing() {
    let freeze = "[[freeze]]\nid = \"feast\"\nzone = \"Europe/Paris\"\nholidays_file = \"feast.ics\"\n[service.web.deadlines]";
    let mut world = World::landed(&Settings::default()).await;
    // Whoever opens it waits for somebody who writes.
    let pipe = world.path("feast.ics");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("a pipe");
    world.reconfigure("[service.web.deadlines]", freeze).await;
    let before = world.containers();
    for more in [json!({}), json!({ "force": true, "reason": " " }), json!({ "dry_run": true })] {
        let refused = order(&world, more).await.expect_err("it is refused");
        assert_eq!(refused["code"], "frozen", "{refused}");
        assert_eq!(world.containers(), before);
    }
    let forced = order(&world, json!({ "force": true, "reason": "the page is down" })).await.expect("it is taken");
    assert_eq!(world.server().outcome(&forced).await["outcome"], "live");
    assert_eq!(world.running(), "v2");
    world.finish().await;
}
