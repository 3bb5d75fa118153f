//! A control plane that was captured: it speaks to a real agent over its line, and asks for what the host does not allow.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tagalong::clock;
use tagalong::model::DeploymentId;
use tokio::io::AsyncBufReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::io::BufReader;
use tokio::net::UnixStream;

use crate::support::host;
use crate::support::until_some;
use crate::world::Settings;
use crate::world::World;

/// The other end of a line to the agent of a world.
struct Control {
    stream: BufReader<UnixStream>,
}

impl Control {
    async fn of(world: &World) -> Self {
        Self::that_knows(world, &json!({})).await.0
    }

    /// One whose welcome says `known`; and the hello that it got.
    async fn that_knows(world: &World, known: &Value) -> (Self, Value) {
        let stream = UnixStream::connect(world.path("data/line.sock")).await.expect("a line");
        let mut control = Self { stream: BufReader::new(stream) };
        let hello = control.hear(&["hello"]).await;
        assert_eq!(hello["services"][0]["name"], "web");
        let mut welcome = json!({ "kind": "welcome", "version": { "major": 1, "minor": 0 }, "program": "0", "store": "captured" });
        welcome.as_object_mut().expect("an object").extend(known.as_object().cloned().expect("an object"));
        control.say(&welcome).await;
        (control, hello)
    }

    async fn say(&mut self, frame: &Value) {
        self.stream.write_all(format!("{frame}\n").as_bytes()).await.expect("it takes it");
    }

    /// The next frame of one of these kinds. Lines are acknowledged: this one was told nothing before, and is told everything.
    async fn hear(&mut self, kinds: &[&str]) -> Value {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(Duration::from_mins(1), self.stream.read_line(&mut line)).await;
            assert!(read.expect("in time").expect("a line") > 0, "the line has ended");
            let Ok(frame) = serde_json::from_str::<Value>(&line) else { continue };
            if frame["kind"] == "lines" {
                let last = frame["lines"].as_array().and_then(|lines| lines.last()).map(|line| line["position"].clone());
                self.say(&json!({ "kind": "ack", "deployment": frame["deployment"], "position": last })).await;
            }
            if kinds.iter().any(|kind| frame["kind"] == *kind) {
                return frame;
            }
        }
    }

    /// What becomes of an order with these fields: `accepted`, or why it is refused.
    async fn order(&mut self, fields: Value) -> Value {
        let mut order = json!({ "kind": "order", "deployment": clock::new_id(), "order": "deploy", "service": "web", "caller": "key:ci" });
        order.as_object_mut().expect("an object").extend(fields.as_object().cloned().expect("an object"));
        self.say(&order).await;
        loop {
            let said = self.hear(&["accepted", "refused"]).await;
            if said["deployment"] == order["deployment"] {
                return said;
            }
        }
    }

    /// How the deployment that was `accepted` ended.
    async fn ended(&mut self, accepted: &Value) -> Value {
        loop {
            let ended = self.hear(&["ended"]).await;
            let id = &ended["order"]["deployment"];
            self.say(&json!({ "kind": "ack", "deployment": id, "ended": true })).await;
            if *id == accepted["deployment"] {
                return ended;
            }
        }
    }
}

