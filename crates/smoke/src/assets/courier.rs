//! Fetches one asset, hop by hop, as a browser would.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Response;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use reqwest::header::ACCESS_CONTROL_ALLOW_CREDENTIALS;
use reqwest::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use reqwest::header::CONTENT_ENCODING;
use reqwest::header::CONTENT_TYPE;
use reqwest::header::COOKIE;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderName;
use reqwest::header::HeaderValue;
use reqwest::header::LOCATION;
use reqwest::header::ORIGIN;
use reqwest::header::REFERER;
use reqwest::header::RETRY_AFTER;
use reqwest::header::X_CONTENT_TYPE_OPTIONS;
use tokio::time::Instant;
use url::Url;

use crate::assets::Flaw;
use crate::assets::Wanted;
use crate::catalogue;
use crate::client::Packing;
use crate::client::Transport;
use crate::client::is_end;
use crate::client::unpacked;
use crate::cookies::Cookies;
use crate::fault;
use crate::hosts::Hosts;
use crate::page::AssetKind;
use crate::page::Cors;
use crate::place::Place;
use crate::written::header_text;
use crate::written::without_credentials;

/// As many as the Fetch Standard allows (HTTP-redirect fetch, step 7).
const MOST_HOPS: usize = 20;
/// What the bytes are shows in so many.
const HEAD_BYTES: usize = 1024;
/// So much is read of what nobody looks into, to keep the connection; a longer rest costs more than a new one.
const DRAINED_BYTES: u64 = 1 << 20;
/// This long is read of what may never end.
const STREAM_LOOK: Duration = Duration::from_secs(1);
/// How often a host that says it is asked too much is asked again.
const MOST_WAITS: u32 = 2;
/// How long it is waited at most before that.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The response for an asset.
#[derive(Debug)]
pub(crate) struct Got {
    /// Where the redirects ended.
    pub(crate) url: Url,
    /// The last answer's status.
    pub(crate) status: u16,
    /// The type of its content without parameters, in lower case; empty: none was sent.
    pub(crate) essence: String,
    /// The type as it was sent.
    pub(crate) content_type: Option<String>,
    /// Whether browsers may not guess another type (`X-Content-Type-Options: nosniff`).
    pub(crate) is_nosniff: bool,
    /// The first bytes of the content, or all of it where that was asked for.
    pub(crate) body: Vec<u8>,
    /// How many bytes came.
    pub(crate) bytes: u64,
    /// Whether `body` is all of it.
    pub(crate) is_whole: bool,
    /// What is wrong with how it is packed.
    pub(crate) packing: Packing,
    /// The last answer's headers.
    pub(crate) headers: HeaderMap,
    /// Whether it came from another origin than the page's.
    pub(crate) is_foreign: bool,
    /// The origin that was told to the other one, and what it answered instead of allowing it.
    pub(crate) refused: Option<(String, String)>,
    /// The http address to which an image or a medium was redirected and that a browser asks for over https.
    pub(crate) upgraded: Option<Url>,
    /// Whether the host said that it was asked too much.
    pub(crate) was_slowed: bool,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum Missed {
    /// It is a fault.
    Flawed(Flaw),
    /// A redirect leads to a host that may not be asked.
    Elsewhere(Url),
}

/// Brings assets of one page.
#[derive(Clone)]
pub(super) struct Courier {
    /// How requests get out.
    pub(super) transport: Arc<Transport>,
    /// What was set on the way to the page.
    pub(super) cookies: Cookies,
    /// Who may be asked.
    pub(super) hosts: Hosts,
    /// The page.
    pub(super) page: Url,
    /// How long one asset may take.
    pub(super) timeout: Duration,
    /// How much of one is read.
    pub(super) max_bytes: usize,
}

/// Where a request stands between its hops.
struct Trip {
    url: Url,
    seen: Vec<Url>,
    is_foreign: bool,
    /// A redirect from one foreign origin to another: the page's own is not told any more.
    is_tainted: bool,
    refused: Option<(String, String)>,
    upgraded: Option<Url>,
}

impl Courier {
    /// Asks for `wanted`, again when the host asks for patience.
    pub(super) async fn bring(&self, wanted: &Wanted) -> Result<Got, Missed> {
        let mut waits = 0;
        loop {
            let flawed = |flaw| Err(Missed::Flawed(flaw));
            let Ok(brought) = tokio::time::timeout(self.timeout, self.travel(wanted)).await else {
                return flawed(Flaw::of(&catalogue::ASSET_UNREACHABLE, format!("did not arrive within {} ms", self.timeout.as_millis())));
            };
            let (mut got, wait) = brought?;
            let Some(wait) = wait.filter(|_| waits < MOST_WAITS) else {
                got.was_slowed |= waits > 0;
                return Ok(got);
            };
            tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
            waits += 1;
        }
    }

