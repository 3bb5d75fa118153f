//! Asking, redirects, retries, credentials, expectations.

use std::time::Duration;

use regex::Regex;
use text::Secret;

use crate::check;
use crate::plan::HostPattern;
use crate::plan::Release;
use crate::plan::ReleaseCarrier;
use crate::plan::ReleaseProof;
use crate::report::Severity;
use crate::tests::server::Authority;
use crate::tests::server::Server;
use crate::tests::server::Talk;
use crate::tests::server::http;
use crate::tests::server::look;
use crate::tests::server::page;
use crate::tests::server::rules;

#[tokio::test]
async fn a_good_page_passes_at_once() {
    let server = Server::https(Box::new(|_, _| Some(page("<img src=/a><script src=//cdn.test/b></script>")))).await;
    let report = look(&server.plan(), None).await;
    assert_eq!(rules(&report), [""; 0], "{report:?}");
    assert!(report.passed());
    assert_eq!((report.status, report.attempts, report.assets), (Some(200), 1, 2));
    let certificate = report.certificate.unwrap();
    assert_eq!(certificate.issuer, "Test Authority");
    assert!(certificate.days_left > 300_000);
    let head = server.heads.lock().unwrap()[0].to_lowercase();
    assert!(head.contains("host: site.test\r\n") && head.contains("user-agent: tagalong/") && !head.contains("authorization"), "{head}");
}

#[tokio::test]
async fn the_fault_of_the_story_is_found_and_looked_at_twice() {
    let html = "<link rel=stylesheet href=http://site.test/app.css><img src=http://site.test/logo.png>";
    let server = Server::https(Box::new(move |_, _| Some(page(html)))).await;
    let report = look(&server.plan(), None).await;
    assert_eq!(rules(&report), ["blocked_asset", "upgraded_asset"]);
    assert!(!report.passed());
    assert_eq!(report.attempts, 2);
}

#[tokio::test]
async fn a_warning_is_not_looked_at_twice() {
    let server = Server::https(Box::new(|_, _| Some(page("<form action=http://site.test/a>")))).await;
    let report = look(&server.plan(), None).await;
    assert_eq!((rules(&report), report.attempts, report.passed()), (vec!["insecure_form"], 1, true));
}

#[tokio::test]
async fn an_old_page_that_still_answers_is_not_the_verdict() {
    let server = Server::https(Box::new(|n, _| Some(page(if n == 0 { "<script src=http://site.test/a></script>" } else { "<p>" })))).await;
    let mut plan = server.plan();
    plan.within = Duration::from_mins(1);
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.attempts), (vec![], 3));
}

#[tokio::test]
async fn two_looks_in_a_row_decide_between_two_builds() {
    let bad = |n| n != 1;
    let server =
        Server::https(Box::new(move |n, _| Some(page(if bad(n) { "<script src=http://site.test/a></script>" } else { "<p>" })))).await;
    let mut plan = server.plan();
    plan.within = Duration::from_mins(1);
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.attempts), (vec!["blocked_asset"], 4));
}

#[tokio::test]
async fn a_proven_release_needs_no_second_look() {
    let html = "<p>v1.2.3<script src=http://site.test/a></script>";
    let server = Server::https(Box::new(move |_, _| Some(page(html)))).await;
    let mut plan = server.plan();
    plan.release = Some(ReleaseProof { path: None, carried_by: ReleaseCarrier::Text });
    let release = Release { tag: "1.2.3".to_owned(), commit: None };
    let report = look(&plan, Some(&release)).await;
    assert_eq!((rules(&report), report.attempts), (vec!["blocked_asset"], 1));
}

#[tokio::test]
async fn ordinary_faults_are_waited_for() {
    let server = Server::https(Box::new(|n, _| match n {
        0 => None,
        1 => Some(http(502, &[], "bad gateway")),
        2 => Some("HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\nbroken".to_owned()),
        _ => Some(page("ok")),
    }))
    .await;
    let mut plan = server.plan();
    plan.within = Duration::from_secs(10);
    let mut said = Vec::new();
    let report = check(&plan, None, &mut |line| said.push(line)).await;
    assert_eq!((rules(&report), report.attempts), (vec![], 4), "{said:?}");
    assert_eq!(said.len(), 3);
    assert!(said[1].starts_with("Attempt 2: The page answers with status 502 instead of 200."), "{}", said[1]);
}