#[tokio::test]
async fn an_agent_does_what_its_host_allows_and_nothing_else() {
    let settings = Settings { service: "tag_pattern = \"v[0-9]+\"\n".into(), ..Settings::default() };
    let world = World::landed(&settings).await;
    let before = world.containers();
    let mut control = Control::of(&world).await;
    let foreign = format!("other.example.com/acme/web:v2@{}", world.digest("v2"));
    let own = format!("{}@{}", world.image("v3"), world.digest("v3"));
    let future = DeploymentId::from_parts(u64::try_from(clock::now_ms()).expect("a time") + 3_600_000, 7);
    for (what, fields) in [
        ("a service that is not there", json!({ "service": "db", "tag": "v2" })),
        ("a tag that the host does not allow", json!({ "tag": "latest" })),
        ("an image of another repository", json!({ "tag": "v2", "images": [foreign] })),
        ("a rollback to an image of another repository", json!({ "order": "rollback", "images": [foreign] })),
        (
            "a rollback to what never ran here, by a tag that the host does not allow",
            json!({ "order": "rollback", "tag": "latest", "images": [own] }),
        ),
        ("a rollback to what never ran here, without a tag", json!({ "order": "rollback", "images": [own] })),
        ("what is no image", json!({ "tag": "v2", "images": ["-v /:/host"] })),
        ("an id of a time that is yet to come", json!({ "deployment": future, "tag": "v2" })),
        ("a caller that is none", json!({ "caller": "root\n", "tag": "v2" })),
    ] {
        let said = control.order(fields).await;
        assert_eq!((&said["kind"], &said["later"]), (&json!("refused"), &json!(false)), "{what}: {said}");
    }
    // Whatever id it gives, and whatever text it sends: the record says what is true, and the host's own orders go on.
    let said =
        control.order(json!({ "tag": "v2", "reason": "x".repeat(100_000), "run_url": "javascript:alert(1)", "git_ref": "-x" })).await;
    assert_eq!(said["kind"], "accepted");
    let id = said["deployment"].as_str().expect("an id").to_owned();
    assert_eq!(control.ended(&said).await["outcome"]["outcome"], "live");
    let shown = world.server().show(&id).await;
    assert_eq!(shown["caller"], "key:ci on control");
    assert_eq!((shown["reason"].as_str().map(str::len), &shown["run_url"]), (Some(2000), &Value::Null), "{shown}");
    assert_ne!(world.containers(), before);
    world.land("v3").await;
    assert_eq!(world.running(), "v3");
    // What was verified here is gone back to as this host has it, whatever else is said of it.
    let said = control
        .order(json!({ "order": "rollback", "tag": "v9", "images": [format!("{}@{}", world.image("v9"), world.digest("v1"))] }))
        .await;
    assert_eq!(said["kind"], "accepted", "{said}");
    assert_eq!(control.ended(&said).await["outcome"]["outcome"], "live");
    assert_eq!((world.running(), world.env()), ("v1".to_owned(), world.env_of("v1")));
    // By a tag that the host allows it gets what the tag means, and no other digest.
    let said = control
        .order(json!({ "order": "rollback", "tag": "v4", "images": [format!("{}@{}", world.image("v4"), world.digest("v5"))] }))
        .await;
    assert_eq!(said["kind"], "accepted", "{said}");
    let ended = control.ended(&said).await;
    assert_eq!((&ended["outcome"]["outcome"], &ended["outcome"]["guard"]), (&json!("refused"), &json!("digest_mismatch")), "{ended}");
    assert_eq!(world.running(), "v1");
    world.finish().await;
}

#[tokio::test]
async fn what_was_approved_is_landed_as_it_is_or_not_at_all() {
    let world = World::landed(&Settings::default()).await;
    let before = world.containers();
    let mut control = Control::of(&world).await;
    let approved = |tag: &str| format!("{}@{}", world.image("v2"), world.digest(tag));
    // The tag was moved since: its digest is another one now.
    let said = control.order(json!({ "tag": "v2", "images": [approved("v1")] })).await;
    assert_eq!(said["kind"], "accepted", "{said}");
    let ended = control.ended(&said).await;
    assert_eq!((&ended["outcome"]["outcome"], &ended["outcome"]["guard"]), (&json!("refused"), &json!("digest_mismatch")), "{ended}");
    assert!(ended["outcome"]["why"].as_str().is_some_and(|why| why.starts_with("the control plane orders ")), "{ended}");
    assert_eq!(world.containers(), before);
    let said = control.order(json!({ "tag": "v2", "images": [approved("v2")] })).await;
    assert_eq!(said["kind"], "accepted", "{said}");
    assert_eq!(control.ended(&said).await["outcome"]["outcome"], "live");
    assert_eq!(world.running(), "v2");
    world.finish().await;
}

