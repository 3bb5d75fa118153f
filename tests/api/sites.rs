//! What other sites can do to somebody who is logged in to the dashboard: nothing.

use reqwest::Method;
use tagalong::http::Need;
use tagalong::http::ROUTES;

use crate::browser::Browser;
use crate::browser::SAME;
use crate::browser::add_user;
use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;

const PASSWORD: &str = "correct horse battery staple";

async fn start(server: &str) -> Rig {
    let mut plan = Plan { socket: true, ..Plan::new(Database::Sqlite) };
    plan.server = format!("{}\n{server}", plan.server);
    let rig = plan.start().await;
    add_user(&rig, "ada", &["deploy:*", "rollback:*", "approve:*", "reload:*", "read"], Some(PASSWORD)).await;
    rig
}

async fn lets_nobody_in(rig: &Rig, site: &[(&'static str, &str)]) {
    for path in ["/login", "/login/hub"] {
        let stranger = Browser::new(rig);
        let answer = stranger.post_as(path, &[("name", "ada"), ("password", PASSWORD)], site).await;
        assert!(answer.status == 403 && stranger.cookies.borrow().is_empty(), "{path} {site:?}: {answer:?}");
    }
}

/// Every form of the dashboard × everything that is not a page of this very session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_changes_nothing() {
    let rig = start("").await;
    let browser = Browser::new(&rig);
    browser.log_in("ada", PASSWORD).await;
    let other = Browser::new(&rig);
    other.log_in("ada", PASSWORD).await;
    let right = browser.form_token().await;
    let others = other.form_token().await;
    let own = format!("http://{}", rig.address());
    let own_by_https = format!("https://{}", rig.address());
    let before = rig.rows().await;
    let sites: Vec<Vec<(&'static str, &str)>> = vec![
        vec![],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![("sec-fetch-site", "none")],
        vec![("sec-fetch-site", "")],
        vec![("sec-fetch-site", "cross-site"), ("origin", &own)],
        vec![("origin", "https://evil.example")],
        vec![("origin", "null")],
        vec![("origin", &own_by_https)],
        vec![("origin", "http://127.0.0.1:1")],
    ];
    let mut calls = 0;
    for route in ROUTES.iter().filter(|route| matches!(route.need, Need::Session(_)) && route.method == "POST") {
        let path = route.path.replace("{id}", "01ARZ3NDEKTSV4RRFFQ69G5FAV").replace("{name}", "web");
        let tokens = [
            vec![],
            vec![("form_token", "")],
            vec![("form_token", others.as_str())],
            vec![("form_token", &right[1..])],
            vec![("x", right.as_str())],
        ];
        for site in &sites {
            let answer = browser.post_as(&path, &[("form_token", &right)], site).await;
            assert_eq!(answer.status, 403, "{path} {site:?}: {answer:?}");
            calls += 1;
        }
        for says in [SAME, &[("origin", own.as_str())]] {
            for token in &tokens {
                let answer = browser.post_as(&path, token, says).await;
                assert_eq!(answer.status, 403, "{path} {token:?}: {answer:?}");
                calls += 1;
            }
        }
        // The form itself, by another method, is nothing.
        let call = Call::new(Method::GET, &format!("{path}?form_token={right}"), Vec::new());
        let answer = call.header("cookie", format!("tagalong={}", browser.cookies.borrow()["tagalong"])).send(&rig).await;
        assert!(ROUTES.iter().any(|other| other.path == route.path && other.method == "GET") || answer.status == 404, "{path}: {answer:?}");
    }
    for site in &sites {
        lets_nobody_in(&rig, site).await;
    }
    assert!(calls >= 60, "{calls}");
    assert!(browser.is_in().await && other.is_in().await);
    assert_eq!(rig.rows().await, before);
    // An old browser that says the origin alone gets through.
    let out = browser.post_as("/logout", &[("form_token", &right)], &[("origin", own.as_str())]).await;
    assert!(out.status == 303 && !browser.is_in().await && other.is_in().await, "{out:?}");
    rig.finish().await;
}

/// A session that somebody else has put into a browser is nobody's after the login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_begins_a_session_of_its_own() {
    let rig = start("trusted_proxies = [\"127.0.0.1\"]").await;
    let attacker = Browser::behind_proxy(&rig, "192.0.2.66");
    add_user(&rig, "eve", &["read"], Some(PASSWORD)).await;
    attacker.log_in("eve", PASSWORD).await;
    let planted = attacker.cookies.borrow()["__Host-tagalong"].clone();
    let victim = Browser::behind_proxy(&rig, "192.0.2.7");
    victim.cookies.borrow_mut().insert("__Host-tagalong".to_owned(), planted.clone());
    let into = victim.post("/login", &[("name", "ada"), ("password", PASSWORD)]).await;
    assert_eq!(into.status, 303);
    let own = victim.cookies.borrow()["__Host-tagalong"].clone();
    assert!(own != planted && victim.get("/sessions").await.text.contains("Sessions of <bdi>ada</bdi>"));
    assert!(!attacker.is_in().await, "what was planted has ended");
    // One that we did not make, or made for another purpose, never becomes one.
    let browser = Browser::behind_proxy(&rig, "192.0.2.7");
    browser.cookies.borrow_mut().insert("__Host-tagalong".to_owned(), "planted".to_owned());
    browser.log_in("ada", PASSWORD).await;
    assert_ne!(browser.cookies.borrow()["__Host-tagalong"], "planted");
    // Over https a cookie without the prefix, which a neighbouring host could set, does not count; and two of one name do not either.
    let tossed = Browser::behind_proxy(&rig, "192.0.2.7");
    tossed.cookies.borrow_mut().insert("tagalong".to_owned(), own.clone());
    assert!(!tossed.is_in().await);
    let twice = Browser::behind_proxy(&rig, "192.0.2.7");
    let twice = twice.get_with("/sessions", &[("cookie", &format!("__Host-tagalong={own}; __Host-tagalong={own}"))]).await;
    assert_eq!(twice.status, 303);
    rig.finish().await;
}

