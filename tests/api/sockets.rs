//! Further unix sockets: anybody who opens one may do what its scopes say, and nothing else.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Key;
use crate::support::Plan;
use crate::support::assert_refused;

const RUNNER: &str = "[[socket]]\nid = \"runner\"\npath = \"runner/tagalong.sock\"\nscopes = [\"deploy:web\"]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_socket_may_do_only_what_its_scopes_say() {
    let mut plan = Plan::new(Database::Sqlite);
    plan.socket = true;
    plan.tables = RUNNER.into();
    let narrow = Key::bearer("narrow", &["read"]);
    plan.keys.push(narrow.clone());
    let ops = plan.keys[0].clone();
    let rig = plan.start().await;
    let socket = rig.dir().join("runner/tagalong.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let client = reqwest::Client::builder().unix_socket(socket.clone()).build().unwrap();
    let send = async |call: Call| Answer::of(call.try_open(&client, "http://tagalong").await.unwrap()).await;
    let order = |service: &str| Call::post("/api/v1/deployments", &json!({ "service": service, "tag": "1" }));

    let answer = send(order("web")).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(rig.ended(&id).await["caller"], "key:runner");
    let before = rig.rows().await;
    for call in [
        order("db"),
        Call::post("/api/v1/rollbacks", &json!({ "service": "web" })),
        Call::get("/api/v1/services/db"),
        Call::get("/api/v1/refused"),
        order("web").header("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_refused(&send(call).await, 403, "forbidden");
    }
    let seen = send(Call::get("/api/v1/services")).await.json()["services"].clone();
    assert!(seen.as_array().unwrap().len() == 1 && seen[0]["name"] == "web", "{seen}");
    // A proof of the caller's own is what counts, and a wrong one is not made good by the socket.
    assert_refused(&send(order("web").by(&narrow)).await, 403, "forbidden");
    assert_refused(&send(order("web").header("authorization", "Bearer wrong-wrong-wrong-wrong")).await, 401, "unauthorized");
    assert_refused(&send(order("web").header("authorization", "Basic YTpi")).await, 401, "unauthorized");
    assert_eq!(rig.rows().await, before);
    assert_eq!(send(order("db").by(&ops)).await.status, 202);

    // The server's own socket is the operator's as before.
    let own = reqwest::Client::builder().unix_socket(rig.dir().join("server.sock")).build().unwrap();
    assert_eq!(Answer::of(Call::get("/api/v1/services").try_open(&own, "http://tagalong").await.unwrap()).await.status, 200);

    // What the socket may do is what the configuration says now.
    let text = std::fs::read_to_string(&rig.config_file).unwrap();
    std::fs::write(&rig.config_file, text.replace("deploy:web\"]", "read\"]\nrefs = [\"refs/heads/main\"]")).unwrap();
    rig.app().read_again(&rig.config_file);
    assert_refused(&send(order("web")).await, 403, "forbidden");
    assert_eq!(send(Call::get("/api/v1/services")).await.status, 200);
    std::fs::write(&rig.config_file, text.replace(RUNNER, "")).unwrap();
    rig.app().read_again(&rig.config_file);
    assert_refused(&send(order("web")).await, 401, "unauthorized");
    rig.finish().await;
    assert!(!socket.exists());
}

/// Whoever may use the socket can try as many secrets as a caller over the network, and no more; that keeps nobody else out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_cannot_be_guessed_over_a_further_socket_and_guessing_locks_nobody_out() {
    let mut plan = Plan::new(Database::Sqlite);
    plan.socket = true;
    plan.server = "failed_attempts_per_min = 5".into();
    plan.tables = RUNNER.into();
    let signs = Key::signing("signs", &["read"]);
    plan.keys.push(signs.clone());
    let ops = plan.keys[0].clone();
    let rig = plan.start().await;
    let over = |path: &str| reqwest::Client::builder().unix_socket(rig.dir().join(path)).build().unwrap();
    let (socket, own) = (over("runner/tagalong.sock"), over("server.sock"));
    let send = async |client: &reqwest::Client, call: Call| Answer::of(call.try_open(client, "http://tagalong").await.unwrap()).await;
    let services = || Call::get("/api/v1/services");

    let guess = |number: usize| services().header("authorization", format!("Bearer {number:032}"));
    let mut tries = 0;
    let last = loop {
        let answer = send(&socket, guess(tries)).await;
        tries += 1;
        if answer.status != 401 || tries == 500 {
            break answer;
        }
    };
    assert_refused(&last, 429, "too_many");

    // What cannot be guessed still counts, and so does the socket itself; other ways know nothing of it.
    assert_eq!(send(&socket, services()).await.status, 200);
    assert_eq!(send(&socket, services().by(&signs)).await.status, 200);
    assert_eq!(send(&own, guess(0)).await.status, 200);
    assert_eq!(services().by(&ops).send(&rig).await.status, 200);
    rig.finish().await;
}
