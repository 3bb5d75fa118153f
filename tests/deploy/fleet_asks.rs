//! Every verb for a service on the host of an agent: from the control plane, and on the host itself.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use serde_json::json;

use crate::control::tagalong;
use crate::fleet::Fleet;
use crate::fleet::until_known;
use crate::support::until;
use crate::world::Settings;

/// Exit code and output of a command of tagalong.
fn ran(args: &[&str], config: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagalong"));
    let ran = command.args(args).arg("--config").arg(config).output().expect("it runs");
    (ran.status.code(), format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)))
}

/// Calls a verb of a service at the control plane.
async fn act(fleet: &Fleet, verb: &str) -> (u16, Value) {
    let path = format!("/api/v1/services/web/{verb}");
    fleet.control().post(&path, json!({ "call": format!("POST {path}") })).await
}

/// Orders a verb and gives the outcome that both sides have.
async fn done(fleet: &Fleet, verb: &str) -> Value {
    let (status, accepted) = act(fleet, verb).await;
    assert_eq!(status, 202, "{accepted}");
    fleet.agreed(accepted["id"].as_str().expect("an id")).await
}

#[tokio::test]
async fn what_runs_is_adopted_repaired_retried_and_resumed_through_an_agent() {
    let fleet = Fleet::new(&Settings::default(), "").await;
    fleet.world.by_hand(&["pull", &fleet.world.image("v1")]);
    fleet.world.by_hand(&["compose", "up", "-d"]);
    let before = fleet.world.containers();
    let adopted = done(&fleet, "adopt").await;
    assert_eq!((&adopted["outcome"], fleet.world.containers()), (&json!("live"), before), "{adopted}");
    fleet.world.arm("page@v2", "fail");
    let failed = fleet.control().deploy("v2").await;
    assert_eq!(fleet.agreed(&failed).await["outcome"], "rolled_back");
    fleet.world.disarm("page@v2");
    let retried = fleet.control().order(&format!("/api/v1/deployments/{failed}/retry"), json!({})).await;
    let retried = fleet.agreed(&retried).await;
    assert_eq!((&retried["outcome"], fleet.world.running().as_str()), (&json!("live"), "v2"), "{retried}");
    fleet.world.end_web();
    let repaired = done(&fleet, "repair").await;
    assert_eq!((&repaired["outcome"], &fleet.world.containers()["web"]["state"]), (&json!("live"), &json!("running")), "{repaired}");
    let back = fleet.control().roll_back(json!("previous")).await;
    assert_eq!(fleet.agreed(&back).await["outcome"], "live");
    assert!(fleet.world.hold().await.is_some());
    assert_eq!(act(&fleet, "resume").await.0, 200);
    assert_eq!(fleet.world.hold().await, None);
    // On the host itself, and the control plane is told.
    let path = "/api/v1/services/web/repair";
    let own = fleet.world.server().order(path, json!({ "call": format!("POST {path}") })).await;
    until_known(&fleet, &own).await;
    assert_eq!(fleet.agreed(&own).await["caller"], "local:0 on micro");
    fleet.finish().await;
}

#[tokio::test]
async fn the_command_line_says_the_same_at_the_control_plane_and_on_the_host() {
    let fleet = Fleet::landed().await;
    let id = fleet.land("v2").await;
    for config in [fleet.path("tagalong.toml"), fleet.world.path("tagalong.toml")] {
        let said = |args: &[&str]| tagalong(args, &config);
        assert!(said(&["status"]).contains("v2"), "{}", said(&["status"]));
        let history = said(&["history", "web"]);
        assert!(history.contains("v1") && history.contains("v2"), "{history}");
        let log = said(&["logs", &id]);
        assert!(log.contains("live") && log.lines().count() > 10, "{log}");
        let report: Value = serde_json::from_str(&said(&["smoke", "--service", "web", "--format", "json"])).expect("a report");
        assert_eq!((&report["status"], &report["release"]["tag"].is_null()), (&json!(200), &true), "{report}");
    }
    // What the page must show is the live release, which the host knows.
    let there = fleet.path("tagalong.toml");
    let (_, report) = fleet.control().post("/api/v1/services/web/look", json!({})).await;
    assert_eq!((&report["release"], &report["findings"]), (&json!("v2"), &json!([])), "{report}");
    let (code, text) = ran(&["smoke", "--service", "web", "--release", "v9"], &there);
    assert!(code == Some(3) && text.contains("v9"), "{code:?} {text}");
    fleet.world.arm("page@v2", "fail");
    let (code, text) = ran(&["smoke", "--service", "web"], &there);
    assert!(code == Some(3) && text.contains("500"), "{code:?} {text}");
    fleet.world.disarm("page@v2");
    fleet.cut();
    until("the agent is away", || fleet.control().log().contains("an agent is away")).await;
    let (code, text) = ran(&["smoke", "--service", "web"], &there);
    assert!(code == Some(1) && text.contains("the agent micro has been away for"), "{code:?} {text}");
    fleet.mend();
    let (code, text) = ran(&["smoke", "--service", "nobody"], &there);
    assert!(code == Some(1) && text.contains("There is no service nobody"), "{code:?} {text}");
    fleet.finish().await;
}

#[tokio::test]
async fn datasets_of_agents_are_shown_with_their_host() {
    let data = tempfile::tempdir().expect("a folder");
    let path = |name: &str| data.path().join(name).display().to_string();
    let git = |args: &[&str]| crate::support::host("git", args);
    git(&["init", "-q", "--bare", "-b", "main", &path("remote")]);
    git(&["clone", "-q", &path("remote"), &path("work")]);
    std::fs::write(data.path().join("work/page.md"), "# one\n").expect("a file");
    git(&["-C", &path("work"), "add", "."]);
    git(&["-C", &path("work"), "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "-qm", "one"]);
    git(&["-C", &path("work"), "push", "-q", "origin", "HEAD:main"]);
    let table = format!("[dataset.pages]\ndir = \"{}\"\nremote = \"{}\"\nbranch = \"main\"\n", path("pages"), path("remote"));
    let fleet = Fleet::new(&Settings { service: table, ..Settings::default() }, "").await;
    let head = git(&["-C", &path("work"), "rev-parse", "HEAD"]);
    until("the host has the data", || data.path().join("pages").exists()).await;
    let mut text = String::new();
    for _ in 0..1200 {
        text = tagalong(&["data", "status"], &fleet.path("tagalong.toml"));
        if text.contains(&head) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(text.contains("pages on micro") && text.contains(&head), "{text}");
    let own = tagalong(&["data", "status"], &fleet.world.path("tagalong.toml"));
    assert!(own.contains("pages") && !own.contains(" on micro"), "{own}");
    fleet.cut();
    until("the agent is away", || fleet.control().log().contains("an agent is away")).await;
    let text = tagalong(&["data", "status"], &fleet.path("tagalong.toml"));
    assert!(text.contains("The datasets of the agent micro are not shown: the agent micro has been away for"), "{text}");
    fleet.mend();
    fleet.finish().await;
}