#[tokio::test]
async fn attempts_that_see_the_same_are_counted() {
    let server = Server::https(Box::new(|n, _| Some(if n < 4 { http(503, &[], "") } else { page("ok") }))).await;
    let mut plan = server.plan();
    plan.within = Duration::from_secs(10);
    let mut said = Vec::new();
    let report = check(&plan, None, &mut |line| said.push(line)).await;
    assert_eq!((rules(&report), report.attempts), (vec![], 5), "{said:?}");
    assert!(said[0].starts_with("Attempt 1: The page answers with status 503 instead of 200. Trying again for up to "), "{said:?}");
    assert_eq!(said[1..], ["The next 3 attempts saw the same."]);
}

#[tokio::test]
async fn a_wrong_status_stands_when_the_time_is_over() {
    let server = Server::https(Box::new(|_, _| Some(http(503, &["content-type: text/html"], "<img src=http://x.test/a>")))).await;
    let mut plan = server.plan();
    // Long enough for a second look on a loaded machine.
    plan.within = Duration::from_secs(2);
    let report = look(&plan, None).await;
    assert_eq!(rules(&report), ["status"]);
    assert!(report.attempts >= 2);
    assert!(report.findings[0].fix.contains("proxy cannot reach"));
}

#[tokio::test]
async fn expectations_of_headers_and_body() {
    let server = Server::https(Box::new(|_, _| Some(http(200, &["content-type: text/plain", "x-a: one"], "hello world")))).await;
    let mut plan = server.plan();
    plan.expect_headers = vec![("X-A".to_owned(), Regex::new("^one$").unwrap())];
    plan.body = Some(Regex::new("w.rld").unwrap());
    assert_eq!(rules(&look(&plan, None).await), [""; 0]);
    plan.expect_headers = vec![("x-a".to_owned(), Regex::new("two").unwrap()), ("x-b".to_owned(), Regex::new("").unwrap())];
    plan.body = Some(Regex::new("moon").unwrap());
    let report = look(&plan, None).await;
    assert_eq!(rules(&report), ["header", "header", "body"]);
    assert_eq!(report.findings[0].message, "The header x-a is \"one\", which does not match two.");
}

#[tokio::test]
async fn redirects_are_followed_with_cookies_and_reported() {
    let server = Server::https(Box::new(|_, head| {
        Some(match head.split(' ').nth(1) {
            Some("/") if head.contains("cookie: seen=1") => http(302, &["location: /in"], ""),
            Some("/") => http(302, &["location: /", "set-cookie: seen=1; path=/; secure"], ""),
            _ => page("in"),
        })
    }))
    .await;
    let report = look(&server.plan(), None).await;
    assert_eq!((rules(&report), report.final_url.as_deref()), (vec![], Some("https://site.test/in")));
}

#[tokio::test]
async fn redirects_that_lead_nowhere() {
    let table = [
        ("http://site.test/", "redirect_to_http"),
        ("/", "redirect_loop"),
        ("x", "too_many_redirects"),
        ("mailto:a", "bad_redirect"),
        ("https://[", "bad_redirect"),
    ];
    for (location, rule) in table {
        let server = Server::https(Box::new(move |n, _| {
            let location = if location == "x" { format!("/{n}") } else { location.to_owned() };
            Some(http(301, &[&format!("location: {location}")], ""))
        }))
        .await;
        let report = look(&server.plan(), None).await;
        assert_eq!(rules(&report), [rule], "{location}");
        assert_eq!(report.status, Some(301));
    }
}

#[tokio::test]
async fn a_redirect_that_the_plan_accepts_is_the_last_answer() {
    let server = Server::https(Box::new(|_, _| Some(http(302, &["location: /login"], "")))).await;
    let mut plan = server.plan();
    plan.status = vec![302];
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.status), (vec![], Some(302)));
}

