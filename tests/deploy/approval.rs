//! Orders that somebody must approve: codes reach the approvers alone, and nothing but the right one, for this order of this content, by
//! somebody else than who ordered it, lets an order pass.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;
use sqlx::AssertSqlSafe;
use tagalong::http::auth;

use crate::cluster::Database;
use crate::pair::beside;
use crate::support::until;
use crate::support::until_some;
use crate::world::Settings;
use crate::world::World;

const SECRET: [u8; 32] = [7; 32];

/// What an approver was sent.
#[derive(Debug, Clone)]
struct Letter {
    /// To whom, by the path of the notifier.
    to: String,
    order: String,
    code: String,
    /// The path of the form.
    form: String,
}

/// The receivers of all approvers: a real server, which takes what Standard Webhooks describe and nothing else.
struct Mailbox {
    port: u16,
    letters: Arc<Mutex<Vec<Letter>>>,
    /// Receivers that take nothing for now.
    away: Arc<Mutex<Vec<&'static str>>>,
}

impl Mailbox {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let letters: Arc<Mutex<Vec<Letter>>> = Arc::default();
        let away: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let mailbox = Self { port, letters: Arc::clone(&letters), away: Arc::clone(&away) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let status = take(&stream, &letters, &away);
                let _ = (&stream).write_all(format!("HTTP/1.1 {status} .\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes());
            }
        });
        mailbox
    }

    /// The newest code that `to` got for `order` after the first `seen` letters.
    async fn letter(&self, to: &str, order: &str, seen: usize) -> Letter {
        let newest = || self.letters.lock().unwrap().iter().skip(seen).rev().find(|one| one.to == to && one.order == order).cloned();
        until_some(&format!("{to} gets a code for {order}"), newest).await
    }

    fn many(&self) -> usize {
        self.letters.lock().unwrap().len()
    }
}

/// Takes one letter and gives the status of the answer.
fn take(stream: &TcpStream, letters: &Mutex<Vec<Letter>>, away: &Mutex<Vec<&'static str>>) -> u16 {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    let _ = reader.read_line(&mut first);
    let to = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let mut head = BTreeMap::new();
    for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        head.extend(line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())));
    }
    let mut body = vec![0; head["content-length"].parse().expect("a length")];
    reader.read_exact(&mut body).expect("a body");
    if away.lock().unwrap().contains(&to.as_str()) {
        return 500;
    }
    let signed = auth::sign(&SECRET, &head["webhook-id"], head["webhook-timestamp"].parse().expect("a time"), &body);
    assert!(first.starts_with("POST ") && head["webhook-signature"] == signed, "{first} {head:?}");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["type"], "approval.code", "{body}");
    let data = &body["data"];
    let text = data["text"].as_str().expect("a text");
    let code = data["code"].as_str().expect("a code").to_owned();
    let form = text.split_whitespace().find_map(|word| word.split_once("/approve/")).expect("an address").1;
    assert!(text.contains(&code) && text.contains("sha256:"), "{text}");
    let order = data["deployment"].as_str().expect("an id").to_owned();
    letters.lock().unwrap().push(Letter { to, order, code, form: format!("/approve/{form}") });
    200
}

/// A world in which v1 is live and every order must be approved by ada or bob. Bob is who runs this test; CI has a socket of its own.
struct Stage {
    world: World,
    mailbox: Mailbox,
    ci: reqwest::Client,
    /// Somebody with a browser.
    web: reqwest::Client,
}

