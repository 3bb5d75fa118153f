//! One host of several that was captured: it says that something else is live than what was ordered, and tells of deployments that never were.
//! The other hosts land what was ordered, or nothing, and nothing that it says is gone back to.

use serde_json::Value;
use serde_json::json;
use tagalong::clock;

use crate::cluster::Database;
use crate::rollouts::Fleet;

/// A fleet of two in which v1 is live, and whose first host says what this test likes, besides what its agent says.
struct Captured {
    fleet: Fleet,
    /// An image of the service's own repository that nobody has ordered.
    other: String,
}

impl Captured {
    async fn new() -> Self {
        let fleet = Fleet::landed(2, "", Database::Sqlite).await;
        for folder in ["wire", "met"] {
            std::fs::create_dir(fleet.hosts[0].path(folder)).expect("a folder");
        }
        fleet.cut(0);
        fleet.until_away("micro").await;
        fleet.mend(0);
        fleet.are_there().await;
        let other = format!("{}@{}", fleet.hosts[0].image("v9"), fleet.hosts[0].digest("v9"));
        Self { fleet, other }
    }

    /// From now on the control plane asks the registry of the image, since its own configuration names it.
    async fn the_control_plane_knows_the_image(&mut self) {
        let file = self.fleet.dir.path().join("tagalong.toml");
        let text = std::fs::read_to_string(&file).expect("a file");
        let (_, repository) = self.fleet.hosts[0].registry();
        std::fs::write(&file, text.replace("[service.web]\n", &format!("[service.web]\nimage = \"{repository}\"\n"))).expect("a file");
        self.fleet.restart_control().await;
        self.fleet.are_there().await;
    }

    fn at_wire(&self, point: &str, what: &str) {
        let wire = self.fleet.hosts[0].path("wire");
        std::fs::write(wire.join(".fresh"), what).expect("a file");
        std::fs::rename(wire.join(".fresh"), wire.join(point)).expect("a file");
    }

