//! A forge as far as `tagalong init` asks one: what it is, and what it says about a repository.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;

/// What stands at which path; all else is not found.
pub(crate) struct Forge {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Forge {
    /// One that answers with these bodies, each with its status.
    pub(crate) fn start(answers: &[(&str, u16, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let answers: BTreeMap<String, (u16, String)> =
            answers.iter().map(|(path, status, body)| ((*path).to_owned(), (*status, body.clone()))).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &answers, &seen);
            }
        });
        Self { address, asked }
    }

    /// Forgejo of this version, with the repository acme/web as it says.
    pub(crate) fn forgejo(version: &str) -> Self {
        let version = format!("{{\"version\":\"{version}\"}}");
        Self::start(&[
            ("/api/forgejo/v1/version", 200, version.clone()),
            ("/api/v1/version", 200, version),
            ("/api/v1/repos/acme/web", 200, repository("acme/web")),
        ])
    }

    pub(crate) fn gitea() -> Self {
        Self::start(&[("/api/v1/version", 200, "{\"version\":\"1.25.0\"}".into()), ("/api/v1/repos/acme/web", 200, repository("acme/web"))])
    }

    /// A GitHub Enterprise Server; the body is what it says about the repository.
    pub(crate) fn ghes(status: u16, body: String) -> Self {
        let meta = "{\"verifiable_password_authentication\":true,\"installed_version\":\"3.18.0\"}";
        Self::start(&[("/api/v3/meta", 200, meta.into()), ("/api/v3/repos/acme/web", status, body)])
    }

    /// The paths that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The fields that both forges' descriptions have.
pub(crate) fn repository(full_name: &str) -> String {
    format!(
        "{{\"id\":7001,\"name\":\"web\",\"full_name\":\"{full_name}\",\"private\":false,\"default_branch\":\"trunk\",\
         \"owner\":{{\"id\":42,\"login\":\"acme\"}}}}"
    )
}

fn answer(stream: TcpStream, answers: &BTreeMap<String, (u16, String)>, asked: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = first.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
    let is_asked_well = headers.iter().any(|line| line.to_lowercase().starts_with("user-agent: tagalong/"));
    let (status, body) = answers.get(&path).cloned().filter(|_| is_asked_well).unwrap_or((404, "{\"message\":\"Not Found\"}".into()));
    asked.lock().unwrap().push(path);
    let mut stream = stream;
    let _ = write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}
