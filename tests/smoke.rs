//! `tagalong smoke` as people and pipelines run it: the real binary against real servers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests run programs and end at the first surprise")]

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::sync::Arc;
use std::sync::Mutex;

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
    /// The requests, as they came.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Site {
    fn new(page: impl Into<String>) -> Self {
        let page: Arc<str> = page.into().into();
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
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), tls, seen, page) = (stream, Arc::clone(&tls), Arc::clone(&seen), Arc::clone(&page)) else { return };
                std::thread::spawn(move || {
                    let Ok(mut session) = rustls::ServerConnection::new(tls) else { return };
                    let mut stream = rustls::Stream::new(&mut session, &mut stream);
                    let mut request = [0_u8; 8192];
                    if let Ok(count) = stream.read(&mut request)
                        && count > 0
                    {
                        let request = String::from_utf8_lossy(&request[..count]).into_owned();
                        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                        seen.lock().unwrap().push(request);
                        if path == "/hang" {
                            loop {
                                std::thread::park();
                            }
                        }
                        let (status, page) = if path == "/" { ("200 OK", &*page) } else { ("404 Not Found", "") };
                        let head = format!(
                            "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                            page.len()
                        );
                        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(page.as_bytes()));
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                });
            }
        });
        Self { dir, port, requests }
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

/// A temporary folder of one run; when it ends, no process knows that folder and nothing of the browser is left in it.
struct Place(tempfile::TempDir);

impl Place {
    fn look(&self, site: &Site, args: &[&str]) -> Output {
        let (page, ca) = (format!("https://localhost:{}/", site.port), site.path("ca.pem").display().to_string());
        let all = [&["smoke", &page, "--ca-file", &ca, "--within-s", "0", "--browser"], args].concat();
        let looked = run(&all, &[("TMPDIR", &self.0.path().display().to_string())]);
        let left: Vec<String> = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| {
                let command = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
                command.contains(self.0.path().to_str().unwrap()).then_some(command)
            })
            .collect();
        assert_eq!(left, [""; 0], "the browser has ended");
        assert_eq!(std::fs::read_dir(self.0.path()).unwrap().count(), 0, "its profile is gone");
        looked
    }
}

fn rules_of(looked: &Output) -> Vec<String> {
    let report: Value = serde_json::from_str(&out(looked)).unwrap_or_else(|error| panic!("{error}: {}{}", out(looked), err(looked)));
    let list = report["findings"].as_array().unwrap();
    list.iter().map(|finding| format!("{} {}", finding["rule"].as_str().unwrap(), finding["message"].as_str().unwrap())).collect()
}

#[test]
fn chromium_reports_what_scripts_do() {
    let site = Site::new(
        "<!doctype html><title>x</title><script src=/missing.js></script><link rel=stylesheet href=http://a.test/a.css>\
         <script>fetch('http://a.test/api').catch(() => {}); console.error('no', {a: 1}, 'luck'); setTimeout(() => { throw new Error('boom') })</script>",
    );
    let (place, kept) = (Place(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let (shots, har) = (kept.path().join("shots"), kept.path().join("page.har"));
    let looked = place.look(&site, &["--json", "--browser-screenshots", shots.to_str().unwrap(), "--browser-har", har.to_str().unwrap()]);
    let rules = rules_of(&looked);
    let has = |start: &str| rules.iter().filter(|rule| rule.starts_with(start)).count();
    for (start, count) in [
        ("blocked_asset A browser does not load http://a.test/a.css", 1),
        // What the page itself says is listed once, although both saw it.
        ("browser_blocked Chromium does not load http://a.test/a.css", 0),
        ("browser_blocked Chromium does not load http://a.test/api", 1),
        ("browser_exception A script of the page fails: Error: boom", 1),
        ("browser_console The page writes to the console: no Object luck", 1),
        ("browser_failed", 0),
    ] {
        assert_eq!(has(start), count, "{start}: {rules:#?}");
    }
    assert!(rules.iter().any(|rule| rule.contains("/missing.js")), "{rules:#?}");
    assert_eq!(looked.status.code(), Some(3));
    for name in ["desktop.png", "phone.png"] {
        assert!(std::fs::read(shots.join(name)).unwrap().starts_with(b"\x89PNG"), "{name}");
    }
    let har: Value = serde_json::from_str(&std::fs::read_to_string(har).unwrap()).unwrap();
    let asked: Vec<&str> =
        har["log"]["entries"].as_array().unwrap().iter().map(|entry| entry["request"]["url"].as_str().unwrap()).collect();
    assert_eq!((&har["log"]["version"], asked[0]), (&"1.2".into(), format!("https://localhost:{}/", site.port).as_str()));
    assert!(asked.iter().any(|url| url.ends_with("/missing.js")), "{asked:?}");
}

#[test]
fn credentials_go_to_the_page_alone() {
    let other = Site::new("");
    let site =
        Site::new(format!("<!doctype html><title>x</title><img src=/own.png><img src='https://localhost:{}/other.png'>", other.port));
    std::fs::write(site.path("token"), "s3cret-token-of-the-page").unwrap();
    let place = Place(tempfile::tempdir().unwrap());
    let har = site.path("page.har");
    let looked =
        place.look(&site, &["--json", "--bearer-file", site.path("token").to_str().unwrap(), "--browser-har", har.to_str().unwrap()]);
    let carried = |site: &Site, path: &str| {
        let requests = site.requests.lock().unwrap();
        let asked: Vec<bool> = requests
            .iter()
            .filter(|request| request.starts_with(&format!("GET {path} ")))
            .map(|request| request.contains("s3cret-token"))
            .collect();
        asked
    };
    assert!(carried(&site, "/").iter().all(|carried| *carried), "{}", err(&looked));
    // The last one is the browser's.
    assert_eq!((carried(&site, "/own.png").last(), carried(&other, "/other.png").iter().any(|carried| *carried)), (Some(&true), false));
    assert!(!std::fs::read_to_string(har).unwrap().contains("s3cret") && !out(&looked).contains("s3cret"));
}

#[test]
fn a_browser_that_is_not_there_or_not_done_is_said() {
    let site = Site::new("<!doctype html><title>x</title><script src=/hang></script>");
    let place = Place(tempfile::tempdir().unwrap());
    let none = place.look(&site, &["--json", "--no-assets", "--browser-program", "/none/chromium"]);
    assert_eq!((none.status.code(), rules_of(&none)), (Some(1), vec!["browser_failed There is no browser at /none/chromium.".to_owned()]));
    let slow = place.look(&site, &["--json", "--no-assets", "--browser-deadline-s", "6"]);
    let said = "browser_failed The page was still loading when the browser's time was over.";
    assert_eq!((slow.status.code(), rules_of(&slow)), (Some(1), vec![said.to_owned()]));
    let wrong = place.look(&site, &["--json", "--no-assets", "--browser-program", "/bin/true"]);
    assert!(rules_of(&wrong)[0].contains("Chromium does not start: /bin/true ended at once"), "{:?}", rules_of(&wrong));
}
