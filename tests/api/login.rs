//! Logging in to the dashboard: who gets in, for how long, and what everybody else is told.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tagalong::clock;
use tagalong::http::Need;
use tagalong::http::ROUTES;
use tagalong::model::Caller;
use tagalong::model::UserName;
use tagalong::store::LoginProof;
use tagalong::store::NewSession;

use crate::browser::Browser;
use crate::browser::SAME;
use crate::browser::add_user;
use crate::browser::code_of;
use crate::browser::on_the_host;
use crate::support::Call;
use crate::support::Database;
use crate::support::Key;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::assert_refused;

on_both!(
    somebody_logs_in_sees_their_sessions_and_logs_out,
    a_code_logs_in_once_and_for_fifteen_minutes,
    a_session_ends_by_time_by_its_user_and_by_the_operator,
    users_are_the_operators_alone,
    an_order_of_a_user_is_recorded_as_theirs,
    what_changes_during_a_login_counts,
);

const PASSWORD: &str = "canary horse battery staple";

fn with_socket(database: Database) -> Plan {
    Plan { socket: true, ..Plan::new(database) }
}

async fn somebody_logs_in_sees_their_sessions_and_logs_out(database: Database) {
    let mut rig = with_socket(database).start().await;
    add_user(&rig, "ada", &["read", "deploy:web"], Some(PASSWORD)).await;
    {
        let first = Browser::new(&rig);
        let turned_away = first.get("/sessions?x=1").await;
        assert_eq!((turned_away.status, turned_away.header("location")), (303, "/login?next=%2Fsessions%3Fx%3D1"));
        let page = first.get("/login?next=%2Fsessions%3Fx%3D1").await;
        assert!(page.status == 200 && page.text.contains("value=\"/sessions?x=1\"") && first.cookies.borrow().is_empty(), "{page:?}");
        let into = first.post("/login", &[("name", " Ada "), ("password", PASSWORD), ("next", "/sessions?x=1")]).await;
        assert_eq!((into.status, into.header("location")), (303, "/sessions?x=1"), "{into:?}");
        let second = Browser { headers: vec![("user-agent", "Second <b>\"browser\"".to_owned())], ..Browser::new(&rig) };
        second.log_in("ada", PASSWORD).await;
        let page = first.get("/sessions").await;
        assert!(page.status == 200 && page.text.contains("read:*") && page.text.contains("deploy:web"), "{}", page.text);
        assert!(page.text.contains("Second &#60;b&#62;") && page.text.matches("/end\"").count() == 2, "{}", page.text);
        // Who is in goes on from the login page.
        assert_eq!(first.get("/login?next=/sessions").await.header("location"), "/sessions");

        let token = first.form_token().await;
        // The newest stands first.
        let ids: Vec<&str> = page.text.split("/sessions/").skip(1).filter_map(|rest| rest.split_once("/end").map(|(id, _)| id)).collect();
        // A form of another session does nothing, and nobody ends a session of somebody else.
        let stolen = second.form_token().await;
        assert_eq!(first.post(&format!("/sessions/{}/end", ids[0]), &[("form_token", &stolen)]).await.status, 403);
        assert_eq!(first.post("/sessions/none/end", &[("form_token", &token)]).await.status, 404);
        assert!(second.is_in().await);
        let ended = first.post(&format!("/sessions/{}/end", ids[0]), &[("form_token", &token)]).await;
        assert_eq!((ended.status, ended.header("location")), (303, "/sessions"));
        assert!(first.is_in().await && !second.is_in().await);
        let out = first.post("/logout", &[("form_token", &token)]).await;
        assert_eq!((out.status, out.header("location")), (303, "/login"));
        assert!(first.cookies.borrow().is_empty() && rig.count("SELECT COUNT(*) FROM sessions").await == 0);
    }
    // Over a restart, who is in stays in.
    let cookies = {
        let browser = Browser::new(&rig);
        browser.log_in("ada", PASSWORD).await;
        browser.cookies.take()
    };
    rig.restart().await;
    let browser = Browser { cookies: cookies.into(), ..Browser::new(&rig) };
    assert!(browser.is_in().await);
    drop(browser);
    assert!(rig.count("SELECT COUNT(*) FROM audit WHERE action = 'login' AND caller = 'user:ada'").await == 3);
    rig.finish().await;
}