    /// Says it, and waits until the control plane has the deployment that it tells of.
    async fn tells(&self, frame: &Value) -> String {
        self.at_wire("say", &format!("{frame}\n"));
        let id = frame["order"]["deployment"].as_str().expect("an id").to_owned();
        for _ in 0..600 {
            if self.fleet.control().get(&format!("/api/v1/deployments/{id}")).await.0 == 200 {
                return id;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("it is not recorded: {}", self.fleet.control().log());
    }

    /// What it tells of a deployment that nobody has ordered.
    fn stray(&self, order: &str, outcome: &Value) -> Value {
        let now_ms = clock::now_ms();
        json!({
            "kind": "ended", "order": { "deployment": clock::new_id(), "order": order, "service": "web", "caller": "local:0", "tag": "v9" },
            "created_ms": now_ms, "started_ms": now_ms, "ended_ms": now_ms, "step": "up", "verified": true,
            "outcome": outcome, "images": [self.other],
        })
    }

    async fn service(&self) -> Value {
        self.fleet.control().get("/api/v1/services/web").await.1
    }

    /// What the hosts have is whole; what the first one says of it is not what its journal says.
    async fn finish(self) {
        for world in self.fleet.hosts {
            world.finish().await;
        }
    }

    async fn retry(&self, id: &str) -> (u16, Value) {
        self.fleet.control().post(&format!("/api/v1/deployments/{id}/retry"), json!({})).await
    }
}

#[tokio::test]
async fn what_one_host_says_that_it_landed_decides_nothing_for_the_others() {
    let mut captured = Captured::new().await;
    let digest = captured.fleet.hosts[0].digest("v2");
    for (what, is_known, by_digest) in
        [("a tag", false, false), ("a digest", false, true), ("a tag that the control plane knows", true, false)]
    {
        if is_known {
            captured.the_control_plane_knows_the_image().await;
        }
        let fleet = &captured.fleet;
        captured.at_wire("up.ended", &format!("edit {}", json!({ "images": [captured.other] })));
        let order = json!({ "service": "web", "tag": "v2", "digest": by_digest.then_some(&digest) });
        let id = fleet.control().order("/api/v1/deployments", order).await;
        let ended = fleet.outcome(&id).await;
        let expected = if is_known || by_digest { "needs_operator" } else { "rolled_back" };
        assert_eq!(ended["outcome"], expected, "{what}: {ended}\n{}", fleet.control().journal(&id).await);
        assert_eq!(fleet.hosts[1].running(), "v1", "{what}");
        // Where it is settled before the first host, nobody is asked for anything else; else the other host looks for itself.
        let (status, there) = fleet.hosts[1].server().get(&format!("/api/v1/deployments/{id}")).await;
        if is_known || by_digest {
            assert_eq!(status, 404, "{what}: {there}");
            let why = ended["why"].as_str().expect("a reason");
            assert!(why.contains("micro: ") && why.contains("the agent micro says that it has landed"), "{why}");
        } else {
            assert_eq!((&there["outcome"], &there["guard"]), (&json!("refused"), &json!("digest_mismatch")), "{there}");
        }
        let service = captured.service().await;
        assert_eq!(service["live"]["tag"], "v1", "{what}: {service}");
        let back = service["rollback_candidates"].to_string();
        assert!(!back.contains(&captured.other), "{what}: {back}");
        std::fs::remove_file(fleet.hosts[0].path("wire/up.ended")).expect("a file");
        let (status, answer) = fleet.control().post("/api/v1/services/web/resume", json!({})).await;
        assert_eq!(status, 200, "{answer}");
    }
    // Who is honest again is believed again, and every host goes back to what was verified on it.
    let fleet = &captured.fleet;
    let id = fleet.land("v3").await;
    let images = fleet.control().show(&id).await["images"].to_string();
    assert!(images.contains(&fleet.hosts[0].digest("v3")), "{images}");
    let back = fleet.control().roll_back(json!({ "tag": "v1" })).await;
    assert_eq!(fleet.outcome(&back).await["outcome"], "live", "{}", fleet.control().journal(&back).await);
    assert_eq!(fleet.running(), ["v1", "v1"]);
    captured.finish().await;
}

#[tokio::test]
async fn what_one_host_tells_of_itself_is_no_order_for_the_others() {
    let captured = Captured::new().await;
    let fleet = &captured.fleet;
    // The first host has another release than the second, so that somebody asks what mends it.
    fleet.hosts[0].land("v2").await;
    until_drift(&captured).await;
    let stray = captured.tells(&captured.stray("rollback", &json!({ "outcome": "failed", "why": "the pull failed" }))).await;
    let service = captured.service().await;
    let mend = service["standing"]["mend"].as_str().unwrap_or_default();
    assert!(mend.starts_with("tagalong retry ") && !mend.contains(&stray), "{service}");
    let (status, answer) = captured.retry(&stray).await;
    assert_eq!((status, &answer["code"]), (422, &json!("no_target")), "{answer}");
    assert_eq!(fleet.hosts[1].running(), "v1");
    assert!(!captured.service().await["rollback_candidates"].to_string().contains(&captured.other));
    // It neither holds the service, nor ends a hold.
    captured.tells(&captured.stray("deploy", &json!({ "outcome": "needs_operator", "why": "look" }))).await;
    captured.tells(&captured.stray("rollback", &json!({ "outcome": "live", "warnings": [] }))).await;
    assert_eq!(captured.service().await["held"], Value::Null);
    let repaired = fleet.control().roll_back(json!({ "tag": "v1" })).await;
    assert_eq!(fleet.outcome(&repaired).await["outcome"], "live", "{}", fleet.control().journal(&repaired).await);
    captured.tells(&captured.stray("deploy", &json!({ "outcome": "live", "warnings": [] }))).await;
    assert_ne!(captured.service().await["held"], Value::Null);
    // A host that is silent does not keep the others held.
    fleet.cut(0);
    fleet.until_away("micro").await;
    let (status, answer) = fleet.control().post("/api/v1/services/web/resume", json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let said = answer["message"].as_str().expect("a message");
    assert!(said.starts_with("web accepts orders again.") && said.contains("micro"), "{said}");
    assert_eq!(fleet.hosts[1].hold().await, None);
    fleet.mend(0);
    fleet.are_there().await;
    captured.finish().await;
}

async fn until_drift(captured: &Captured) {
    for _ in 0..600 {
        if captured.service().await["standing"]["word"] == "drift" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no drift: {}", captured.service().await);
}
