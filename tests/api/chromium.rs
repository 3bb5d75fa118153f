//! The pages of the dashboard in a real Chromium, by keys alone among others: `tests/rig/pages.mjs` looks at them, and here is the server.

use std::process::Stdio;

use regex::Regex;
use serde_json::json;
use sqlx::AssertSqlSafe;
use tagalong::model::LineDraft;
use tagalong::model::LineKind;
use tagalong::model::Step;
use tokio::io::AsyncBufReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::io::BufReader;

use crate::agents::Host;
use crate::browser::add_user;
use crate::receiver::Receiver;
use crate::support::Call;
use crate::support::Database;
use crate::support::Gate;
use crate::support::Key;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::until;

const PASSWORD: &str = "canary horse battery staple";
/// Names as people have them.
const ACTOR: &str = "عبد الله محمد";
const REASON: &str = "Die Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft (שלום) wünscht es";

async fn execute(rig: &Rig, statement: &str) {
    let pool = rig.database().await;
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&pool).await.unwrap();
    pool.close().await;
}

/// A server whose rollbacks of `web` wait for an approval by `ada`, with releases of both services.
async fn started(receiver: &Receiver) -> Rig {
    let mut plan = Plan { socket: true, ..Plan::new(Database::Sqlite) };
    plan.files = vec![("gotify.token", "gotifytoken".to_owned())];
    plan.keys.push(Key::signing("ci", &["rollback:web"]));
    plan.tables = format!(
        "[[notify]]\nid = \"gotify\"\nkind = \"gotify\"\nurl = \"{}\"\ntoken_file = \"gotify.token\"\nevents = []\n",
        receiver.url("/gotify/")
    );
    let approval = "[[person]]\nid = \"ada\"\nnotify = \"gotify\"\nusers = [\"ada\"]\n[service.web.approval]\napprovers = [\"ada\"]\nrollbacks = true\n";
    let rig = plan.start().await.landed_before(approval).await;
    // The same releases for the other service.
    let columns = "state, caller, force, dry_run, last_position, created_ms, ended_ms, tag, outcome, outcome_name, kind";
    execute(&rig, &format!("INSERT INTO deployments (id, service, {columns}) SELECT '02' || substr(id, 3), 'db', {columns} FROM deployments WHERE id LIKE '0100%'")).await;
    let columns = "run, host, state, step, barrier, attempts, fence, verified, changed";
    execute(&rig, &format!("INSERT INTO runs (deployment, service, images, {columns}) SELECT '02' || substr(deployment, 3), 'db', replace(images, '/web', '/db'), {columns} FROM runs WHERE deployment LIKE '0100%'")).await;
    execute(&rig, &format!("UPDATE deployments SET actor = '{ACTOR}', reason = '{REASON}' WHERE id LIKE '0%'")).await;
    let open = format!("('01K00000000000000000000001', 'db', 'page', 'x', '{REASON}', NULL, 3, 0, 5, 6, NULL)");
    execute(&rig, &format!("INSERT INTO incidents VALUES {open}")).await;
    add_user(&rig, "ada", &["deploy:*", "rollback:*", "approve:*", "reload:*", "read"], Some(PASSWORD)).await;
    add_user(&rig, "linus", &["read"], Some(PASSWORD)).await;
    rig
}

/// An order that waits for an approval.
async fn waiting(rig: &Rig) -> String {
    let back = Call::post("/api/v1/rollbacks", &json!({ "service": "web", "reason": REASON })).by(&rig.plan.keys[1]).send(rig).await;
    assert_eq!(back.status, 202, "{}", back.text);
    let id = back.json()["id"].as_str().unwrap().to_owned();
    rig.until(&id, |shown| shown["waits_for"] == "approval").await;
    id
}

/// What stands in the message to the approver.
async fn code(receiver: &Receiver) -> String {
    let letter = until("a code", async || receiver.calls().into_iter().find(|called| called.path.starts_with("/gotify"))).await;
    let code = Regex::new("[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}").unwrap();
    code.find(letter.body["message"].as_str().unwrap()).unwrap().as_str().to_owned()
}

async fn write_lines(rig: &Rig, id: &str) {
    let id = id.parse().unwrap();
    let first = rig.app().shared().store.last_position(&id).await.unwrap() + 1;
    let draft = |seq: i64| LineDraft {
        seq,
        at_ms: 1_790_000_000_000 + seq,
        step: Step::Pull.into(),
        kind: LineKind::Output,
        text: format!("line {seq}"),
    };
    let lines: Vec<LineDraft> = (first..first + 60).map(draft).collect();
    rig.app().shared().store.append_own_lines(&id, &lines).await.unwrap();
    rig.app().shared().hub.tell(&id);
}

/// Does what the browser's side asks for, and says what came of it.
async fn answer(rig: &Rig, receiver: &Receiver, gate: &mut Option<Gate>, asked: &str) -> String {
    match asked.split_once(' ').unwrap_or((asked, "")) {
        ("code", _) => code(receiver).await,
        ("lines", id) => {
            write_lines(rig, id).await;
            "written".to_owned()
        }
        ("go", _) => {
            drop(gate.take());
            "gone".to_owned()
        }
        ("expire", _) => rig.execute("UPDATE sessions SET created_ms = 1, seen_ms = 1").await.to_string(),
        ("count", _) => rig.count("SELECT COUNT(*) FROM deployments").await.to_string(),
        _ => panic!("the browser asks for {asked}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
async fn the_pages_in_chromium() {
    let receiver = Receiver::start().await;
    let rig = started(&receiver).await;
    let _host = Host::enrolled(&rig, "micro").await;
    let waits = waiting(&rig).await;
    let live = "01000000000000000000000002";
    write_lines(&rig, live).await;
    let mut gate = Some(rig.gate("db"));
    let pages = [
        "/",
        "/deployments",
        "/deployments?state=live&service=web",
        "/services/web",
        "/services/db",
        "/services/web/deploy",
        "/services/web/rollback",
        "/services/web/resume",
        "/incidents?all=1",
        "/data",
        "/agents",
        "/agents/new",
        "/agents/micro/revoke",
        "/users",
        "/users/new",
        "/users/linus/remove",
        "/keys",
        "/audit",
        "/sessions",
    ];
    let mut pages: Vec<String> = pages.into_iter().map(str::to_owned).collect();
    pages.extend([format!("/deployments/{live}"), format!("/deployments/{waits}"), format!("/deployments/{live}/retry")]);
    let told = json!({ "url": format!("http://{}", rig.address()), "name": "ada", "password": PASSWORD, "pages": pages, "waits": waits, "live": live });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rig/pages.mjs");
    let mut looking = tokio::process::Command::new("node");
    looking.args([script, &told.to_string()]).args(std::env::var("PAGES_TEST").ok()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut looking = looking.kill_on_drop(true).spawn().expect("node; `tests/rig/install.sh browser` installs what this needs");
    let mut replies = looking.stdin.take().unwrap();
    let mut asked = BufReader::new(looking.stdout.take().unwrap()).lines();
    while let Some(line) = asked.next_line().await.unwrap() {
        let reply = answer(&rig, &receiver, &mut gate, &line).await;
        replies.write_all(format!("{reply}\n").as_bytes()).await.unwrap();
    }
    assert!(looking.wait().await.unwrap().success(), "what it says stands above");
    drop(gate);
    execute(&rig, "UPDATE deployments SET ask_next_ms = 0, waits_since_ms = waits_since_ms - 21600000 WHERE state = 'waiting'").await;
    rig.finish().await;
}
