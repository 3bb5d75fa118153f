//! Asks for one address at a time and keeps what came back.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine;
use reqwest::Client;
use reqwest::ClientBuilder;
use reqwest::RequestBuilder;
use reqwest::Version;
use reqwest::dns::Addrs;
use reqwest::dns::Name;
use reqwest::dns::Resolve;
use reqwest::dns::Resolving;
use reqwest::header::ACCEPT;
use reqwest::header::ACCEPT_ENCODING;
use reqwest::header::CACHE_CONTROL;
use reqwest::header::CONTENT_LENGTH;
use reqwest::header::COOKIE;
use reqwest::header::HOST;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderName;
use reqwest::header::HeaderValue;
use reqwest::header::TRANSFER_ENCODING;
use reqwest::header::USER_AGENT;
use tokio::time::Instant;
use url::Origin;
use url::Url;

use crate::catalogue;
use crate::cookies::Cookies;
use crate::fault;
use crate::hosts::Guarded;
use crate::page;
use crate::plan::HttpVersion;
use crate::plan::SmokePlan;
use crate::report::Finding;
use crate::tls;
use crate::tls::Handshakes;
use crate::unpack;
use crate::written;
use crate::written::header_text;
use crate::written::without_credentials;

const VISITOR: &str = concat!("tagalong/", env!("CARGO_PKG_VERSION"), " (smoke check)");
/// Of requests that only ask whether anybody answers, so that logs and counters can tell them apart.
const WATCHER: &str = concat!("tagalong/", env!("CARGO_PKG_VERSION"), " (availability)");

/// What one request brought.
#[derive(Debug)]
pub(super) struct Answer {
    /// The address that was asked.
    pub(super) url: Url,
    /// Its status.
    pub(super) status: u16,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Its body, unpacked, up to the plan's `max_body_bytes`.
    pub(super) body: Vec<u8>,
    /// Whether the body went on.
    pub(super) cut: bool,
    /// What is wrong with how it is packed.
    pub(super) packing: Packing,
    /// Who served it.
    pub(super) server: Option<IpAddr>,
    /// The version of HTTP that it came in.
    pub(super) version: Version,
    /// How long its head took to come, from looking up the name on.
    pub(super) head_after: Duration,
}

impl Answer {
    /// A header's value as text; what is not ASCII is shown as `?`.
    pub(super) fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<String> {
        self.headers.get(name).map(header_text)
    }

    /// The body as text, read as a browser would. One that cannot be unpacked has none.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        if self.is_broken() {
            return None;
        }
        Some(page::decode(&self.body, self.header(reqwest::header::CONTENT_TYPE).as_deref()))
    }

    /// Whether the body cannot be unpacked.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.packing, Packing::Broken(_))
    }
}

/// How well a body is packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packing {
    /// It is not, or as it says.
    Good,
    /// By a word that no browser knows: they take it as it stands.
    Unknown(String),
    /// Not as it says; the words follow "it".
    Broken(String),
}

/// Unpacks a body of an answer with these headers, of which `cut` says that it went on: the content, of at most `most` bytes,
/// and whether that goes on.
pub(super) fn unpacked(headers: &HeaderMap, body: Vec<u8>, cut: bool, most: usize) -> (Vec<u8>, bool, Packing) {
    match unpack::codings(headers) {
        Ok(codings) if codings.is_empty() => (body, cut, Packing::Good),
        Ok(codings) => match unpack::unpack(&codings, &body, !cut, most) {
            Ok(unpacked) => (unpacked.bytes, unpacked.is_cut, Packing::Good),
            Err(why) => (Vec::new(), cut, Packing::Broken(why)),
        },
        Err(word) => (body, cut, Packing::Unknown(word)),
    }
}

/// Whether an answer with this head lasts until its connection ends, and `error` is only that TLS was not told of that end:
/// browsers take it for the end nevertheless.
pub(super) fn is_end(version: Version, headers: &HeaderMap, error: &reqwest::Error) -> bool {
    let lasts = version < Version::HTTP_2 && !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING);
    lasts && fault::is_cut_off(error)
}

/// The client of one check.
pub(super) struct Visitor {
    transport: Transport,
    /// The same, and private addresses are left out.
    guarded: Transport,
    tls: rustls::ClientConfig,
    detour: Option<String>,
    own_address: Url,
    timeout: Duration,
    max_body_bytes: usize,
    first: OnceLock<IpAddr>,
    /// The handshakes that were made.
    pub(super) handshakes: Handshakes,
}

