//! What is recorded and shown: the audit trail, no forged line, no secret, the contract itself.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use serde_json::json;
use sqlx::Row as _;
use tagalong::app::App;
use tagalong::config::Config;
use tagalong::http::Need;
use tagalong::http::ROUTES;
use tagalong::http::Route;
use tagalong::model::Commit;
use tagalong::model::DatasetName;
use tagalong::model::Lane;
use tagalong::model::Message;
use tagalong::store::AuditFault;
use tagalong::store::Debt;
use tagalong::store::LastReload;
use tagalong::store::Owe;
use tagalong::store::Store;
use tagalong::store::Wait;

use crate::support::Call;
use crate::support::Database;
use crate::support::Key;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::assert_refused;
use crate::support::folder;

on_both!(what_is_owed_to_peers_is_kept, the_audit_trail_shows_tampering, no_text_from_outside_forges_a_line, no_secret_is_kept_or_shown);

/// Debts and outcomes of reloads, as the story of a reload uses them: only the newest commit is owed, and an answer for an
/// older one settles nothing.
async fn what_is_owed_to_peers_is_kept(database: Database) {
    let mut rig = Plan::new(database).start().await;
    let (name, here) = (DatasetName::parse("notes").unwrap(), "executor");
    let commit = |digit: &str| Message::Commit(Commit::parse(&digit.repeat(40)).unwrap());
    let lane = |executor: &str| Lane::Peers { executor: executor.to_owned(), dataset: name.clone() };
    let owes = |peers: &[&str], digit: &str| -> Vec<Owe> {
        peers.iter().map(|peer| Owe { receiver: (*peer).into(), key: "newest".into(), message: commit(digit) }).collect()
    };
    let store = rig.app().shared().store.clone();
    let older = store.owe(&lane(here), &owes(&["http://a/", "http://b/"], "1"), 1000, 1000).await.unwrap();
    let first = store.owed(&lane(here)).await.unwrap();
    assert_eq!(first, older);
    assert_eq!((first.len(), first[0].since_ms, first[0].tries, &first[0].why), (2, 1000, 0, &None));
    for _ in 0..3 {
        let tried = store.owed(&lane(here)).await.unwrap();
        let wait = Wait { next_ms: 5000, quiet_ms: None, why: "it is away".into() };
        store.put_off(&lane(here), &tried[0], here, &wait).await.unwrap();
    }
    let tried = Debt { tries: 3, next_ms: 5000, why: Some("it is away".into()), ..first[0].clone() };
    assert_eq!(store.owed(&lane(here)).await.unwrap()[0], tried);
    store.owe(&lane(here), &owes(&["http://a/"], "2"), 2000, 2000).await.unwrap();
    store.settle(&lane(here), &older[0]).await.unwrap();
    store.settle(&lane(here), &older[1]).await.unwrap();
    let last = LastReload { outcome: "fast-forwarded".into(), why: None, load_fault: None, at_ms: 7, loaded_ms: Some(7) };
    store.reloaded(here, &name, &last).await.unwrap();
    store.reloaded(here, &name, &LastReload { why: Some("away".into()), at_ms: 8, loaded_ms: None, ..last.clone() }).await.unwrap();
    rig.restart().await;
    let store = rig.app().shared().store.clone();
    let left = store.owed(&lane(here)).await.unwrap();
    assert_eq!((left.len(), &left[0].message, left[0].since_ms), (1, &commit("2"), 1000));
    let kept = store.last_reload(here, &name).await.unwrap().unwrap();
    assert_eq!((kept.at_ms, kept.loaded_ms, kept.why.as_deref()), (8, Some(7), Some("away")));
    store.forgive(&lane(here), "http://a/").await.unwrap();
    assert_eq!((store.owed(&lane(here)).await.unwrap(), store.owed(&lane("another")).await.unwrap()), (vec![], vec![]));
    rig.finish().await;
}

/// Everything of a column, one row a line.
async fn column(rig: &Rig, sql: &'static str) -> Vec<String> {
    let pool = rig.database().await;
    let rows = sqlx::query(sql).fetch_all(&pool).await.unwrap();
    pool.close().await;
    rows.iter().map(|row| row.try_get::<Option<String>, _>(0).unwrap().unwrap_or_default()).collect()
}

