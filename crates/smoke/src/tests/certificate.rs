//! Certificates: waited for, or refused at once.

use std::sync::Arc;
use std::time::Duration;

use rcgen::DnType;

use crate::tests::server::Authority;
use crate::tests::server::Server;
use crate::tests::server::Talk;
use crate::tests::server::look;
use crate::tests::server::page;
use crate::tests::server::rules;

fn tls(config: rustls::ServerConfig) -> Talk {
    Talk::Tls(Arc::new(config))
}

async fn serve(authority: &Authority, talk: Talk) -> Server {
    Server::start(authority, move |_| talk.clone(), Box::new(|_, _| Some(page("ok")))).await
}

#[tokio::test]
async fn certificates_that_no_waiting_mends() {
    let trusted = Authority::new("Trusted");
    let stranger = Authority::new("Stranger");
    let table = [
        (trusted.leaf(&["site.test"], |p| p.not_after = rcgen::date_time_ymd(2001, 1, 1)), "certificate_expired", "expired"),
        (trusted.leaf(&["site.test"], |p| p.not_before = rcgen::date_time_ymd(2900, 1, 1)), "certificate_expired", "not valid yet"),
        (trusted.leaf(&["other.test", "192.0.2.1"], |_| {}), "certificate_name", "is for other.test, 192.0.2.1, not for site.test"),
        (stranger.leaf(&["site.test"], |_| {}), "certificate_untrusted", "issued by Stranger"),
    ];
    for (config, rule, says) in table {
        let server = serve(&trusted, tls(config)).await;
        let mut plan = server.plan();
        plan.within = Duration::from_mins(10);
        plan.certificate_within = Duration::from_mins(10);
        let report = look(&plan, None).await;
        assert_eq!((rules(&report), report.attempts), (vec![rule], 1));
        assert!(report.findings[0].message.contains(says), "{}", report.findings[0].message);
        assert!(report.certificate.is_some());
    }
}

#[tokio::test]
async fn a_placeholder_is_waited_for_in_its_own_window() {
    let trusted = Authority::new("Trusted");
    let named = |name: &'static str| {
        move |p: &mut rcgen::CertificateParams| {
            p.distinguished_name.push(DnType::CommonName, name);
        }
    };
    let placeholder = Authority::new("x").leaf(&["other.test"], named("TRAEFIK DEFAULT CERT"));
    let caddy = Authority::new("Caddy Local Authority - ECC Intermediate").leaf(&["site.test"], |_| {});
    let talks = [tls(placeholder), Talk::Alert(80), Talk::Alert(112), tls(caddy), tls(trusted.leaf(&["site.test"], |_| {}))];
    let talk = move |n: usize| talks[n.min(talks.len() - 1)].clone();
    let server = Server::start(&trusted, talk, Box::new(|_, _| Some(page("ok")))).await;
    let mut plan = server.plan();
    plan.within = Duration::ZERO;
    plan.certificate_within = Duration::from_mins(1);
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.attempts), (vec![], 5), "{report:?}");
}

#[tokio::test]
async fn a_placeholder_that_stays_fails() {
    let trusted = Authority::new("Trusted");
    for (talk, says) in [
        (
            tls(Authority::new("x")
                .leaf(&["a.test"], |p| p.distinguished_name.push(DnType::CommonName, "Kubernetes Ingress Controller Fake Certificate"))),
            "placeholder",
        ),
        (tls(Authority::new("(STAGING) Ersatz Edamame E1").leaf(&["site.test"], |_| {})), "placeholder"),
        (Talk::Alert(80), "InternalError"),
    ] {
        let server = serve(&trusted, talk).await;
        let report = look(&server.plan(), None).await;
        assert_eq!(rules(&report), ["certificate_pending"]);
        assert!(report.findings[0].message.contains(says), "{}", report.findings[0].message);
        assert!(report.attempts >= 2);
    }
}

#[tokio::test]
async fn days_left_are_told_and_can_fail() {
    let trusted = Authority::new("Trusted");
    let server = serve(&trusted, tls(trusted.leaf(&["site.test"], |p| p.not_after = rcgen::date_time_ymd(2200, 1, 1)))).await;
    let mut plan = server.plan();
    assert_eq!(rules(&look(&plan, None).await), [""; 0]);
    plan.certificate_days = 1_000_000;
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.status, report.attempts), (vec!["certificate_days"], Some(200), 1));
}

/// What is made at home with one command mostly says CA:TRUE. curl takes it by --cacert as well.
#[tokio::test]
async fn a_certificate_that_ca_file_names_itself_is_trusted_for_its_names_and_its_time() {
    let old = |p: &mut rcgen::CertificateParams| p.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let table: [(&[&str], bool, &[&str]); 3] =
        [(&["site.test"], false, &[]), (&["other.test"], false, &["certificate_name"]), (&["site.test"], true, &["certificate_expired"])];
    for (names, is_old, wanted) in table {
        let (itself, config) = Authority::of_itself(names, |p| {
            if is_old {
                old(p);
            }
        });
        let server = serve(&itself, tls(config)).await;
        let report = look(&server.plan(), None).await;
        assert_eq!(rules(&report), wanted, "{report:?}");
        // Another one of the same name is not it.
        let (_, other) = Authority::of_itself(names, |_| {});
        let server = serve(&itself, tls(other)).await;
        let report = look(&server.plan(), None).await;
        assert_eq!(rules(&report), ["certificate_untrusted"], "{report:?}");
        assert!(!report.findings[0].message.contains("Other"), "{report:?}");
    }
}

#[tokio::test]
async fn a_port_that_speaks_no_tls_is_said_so() {
    let trusted = Authority::new("Trusted");
    // It answers before it reads: what it would read is no HTTP and has no end.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let _task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let server = serve(&trusted, Talk::Plain).await;
    let mut plan = server.plan();
    plan.connect_to = Some(to);
    let report = look(&plan, None).await;
    assert_eq!(rules(&report), ["unreachable"]);
    assert!(report.findings[0].message.contains("does not speak TLS"), "{}", report.findings[0].message);
}