impl Stage {
    async fn set(database: Database, approval: &str) -> Self {
        let mailbox = Mailbox::open();
        let mut world = World::landed(&Settings { database, ..Settings::default() }).await;
        std::fs::write(world.path("hook.secret"), format!("whsec_{}", STANDARD.encode(SECRET))).expect("a file");
        let uid = rustix::process::geteuid().as_raw();
        let to = |id: &str| {
            let url = format!("http://127.0.0.1:{}/{id}", mailbox.port);
            let secret = world.path("hook.secret");
            format!("[[notify]]\nid = \"{id}\"\nkind = \"webhook\"\nurl = \"{url}\"\nsecret_file = \"{}\"\nevents = []\n", secret.display())
        };
        let tables = format!(
            "[service.web.approval]\napprovers = [\"ada\", \"bob@example.com\"]\n{approval}\n[[person]]\nid = \"ada\"\nnotify = \"ada\"\n\
             [[person]]\nid = \"bob\"\nnotify = \"bob\"\nemails = [\"bob@example.com\"]\nuids = [{uid}]\n{}{}\
             [[socket]]\nid = \"ci\"\npath = \"ci/s\"\nscopes = [\"deploy:web\"]\n[service.web.deadlines]",
            to("ada"),
            to("bob")
        );
        world.reconfigure("[server]", "[server]\npublic_url = \"http://localhost:1/tag\"").await;
        world.reconfigure("[service.web.deadlines]", &tables).await;
        let over = |socket: std::path::PathBuf| reqwest::Client::builder().unix_socket(socket).build().expect("a client");
        until("CI's socket is there", || world.path("ci/s").exists()).await;
        let (ci, web) = (over(world.path("ci/s")), over(world.path("s")));
        Self { world, mailbox, ci, web }
    }

    /// CI orders `tag`; the order waits for its approval, and both approvers get a code.
    async fn order(&self, tag: &str) -> (String, [Letter; 2]) {
        let answer = self.try_order(tag).await;
        assert_eq!(answer.0, 202, "{}", answer.1);
        let id = answer.1["id"].as_str().expect("an id").to_owned();
        let letters = [self.mailbox.letter("ada", &id, 0).await, self.mailbox.letter("bob", &id, 0).await];
        (id, letters)
    }

    async fn try_order(&self, tag: &str) -> (u16, Value) {
        let call = self.ci.post("http://tagalong/api/v1/deployments").body(json!({"service": "web", "tag": tag}).to_string());
        let answer = call.send().await.expect("an answer");
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"))
    }

    /// Enters a code by the interface, as who runs this test.
    async fn approve(&self, id: &str, code: &str) -> (u16, String) {
        let (status, answer) = self.world.server().post(&format!("/api/v1/deployments/{id}/approval"), json!({ "code": code })).await;
        (status, answer["detail"].as_str().or(answer["message"].as_str()).unwrap_or_default().to_owned())
    }

    /// Types a code into a form.
    async fn typed(&self, form: &str, code: &str, from: &str) -> (u16, String) {
        let call = self.web.post(format!("http://tagalong{form}")).header("sec-fetch-site", from);
        let call = call.header("content-type", "application/x-www-form-urlencoded").body(format!("code={code}"));
        let answer = call.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a page"))
    }

    async fn waits(&self, id: &str) -> Value {
        let shown = self.world.server().show(id).await;
        assert_eq!((&shown["state"], &shown["waits_for"]), (&json!("waiting"), &json!("approval")), "{shown}");
        shown
    }

    /// Waits until the order has ended, and gives its outcome in a word and a sentence.
    async fn outcome(&self, id: &str) -> (String, String) {
        let ended = self.world.server().outcome(id).await;
        let text = |name: &str| ended[name].as_str().unwrap_or_default().to_owned();
        (text("outcome"), text("why"))
    }

    /// `tagalong approve` with the code on standard input.
    fn cli(&self, id: &str, code: &str) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagalong"));
        command.args(["approve", id, "--code-file", "-", "--socket"]).arg(self.world.path("s"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        child.stdin.take().expect("a pipe").write_all(format!("{}\n", code.to_lowercase()).as_bytes()).expect("it reads");
        let ran = child.wait_with_output().expect("it ends");
        (ran.status.success(), format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)))
    }

    async fn sql(&self, statement: String) {
        let done = sqlx::query(AssertSqlSafe(statement)).execute(&mut self.world.database().await).await.expect("an answer");
        assert_eq!(done.rows_affected(), 1);
    }

    /// The guards are asked about the order now. Whoever sent its codes has said by then when they are to be asked again.
    async fn asks_at_once(&self, id: &str) {
        let statement = format!("UPDATE deployments SET ask_next_ms = 0 WHERE id = '{id}' AND asked > 0 AND asker IS NULL");
        for _ in 0..6000 {
            let mut database = self.world.database().await;
            if sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut database).await.expect("an answer").rows_affected() == 1 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{id} is still asked about: {}", self.world.server().show(id).await);
    }

    /// What must hold when a test ends: no code stands anywhere, and the audit trail is whole.
    async fn end(self) {
        let root = self.world.path("");
        for Letter { code, .. } in self.mailbox.letters.lock().unwrap().iter() {
            for written in [code.clone(), code.replace('-', "")] {
                assert!(!is_in_a_file(&root, written.as_bytes()), "{written} was written down");
            }
        }
        let mut verify = Command::new(env!("CARGO_BIN_EXE_tagalong"));
        let ran = verify.args(["audit", "verify", "--config"]).arg(self.world.path("tagalong.toml")).output().expect("it runs");
        assert!(ran.status.success(), "{ran:?}");
        self.world.finish().await;
    }
}

