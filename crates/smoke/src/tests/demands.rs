//! What the page must be beside its status, headers and body.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use url::Url;

use crate::plan::HttpVersion;
use crate::plan::SmokePlan;
use crate::tests::server::Authority;
use crate::tests::server::Server;
use crate::tests::server::Talk;
use crate::tests::server::http;
use crate::tests::server::look;
use crate::tests::server::page;
use crate::tests::server::rules;

fn expecting(plan: &SmokePlan, json: &[(&str, &str)]) -> SmokePlan {
    let mut plan = plan.clone();
    plan.demands.json = json.iter().map(|(pointer, pattern)| ((*pointer).to_owned(), Regex::new(pattern).unwrap())).collect();
    plan
}

#[tokio::test]
async fn a_page_that_is_too_small_is_not_the_page() {
    let server = Server::https(Box::new(|_, _| Some(page("<p>0123456")))).await;
    let mut plan = server.plan();
    plan.demands.min_body_bytes = 10;
    assert_eq!(rules(&look(&plan, None).await), [""; 0]);
    plan.demands.min_body_bytes = 11;
    let report = look(&plan, None).await;
    assert_eq!(rules(&report), ["body_size"]);
    assert_eq!(report.findings[0].message, "The body has 10 bytes; the plan requires at least 11.");
    plan.max_body_bytes = 5;
    let cut = look(&plan, None).await;
    assert_eq!(cut.findings[0].message, "Only 5 bytes of the body were read; the plan requires at least 11.");
    assert!(cut.findings[0].fix.contains("max_body_kib"), "{cut:?}");
}

#[tokio::test]
async fn values_of_json_are_compared() {
    let body = "\u{feff}{\"status\":\"ok\",\"db\":{\"open\":3,\"hosts\":[\"a\"]},\"a/b\":null}";
    let server = Server::https(Box::new(move |_, _| Some(http(200, &["content-type: application/json"], body)))).await;
    let good = [("/status", "^ok$"), ("/db/open", "^[1-9]"), ("/db/hosts/0", "^a$"), ("/a~1b", "^null$"), ("/db", "\"open\":3")];
    assert_eq!(rules(&look(&expecting(&server.plan(), &good), None).await), [""; 0]);
    let wrong = [("/status", "^ready$"), ("/nothing", ""), ("/db/hosts/1", "b")];
    let report = look(&expecting(&server.plan(), &wrong), None).await;
    let said: Vec<(&str, Option<&str>)> =
        report.findings.iter().map(|finding| (finding.message.as_str(), finding.element.as_deref())).collect();
    let expected = [
        ("The JSON value at /status is \"ok\", which does not match ^ready$.", Some("/status")),
        ("The JSON has no value at /nothing.", Some("/nothing")),
        ("The JSON has no value at /db/hosts/1.", Some("/db/hosts/1")),
    ];
    assert_eq!((rules(&report), said), (vec!["json"; 3], expected.to_vec()));
    let mut cut = expecting(&server.plan(), &good);
    cut.max_body_bytes = 9;
    let report = look(&cut, None).await;
    assert_eq!(report.findings[0].message, "Only the first 9 bytes of the body were read, so the JSON is incomplete.");
}

#[tokio::test]
async fn what_is_no_json_is_said_once() {
    let table: [(&[&str], &str, &str); 3] = [
        (&["content-type: text/plain"], "<p>hello", "The body is not JSON: it begins \"<p>hello\"."),
        (&["content-type: application/json"], "{\"a\":1", "The body is not JSON: it begins \"{\"a\":1\"."),
        (&["content-type: application/json"], "", "The body is not JSON: it is empty."),
    ];
    for (headers, body, wanted) in table {
        let server = Server::https(Box::new(move |_, _| Some(http(200, headers, body)))).await;
        let report = look(&expecting(&server.plan(), &[("/a", "1"), ("/b", "2")]), None).await;
        assert_eq!((rules(&report), report.findings[0].message.as_str()), (vec!["json"], wanted));
    }
}

#[tokio::test]
async fn a_late_answer_is_said_with_both_times() {
    let server = Server::https(Box::new(|_, _| Some(page("ok")))).await;
    let mut plan = server.plan();
    plan.demands.max_latency = Some(Duration::from_mins(10));
    assert_eq!(rules(&look(&plan, None).await), [""; 0]);
    plan.demands.max_latency = Some(Duration::ZERO);
    let report = look(&plan, None).await;
    assert_eq!(rules(&report), ["latency"]);
    let message = &report.findings[0].message;
    assert!(message.starts_with("The response started after ") && message.ends_with(" the plan allows 0 ms."), "{message}");
}

#[tokio::test]
async fn the_version_of_http_is_the_one_that_was_spoken() {
    let authority = Authority::new("Test Authority");
    let mut both = authority.leaf(&["site.test"], |_| {});
    both.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let talk = Talk::Tls(Arc::new(both));
    let two = Server::start(&authority, move |_| talk.clone(), Box::new(|_, _| Some(page("<p>two")))).await;
    let one = Server::https(Box::new(|_, _| Some(page("<p>one")))).await;
    let table = [
        (&two, HttpVersion::Two, None),
        (&two, HttpVersion::One, Some("The page was served over HTTP/2 instead of HTTP/1.1.")),
        (&one, HttpVersion::One, None),
        (&one, HttpVersion::Two, Some("The page was served over HTTP/1.1 instead of HTTP/2.")),
    ];
    let body = Regex::new("<p>(one|two)").unwrap();
    for (server, version, wrong) in table {
        let mut plan = server.plan();
        plan.demands.http_version = Some(version);
        plan.body = Some(body.clone());
        let report = look(&plan, None).await;
        assert_eq!(rules(&report), wrong.iter().map(|_| "http_version").collect::<Vec<_>>(), "{report:?}");
        assert_eq!(report.findings.first().map(|finding| finding.message.as_str()), wrong);
    }
    let mut plan = one.plan();
    plan.demands.http_version = Some(HttpVersion::Two);
    plan.url = Url::parse("https://site.test:8443/").unwrap();
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.attempts), (vec!["setup"], 0));
    assert!(report.findings[0].fix.starts_with("Move the port from the address to connect_to"), "{report:?}");
}