async fn a_code_logs_in_once_and_for_fifteen_minutes(database: Database) {
    let rig = with_socket(database).start().await;
    add_user(&rig, "ada", &["read"], None).await;
    let browser = Browser::new(&rig);
    let old = code_of(&rig, "ada").await;
    let code = code_of(&rig, "ada").await;
    // A newer one takes the place of an older one; looking at the page uses up nothing.
    assert_eq!(browser.post("/login", &[("code", &old)]).await.status, 401);
    assert_eq!(browser.get(&format!("/login?code={code}")).await.status, 200);
    let at_once = join_all((0..4).map(|_| async {
        let one = Browser::new(&rig);
        one.post("/login", &[("code", &code.to_lowercase().replace('-', " "))]).await.status
    }));
    let mut statuses = at_once.await;
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 401, 401, 401]);
    let late = code_of(&rig, "ada").await;
    rig.execute("UPDATE login_codes SET until_ms = until_ms - 900000").await;
    assert_eq!(browser.post("/login", &[("code", &late)]).await.status, 401);
    let disabled = code_of(&rig, "ada").await;
    rig.execute("UPDATE users SET disabled = 1").await;
    assert_eq!(browser.post("/login", &[("code", &disabled)]).await.status, 401);
    assert!(!browser.is_in().await);
    rig.finish().await;
}

async fn a_session_ends_by_time_by_its_user_and_by_the_operator(database: Database) {
    let mut plan = with_socket(database);
    plan.tables = "[dashboard]\nsession_idle_s = 3600\nsession_max_s = 86400\n".into();
    let rig = plan.start().await;
    add_user(&rig, "ada", &["read"], Some(PASSWORD)).await;
    let fresh = async || {
        let browser = Browser::new(&rig);
        assert_eq!(browser.log_in("ada", PASSWORD).await.status, 303);
        assert!(browser.is_in().await);
        browser
    };
    let change = async |body: serde_json::Value| assert_eq!(on_the_host(&rig, Call::post("/api/v1/users/ada", &body)).await.status, 200);
    let browser = fresh().await;
    rig.execute("UPDATE sessions SET seen_ms = seen_ms - 3500000").await;
    assert!(browser.is_in().await, "it was used within the hour");
    // That was noted, so the hour begins again.
    rig.execute("UPDATE sessions SET seen_ms = seen_ms - 3500000").await;
    assert!(browser.is_in().await, "and again");
    rig.execute("UPDATE sessions SET seen_ms = seen_ms - 3700000").await;
    assert!(!browser.is_in().await, "idle for too long");
    let browser = fresh().await;
    rig.execute("UPDATE sessions SET created_ms = created_ms - 86500000").await;
    assert!(!browser.is_in().await, "too old");
    let browser = fresh().await;
    let password = tagalong::http::auth::password::new_hash(&text::Secret::new("another good password".into())).unwrap();
    change(json!({ "password_hash": password })).await;
    assert!(!browser.is_in().await && browser.log_in("ada", PASSWORD).await.status == 401, "the password changed");
    add_user(&rig, "ada", &["read"], Some(PASSWORD)).await;
    let browser = fresh().await;
    change(json!({ "end_sessions": true })).await;
    assert!(!browser.is_in().await, "logged out");
    let browser = fresh().await;
    change(json!({ "disabled": true })).await;
    assert!(!browser.is_in().await && browser.log_in("ada", PASSWORD).await.status == 401, "disabled");
    change(json!({ "disabled": false })).await;
    let browser = fresh().await;
    // What the user may do counts at once.
    add_user(&rig, "ada", &["deploy:db"], None).await;
    let page = browser.get("/sessions").await.text;
    assert!(page.contains("deploy:db") && !page.contains("read:*"), "{page}");
    assert_eq!(on_the_host(&rig, Call::new(Method::POST, "/api/v1/users/ada/remove", Vec::new())).await.status, 200);
    assert!(!browser.is_in().await && browser.log_in("ada", PASSWORD).await.status == 401, "removed");
    assert_eq!(rig.count("SELECT COUNT(*) FROM sessions").await, 0);
    // Twenty sessions a user at most: a further one ends the oldest.
    add_user(&rig, "ada", &["read"], Some(PASSWORD)).await;
    let oldest = fresh().await;
    rig.execute("UPDATE sessions SET created_ms = created_ms - 1000").await;
    for _ in 0..20 {
        fresh().await;
    }
    assert!(!oldest.is_in().await && rig.count("SELECT COUNT(*) FROM sessions").await == 20);
    rig.finish().await;
}

