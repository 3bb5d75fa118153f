//! A public page leads to private addresses: in a network namespace of its own, where the test has both.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;

use serde_json::Value;

use crate::site::certified;

/// The folder of the test, for the part of it that runs in the namespace.
const PLACE: &str = "AFAR";
const PUBLIC: &str = "93.184.216.34";
const OTHER_PUBLIC: &str = "93.184.216.35";
const PRIVATE: [&str; 2] = ["127.0.0.1", "10.0.0.7"];
const NAMES: [&str; 7] = ["site.test", "www.site.test", "cdn.test", "login.test", "home.test", "moving.test", "10.0.0.7"];

/// Names and where they lead, which the test changes while it runs.
fn write_hosts(place: &Path, moved: &[&str]) {
    let at = |name: &&str| match *name {
        name if moved.contains(&name) || name == "home.test" => "127.0.0.1",
        "cdn.test" | "moving.test" => OTHER_PUBLIC,
        _ => PUBLIC,
    };
    let names = NAMES.iter().filter(|name| !name.starts_with(|c: char| c.is_ascii_digit()));
    let lines = names.fold(String::new(), |all, name| all + &format!("{} {name}\n", at(name)));
    // In place: it is bound to another path.
    std::fs::write(place.join("hosts"), format!("127.0.0.1 localhost\n{lines}")).unwrap();
}

#[test]
fn nothing_private_is_asked_for_a_public_page() {
    let place = tempfile::tempdir().unwrap();
    write_hosts(place.path(), &[]);
    let addresses: String = [PUBLIC, OTHER_PUBLIC, "10.0.0.7"].map(|ip| format!("ip addr add {ip}/32 dev lo && ")).concat();
    let script = format!(
        "ip link set lo up && {addresses} mount --bind \"$0/hosts\" /etc/hosts && exec \"$1\" --exact afar::inside --ignored --nocapture"
    );
    let me = std::env::current_exe().unwrap();
    let inside = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", &script])
        .args([place.path(), &me])
        .env(PLACE, place.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inside.stdout).into_owned() + &String::from_utf8_lossy(&inside.stderr);
    assert!(inside.status.success() && said.contains("1 passed"), "{said}");
}

/// What a server answers: by the host that was asked and the path.
type Answers = Arc<Mutex<BTreeMap<String, String>>>;

struct World {
    place: PathBuf,
    answers: Answers,
    /// What was asked, by the address that took it: `127.0.0.1 home.test /`.
    asked: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new(place: &Path) -> Self {
        let (tls, ca) = certified(&NAMES);
        std::fs::write(place.join("ca.pem"), ca).unwrap();
        let world = Self { place: place.to_owned(), answers: Arc::default(), asked: Arc::default() };
        for ip in [PUBLIC, OTHER_PUBLIC].iter().chain(&PRIVATE) {
            let listener = TcpListener::bind((*ip, 443)).unwrap();
            let (tls, answers, asked, place) = (Arc::clone(&tls), Arc::clone(&world.answers), Arc::clone(&world.asked), place.to_owned());
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (tls, answers, asked, place) = (Arc::clone(&tls), Arc::clone(&answers), Arc::clone(&asked), place.clone());
                    std::thread::spawn(move || serve(stream, tls, ip, &answers, &asked, &place));
                }
            });
        }
        world
    }

    fn look(&self, answers: &[(&str, &str)], args: &[&str]) -> (Value, Vec<String>) {
        *self.answers.lock().unwrap() = answers.iter().map(|(at, answer)| ((*at).to_owned(), (*answer).to_owned())).collect();
        self.asked.lock().unwrap().clear();
        write_hosts(&self.place, &[]);
        let ca = self.place.join("ca.pem").display().to_string();
        let all = ["smoke", "https://site.test/", "--ca-file", &ca, "--within-s", "0", "--samples", "1", "--json"];
        let looked = crate::site::run(&[&all, args].concat(), &[]);
        let report = serde_json::from_str(&crate::site::out(&looked)).unwrap_or_else(|_| panic!("{}", crate::site::err(&looked)));
        let asked = self.asked.lock().unwrap().clone();
        let private: Vec<_> = asked.iter().filter(|line| PRIVATE.iter().any(|ip| line.starts_with(ip))).collect();
        assert!(private.is_empty(), "{answers:?} {args:?}: {private:?}\n{report:#}");
        (report, asked)
    }
}