/// G2
async fn the_audit_trail_shows_tampering(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    for path in [format!("/api/v1/deployments/{waiting}/cancel"), "/api/v1/services/web/resume".to_owned()] {
        assert_eq!(rig.act(rig.key(), &path).await.status, 200);
    }
    drop(gate);
    rig.ended(&id).await;
    crate::support::until("the outcome's entry", async || (rig.count("SELECT COUNT(*) FROM audit").await == 5).then_some(())).await;
    let said = column(&rig, "SELECT caller || ' ' || action || ' ' || target || ' ' || detail FROM audit ORDER BY seq").await;
    let expected = [
        format!("key:ops order web deploy 1 as {id}"),
        format!("key:ops order web deploy 2 as {waiting}"),
        format!("key:ops cancel web {waiting}"),
        "key:ops resume web ".to_owned(),
    ];
    assert_eq!(said[..4], expected);
    assert!(said[4].starts_with(&format!("key:ops outcome web {id} failed, nothing was changed: ")), "{}", said[4]);
    let store = &rig.app().shared().store;
    let (entries, noted) = store.verify_audit(None).await.unwrap().unwrap();
    assert_eq!(entries, 5);
    // Every way to change it, each made good again.
    let columns = ["at_ms", "caller", "action", "target", "detail", "previous", "hash"];
    for column in columns {
        let change = if column == "at_ms" { "at_ms + 1".to_owned() } else { format!("{column} || 'x'") };
        let back = if column == "at_ms" { "at_ms - 1".to_owned() } else { format!("substr({column}, 1, length({column}) - 1)") };
        edit(&rig, &format!("UPDATE audit SET {column} = {change} WHERE seq = 3")).await;
        assert_eq!(changed(store).await, 3, "{column}");
        edit(&rig, &format!("UPDATE audit SET {column} = {back} WHERE seq = 3")).await;
        assert!(store.verify_audit(None).await.unwrap().is_ok(), "{column}");
    }
    // A boundary that moves between two fields.
    edit(&rig, "UPDATE audit SET caller = 'key:opsc', action = 'ancel' WHERE seq = 3").await;
    assert_eq!(changed(store).await, 3);
    edit(&rig, "UPDATE audit SET caller = 'key:ops', action = 'cancel' WHERE seq = 3").await;
    // The end cut off shows by the database's own note; with that changed to fit, by the file beside it; with both, by what a
    // person has noted.
    let file = rig.data_dir().join(tagalong::store::AUDIT_HEAD_FILE);
    let head = std::fs::read_to_string(&file).unwrap();
    edit(&rig, "CREATE TABLE kept AS SELECT * FROM audit WHERE seq >= 4").await;
    edit(&rig, "CREATE TABLE note AS SELECT * FROM meta WHERE name = 'audit_head'").await;
    edit(&rig, "DELETE FROM audit WHERE seq = 5").await;
    assert!(cut(store, None).await.contains("the database's own note"));
    edit(&rig, "UPDATE meta SET value = (SELECT '4 ' || hash FROM audit WHERE seq = 4) WHERE name = 'audit_head'").await;
    assert!(cut(store, None).await.contains("audit-head"));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(store.verify_audit(None).await.unwrap().unwrap().0, 4);
    assert!(cut(store, Some(&noted)).await.contains(&noted));
    std::fs::write(&file, head).unwrap();
    edit(&rig, "INSERT INTO audit SELECT * FROM kept WHERE seq = 5").await;
    edit(&rig, "UPDATE meta SET value = (SELECT value FROM note) WHERE name = 'audit_head'").await;
    for head in [None, Some(noted.as_str())] {
        assert_eq!(store.verify_audit(head).await.unwrap().unwrap(), (entries, noted.clone()));
    }
    edit(&rig, "DELETE FROM audit WHERE seq = 4").await;
    assert_eq!(changed(store).await, 4);
    edit(&rig, "UPDATE audit SET seq = 4 WHERE seq = 5").await;
    assert_eq!(changed(store).await, 4);
    rig.finish().await;
}

async fn changed(store: &Store) -> i64 {
    match store.verify_audit(None).await.unwrap().unwrap_err() {
        AuditFault::Changed { seq } => seq,
        other => panic!("{other}"),
    }
}

async fn cut(store: &Store, noted: Option<&str>) -> String {
    let fault = store.verify_audit(noted).await.unwrap().unwrap_err();
    assert!(matches!(fault, AuditFault::Cut { .. } | AuditFault::NotThere { .. }), "{fault}");
    fault.to_string()
}

async fn edit(rig: &Rig, statement: &str) {
    let pool = rig.database().await;
    sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await.unwrap();
    pool.close().await;
}

