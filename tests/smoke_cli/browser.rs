//! Chromium, and what is left of it: nothing.

use std::process::Output;

use serde_json::Value;

use crate::site::Site;
use crate::site::err;
use crate::site::out;
use crate::site::run;

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
        ("blocked_asset Browsers do not load http://a.test/a.css", 1),
        // What the page itself says is listed once, although both saw it.
        ("browser_blocked Chromium blocked http://a.test/a.css", 0),
        ("browser_blocked Chromium blocked http://a.test/api", 1),
        ("browser_exception A script on the page failed: Error: boom", 1),
        ("browser_console The page logged an error to the console: no Object luck", 1),
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

/// What only the rendered check can see: scripts that ask by other means than `fetch`. A worker at an http address ends as an
/// exception, and Chromium raises no issue for it.
#[test]
fn every_way_in_which_scripts_ask_over_http_is_seen() {
    let site = Site::new(
        "<!doctype html><title>x</title><script>\
         const xhr = new XMLHttpRequest(); xhr.open('GET', 'http://a.test/xhr'); xhr.onerror = () => {}; xhr.send();\
         new EventSource('http://a.test/events').onerror = event => event.target.close();\
         navigator.sendBeacon('http://a.test/beacon', 'x');\
         try { new WebSocket('ws://a.test/socket') } catch {}\
         import('http://a.test/module.js').catch(() => {});\
         setTimeout(() => new Worker('http://a.test/worker.js'))</script>",
    );
    let place = Place(tempfile::tempdir().unwrap());
    let rules = rules_of(&place.look(&site, &["--json"]));
    for path in ["http://a.test/xhr", "http://a.test/events", "http://a.test/beacon", "ws://a.test/socket", "http://a.test/module.js"] {
        let blocked = format!("browser_blocked Chromium blocked {path}");
        assert_eq!(rules.iter().filter(|rule| rule.starts_with(&blocked)).count(), 1, "{path}: {rules:#?}");
    }
    assert!(rules.iter().any(|rule| rule.starts_with("browser_exception") && rule.contains("worker.js")), "{rules:#?}");
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
    let slow = place.look(&site, &["--json", "--no-assets", "--browser-deadline-s", "30"]);
    let said = "browser_failed The page was still loading when the browser's deadline passed.";
    assert_eq!((slow.status.code(), rules_of(&slow)), (Some(1), vec![said.to_owned()]));
    let wrong = place.look(&site, &["--json", "--no-assets", "--browser-program", "/bin/true"]);
    assert!(
        rules_of(&wrong)[0]
            .contains("Chromium did not start. The browser exited before the check was finished. /bin/true exited with code 0."),
        "{:?}",
        rules_of(&wrong)
    );
}