/// Whoever may make users may give them anything, so only who may do everything already may.
async fn users_are_the_operators_alone(database: Database) {
    let mut plan = with_socket(database);
    plan.tables = "[[socket]]\nid = \"runner\"\npath = \"runner/tagalong.sock\"\nscopes = [\"deploy:*\", \"rollback:*\"]\n".into();
    plan.keys.push(Key::signing("all", &["deploy:*", "rollback:*", "approve:*", "reload:*", "read"]));
    plan.keys.push(Key::signing("most", &["deploy:*", "rollback:*", "approve:*", "read"]));
    let rig = plan.start().await;
    let calls = [
        Call::get("/api/v1/users"),
        Call::post("/api/v1/users", &json!({ "name": "eve", "scopes": ["read"] })),
        Call::post("/api/v1/users/ada", &json!({ "disabled": true })),
        Call::post("/api/v1/users/ada/code", &json!({ "call": "POST /api/v1/users/ada/code" })),
        Call::post("/api/v1/users/ada/remove", &json!({ "call": "POST /api/v1/users/ada/remove" })),
    ];
    add_user(&rig, "ada", &["read"], None).await;
    let runner = reqwest::Client::builder().unix_socket(rig.dir().join("runner/tagalong.sock")).build().unwrap();
    for call in &calls {
        assert_refused(&call.clone().send(&rig).await, 401, "unauthorized");
        assert_refused(&call.clone().by(&rig.plan.keys[2]).send(&rig).await, 403, "forbidden");
        assert_eq!(call.clone().try_open(&runner, "http://tagalong").await.unwrap().status(), 403);
    }
    assert!(rig.count("SELECT COUNT(*) FROM users WHERE disabled = 0").await == 1);
    for (body, part) in [
        (json!({ "name": "eve@github", "scopes": ["read"] }), "user of a forge"),
        (json!({ "name": "eve", "scopes": [] }), "without scopes"),
        (json!({ "name": "eve", "scopes": ["write:web"] }), "The scope"),
        (json!({ "name": "eve", "scopes": ["deploy:none"] }), "names nothing"),
        (json!({ "name": "E V E", "scopes": ["read"] }), "The user"),
    ] {
        let answer = Call::post("/api/v1/users", &body).by(&rig.plan.keys[1]).send(&rig).await;
        assert_refused(&answer, 400, "bad_request");
        assert!(answer.text.contains(part), "{}", answer.text);
    }
    for body in
        [json!({}), json!({ "password_hash": "secret" }), json!({ "password_hash": "$argon2id$v=19$m=8,t=1,p=1$YWFhYWFhYWE$YWFhYWFhYWE" })]
    {
        assert_refused(&on_the_host(&rig, Call::post("/api/v1/users/ada", &body)).await, 400, "bad_request");
    }
    for call in calls {
        let answer = call.by(&rig.plan.keys[1]).send(&rig).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_refused(&on_the_host(&rig, Call::post("/api/v1/users/ada", &json!({ "disabled": true }))).await, 404, "not_found");
    rig.finish().await;
}

/// A login was checked, and waits for its turn when the password changes, or the user is disabled or removed: no session begins.
async fn what_changes_during_a_login_counts(database: Database) {
    let rig = with_socket(database).start().await;
    add_user(&rig, "ada", &["read"], Some(PASSWORD)).await;
    let shared = rig.app().shared();
    let store = &shared.store;
    let ada = UserName::parse("ada").unwrap();
    let by = Caller::User(ada.clone());
    let session = |proof: LoginProof| NewSession {
        digest: clock::new_id().to_string(),
        id: clock::new_id().to_string(),
        user: ada.clone(),
        proof,
        address: "192.0.2.1".into(),
        agent: String::new(),
    };
    let lock = store.lock_of(&ada).await.unwrap().and_then(|lock| lock.hash).unwrap();
    let right = || session(LoginProof::Password(lock.clone()));
    assert!(store.open_session(&right(), None, "password").await.unwrap());
    store.disable_user(&ada, true, &by).await.unwrap();
    assert!(!store.open_session(&right(), None, "password").await.unwrap());
    store.disable_user(&ada, false, &by).await.unwrap();
    // The hash of the same password is another one.
    assert!(store.set_password(&ada, "$argon2id$another", &by).await.unwrap());
    assert!(!store.open_session(&right(), None, "password").await.unwrap());
    let code = |digest: &str| session(LoginProof::Code(digest.to_owned()));
    let until_ms = clock::now_ms() + 60_000;
    assert!(store.put_login_code(&ada, "first", until_ms, &by).await.unwrap());
    assert_eq!(store.owner_of_code("first").await.unwrap(), Some(ada.clone()));
    assert!(store.open_session(&code("first"), None, "code").await.unwrap());
    assert!(!store.open_session(&code("first"), None, "code").await.unwrap());
    assert!(store.put_login_code(&ada, "second", until_ms, &by).await.unwrap());
    assert!(store.remove_user(&ada, &by).await.unwrap());
    for gone in [code("second"), right()] {
        assert!(!store.open_session(&gone, None, "code").await.unwrap());
    }
    // Nor does any sleep until there is a user of that name again.
    assert_eq!(store.sessions_of(&ada).await.unwrap(), []);
    rig.finish().await;
}

async fn an_order_of_a_user_is_recorded_as_theirs(database: Database) {
    let rig = with_socket(database).start().await;
    let ask = serde_json::from_value(json!({ "service": "web", "tag": "1" })).unwrap();
    for name in ["ada", "ada@github"] {
        let caller: tagalong::model::Caller = tagalong::model::Caller::parse(&format!("user:{name}")).unwrap();
        let order = tagalong::api::NewDeployment::clone(&ask);
        let accepted = rig.app().shared().deployer.order_deployment(order, caller, None).await.unwrap();
        assert_eq!(rig.ended(accepted.id.as_str()).await["caller"], format!("user:{name}"));
    }
    // The version before reads them as tagalong's own.
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments WHERE caller = 'tagalong' AND by_user LIKE 'ada%'").await, 2);
    assert!(rig.count("SELECT COUNT(*) FROM audit WHERE caller = 'user:ada@github'").await > 0);
    rig.finish().await;
}

/// Whatever is wrong, the answer is the same one to the last byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_login_says_nothing_of_why() {
    let rig = with_socket(Database::Sqlite).start().await;
    add_user(&rig, "ada", &["read"], Some(PASSWORD)).await;
    add_user(&rig, "bob", &["read"], None).await;
    add_user(&rig, "eve", &["read"], Some(PASSWORD)).await;
    on_the_host(&rig, Call::post("/api/v1/users/eve", &json!({ "disabled": true }))).await;
    let browser = Browser::new(&rig);
    let long = "x".repeat(4000);
    let mut answers = BTreeSet::new();
    for fields in [
        vec![("name", "ada"), ("password", "wrong")],
        vec![("name", "ada"), ("password", "")],
        vec![("name", "ada")],
        vec![("name", "bob"), ("password", PASSWORD)],
        vec![("name", "eve"), ("password", PASSWORD)],
        vec![("name", "nobody"), ("password", PASSWORD)],
        vec![("name", "ada@github"), ("password", PASSWORD)],
        vec![("name", "'; DROP TABLE users; --"), ("password", PASSWORD)],
        vec![("name", "ada\0"), ("password", PASSWORD)],
        vec![("name", "ada"), ("password", &long)],
        vec![("code", "7K3M-9QXT-2BWD")],
        vec![("code", "nonsense")],
        vec![("code", "7K3M-9QXT-2BWD"), ("name", "ada"), ("password", PASSWORD)],
        vec![],
    ] {
        let answer = browser.post("/login", &fields).await;
        assert_eq!(answer.status, 401, "{fields:?}: {answer:?}");
        answers.insert(answer.text);
    }
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert!(browser.cookies.borrow().is_empty() && rig.count("SELECT COUNT(*) FROM sessions").await == 0);
    let refused = on_the_host(&rig, Call::get("/api/v1/refused")).await.json();
    assert_eq!(refused["counts"]["login"], 14);
    rig.finish().await;
}

