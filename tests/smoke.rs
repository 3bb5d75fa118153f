//! `tagalong smoke` as people and pipelines run it: the real binary against real servers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests run programs and end at the first surprise")]

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::sync::Arc;

use quick_xml::events::Event;
use serde_json::Value;

/// A page whose addresses try to break out of every format.
const HOSTILE: &str = "<!doctype html><title>x</title>\n<link rel=stylesheet href='http://a.test/a.css'>\n\
    <script src='http://a.test/b.js?\u{1b}[31m\u{202e}]]>&\"::error::forged|<b>@team</b>`x`'></script>\n<img src='http://a.test/c.png'>";
const GOOD: &str = "<!doctype html><title>x</title><p>release 1f0c9e2</p>";

/// An https server for `localhost` that answers everything with one page, as long as the test runs.
struct Site {
    dir: tempfile::TempDir,
    port: u16,
}

impl Site {
    fn new(page: &'static str) -> Self {
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let root = authority.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        leaf.not_after = rcgen::date_time_ymd(2200, 1, 1);
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), root.pem()).unwrap();
        let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], private).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), tls) = (stream, Arc::clone(&tls)) else { return };
                std::thread::spawn(move || {
                    let Ok(mut session) = rustls::ServerConnection::new(tls) else { return };
                    let mut stream = rustls::Stream::new(&mut session, &mut stream);
                    let mut request = [0_u8; 8192];
                    if stream.read(&mut request).is_ok_and(|count| count > 0) {
                        let head = format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                            page.len()
                        );
                        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(page.as_bytes()));
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                });
            }
        });
        Self { dir, port }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn look(&self, args: &[&str]) -> Output {
        let page = format!("https://localhost:{}/", self.port);
        let ca = self.path("ca.pem").display().to_string();
        let all: Vec<&str> = ["smoke", &page, "--ca-file", &ca, "--within-s", "1"].iter().chain(args).copied().collect();
        run(&all, &[])
    }
}

fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagalong"));
    command.args(args).env_clear().envs(env.iter().copied()).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_good_page_passes() {
    let site = Site::new(GOOD);
    let looked = site.look(&["--release", "1f0c9e2", "--release-text", "--body", "release [0-9a-f]+"]);
    let said = out(&looked);
    assert_eq!(looked.status.code(), Some(0), "{said}{}", err(&looked));
    assert!(said.contains("status 200") && said.contains(" days left") && said.ends_with("✓ the page passes\n"), "{said}");
    let old = site.look(&["--release", "2a7d410", "--release-text", "--json"]);
    let report: Value = serde_json::from_str(&out(&old)).unwrap();
    assert_eq!((old.status.code(), &report["findings"][0]["rule"]), (Some(3), &"release".into()), "{report:#}");
}

#[test]
fn a_page_forges_nothing_in_any_format() {
    let site = Site::new(HOSTILE);
    let summary = site.path("summary.md").display().to_string();
    let page = format!("https://localhost:{}/", site.port);
    let ca = site.path("ca.pem").display().to_string();
    let args = ["smoke", &page, "--ca-file", &ca, "--within-s", "1", "--format", "github", "--output"];
    let (junit, markdown) = (format!("junit={}", site.path("j.xml").display()), format!("markdown={}", site.path("m.md").display()));
    let args = [&args[..], &[&junit, "--output", &markdown]].concat();
    let looked = run(&args, &[("GITHUB_STEP_SUMMARY", &summary)]);
    let said = out(&looked);
    assert_eq!(looked.status.code(), Some(3), "{said}{}", err(&looked));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.iter().filter(|line| line.starts_with("::error title=smoke%3A ")).count(), 3, "{said}");
    assert_eq!(lines.len(), 4, "{said}");
    let (xml, table) = (std::fs::read_to_string(site.path("j.xml")).unwrap(), std::fs::read_to_string(site.path("m.md")).unwrap());
    assert_eq!(std::fs::read_to_string(&summary).unwrap(), table);
    assert!(
        table.lines().filter(|line| line.starts_with("| error |")).all(|line| line.matches('|').count() - line.matches("\\|").count() == 5),
        "{table}"
    );
    for text in [&said, &xml, &table, &out(&site.look(&[]))] {
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    }
    // JSON is for programs: it gives what the page writes, escaped as JSON.
    assert!(!out(&site.look(&["--json"])).contains('\u{1b}'));
    for forged in ["<b>", "@team", "`x`"] {
        assert!(!table.contains(forged), "{forged} in {table}");
    }
    let (mut failures, mut cases, mut reader) = (0, 0, quick_xml::Reader::from_str(&xml));
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => break,
            Event::Start(tag) if tag.name().as_ref() == "failure" => failures += 1,
            Event::Start(tag) | Event::Empty(tag) if tag.name().as_ref() == "testcase" => cases += 1,
            _ => {}
        }
    }
    assert_eq!((failures, cases), (2, tagalong::smoke::rules().len()), "{xml}");
}