/// How requests get out.
pub(super) struct Transport {
    direct: Client,
    /// For the plan's own origin, when it is reached somewhere else.
    via: Option<Client>,
    /// Headers for the plan's own origin alone: they may be secret.
    own_headers: HeaderMap,
    own_origin: Origin,
}

impl Visitor {
    /// Sets up TLS and headers; nothing is asked yet.
    pub(super) async fn new(plan: &SmokePlan) -> Result<Self, Box<Finding>> {
        if plan.connect_to.is_some() && plan.url.port().is_some() && plan.demands.http_version == Some(HttpVersion::Two) {
            let message = "With connect_to and a port in the address, only HTTP/1.1 is possible, but the plan requires HTTP/2.";
            let mut finding = setup(message.to_owned());
            "Move the port from the address to connect_to, or remove http_version.".clone_into(&mut finding.fix);
            return Err(finding);
        }
        let handshakes = Handshakes::default();
        let tls = tls::client_config(plan.ca_file.as_deref(), handshakes.clone()).await?;
        // Every look makes its own handshake, so that a new certificate is seen.
        let fresh = |builder: ClientBuilder| builder.pool_max_idle_per_host(0);
        let guarded = |builder: ClientBuilder| fresh(builder).dns_resolver(Guarded);
        let own = own_headers(plan)?;
        let detour = plan.connect_to.as_deref();
        Ok(Self {
            transport: Transport::new(&plan.url, &tls, detour, own.clone(), fresh)?,
            guarded: Transport::new(&plan.url, &tls, detour, own, guarded)?,
            tls,
            detour: plan.connect_to.clone(),
            own_address: plan.url.clone(),
            timeout: plan.timeout,
            max_body_bytes: plan.max_body_bytes,
            first: OnceLock::new(),
            handshakes,
        })
    }

    /// A way out for many requests: `change` says how its connections are kept and how names are resolved.
    pub(super) fn lasting(&self, change: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Transport, Box<Finding>> {
        Transport::new(&self.own_address, &self.tls, self.detour.as_deref(), self.transport.own_headers.clone(), change)
    }

    /// The address of the server that was asked first in this check; none: nobody answered yet. A name may lead elsewhere by
    /// the next look, so it is not the first of a look.
    pub(super) fn first(&self) -> Option<IpAddr> {
        self.first.get().copied()
    }

    /// Asks for `url` without following redirects, wherever its name leads.
    pub(super) async fn get(&self, url: &Url, cookies: &Cookies) -> Result<Answer, Box<Finding>> {
        self.by(&self.transport, url, cookies).await
    }

    /// The same, and no private address is asked but the plan's own `connect_to`.
    pub(super) async fn get_from_afar(&self, url: &Url, cookies: &Cookies) -> Result<Answer, Box<Finding>> {
        self.by(&self.guarded, url, cookies).await
    }

    /// The status of the answer to a request for `url`, whose body is not read; none: there is no answer.
    pub(super) async fn status(&self, url: &Url) -> Option<u16> {
        let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(WATCHER))]);
        let answer = self.transport.request(url, headers).send().await.ok()?;
        Some(answer.status().as_u16())
    }

    async fn by(&self, transport: &Transport, url: &Url, cookies: &Cookies) -> Result<Answer, Box<Finding>> {
        match tokio::time::timeout(self.timeout, self.ask(transport, url, cookies)).await {
            Ok(Ok(answer)) => {
                if let Some(server) = answer.server {
                    self.first.get_or_init(|| server);
                }
                Ok(answer)
            }
            Ok(Err(error)) if self.is_detoured(url) => Err(Box::new(fault::on_the_detour(url, self.detour.as_deref(), &error))),
            Ok(Err(error)) => Err(Box::new(fault::finding(url, &error))),
            Err(_) => {
                let place = written::origin_text(url);
                Err(Box::new(catalogue::TIMEOUT.finding(format!("{place} did not answer in {} ms.", self.timeout.as_millis()))))
            }
        }
    }

    fn is_detoured(&self, url: &Url) -> bool {
        self.detour.is_some() && url.origin() == self.own_address.origin()
    }

    async fn ask(&self, transport: &Transport, url: &Url, cookies: &Cookies) -> Result<Answer, reqwest::Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Some(line) = cookies.header(url) {
            headers.insert(COOKIE, line);
        }
        let asked = Instant::now();
        let mut response = transport.request(url, headers).send().await?;
        let head_after = asked.elapsed();
        // Without the copies that a body makes as it grows; what is announced and does not come takes no memory.
        let announced = response.content_length().unwrap_or_default().min(self.max_body_bytes as u64);
        let mut body = Vec::with_capacity(announced as usize);
        let mut cut = false;
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Err(error) if !is_end(response.version(), response.headers(), &error) => return Err(error),
                Ok(None) | Err(_) => break,
            };
            let room = self.max_body_bytes.saturating_sub(body.len());
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                cut = true;
                break;
            }
        }
        let server = response.remote_addr().map(|address| address.ip());
        let status = response.status().as_u16();
        let version = response.version();
        let headers = response.headers().clone();
        let (body, cut, packing) = unpacked(&headers, body, cut, self.max_body_bytes);
        Ok(Answer { url: url.clone(), status, headers, body, cut, packing, server, version, head_after })
    }
}

