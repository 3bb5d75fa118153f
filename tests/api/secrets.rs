//! `tagalong key rotate` and `tagalong secrets`: the real program, a real server, files, and a forge over HTTP.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join;
use futures_util::future::join_all;
use serde_json::Value;
use serde_json::json;
use tagalong::clock;
use tagalong::http::auth;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::process::Child;

use crate::stand_in::StandIn;
use crate::stand_in::TOKEN;
use crate::support::Call;
use crate::support::Database;
use crate::support::Key;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::until;

on_both!(a_secret_is_rotated_and_nobody_is_refused);

const AT_FORGE: &str = "/repos/acme/web/actions/secrets/TAGALONG_SECRET";
const MANIFEST: &str = "# of the app\napiVersion: v1\nkind: Secret\nmetadata: {name: app}\ndata:\n  token: b2xk # rotated\n  other: eA==\n";

/// The program, with what it is told on its standard input.
#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
async fn start(rig: &Rig, args: &[&str], input: &str) -> Child {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tagalong"));
    command.arg("--config").arg(&rig.config_file).args(args).env("NO_COLOR", "1").env("OF_ENVIRONMENT", "from the environment");
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    child
}

async fn tagalong(rig: &Rig, args: &[&str]) -> (Option<i32>, String) {
    let done = start(rig, args, "").await.wait_with_output().await.unwrap();
    (done.status.code(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}

fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

/// The answer to a call by whoever has `secret`.
async fn status(rig: &Rig, secret: &str) -> u16 {
    const PATH: &str = "/api/v1/deployments";
    let call = Call::get(PATH);
    let call = match secret.strip_prefix("whsec_") {
        None => call.header("authorization", format!("Bearer {secret}")),
        Some(encoded) => {
            let (id, now_s) = (format!("msg_{}", clock::new_id()), clock::now_ms() / 1000);
            let signature = auth::sign(&STANDARD.decode(encoded).unwrap(), &id, now_s, format!("{{\"call\":\"GET {PATH}\"}}").as_bytes());
            call.header("webhook-id", id).header("webhook-timestamp", now_s.to_string()).header("webhook-signature", signature)
        }
    };
    call.send(rig).await.status
}

/// Runs `work` while calls with `secret` come, none of which is refused.
async fn under_load<T>(rig: &Rig, secret: &str, work: impl Future<Output = T>) -> T {
    let is_done = AtomicBool::new(false);
    let calls = join_all((0..4).map(|_| async {
        let mut answered = 0;
        while !is_done.load(Ordering::SeqCst) {
            assert_eq!(status(rig, secret).await, 200);
            answered += 1;
        }
        answered
    }));
    let work = async {
        let done = work.await;
        is_done.store(true, Ordering::SeqCst);
        done
    };
    let (done, answered) = join(work, calls).await;
    assert!(answered.iter().sum::<i32>() > 0);
    done
}

fn rotated_plan(database: Database, forge: &StandIn) -> Plan {
    let mut plan = Plan::new(database);
    plan.socket = true;
    plan.keys = vec![Key::signing("ci", &["read"]), Key::bearer("robot", &["read"])];
    plan.tables = forge.tables()
        + "[[secret]]\nname = \"tagalong_secret\"\nforge = \"github\"\nrepository = \"acme/web\"\nkey = \"ci\"\n\
           [[secret]]\nname = \"token\"\nmanifest = \"secret.yaml\"\nkey = \"ci\"\n";
    plan.files = vec![("forge.token", TOKEN.into()), ("secret.yaml", MANIFEST.into())];
    plan
}

/// A6, E1
async fn a_secret_is_rotated_and_nobody_is_refused(database: Database) {
    let forge = StandIn::start().await;
    let rig = rotated_plan(database, &forge).start().await;
    let file = rig.dir().join("ci.secret");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let old = rig.key().text();
    let (code, begun) = under_load(&rig, &old, tagalong(&rig, &["key", "rotate", "ci"])).await;
    assert_eq!(code, Some(0), "{begun}");
    let both = lines(&file);
    assert_eq!((both.len(), &both[0]), (2, &old));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
    let new = both[1].clone();
    assert_eq!(forge.value(AT_FORGE).as_deref(), Some(new.as_str()));
    let manifest = std::fs::read_to_string(rig.dir().join("secret.yaml")).unwrap();
    assert_eq!(manifest, MANIFEST.replace("b2xk", &STANDARD.encode(&new)));
    let (code, refused) = tagalong(&rig, &["key", "rotate", "ci", "--finish"]).await;
    assert!(code == Some(1) && refused.contains("has not been used yet"), "{refused}");
    let (_, listed) = tagalong(&rig, &["key", "list"]).await;
    assert!(listed.contains("the new one has not been used yet"), "{listed}");
    // While both are there the configuration is read again twenty times.
    let again = async {
        for _ in 0..20 {
            rig.app().read_again(&rig.config_file);
            assert_eq!((status(&rig, &old).await, status(&rig, &new).await), (200, 200));
        }
    };
    under_load(&rig, &old, under_load(&rig, &new, again)).await;
    until("that the new secret is used", async || {
        let used = rig.count("SELECT COUNT(*) FROM meta WHERE name = 'secret_used/key:ci'").await;
        (used == 1).then_some(())
    })
    .await;
    let (code, finished) = under_load(&rig, &new, tagalong(&rig, &["key", "rotate", "ci", "--json"])).await;
    let shown: Value = serde_json::from_str(&finished).unwrap();
    assert_eq!((code, &shown["stage"]), (Some(0), &json!("finished")), "{finished}");
    assert_eq!(lines(&file), std::slice::from_ref(&new));
    assert_eq!((status(&rig, &old).await, status(&rig, &new).await), (401, 200));
    let (code, idle) = tagalong(&rig, &["key", "rotate", "ci", "--finish"]).await;
    assert!(code == Some(0) && idle.contains("is not being rotated"), "{idle}");
    for text in [begun, refused, listed, finished, idle] {
        assert!(!text.contains(&old) && !text.contains(&new) && !text.contains(TOKEN), "{text}");
    }
    assert_eq!(kept_by_the_server(&rig, &[&old[6..], &new[6..], TOKEN]).await, Vec::<String>::new());
    rig.finish().await;
}

/// Which of `secrets` are in the data folder or in the tables that know of secrets.
async fn kept_by_the_server(rig: &Rig, secrets: &[&str]) -> Vec<String> {
    let pool = rig.database().await;
    let sql = "SELECT value FROM meta UNION ALL SELECT name || mark || stamp FROM provisioned";
    let rows = sqlx::query_scalar::<_, String>(sql).fetch_all(&pool).await.unwrap();
    pool.close().await;
    let files = std::fs::read_dir(rig.data_dir()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let texts: Vec<String> = files.map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned()).chain(rows).collect();
    secrets.iter().filter(|secret| texts.iter().any(|text| text.contains(**secret))).map(|secret| (*secret).to_owned()).collect()
}

/// Killed at each point between two steps, the files let old and new callers in, and the next run goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_rotation_refuses_nobody_and_goes_on() {
    let forge = StandIn::start().await;
    let rig = rotated_plan(Database::Sqlite, &forge).start().await;
    let (file, old) = (rig.dir().join("ci.secret"), rig.key().text());
    let silent = rig.dir().join("silent.sock");
    let listener = UnixListener::bind(&silent).unwrap();
    let silent = silent.display().to_string();
    // The file is written, and the server is asked to read it.
    let child = start(&rig, &["--socket", &silent, "key", "rotate", "ci"], "").await;
    let asked = listener.accept().await.unwrap();
    killed(child).await;
    drop(asked);
    let both = lines(&file);
    assert_eq!((both.len(), &both[0], forge.changes()), (2, &old, 0));
    assert_eq!(status(&rig, &old).await, 200);
    let new = both[1].clone();
    // The server has read it, and the forge is being told.
    forge.state.lock().unwrap().hangs = true;
    let child = start(&rig, &["key", "rotate", "ci"], "").await;
    until("the forge to be told", async || (forge.changes() > 0).then_some(())).await;
    killed(child).await;
    assert_eq!((lines(&file), status(&rig, &old).await, status(&rig, &new).await), (both, 200, 200));
    until("that the new secret is used", async || {
        (rig.count("SELECT COUNT(*) FROM meta WHERE name = 'secret_used/key:ci'").await == 1).then_some(())
    })
    .await;
    // It was used, but the forge has it only now: CI may still sign with the old one.
    forge.state.lock().unwrap().hangs = false;
    let (code, text) = tagalong(&rig, &["key", "rotate", "ci", "--finish"]).await;
    assert!(code == Some(0) && text.contains("created   secret TAGALONG_SECRET") && text.contains("holds both"), "{text}");
    assert_eq!(lines(&file).len(), 2);
    let (code, text) = tagalong(&rig, &["--socket", "/nowhere", "key", "rotate", "ci"]).await;
    assert!(code == Some(1) && text.contains("the server did not say that it accepts the new one"), "{text}");
    let (code, text) = tagalong(&rig, &["key", "rotate", "ci"]).await;
    assert!(code == Some(0) && text.contains("the old secret is gone"), "{text}");
    assert_eq!((status(&rig, &old).await, status(&rig, &new).await), (401, 200));
    let beside: Vec<_> = std::fs::read_dir(rig.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!beside.iter().any(|name| name.to_string_lossy().ends_with(".tagalong")), "{beside:?}");
    rig.finish().await;
}

async fn killed(mut child: Child) {
    child.kill().await.unwrap();
}

/// What others are shown by the same configuration changes with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_secret_is_rotated_with_its_copies() {
    let old = "tagalong_a-secret-of-a-dataset";
    let mut plan = Plan::new(Database::Sqlite);
    plan.socket = true;
    plan.tables = "[dataset.data]\ndir = \"data\"\nremote = \"file:///no/such/remote\"\nreload_secret_file = \"reload.secret\"\n\
        [[dataset.data.peer]]\nurls = [\"https://pod.invalid/api/_internal/reload-data\"]\nsecret_file = \"peer.secret\"\n\
        [[secret]]\nname = \"token\"\nmanifest = \"secret.yaml\"\nboth = true\ndataset = \"data\"\n"
        .into();
    plan.files = vec![("reload.secret", old.into()), ("peer.secret", format!("{old}\n")), ("secret.yaml", MANIFEST.into())];
    let rig = plan.start().await;
    let status = async |secret: &str| {
        let call = Call::post("/api/_internal/reload-data", &json!({})).header("authorization", format!("Bearer {secret}"));
        call.header("content-type", "application/json").send(&rig).await.status
    };
    let (files, manifest) = (["reload.secret", "peer.secret"].map(|name| rig.dir().join(name)), rig.dir().join("secret.yaml"));
    let held = || STANDARD.encode(std::fs::read_to_string(&files[0]).unwrap());
    let (code, text) = tagalong(&rig, &["key", "rotate", "--dataset", "data"]).await;
    assert_eq!(code, Some(0), "{text}");
    let both = lines(&files[0]);
    assert_eq!((both.len(), &both, both[0].as_str()), (2, &lines(&files[1]), old));
    assert!(std::fs::read_to_string(&manifest).unwrap().contains(&held()));
    assert!(status(old).await != 401 && status("tagalong_another-secret-of-a-dataset").await == 401);
    let refused = tagalong(&rig, &["key", "rotate", "--dataset", "data", "--finish"]).await;
    assert!(refused.0 == Some(1) && refused.1.contains("has not been used yet"), "{refused:?}");
    assert_ne!(status(&both[1]).await, 401);
    until("that the new secret is used", async || {
        (rig.count("SELECT COUNT(*) FROM meta WHERE name = 'secret_used/dataset:data'").await == 1).then_some(())
    })
    .await;
    let (code, text) = tagalong(&rig, &["key", "rotate", "--dataset", "data", "--finish"]).await;
    assert!(code == Some(0) && text.contains("the old secret is gone"), "{text}");
    assert_eq!(files.each_ref().map(|file| lines(file)), [vec![both[1].clone()], vec![both[1].clone()]]);
    assert!(std::fs::read_to_string(&manifest).unwrap().contains(&held()));
    assert_eq!(status(old).await, 401);
    assert_ne!(status(&both[1]).await, 401);
    rig.finish().await;
}