/// B5 for people: a few wrong ones from an address, and nothing more is compared from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_logins_are_limited_by_address() {
    let mut plan = with_socket(Database::Sqlite);
    plan.server = "failed_attempts_per_min = 4\ntrusted_proxies = [\"127.0.0.1\"]".into();
    let rig = plan.start().await;
    add_user(&rig, "ada", &["read"], Some(PASSWORD)).await;
    let far = Browser::behind_proxy(&rig, "192.0.2.7");
    let near = Browser::behind_proxy(&rig, "192.0.2.8");
    let inside = Browser::behind_proxy(&rig, "192.0.2.7");
    assert_eq!(inside.log_in("ada", PASSWORD).await.status, 303);
    // The minute may turn meanwhile.
    let mut spent = None;
    for _ in 0..12 {
        let answer = far.log_in("ada", "wrong wrong wrong").await;
        if answer.status == 429 {
            spent = Some(answer);
            break;
        }
        assert_eq!(answer.status, 401);
    }
    let spent = spent.expect("the fifth is refused");
    assert!(spent.header("retry-after") == "60" && spent.text.contains("wait a minute"), "{spent:?}");
    assert_eq!(far.log_in("ada", PASSWORD).await.status, 429, "nor a right one");
    assert_eq!(near.log_in("ada", PASSWORD).await.status, 303, "from elsewhere it is right");
    assert!(inside.is_in().await && near.is_in().await, "who is in stays in");
    rig.finish().await;
}

