//! Notifiers on their own: what each service gets is what it documents, whatever a message says; and what it answers is understood.

use std::io::BufRead as _;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Map;
use serde_json::Value;
use tagalong::clock;
use tagalong::config::Config;
use tagalong::http::auth;
use tagalong::notify::Message;
use tagalong::notify::Notifier;
use tagalong::notify::NotifyErrorKind;
use tagalong::notify::Piece;
use tagalong::notify::Tone;

use crate::receiver::Called;
use crate::receiver::Receiver;
use crate::support::Call;
use crate::support::Database;
use crate::support::PATIENCE;
use crate::support::Plan;
use crate::support::folder;

const SECRET: [u8; 32] = *b"0123456789abcdef0123456789abcdef";
const WHSEC: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// What forges a mark, a mention, a link or a header somewhere.
const HOSTILE: &str = "<!channel> <@U1> <#C1|x> @everyone @here @room @Durov [x](http://evil.test) <http://evil.test|y> **b** _i_ ~s~ `c` \
    ||s|| # h\n- l\n> q\r\nBcc: x@evil.test\r\n.\r\nQUIT </pre></b><script>alert(1)</script>&lt;b&gt; ```x``` \u{202e}gnp\u{1b}[31m \"'\\ {x}";

/// One notifier of each kind but e-mail.
pub(crate) fn tables(receiver: &Receiver, dir: &Path) -> String {
    for (name, text) in [
        ("hook.secret", WHSEC.to_owned()),
        ("slack.url", receiver.url("/services/T0/B0/slack0123456789token")),
        ("discord.url", receiver.url("/api/webhooks/1/discord0123456789token")),
        ("teams.url", receiver.url("/teams/workflow?sig=teams0123456789token")),
        ("matrix.token", "matrixtoken".to_owned()),
        ("telegram.token", "12:telegramtoken".to_owned()),
        ("ntfy.token", "ntfytoken".to_owned()),
        ("gotify.token", "gotifytoken".to_owned()),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let tables = [
        format!("kind = \"webhook\"\nurl = \"{}\"\nsecret_file = \"hook.secret\"", receiver.url("/hook")),
        "kind = \"slack\"\nurl_file = \"slack.url\"".to_owned(),
        "kind = \"discord\"\nurl_file = \"discord.url\"".to_owned(),
        "kind = \"teams\"\nurl_file = \"teams.url\"".to_owned(),
        format!("kind = \"matrix\"\nurl = \"{}\"\nroom = \"!abc:example.com\"\ntoken_file = \"matrix.token\"", receiver.url("")),
        format!("kind = \"telegram\"\nurl = \"{}\"\nchat = \"-100200\"\ntopic = 7\ntoken_file = \"telegram.token\"", receiver.url("")),
        format!("kind = \"ntfy\"\nurl = \"{}\"\ntopic = \"ops\"\ntoken_file = \"ntfy.token\"", receiver.url("/ntfy")),
        format!("kind = \"gotify\"\nurl = \"{}\"\ntoken_file = \"gotify.token\"", receiver.url("/gotify/")),
    ];
    let table = |table: &String| format!("[[notify]]\nid = \"{}\"\n{table}\n", table.split('"').nth(1).unwrap());
    tables.iter().map(table).collect()
}

fn notifiers(tables: &str, dir: &Path) -> Vec<Notifier> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config::read(&format!("version = 1\n[server]\n{tables}"), &dir.join("tagalong.toml"), dir).unwrap();
    config.notifiers.iter().map(|plan| Notifier::new(plan, &config.mask).unwrap()).collect()
}

