//! A server of somebody else, and a forge: both answer as they are told.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;

pub(crate) const TOKEN: &str = "read-token";
pub(crate) const ID_TOKEN: &str = "header.claims.signature";
pub(crate) const SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// What a server answers an order, its journal and its record with, and a call to cancel or to reload; and a forge the wish for a token.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
    /// The events of the journal.
    pub(crate) events: String,
    pub(crate) record: String,
    pub(crate) token: String,
}

impl Answers {
    pub(crate) fn good() -> Self {
        Self {
            status: 202,
            headers: format!("Location: /api/v1/deployments/d1\r\nTagalong-Read-Token: {TOKEN}\r\n"),
            body: "{\"id\":\"d1\"}".into(),
            events: event("", "1", "{\"kind\":\"step\",\"text\":\"up\"}")
                + &event("outcome", "2", "{\"outcome\":\"live\",\"summary\":\"verified\"}"),
            record: record("running", "site:0@sha256:0", &format!("site:1@sha256:{}", "1".repeat(64)), "1234"),
            token: format!("{{\"count\":1,\"value\":\"{ID_TOKEN}\"}}"),
        }
    }
}

/// A deployment as the server shows it.
pub(crate) fn record(state: &str, before: &str, image: &str, took_ms: &str) -> String {
    format!("{{\"id\":\"d1\",\"state\":\"{state}\",\"images\":[\"{image}\"],\"ran_before\":\"{before}\",\"took_ms\":{took_ms}}}")
}

pub(crate) fn event(name: &str, id: &str, data: &str) -> String {
    format!("id: {id}\r\nevent: {name}\r\ndata: {data}\r\n\r\n")
}

/// A server of somebody else: it answers as it is told.
pub(crate) struct Server {
    pub(crate) port: u16,
    answers: Arc<Mutex<Answers>>,
    /// Each call, its head and its body.
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
    /// Who holds it keeps the answers back.
    pub(crate) way: Arc<Mutex<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, answers) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Answers::good())));
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let (told, heard, way) = (Arc::clone(&answers), Arc::clone(&calls), Arc::default());
        let open: Arc<Mutex<()>> = Arc::clone(&way);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (told, heard, open) = (Arc::clone(&told), Arc::clone(&heard), Arc::clone(&open));
                std::thread::spawn(move || answer(stream, &told, &heard, &open));
            }
        });
        Self { port, answers, calls, way }
    }

    pub(crate) fn tell(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    /// The calls since the last look.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

pub(crate) fn answer(mut stream: TcpStream, told: &Mutex<Answers>, heard: &Mutex<Vec<String>>, way: &Mutex<()>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    while reader.read_line(&mut head).unwrap_or(0) > 2 {
        let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
        length = line.strip_prefix("content-length: ").map_or(length, |value| value.parse().unwrap());
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    heard.lock().unwrap().push(head.clone() + &String::from_utf8_lossy(&body));
    drop(way.lock().unwrap());
    let mut answers = told.lock().unwrap();
    let text = if head.starts_with("GET") {
        let (kind, body) = match &path {
            path if path.ends_with("/log") => ("text/event-stream", &answers.events),
            path if path.starts_with("/token") => ("application/json", &answers.token),
            _ => ("application/json", &answers.record),
        };
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n{body}")
    } else {
        let (length, body) = (answers.body.len(), answers.body.clone());
        let text =
            format!("HTTP/1.1 {} X\r\n{}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}", answers.status, answers.headers);
        if answers.status == 503 {
            // Trouble passes.
            *answers = Answers::good();
        }
        text
    };
    let _ = stream.write_all(text.as_bytes());
}
