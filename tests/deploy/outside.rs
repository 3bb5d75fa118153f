//! Other people's servers, as small as they can be: a registry and a public page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use sha2::Digest as _;

/// An answer: status, headers, body.
pub(crate) struct Answer(pub(crate) u16, pub(crate) Vec<(&'static str, String)>, pub(crate) Vec<u8>);

impl Answer {
    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        Self(status, vec![("content-type", "text/html".into())], text.into().into_bytes())
    }
}

/// A request: its path and the lines of its head, in lower case.
pub(crate) struct Request {
    pub(crate) path: String,
    head: Vec<String>,
}

impl Request {
    /// Whether it only asks if anybody answers. What a story is told to wait for, or fail of, is not for it.
    pub(crate) fn is_watcher(&self) -> bool {
        self.header("user-agent").iter().any(|agent| agent.contains("(availability)"))
    }

    /// The values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.head.iter().filter_map(|line| line.split_once(": ")).filter(|(key, _)| *key == name).map(|(_, value)| value).collect()
    }
}

/// An HTTP/1.1 server on a free port of loopback, a thread a connection; it ends with this value.
pub(crate) struct Http {
    pub(crate) port: u16,
    ended: Arc<AtomicBool>,
    /// The thread that has the port.
    listening: Option<JoinHandle<()>>,
}

impl Http {
    /// Answers every GET by `answer`, which may take its time.
    pub(crate) fn serve(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let ended = Arc::new(AtomicBool::new(false));
        let (answer, is_over) = (Arc::new(answer), Arc::clone(&ended));
        let listening = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || talk(&stream, &*answer));
            }
        });
        Self { port, ended, listening: Some(listening) }
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listening thread, which then closes the port: it is closed when this returns.
        if TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            && let Some(listening) = self.listening.take()
        {
            let _ = listening.join();
        }
    }
}

fn talk(mut stream: &TcpStream, answer: &(dyn Fn(&Request) -> Answer + Send + Sync)) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let head = lines.take_while(|line| !line.is_empty()).map(|line| line.to_ascii_lowercase()).collect();
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().to_owned());
    let Answer(status, headers, body) = answer(&Request { path, head });
    let mut head = format!("HTTP/1.1 {status} .\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    // Anybody who asked may have gone meanwhile.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    if method != "HEAD" {
        let _ = stream.write_all(&body);
    }
}

/// Asks `address` for a path as `request` did, and gives the answer on.
pub(crate) fn forward(address: &str, request: &Request) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut head = format!("GET {} HTTP/1.0\r\nhost: {address}\r\n", request.path);
    for accepted in request.header("accept") {
        let _ = write!(head, "accept: {accepted}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| std::io::Error::other("no head"))?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(502);
    let kept = |name: &'static str| {
        let line = head.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
        line.map(|(_, value)| (name, value.to_owned()))
    };
    Ok(Answer(status, ["content-type", "docker-content-digest"].into_iter().filter_map(kept).collect(), bytes[end + 4..].to_vec()))
}

/// What a registry holds of one tag.
#[derive(Clone)]
pub(crate) struct Pushed {
    pub(crate) digest: String,
    manifest: Vec<u8>,
    config_digest: String,
    config: Vec<u8>,
}

/// Everything that was pushed, by tag.
pub(crate) type Shelf = Arc<Mutex<BTreeMap<String, Pushed>>>;

fn digest_of(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Makes an image of one release with `labels` and puts it on the shelf. Returns its digest.
pub(crate) fn push(shelf: &Shelf, tag: &str, labels: &[(&str, &str)]) -> String {
    let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
    let config = json!({"os": "linux", "architecture": "amd64", "config": {"Labels": labels}, "release": tag}).to_string().into_bytes();
    let config_digest = digest_of(&config);
    let layer = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 10, "digest": digest_of(tag.as_bytes())});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [layer],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": config.len(), "digest": config_digest},
    })
    .to_string()
    .into_bytes();
    let digest = digest_of(&manifest);
    shelf.lock().unwrap().insert(tag.to_owned(), Pushed { digest: digest.clone(), manifest, config_digest, config });
    digest
}

/// A registry over `shelf`. `meet` is called with `manifest@TAG` before a manifest is given and says what goes wrong.
pub(crate) fn registry(shelf: Shelf, meet: impl Fn(&str) -> bool + Send + Sync + 'static) -> Http {
    Http::serve(move |request| {
        let path = request.path.as_str();
        let last = path.rsplit('/').next().unwrap_or_default();
        if path == "/v2/" {
            return Answer::text(200, "{}");
        }
        if path.contains("/manifests/") {
            if meet(&format!("manifest@{last}")) {
                return Answer::text(500, "out of order");
            }
            let found = shelf.lock().unwrap().get(last).cloned();
            let kind = "application/vnd.oci.image.manifest.v1+json".to_owned();
            return found.map_or_else(
                || Answer(404, Vec::new(), br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#.to_vec()),
                |pushed| Answer(200, vec![("content-type", kind), ("docker-content-digest", pushed.digest)], pushed.manifest),
            );
        }
        let found = shelf.lock().unwrap().values().find(|pushed| pushed.config_digest == last).cloned();
        found.map_or_else(|| Answer::text(404, "{}"), |pushed| Answer(200, Vec::new(), pushed.config))
    })
}