/// Somebody else's name that leads here (DNS rebinding) shows nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_answers_to_its_own_name_alone() {
    let rig = start("public_url = \"https://Tagalong.example.com/\"").await;
    let browser = Browser::new(&rig);
    browser.log_in("ada", PASSWORD).await;
    let token = browser.form_token().await;
    let pages: Vec<&str> = ROUTES
        .iter()
        .filter(|route| matches!(route.need, Need::Session(_) | Need::Login) && route.method == "GET" && !route.path.contains('{'))
        .map(|route| route.path)
        .collect();
    assert!(pages.len() >= 2, "{pages:?}");
    for name in [
        "evil.example",
        "evil.example:8787",
        "tagalong.example.com.evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "a b",
        "x@127.0.0.1",
    ] {
        for path in &pages {
            let answer = browser.get_with(path, &[("host", name)]).await;
            assert!(matches!(answer.status, 400 | 421) && !answer.text.contains("ada"), "{name} {path}: {answer:?}");
        }
        let answer = browser.post_as("/logout", &[("form_token", &token)], &[("sec-fetch-site", "same-origin"), ("host", name)]).await;
        assert!(matches!(answer.status, 400 | 421), "{name}: {answer:?}");
    }
    assert!(browser.is_in().await);
    for name in ["tagalong.example.com", "TAGALONG.example.com:443", "localhost:1234", "127.0.0.1", "[::1]:80", "192.0.2.1:8787"] {
        let answer = browser.get_with("/login", &[("host", name)]).await;
        assert_ne!(answer.status, 421, "{name}");
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_leads_to_no_other_site() {
    let rig = start("").await;
    for (next, to) in [
        ("/sessions", "/sessions"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\t/evil.example", "/"),
        ("/.//evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/x\r\nset-cookie: a=b", "/"),
        ("/logout", "/"),
    ] {
        let browser = Browser::new(&rig);
        let answer = browser.post("/login", &[("name", "ada"), ("password", PASSWORD), ("next", next)]).await;
        assert_eq!((answer.status, answer.header("location")), (303, to), "{next:?}");
        let again: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        assert_eq!(browser.get(&format!("/login?next={again}")).await.header("location"), to, "{next:?}");
    }
    rig.finish().await;
}

/// On plain http from afar, one sentence says why and what to do, and nothing that is typed is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_logs_in_in_the_clear() {
    let rig = start("trusted_proxies = [\"127.0.0.1\"]").await;
    let clear =
        Browser { headers: vec![("x-forwarded-for", "192.0.2.7".into()), ("x-forwarded-proto", "http".into())], ..Browser::new(&rig) };
    let page = clear.get("/login").await;
    assert!(page.status == 403 && page.text.contains("plain http") && !page.text.contains("name=\"password\""), "{page:?}");
    let answer = clear.log_in("ada", PASSWORD).await;
    assert!(
        answer.status == 403 && clear.cookies.borrow().is_empty() && rig.count("SELECT COUNT(*) FROM sessions").await == 0,
        "{answer:?}"
    );
    // A session that began over https is not taken in the clear.
    let browser = Browser::behind_proxy(&rig, "192.0.2.7");
    browser.log_in("ada", PASSWORD).await;
    let cookies = browser.cookies.borrow().clone();
    let clear = Browser { cookies: cookies.into(), headers: clear.headers, ..Browser::new(&rig) };
    assert!(browser.is_in().await && !clear.is_in().await);
    rig.finish().await;
}

/// What every page says to the browser.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_framed_by_nobody_and_runs_nothing_of_its_own() {
    let rig = start("").await;
    let browser = Browser::new(&rig);
    browser.log_in("ada", PASSWORD).await;
    let stranger = Browser::new(&rig);
    let wrong = stranger.log_in("ada", "x").await;
    let mut pages = vec![stranger.get("/login").await, wrong, browser.post_as("/logout", &[], &[]).await];
    for route in ROUTES.iter().filter(|route| matches!(route.need, Need::Session(_)) && route.method == "GET") {
        pages.push(browser.get(&route.path.replace("{id}", "01ARZ3NDEKTSV4RRFFQ69G5FAV").replace("{name}", "web")).await);
    }
    for page in pages.iter().filter(|page| page.header("content-type").starts_with("text/html")) {
        let policy = page.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "script-src 'self';",
            "style-src 'self';",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), value, "{name}: {page:?}");
        }
        assert!(!page.text.contains("<style") && !page.text.contains("javascript:") && !page.text.contains(" style="), "{}", page.text);
        for script in page.text.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/assets/"), "{}", &script[..script.len().min(80)]);
        }
    }
    rig.finish().await;
}