fn is_in_a_file(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            return is_in_a_file(&path, bytes);
        }
        kind.is_file() && std::fs::read(&path).is_ok_and(|all| all.windows(bytes.len()).any(|part| part == bytes))
    })
}

const WRONG: &str = "0000-0000-0000";

/// From the order to the release, by the form; whatever else is tried on the way changes nothing.
async fn an_approved_order_is_carried_out(database: Database) {
    let stage = Stage::set(database, "").await;
    let before = stage.world.containers();
    let (id, [ada, bob]) = stage.order("v2").await;
    assert_ne!(ada.code, bob.code);
    let shown = stage.waits(&id).await;
    let approval = &shown["approval"];
    assert_eq!((&approval["approvers"], &approval["needed"]), (&json!(["ada", "bob"]), &json!(1)), "{shown}");
    assert!(approval["images"][0].as_str().unwrap().ends_with(&stage.world.digest("v2")), "{shown}");
    // A program that opens the address of a message, however often, approves and uses up nothing.
    for _ in 0..7 {
        let page = stage.web.get(format!("http://tagalong{}", ada.form)).send().await.expect("an answer");
        let header = |name: &str| page.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        assert_eq!((page.status().as_u16(), header("cache-control")), (200, "no-store".to_owned()));
        assert!(header("content-security-policy").contains("frame-ancestors 'none'") && header("x-content-type-options") == "nosniff");
        let text = page.text().await.expect("a page");
        assert!(text.contains(&stage.world.digest("v2")) && !text.contains(&ada.code) && !text.contains("<script"), "{text}");
    }
    // Another site's form; ada's form with bob's code; the caller bob with ada's code; nobody's code.
    assert_eq!(stage.typed(&ada.form, &ada.code, "cross-site").await.0, 403);
    assert_eq!(stage.typed(&ada.form, &bob.code, "same-origin").await.0, 403);
    assert_eq!(stage.approve(&id, &ada.code).await, (403, "The code is not right; 3 of 5 tries are left.".to_owned()));
    let other = ada.form.replace(&id, &id.replace(&id[20..], "000000"));
    assert_eq!(stage.typed(&other, &ada.code, "same-origin").await.0, 404);
    stage.waits(&id).await;
    assert_eq!(stage.world.containers(), before);
    let (status, page) = stage.typed(&ada.form, &ada.code.to_lowercase().replace('-', "+"), "same-origin").await;
    assert!(status == 200 && page.contains("ada has approved"), "{page}");
    assert_eq!(stage.outcome(&id).await.0, "live", "{}", stage.world.server().journal(&id).await);
    // The record says who approved what and how, and who ordered it.
    let shown = stage.world.server().show(&id).await;
    assert_eq!((&shown["approval"]["by"][0]["who"], &shown["approval"]["by"][0]["via"]), (&json!("ada"), &json!("form")), "{shown}");
    assert_eq!((&shown["caller"], &shown["approval"]["images"]), (&json!("key:ci"), &shown["images"]));
    // The same once more.
    let after = stage.world.containers();
    assert_eq!(stage.typed(&ada.form, &ada.code, "same-origin").await.0, 409);
    assert_eq!(stage.approve(&id, &bob.code).await.0, 409);
    // It is for that order alone.
    let (next, [_, of_bob]) = stage.order("v3").await;
    assert_eq!(stage.approve(&next, &bob.code).await.0, 403);
    assert_eq!(stage.world.containers(), after);
    let (is_done, said) = stage.cli(&next, &of_bob.code);
    assert!(is_done && said.contains("bob has approved"), "{said}");
    assert_eq!(stage.outcome(&next).await.0, "live");
    // A rollback needs nobody.
    let back = stage.world.server().roll_back(json!("previous")).await;
    assert_eq!((stage.outcome(&back).await.0.as_str(), stage.world.running().as_str()), ("live", "v2"));
    stage.end().await;
}

