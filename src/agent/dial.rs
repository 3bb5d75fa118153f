//! Dials the control plane and keeps the line open. One task owns it: nobody else connects, and it never makes two attempts at once.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use process::Cancel;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderMap;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use url::Url;

use crate::api;
use crate::clock;
use crate::clock::Backoff;
use crate::clock::retry_after;
use crate::clock::spread;
use crate::config::Agent;
use crate::config::Config;
use crate::config::Live;
use crate::line::AgentLine;
use crate::line::Binding;
use crate::line::EXPORTER_LABEL;
use crate::line::Identity;
use crate::line::OPENING_HEADER;
use crate::line::Opening;
use crate::line::SILENCE;
use crate::line::SUBPROTOCOL;
use crate::line::Socket;
use crate::line::ends;
use crate::line::machine_id;
use crate::line::nonce;
use crate::line::present;

/// The path of the route at the control plane.
const PATH: &str = "ws/agent";
/// How long connecting, TLS and the upgrade may take together, on a slow line too.
const CONNECT: Duration = Duration::from_secs(20);
/// Many agents dial at once when a control plane was started again: each waits a part of this before its first attempt.
const SCATTER: Duration = Duration::from_secs(2);
/// The pauses between attempts.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1)).spread();
/// The pauses after a refusal that only a person ends.
const REFUSED_PAUSES: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(5)).spread();
/// The longest pause that a control plane can ask for.
const MOST_RETRY_AFTER: Duration = Duration::from_hours(1);
/// How often it is looked whether a person has enrolled the agent anew meanwhile.
const LOOK: Duration = Duration::from_secs(5);

/// Why an attempt led to nothing.
#[derive(Debug)]
struct Failure {
    /// One sentence.
    why: String,
    /// How long the control plane wants to be left alone.
    retry_after: Option<Duration>,
    /// Whether only a person changes it.
    is_refusal: bool,
}

impl Failure {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry_after: None, is_refusal: false }
    }

    fn refusal(why: impl Into<String>) -> Self {
        Self { is_refusal: true, ..Self::new(why) }
    }
}

/// Dials the control plane.
#[derive(Debug)]
pub struct Dial {
    config: Live<Config>,
    to: Agent,
    /// Which process this is.
    life: String,
    told: watch::Sender<api::Uplink>,
}

impl Dial {
    /// To the control plane of `to`; and what tells how the line stands.
    #[must_use]
    pub fn new(config: Live<Config>, to: &Agent) -> (Self, watch::Receiver<api::Uplink>) {
        let why = Some("It was not dialled yet.".to_owned());
        let uplink = api::Uplink { url: to.url.to_string(), name: to.name.clone(), online_ms: None, why, next_ms: None, failed: 0 };
        let (told, uplink) = watch::channel(uplink);
        (Self { config, to: to.clone(), life: text::hex(&clock::random_bytes::<16>()), told }, uplink)
    }

    fn dir(&self) -> PathBuf {
        self.config.now().server.data_dir.clone()
    }