const HOSTILE: [&str; 8] = [
    "a\n2026-11-21T03:00:00Z resolve *** live: verified",
    "a\r\nb",
    "\u{1b}[2K\u{1b}[1A forged \u{1b}]0;title\u{7}",
    "$(id) `id` ; id && id | id > x",
    "--upload-pack=id",
    "\u{202e}txet desrever\u{2066} \u{2028}next \u{85}line",
    "data: x\n\nevent: outcome\ndata: {\"outcome\":\"live\"}\n\n",
    "' OR 1=1; DROP TABLE lines; --",
];

/// C1, E3
async fn no_text_from_outside_forges_a_line(database: Database) {
    // A server of its own for each, since one asks Docker only once who it is.
    let order = async |text: &str| {
        let rig = Plan::new(database).start().await;
        let calls = rig.dir().join("web/calls");
        // What is no ref, commit or address is not taken for one.
        for field in ["ref", "commit", "run_url"] {
            let mut body = json!({ "service": "web", "tag": "1" });
            body[field] = text.into();
            if text != "harmless" || field != "ref" {
                let answer = Call::post("/api/v1/deployments", &body).by(rig.key()).send(&rig).await;
                assert_refused(&answer, 400, "bad_request");
                assert!(!answer.text.contains(|c: char| text::misleads(c)), "{}", answer.text);
            }
        }
        let body = json!({ "service": "web", "tag": "1", "reason": text, "ref": "refs/heads/main", "commit": "1f0c", "run_url": "https://x.test/" });
        let answer = Call::post("/api/v1/deployments", &body).by(rig.key()).send(&rig).await;
        assert_eq!(answer.status, 202);
        let shown = rig.ended(answer.json()["id"].as_str().unwrap()).await;
        // The record keeps what was sent, as data.
        assert_eq!(
            [&shown["reason"], &shown["ref"], &shown["commit"], &shown["run_url"]],
            [text, "refs/heads/main", "1f0c", "https://x.test/"]
        );
        let log = |accept: &str| {
            let path = format!("/api/v1/deployments/{}/log", shown["id"].as_str().unwrap());
            Call::get(&path).by(rig.key()).header("accept", accept).send(&rig)
        };
        let seen = (log("text/plain").await.text, log("text/event-stream").await.text, std::fs::read_to_string(&calls).unwrap());
        let seen = (seen.0, seen.1, seen.2.replace(&rig.dir().display().to_string(), "DIR"));
        rig.finish().await;
        seen
    };
    let (text, events, called) = order("harmless").await;
    let kinds = |events: &str| events.lines().filter(|line| line.starts_with("event: ")).map(str::to_owned).collect::<Vec<_>>();
    for hostile in HOSTILE {
        let (its_text, its_events, its_calls) = order(hostile).await;
        assert_eq!(its_text.lines().count(), text.lines().count(), "{its_text}");
        assert_eq!(kinds(&its_events), kinds(&events), "{its_events}");
        let is_foul =
            |c: char| (c.is_control() && c != '\n') || ('\u{2028}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
        assert!(!its_text.contains(is_foul), "{its_text:?}");
        assert!(!its_events.contains(is_foul), "{its_events:?}");
        // What is run, with which arguments and environment, does not depend on it; in which order may.
        // Who listens to the daemon may be ended before it has begun.
        let each = |calls: &str| -> BTreeSet<String> {
            calls.split("==\n").filter(|call| !call.starts_with("events\n")).map(str::to_owned).collect()
        };
        assert_eq!(each(&its_calls), each(&called), "{hostile}");
    }
}

/// E1
async fn no_secret_is_kept_or_shown(database: Database) {
    const CANARY: &str = "canary-7d1f4e";
    let mut plan = Plan::new(database);
    plan.keys.push(Key::bearer("robot", &["read"]));
    plan.tables = "[[registry]]\nhost = \"127.0.0.1:1\"\nuser = \"robot\"\npassword_file = \"registry.secret\"\n".into();
    plan.files = vec![("registry.secret", format!("{CANARY}-registry")), ("page.secret", format!("{CANARY}-page"))];
    plan.services = vec!["web"];
    plan.files.push(("reload.secret", format!("{CANARY}-reload-of-a-dataset")));
    plan.tables += "\n[dataset.data]\ndir = \"data\"\nremote = \"file:///no/such/remote\"\nreload_secret_file = \"reload.secret\"\n";
    plan.service = "[service.web.smoke]\nurl = \"http://127.0.0.1:1/\"\nuser = \"x\"\npassword_file = \"page.secret\"".into();
    let rig = plan.start().await;
    let mut secrets: Vec<String> = rig.plan.keys.iter().map(Key::text).collect();
    secrets.push(secrets[0].replace("whsec_", ""));
    secrets.extend(["registry", "page", "reload-of-a-dataset"].map(|which| format!("{CANARY}-{which}")));
    let mut seen = vec![format!("{:?}", Config::load(&rig.config_file).unwrap())];
    // An engine that says every secret, on its way to fail and as the reason of an order.
    let said = secrets.join(" ");
    std::fs::write(rig.dir().join("web/fail"), format!("cannot log in with {said}\n")).unwrap();
    let id = rig.order("web", "1").await;
    let ended = rig.ended(&id).await;
    assert!(ended["why"].as_str().unwrap().contains("cannot log in with •••"), "{ended}");
    let is_page = |route: &&Route| matches!(route.need, Need::Session(_) | Need::Login | Need::File);
    for route in ROUTES.iter().filter(|route| route.method == "GET" && !is_page(route)) {
        let name = if route.path.contains("datasets") { "data" } else { "web" };
        let path = route.path.replace("{id}", &id).replace("{name}", name);
        let answer = Call::get(&path).by(rig.key()).send(&rig).await;
        // The address of a form has a part that nobody was sent; a search needs a text, a WebSocket is opened otherwise, and this is no
        // handshake of an agent.
        let status = match route.path {
            _ if route.need == Need::FormAddress => 404,
            "/ws/agent" | "/api/v1/deployments/{id}/log/search" => 400,
            _ if route.answer.0 == 101 => 426,
            _ => 200,
        };
        assert_eq!(answer.status, status, "{path}");
        seen.push(format!("{:?} {}", answer.headers, answer.text));
    }
    seen.push(Call::get("/api/v1/services").send(&rig).await.text);
    seen.push(std::fs::read_to_string(rig.dir().join("web/calls")).unwrap());
    if database == Database::Postgres {
        for table in ["deployments", "lines", "deliveries", "audit", "attempts", "holds"] {
            seen.push(rows_of(&rig, table).await);
        }
    }
    let mut folders = vec![rig.data_dir()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_type().unwrap().is_file() {
                seen.push(String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned());
            }
        }
    }
    let hex = |text: &str| text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    for (secret, text) in secrets.iter().flat_map(|secret| seen.iter().map(move |text| (secret, text))) {
        assert!(!text.contains(secret.as_str()), "{secret} is in {text}");
        assert!(!text.contains(&hex(secret)), "{secret} is in {text} as hex");
    }
    std::fs::remove_file(rig.dir().join("web/fail")).unwrap();
    rig.finish().await;
}