impl Transport {
    fn new(
        own: &Url,
        tls: &rustls::ClientConfig,
        detour: Option<&str>,
        own_headers: HeaderMap,
        change: impl Fn(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self, Box<Finding>> {
        let via = match detour {
            Some(to) => Some(build(via(own, to, tls.clone(), &change)?)?),
            None => None,
        };
        Ok(Self { direct: build(change(plain_client(tls.clone())))?, via, own_headers, own_origin: own.origin() })
    }

    /// A request for `url`. Redirects are not followed; the plan's own headers go to the plan's own origin alone.
    pub(super) fn request(&self, url: &Url, mut headers: HeaderMap) -> RequestBuilder {
        let own = url.origin() == self.own_origin;
        let mut target = without_credentials(url);
        let client = match &self.via {
            Some(via) if own => {
                if url.port().is_some() {
                    // A port in the address would win over the one of connect_to: it stays in Host only.
                    if let Ok(host) = HeaderValue::from_str(&authority(url)) {
                        headers.insert(HOST, host);
                    }
                    let _ = target.set_port(None);
                }
                via
            }
            _ => &self.direct,
        };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if own {
            headers.extend(self.own_headers.clone());
        }
        client.get(target).headers(headers)
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn plain_client(tls: rustls::ClientConfig) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .user_agent(VISITOR)
}

/// A client that connects to `to`, whatever the name.
fn via(
    own: &Url,
    to: &str,
    mut tls: rustls::ClientConfig,
    change: impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<ClientBuilder, Box<Finding>> {
    if own.domain().is_none() {
        return Err(setup("connect_to works only with a host name in the address; this address has an IP address.".to_owned()));
    }
    let builder = if own.port().is_some() {
        // With HTTP/2 the port would go astray: it is taken from the address of the connection there.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        plain_client(tls).http1_only()
    } else {
        plain_client(tls)
    };
    Ok(change(builder).dns_resolver(Detour(to.to_owned())))
}

/// Resolves every name to one place.
struct Detour(String);

impl Resolve for Detour {
    fn resolve(&self, _name: Name) -> Resolving {
        let to = self.0.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host(to).await?.collect();
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

fn build(builder: ClientBuilder) -> Result<Client, Box<Finding>> {
    builder.build().map_err(|error| setup(format!("The HTTP client could not be set up: {error}.")))
}

fn own_headers(plan: &SmokePlan) -> Result<HeaderMap, Box<Finding>> {
    let mut headers = HeaderMap::new();
    if let Some((user, password)) = basic_auth(plan) {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        if let Ok(mut value) = HeaderValue::from_str(&format!("Basic {pair}")) {
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
    }
    for (name, value) in &plan.headers {
        let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.reveal()));
        let (Ok(header), Ok(mut value)) = parsed else {
            return Err(setup(format!("The header {} of the plan has a name or a value that HTTP does not allow.", name.escape_debug())));
        };
        value.set_sensitive(true);
        headers.append(header, value);
    }
    Ok(headers)
}

fn basic_auth(plan: &SmokePlan) -> Option<(String, String)> {
    if let Some((user, password)) = &plan.basic_auth {
        return Some((user.clone(), password.reveal().to_owned()));
    }
    let decode = |text: &str| String::from_utf8_lossy(&page::percent_decode(text)).into_owned();
    let has_some = !plan.url.username().is_empty() || plan.url.password().is_some();
    has_some.then(|| (decode(plan.url.username()), decode(plan.url.password().unwrap_or_default())))
}

fn setup(message: String) -> Box<Finding> {
    Box::new(catalogue::SETUP.finding(message))
}
