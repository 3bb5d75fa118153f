//! A forge over real HTTP that takes Actions secrets and variables as GitHub's and Forgejo's API descriptions say, and opens the boxes
//! that GitHub gets its secrets in.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_box::SecretKey;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

pub(crate) const TOKEN: &str = "ghp_a-token-of-the-forge";
const KEY_ID: &str = "568250167242549743";

/// What is on the forge, and what it was asked.
#[derive(Default)]
pub(crate) struct State {
    /// Values by the path of their shelf and name, with the time of their last change.
    pub(crate) values: BTreeMap<String, (String, u32)>,
    /// Every call that was no GET.
    pub(crate) changes: Vec<String>,
    /// The bodies that came with them.
    pub(crate) bodies: Vec<Value>,
    /// What it answers 500 to, by name.
    pub(crate) broken: BTreeSet<&'static str>,
    /// Whether it takes what it gets and never answers.
    pub(crate) hangs: bool,
    clock: u32,
}

/// The forge.
#[derive(Clone)]
pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
    key: SecretKey,
}

impl StandIn {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key = SecretKey::generate(&mut crypto_box::aead::OsRng);
        let forge = Self { address: listener.local_addr().unwrap(), state: Arc::default(), key };
        let serving = forge.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let forge = serving.clone();
                tokio::spawn(async move { forge.serve(stream).await });
            }
        });
        forge
    }

    /// The tables by which a configuration names it, as GitHub and as Forgejo.
    pub(crate) fn tables(&self) -> String {
        let address = self.address;
        format!(
            "[[forge]]\nid = \"github\"\nkind = \"github\"\napi_url = \"http://{address}\"\ntoken_file = \"forge.token\"\n\
             [[forge]]\nid = \"codeberg\"\nkind = \"forgejo\"\nurl = \"http://{address}\"\ntoken_file = \"forge.token\"\n"
        )
    }

    pub(crate) fn value(&self, path: &str) -> Option<String> {
        self.state.lock().unwrap().values.get(path).map(|(value, _)| value.clone())
    }

    pub(crate) fn changes(&self) -> usize {
        self.state.lock().unwrap().changes.len()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, length) = loop {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
                _ => return,
            }
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let header =
                |name: &str| head.lines().filter_map(|line| line.split_once(": ")).find(|(given, _)| given.eq_ignore_ascii_case(name));
            let length = header("content-length").map_or(0, |(_, length)| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                bytes.drain(..end + 4);
                break (head, length);
            }
        };
        let body = if length == 0 { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        let mut words = head.lines().next().unwrap().split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let Some((status, answer)) = self.answer(method, target, &head, &body) else {
            // Until who called has gone away.
            let _ = stream.read(&mut [0]).await;
            return;
        };
        let text = if answer.is_null() { String::new() } else { answer.to_string() };
        let said = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        let _ = stream.write_all(said.as_bytes()).await;
    }

    fn answer(&self, method: &str, target: &str, head: &str, body: &Value) -> Option<(u16, Value)> {
        let mut state = self.state.lock().unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_forgejo = path.starts_with("/api/v1/");
        let login = if is_forgejo { format!("authorization: token {TOKEN}") } else { format!("authorization: Bearer {TOKEN}") };
        if !head.lines().any(|line| line.eq_ignore_ascii_case(&login)) {
            return Some((401, json!({ "message": "Bad credentials" })));
        }
        if method != "GET" {
            state.changes.push(format!("{method} {path}"));
            state.bodies.push(body.clone());
            if state.hangs {
                return None;
            }
        }
        let name = path.rsplit('/').next().unwrap();
        if state.broken.contains(name) {
            return Some((500, json!({ "message": "Something went wrong" })));
        }
        Some(if is_forgejo { forgejo(&mut state, method, path, query, body) } else { self.github(&mut state, method, path, body) })
    }

    fn github(&self, state: &mut State, method: &str, path: &str, body: &Value) -> (u16, Value) {
        if path.ends_with("/secrets/public-key") {
            return (200, json!({ "key_id": KEY_ID, "key": STANDARD.encode(self.key.public_key().as_bytes()) }));
        }
        if path == "/repos/acme/web" {
            return (200, json!({ "id": 7001, "name": "web" }));
        }
        let in_organisation = path.starts_with("/orgs/");
        if in_organisation && matches!(method, "PUT" | "POST") {
            assert_eq!((&body["visibility"], &body["selected_repository_ids"]), (&json!("selected"), &json!([7001])), "{path}");
        }
        let name = path.rsplit('/').next().unwrap();
        match (method, path.contains("/secrets")) {
            ("PUT", true) => {
                assert_eq!(body["key_id"], KEY_ID, "{body}");
                let sealed = STANDARD.decode(body["encrypted_value"].as_str().unwrap()).unwrap();
                (state.set(path, String::from_utf8(self.key.unseal(&sealed).unwrap()).unwrap()), Value::Null)
            }
            ("POST", false) => {
                let path = format!("{path}/{}", body["name"].as_str().unwrap());
                (state.set(&path, body["value"].as_str().unwrap().into()), json!({}))
            }
            ("PATCH", false) => (state.set(path, body["value"].as_str().unwrap().into()), Value::Null),
            ("GET", is_secret) => match state.values.get(path) {
                None => (404, json!({ "message": "Not Found" })),
                Some((_, at)) if is_secret => {
                    (200, json!({ "name": name, "created_at": "2020-01-10T14:59:22Z", "updated_at": format!("2020-01-10T14:59:{at:02}Z") }))
                }
                Some((value, _)) if in_organisation => (200, json!({ "name": name, "value": value, "visibility": "selected" })),
                Some((value, _)) => (200, json!({ "name": name, "value": value })),
            },
            ("DELETE", _) => state.remove(path),
            _ => panic!("GitHub's API has no {method} {path}"),
        }
    }
}