/// Every value of a table of PostgreSQL as text; SQLite's are in its file.
async fn rows_of(rig: &Rig, table: &str) -> String {
    let pool = rig.database().await;
    let statement = format!("SELECT string_agg(t::text, ' ') FROM {table} AS t");
    let row = sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_one(&pool).await.unwrap();
    pool.close().await;
    row.try_get::<Option<String>, _>(0).unwrap().unwrap_or_default()
}

/// The contract that is shown is the route table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openapi_file_has_every_route() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let answer = Call::get("/api/v1/openapi.json").send(&rig).await;
    assert_eq!(answer.status, 200);
    let contract = answer.json();
    assert!(contract["openapi"].as_str().unwrap().starts_with("3.1"), "{}", contract["openapi"]);
    let is_shown = |route: &&Route| matches!(route.need, Need::Verb(_) | Need::Open | Need::ForgeSignature);
    assert!(ROUTES.iter().filter(|route| !is_shown(route)).all(|route| contract["paths"].get(route.path).is_none()));
    for route in ROUTES.iter().filter(is_shown) {
        let operation = &contract["paths"][route.path][route.method.as_str().to_lowercase()];
        assert_eq!(operation["summary"], route.summary, "{} {}", route.method, route.path);
        assert_eq!(operation["security"].is_array(), route.need != Need::Open, "{} {}", route.method, route.path);
        assert!(operation["responses"][route.answer.0.to_string()].is_object());
        assert_eq!(operation["requestBody"].is_object(), route.body.is_some());
    }
    let names = |path: &str| -> Vec<String> {
        let takes = contract["paths"][path]["get"]["parameters"].as_array().unwrap();
        takes.iter().map(|one| format!("{} {}", one["in"].as_str().unwrap(), one["name"].as_str().unwrap())).collect()
    };
    assert_eq!(names("/api/v1/deployments"), ["query service", "query state", "query before", "query limit"]);
    assert_eq!(names("/api/v1/deployments/{id}/log"), ["path id", "query follow", "header Last-Event-ID"]);
    for scheme in contract["paths"]["/api/v1/rollbacks"]["post"]["security"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|one| one.as_object().unwrap().keys())
    {
        assert!(contract["components"]["securitySchemes"][scheme].is_object(), "{scheme}");
    }
    let methods = contract["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum::<usize>();
    assert_eq!(methods, ROUTES.iter().filter(is_shown).count());
    let text = answer.text.clone();
    let references: Vec<&str> = text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(references.len() > 20);
    for reference in references {
        assert!(contract.pointer(reference).is_some_and(Value::is_object), "{reference} leads nowhere");
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_tell_how_it_stands() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let gate = rig.gate("web");
    let healthy = Call::get("/healthz").send(&rig).await;
    assert_eq!((healthy.status, healthy.text.as_str()), (200, "ok\n"));
    let ready = Call::get("/readyz").send(&rig).await;
    assert_eq!((ready.status, ready.json()), (200, json!({ "ready": true, "problems": [] })));
    for path in ["/healthz", "/readyz"] {
        let head = Call::new(reqwest::Method::HEAD, path, Vec::new()).send(&rig).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""));
        assert_eq!(head.header("x-content-type-options"), "nosniff");
    }
    rig.order_running("web", "1").await;
    rig.order("web", "2").await;
    let metrics = async || Call::get("/metrics").by(rig.key()).send(&rig).await.text;
    let text = metrics().await;
    for line in [
        "tagalong_deployments_waiting 1",
        "tagalong_deployments_running 1",
        "tagalong_deployments_total{service=\"web\",outcome=\"live\"} 0",
        "tagalong_http_requests_total{route=\"/api/v1/deployments\",status=\"202\"} 2",
        "# EOF",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in {text}");
    }
    drop(gate);
    let ended = "tagalong_deployments_total{service=\"web\",outcome=\"failed\"} 2";
    crate::support::until("both to end", async || metrics().await.contains(ended).then_some(())).await;
    let (text, fault) = (metrics().await, "tagalong_faults_total{service=\"web\",kind=\"");
    assert!(text.lines().any(|have| have.starts_with(fault) && have.ends_with(" 2")), "{text}");
    rig.finish().await;
}