#[tokio::test]
async fn credentials_go_to_their_own_origin_alone() {
    let authority = Authority::new("Test Authority");
    let other = Server::start(&authority, |_| Talk::Plain, Box::new(|_, _| Some(page("other")))).await;
    let elsewhere = format!("location: http://127.0.0.1:{}/x", other.port);
    let own =
        Server::start(&authority, |_| Talk::Plain, Box::new(move |_, _| Some(http(302, &[&elsewhere, "set-cookie: session=secret"], ""))))
            .await;
    let mut plan = own.plan();
    plan.url = url::Url::parse("http://site.test:8080/").unwrap();
    plan.basic_auth = Some(("user".to_owned(), Secret::new("pass".to_owned())));
    plan.headers = vec![("X-Key".to_owned(), Secret::new("secret".to_owned()))];
    let report = look(&plan, None).await;
    assert_eq!(rules(&report), ["redirect_elsewhere"]);
    assert!(report.findings[0].fix.contains(&format!("--allowed-host 127.0.0.1:{}", other.port)), "{report:?}");
    assert_eq!(other.heads.lock().unwrap().len(), 0, "nobody there was asked");
    let own_head = own.heads.lock().unwrap()[0].clone();
    assert!(own_head.contains("authorization: Basic dXNlcjpwYXNz\r\n") && own_head.contains("x-key: secret\r\n"), "{own_head}");
    assert!(own_head.contains("host: site.test:8080\r\n") && own_head.starts_with("GET / HTTP/1.1"), "{own_head}");
    plan.allowed_hosts = vec![HostPattern::parse("127.0.0.1").unwrap()];
    let report = look(&plan, None).await;
    assert_eq!(rules(&report), [""; 0]);
    let other_head = other.heads.lock().unwrap()[0].clone();
    assert!(["authorization", "x-key", "cookie"].iter().all(|name| !other_head.contains(name)), "{other_head}");
    assert_eq!(own.heads.lock().unwrap().len(), 3, "twice, and once more");
}

#[tokio::test]
async fn a_redirect_elsewhere_may_be_what_is_wanted() {
    let server = Server::https(Box::new(|_, _| Some(http(302, &["location: https://login.test/"], "")))).await;
    let mut plan = server.plan();
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.status), (vec!["redirect_elsewhere"], Some(302)));
    plan.rules.insert(crate::catalogue::RuleName::parse("redirect_elsewhere").unwrap(), None);
    assert!(!look(&plan, None).await.passed(), "a page that nobody saw does not pass");
    plan.status = vec![302];
    assert_eq!(rules(&look(&plan, None).await), [""; 0]);
}

#[tokio::test]
async fn a_page_without_content_does_not_pass() {
    for (status, body, min_body_bytes, wanted) in [
        (200, "", 1, &["body_size"][..]),
        (200, " \r\n\t", 1, &["body_size"]),
        (200, "", 0, &[]),
        (200, ".", 1, &[]),
        (204, "", 1, &[]),
        (302, "", 1, &[]),
        (404, "", 1, &["body_size"]),
    ] {
        let server = Server::https(Box::new(move |_, _| Some(http(status, &["content-type: text/html", "location: /in"], body)))).await;
        let mut plan = server.plan();
        (plan.status, plan.demands.min_body_bytes) = (vec![status], min_body_bytes);
        assert_eq!(rules(&look(&plan, None).await), wanted, "{status} {body:?}");
    }
}

#[tokio::test]
async fn a_password_in_the_address_is_sent_and_not_shown() {
    let server = Server::https(Box::new(|_, _| Some(page("ok")))).await;
    let mut plan = server.plan();
    plan.url = url::Url::parse("https://user:p%40ss@site.test/").unwrap();
    let report = look(&plan, None).await;
    assert!(server.heads.lock().unwrap()[0].contains("authorization: Basic dXNlcjpwQHNz\r\n"));
    assert!(!format!("{report:?}").contains("p%40ss"), "{report:?}");
}

