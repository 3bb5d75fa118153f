//! The pages of agents and users: what they show, who sees them, and that each does what the command line does, asked once and by a form of
//! its own session alone.

use regex::Regex;
use serde_json::json;

use crate::agents::Host;
use crate::agents::until_state;
use crate::browser::Browser;
use crate::browser::add_user;
use crate::notify;
use crate::receiver::Receiver;
use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::folder;
use crate::support::until;

on_both!(the_page_of_agents_enrols_shows_and_revokes, the_page_of_users_does_what_the_command_line_does);

const PASSWORD: &str = "correct horse battery staple";
/// Whoever has these may do everything.
const ALL: [&str; 5] = ["deploy:*", "rollback:*", "approve:*", "reload:*", "read"];

async fn started(database: Database) -> Rig {
    let rig = Plan { socket: true, ..Plan::new(database) }.start().await;
    add_user(&rig, "root", &ALL, Some(PASSWORD)).await;
    add_user(&rig, "reader", &["read"], Some(PASSWORD)).await;
    add_user(&rig, "webber", &["deploy:web"], Some(PASSWORD)).await;
    add_user(&rig, "almost", &["deploy:*", "rollback:*", "approve:*", "read"], Some(PASSWORD)).await;
    rig
}

async fn browser<'r>(rig: &'r Rig, name: &str) -> Browser<'r> {
    let browser = Browser::new(rig);
    assert_eq!(browser.log_in(name, PASSWORD).await.status, 303);
    browser
}

/// Opens a page with a question, and answers it.
async fn confirmed(browser: &Browser<'_>, path: &str, typed: &[(&str, &str)]) -> Answer {
    let page = browser.get(path).await;
    assert_eq!(page.status, 200, "{path}: {}", page.text);
    assert!(page.text.contains("In the name of"), "{path} asks: {}", page.text);
    let token = browser.form_token().await;
    let all: Vec<(&str, &str)> = [("form_token", token.as_str())].into_iter().chain(typed.iter().copied()).collect();
    browser.post(path.split('?').next().unwrap(), &all).await
}

/// The code that a page shows.
fn shown_code(page: &Answer) -> String {
    assert_eq!((page.status, page.header("cache-control")), (200, "no-store"), "{}", page.text);
    Regex::new("<code class=\"shown-code any\">([^<]*)</code>").unwrap().captures(&page.text).unwrap()[1].to_owned()
}

async fn the_page_of_agents_enrols_shows_and_revokes(database: Database) {
    let rig = started(database).await;
    let root = browser(&rig, "root").await;
    assert!(root.get("/agents").await.text.contains("There is no agent."));
    let behind_all = root.get(&format!("/agents?from={}", u64::MAX)).await;
    assert_eq!(behind_all.status, 200, "{}", behind_all.text);
    for bad in ["", "no name", "Ä", &"a".repeat(64)] {
        let refused = confirmed(&root, "/agents/new", &[("name", bad)]).await;
        assert_eq!(refused.status, 400, "{bad}");
        assert!(refused.text.contains("role=\"alert\""), "{}", refused.text);
    }
    let code = shown_code(&confirmed(&root, "/agents/new?name=micro", &[("name", "micro")]).await);
    let host = Host::enrolled_by(&rig, &code).await;
    let waits = root.get("/agents").await.text;
    assert!(waits.contains("micro") && waits.contains("not connected yet"), "{waits}");
    let line = host.connect(&rig).await.unwrap();
    until_state(&rig, "micro", "online").await;
    assert!(root.get("/agents").await.text.contains("<span class=\"pill good\">online</span>"));
    // Somebody comes with its keys from another machine.
    host.is_copied(&rig).await;
    let cloned = root.get("/agents").await.text;
    assert!(cloned.contains("A copy of its keys was refused") && cloned.contains("the machine 0707"), "{cloned}");
    drop(line);
    until_state(&rig, "micro", "away").await;
    let away = root.get("/agents").await.text;
    assert!(away.contains("<span class=\"pill bad\">away</span>"), "{away}");
    // Who only reads sees the hosts and no button; who may read no host sees neither page nor tab.
    let reader = browser(&rig, "reader").await;
    let seen = reader.get("/agents").await.text;
    assert!(seen.contains("micro") && !seen.contains("Revoke…") && !seen.contains("Enrol a host"), "{seen}");
    let webber = browser(&rig, "webber").await;
    assert!(!webber.get("/").await.text.contains("href=\"/agents\""));
    assert_eq!(webber.get("/agents").await.status, 403);
    let almost = browser(&rig, "almost").await;
    let seen = almost.get("/agents").await.text;
    assert!(seen.contains("micro") && !seen.contains("Revoke…") && !seen.contains("Enrol a host"), "{seen}");
    for stranger in [&reader, &webber, &almost] {
        let token = stranger.form_token().await;
        for path in ["/agents/new", "/agents/micro/revoke"] {
            assert_eq!(stranger.get(path).await.status, 403, "{path}");
            assert_eq!(stranger.post(path, &[("form_token", &token), ("name", "other")]).await.status, 403, "{path}");
        }
    }
    assert_eq!(root.post("/agents/micro/revoke", &[]).await.status, 403, "without the token of the session");
    assert!(root.get("/agents/micro/revoke").await.text.contains("Revoke the agent micro?"));
    assert!(root.get("/agents").await.text.contains("away"), "a question changes nothing");
    assert_eq!(confirmed(&root, "/agents/micro/revoke", &[]).await.status, 303);
    assert!(root.get("/agents").await.text.contains("<span class=\"pill still\">revoked</span>"));
    assert_eq!(confirmed(&root, "/agents/nobody/revoke", &[]).await.status, 404);
    assert!(host.connect_status(&rig).await == Err(401));
    let said = rig.count("SELECT COUNT(*) FROM audit WHERE action IN ('agent_code', 'agent_revoke') AND caller = 'user:root'").await;
    assert_eq!(said, 2);
    rig.finish().await;
}