const TABLES: &str = r#"
    [[secret]]
    name = "deploy_key"
    forge = "github"
    repository = "acme/web"
    value_file = "deploy.key"
    [[secret]]
    name = "deploy_key"
    forge = "github"
    repository = "acme/web"
    environment = "pro/d"
    value_file = "deploy.key"
    [[secret]]
    name = "SHARED"
    forge = "github"
    organisation = "acme"
    visibility = "selected"
    repositories = ["acme/web"]
    value_file = "deploy.key"
    [[variable]]
    name = "TAGALONG_URL"
    forge = "github"
    repository = "acme/web"
    value = "https://tagalong.example.com"
    [[variable]]
    name = "SHARED_URL"
    forge = "github"
    organisation = "acme"
    visibility = "selected"
    repositories = ["acme/web"]
    value = "https://tagalong.example.com"
    [[secret]]
    name = "DEPLOY_KEY"
    forge = "codeberg"
    repository = "acme/site"
    value_file = "deploy.key"
    [[secret]]
    name = "SHARED"
    forge = "codeberg"
    organisation = "acme"
    value_file = "deploy.key"
    [[variable]]
    name = "TAGALONG_URL"
    forge = "codeberg"
    repository = "acme/site"
    value = "https://tagalong.example.com"
"#;