/// Every way in which an order ends without having changed anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_approved_changes_nothing() {
    let mut stage = Stage::set(Database::Sqlite, "").await;
    let before = stage.world.containers();
    // Five guesses.
    let (guessed, [ada, _]) = stage.order("v2").await;
    for left in (1..5).rev() {
        assert!(stage.typed(&ada.form, WRONG, "same-origin").await.1.contains(&format!("{left} of 5 tries are left")));
    }
    assert_eq!(stage.typed(&ada.form, WRONG, "same-origin").await.0, 422);
    assert_eq!(stage.typed(&ada.form, &ada.code, "same-origin").await.0, 409);
    // After its time.
    let (late, [_, bob]) = stage.order("v2").await;
    stage.sql(format!("UPDATE deployments SET waits_since_ms = waits_since_ms - 21600000 WHERE id = '{late}'")).await;
    let (status, said) = stage.approve(&late, &bob.code).await;
    assert!(status == 409 && (said.contains("is over") || said.contains("has ended")), "{said}");
    stage.asks_at_once(&late).await;
    // The clock is set back; the database is gone; then they are there again.
    let (moved, [_, bob]) = {
        assert_eq!(stage.outcome(&late).await.0, "refused");
        stage.order("v2").await
    };
    stage.sql(format!("UPDATE deployments SET waits_since_ms = waits_since_ms + 3600000 WHERE id = '{moved}'")).await;
    let (status, said) = stage.approve(&moved, &bob.code).await;
    assert!(status == 503 && said.contains("try again later"), "{said}");
    stage.sql(format!("UPDATE deployments SET waits_since_ms = waits_since_ms - 3600000 WHERE id = '{moved}'")).await;
    let (database, aside) = (stage.world.path("data/tagalong.db"), stage.world.path("data/aside"));
    std::fs::rename(&database, &aside).expect("it moves");
    let (status, said) = stage.approve(&moved, &bob.code).await;
    assert!(status == 503 && said.contains("try again"), "{said}");
    std::fs::rename(&aside, &database).expect("it moves");
    stage.waits(&moved).await;
    // The tag is moved to another content after the code was sent.
    stage.world.push("v2", &[("moved", "yes")]);
    assert_eq!(stage.approve(&moved, &bob.code).await.0, 200);
    for (id, words) in [(&guessed, "wrong codes"), (&late, "Nobody approved it"), (&moved, "the tag was moved since")] {
        let (outcome, why) = stage.outcome(id).await;
        assert!(outcome == "refused" && why.contains(words), "{outcome}: {why}");
        assert_eq!(stage.world.server().show(id).await["guard"], "approval");
    }
    // What bob orders himself, ada alone may approve.
    let own = stage.world.server().deploy("v3").await;
    let of_ada = stage.mailbox.letter("ada", &own, 0).await;
    let (status, said) = stage.approve(&own, &of_ada.code).await;
    assert!(status == 403 && said.contains("ordered"), "{said}");
    assert!(!stage.mailbox.letters.lock().unwrap().iter().any(|one| one.to == "bob" && one.order == own));
    // Nobody is told again what CI asks for next: it takes the place of what nobody has approved.
    let (newer, _) = stage.order("v4").await;
    assert_eq!(stage.outcome(&own).await.0, "superseded");
    assert_eq!(stage.typed(&of_ada.form, &of_ada.code, "same-origin").await.0, 409);
    stage.world.server().post(&format!("/api/v1/deployments/{newer}/cancel"), json!({})).await;
    assert_eq!(stage.outcome(&newer).await.0, "cancelled");
    assert_eq!(stage.world.containers(), before);
    stage.end().await;
}