    /// Keeps a line open until `stop`, and gives each one to `serve`.
    pub async fn keep<F: Future<Output = ()>>(self, serve: impl Fn(AgentLine) -> F, stop: Cancel) {
        let work = async {
            let mut failed = 0;
            self.pause(scattered(SCATTER)).await;
            loop {
                let (held, failure) = match self.once(&serve).await {
                    Ok((held, why)) => (held, Failure::new(format!("The line has ended: {why}."))),
                    Err(failure) => (Duration::ZERO, failure),
                };
                // A line that hardly held is no better than one that was not opened.
                failed = if held >= SILENCE { 1 } else { failed + 1 };
                let pause = pause_after(failed, &failure);
                if failed == 1 || !failure.is_refusal {
                    tracing::warn!(url = %self.to.url, why = failure.why, failed, pause_s = pause.as_secs(), "the control plane is not connected");
                }
                self.tell(Err((failure.why, failed, pause)));
                self.pause(pause).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
    }

    /// Waits, but not after a person has enrolled the agent anew.
    async fn pause(&self, pause: Duration) {
        let dir = self.dir();
        let written = Identity::written_at(&dir);
        let until = Instant::now() + pause;
        while Instant::now() < until && Identity::written_at(&dir) == written {
            tokio::time::sleep_until(until.min(Instant::now() + LOOK)).await;
        }
    }

    fn tell(&self, how: Result<i64, (String, u32, Duration)>) {
        self.told.send_modify(|uplink| match how {
            Ok(since_ms) => {
                uplink.online_ms = Some(since_ms);
                uplink.why = None;
                uplink.next_ms = None;
                uplink.failed = 0;
            }
            Err((why, failed, pause)) => {
                uplink.online_ms = None;
                uplink.why = Some(why);
                uplink.next_ms = Some(clock::now_ms() + pause.as_millis() as i64);
                uplink.failed = failed;
            }
        });
    }

    /// One attempt, and the line that it leads to: how long that held, and why it ended.
    async fn once<F: Future<Output = ()>>(&self, serve: &impl Fn(AgentLine) -> F) -> Result<(Duration, String), Failure> {
        let mine = self.identity()?;
        let url = &self.to.url;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(443);
        let began = Instant::now();
        let connected = timeout(CONNECT, TcpStream::connect((host.as_str(), port))).await;
        let late = |_| Failure::new(format!("{url} did not answer within {} s.", CONNECT.as_secs()));
        let stream = connected.map_err(late)?.map_err(|error| Failure::new(format!("{url} cannot be reached: {error}.")))?;
        let _ = stream.set_nodelay(true);
        if url.scheme() != "https" {
            return self.over(stream, &Binding::Nothing, mine, began, serve).await;
        }
        let config = tls_config(self.to.ca_file.as_deref())?;
        let name = ServerName::try_from(host.clone()).map_err(|_| Failure::refusal(format!("\"{host}\" is not the name of a server.")))?;
        let connector = TlsConnector::from(Arc::new(config));
        let shaken = timeout(CONNECT.saturating_sub(began.elapsed()), connector.connect(name, stream)).await;
        let stream = shaken.map_err(late)?.map_err(|error| Failure::new(format!("TLS with {url} failed: {error}.")))?;
        let exporter = stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None);
        let binding = exporter.map_or(Binding::Nothing, Binding::Exporter);
        self.over(stream, &binding, mine, began, serve).await
    }

    /// What this host has kept of its enrolment.
    fn identity(&self) -> Result<Identity, Failure> {
        let mine = Identity::read(&self.dir()).map_err(|error| Failure::refusal(error.to_string()))?;
        let url = &self.to.url;
        let how = format!("run `tagalong agent token {}` on the control plane and `tagalong agent enrol` here", self.to.name);
        let mine = mine.filter(|mine| mine.control.is_some());
        let mine = mine.ok_or_else(|| Failure::refusal(format!("This host is not enrolled at {url}: {how}.")))?;
        match &mine.name {
            Some(name) if *name == self.to.name => Ok(mine),
            other => {
                let other = other.as_ref().map_or("another", |other| other.as_str());
                Err(Failure::refusal(format!(
                    "This host is enrolled as {other}, but [agent] has the name {}: correct it, or {how}.",
                    self.to.name
                )))
            }
        }
    }

    /// Opens the line over `stream` and carries it until it ends.
    async fn over<S, F>(
        &self,
        stream: S,
        binding: &Binding,
        mine: Identity,
        began: Instant,
        serve: &impl Fn(AgentLine) -> F,
    ) -> Result<(Duration, String), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        F: Future<Output = ()>,
    {
        let url = &self.to.url;
        let key = mine.keys.public().clone();
        let opening = Opening { name: self.to.name.clone(), machine: machine_id(), life: self.life.clone(), nonce: nonce(), key };
        let request = request(url, &opening.header(&mine.keys)).ok_or_else(|| Failure::refusal(format!("{url} cannot be called.")))?;
        let opened = timeout(CONNECT.saturating_sub(began.elapsed()), Socket::open(request, stream)).await;
        let opened = opened.map_err(|_| Failure::new(format!("{url} did not answer within {} s.", CONNECT.as_secs())))?;
        let mut socket = opened.map_err(|error| refused(url, error))?;
        present(&mut socket, &opening, &mine, binding)
            .await
            .map_err(|why| Failure::new(format!("The line to {url} was not opened: {why}.")))?;
        self.take_next(mine);
        let since_ms = clock::now_ms();
        self.tell(Ok(since_ms));
        tracing::info!(%url, "the control plane is connected");
        let since = Instant::now();
        let (near, far) = ends();
        let (parted, ()) = tokio::join!(socket.carry(far, std::future::pending()), serve(near));
        Ok((since.elapsed(), parted.to_string()))
    }

    /// The control plane knows the next key now, so it takes the place of the one before.
    fn take_next(&self, mine: Identity) {
        let Identity { name, next: Some(next), control, .. } = mine else { return };
        let renewed = Identity { name, keys: next, next: None, control };
        if let Err(error) = renewed.write(&self.dir()) {
            tracing::warn!(%error, "the new key of this agent could not be kept; the one before stays");
        }
    }
}

/// A part of `whole`, a different one each time.
fn scattered(whole: Duration) -> Duration {
    whole.mul_f64(f64::from(u16::from_le_bytes(clock::random_bytes())) / f64::from(u16::MAX))
}

/// How long to wait after so many failures in a row.
fn pause_after(failed: u32, failure: &Failure) -> Duration {
    let pauses = if failure.is_refusal { REFUSED_PAUSES } else { PAUSES };
    let pause = if failed == 1 && !failure.is_refusal { scattered(SCATTER) } else { pauses.after(failed) };
    let asked = failure.retry_after.unwrap_or_default().min(MOST_RETRY_AFTER);
    // Never sooner than was asked for, and not all at the same moment.
    if asked > pause { asked + spread(asked) / 4 } else { pause }
}

/// The call that opens a line.
fn request(url: &Url, opening: &str) -> Option<Request> {
    let mut to = url.clone();
    to.path_segments_mut().ok()?.pop_if_empty().extend(PATH.split('/'));
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    let address = to.as_str().replacen(url.scheme(), scheme, 1);
    let mut request = address.into_client_request().ok()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    request.headers_mut().insert(OPENING_HEADER, HeaderValue::from_str(opening).ok()?);
    Some(request)
}

/// What the server answered instead of opening a line.
fn refused(url: &Url, error: WsError) -> Failure {
    let WsError::Http(answer) = error else { return Failure::new(format!("{url} did not open a WebSocket: {error}.")) };
    let status = answer.status().as_u16();
    let said = answer.body().as_deref().and_then(|body| serde_json::from_slice::<api::Problem>(body).ok()).map(|problem| problem.detail);
    let why = match (status, said) {
        (401, _) => format!(
            "{url} does not accept the key of this agent: it was revoked there, or the control plane is another one or lost its database; enrol it again \
             with a code of `tagalong agent token`, or, where the database was lost, run `tagalong agent readmit` there."
        ),
        (_, Some(said)) => format!("{url} refused: {said}"),
        (404, None) => format!("{url} has no place for agents; is it a tagalong, and a version that has them?"),
        (_, None) => format!("{url} answered {status}."),
    };
    let mut failure = if matches!(status, 400..=499) && !matches!(status, 408 | 429) { Failure::refusal(why) } else { Failure::new(why) };
    failure.retry_after = asked_pause(answer.headers());
    failure
}

fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    retry_after(headers.get("retry-after")?.to_str().ok()?)
}