/// The word that a run has for each line, in their order.
async fn words(rig: &Rig, args: &[&str]) -> (Option<i32>, Vec<String>) {
    let all: Vec<&str> = ["secrets", "sync", "--json"].iter().chain(args).copied().collect();
    let (code, text) = tagalong(rig, &all).await;
    assert!(!text.contains("a key of several lines"), "{text}");
    let shown: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    (code, shown["lines"].as_array().unwrap().iter().map(|line| line["result"].as_str().unwrap().to_owned()).collect())
}

fn all(word: &str) -> Vec<String> {
    vec![word.to_owned(); 8]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_at_forges_is_what_differs_there() {
    const KEY: &str = "a key of several lines\nand more";
    let forge = StandIn::start().await;
    let mut plan = Plan::new(Database::Sqlite);
    plan.tables = forge.tables() + TABLES;
    plan.files = vec![("forge.token", TOKEN.into()), ("deploy.key", format!("{KEY}\n"))];
    let rig = plan.start().await;
    // Eleven of others, so that Forgejo's list has two pages.
    let site = "/api/v1/repos/acme/site/actions/secrets";
    for n in 0..11 {
        forge.state.lock().unwrap().set(&format!("{site}/A{n}"), "theirs".into());
    }
    assert_eq!(words(&rig, &["--dry-run"]).await, (Some(0), all("created")));
    assert_eq!(forge.changes(), 0);
    // One that fails keeps no other, and the next run goes on with it.
    forge.state.lock().unwrap().broken.insert("SHARED");
    let (code, found) = words(&rig, &[]).await;
    let failed: Vec<usize> = (0..8).filter(|at| found[*at] == "failed").collect();
    assert_eq!((code, failed.len(), found.iter().filter(|word| *word == "created").count()), (Some(1), 2, 6), "{found:?}");
    forge.state.lock().unwrap().broken.clear();
    let (code, found) = words(&rig, &[]).await;
    assert_eq!((code, found.iter().filter(|word| *word == "created").count()), (Some(0), 2), "{found:?}");
    for path in [
        "/repos/acme/web/actions/secrets/DEPLOY_KEY",
        "/repos/acme/web/environments/pro%2Fd/secrets/DEPLOY_KEY",
        "/orgs/acme/actions/secrets/SHARED",
        "/api/v1/repos/acme/site/actions/secrets/DEPLOY_KEY",
        "/api/v1/orgs/acme/actions/secrets/SHARED",
    ] {
        assert_eq!(forge.value(path).as_deref(), Some(KEY), "{path}");
    }
    for path in ["/repos/acme/web/actions/variables/TAGALONG_URL", "/api/v1/repos/acme/site/actions/variables/TAGALONG_URL"] {
        assert_eq!(forge.value(path).as_deref(), Some("https://tagalong.example.com"), "{path}");
    }
    let changes = forge.changes();
    assert_eq!(words(&rig, &[]).await, (Some(0), all("unchanged")));
    assert_eq!(forge.changes(), changes);
    // Somebody changed one by hand: GitHub says when.
    let by_hand = "/repos/acme/web/actions/secrets/DEPLOY_KEY";
    forge.state.lock().unwrap().set(by_hand, "by hand".into());
    let (_, found) = words(&rig, &[]).await;
    assert_eq!(found.iter().filter(|word| *word == "updated").count(), 1, "{found:?}");
    assert_eq!(forge.value(by_hand).as_deref(), Some(KEY));
    for sent in forge.state.lock().unwrap().bodies.iter().map(Value::to_string).filter(|body| body.contains("encrypted_value")) {
        assert!(!sent.contains("several lines") && !sent.contains(&STANDARD.encode(KEY)), "{sent}");
    }
    prune(&rig, &forge).await;
    rig.finish().await;
}

/// What no table names any more is removed if we put it there; what others put there stays.
async fn prune(rig: &Rig, forge: &StandIn) {
    let put = ["secrets", "put", "ONE_OFF", "--forge", "codeberg", "--repository", "acme/site", "--stdin"];
    let done = start(rig, &put, "typed in\n").await.wait_with_output().await.unwrap();
    assert!(done.status.success(), "{done:?}");
    let put = ["secrets", "put", "of_env", "--forge", "github", "--repository", "acme/web", "--env", "OF_ENVIRONMENT", "--variable"];
    assert_eq!(tagalong(rig, &put).await.0, Some(0));
    let (code, text) = tagalong(rig, &["secrets", "put", "GITHUB_X", "--forge", "github", "--repository", "acme/web", "--stdin"]).await;
    assert!(code == Some(1) && text.contains("\"GITHUB_X\" is not allowed"), "{text}");
    let mut next = rig.plan.clone();
    next.tables = next.tables.replacen("name = \"deploy_key\"", "name = \"other_key\"", 1).replace("acme/site", "acme/page");
    next.write(rig.dir(), "server", None);
    let (code, found) = words(rig, &["--prune", "--dry-run"]).await;
    assert_eq!((code, found.iter().filter(|word| *word == "removed").count()), (Some(0), 3), "{found:?}");
    let before = forge.state.lock().unwrap().values.len();
    let (code, found) = words(rig, &["--prune"]).await;
    assert_eq!((code, found.iter().filter(|word| *word == "removed").count()), (Some(0), 3), "{found:?}");
    assert_eq!(forge.state.lock().unwrap().values.len(), before);
    let site = "/api/v1/repos/acme/site/actions/secrets";
    assert_eq!((forge.value(&format!("{site}/A3")).as_deref(), forge.value(&format!("{site}/DEPLOY_KEY"))), (Some("theirs"), None));
    assert_eq!(forge.value(&format!("{site}/ONE_OFF")).as_deref(), Some("typed in"));
    assert_eq!(forge.value("/repos/acme/web/actions/variables/OF_ENV").as_deref(), Some("from the environment"));
    let (_, found) = words(rig, &["--prune"]).await;
    assert_eq!(found, all("unchanged"));
}