/// Two people, a receiver that is away, and a restart between: codes are made anew, approvals stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_outlive_a_restart_and_codes_do_not() {
    let mut stage = Stage::set(Database::Sqlite, "needed = 2").await;
    let before = stage.world.containers();
    stage.mailbox.away.lock().unwrap().push("ada");
    let (_, accepted) = stage.try_order("v2").await;
    let id = accepted["id"].as_str().expect("an id").to_owned();
    let bob = stage.mailbox.letter("bob", &id, 0).await;
    until_some("it is said that ada is not reached", || {
        let journal = std::fs::read_to_string(stage.world.path("serve.log")).ok()?;
        journal.contains("a code could not be sent").then_some(())
    })
    .await;
    let told = format!("SELECT why FROM events WHERE kind = 'approval_wanted' AND about = '{id}'");
    let told = loop {
        let found = sqlx::query_scalar(AssertSqlSafe(told.clone())).fetch_optional(&mut stage.world.database().await).await;
        let found: Option<String> = found.expect("an answer");
        if let Some(found) = found {
            break found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(told, "It can be approved by ada, bob. A code was sent to bob. No code could be sent to ada yet; that is tried again.");
    stage.mailbox.away.lock().unwrap().clear();
    let ada = stage.mailbox.letter("ada", &id, 0).await;
    assert!(stage.approve(&id, &bob.code).await.1.contains("one more person"));
    assert_eq!(stage.approve(&id, &bob.code).await.0, 409, "nobody counts twice");
    stage.waits(&id).await;
    let seen = stage.mailbox.many();
    stage.world.kill();
    stage.world.start().await;
    let again = stage.mailbox.letter("ada", &id, seen).await;
    assert_ne!(again.code, ada.code);
    assert_eq!(stage.typed(&again.form, &ada.code, "same-origin").await.0, 403);
    assert_eq!(stage.world.containers(), before);
    assert_eq!(stage.typed(&again.form, &again.code, "same-origin").await.0, 200);
    assert_eq!(stage.outcome(&id).await.0, "live");
    let shown = stage.world.server().show(&id).await;
    let by: Vec<&Value> = shown["approval"]["by"].as_array().unwrap().iter().map(|one| &one["who"]).collect();
    assert_eq!(by, [&json!("bob"), &json!("ada")]);
    until("bob got one code", || stage.mailbox.letters.lock().unwrap().iter().filter(|one| one.to == "bob").count() == 1).await;
    stage.end().await;
}

/// A code that one server has sent is good at another, when the first is gone. What is approved is approved for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_good_at_every_server_of_the_database() {
    let mut stage = Stage::set(Database::Postgres, "").await;
    let before = stage.world.containers();
    let (id, [ada, bob]) = stage.order("v2").await;
    stage.world.kill();
    let second = beside(&stage.world).await;
    assert_eq!(second.show(&id).await["waits_for"], "approval");
    let enter = async |code: &str| second.post(&format!("/api/v1/deployments/{id}/approval"), json!({ "code": code })).await;
    let (status, answer) = enter(&ada.code).await;
    assert_eq!((status, &answer["detail"]), (403, &json!("The code is not right; 4 of 5 tries are left.")), "{answer}");
    assert_eq!(stage.world.containers(), before);
    let (status, answer) = enter(&bob.code).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(second.outcome(&id).await["outcome"], "live", "{}", second.journal(&id).await);
    assert_eq!(stage.world.running(), "v2");
    // The first one comes back: it has nothing more to send for that order, and a code of one counts at both.
    let seen = stage.mailbox.many();
    stage.world.start().await;
    let (next, [_, bob]) = stage.order("v3").await;
    assert!(stage.mailbox.letters.lock().unwrap()[seen..].iter().all(|one| one.order == next));
    assert_eq!(second.post(&format!("/api/v1/deployments/{next}/approval"), json!({ "code": bob.code })).await.0, 200);
    assert_eq!(stage.outcome(&next).await.0, "live");
    second.stop();
    stage.end().await;
}

mod an_approved_order {
    use crate::cluster::Database;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        super::an_approved_order_is_carried_out(Database::Sqlite).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        super::an_approved_order_is_carried_out(Database::Postgres).await;
    }
}