fn forgejo(state: &mut State, method: &str, path: &str, query: &str, body: &Value) -> (u16, Value) {
    match (method, path.contains("/secrets")) {
        ("GET", true) => {
            // Ten a page.
            let page: usize = query.split('&').find_map(|one| one.strip_prefix("page=")).unwrap().parse().unwrap();
            let all = state.values.iter().filter(|(key, _)| key.starts_with(&format!("{path}/")));
            let listed = all.map(
                |(key, (_, at))| json!({ "name": key.rsplit('/').next().unwrap(), "created_at": format!("2020-01-10T14:59:{at:02}Z") }),
            );
            (200, listed.skip((page - 1) * 10).take(10).collect())
        }
        ("PUT", true) => {
            // Its time is that of its creation.
            let created = state.values.get(path).map(|(_, at)| *at);
            let status = state.set(path, body["data"].as_str().unwrap().into());
            if let (Some(created), Some(value)) = (created, state.values.get_mut(path)) {
                value.1 = created;
            }
            (status, Value::Null)
        }
        ("GET", false) => match state.values.get(path) {
            None => (404, json!({ "message": "variable not found" })),
            Some((value, _)) => (200, json!({ "owner_id": 0, "repo_id": 1, "name": path.rsplit('/').next().unwrap(), "data": value })),
        },
        ("POST", false) => {
            assert!(!state.values.contains_key(path), "{path} is there already");
            (state.set(path, body["value"].as_str().unwrap().into()), Value::Null)
        }
        ("PUT", false) => {
            assert!(state.values.contains_key(path), "{path} is not there yet");
            (state.set(path, body["value"].as_str().unwrap().into()), Value::Null)
        }
        ("DELETE", _) => state.remove(path),
        _ => panic!("Forgejo's API has no {method} {path}"),
    }
}

impl State {
    /// As somebody with the right to do it: the status is 201 where it was not there.
    pub(crate) fn set(&mut self, path: &str, value: String) -> u16 {
        assert!(path.rsplit('/').next().unwrap().bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'), "{path}");
        self.clock += 1;
        if self.values.insert(path.to_owned(), (value, self.clock)).is_none() { 201 } else { 204 }
    }

    fn remove(&mut self, path: &str) -> (u16, Value) {
        if self.values.remove(path).is_some() { (204, Value::Null) } else { (404, json!({ "message": "Not Found" })) }
    }
}