/// The ids of all processes, children of children too, that know this folder by their arguments or their environment.
fn processes_of(folder: &std::path::Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let knows = |entry: &std::fs::DirEntry, file: &str| {
        std::fs::read(entry.path().join(file)).is_ok_and(|text| String::from_utf8_lossy(&text).contains(folder))
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| knows(entry, "cmdline") || knows(entry, "environ"))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < std::time::Duration::from_mins(1), "{what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A check under way, with a folder of its own for what it writes: its browser has come as far as a script that never comes.
fn hanging() -> (tempfile::TempDir, std::process::Child, Site) {
    let site = Site::new("<!doctype html><title>x</title><script src=/hang></script>");
    let place = tempfile::tempdir().unwrap();
    let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_tagalong"));
    check.args(["smoke", &format!("https://localhost:{}/", site.port), "--ca-file", site.path("ca.pem").to_str().unwrap()]);
    check.args(["--no-assets", "--browser", "--browser-deadline-s", "600"]).env_clear().env("TMPDIR", place.path());
    let check = check.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    until("Chromium asks for the script", || site.requests.lock().unwrap().iter().any(|request| request.starts_with("GET /hang ")));
    (place, check, site)
}

/// No matter who stops the check in the middle, and how: no process of the browser stays, and nothing on the disk unless tagalong
/// had no chance to remove it.
#[test]
fn an_interrupted_check_leaves_no_browser() {
    for (signal, code, leaves_files) in
        [("INT", Some(130), false), ("TERM", Some(143), false), ("HUP", Some(129), false), ("KILL", None, true)]
    {
        let (place, mut check, _site) = hanging();
        assert!(processes_of(place.path()).len() > 3, "the browser and its processes are found");
        let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &check.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(check.wait().unwrap().code(), code, "{signal}");
        until(&format!("{signal}: the browser has ended"), || processes_of(place.path()).is_empty());
        let left = std::fs::read_dir(place.path()).unwrap().count();
        assert!(left == 0 || leaves_files, "{signal}: {left} folders are left");
    }
}

/// Nobody but tagalong can speak to the browser: it listens nowhere.
#[test]
fn the_browser_opens_no_port() {
    let (place, mut check, _site) = hanging();
    let browsers = processes_of(place.path());
    let sockets: Vec<String> = browsers
        .iter()
        .flat_map(|id| std::fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten())
        .filter_map(|entry| {
            Some(std::fs::read_link(entry.path()).ok()?.to_string_lossy().strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
        })
        .collect();
    assert!(sockets.len() > 3, "its sockets are found");
    // proc(5): state 0A is LISTEN, the tenth field the socket's inode.
    let listens = |table: &str| {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        let lines: Vec<Vec<String>> = text.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
        lines
            .into_iter()
            .filter(|fields| fields[3] == "0A" && sockets.contains(&fields[9]))
            .map(|fields| fields[1].clone())
            .collect::<Vec<_>>()
    };
    let listening = [listens("/proc/net/tcp"), listens("/proc/net/tcp6")].concat();
    check.kill().unwrap();
    check.wait().unwrap();
    assert_eq!(listening, [""; 0]);
    until("the browser has ended", || processes_of(place.path()).is_empty());
}

#[test]
fn without_a_browser_auto_is_a_note_and_true_is_an_error() {
    let site = Site::new(crate::site::GOOD);
    let place = Place(tempfile::tempdir().unwrap());
    let auto = site.look(&["--json", "--browser=auto", "--browser-program", "/none/chromium"]);
    assert_eq!(
        (auto.status.code(), rules_of(&auto)),
        (Some(0), vec!["not_checked Chromium is not installed on this host, so the page was not rendered.".to_owned()])
    );
    let must = place.look(&site, &["--json", "--browser-program", "/none/chromium"]);
    assert_eq!(must.status.code(), Some(1));
    let there = site.look(&["--json", "--browser=auto"]);
    assert_eq!((there.status.code(), rules_of(&there)), (Some(0), Vec::new()), "{}", err(&there));
}

#[test]
fn frames_and_workers_are_listened_to() {
    let frame = Site::new(
        "<!doctype html><title>f</title><script>console.error('from the frame'); fetch('http://a.test/in-frame').catch(() => {})</script>",
    );
    let site = Site::new(format!(
        "<!doctype html><title>x</title><iframe src='https://localhost:{}/'></iframe><script>\
         new Worker(URL.createObjectURL(new Blob(['console.error(\"from the worker\"); fetch(\"http://a.test/in-worker\").catch(() => {{}})'])))</script>\
         <img src='http://a.test/c.png#part'>",
        frame.port
    ));
    let place = Place(tempfile::tempdir().unwrap());
    // The frame has an authority of its own, which the plan's file vouches for too.
    let both = std::fs::read_to_string(site.path("ca.pem")).unwrap() + &std::fs::read_to_string(frame.path("ca.pem")).unwrap();
    std::fs::write(site.path("ca.pem"), both).unwrap();
    let rules = rules_of(&place.look(&site, &["--json"]));
    let count = |part: &str| rules.iter().filter(|rule| rule.contains(part)).count();
    for (part, wanted) in [("from the worker", 1), ("http://a.test/in-worker", 1), ("http://a.test/c.png", 1)] {
        assert_eq!(count(part), wanted, "{part}: {rules:#?}");
    }
}

/// A page stands still while a dialog is open, and the browser with it.
#[test]
fn dialogs_are_closed_and_told() {
    let site = Site::new(
        "<!doctype html><title>x</title><link rel=icon href=data:,><script>alert('welcome'); const said = confirm('sure?') + '/' + prompt('name?');\
         console.error('answered ' + said); addEventListener('beforeunload', event => event.preventDefault());\
         addEventListener('load', () => setTimeout(() => alert('late'), 20))</script>",
    );
    let place = Place(tempfile::tempdir().unwrap());
    let shots = tempfile::tempdir().unwrap();
    let looked = place.look(&site, &["--json", "--no-assets", "--browser-screenshots", shots.path().to_str().unwrap()]);
    let rules = rules_of(&looked);
    for says in ["alert(\"welcome\")", "confirm(\"sure?\")", "prompt(\"name?\")", "alert(\"late\")"] {
        let dialog = format!("browser_dialog The page opens a dialog while it loads, {says}");
        assert_eq!(rules.iter().filter(|rule| rule.starts_with(&dialog)).count(), 1, "{says}: {rules:#?}");
    }
    assert!(rules.iter().any(|rule| rule.contains("answered false/null")), "{rules:#?}");
    assert_eq!((looked.status.code(), rules.len()), (Some(0), 5), "{rules:#?}");
}

#[test]
fn the_browser_goes_where_the_check_goes() {
    let site =
        Site::new("<!doctype html><title>x</title><link rel=icon href=data:,><img src=/a><script>fetch('/b').catch(() => {})</script>");
    let other = site.beside("<!doctype html><title>other</title>");
    let at_other = |path: &str| format!("https://localhost:{}{path}", other.port);
    site.redirect("/a", at_other("/a"));
    site.redirect("/b", at_other("/b"));
    let place = Place(tempfile::tempdir().unwrap());
    let look = |site: &Site, args: &[&str]| rules_of(&place.look(site, &[&["--json", "--no-fetch-assets"], args].concat()));
    let kept = format!("not_checked In the browser, redirects to other hosts were not followed: localhost:{}.", other.port);
    assert_eq!(look(&site, &[]), [kept]);
    assert_eq!((site.asked("/a"), other.asked("/a"), other.asked("/b")), (1, 0, 0));
    look(&site, &["--allowed-host", &format!("localhost:{}", other.port)]);
    assert_eq!((other.asked("/a"), other.asked("/b")), (1, 1));
    // Where the page itself goes.
    for (script, rule, wanted) in [
        (format!("location = '{}'", at_other("/c")), "redirect_elsewhere", "In the browser, the page leads to https://localhost:"),
        (
            "location = 'http://a.test/'".to_owned(),
            "redirect_to_http",
            "In the browser, the page sends its visitors from https to http://a.test/",
        ),
        ("setTimeout(() => location.replace('http://a.test/'), 20)".to_owned(), "redirect_to_http", "In the browser, the page sends"),
        ("location = '/in'".to_owned(), "redirect_elsewhere", "In the browser, the page leads to https://localhost:"),
    ] {
        let site = Site::new(format!("<!doctype html><title>x</title><link rel=icon href=data:,><script>{script}</script>"));
        site.redirect("/in", at_other("/in"));
        let rules = look(&site, &[]);
        assert_eq!(rules.len(), 1, "{script}: {rules:#?}");
        assert!(rules[0].starts_with(&format!("{rule} {wanted}")), "{script}: {rules:#?}");
    }
    assert_eq!((other.asked("/c"), other.asked("/in")), (0, 0));
    // Its own pages are its own.
    let site = Site::new(
        "<!doctype html><title>x</title><link rel=icon href=data:,><script>if (!sessionStorage.was) { sessionStorage.was = 1; location = '/there' }</script>",
    );
    site.redirect("/there", "/");
    let rules = look(&site, &[]);
    assert!(!rules.iter().any(|rule| rule.starts_with("redirect")), "{rules:#?}");
}