/// Names and modes of everything in a folder, itself first.
fn modes(dir: &Path) -> Vec<(String, u32)> {
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    let mut found = vec![(String::new(), mode(dir))];
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(modes(&entry.path()).into_iter().map(|(inner, mode)| (format!("{name}/{inner}"), mode)));
        } else {
            found.push((name, mode(&entry.path())));
        }
    }
    found.sort();
    found
}

/// Point by point: a folder that was open to all, with files that were, and a process whose umask hides nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
async fn what_is_kept_is_closed_to_others_whatever_was_there_before() {
    rustix::process::umask(rustix::fs::Mode::empty());
    let open = |path: &Path, mode: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let dir = folder();
    let data = dir.path().join("server");
    std::fs::create_dir(&data).unwrap();
    open(&data, 0o2777);
    let mut rig = Plan::new(Database::Sqlite).start_in(dir, None).await;
    let id = rig.order("web", "1").await;
    rig.ended(&id).await;
    let closed = |found: &[(String, u32)]| {
        found
            .iter()
            .filter(|(name, mode)| *mode != if name.is_empty() || name.ends_with('/') { 0o700 } else { 0o600 })
            .cloned()
            .collect::<Vec<_>>()
    };
    let all = modes(&data);
    assert_eq!(closed(&all), [], "made");
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "",
            "agents-key",
            "audit-head",
            "events.lock",
            "executor-id",
            "line.sock",
            "lock",
            "migration.lock",
            "tagalong.db",
            "tagalong.db-shm",
            "tagalong.db-wal"
        ]
    );
    let old = data.join("before-restore-1");
    std::fs::create_dir(&old).unwrap();
    std::fs::write(old.join("tagalong.db"), "").unwrap();
    for (name, _) in &all {
        open(&data.join(name), 0o666);
    }
    for (folder, mode) in [(&old, 0o755), (&data, 0o755)] {
        open(folder, mode);
    }
    rig.restart().await;
    assert_eq!(closed(&modes(&data)), [], "mended");
    let backup = rig.dir().join("backup");
    let tagalong = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tagalong"));
        command.args(["--config", &rig.config_file.display().to_string()]).args(args).output().unwrap()
    };
    let made = tagalong(&["backup", &backup.display().to_string()]);
    assert!(made.status.success(), "{made:?}");
    let kept = modes(&backup);
    assert_eq!(closed(&kept), [], "backup");
    assert_eq!(kept.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["", "agents-key", "executor-id", "tagalong.db"]);
    rig.stop().await;
}

