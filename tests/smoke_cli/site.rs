//! A real https server, and the real binary beside it.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::sync::Arc;
use std::sync::Mutex;

pub(crate) const GOOD: &str = "<!doctype html><title>x</title><p>release 1f0c9e2</p>";

/// An https server for `localhost`, over IPv4 and IPv6, that answers everything with one page, as long as the test runs.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) port: u16,
    /// The requests, as they came.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    page: Arc<str>,
    /// Paths that lead elsewhere.
    redirects: Arc<Mutex<Vec<(String, String)>>>,
    tls: Arc<rustls::ServerConfig>,
}

impl Site {
    pub(crate) fn new(page: impl Into<String>) -> Self {
        let site = Self::over_ipv4(page);
        // A machine without IPv6 does not try it either.
        if let Ok(six) = TcpListener::bind(("::1", site.port)) {
            site.serve(six);
        }
        site
    }

    /// Another one on a port of its own, with the same certificate.
    pub(crate) fn beside(&self, page: impl Into<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(self.path("ca.pem"), dir.path().join("ca.pem")).unwrap();
        let page: Arc<str> = page.into().into();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let site = Self { dir, port, requests: Arc::default(), page, redirects: Arc::default(), tls: Arc::clone(&self.tls) };
        site.serve(listener);
        if let Ok(six) = TcpListener::bind(("::1", port)) {
            site.serve(six);
        }
        site
    }

    /// The same over IPv4 alone.
    pub(crate) fn over_ipv4(page: impl Into<String>) -> Self {
        let page: Arc<str> = page.into().into();
        let dir = tempfile::tempdir().unwrap();
        let (tls, ca) = certified(&["localhost"]);
        std::fs::write(dir.path().join("ca.pem"), ca).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let site = Self { dir, port, requests: Arc::default(), page, redirects: Arc::default(), tls };
        site.serve(listener);
        site
    }

    /// From now on `path` leads to `location`.
    pub(crate) fn redirect(&self, path: &str, location: impl Into<String>) {
        self.redirects.lock().unwrap().push((path.to_owned(), location.into()));
    }

    /// How often `path` was asked.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|request| request.starts_with(&format!("GET {path} "))).count()
    }

    fn serve(&self, listener: TcpListener) {
        let (seen, tls, page) = (Arc::clone(&self.requests), Arc::clone(&self.tls), Arc::clone(&self.page));
        let redirects = Arc::clone(&self.redirects);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), tls, seen, page) = (stream, Arc::clone(&tls), Arc::clone(&seen), Arc::clone(&page)) else { return };
                let redirects = Arc::clone(&redirects);
                std::thread::spawn(move || {
                    let Ok(mut session) = rustls::ServerConnection::new(tls) else { return };
                    let mut stream = rustls::Stream::new(&mut session, &mut stream);
                    let mut request = [0_u8; 8192];
                    if let Ok(count) = stream.read(&mut request)
                        && count > 0
                    {
                        let request = String::from_utf8_lossy(&request[..count]).into_owned();
                        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                        seen.lock().unwrap().push(request);
                        if path == "/hang" {
                            loop {
                                std::thread::park();
                            }
                        }
                        let to =
                            redirects.lock().unwrap().iter().find(|(from, _)| *from == path).map(|(_, to)| format!("\r\nlocation: {to}"));
                        let (status, page) = match &to {
                            Some(_) => ("302 Found", ""),
                            None if path == "/" => ("200 OK", &*page),
                            None => ("404 Not Found", ""),
                        };
                        let to = to.unwrap_or_default();
                        let head = format!(
                            "HTTP/1.1 {status}{to}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                            page.len()
                        );
                        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(page.as_bytes()));
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                });
            }
        });
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn look(&self, args: &[&str]) -> Output {
        let page = format!("https://localhost:{}/", self.port);
        let ca = self.path("ca.pem").display().to_string();
        let all: Vec<&str> = ["smoke", &page, "--ca-file", &ca, "--within-s", "1"].iter().chain(args).copied().collect();
        run(&all, &[])
    }
}

/// A certificate for these names, and the authority that vouches for it, in PEM.
pub(crate) fn certified(names: &[&str]) -> (Arc<rustls::ServerConfig>, String) {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    leaf.not_after = rcgen::date_time_ymd(2200, 1, 1);
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (Arc::new(tls.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], private).unwrap()), root.pem())
}

pub(crate) fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagalong"));
    command.args(args).env_clear().envs(env.iter().copied()).output().unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