async fn the_page_of_users_does_what_the_command_line_does(database: Database) {
    let rig = started(database).await;
    let root = browser(&rig, "root").await;
    // Bad input comes back with one sentence and with what was typed.
    for (name, scopes, what) in [
        ("Ada", "read", "The user"),
        ("ada@github", "read", "is that of a user of a forge"),
        ("ada", "fly:*", "The scope"),
        ("ada", "deploy:nothing", "names nothing"),
        ("ada", "", "without scopes"),
        ("reader", "read", "already"),
    ] {
        let refused = confirmed(&root, "/users/new", &[("name", name), ("scopes", scopes)]).await;
        assert!([400, 409].contains(&refused.status) && refused.text.contains(what), "{name} {scopes}: {}", refused.text);
        assert!(refused.text.contains(&format!("value=\"{}\"", name.replace('"', "&quot;"))), "{}", refused.text);
    }
    // A link prepares no permission.
    for (name, shown) in [("webber", "deploy:web"), ("nobody", "read")] {
        let page = root.get(&format!("/users/new?name={name}&scopes=rollback:*&known=1")).await.text;
        assert!(page.contains(&format!("value=\"{shown}\"")) && !page.contains("rollback:*"), "{page}");
        assert_eq!(page.contains("Until now webber may do: deploy:web."), name == "webber", "{page}");
    }
    let added = confirmed(&root, "/users/new", &[("name", "ada"), ("scopes", "read deploy:web")]).await;
    let code = shown_code(&added);
    let ada = Browser::new(&rig);
    assert_eq!(ada.post("/login", &[("code", &code)]).await.status, 303);
    assert!(ada.get("/sessions").await.text.contains("deploy:web"));
    // The page shows the session, and ends it.
    let listed = root.get("/users").await.text;
    let end = Regex::new("action=\"(/users/ada/sessions/[^/\"]+/end)\"").unwrap().captures(&listed).unwrap()[1].to_owned();
    assert_eq!(root.post(&end, &[]).await.status, 403, "without the token of the session");
    assert!(ada.is_in().await);
    let token = root.form_token().await;
    assert_eq!(root.post(&end, &[("form_token", &token)]).await.status, 303);
    assert!(!ada.is_in().await);
    assert_eq!(root.post(&end, &[("form_token", &token)]).await.status, 404);
    // A newer code makes the older one void; what the user may do is changed at once.
    let older = shown_code(&confirmed(&root, "/users/ada/code", &[]).await);
    let newer = shown_code(&confirmed(&root, "/users/ada/code", &[]).await);
    assert_eq!(ada.post("/login", &[("code", &older)]).await.status, 401);
    assert_eq!(ada.post("/login", &[("code", &newer)]).await.status, 303);
    assert_eq!(confirmed(&root, "/users/new?known=1&name=ada", &[("name", "ada"), ("scopes", "read"), ("known", "1")]).await.status, 303);
    assert!(!ada.get("/sessions").await.text.contains("deploy:web"));
    assert_eq!(confirmed(&root, "/users/ada/logout", &[]).await.status, 303);
    assert!(!ada.is_in().await);
    let code = shown_code(&confirmed(&root, "/users/ada/code", &[]).await);
    assert_eq!(confirmed(&root, "/users/ada/disable", &[]).await.status, 303);
    assert_eq!(ada.post("/login", &[("code", &code)]).await.status, 401);
    assert!(root.get("/users").await.text.contains("disabled"));
    assert_eq!(confirmed(&root, "/users/ada/enable", &[]).await.status, 303);
    assert_eq!(confirmed(&root, "/users/ada/remove", &[]).await.status, 303);
    assert_eq!(confirmed(&root, "/users/ada/remove", &[]).await.status, 404);
    assert!(!root.get("/users").await.text.contains("/users/ada/"));
    only_who_may_do_everything(&rig).await;
    rig.finish().await;
}