fn message(id: &str, words: &str, pieces: usize) -> Message {
    let url = url::Url::parse("https://git.example.com/acme/web/actions/runs/7?a=b&c='d\"").unwrap();
    let each = [Piece::Text(words.to_owned()), Piece::Code(words.to_owned()), Piece::Link(url)];
    Message {
        id: id.to_owned(),
        kind: "event.failed".to_owned(),
        at_ms: clock::now_ms(),
        tone: Tone::Bad,
        title: words.to_owned(),
        pieces: each.iter().cycle().take(pieces).cloned().collect(),
        data: Map::from_iter([("service".to_owned(), Value::from("web"))]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_service_gets_what_it_documents_whatever_is_said() {
    let receiver = Receiver::start().await;
    let dir = folder();
    let notifiers = notifiers(&tables(&receiver, dir.path()), dir.path());
    assert_eq!(notifiers.len(), 8);
    let long = "ä<&@`*ö".repeat(4000);
    let words = ["v2 of web failed and was rolled back; v1 serves again.", HOSTILE, &long];
    for notifier in &notifiers {
        let kind = notifier.plan().to.kind();
        for (at, words) in words.iter().enumerate() {
            for pieces in [3, 40] {
                let said = notifier.send_for_answer(&message(&format!("evt_{kind}_{at}_{pieces}"), words, pieces)).await;
                assert!(said.as_ref().is_ok_and(|said| said.starts_with("127.0.0.1 answered 20")), "{kind}: {said:?}");
            }
        }
    }
    let calls = receiver.calls();
    assert_eq!(calls.len(), 8 * 6);
    // What is said arrives whole where there is room, and nothing of the hostile words is a mark.
    let body = |called: &Called| String::from_utf8_lossy(&called.bytes).into_owned();
    for called in calls.iter().step_by(6) {
        let path = &called.path;
        assert!(
            body(called).replace('\\', "").contains("v2 of web failed and was rolled back; v1 serves again."),
            "{path}: {}",
            body(called)
        );
    }
    for called in calls.iter().skip(2).step_by(6) {
        let whole = body(called);
        assert!(!whole.contains("\\u202e") && !whole.contains('\u{202e}') && !whole.contains("\\u001b"), "{whole}");
        if called.path.starts_with("/api/webhooks") {
            assert!(whole.contains(r"\\@everyone") && whole.contains(r"\\[x\\]\\(http"), "{whole}");
        }
    }
    for called in &calls[..6] {
        let at_s: i64 = called.header("webhook-timestamp").parse().unwrap();
        assert_eq!(called.header("webhook-signature"), auth::sign(&SECRET, called.header("webhook-id"), at_s, &called.bytes));
        assert_eq!(called.body["data"]["service"], "web");
    }
}

/// Of the faults that services have, the sentence names the host alone: no address, no token, nothing of a redirect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_services_answer_is_understood_and_gives_no_credential_away() {
    let receiver = Receiver::start().await;
    let dir = folder();
    let notifiers = notifiers(&tables(&receiver, dir.path()), dir.path());
    let secrets = [
        "slack0123456789token",
        "discord0123456789token",
        "teams0123456789token",
        "matrixtoken",
        "12:telegramtoken",
        "ntfytoken",
        "gotifytoken",
    ];
    let huge = format!("{}{}", secrets.join(" "), "x".repeat(1 << 20));
    let limited = r#"{"ok":false,"description":"Too Many Requests","parameters":{"retry_after":7},"retry_after":7,"retry_after_ms":7000}"#;
    let elsewhere = format!("location: {}", receiver.url("/hook"));
    for (status, header, body, after, part) in [
        (429, "retry-after: 7", "", Some(7), "answered 429."),
        (429, "x: y", limited, Some(7), "answered 429"),
        (503, "retry-after: 30", "", Some(30), "answered 503."),
        (500, "x: y", &huge, None, "answered 500: "),
        (404, "x: y", "{\"message\": \"Unknown Webhook\", \"code\": 10015}", None, "answered 404: Unknown Webhook."),
        (302, &elsewhere, "", None, "redirects (302), which is not followed; correct the address in the configuration."),
    ] {
        receiver.set_fault(status, header, body);
        for notifier in &notifiers {
            let error = notifier.send(&message("evt_1", "x", 1)).await.unwrap_err();
            let said = error.to_string();
            assert_eq!(error.kind, NotifyErrorKind::Answered { status, after: after.map(Duration::from_secs) }, "{said}");
            assert!(said.starts_with("127.0.0.1 ") && said.contains(part) && said.len() < 300, "{said}");
            assert!(!secrets.iter().any(|secret| said.contains(secret)), "{said}");
        }
        assert_eq!(receiver.seen().met, notifiers.len(), "nothing is repeated or followed");
    }
    assert_eq!(receiver.calls().len(), 0);
    // Nobody listens at this port, nor will.
    let kept = tokio::net::TcpSocket::new_v4().unwrap();
    kept.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let closed = kept.local_addr().unwrap().port();
    for name in ["slack.url", "discord.url", "teams.url"] {
        let url = std::fs::read_to_string(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name), url.replace(&format!(":{}", receiver.port), &format!(":{closed}"))).unwrap();
    }
    for notifier in &notifiers[1..4] {
        let error = notifier.send(&message("evt_1", "x", 1)).await.unwrap_err();
        assert_eq!(error.kind, NotifyErrorKind::Unreachable);
        assert!(error.to_string().starts_with("127.0.0.1 cannot be reached: "), "{error}");
    }
}

/// Real mail servers, and what they say.
struct Mail {
    child: Child,
    lines: mpsc::Receiver<Value>,
    ports: Value,
}

impl Mail {
    #[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
    fn start(dir: &Path) -> Self {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(dir.join("mail.pem"), certified.cert.pem()).unwrap();
        std::fs::write(dir.join("mail.key"), certified.signing_key.serialize_pem()).unwrap();
        std::fs::write(dir.join("mail.password"), "pa ss\"word\n").unwrap();
        // Debian's own Python has its packages.
        let mut child = Command::new("/usr/bin/python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/smtp.py"))
            .args([dir.join("mail.pem"), dir.join("mail.key")])
            .args(["robot", "pa ss\"word"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let out = BufReader::new(child.stdout.take().unwrap());
        let (say, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = say.send(serde_json::from_str(&line).unwrap());
            }
        });
        let ports = lines.recv_timeout(PATIENCE).expect("python3-aiosmtpd; tests/rig/install.sh tests installs it");
        Self { child, lines, ports }
    }

    fn table(&self, server: &str, encryption: &str, login: bool) -> String {
        let port = &self.ports[server];
        let login = if login { "user = \"robot\"\npassword_file = \"mail.password\"\n" } else { "" };
        format!(
            "[[notify]]\nid = \"mail\"\nkind = \"email\"\nserver = \"127.0.0.1\"\nport = {port}\nencryption = \"{encryption}\"\n{login}\
             from = \"tagalong <tagalong@example.com>\"\nto = [\"ops@example.com\", \"Ada Lövelace <ada@example.org>\"]\n"
        )
    }

    fn next(&self) -> Value {
        self.lines.recv_timeout(PATIENCE).expect("a mail")
    }

    fn is_silent(&self) {
        assert_eq!(self.lines.try_recv().ok(), None);
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e_mail_goes_encrypted_to_a_real_server_and_no_password_to_another() {
    let dir = folder();
    let mail = Mail::start(dir.path());
    let trusted = "ca_file = \"mail.pem\"\n";
    let one = |table: String| notifiers(&table, dir.path()).remove(0);
    for (server, encryption) in [("starttls", "starttls"), ("tls", "tls"), ("plain", "none")] {
        let has_login = server != "plain";
        let notifier = one(mail.table(server, encryption, has_login) + trusted);
        for words in ["v2 of web fäiled", HOSTILE, &"ä".repeat(5000)] {
            let said = notifier.send_for_answer(&message("evt_mail", words, 3)).await.unwrap();
            assert!(said.contains(" answered 250: 2.0.0 Ok: queued as 4711."), "{said}");
            if has_login {
                assert_eq!(mail.next()["good"], true);
            }
            let mail = mail.next();
            assert_eq!((&mail["encrypted"], &mail["logged_in"]), (&Value::from(has_login), &Value::from(has_login)), "{mail}");
            assert_eq!(mail["sender"], "tagalong@example.com");
            assert_eq!(mail["receivers"], serde_json::json!(["ops@example.com", "ada@example.org"]));
            assert_eq!((&mail["defects"], &mail["bare"]), (&serde_json::json!([]), &Value::from(false)), "{mail}");
            assert!(mail["longest"].as_u64().unwrap() <= 998, "{mail}");
            let names: Vec<&str> = mail["head"].as_array().unwrap().iter().map(|line| line[0].as_str().unwrap()).collect();
            let known = [
                "From",
                "To",
                "Subject",
                "Date",
                "Message-ID",
                "Auto-Submitted",
                "MIME-Version",
                "Content-Type",
                "Content-Transfer-Encoding",
            ];
            assert!(names.iter().all(|name| known.contains(name)) && names.len() == known.len(), "{names:?}");
            let head = |name: &str| mail["head"].as_array().unwrap().iter().find(|line| line[0] == name).unwrap()[1].to_string();
            assert!(head("Message-ID").contains("<evt_mail@example.com>") && head("Auto-Submitted").contains("auto-generated"));
            let begins: String = text::without_controls(words).chars().take(12).collect();
            assert!(head("Subject").contains(&begins) && mail["text"].as_str().unwrap().contains(&begins), "{mail}");
        }
    }
    // No password goes where nothing is encrypted, to a certificate that nobody trusts, or to another name.
    for (table, part) in [
        (mail.table("plain", "starttls", true) + trusted, "STARTTLS"),
        (mail.table("starttls", "starttls", true), "certificate"),
        (mail.table("tls", "tls", true), "certificate"),
        (mail.table("tls", "tls", true).replace("server = \"127.0.0.1\"", "server = \"localhost\"") + trusted, "certificate"),
    ] {
        let error = one(table).send(&message("evt_mail", "x", 1)).await.unwrap_err();
        assert_eq!(error.kind, NotifyErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    mail.is_silent();
    // A login that is refused may be another tomorrow; what is said no to for good is not.
    std::fs::write(dir.path().join("mail.password"), "another").unwrap();
    let wrong = one(mail.table("tls", "tls", true) + trusted).send(&message("evt_mail", "x", 1)).await.unwrap_err();
    assert_eq!(wrong.kind, NotifyErrorKind::Unreachable, "{wrong}");
    assert!(wrong.to_string().contains("535") && !wrong.to_string().contains("another"), "{wrong}");
    let spam = one(mail.table("plain", "none", false)).send(&message("evt_mail", "spam", 1)).await.unwrap_err();
    assert_eq!(spam.kind, NotifyErrorKind::Refused, "{spam}");
    assert!(spam.to_string().contains("554"), "{spam}");
}

/// The notifier writes to a whole list; a code goes to the person's own address and to nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_by_mail_goes_to_the_approver_alone() {
    let dir = folder();
    let mail = Mail::start(dir.path());
    let read = |name: &'static str| (name, std::fs::read_to_string(dir.path().join(name)).unwrap());
    let mut plan = Plan::new(Database::Sqlite);
    plan.files = vec![read("mail.pem"), read("mail.password")];
    plan.server += "\npublic_url = \"https://tagalong.example.com\"";
    plan.tables = mail.table("tls", "tls", true) + "ca_file = \"mail.pem\"\nevents = []\n";
    let tables = "[[person]]\nid = \"ada\"\nnotify = \"mail\"\n\
           emails = [\"ada@home.example\", \"ada@example.org\"]\n[service.web.approval]\napprovers = [\"ada\"]\nrollbacks = true\n";
    let rig = plan.start().await.landed_before(tables).await;
    let back = Call::post("/api/v1/rollbacks", &serde_json::json!({ "service": "web" })).by(rig.key()).send(&rig).await;
    assert_eq!(back.status, 202, "{}", back.text);
    let id = back.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(mail.next()["good"], true);
    let letter = mail.next();
    assert_eq!(letter["receivers"], serde_json::json!(["ada@home.example"]), "{letter}");
    let head = letter["head"].to_string();
    assert!(!head.contains("ops@example.com") && !head.contains("ada@example.org"), "{head}");
    let code = regex::Regex::new("[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}").unwrap();
    let text = letter["text"].as_str().unwrap();
    assert!(code.is_match(text) && text.contains(&format!("tagalong approve {id}")), "{text}");
    assert!(!code.is_match(&head), "a subject is shown on locked screens: {head}");
    let cancelled = rig.act(rig.key(), &format!("/api/v1/deployments/{id}/cancel")).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    mail.is_silent();
    rig.finish().await;
}

/// `tagalong notify test` by each kind: the service gets one message, and what it answered is shown; a fault is said and is no success.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_message_arrives_or_says_why_not() {
    let dir = folder();
    let receiver = Receiver::start().await;
    let file = dir.path().join("tagalong.toml");
    std::fs::write(&file, format!("version = 1\n[server]\n{}", tables(&receiver, dir.path()))).unwrap();
    let config = Config::load(&file).unwrap();
    #[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
    let tried = |id: &str| {
        let ran = Command::new(env!("CARGO_BIN_EXE_tagalong")).args(["notify", "test", id, "--config"]).arg(&file).output().unwrap();
        (ran.status.code(), format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)))
    };
    for plan in &config.notifiers {
        let id = plan.id.as_str();
        let before = receiver.calls().len();
        let (code, said) = tried(id);
        assert!(code == Some(0) && said.contains(&format!("Sent by {id} ({}).", plan.to.kind())), "{said}");
        let calls = receiver.calls();
        assert_eq!(calls.len(), before + 1, "{id}");
        assert!(String::from_utf8_lossy(&calls[before].bytes).contains("tagalong"), "{:?}", calls[before]);
    }
    assert_eq!(receiver.seen().wrong, Vec::<String>::new());
    receiver.set_fault(500, "x: y", "out of order");
    let id = config.notifiers[0].id.as_str();
    let (code, said) = tried(id);
    assert!(code == Some(1) && said.contains("did not send the message") && said.contains("answered 500: out of order"), "{said}");
    let (code, said) = tried("nobody");
    assert!(code == Some(1) && said.contains(&format!("has no [[notify]] with the id nobody; it has {id}")), "{said}");
}
