//! Several answers in one look, levels of rules, both kinds of addresses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use regex::Regex;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;

use crate::catalogue::RuleName;
use crate::families::try_both;
use crate::plan::Release;
use crate::plan::ReleaseCarrier;
use crate::plan::ReleaseProof;
use crate::plan::SmokePlan;
use crate::report::Severity;
use crate::rules::address_family;
use crate::tests::server::Server;
use crate::tests::server::http;
use crate::tests::server::look;
use crate::tests::server::page;
use crate::tests::server::rules;

const BAD: &str = "<p>old<script src=http://site.test/a></script>";

fn three(server: &Server) -> SmokePlan {
    // No second look: what the first one saw stands.
    SmokePlan { samples: 3, within: Duration::ZERO, ..server.plan() }
}

#[tokio::test]
async fn the_worse_of_two_builds_is_found_in_one_look() {
    let server = Server::https(Box::new(|n, _| Some(page(if n % 3 == 1 { BAD } else { "<p>new" })))).await;
    let report = look(&SmokePlan { within: Duration::ZERO, ..server.plan() }, None).await;
    assert_eq!((rules(&report), report.attempts), (vec![], 1), "one answer does not show it");
    server.heads.lock().unwrap().clear();
    let mut plan = three(&server);
    plan.within = Duration::from_mins(1);
    let mut looks = Vec::new();
    let report = crate::check(&plan, None, &mut |line| looks.push(line)).await;
    assert_eq!((rules(&report), report.attempts, report.assets), (vec!["blocked_asset"], 2, 1), "{looks:?}");
    let message = &report.findings[0].message;
    assert!(message.ends_with(" This happened in 1 of 3 responses."), "{message}");
    assert_eq!(server.heads.lock().unwrap().len(), 6, "each over a connection of its own");
}

#[tokio::test]
async fn what_all_answers_show_is_said_as_it_is() {
    let server = Server::https(Box::new(|_, _| Some(page("<form action=http://site.test/a>")))).await;
    let report = look(&three(&server), None).await;
    assert_eq!((rules(&report), report.attempts), (vec!["insecure_form"], 1));
    assert!(!report.findings[0].message.contains("answers"), "{report:?}");
    assert_eq!(server.heads.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_page_that_is_wrong_is_not_asked_again_at_once() {
    let server = Server::https(Box::new(|_, _| Some(http(503, &[], "")))).await;
    let report = look(&three(&server), None).await;
    assert_eq!((rules(&report), report.attempts), (vec!["status"], 1));
    assert_eq!(server.heads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_that_does_not_come_ends_the_look() {
    let server = Server::https(Box::new(|n, _| (n != 1).then(|| page("ok")))).await;
    let report = look(&SmokePlan { samples: 20, ..three(&server) }, None).await;
    assert_eq!((rules(&report), report.status), (vec!["unreachable"], Some(200)));
    assert!(report.findings[0].message.ends_with("This happened in 1 of 2 responses."), "{report:?}");
}

#[tokio::test]
async fn a_release_is_proven_in_all_answers_or_not_at_all() {
    let server = Server::https(Box::new(|n, _| Some(page(if n == 2 { "<p>v1" } else { "<p>v2" })))).await;
    let mut plan = three(&server);
    plan.release = Some(ReleaseProof { path: None, carried_by: ReleaseCarrier::Text });
    let release = Release { tag: "v2".to_owned(), commit: None };
    let report = look(&plan, Some(&release)).await;
    assert_eq!(rules(&report), ["release"]);
    assert_eq!(report.findings[0].message, "The text of / does not show the tag v2. This happened in 1 of 3 responses.");
}

fn levels(of: &[(&str, Option<Severity>)]) -> BTreeMap<RuleName, Option<Severity>> {
    of.iter().map(|(name, level)| (RuleName::parse(name).unwrap(), *level)).collect()
}

#[tokio::test]
async fn rules_that_are_off_are_neither_waited_for_nor_reported() {
    let server =
        Server::https(Box::new(|_, _| Some(page("<script src=http://site.test/a></script><form action=http://site.test/a>")))).await;
    let mut plan = server.plan();
    plan.within = Duration::from_mins(10);
    plan.body = Some(Regex::new("never there").unwrap());
    plan.rules = levels(&[("body", None), ("blocked_asset", Some(Severity::Note))]);
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.attempts, report.passed()), (vec!["insecure_form", "blocked_asset"], 1, true));
    plan.within = Duration::ZERO;
    plan.rules = levels(&[("body", None), ("blocked_asset", None), ("insecure_form", Some(Severity::Error))]);
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.passed()), (vec!["insecure_form"], false));
}