/// What counts for a host that is dialled is how its line by ssh stands, whatever is remembered of an agent that had its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_dialled_is_shown_as_its_line_stands() {
    let mut rig = started(Database::Sqlite).await;
    for name in ["gone", "moved"] {
        let host = Host::enrolled(&rig, name).await;
        let line = host.connect(&rig).await.unwrap();
        until_state(&rig, name, "online").await;
        drop(line);
        until_state(&rig, name, "away").await;
    }
    assert_eq!(confirmed(&browser(&rig, "root").await, "/agents/gone/revoke", &[]).await.status, 303);
    let mut plan = rig.plan.clone();
    let host = |name: &str| {
        format!("\n[host.{name}]\naddress = \"root@127.0.0.1\"\nport = 1\nhost_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx\"\n")
    };
    plan.tables += &["gone", "moved", "new"].map(host).concat();
    plan.write(rig.dir(), "server", rig.url.as_deref());
    rig.restart().await;
    let root = browser(&rig, "root").await;
    let page = root.get("/agents").await.text;
    for (name, may_revoke) in [("gone", false), ("moved", true), ("new", false)] {
        let row = page.split_once(&format!("<tr id=\"host-{name}\">")).unwrap_or_else(|| panic!("no {name}: {page}")).1;
        let row = row.split_once("</tr>").unwrap().0;
        assert!(row.contains("not reached yet") && row.contains("by ssh") && !row.contains("New code…"), "{row}");
        assert_eq!(row.contains("Revoke…"), may_revoke, "{row}");
    }
    let overview = root.get("/").await.text;
    assert!(overview.contains("3 hosts · 3 not reached yet"), "{overview}");
    assert!(["gone", "moved", "new"].iter().all(|name| overview.contains(&format!("/agents#host-{name}"))), "{overview}");
    rig.finish().await;
}

/// Whoever lets CI deploy again learns where it still may not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_which_host_may_still_be_held() {
    let mut plan = Plan { socket: true, ..Plan::new(Database::Sqlite) };
    plan.tables += "\n[service.shop]\nhosts = [\"north\", \"south\"]\n";
    let rig = plan.start().await;
    add_user(&rig, "root", &ALL, Some(PASSWORD)).await;
    let root = browser(&rig, "root").await;
    let resumed = confirmed(&root, "/services/shop/resume", &[]).await;
    let still = "It may still be held on a host that did not end its own hold: ";
    assert!(resumed.status == 409 && resumed.text.contains(still), "{} {}", resumed.status, resumed.text);
    assert!(
        resumed.text.contains("the agent north has not come") && resumed.text.contains("the agent south has not come"),
        "{}",
        resumed.text
    );
    let by_key = rig.act(rig.key(), "/api/v1/services/shop/resume").await;
    assert!(by_key.status == 200 && by_key.text.contains(&format!("shop was not held. {still}")), "{}", by_key.text);
    rig.finish().await;
}