/// A restore is whole or nothing: a server that is running keeps its state, and so does one whose backup cannot be copied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
async fn a_restore_is_whole_or_changes_nothing() {
    let dir = folder();
    let config = Plan::new(Database::Sqlite).write(dir.path(), "server", None);
    let app = App::start(Config::load(&config).unwrap()).await.unwrap();
    let data = dir.path().join("server");
    let backup = dir.path().join("backup");
    let tagalong = |verb: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tagalong"));
        command.arg("--config").arg(&config).arg(verb).arg(&backup).output().unwrap()
    };
    assert!(tagalong("backup").status.success());
    let state = || ["tagalong.db", "executor-id"].map(|name| std::fs::metadata(data.join(name)).unwrap().ino());
    let before = state();
    let refused = tagalong("restore");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("is in use by another tagalong") && before == state(), "{said}");
    app.stop().await;
    std::fs::rename(backup.join("executor-id"), backup.join("its-id")).unwrap();
    std::fs::create_dir(backup.join("executor-id")).unwrap();
    let refused = tagalong("restore");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("could not be copied") && before == state(), "{said}");
    std::fs::remove_dir(backup.join("executor-id")).unwrap();
    std::fs::rename(backup.join("its-id"), backup.join("executor-id")).unwrap();
    let restored = tagalong("restore");
    assert!(restored.status.success() && before != state(), "{restored:?}");
    let left = std::fs::read_dir(&data).unwrap().flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("restoring-"));
    assert!(!left && std::fs::read(data.join("tagalong.db")).unwrap() == std::fs::read(backup.join("tagalong.db")).unwrap());
}

/// What is another user's is not ours to close.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_another_user_is_refused_by_name() {
    for name in ["", "lock", "tagalong.db", "executor-id", "audit-head"] {
        let dir = folder();
        let data = dir.path().join("server");
        std::fs::create_dir(&data).unwrap();
        let path = if name.is_empty() { data.clone() } else { data.join(name) };
        if !name.is_empty() {
            std::fs::write(&path, "").unwrap();
        }
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        let config = Config::load(&Plan::new(Database::Sqlite).write(dir.path(), "server", None)).unwrap();
        let error = App::start(config).await.err().map_or_else(|| panic!("{name} was taken"), |error| error.to_string());
        assert!(error.starts_with(&path.display().to_string()) && error.contains("belongs to the user 65534"), "{error}");
    }
}

/// F1: one server a data folder, and nothing in the folder leads out of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_is_one_servers_alone() {
    let rig = Plan::new(Database::Sqlite).start().await;
    assert_eq!(std::fs::metadata(rig.data_dir()).unwrap().permissions().mode() & 0o777, 0o700);
    let start = async || App::start(Config::load(&rig.config_file).unwrap()).await.err().map(|error| error.to_string());
    let refused = start().await.unwrap();
    assert!(refused.starts_with("The data folder ") && refused.contains(" is in use by another tagalong"), "{refused}");
    assert_eq!(Call::get("/healthz").send(&rig).await.status, 200);
    let mut plan = rig.plan.clone();
    plan.server += "\n";
    for name in ["lock", "executor-id", "tagalong.db", "tagalong.db-wal"] {
        let dir = folder();
        let outside = dir.path().join("outside");
        std::fs::create_dir(dir.path().join("server")).unwrap();
        std::fs::write(&outside, "").unwrap();
        std::os::unix::fs::symlink(&outside, dir.path().join("server").join(name)).unwrap();
        let started = App::start(Config::load(&plan.write(dir.path(), "server", None)).unwrap()).await;
        let error = started.err().map_or_else(|| panic!("{name} was followed"), |error| error.to_string());
        assert!(error.contains("symbolic link"), "{error}");
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "");
    }
    let answer = Call::get("/api/v1/services/none").by(rig.key()).send(&rig).await;
    assert_refused(&answer, 404, "not_found");
    rig.finish().await;
}