#[tokio::test]
async fn what_is_off_takes_no_place_in_a_long_list() {
    let scripts = (0..250).map(|n| format!("<script src=http://site.test/{n}></script>")).collect::<Vec<_>>().concat();
    let server = Server::https(Box::new(move |_, _| Some(page(&format!("{scripts}<img src=http://site.test/a>"))))).await;
    let mut plan = SmokePlan { within: Duration::ZERO, ..server.plan() };
    plan.rules = levels(&[("blocked_asset", None)]);
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.omitted, report.assets), (vec!["upgraded_asset"], 0, 251));
}

#[tokio::test]
async fn a_page_that_nobody_saw_does_not_pass_whatever_the_levels() {
    let server = Server::https(Box::new(|_, _| Some(http(301, &["location: http://site.test/"], "")))).await;
    let mut plan = SmokePlan { within: Duration::ZERO, ..server.plan() };
    plan.rules = levels(&[("redirect_to_http", None), ("unreachable", Some(Severity::Warning)), ("certificate_untrusted", None)]);
    assert_eq!(rules(&look(&plan, None).await), ["redirect_to_http"]);
    plan.ca_file = None;
    let untrusted = look(&plan, None).await;
    assert_eq!((rules(&untrusted), untrusted.passed()), (vec!["certificate_untrusted"], false));
    plan.connect_to = Some("127.0.0.1:1".to_owned());
    let gone = look(&plan, None).await;
    assert_eq!((rules(&gone), gone.passed()), (vec!["unreachable"], false));
}

#[tokio::test]
async fn the_kind_of_address_that_takes_no_connection_is_named() {
    let limit = Duration::from_secs(30);
    let four = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let Ok(six) = TcpListener::bind("[::1]:0").await else {
        // Without IPv6 on this machine nothing can be said of it, and nothing is.
        let unreached: SocketAddr = "[::1]:1".parse().unwrap();
        assert_eq!(try_both("site.test", &[four.local_addr().unwrap(), unreached], limit).await, None);
        return;
    };
    // Bound and not listening: the port stays ours, and refuses.
    let deaf_four = TcpSocket::new_v4().unwrap();
    deaf_four.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let deaf_six = TcpSocket::new_v6().unwrap();
    deaf_six.bind("[::1]:0".parse().unwrap()).unwrap();
    let (no_four, no_six) = (deaf_four.local_addr().unwrap(), deaf_six.local_addr().unwrap());
    let (open_four, open_six) = (four.local_addr().unwrap(), six.local_addr().unwrap());
    assert_eq!(try_both("site.test", &[open_six, open_four], limit).await, None);
    assert_eq!(try_both("site.test", &[open_four], limit).await, None);
    assert_eq!(try_both("site.test", &[no_four, no_six], limit).await, None);
    for (addresses, lost) in [([open_four, no_six], "::1 (IPv6)"), ([open_six, no_four], "127.0.0.1 (IPv4)")] {
        let finding = try_both("site.test", &addresses, limit).await.unwrap();
        assert_eq!((finding.rule.as_str(), finding.severity), ("address_family", Severity::Note), "nobody else comes by loopback");
        assert!(finding.message.contains(&format!("connecting to {lost} failed: Connection refused")), "{}", finding.message);
    }
}

#[test]
fn a_public_address_that_takes_no_connection_is_a_warning() {
    let (lost, other): (SocketAddr, SocketAddr) = ("[2001:db8::7]:443".parse().unwrap(), "192.0.2.7:443".parse().unwrap());
    let finding = address_family::lost("www.site.test", lost, other, "it did not answer in 3000 ms");
    assert_eq!(finding.severity, Severity::Warning);
    let said =
        "www.site.test resolves to 192.0.2.7 and 2001:db8::7, but connecting to 2001:db8::7 (IPv6) failed: it did not answer in 3000 ms.";
    assert_eq!(finding.message, said);
}

#[tokio::test]
async fn what_this_machine_cannot_reach_is_not_laid_to_the_page() {
    let four = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Multicast takes no connection of this kind: the kernel itself says that there is no way.
    let no_way: SocketAddr = "[ff02::1]:443".parse().unwrap();
    assert_eq!(try_both("site.test", &[four.local_addr().unwrap(), no_way], Duration::from_secs(30)).await, None);
}