/// What comes when its time is over is not begun; what the host has is its own to finish.
#[tokio::test]
async fn an_order_that_comes_too_late_is_not_taken() {
    let world = World::landed(&Settings::default()).await;
    let before = world.containers();
    let mut control = Control::of(&world).await;
    let id = clock::new_id();
    let said = control.order(json!({ "deployment": id, "tag": "v2", "good_for_s": 0 })).await;
    assert_eq!((&said["kind"], &said["guard"], &said["later"]), (&json!("refused"), &json!("age"), &json!(false)), "{said}");
    assert_eq!(world.server().get(&format!("/api/v1/deployments/{id}")).await.0, 404);
    assert_eq!(world.containers(), before);
    let said = control.order(json!({ "deployment": id, "tag": "v2", "good_for_s": 1 })).await;
    assert_eq!(said["kind"], "accepted", "{said}");
    let again = control.order(json!({ "deployment": id, "tag": "v2", "good_for_s": 0 })).await;
    assert_eq!(again["kind"], "accepted", "{again}");
    assert_eq!(control.ended(&said).await["outcome"]["outcome"], "live");
    world.finish().await;
}

/// A configuration that is read again is told over the line that is there, and only where something of it is another thing.
#[tokio::test]
async fn a_control_plane_is_told_of_a_configuration_that_was_read_again() {
    let world = World::landed(&Settings::default()).await;
    let mut control = Control::of(&world).await;
    let file = world.path("tagalong.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let read_again = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        host("kill", &["-HUP", &world.server().pid().to_string()]);
    };
    // What it is not to know changes first.
    read_again(&text.replacen("wait_s = 25", "wait_s = 24", 1));
    crate::support::until("it is read", || world.server().log().contains("docker.wait_s")).await;
    read_again(&text.replacen("/acme/web\"", "/acme/other\"", 1));
    let hello = control.hear(&["hello"]).await;
    let image = hello["services"][0]["images"][0].as_str().expect("an image");
    assert!(image.ends_with("/acme/other"), "{hello}");
    read_again(&text);
    let hello = control.hear(&["hello"]).await;
    assert!(hello["services"][0]["images"][0].as_str().is_some_and(|image| image.ends_with("/acme/web")), "{hello}");
    world.finish().await;
}

/// Up to which deployment the agent has told everything.
fn told_to(world: &World) -> Option<String> {
    let file = world.path("data/tagalong.db").display().to_string();
    let script = "import sqlite3, sys\nfor (value,) in sqlite3.connect(sys.argv[1]).execute(\"SELECT value FROM meta WHERE name = 'told_to'\"): print(value)";
    Some(host("python3", &["-c", script, &file])).filter(|value| !value.is_empty())
}

/// A control plane whose database was restored from a backup knows newer deployments of one service, and not the last ones of another.
#[tokio::test]
async fn what_a_restored_control_plane_lost_of_one_service_is_told_again() {
    const NEWEST: &str = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ";
    let world = World::new(&Settings::default()).await;
    let id = world.land("v1").await;
    let told = json!({ "deployment": id });
    let mut control = Control::of(&world).await;
    control.ended(&told).await;
    // It has remembered that this is known, and has nothing more to say.
    until_some("all is told", || (told_to(&world)? == id).then_some(())).await;
    drop(control);
    let lost = json!({ "newest": NEWEST, "newest_of": [{ "service": "web" }, { "service": "api" }] });
    let (mut control, hello) = Control::that_knows(&world, &lost).await;
    assert_eq!(hello["journals"], json!([]));
    assert_eq!(control.ended(&told).await["outcome"]["outcome"], "live");
    world.finish().await;
}
