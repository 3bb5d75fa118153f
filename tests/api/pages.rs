//! The pages of the dashboard over the real server: whole in every state of things, nothing of them forged by what they show, and the
//! same orders as the API's.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::browser::Browser;
use crate::browser::add_user;
use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;

on_both!(every_page_is_whole_in_every_state, what_a_page_shows_forges_nothing_in_it, people_order_what_programs_order);

const PASSWORD: &str = "correct horse battery staple";
/// What a page may weigh.
const MOST_BYTES: usize = 100 << 10;
/// What no page shows, as a caller, an address or an outcome can have it.
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&\u{202e}gnp.exe\u{2066}";

fn plan(database: Database) -> Plan {
    Plan { socket: true, ..Plan::new(database) }
}

async fn started(database: Database) -> Rig {
    let rig = plan(database).start().await;
    add_user(&rig, "ada", &["deploy:*", "rollback:*", "approve:*", "reload:*", "read"], Some(PASSWORD)).await;
    add_user(&rig, "reader", &["read"], Some(PASSWORD)).await;
    rig
}

async fn browser<'r>(rig: &'r Rig, name: &str) -> Browser<'r> {
    let browser = Browser::new(rig);
    assert_eq!(browser.log_in(name, PASSWORD).await.status, 303);
    browser
}