/// The canary's names: a password, a code, the token of a session and the one of its forms. Nothing that is kept, said or answered has one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_of_a_person_is_kept_or_said() {
    let rig = with_socket(Database::Sqlite).start().await;
    add_user(&rig, "ada", &["read"], Some(PASSWORD)).await;
    let code = code_of(&rig, "ada").await;
    let unused = code_of(&rig, "ada").await;
    let browser = Browser::new(&rig);
    browser.post("/login", &[("code", &code)]).await;
    browser.log_in("ada", "canary of a wrong password").await;
    browser.log_in("ada", PASSWORD).await;
    let token = browser.form_token().await;
    let session = browser.cookies.borrow()["tagalong"].clone();
    let random = session.split_once('.').unwrap().0.to_owned();
    browser.post("/sessions/none/end", &[("form_token", &token)]).await;
    let canaries = [
        PASSWORD,
        "canary of a wrong",
        code.as_str(),
        unused.as_str(),
        &unused.replace('-', ""),
        session.as_str(),
        random.as_str(),
        &token,
    ];
    for path in ["/api/v1/users", "/api/v1/refused", "/metrics"] {
        let answer = on_the_host(&rig, Call::get(path)).await.text;
        assert!(!canaries.iter().any(|canary| answer.contains(canary)) && !answer.contains("argon2"), "{path}: {answer}");
    }
    let page = browser.get("/sessions").await.text;
    assert!(!page.contains(&session) && !page.contains(&random), "{page}");
    let mut files = 0;
    for entry in std::fs::read_dir(rig.data_dir()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        for canary in canaries {
            let is_there = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!is_there, "{canary} is in {}", entry.path().display());
        }
        files += 1;
    }
    assert!(files >= 2, "{files}");
    rig.finish().await;
}

