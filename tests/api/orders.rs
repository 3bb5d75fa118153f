//! Orders: taken once, superseded, held, late, cancelled, retried, recovered.

use serde_json::json;

use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::assert_refused;

on_both!(a_repeated_delivery_gets_its_first_answer);

/// A5
async fn a_repeated_delivery_gets_its_first_answer(database: Database) {
    let mut rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let body = json!({ "service": "web", "tag": "1" });
    let call = Call::post("/api/v1/deployments", &body).by(rig.key()).id("msg-1");
    let first = call.clone().send(&rig).await;
    assert_eq!(first.status, 202);
    assert_eq!(first.header("location"), format!("/api/v1/deployments/{}", first.json()["id"].as_str().unwrap()));
    assert_eq!(call.clone().send(&rig).await.text, first.text);
    let other = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "2" })).by(rig.key()).id("msg-1").send(&rig).await;
    assert_refused(&other, 409, "id_reused");
    let elsewhere = Call::post("/api/v1/rollbacks", &body).by(rig.key()).id("msg-1").send(&rig).await;
    assert_eq!(elsewhere.status, 400, "{}", elsewhere.text);
    rig.restart().await;
    assert_eq!(call.send(&rig).await.text, first.text);
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments").await, 1);
    drop(gate);
    rig.finish().await;
}