/// What a person types in place of a code can be guessed, so each that is wrong counts as a failed attempt, and as one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_code_of_an_approval_counts_once() {
    let receiver = Receiver::start().await;
    let dir = folder();
    let table = notify::tables(&receiver, dir.path());
    let table = table.split("[[notify]]\n").find(|table| table.contains("\"gotify\"")).unwrap();
    let mut plan = Plan { socket: true, ..Plan::new(Database::Sqlite) };
    plan.files = vec![("gotify.token", std::fs::read_to_string(dir.path().join("gotify.token")).unwrap())];
    plan.server += "\npublic_url = \"http://localhost:1\"";
    plan.tables = format!("[[notify]]\n{table}events = []\n");
    let tables = "[[person]]\nid = \"root\"\nnotify = \"gotify\"\nusers = [\"root\"]\n[service.web.approval]\napprovers = [\"root\"]\nrollbacks = true\n";
    let rig = plan.start().await.landed_before(tables).await;
    add_user(&rig, "root", &ALL, Some(PASSWORD)).await;
    let root = browser(&rig, "root").await;
    let back = Call::post("/api/v1/rollbacks", &json!({ "service": "web" })).by(rig.key()).send(&rig).await;
    let id = back.json()["id"].as_str().unwrap().to_owned();
    until("a code", async || receiver.calls().into_iter().find(|called| called.path.starts_with("/gotify"))).await;
    rig.until(&id, |shown| shown["waits_for"] == "approval").await;
    let metrics = async || {
        let all = Call::get("/metrics").by(rig.key()).send(&rig).await.text;
        all.lines().find_map(|line| line.strip_prefix("tagalong_refused_calls_total ")).unwrap_or_else(|| panic!("{all}")).to_owned()
    };
    let failed = async || rig.count("SELECT COALESCE(SUM(failed), 0) FROM attempts").await;
    for wrong in 1..3 {
        let said = confirmed(&root, &format!("/deployments/{id}/approval"), &[("code", "AAAA-AAAA-AAAA")]).await;
        assert!([403, 409].contains(&said.status), "{} {}", said.status, said.text);
        assert_eq!(metrics().await, wrong.to_string(), "{}", said.text);
        until("it is stored", async || (failed().await == wrong).then_some(())).await;
    }
    assert_eq!(confirmed(&root, &format!("/deployments/{id}/cancel"), &[]).await.status, 303);
    rig.finish().await;
}

/// A reload by a form is the same as the API's; its remote is missing here, which is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_is_reloaded_by_a_form() {
    let mut plan = Plan { socket: true, ..Plan::new(Database::Sqlite) };
    plan.tables += "\n[dataset.site]\ndir = \"site-data\"\nremote = \"file:///no/such/remote\"\ninterval_s = 0\n";
    let rig = plan.start().await;
    add_user(&rig, "root", &ALL, Some(PASSWORD)).await;
    add_user(&rig, "reader", &["read"], Some(PASSWORD)).await;
    let root = browser(&rig, "root").await;
    assert!(root.get("/data").await.text.contains("/data/site/reload"));
    let reader = browser(&rig, "reader").await;
    assert!(!reader.get("/data").await.text.contains("Reload…"));
    let token = reader.form_token().await;
    assert_eq!(reader.post("/data/site/reload", &[("form_token", &token)]).await.status, 403);
    assert_eq!(root.get("/data/nothing/reload").await.status, 404);
    let done = confirmed(&root, "/data/site/reload", &[]).await;
    assert_eq!((done.status, done.header("location")), (303, "/data#site"), "{}", done.text);
    let audited = "SELECT COUNT(*) FROM audit WHERE action = 'reload' AND caller = 'user:root' AND target = 'site'";
    until("its entry", async || (rig.count(audited).await == 1).then_some(())).await;
    rig.finish().await;
}

async fn only_who_may_do_everything(rig: &Rig) {
    let before = rig.count("SELECT COUNT(*) FROM users").await;
    add_user(rig, "most", &["deploy:*", "rollback:*", "approve:*", "read"], Some(PASSWORD)).await;
    for name in ["reader", "most"] {
        let browser = browser(rig, name).await;
        assert!(!browser.get("/").await.text.contains("href=\"/users\""), "{name} sees no tab");
        let token = browser.form_token().await;
        for path in ["/users", "/users/new", "/users/root/code", "/users/root/logout", "/users/root/disable", "/users/root/remove"] {
            assert_eq!(browser.get(path).await.status, 403, "{name} {path}");
        }
        let fields = [("form_token", token.as_str()), ("name", "more"), ("scopes", "read")];
        for path in ["/users/new", "/users/root/code", "/users/root/logout", "/users/root/disable", "/users/root/remove"] {
            assert_eq!(browser.post(path, &fields).await.status, 403, "{name} {path}");
        }
    }
    assert_eq!(rig.count("SELECT COUNT(*) FROM users").await, before + 1);
    let by_key = Call::post("/users/new", &json!({})).by(rig.key()).send(rig).await;
    assert_ne!(by_key.status, 200, "a key is no session");
}