    /// One try, and how long to wait before another where the host asks for that.
    async fn travel(&self, wanted: &Wanted) -> Result<(Got, Option<Duration>), Missed> {
        let mut trip =
            Trip { url: wanted.url.clone(), seen: Vec::new(), is_foreign: false, is_tainted: false, refused: None, upgraded: None };
        loop {
            trip.is_foreign |= trip.url.origin() != self.page.origin();
            let response = self.ask(wanted, &trip).await?;
            if let Some(cors) = wanted.cors.filter(|_| trip.is_foreign)
                && trip.refused.is_none()
            {
                trip.refused = refusal(response.headers(), &self.origin(&trip), cors);
            }
            match location(&response) {
                Some(location) => self.turn(wanted, &mut trip, &location)?,
                None => return self.receive(wanted, trip, response).await,
            }
        }
    }

    async fn ask(&self, wanted: &Wanted, trip: &Trip) -> Result<Response, Missed> {
        let send = || self.transport.request(&trip.url, self.headers(wanted, trip)).send();
        let answered = match send().await {
            // A kept connection may be closed by the other side just when we use it.
            Err(error) if !error.is_connect() && !error.is_timeout() => send().await,
            answered => answered,
        };
        answered.map_err(|error| {
            Missed::Flawed(Flaw::of(&catalogue::ASSET_UNREACHABLE, format!("failed to load: {}", fault::clause(&trip.url, &error))))
        })
    }

