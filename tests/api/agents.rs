//! Agents: how a host is enrolled, how both sides of a line prove themselves, and who is let in.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::ServerName;
use serde_json::Value;
use serde_json::json;
use tagalong::agent::Dial;
use tagalong::api;
use tagalong::clock;
use tagalong::config::Config;
use tagalong::config::Live;
use tagalong::line::AgentLine;
use tagalong::line::Binding;
use tagalong::line::EnrolmentCode;
use tagalong::line::Identity;
use tagalong::line::KeyPair;
use tagalong::line::OPENING_HEADER;
use tagalong::line::Opening;
use tagalong::line::Parted;
use tagalong::line::SUBPROTOCOL;
use tagalong::line::Showing;
use tagalong::line::Socket;
use tagalong::line::Unmet;
use tagalong::line::machine_id;
use tagalong::line::nonce;
use tagalong::line::present;
use tagalong::model::AgentName;
use tagalong::model::MachineId;
use tagalong::store::Enrolled;
use tagalong::store::Enrolment;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::PATIENCE;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::assert_refused;
use crate::support::until;

on_both!(
    a_code_enrols_one_host_once,
    a_host_that_is_enrolled_connects_and_is_listed,
    strangers_are_refused_before_the_upgrade,
    a_line_that_was_recorded_opens_nothing,
    what_the_database_has_makes_nobody_an_agent,
    a_revoked_agent_is_cut_off_at_once,
    a_copy_of_an_agent_is_refused_and_shown,
    a_newer_line_takes_the_place_of_the_older,
    a_key_is_replaced_while_both_count,
    a_line_ends_with_the_key_that_it_was_proven_with,
    the_answer_to_an_enrolment_cuts_nobody_and_is_repeated_for_its_time_only,
    a_host_that_is_dialled_is_no_agent,
);

/// A host with keys of its own.
pub(crate) struct Host {
    pub(crate) mine: Identity,
    pub(crate) machine: MachineId,
    life: String,
}

/// What a host sends to be enrolled.
fn showing(code: &EnrolmentCode, keys: &KeyPair) -> Value {
    let (machine, nonce) = (machine_id(), nonce());
    let showing = Showing { code: code.public(), key: keys.public(), machine: &machine, nonce: &nonce };
    json!({
        "code": code.public(), "key": keys.public(), "machine": machine, "nonce": nonce,
        "by_code": showing.prove_code(code), "by_key": showing.prove_key(keys),
    })
}