/// Every page of the route table: without a session nothing is shown and nothing happens, whatever the page is about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_shows_anything_to_a_stranger() {
    let mut rig = with_socket(Database::Sqlite).start().await;
    add_user(&rig, "ada", &["read"], Some(PASSWORD)).await;
    let before = rig.rows().await;
    let forged = ["x", "a.b", &"a".repeat(43), &format!("{}.{}", "a".repeat(43), "b".repeat(43))];
    let mut pages = 0;
    for route in ROUTES.iter().filter(|route| matches!(route.need, Need::Session(_))) {
        let path = route.path.replace("{id}", "01ARZ3NDEKTSV4RRFFQ69G5FAV").replace("{name}", "web");
        for cookie in std::iter::once(None).chain(forged.iter().map(Some)) {
            let browser = Browser::new(&rig);
            browser.cookies.borrow_mut().extend(cookie.map(|value| ("tagalong".to_owned(), (*value).to_owned())));
            let answer =
                if route.method == "GET" { browser.get(&path).await } else { browser.post_as(&path, &[("form_token", "x")], SAME).await };
            assert!(answer.status == 303 && answer.header("location").starts_with("/login"), "{} {path}: {answer:?}", route.method);
            assert!(answer.text.is_empty(), "{answer:?}");
            pages += 1;
        }
    }
    assert!(pages >= 15, "{pages}");
    assert_eq!(rig.rows().await, before);
    // Without a dashboard there is no page at all.
    let text = std::fs::read_to_string(&rig.config_file).unwrap();
    std::fs::write(&rig.config_file, format!("{text}\n[dashboard]\nenabled = false\n")).unwrap();
    rig.restart().await;
    for route in ROUTES.iter().filter(|route| matches!(route.need, Need::Session(_) | Need::Login)) {
        let path = route.path.replace("{id}", "x").replace("{name}", "web").replace("{forge}", "hub");
        let call = Call::new(Method::from_bytes(route.method.as_str().as_bytes()).unwrap(), &path, Vec::new());
        assert_eq!(call.header("sec-fetch-site", "same-origin").send(&rig).await.status, 404, "{path}");
    }
    rig.finish().await;
}

/// The command line, as the operator types it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_user_comes_by_a_code_of_the_command_line() {
    let mut plan = with_socket(Database::Sqlite);
    plan.server += "\npublic_url = \"https://tagalong.example.com\"";
    let rig = plan.start().await;
    let (code, text) = tagalong(&rig, &["user", "list"]).await;
    assert!(code == Some(0) && text.contains("tagalong user add NAME"), "{text}");
    assert!(tagalong(&rig, &["user", "add", "ada", "--scope", "read", "--scope", "deploy:web"]).await.1.contains("read:*, deploy:web"));
    assert!(tagalong(&rig, &["user", "add", "bob", "--scope", "deploy"]).await.0 == Some(1));
    let (code, text) = tagalong(&rig, &["user", "code", "ada"]).await;
    assert!(code == Some(0) && text.contains("https://tagalong.example.com/login"), "{text}");
    let browser = Browser::new(&rig);
    assert_eq!(browser.post("/login", &[("code", text.lines().next().unwrap())]).await.status, 303);
    let file = rig.dir().join("password");
    for (password, part) in [("short", "fewer than 12"), ("aaaaaaaaaaaaaaa", "easy to guess")] {
        std::fs::write(&file, password).unwrap();
        let (code, text) = tagalong(&rig, &["user", "password", "ada", "--password-file", file.to_str().unwrap()]).await;
        assert!(code == Some(1) && text.contains(part) && !text.contains(password), "{text}");
    }
    assert!(browser.is_in().await);
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let (code, text) = tagalong(&rig, &["user", "password", "ada", "--password-file", file.to_str().unwrap()]).await;
    assert!(code == Some(0) && text.contains("has a new password") && !browser.is_in().await, "{text}");
    assert_eq!(browser.log_in("ada", PASSWORD).await.status, 303);
    let (_, text) = tagalong(&rig, &["user", "list"]).await;
    assert!(text.contains("has a password") && text.contains("sessions: 1"), "{text}");
    assert!(tagalong(&rig, &["user", "disable", "ada"]).await.0 == Some(0) && !browser.is_in().await);
    assert!(tagalong(&rig, &["user", "enable", "ada"]).await.0 == Some(0) && browser.log_in("ada", PASSWORD).await.status == 303);
    assert!(tagalong(&rig, &["user", "logout", "ada"]).await.0 == Some(0) && !browser.is_in().await);
    let (code, text) = tagalong(&rig, &["user", "remove", "eve"]).await;
    assert!(code == Some(1) && text.contains("There is no user eve"), "{text}");
    assert!(tagalong(&rig, &["user", "remove", "ada"]).await.0 == Some(0));
    rig.finish().await;
}

#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
async fn tagalong(rig: &Rig, args: &[&str]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tagalong"));
    let done = command.arg("--config").arg(&rig.config_file).args(args).env("NO_COLOR", "1").kill_on_drop(true).output().await.unwrap();
    (done.status.code(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}