fn serve(
    mut stream: std::net::TcpStream,
    tls: Arc<rustls::ServerConfig>,
    ip: &str,
    answers: &Mutex<BTreeMap<String, String>>,
    asked: &Mutex<Vec<String>>,
    place: &Path,
) {
    let Ok(mut session) = rustls::ServerConnection::new(tls) else { return };
    let mut stream = rustls::Stream::new(&mut session, &mut stream);
    let mut request = [0_u8; 8192];
    let Ok(count @ 1..) = stream.read(&mut request) else { return };
    let request = String::from_utf8_lossy(&request[..count]).into_owned();
    let host = request.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned)).unwrap_or_default();
    let at = format!("{host} {}", request.split(' ').nth(1).unwrap_or_default());
    asked.lock().unwrap().push(format!("{ip} {at}"));
    let answer = answers.lock().unwrap().get(&at).cloned().unwrap_or_default();
    // `moves NAME` changes where the name leads, from now on.
    let answer = match answer.strip_prefix("moves ").and_then(|rest| rest.split_once(' ')) {
        Some((name, rest)) => {
            write_hosts(place, &[name]);
            rest.to_owned()
        }
        None => answer,
    };
    let answer = match answer.strip_prefix("to ") {
        Some(location) => format!("302 X\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"),
        None => format!(
            "200 X\r\ncontent-type: text/html\r\naccess-control-allow-origin: *\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        ),
    };
    let _ = stream.write_all(format!("HTTP/1.1 {}", answer.replacen("\r\n", "\r\nconnection: close\r\n", 1)).as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn rules(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["rule"].as_str().unwrap()).collect()
}

const EVERYWHERE: [&str; 10] = [
    "--allowed-host",
    "home.test",
    "--allowed-host",
    "10.0.0.7",
    "--allowed-host",
    "cdn.test",
    "--allowed-host",
    "moving.test",
    "--allowed-host",
    "[::ffff:10.0.0.7]",
];

/// Run by the test above.
#[test]
#[ignore = "it needs the namespace that nothing_private_is_asked_for_a_public_page makes"]
fn inside() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let world = World::new(Path::new(&place));
    let good = "<!doctype html><title>x</title><p>here";
    let (report, _) = world.look(&[("site.test /", good)], &EVERYWHERE);
    assert_eq!(rules(&report), [""; 0], "{report:#}");
    // The page's own redirects.
    for to in ["https://home.test/", "https://10.0.0.7/", "https://[::ffff:10.0.0.7]/", "https://localhost/"] {
        for args in [&EVERYWHERE[..], &[]] {
            let (report, _) = world.look(&[("site.test /", &format!("to {to}"))], args);
            assert_eq!(rules(&report), ["redirect_elsewhere"], "{to}: {report:#}");
        }
    }
    let www = [("site.test /", "to https://www.site.test/"), ("www.site.test /", good)];
    assert_eq!(rules(&world.look(&www, &[]).0), [""; 0]);
    // Over a host that may be asked, and home from there.
    let over = [("site.test /", "to https://cdn.test/"), ("cdn.test /", "to https://home.test/")];
    assert_eq!(rules(&world.look(&over, &EVERYWHERE).0), ["redirect_elsewhere"]);
    // The name that was public leads home by the time it is asked again.
    let moving = [("site.test /", "moves site.test to /in"), ("site.test /in", good)];
    let (report, _) = world.look(&moving, &[]);
    assert_eq!(rules(&report), ["redirect_elsewhere"], "{report:#}");
    // Assets.
    let page = "<!doctype html><title>x</title><img src=/a><img src=https://home.test/b><img src=https://cdn.test/c>";
    let (report, asked) = world
        .look(&[("site.test /", page), ("site.test /a", "to https://home.test/a"), ("cdn.test /c", "to https://10.0.0.7/c")], &EVERYWHERE);
    assert!(asked.iter().any(|line| line.ends_with("cdn.test /c")) && rules(&report).contains(&"asset_unreachable"), "{report:#}");
    browser(&world);
}

fn browser(world: &World) {
    let with = |args: &[&'static str]| [&["--browser", "--no-assets"], args].concat();
    let script = "<!doctype html><title>x</title><link rel=icon href=data:,><img src=/a><img src=https://10.0.0.7/b><iframe src=https://home.test/c></iframe>\
                  <img src=https://cdn.test/d><script>fetch('https://home.test/e', {mode: 'no-cors'}).catch(() => {});\
                  new WebSocket('wss://home.test/f'); setTimeout(() => location = 'https://home.test/g', 300)</script>";
    let answers = [
        ("site.test /", script),
        ("site.test /a", "to https://home.test/a"),
        ("cdn.test /d", "to https://10.0.0.7/d"),
        ("cdn.test /", "x"),
    ];
    for args in [with(&EVERYWHERE), with(&[])] {
        let (report, asked) = world.look(&answers, &args);
        assert!(rules(&report).contains(&"redirect_elsewhere"), "{report:#}");
        assert!(asked.iter().any(|line| line.ends_with("cdn.test /d")), "what the page names itself is asked: {asked:?}");
    }
    // A name that leads home by the time that the browser asks: it is judged where it is connected to.
    let script = "<!doctype html><title>x</title><link rel=icon href=data:,><script>(async () => {\
                  await fetch('https://moving.test/1', {mode: 'no-cors'});\
                  for (let n = 0; n < 30; n++) { await fetch('https://moving.test/2?' + n, {mode: 'no-cors'}).catch(() => {}); await new Promise(go => setTimeout(go, 50)) }\
                  })()</script>";
    let (_, asked) = world.look(&[("site.test /", script), ("moving.test /1", "moves moving.test x")], &with(&[]));
    assert!(asked.iter().any(|line| line.ends_with("moving.test /1")), "{asked:?}");
    // The page's own name does not move for the browser.
    let script = "<!doctype html><title>x</title><link rel=icon href=data:,><script>setTimeout(() => location = '/again', 100)</script>";
    let (report, asked) = world.look(&[("site.test /", &format!("moves site.test {script}")), ("site.test /again", "<p>x")], &with(&[]));
    assert!(asked.contains(&format!("{PUBLIC} site.test /again")), "{asked:?} {report:#}");
}