async fn code(rig: &Rig, name: &str) -> EnrolmentCode {
    let answer = rig.act(rig.key(), &format!("/api/v1/agents/{name}/code")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    EnrolmentCode::parse(answer.json()["code"].as_str().unwrap()).unwrap()
}

async fn enrol(rig: &Rig, shown: &Value) -> Answer {
    Call::post("/api/v1/agents/enrol", shown).send(rig).await
}

impl Host {
    pub(crate) async fn enrolled(rig: &Rig, name: &str) -> Self {
        Self::by(rig, &code(rig, name).await).await
    }

    /// With the code that a page shows.
    pub(crate) async fn enrolled_by(rig: &Rig, code: &str) -> Self {
        Self::by(rig, &EnrolmentCode::parse(code).unwrap()).await
    }

    async fn by(rig: &Rig, code: &EnrolmentCode) -> Self {
        let keys = KeyPair::new().unwrap();
        let answer = enrol(rig, &showing(code, &keys)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answer: api::Enrolled = serde_json::from_str(&answer.text).unwrap();
        let mine = Identity { name: Some(answer.name), keys, next: None, control: Some(answer.control) };
        Self { mine, machine: machine_id(), life: "0f".repeat(16) }
    }

    /// Somebody comes with its keys from another machine, and is refused.
    pub(crate) async fn is_copied(&self, rig: &Rig) {
        let elsewhere = Opening { machine: MachineId::of([7; 16]), ..self.opening() };
        assert_eq!(dial(rig, Some(&elsewhere.header(&self.mine.keys)), SUBPROTOCOL).await.err(), Some(refused(403, "agent_clone")));
    }

    /// Whether its line is opened, or the status of the refusal.
    pub(crate) async fn connect_status(&self, rig: &Rig) -> Result<(), u16> {
        dial(rig, Some(&self.opening().header(&self.mine.keys)), SUBPROTOCOL).await.map(drop).map_err(|(status, _)| status)
    }

    pub(crate) fn opening(&self) -> Opening {
        Opening {
            name: self.mine.name.clone().unwrap(),
            machine: self.machine.clone(),
            life: self.life.clone(),
            nonce: nonce(),
            key: self.mine.keys.public().clone(),
        }
    }

    /// Opens a line and proves itself.
    pub(crate) async fn connect(&self, rig: &Rig) -> Result<Socket<TcpStream>, Unmet> {
        let opening = self.opening();
        let mut socket = dial(rig, Some(&opening.header(&self.mine.keys)), SUBPROTOCOL).await.unwrap();
        present(&mut socket, &opening, &self.mine, &Binding::Nothing).await?;
        Ok(socket)
    }
}

/// The answer to a call that opens a line: the line, or status and code.
pub(crate) async fn dial(rig: &Rig, header: Option<&str>, protocol: &str) -> Result<Socket<TcpStream>, (u16, String)> {
    let mut request = format!("ws://{}/ws/agent", rig.address()).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    if let Some(header) = header {
        request.headers_mut().insert(OPENING_HEADER, header.parse().unwrap());
    }
    let stream = TcpStream::connect(rig.address()).await.unwrap();
    match Socket::open(request, stream).await {
        Ok(socket) => Ok(socket),
        Err(WsError::Http(answer)) => {
            let problem: Value = serde_json::from_slice(answer.body().as_deref().unwrap_or_default()).unwrap_or_default();
            Err((answer.status().as_u16(), problem["code"].as_str().unwrap_or_default().to_owned()))
        }
        Err(other) => panic!("{other}"),
    }
}

pub(crate) fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// How the agent stands, as everybody is told.
pub(crate) async fn shown(rig: &Rig, name: &str) -> Value {
    let agents = Call::get("/api/v1/agents").by(rig.key()).send(rig).await.json();
    agents["agents"].as_array().unwrap().iter().find(|agent| agent["name"] == name).cloned().unwrap_or_default()
}

pub(crate) async fn until_state(rig: &Rig, name: &str, state: &str) -> Value {
    until(&format!("{name} to be {state}"), async || Some(shown(rig, name).await).filter(|agent| agent["state"] == state)).await
}

async fn a_code_enrols_one_host_once(database: Database) {
    let rig = Plan::new(database).start().await;
    let (first, mine, theirs) = (code(&rig, "micro").await, KeyPair::new().unwrap(), KeyPair::new().unwrap());
    // A newer code ends the one before it.
    let second = code(&rig, "micro").await;
    assert_refused(&enrol(&rig, &showing(&first, &mine)).await, 401, "unauthorized");
    let mut forged = showing(&second, &mine);
    forged["key"] = json!(theirs.public());
    assert_refused(&enrol(&rig, &forged).await, 401, "unauthorized");
    assert_refused(&enrol(&rig, &json!({ "code": "te_" })).await, 401, "unauthorized");
    let enrolled = enrol(&rig, &showing(&second, &mine)).await;
    assert_eq!((enrolled.status, &enrolled.json()["name"]), (200, &json!("micro")), "{}", enrolled.text);
    // Whoever got no answer asks again; nobody else gets one.
    assert_eq!(enrol(&rig, &showing(&second, &mine)).await.status, 200);
    assert_refused(&enrol(&rig, &showing(&second, &theirs)).await, 409, "agent_code_used");
    assert_eq!(shown(&rig, "micro").await["state"], "never");
    let late = code(&rig, "late").await;
    rig.execute("UPDATE agent_codes SET until_ms = 1 WHERE agent = 'late'").await;
    assert_refused(&enrol(&rig, &showing(&late, &theirs)).await, 409, "agent_code_expired");
    assert_eq!(shown(&rig, "late").await, Value::Null);
    assert_eq!(rig.count("SELECT COUNT(*) FROM audit WHERE action IN ('agent_code', 'agent_enrol')").await, 4);
    rig.finish().await;
    // Attempts are limited like others.
    let mut plan = Plan::new(database);
    plan.server = "failed_attempts_per_min = 3".into();
    let rig = plan.start().await;
    let unknown = EnrolmentCode::new(mine.public()).unwrap().0;
    let mut statuses = Vec::new();
    // So many that no turn of the minute can save them all.
    for _ in 0..10 {
        statuses.push(enrol(&rig, &showing(&unknown, &mine)).await.status);
    }
    assert!(statuses.starts_with(&[401]) && statuses.contains(&429), "{statuses:?}");
    rig.finish().await;
}

async fn a_host_that_is_enrolled_connects_and_is_listed(database: Database) {
    let mut rig = Plan::new(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let line = host.connect(&rig).await.unwrap();
    let online = until_state(&rig, "micro", "online").await;
    assert_eq!(online["keys"], json!([host.mine.keys.public()]));
    drop(line);
    let away = until_state(&rig, "micro", "away").await;
    assert!(away["since_ms"].as_i64() >= online["since_ms"].as_i64());
    // Keys and presence are there after a restart as well, and nobody is online who is not.
    let line = host.connect(&rig).await.unwrap();
    until_state(&rig, "micro", "online").await;
    rig.restart().await;
    assert_eq!(shown(&rig, "micro").await["state"], "away");
    drop(line);
    let _line = host.connect(&rig).await.unwrap();
    until_state(&rig, "micro", "online").await;
    rig.finish().await;
}

async fn strangers_are_refused_before_the_upgrade(database: Database) {
    let rig = Plan::new(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let opening = host.opening();
    let good = opening.header(&host.mine.keys);
    let other = KeyPair::new().unwrap();
    let unenrolled = Opening { name: AgentName::parse("other").unwrap(), ..opening.clone() };
    let other_key = Opening { key: other.public().clone(), ..opening.clone() };
    for (what, header) in [
        ("no header", None),
        ("no key", Some("micro".to_owned())),
        ("another agent's name", Some(unenrolled.header(&host.mine.keys))),
        ("a key of its own", Some(other_key.header(&other))),
        ("a signature of another key", Some(opening.header(&other))),
        ("a changed name", Some(good.replace("micro", "macro"))),
    ] {
        assert_eq!(dial(&rig, header.as_deref(), SUBPROTOCOL).await.err(), Some(refused(401, "unauthorized")), "{what}");
    }
    for protocol in ["tagalong.v2", "chat, tagalong.v11", "TAGALONG.V1"] {
        assert_eq!(dial(&rig, Some(&good), protocol).await.err(), Some(refused(400, "bad_request")), "{protocol}");
    }
    assert!(dial(&rig, Some(&good), "tagalong.v2, tagalong.v1").await.is_ok(), "a newer agent that knows this version as well");
    // A call that is none of a WebSocket.
    let good = host.opening().header(&host.mine.keys);
    let plain = Call::get("/ws/agent").header("sec-websocket-protocol", SUBPROTOCOL).header(OPENING_HEADER, good.clone()).send(&rig).await;
    assert_refused(&plain, 400, "bad_request");
    // In the clear: it came over a proxy that nobody knows.
    let clear = Call::get("/ws/agent")
        .header("sec-websocket-protocol", SUBPROTOCOL)
        .header(OPENING_HEADER, good)
        .header("x-forwarded-for", "192.0.2.1");
    assert_refused(&clear.send(&rig).await, 403, "forbidden");
    assert_eq!(shown(&rig, "micro").await["state"], "never");
    rig.finish().await;
}

async fn a_line_that_was_recorded_opens_nothing(database: Database) {
    let mut rig = Plan::new(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let opening = host.opening();
    let header = opening.header(&host.mine.keys);
    let mut first = dial(&rig, Some(&header), SUBPROTOCOL).await.unwrap();
    let challenge: Value = serde_json::from_str(&first.hear().await.unwrap()).unwrap();
    // What the agent would answer to this very challenge, recorded.
    drop(first);
    // The agent never sends the same opening twice.
    assert_eq!(dial(&rig, Some(&header), SUBPROTOCOL).await.err(), Some(refused(401, "unauthorized")));
    // A server that was started again does not remember it, and asks something else.
    rig.restart().await;
    let mut second = dial(&rig, Some(&header), SUBPROTOCOL).await.unwrap();
    let other: Value = serde_json::from_str(&second.hear().await.unwrap()).unwrap();
    assert_ne!(challenge["nonce"], other["nonce"]);
    assert_ne!(challenge["proof"], other["proof"]);
    let recorded = json!({ "proof": challenge["proof"] }).to_string();
    second.say(recorded).await.unwrap();
    let why = second.hear().await.unwrap_err();
    assert!(matches!(&why, Parted::Closed(why) if why.contains("did not prove its key")), "{why:?}");
    // Somebody who answers for the control plane without its key is found out by the agent.
    let fake = Host { mine: Identity { control: Some(KeyPair::new().unwrap().public().clone()), ..host.mine }, ..host };
    assert_eq!(fake.connect(&rig).await.err(), Some(Unmet::NotTheControlPlane));
    assert_eq!(shown(&rig, "micro").await["state"], "never");
    rig.finish().await;
}

/// Who reads or copies the database has no key with it, and no code.
async fn what_the_database_has_makes_nobody_an_agent(database: Database) {
    let rig = Plan::new(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let unused = code(&rig, "next").await;
    let pool = rig.database().await;
    let mut stolen = Vec::new();
    for table in
        ["SELECT public_key FROM agent_keys", "SELECT public_key FROM agent_codes", "SELECT value FROM meta", "SELECT detail FROM audit"]
    {
        for row in sqlx::query(table).fetch_all(&pool).await.unwrap() {
            stolen.push(sqlx::Row::get::<String, _>(&row, 0));
        }
    }
    pool.close().await;
    assert!(stolen.iter().any(|text| text == host.mine.keys.public().as_str()), "the test reads the wrong thing");
    // Everything that is as long as a seed, tried as one: for the agent, for a code, for the control plane.
    let seeds = stolen.iter().flat_map(|text| text.split(' ')).filter_map(|word| {
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, word).ok();
        let bytes = bytes.or_else(|| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, word).ok());
        KeyPair::of_seed(bytes?.try_into().ok()?)
    });
    let control = host.mine.control.as_ref().unwrap();
    let mut tried = 0;
    for keys in seeds {
        tried += 1;
        assert!(keys.public() != control && keys.public() != unused.public() && keys.public() != host.mine.keys.public());
        let opening = Opening { key: keys.public().clone(), ..host.opening() };
        assert_eq!(dial(&rig, Some(&opening.header(&keys)), SUBPROTOCOL).await.err(), Some(refused(401, "unauthorized")));
    }
    assert!(tried > 3, "{tried}");
    rig.finish().await;
}

async fn a_revoked_agent_is_cut_off_at_once(database: Database) {
    let rig = Plan::new(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut line = host.connect(&rig).await.unwrap();
    until_state(&rig, "micro", "online").await;
    let revoked = rig.act(rig.key(), "/api/v1/agents/micro/revoke").await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    let why = tokio::time::timeout(PATIENCE, line.hear()).await.expect("it is cut").unwrap_err();
    assert!(matches!(&why, Parted::Closed(why) if why == "this agent was revoked"), "{why:?}");
    assert_eq!(shown(&rig, "micro").await["state"], "revoked");
    let header = host.opening().header(&host.mine.keys);
    assert_eq!(dial(&rig, Some(&header), SUBPROTOCOL).await.err(), Some(refused(401, "unauthorized")));
    assert_refused(&rig.act(rig.key(), "/api/v1/agents/nobody/revoke").await, 404, "not_found");
    // A person may enrol it again.
    let again = Host::enrolled(&rig, "micro").await;
    let _line = again.connect(&rig).await.unwrap();
    until_state(&rig, "micro", "online").await;
    rig.finish().await;
}

async fn a_copy_of_an_agent_is_refused_and_shown(database: Database) {
    let rig = Plan::new(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut line = host.connect(&rig).await.unwrap();
    until_state(&rig, "micro", "online").await;
    let elsewhere = Opening { machine: MachineId::of([7; 16]), ..host.opening() };
    assert_eq!(dial(&rig, Some(&elsewhere.header(&host.mine.keys)), SUBPROTOCOL).await.err(), Some(refused(403, "agent_clone")));
    let agent = shown(&rig, "micro").await;
    assert_eq!((&agent["state"], &agent["clone"]["what"]), (&json!("online"), &json!(format!("the machine {}", "07".repeat(16)))));
    // Nothing was proven by that, so saying it again writes nothing.
    let third = Opening { machine: MachineId::of([8; 16]), ..host.opening() };
    assert_eq!(dial(&rig, Some(&third.header(&host.mine.keys)), SUBPROTOCOL).await.err(), Some(refused(403, "agent_clone")));
    assert_eq!(shown(&rig, "micro").await["clone"], agent["clone"]);
    // A virtual machine that was copied whole: the same machine id, a second process. When the first one comes back, both are there.
    let copy = Host { life: "aa".repeat(16), ..host };
    let _newer = copy.connect(&rig).await.unwrap();
    let why = line.hear().await.unwrap_err();
    assert!(matches!(&why, Parted::Closed(why) if why.contains("a newer line")), "{why:?}");
    let host = Host { life: "0f".repeat(16), ..copy };
    let refused = host.connect(&rig).await.err();
    assert!(matches!(&refused, Some(Unmet::Refused { why }) if why.contains("Two processes")), "{refused:?}");
    let agent = shown(&rig, "micro").await;
    assert!(agent["clone"]["what"].as_str().unwrap().contains("second process"), "{agent}");
    rig.finish().await;
}

async fn a_newer_line_takes_the_place_of_the_older(database: Database) {
    let rig = Plan::new(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut older = host.connect(&rig).await.unwrap();
    let newer = host.connect(&rig).await.unwrap();
    assert!(older.hear().await.is_err());
    drop(older);
    // The end of the older one is not the end of the agent.
    assert_eq!(shown(&rig, "micro").await["state"], "online");
    drop(newer);
    until_state(&rig, "micro", "away").await;
    rig.finish().await;
}

async fn a_key_is_replaced_while_both_count(database: Database) {
    let rig = Plan::new(database).start().await;
    let mut host = Host::enrolled(&rig, "micro").await;
    let next = KeyPair::new().unwrap();
    let next_public = next.public().clone();
    host.mine.next = Some(next);
    let line = host.connect(&rig).await.unwrap();
    let both = shown(&rig, "micro").await["keys"].clone();
    assert_eq!(both.as_array().unwrap().len(), 2, "{both}");
    drop(line);
    // It did not hear that its new key is known, so it comes with the one before once more.
    drop(host.connect(&rig).await.unwrap());
    host.mine.keys = host.mine.next.take().unwrap();
    let line = host.connect(&rig).await.unwrap();
    assert_eq!(shown(&rig, "micro").await["keys"], json!([next_public]));
    drop(line);
    // Every change of the keys stands in the audit trail, and one key at a time is on its way.
    assert_eq!(rig.count("SELECT COUNT(*) FROM audit WHERE action = 'agent_key'").await, 2);
    for _ in 0..3 {
        host.mine.next = Some(KeyPair::new().unwrap());
        drop(host.connect(&rig).await.unwrap());
    }
    assert_eq!(shown(&rig, "micro").await["keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(rig.count("SELECT COUNT(*) FROM audit WHERE action = 'agent_key'").await, 5);
    // One that is never used does not count for ever.
    let unused = host.mine.next.take().unwrap();
    let opening = Opening { key: unused.public().clone(), ..host.opening() };
    rig.execute("UPDATE agent_keys SET added_ms = added_ms - 604800000 WHERE ended_ms IS NULL").await;
    assert_eq!(dial(&rig, Some(&opening.header(&unused)), SUBPROTOCOL).await.err(), Some(refused(401, "unauthorized")));
    drop(host.connect(&rig).await.unwrap());
    assert_eq!(shown(&rig, "micro").await["keys"].as_array().map(Vec::len), Some(1));
    // A host that never heard that its next key is known, and comes back after weeks, goes over to it all the same.
    let next = |number: u8| KeyPair::of_seed([number; 32]);
    host.mine.next = next(1);
    drop(host.connect(&rig).await.unwrap());
    rig.execute("UPDATE agent_keys SET added_ms = added_ms - 604800000 WHERE ended_ms IS NULL").await;
    drop(host.connect(&rig).await.unwrap());
    host.mine.keys = host.mine.next.take().unwrap();
    drop(host.connect(&rig).await.unwrap());
    // So does one whose next key had to make room for another.
    for number in [2, 3, 2] {
        host.mine.next = next(number);
        drop(host.connect(&rig).await.unwrap());
    }
    host.mine.keys = host.mine.next.take().unwrap();
    drop(host.connect(&rig).await.unwrap());
    // The key of another agent is nobody's next one.
    host.mine.next = Some(Host::enrolled(&rig, "other").await.mine.keys);
    let why = host.connect(&rig).await.unwrap_err();
    assert!(matches!(&why, Unmet::Refused { why } if why.contains("the key is another agent's")), "{why:?}");
    assert_eq!(shown(&rig, "other").await["keys"].as_array().map(Vec::len), Some(1));
    rig.finish().await;
}

/// Another server of the database has enrolled the agent anew, or took its next key: what is open here ends.
async fn a_line_ends_with_the_key_that_it_was_proven_with(database: Database) {
    let rig = Plan::new(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let other = Host::enrolled(&rig, "other").await;
    let mut line = host.connect(&rig).await.unwrap();
    let mut stays = other.connect(&rig).await.unwrap();
    until_state(&rig, "other", "online").await;
    rig.execute("UPDATE agent_keys SET ended_ms = 1 WHERE agent = 'micro'").await;
    let why = tokio::time::timeout(PATIENCE, line.hear()).await.expect("it is cut").unwrap_err();
    assert!(matches!(&why, Parted::Closed(why) if why == "this agent was revoked"), "{why:?}");
    assert!(tokio::time::timeout(Duration::from_millis(300), stays.hear()).await.is_err());
    rig.finish().await;
}

async fn the_answer_to_an_enrolment_cuts_nobody_and_is_repeated_for_its_time_only(database: Database) {
    let rig = Plan::new(database).start().await;
    let keys = KeyPair::new().unwrap();
    let recorded = showing(&code(&rig, "micro").await, &keys);
    let answer: api::Enrolled = serde_json::from_str(&enrol(&rig, &recorded).await.text).unwrap();
    let mine = Identity { name: Some(answer.name), keys, next: None, control: Some(answer.control) };
    let host = Host { mine, machine: machine_id(), life: "0f".repeat(16) };
    let mut line = host.connect(&rig).await.unwrap();
    for _ in 0..3 {
        assert_eq!(enrol(&rig, &recorded).await.status, 200);
    }
    assert!(tokio::time::timeout(Duration::from_millis(300), line.hear()).await.is_err(), "it stays");
    rig.execute("UPDATE agent_codes SET until_ms = 1").await;
    assert_refused(&enrol(&rig, &recorded).await, 409, "agent_code_used");
    // A key that counts no more is not enrolled again by the body that enrolled it.
    rig.execute("UPDATE agent_codes SET until_ms = 99999999999999").await;
    rig.execute("UPDATE agent_keys SET ended_ms = 1").await;
    assert_refused(&enrol(&rig, &recorded).await, 409, "agent_code_used");
    rig.finish().await;
}

/// Two ways to one name would take the place of each other.
async fn a_host_that_is_dialled_is_no_agent(database: Database) {
    let rig = Plan::new(database).start().await;
    let host = Host::enrolled(&rig, "edge").await;
    let mut line = host.connect(&rig).await.unwrap();
    until_state(&rig, "edge", "online").await;
    let mut plan = rig.plan.clone();
    plan.tables = "[host.edge]\naddress = \"root@127.0.0.1\"\nhost_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx\"\n".into();
    plan.write(rig.dir(), "server", rig.url.as_deref());
    rig.app().read_again(&rig.config_file);
    let why =
        tokio::time::timeout(Duration::from_secs(9), line.hear()).await.expect("before the next look, which comes every 10 s").unwrap_err();
    assert!(matches!(&why, Parted::Closed(why) if why == "this server dials the host of that name"), "{why:?}");
    let mut rig = rig;
    rig.restart().await;
    assert_refused(&rig.act(rig.key(), "/api/v1/agents/edge/code").await, 409, "agent_is_a_host");
    let header = host.opening().header(&host.mine.keys);
    assert_eq!(dial(&rig, Some(&header), SUBPROTOCOL).await.err(), Some(refused(409, "agent_is_a_host")));
    // Where ssh is there for installing alone, its agent dials by itself.
    plan.tables += "dial = false\n";
    plan.write(rig.dir(), "server", rig.url.as_deref());
    rig.app().read_again(&rig.config_file);
    let _line = host.connect(&rig).await.unwrap();
    until_state(&rig, "edge", "online").await;
    assert_eq!(rig.act(rig.key(), "/api/v1/agents/edge/code").await.status, 200);
    rig.finish().await;
}

/// Frames that are none end the line of the one who sent them, and nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_agent_that_sends_garbage_disturbs_nobody() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let good = Host::enrolled(&rig, "good").await;
    let bad = Host::enrolled(&rig, "bad").await;
    let mut line = good.connect(&rig).await.unwrap();
    for garbage in ["", "{", "[]", "{\"kind\":1}", &"[".repeat(100_000)] {
        let mut socket = bad.connect(&rig).await.unwrap();
        socket.say(garbage.to_owned()).await.unwrap();
        let why = tokio::time::timeout(PATIENCE, socket.hear()).await.expect("it is cut").unwrap_err();
        assert!(matches!(&why, Parted::Closed(why) if why.contains("no frame")), "{garbage:.20}: {why:?}");
    }
    assert_eq!(shown(&rig, "good").await["state"], "online");
    assert!(tokio::time::timeout(Duration::from_millis(300), line.hear()).await.is_err(), "it stays");
    rig.finish().await;
}

/// Has the TLS of both sides, and passes everything on as it is.
async fn between(listener: TcpListener, server: rustls::ServerConfig, client: rustls::ClientConfig, to: SocketAddr) {
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let connector = TlsConnector::from(Arc::new(client));
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(mut from) = acceptor.accept(stream).await else { continue };
        let name = ServerName::try_from("localhost").unwrap();
        let mut onward = connector.connect(name, TcpStream::connect(to).await.unwrap()).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut from, &mut onward).await;
    }
}

/// Keeps a line, both directions of it, until it ends.
async fn holds(line: AgentLine) {
    let AgentLine { to, mut from } = line;
    while from.recv().await.is_some() {}
    drop(to);
}

/// How the agent with the keys in `dir` gets on with the control plane at `port`, which may be anybody with a certificate in `all.pem`.
async fn dialled(dir: &Path, port: u16) -> api::Uplink {
    let text = format!(
        "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\ndata_dir = \"{}\"\n[agent]\nname = \"micro\"\nurl = \"https://localhost:{port}\"\n\
         ca_file = \"all.pem\"\n",
        dir.display()
    );
    let config = Config::read(&text, &dir.join("agent.toml"), dir).unwrap();
    let to = config.agent.clone().unwrap();
    let (dial, mut uplink) = Dial::new(Live::new(config), &to);
    let stop = process::Cancel::default();
    let kept = tokio::spawn(dial.keep(holds, stop.clone()));
    let attempt = tokio::time::timeout(PATIENCE, async {
        uplink.wait_for(|told| told.online_ms.is_some() || told.failed > 0).await.unwrap().clone()
    });
    let told = attempt.await.expect("an attempt");
    stop.cancel();
    kept.await.unwrap();
    told
}

/// Somebody is between an agent and its control plane, with a certificate that the agent trusts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_tls_of_both_sides_is_found_out() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let theirs = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut plan = Plan::new(Database::Sqlite);
    plan.files = vec![("server.pem", own.cert.pem()), ("server.key", own.signing_key.serialize_pem())];
    plan.server += "\ntls_certificate_file = \"server.pem\"\ntls_key_file = \"server.key\"";
    let rig = plan.start().await;
    let shared = rig.app().shared();
    let (code, _) = EnrolmentCode::new(shared.lines.keys.public()).unwrap();
    let name = AgentName::parse("micro").unwrap();
    shared.store.keep_agent_code(code.public(), &name, clock::now_ms() + 60_000, "test").await.unwrap();
    let keys = KeyPair::new().unwrap();
    let new = Enrolment { code: code.public().clone(), key: keys.public().clone(), machine: machine_id() };
    assert_eq!(shared.store.enrol_agent(&new).await.unwrap(), Enrolled::Done(name.clone()));
    let dir = tempfile::tempdir().unwrap();
    let control = Some(shared.lines.keys.public().clone());
    Identity { name: Some(name), keys, next: None, control }.write(dir.path()).unwrap();
    std::fs::write(dir.path().join("all.pem"), own.cert.pem() + &theirs.cert.pem()).unwrap();
    let straight = dialled(dir.path(), rig.address().port()).await;
    assert!(straight.online_ms.is_some(), "{straight:?}");
    let key = PrivateKeyDer::try_from(theirs.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![theirs.cert.der().clone()], key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(own.cert.der().to_vec())).unwrap();
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy = tokio::spawn(between(listener, server, client, rig.address()));
    let found_out = dialled(dir.path(), port).await;
    proxy.abort();
    let why = found_out.why.unwrap();
    assert!(found_out.online_ms.is_none() && why.contains("somebody is between the two"), "{why}");
    rig.finish().await;
}