#[test]
fn bad_input_is_one_sentence() {
    let site = Site::new(GOOD);
    let missing = site.path("none.toml").display().to_string();
    for (args, code, said) in [
        (vec!["smoke", "ftp://x/"], 1, "it must begin with https:// or http://, not ftp:"),
        (vec!["smoke", "https://u:p@x/"], 1, "no credential belongs into an address"),
        (vec!["smoke", "https://x/", "--within-s", "99999"], 1, "it must be 0 to 3600 seconds"),
        (vec!["smoke", "https://x/", "--body", "("], 1, "body: "),
        (vec!["smoke", "https://x/", "--release", "1"], 1, "give --release TAG and where the page shows it"),
        (vec!["smoke", "https://x/", "--output", "pdf=x"], 2, "there is no format pdf; it is human, json, junit"),
        (vec!["smoke", "https://x/", "--header", "X"], 2, "write NAME: VALUE"),
        (vec!["smoke", "--service", "web", "--config", &missing], 1, "it cannot be read"),
        (vec!["smoke", "--explain", "nope"], 1, "There is no rule nope; the rules are "),
        (vec!["smoke"], 2, "<PAGE>"),
    ] {
        let refused = run(&args, &[]);
        assert_eq!(refused.status.code(), Some(code), "{args:?}: {}", err(&refused));
        assert!(err(&refused).contains(said) && out(&refused).is_empty(), "{args:?}: {}", err(&refused));
    }
}

#[test]
fn every_rule_is_explained() {
    let all = out(&run(&["smoke", "--explain"], &[]));
    for rule in tagalong::smoke::rules() {
        let one = out(&run(&["smoke", "--explain", rule.name], &[]));
        assert!(one.contains(rule.meaning) && one.contains(rule.fix), "{one}");
        assert!(all.contains(&one), "{}", rule.name);
    }
}

#[test]
fn a_service_is_looked_at_as_configured() {
    let site = Site::new(GOOD);
    let text = format!(
        "version = 1\n[server]\nlisten = []\nsocket = \"s\"\ndata_dir = \"d\"\n[service.web]\ndir = \"stack\"\nproject = \"web\"\nimage = \"acme/web\"\n\
         variable = \"T\"\n[service.web.smoke]\nurl = \"https://localhost:{}/\"\nca_file = \"ca.pem\"\nwithin_s = 1\nbody = \"release\"\n",
        site.port
    );
    let config = site.path("tagalong.toml");
    std::fs::create_dir(site.path("stack")).unwrap();
    std::fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    let looked = run(&["smoke", "--service", "web", "--config", &config], &[]);
    assert_eq!(looked.status.code(), Some(0), "{}{}", out(&looked), err(&looked));
    let both = run(&["smoke", "--service", "web", "--config", &config, "--body", "x"], &[]);
    assert!(err(&both).contains("leave out --body"), "{}", err(&both));
    let none = run(&["smoke", "--service", "db", "--config", &config], &[]);
    assert!(err(&none).contains("There is no service db"), "{}", err(&none));
}
