//! A real https server on port 0, and plans that look at it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::certificate;
use crate::check;
use crate::client::Visitor;
use crate::cookies::Cookies;
use crate::plan::Demands;
use crate::plan::FetchPlan;
use crate::plan::HostPattern;
use crate::plan::Release;
use crate::plan::SmokePlan;
use crate::report::Report;

/// Answers the n-th request (from 0), whose head is given, with these bytes; none closes the connection.
pub(super) type Script = Box<dyn Fn(usize, &str) -> Option<String> + Send + Sync>;

/// The same, with bytes that need not be text.
pub(super) type Bytes = Box<dyn Fn(usize, &str) -> Option<Vec<u8>> + Send + Sync>;

/// An authority and what it issues.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new authority of this name.
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate for these names, which says that it is an authority.
    pub(super) fn of_itself(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (Self, ServerConfig) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(2999, 1, 1);
        params.distinguished_name.push(DnType::CommonName, "Made at home");
        change(&mut params);
        let own = params.self_signed(&key).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], private)
            .unwrap();
        (Self { pem: own.pem(), issuer: Issuer::new(params, key) }, config)
    }

    /// A leaf for these names, changed by `change` before it is signed.
    pub(super) fn leaf(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(2999, 1, 1);
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap()
    }
}

/// What happens to one connection.
#[derive(Clone)]
pub(super) enum Talk {
    /// Http in clear.
    Plain,
    /// Https with this certificate.
    Tls(Arc<ServerConfig>),
    /// The same, and the connection ends without the end of TLS (`close_notify`).
    Cut(Arc<ServerConfig>),
    /// A fatal TLS alert of this number.
    Alert(u8),
}

/// A server that lives as long as this does.
pub(super) struct Server {
    /// Its port on 127.0.0.1.
    pub(super) port: u16,
    /// The heads of the requests that it got.
    pub(super) heads: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
    ca_file: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    /// Https for the name site.test by an authority that the plan trusts.
    pub(super) async fn https(script: Script) -> Self {
        let authority = Authority::new("Test Authority");
        let talk = Talk::Tls(Arc::new(authority.leaf(&["site.test"], |_| {})));
        Self::start(&authority, move |_| talk.clone(), script).await
    }

    /// As [`Server::https`], and on its own port under the name localhost as well: another origin.
    pub(super) async fn https_of_two_origins(script: Script) -> Self {
        let authority = Authority::new("Test Authority");
        let talk = Talk::Tls(Arc::new(authority.leaf(&["site.test", "localhost"], |_| {})));
        Self::start(&authority, move |_| talk.clone(), script).await
    }

    /// A plan that fetches the assets too, also those of localhost.
    pub(super) fn fetching_plan(&self) -> SmokePlan {
        let fetch = FetchPlan { concurrency: 12, within: Duration::from_mins(1), max_bytes: 1 << 20 };
        SmokePlan { fetch: Some(fetch), allowed_hosts: vec![HostPattern::parse("localhost").unwrap()], ..self.plan() }
    }

    /// `talk` says what becomes of the n-th connection.
    pub(super) async fn start(authority: &Authority, talk: impl Fn(usize) -> Talk + Send + 'static, script: Script) -> Self {
        Self::start_with_bytes(authority, talk, Box::new(move |number, head| script(number, head).map(String::into_bytes))).await
    }