#[tokio::test]
async fn the_release_is_proven_where_the_plan_says() {
    let server = Server::https(Box::new(|_, head| {
        Some(match head.split(' ').nth(1) {
            Some("/version") => http(200, &["content-type: application/json"], "{\"build\":{\"commit\":\"1f0c2ab\",\"tag\":\"1.2.2\"}}"),
            _ => http(200, &["content-type: text/html", "x-release: v1.2.3"], "<p>"),
        })
    }))
    .await;
    let release = Release { tag: "1.2.3".to_owned(), commit: Some("1f0c2ab9d3e4f5061728394a5b6c7d8e9fa0b1c2".to_owned()) };
    let table = [
        (None, ReleaseCarrier::Header("X-Release".to_owned()), None),
        (None, ReleaseCarrier::Header("X-Other".to_owned()), Some("The header X-Other is missing.")),
        (None, ReleaseCarrier::Text, Some("The text of / does not show the tag 1.2.3")),
        (Some("/version"), ReleaseCarrier::Json("/build/commit".to_owned()), None),
        (
            Some("/version"),
            ReleaseCarrier::Json("/build/tag".to_owned()),
            Some("/build/tag says \"1.2.2\"; it should show the tag 1.2.3 or the commit"),
        ),
        (Some("/version"), ReleaseCarrier::Json("/none".to_owned()), Some("The JSON has no value at /none.")),
        (None, ReleaseCarrier::Json("/a".to_owned()), Some("The response of / is not JSON.")),
    ];
    for (path, carried_by, wrong) in table {
        let mut plan = server.plan();
        plan.release = Some(ReleaseProof { path: path.map(str::to_owned), carried_by });
        let report = look(&plan, Some(&release)).await;
        match wrong {
            None => assert_eq!(rules(&report), [""; 0]),
            Some(wrong) => {
                assert_eq!(rules(&report), ["release"]);
                assert!(report.findings[0].message.starts_with(wrong), "{}", report.findings[0].message);
            }
        }
        assert_eq!(rules(&look(&plan, None).await), [""; 0]);
    }
}

#[tokio::test]
async fn pages_that_are_not_looked_into() {
    let body = "<script src=http://x.test/a></script>";
    let table: [(&[&str], &[&str]); 5] = [
        (&["content-type: application/json"], &[]),
        (&["content-type: application/xhtml+xml"], &["malformed_page"]),
        (&["content-type: text/html", "content-encoding: br"], &["content_encoding"]),
        (&["content-type: text/html", "content-encoding: utf-8"], &["blocked_asset", "content_encoding"]),
        (&[], &["blocked_asset"]),
    ];
    for (headers, wanted) in table {
        let headers: Vec<String> = headers.iter().map(|header| (*header).to_owned()).collect();
        let server = Server::https(Box::new(move |_, _| {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            Some(http(200, &headers, body))
        }))
        .await;
        assert_eq!(rules(&look(&server.plan(), None).await), wanted);
    }
}

#[tokio::test]
async fn a_long_page_is_cut_and_said_so() {
    let server = Server::https(Box::new(|_, _| Some(page(&"<p>x".repeat(10_000))))).await;
    let mut plan = server.plan();
    plan.max_body_bytes = 1000;
    let report = look(&plan, None).await;
    assert_eq!(rules(&report), ["truncated"]);
    assert_eq!(report.findings[0].severity, Severity::Warning);
}

#[tokio::test]
async fn names_ports_and_silence() {
    let server = Server::https(Box::new(|_, _| Some(page("ok")))).await;
    let mut plan = server.plan();
    plan.connect_to = Some("127.0.0.1:1".to_owned());
    assert_eq!(rules(&look(&plan, None).await), ["unreachable"]);
    plan.connect_to = Some("no-such-host.invalid:443".to_owned());
    assert_eq!(rules(&look(&plan, None).await), ["dns"]);
    plan.url = url::Url::parse("https://127.0.0.1/").unwrap();
    assert_eq!(rules(&look(&plan, None).await), ["setup"]);
    let mut plan = server.plan();
    plan.ca_file = Some("/nowhere/ca.pem".into());
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.attempts), (vec!["setup"], 0));

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plan = server.plan();
    plan.timeout = Duration::from_millis(50);
    plan.connect_to = Some(silent.local_addr().unwrap().to_string());
    assert_eq!(rules(&look(&plan, None).await), ["timeout"]);
}

#[tokio::test]
async fn the_check_can_be_sent_to_another_thread_and_dropped() {
    let server = Server::https(Box::new(|_, _| Some(http(503, &[], "")))).await;
    let mut plan = server.plan();
    plan.within = Duration::from_mins(10);
    let (asked, mut first_look) = tokio::sync::mpsc::unbounded_channel();
    let task = tokio::spawn(async move { check(&plan, None, &mut |line| asked.send(line).unwrap()).await });
    assert!(first_look.recv().await.is_some());
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    // The sender went with the future, so nothing of the check is left.
    while first_look.recv().await.is_some() {}
}