    fn headers(&self, wanted: &Wanted, trip: &Trip) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let accept = match wanted.kind {
            AssetKind::Style => "text/css,*/*;q=0.1",
            AssetKind::Image => "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
            AssetKind::Frame => "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            _ => "*/*",
        };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let mut put = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        // What browsers tell by default (Referrer Policy: strict-origin-when-cross-origin).
        let mut referrer = without_credentials(&self.page);
        referrer.set_fragment(None);
        if trip.url.origin() == self.page.origin() {
            put(REFERER, referrer.as_str());
        } else if self.page.scheme() == "http" || trip.url.scheme() == "https" {
            put(REFERER, &format!("{}/", self.page.origin().ascii_serialization()));
        }
        if wanted.cors.is_some() && trip.is_foreign {
            put(ORIGIN, &self.origin(trip));
        }
        // Without credentials nothing goes to another origin (Fetch Standard, credentials mode "same-origin").
        let is_anonymous = trip.is_foreign && wanted.cors == Some(Cors::Anonymous);
        if let Some(line) = self.cookies.header(&trip.url).filter(|_| !is_anonymous) {
            headers.insert(COOKIE, line);
        }
        headers
    }

    fn origin(&self, trip: &Trip) -> String {
        if trip.is_tainted { "null".to_owned() } else { self.page.origin().ascii_serialization() }
    }

    /// Goes on to where a redirect leads.
    fn turn(&self, wanted: &Wanted, trip: &mut Trip, location: &str) -> Result<(), Missed> {
        let flawed = |says: String| Err(Missed::Flawed(Flaw::of(&catalogue::ASSET_REDIRECT, says)));
        let mut next = match trip.url.join(location) {
            Ok(next) if matches!(next.scheme(), "http" | "https") && next.host().is_some() => without_credentials(&next),
            _ => return flawed(format!("is redirected to \"{}\", which is not a web address", crate::redirect::excerpt(location))),
        };
        next.set_fragment(None);
        if self.page.scheme() == "https" && next.scheme() == "http" && Place::of(&next) != Place::Loopback {
            let is_upgraded = wanted.is_rescued || (wanted.kind.is_upgraded() && Place::of(&next) == Place::Name);
            if !is_upgraded {
                return flawed(format!("is redirected from https to http: {next}"));
            }
            trip.upgraded = trip.upgraded.take().or_else(|| (!wanted.is_rescued).then(|| next.clone()));
            let _ = next.set_scheme("https");
        }
        if trip.seen.len() >= MOST_HOPS {
            return flawed(format!("is redirected more than {MOST_HOPS} times"));
        }
        if next == trip.url || trip.seen.contains(&next) {
            return flawed(format!("is redirected in a loop, back to {next}"));
        }
        if !self.hosts.allows(&next) {
            return Err(Missed::Elsewhere(next));
        }
        trip.is_tainted |= trip.is_foreign && next.origin() != trip.url.origin() && trip.url.origin() != self.page.origin();
        let before = std::mem::replace(&mut trip.url, next);
        trip.seen.push(before);
        Ok(())
    }

    async fn receive(&self, wanted: &Wanted, trip: Trip, mut response: Response) -> Result<(Got, Option<Duration>), Missed> {
        let headers = response.headers();
        let content_type = headers.get(CONTENT_TYPE).map(header_text);
        let essence = essence(content_type.as_deref().unwrap_or_default());
        let is_nosniff = headers
            .get(X_CONTENT_TYPE_OPTIONS)
            .is_some_and(|value| header_text(value).split(',').next().is_some_and(|first| first.trim().eq_ignore_ascii_case("nosniff")));
        let version = response.version();
        let headers = headers.clone();
        let is_packed = headers.contains_key(CONTENT_ENCODING);
        let wait = patience(&response);
        let mut got = Got {
            status: response.status().as_u16(),
            essence,
            content_type,
            is_nosniff,
            body: Vec::new(),
            bytes: 0,
            is_whole: false,
            packing: Packing::Good,
            headers: headers.clone(),
            is_foreign: trip.is_foreign,
            refused: trip.refused,
            upgraded: trip.upgraded,
            was_slowed: wait.is_some(),
            url: trip.url,
        };
        let room = if wanted.is_read_whole() || is_packed { self.max_bytes } else { HEAD_BYTES };
        let drained = (room as u64).max(DRAINED_BYTES);
        let is_long = response.content_length().is_some_and(|length| length > drained);
        let looked_at = Instant::now() + STREAM_LOOK;
        let is_stream = may_stream(wanted, &got.essence);
        loop {
            let next = response.chunk();
            let chunk = if is_stream && got.bytes > 0 {
                let Ok(chunk) = tokio::time::timeout_at(looked_at, next).await else { return Ok((got, wait)) };
                chunk
            } else {
                next.await
            };
            let chunk = match chunk {
                Ok(Some(chunk)) => chunk,
                Err(error) if !is_end(version, &headers, &error) => {
                    let why = fault::clause(&got.url, &error);
                    let says = format!("breaks off after {} bytes: {why}", got.bytes);
                    return Err(Missed::Flawed(Flaw::of(&catalogue::ASSET_UNREACHABLE, says)));
                }
                Ok(None) | Err(_) => break,
            };
            let left = room.saturating_sub(got.body.len()).min(chunk.len());
            got.body.extend_from_slice(&chunk[..left]);
            got.bytes += chunk.len() as u64;
            if got.bytes > drained || (is_long && got.body.len() >= room) {
                return Ok((got.unpacked(&headers, self.max_bytes), wait));
            }
        }
        got.is_whole = got.body.len() as u64 == got.bytes;
        Ok((got.unpacked(&headers, self.max_bytes), wait))
    }
}

impl Got {
    /// With its content instead of what it came packed in.
    fn unpacked(mut self, headers: &HeaderMap, most: usize) -> Self {
        let packed = self.body.len();
        let (body, is_cut, packing) = unpacked(headers, std::mem::take(&mut self.body), !self.is_whole, most);
        if packing == Packing::Good && headers.contains_key(CONTENT_ENCODING) && packed as u64 == self.bytes {
            self.bytes = body.len() as u64;
        }
        self.body = body;
        self.is_whole = !is_cut;
        self.packing = packing;
        self
    }
}

/// Whether it may go on for as long as somebody listens: radio, a camera's pictures, a page that is written bit by bit.
fn may_stream(wanted: &Wanted, essence: &str) -> bool {
    matches!(wanted.kind, AssetKind::Media | AssetKind::Frame | AssetKind::Object) || essence == "multipart/x-mixed-replace"
}

/// The type without parameters, in lower case. What is no type at all, and `*/*`, Chromium takes as if none were sent.
fn essence(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence.contains('/') && essence != "*/*" { essence } else { String::new() }
}

/// Where the answer sends anybody who asks.
fn location(response: &Response) -> Option<String> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    response.headers().get(LOCATION).filter(|_| redirects).map(header_text)
}

/// How long the host wants to be left alone, when it says that it is asked too much.
fn patience(response: &Response) -> Option<Duration> {
    let after = response.headers().get(RETRY_AFTER).map(header_text);
    let seconds = after.as_deref().and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => Some(seconds.unwrap_or(Duration::from_secs(1))),
        StatusCode::SERVICE_UNAVAILABLE => seconds,
        _ => None,
    }
}

/// What `headers` say instead of letting `origin` read the answer (Fetch Standard, CORS check).
fn refusal(headers: &HeaderMap, origin: &str, cors: Cors) -> Option<(String, String)> {
    let value = |name: HeaderName| headers.get_all(name).iter().map(header_text).collect::<Vec<_>>().join(", ");
    let allowed = value(ACCESS_CONTROL_ALLOW_ORIGIN);
    let may = match cors {
        Cors::Anonymous => allowed == "*" || allowed == origin,
        Cors::Credentials => allowed == origin && value(ACCESS_CONTROL_ALLOW_CREDENTIALS) == "true",
    };
    (!may).then(|| (origin.to_owned(), allowed))
}