/// Trusts the host's own roots and those in `ca_file`.
fn tls_config(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, Failure> {
    let roots = match ca_file {
        None => Vec::new(),
        Some(file) => {
            let wrong = |why: String| Failure::refusal(format!("The file {} in agent.ca_file cannot be used: {why}.", file.display()));
            let read = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
            read.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(error.to_string()))?
        }
    };
    let fault = |error: rustls::Error| Failure::new(format!("TLS could not be set up: {error}; install the host's root certificates."));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider)).map_err(fault)?;
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(fault)?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use url::Url;

    use super::Failure;
    use super::SCATTER;
    use super::pause_after;
    use super::refused;
    use super::request;
    use super::scattered;
    use tokio_tungstenite::tungstenite::Error as WsError;
    use tokio_tungstenite::tungstenite::http::Response;

    fn url() -> Url {
        Url::parse("https://control.example.com/tagalong/").unwrap()
    }

    fn answered(status: u16, retry_after: Option<&str>) -> Failure {
        let mut answer = Response::builder().status(status);
        if let Some(retry_after) = retry_after {
            answer = answer.header("retry-after", retry_after);
        }
        refused(&url(), WsError::Http(Box::new(answer.body(None).unwrap())))
    }

    /// How many attempts an hour has in which each fails so; time passes only here.
    fn attempts_of_an_hour(failure: &Failure) -> u32 {
        let hour = Duration::from_hours(1);
        let mut passed = scattered(SCATTER);
        let mut failed = 0;
        while passed < hour {
            failed += 1;
            passed += pause_after(failed, failure);
        }
        failed
    }

    #[test]
    fn a_refused_hour_has_few_attempts() {
        // 5, 10, 20, 40, 80, 160 s and then every five minutes, each a quarter off at most.
        for status in [401, 403] {
            let attempts = attempts_of_an_hour(&answered(status, None));
            assert!((13..=24).contains(&attempts), "{status}: {attempts}");
        }
        // Nothing that a person has to change: about one a minute.
        for failure in [answered(500, None), answered(429, None), Failure::new("cannot be reached")] {
            let attempts = attempts_of_an_hour(&failure);
            assert!((50..=90).contains(&attempts), "{failure:?}: {attempts}");
        }
    }

    #[test]
    fn nobody_is_called_sooner_than_they_asked_for() {
        let busy = answered(503, Some("600"));
        assert!((1..50).all(|failed| pause_after(failed, &busy) >= Duration::from_mins(10)));
        assert!((4..=6).contains(&attempts_of_an_hour(&busy)));
        // But nobody is forgotten.
        assert!(pause_after(1, &answered(503, Some("99999999999"))) <= Duration::from_hours(2));
    }

    #[test]
    fn the_first_attempts_of_many_are_spread() {
        let pauses: Vec<Duration> = (0..300).map(|_| pause_after(1, &Failure::new("gone"))).collect();
        let early = pauses.iter().filter(|pause| **pause < SCATTER / 2).count();
        assert!((90..=210).contains(&early) && pauses.iter().all(|pause| *pause <= SCATTER), "{early}");
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        assert!(answered(401, None).why.contains("tagalong agent token"), "{:?}", answered(401, None));
        assert!(answered(404, None).why.contains("has no place for agents"));
        let call = request(&url(), "opening").unwrap();
        assert_eq!(call.uri().to_string(), "wss://control.example.com/tagalong/ws/agent");
    }
}