    /// As [`Server::start`].
    pub(super) async fn start_with_bytes(authority: &Authority, talk: impl Fn(usize) -> Talk + Send + 'static, script: Bytes) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, &authority.pem).unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&heads);
        let script = Arc::new(script);
        let serving = tokio::spawn(async move {
            let mut open = JoinSet::new();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (talk, script, seen) = (talk(connection), Arc::clone(&script), Arc::clone(&seen));
                open.spawn(async move { serve(stream, talk, &script, &seen).await });
                while open.try_join_next().is_some() {}
            }
        });
        Self { port, heads, serving, _folder: folder, ca_file }
    }

    /// The keys by which a browser trusts the server's certificate.
    pub(super) async fn keys(&self) -> Vec<String> {
        let plan = self.plan();
        let visitor = Visitor::new(&plan).await.unwrap();
        visitor.get(&plan.url, &Cookies::default()).await.unwrap();
        visitor.handshakes.take().iter().filter_map(certificate::key_hash).collect()
    }

    /// A plan for `https://site.test/` that leads here and has short windows.
    pub(super) fn plan(&self) -> SmokePlan {
        SmokePlan {
            within: Duration::from_millis(50),
            certificate_within: Duration::from_millis(50),
            certificate_days: 7,
            timeout: Duration::from_secs(5),
            fetch: None,
            samples: 1,
            demands: Demands { min_body_bytes: 0, max_latency: None, http_version: None, json: Vec::new() },
            max_body_bytes: 1 << 20,
            ca_file: Some(self.ca_file.clone()),
            connect_to: Some(format!("127.0.0.1:{}", self.port)),
            ..SmokePlan::new(Url::parse("https://site.test/").unwrap())
        }
    }
}

async fn serve(stream: tokio::net::TcpStream, talk: Talk, script: &Bytes, seen: &Mutex<Vec<String>>) {
    match talk {
        Talk::Plain => {
            let mut stream = stream;
            answer(&mut stream, script, seen).await;
            let _ = stream.shutdown().await;
        }
        Talk::Tls(config) => {
            match TlsAcceptor::from(config).accept(stream).await {
                Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                    // The client may be gone before it has read everything.
                    let _ = answer_two(stream, script, seen).await;
                }
                Ok(mut stream) => {
                    answer(&mut stream, script, seen).await;
                    let _ = stream.shutdown().await;
                }
                Err(_) => {}
            }
        }
        Talk::Cut(config) => {
            if let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await {
                answer(&mut stream, script, seen).await;
                let _ = stream.flush().await;
                let _ = stream.get_mut().0.shutdown().await;
            }
        }
        Talk::Alert(number) => {
            let mut stream = stream;
            let mut hello = [0; 4096];
            let _ = stream.read(&mut hello).await;
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, number]).await;
            let _ = stream.shutdown().await;
        }
    }
}

/// One request a connection; a client that waits is let go by the end of the stream.
async fn answer(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), script: &Bytes, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if let Some(answer) = script(count(seen, &head), &head) {
        let _ = stream.write_all(&answer).await;
    }
}

/// Keeps the head of a request and gives its number, from 0.
fn count(seen: &Mutex<Vec<String>>, head: &str) -> usize {
    let mut seen = seen.lock().unwrap();
    seen.push(head.to_owned());
    seen.len() - 1
}

/// Requests over HTTP/2 (RFC 9113): each is answered with the script's body as html and the status 200.
async fn answer_two(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    script: &Bytes,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()]).await?;
    stream.write_all(&SETTINGS).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        match kind {
            // Headers.
            1 => {
                let answer = script(count(seen, "HTTP/2"), "HTTP/2").unwrap_or_default();
                let answer = String::from_utf8(answer).unwrap();
                let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                // :status 200 and content-type from the static table (RFC 7541).
                let fields = [&[0x88, 0x0f, 0x10, 9][..], b"text/html"].concat();
                let frame = |kind: u8, flags: u8, payload: &[u8]| {
                    [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags], &id, payload].concat()
                };
                stream.write_all(&[frame(1, 4, &fields), frame(0, 1, body.as_bytes())].concat()).await?;
            }
            // Settings that are not acknowledged yet.
            4 if flags == 0 => stream.write_all(&[0, 0, 0, 4, 1, 0, 0, 0, 0]).await?,
            _ => {}
        }
    }
}

/// An answer with these header lines and this body.
pub(super) fn http(status: u16, headers: &[&str], body: &str) -> String {
    let lines: String = headers.iter().flat_map(|line| [*line, "\r\n"]).collect();
    format!("HTTP/1.1 {status} X\r\n{lines}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// An html page.
pub(super) fn page(body: &str) -> String {
    http(200, &["content-type: text/html; charset=utf-8"], body)
}

/// Checks without progress.
pub(super) async fn look(plan: &SmokePlan, release: Option<&Release>) -> Report {
    check(plan, release, &mut |_| {}).await
}

/// The rules of a report's findings.
pub(super) fn rules(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.rule.as_str()).collect()
}