async fn execute(rig: &Rig, statement: String) {
    let pool = rig.database().await;
    sqlx::query(AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    pool.close().await;
}

/// The pages that there are whatever has happened.
fn pages() -> Vec<String> {
    let all =
        ["/", "/?q=we", "/?after=db", "/deployments", "/deployments?service=web&state=done", "/incidents", "/incidents?all=1", "/data"];
    let more =
        ["/keys", "/audit", "/services/web", "/services/db", "/services/web/deploy", "/services/web/rollback", "/services/web/repair"];
    let rest = [
        "/services/web/adopt",
        "/services/web/resume",
        "/services/web?state=live",
        "/agents",
        "/agents?q=x",
        "/agents/new",
        "/users",
        "/users/new",
    ];
    all.into_iter().chain(more).chain(rest).map(str::to_owned).collect()
}

/// What holds of every page.
#[track_caller]
fn assert_whole(path: &str, page: &Answer) {
    assert_eq!(page.status, 200, "{path}: {}", page.text);
    let policy = page.header("content-security-policy");
    for part in
        ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"]
    {
        assert!(policy.contains(part), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!((page.header("cache-control"), page.header("x-content-type-options")), ("no-store", "nosniff"), "{path}");
    let text = &page.text;
    assert!(text.len() <= MOST_BYTES, "{path}: {} bytes", text.len());
    // In tags: what stands between them is text.
    let forged = Regex::new(r"(?i)^<style|\sstyle=|\son[a-z]+=|javascript:").unwrap();
    let quoted = Regex::new("\"[^\"]*\"").unwrap();
    for tag in Regex::new("<[a-zA-Z](?:[^>\"]|\"[^\"]*\")*>").unwrap().find_iter(text) {
        assert!(!forged.is_match(&quoted.replace_all(tag.as_str(), "")), "{path}: {}", tag.as_str());
    }
    for address in Regex::new("(?:href|src|action)=\"([^\"]*)\"").unwrap().captures_iter(text) {
        assert!(address[1].starts_with(['/', '#']) || address[1].starts_with("http"), "{path}: {}", &address[1]);
    }
    for script in Regex::new(r"<script([^>]*)>([^<]*)").unwrap().captures_iter(text) {
        assert!(script[1].contains("src=\"/assets/") && script[2].is_empty(), "{path}: {}", &script[0]);
    }
    let mut ids = BTreeSet::new();
    for id in Regex::new("\\sid=\"([^\"]*)\"").unwrap().captures_iter(text) {
        assert!(ids.insert(id[1].to_owned()), "{path}: the id {} stands there twice", &id[1]);
    }
    assert!(!text.chars().any(|c| c != '\n' && text::misleads(c)), "{path}");
    // Every field can be named by who does not see it.
    let own_id = Regex::new("\\sid=\"([^\"]*)\"").unwrap();
    for input in Regex::new("<(?:input|select)([^>]*)>").unwrap().captures_iter(text) {
        let id = own_id.captures(&input[1]).map(|id| id[1].to_owned());
        let is_named = id.is_some_and(|id| text.contains(&format!("for=\"{id}\"")));
        assert!(
            is_named || ["hidden", "radio", "checkbox"].iter().any(|kind| input[1].contains(&format!("type=\"{kind}\""))),
            "{path}: {}",
            &input[0]
        );
    }
}

/// The addresses of this server that a page leads to.
fn leads_to(page: &Answer) -> BTreeSet<String> {
    let address = Regex::new("(?:href|src)=\"(/[^\"#]*)[^\"]*\"").unwrap();
    address.captures_iter(&page.text).map(|found| found[1].replace("&amp;", "&").replace("&#38;", "&")).collect()
}

/// Looks at every page and at every page that these lead to.
async fn walk(browser: &Browser<'_>, further: &[String]) {
    let mut seen = BTreeSet::new();
    let mut left: Vec<String> = pages().into_iter().chain(further.iter().cloned()).collect();
    while let Some(path) = left.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let page = browser.get(&path).await;
        if path.starts_with("/assets/") {
            assert_eq!((page.status, page.header("cache-control")), (200, "public, max-age=31536000, immutable"), "{path}");
            continue;
        }
        // The whole log is text.
        if page.header("content-type").starts_with("text/plain") {
            assert_eq!(page.status, 200, "{path}");
            continue;
        }
        assert_whole(&path, &page);
        left.extend(leads_to(&page));
    }
    assert!(seen.len() > 20, "{seen:?}");
}

async fn every_page_is_whole_in_every_state(database: Database) {
    let rig = started(database).await;
    let ada = browser(&rig, "ada").await;
    // Nothing yet.
    walk(&ada, &[]).await;
    let empty = ada.get("/").await.text;
    assert!(empty.contains("nothing yet") && empty.contains("no deployment yet"), "{empty}");
    // Releases, of which the last is live but does not run; one that ended otherwise.
    rig.record_releases(4).await;
    walk(&ada, &[]).await;
    let down = ada.get("/").await.text;
    assert!(down.contains("web: down") && down.contains("Repair…"), "{down}");
    // One that runs, one that waits, and a hold.
    let gate = rig.gate("web");
    let running = rig.order_running("web", "9").await;
    let waiting = rig.order("web", "10").await;
    let at_work = ada.get("/services/web").await.text;
    assert!(at_work.contains(&running) && at_work.contains(&waiting) && at_work.contains("waits for its turn"), "{at_work}");
    walk(&ada, &[format!("/deployments/{running}/cancel"), format!("/deployments/{waiting}")]).await;
    drop(gate);
    rig.ended(&running).await;
    rig.ended(&waiting).await;
    execute(&rig, format!("INSERT INTO holds (service, kind, deployment, since_ms) VALUES ('web', 'needs_operator', '{running}', 5)"))
        .await;
    let open = "('01K00000000000000000000001', 'db', 'page', 'x', 'The page is red.', NULL, 3, 0, 5, 6, NULL)";
    execute(&rig, format!("INSERT INTO incidents VALUES {open}")).await;
    walk(&ada, &[]).await;
    let overview = ada.get("/").await.text;
    assert!(overview.contains("The page is red.") && overview.contains("wait for you"), "{overview}");
    assert!(ada.get("/services/web").await.text.contains("Resume…"));
    // What there is not is said so.
    for missing in ["/services/nothing", "/deployments/nothing", "/assets/nothing.css", "/deployments/01K00000000000000000000000"] {
        assert_eq!(ada.get(missing).await.status, 404, "{missing}");
    }
    for wrong in ["/deployments?state=nothing", "/services/web?state=nothing", "/deployments?before=x", "/audit?before=x"] {
        assert_eq!(ada.get(wrong).await.status, 400, "{wrong}");
    }
    rig.finish().await;
}

async fn what_a_page_shows_forges_nothing_in_it(database: Database) {
    let rig = started(database).await;
    let id = rig.record_releases(2).await.remove(1);
    let words = HOSTILE.replace('\'', "''");
    for column in ["reason", "actor", "commit_id", "git_ref"] {
        execute(&rig, format!("UPDATE deployments SET {column} = '{words}' WHERE id = '{id}'")).await;
    }
    execute(&rig, format!("UPDATE deployments SET run_url = 'javascript:alert(1)' WHERE id = '{id}'")).await;
    execute(&rig, format!("UPDATE runs SET ran_before = '{words}', resolved = '{words}' WHERE deployment = '{id}'")).await;
    execute(&rig, format!("INSERT INTO lines VALUES ('{id}', 1, 1, 1, 5, 'pull', 'output', '{words}')")).await;
    let incident = format!("('01K00000000000000000000001', 'web', 'page', 'x', '{words}', '{words}', 3, 0, 5, 6, NULL)");
    execute(&rig, format!("INSERT INTO incidents VALUES {incident}")).await;
    let ada = browser(&rig, "ada").await;
    for path in ["/", "/deployments", &format!("/deployments/{id}"), "/services/web", "/incidents", "/services/web/deploy"] {
        let page = ada.get(path).await;
        assert_whole(path, &page);
        assert!(!page.text.contains("<img") && !page.text.contains("alert(1)</script"), "{path}: {}", page.text);
    }
    let shown = ada.get(&format!("/deployments/{id}")).await.text;
    assert!(shown.contains("onerror=alert(1)&#62;") || shown.contains("onerror=alert(1)&gt;"), "{shown}");
    // What comes by the address comes back as text as well.
    let asked: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    let page = ada.get(&format!("/?q={asked}")).await;
    assert_whole("/?q=", &page);
    assert!(!page.text.contains("<img"), "{}", page.text);
    rig.finish().await;
}

/// The fields of a form of a page, as a browser sends them.
fn fields(page: &Answer) -> Vec<(String, String)> {
    let hidden = Regex::new("<input type=\"hidden\" name=\"([^\"]*)\" value=\"([^\"]*)\">").unwrap();
    // Of the last form: the bar has one as well.
    let form = page.text.rsplit_once("<form method=\"post\"").unwrap().1;
    hidden.captures_iter(form).map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
}

async fn send(browser: &Browser<'_>, path: &str, typed: &[(&str, &str)]) -> Answer {
    let page = browser.get(path).await;
    assert_eq!(page.status, 200, "{path}: {}", page.text);
    let hidden = fields(&page);
    let mut all: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.extend(typed);
    browser.post(path.split('?').next().unwrap(), &all).await
}

async fn people_order_what_programs_order(database: Database) {
    let rig = started(database).await;
    let releases = rig.record_releases(3).await;
    let ada = browser(&rig, "ada").await;
    // A tag that is none comes back with one sentence, and what was typed is kept.
    let wrong = send(&ada, "/services/web/deploy", &[("other", "no tag"), ("reason", "because of \"x\"")]).await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    assert!(
        wrong.text.contains("role=\"alert\"") && wrong.text.contains("value=\"no tag\"") && wrong.text.contains("because of &#34;x&#34;"),
        "{}",
        wrong.text
    );
    assert_eq!(send(&ada, "/services/web/deploy", &[]).await.status, 400);
    // One that is one is ordered by the user.
    let hidden = fields(&ada.get("/services/web/deploy").await);
    let mut typed: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    typed.extend([("other", "7"), ("reason", "it is time")]);
    let gate = rig.gate("web");
    let ordered = ada.post("/services/web/deploy", &typed).await;
    assert_eq!(ordered.status, 303, "{}", ordered.text);
    let id = ordered.header("location").rsplit('/').next().unwrap().to_owned();
    let shown = rig.until(&id, |shown| shown["state"] == "running" && shown["step"] == "resolve").await;
    assert_eq!((&shown["caller"], &shown["tag"], &shown["reason"]), (&json!("user:ada"), &json!("7"), &json!("it is time")));
    let page = ada.get(&format!("/deployments/{id}")).await;
    assert!(page.text.contains("Cancel…") && page.text.contains("it is time") && !page.text.contains("Retry…"), "{}", page.text);
    assert_eq!(send(&ada, &format!("/deployments/{id}/cancel"), &[]).await.status, 303);
    let ended = rig.ended(&id).await;
    assert_eq!(ended["outcome"], "cancelled", "{ended:#}");
    drop(gate);
    let late = ada.post(&format!("/deployments/{id}/cancel"), &[("form_token", &ada.form_token().await)]).await;
    assert_eq!(late.status, 409, "{}", late.text);
    let again = send(&ada, &format!("/deployments/{id}/retry"), &[]).await;
    assert_eq!(again.status, 303, "{}", again.text);
    rig.ended(again.header("location").rsplit('/').next().unwrap()).await;
    // A rollback says from what to what before, and holds the service after.
    let asked = ada.get("/services/web/rollback").await.text;
    assert!(asked.contains("it is the last verified release") && asked.contains("Roll back to 2"), "{asked}");
    let back = send(&ada, &format!("/services/web/rollback?to={}", releases[0]), &[("reason", "2 is bad too")]).await;
    assert_eq!(back.status, 303, "{}", back.text);
    let rollback = rig.ended(back.header("location").rsplit('/').next().unwrap()).await;
    assert_eq!((&rollback["kind"], &rollback["tag"], &rollback["caller"]), (&json!("rollback"), &json!("1"), &json!("user:ada")));
    execute(&rig, format!("INSERT INTO holds (service, kind, deployment, since_ms) VALUES ('db', 'rollback', '{id}', 5)")).await;
    assert_eq!(send(&ada, "/services/db/resume", &[]).await.status, 303);
    assert_eq!(rig.count("SELECT COUNT(*) FROM holds WHERE service = 'db'").await, 0);
    // The trail says who it was, and is verified when somebody asks.
    let token = ada.form_token().await;
    assert_eq!(ada.post("/audit/verify", &[("form_token", &token)]).await.status, 303);
    let audit = ada.get("/audit").await.text;
    assert!(audit.contains("The trail is whole") && audit.contains("ada"), "{audit}");
    who_only_reads_sees_no_button(&rig, &id).await;
    rig.finish().await;
}

/// What a user may not do is not shown, and refused where it is sent all the same.
async fn who_only_reads_sees_no_button(rig: &Rig, id: &str) {
    let reader = browser(rig, "reader").await;
    let token = reader.form_token().await;
    let before = rig.rows().await;
    for path in ["/", "/services/web", &format!("/deployments/{id}")] {
        let page = reader.get(path).await;
        assert_whole(path, &page);
        let offered =
            ["Deploy…", "Roll back…", "Retry…", "Cancel…", "Repair…", "Resume…"].into_iter().find(|word| page.text.contains(word));
        assert_eq!(offered, None, "{path}");
    }
    for (path, fields) in [
        ("/services/web/deploy".to_owned(), vec![("other", "8")]),
        ("/services/web/rollback".to_owned(), vec![]),
        ("/services/web/repair".to_owned(), vec![]),
        (format!("/deployments/{id}/retry"), vec![]),
    ] {
        assert_eq!(reader.get(&path).await.status, 403, "{path}");
        let all: Vec<(&str, &str)> = fields.into_iter().chain([("form_token", token.as_str())]).collect();
        assert_eq!(reader.post(&path, &all).await.status, 403, "{path}");
    }
    assert_eq!(rig.rows().await, before);
}

/// Ten thousand deployments make no page larger, nor slow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_stay_small_over_ten_thousand_deployments() {
    let rig = started(Database::Sqlite).await;
    rig.record_releases(3).await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
        INSERT INTO deployments (id, service, kind, state, outcome, outcome_name, tag, caller, force, dry_run, last_position, created_ms, started_ms, ended_ms)
        SELECT printf('02%024d', i), CASE i % 2 WHEN 0 THEN 'web' ELSE 'db' END, 'deploy', 'done', '{\"outcome\":\"failed\",\"why\":\"x\"}', 'failed',
            'v' || i, 'key:ops', 0, 0, 0, d.created_ms, d.created_ms, d.created_ms FROM n, (SELECT MAX(created_ms) AS created_ms FROM deployments) AS d";
    assert_eq!(rig.execute(many).await, 10_000);
    let ada = browser(&rig, "ada").await;
    for path in ["/", "/deployments", "/deployments?state=failed&service=db", "/services/web", "/audit"] {
        let warm = ada.get(path).await;
        assert_whole(path, &warm);
        let began = std::time::Instant::now();
        assert_eq!(ada.get(path).await.status, 200);
        println!("{path}: {} bytes, {:?}", warm.text.len(), began.elapsed());
    }
    let first = ada.get("/deployments").await;
    let older = leads_to(&first).into_iter().find(|path| path.contains("before=")).unwrap();
    let (first, second) = (leads_to(&first), leads_to(&ada.get(&older).await));
    let ids = |paths: &BTreeSet<String>| paths.iter().filter(|path| path.starts_with("/deployments/")).count();
    assert_eq!((ids(&first), ids(&second)), (50, 50));
    assert!(first.intersection(&second).all(|path| !path.starts_with("/deployments/")), "a deployment stands on two pages");
    rig.finish().await;
}

/// Nobody who has not logged in sees anything of a page, but what it is made with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_shown_the_login() {
    let rig = started(Database::Sqlite).await;
    let stranger = Browser::new(&rig);
    for path in pages() {
        let page = stranger.get(&path).await;
        assert_eq!((page.status, page.text.as_str()), (303, ""), "{path}");
        assert!(page.header("location").starts_with("/login"), "{path}");
    }
    let login = stranger.get("/login").await;
    for asset in leads_to(&login).iter().filter(|path| path.starts_with("/assets/")) {
        assert_eq!(stranger.get(asset).await.status, 200, "{asset}");
    }
    let by_key = Call::get("/").by(rig.key()).send(&rig).await;
    assert_eq!(by_key.status, 303, "a key is no session");
    rig.finish().await;
}
