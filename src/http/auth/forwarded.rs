//! What proxies say about the caller behind them: `X-Forwarded-For` and `X-Forwarded-Proto`, or `Forwarded`
//! ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)). One kind is believed, the one that the proxy in front is known to write.
//! The other kind is passed over whatever it says: proxies pass it on as the client sent it.
//!
//! Each hop was written by the one to its right, so the list is read from the right, and as long as its writer is trusted. What
//! cannot be read ends it: the caller is then counted as the last trusted hop, and is not believed to have come over https.

use std::net::IpAddr;

use actix_web::http::header::FORWARDED;
use actix_web::http::header::HeaderMap;
use actix_web::http::header::HeaderName;
use actix_web::http::header::X_FORWARDED_FOR;
use actix_web::http::header::X_FORWARDED_PROTO;
use ipnet::IpNet;

use crate::config::ForwardedHeaders;

/// Words that stand in the names of headers which only proxies add: what they forward and for whom, and who they are themselves.
/// There is no list of all such headers, so it is their words that are known: `X-Forwarded`, `Forwarded-For`, `X_FORWARDED_FOR`,
/// `CF-Ray`, `CDN-Loop`, `X-Envoy-External-Address`, `X-Amzn-Trace-Id`, `Front-End-Https`, `X-Original-URI` …
#[rustfmt::skip]
const WORDS: &[&str] = &[
    // what is told of the caller and of the call
    "forwarded", "forward", "forwarder", "via", "hop", "hops", "ip", "ips", "addr", "address", "clientip", "realip", "remoteip",
    "sourceip", "userip", "original", "originating", "remote", "rewrite", "scheme", "proto", "protocol", "https", "ssl", "tls", "loop",
    // who tells it
    "proxy", "proxied", "proxyuser", "gateway", "ingress", "upstream", "frontend", "front", "edge", "surrogate", "balancer", "lb",
    "cdn", "cf", "cloudflare", "cloudfront", "akamai", "fastly", "envoy", "istio", "amzn", "azure", "arr", "appengine", "cloud",
    "varnish", "squid", "haproxy", "nginx", "traefik", "waf",
];

/// What the trusted proxies say about the caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The first address from the right that is not trusted; where it is hidden or not readable, the trusted hop that wrote it.
    pub(super) client: IpAddr,
    /// Whether that caller came over https.
    pub(super) is_https: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Address(IpAddr),
    /// `unknown`, or a word of the proxy's own (`_hidden`): the proxy hides the address on purpose.
    Hidden,
    Unreadable,
}

/// The first header of `headers` that a proxy writes.
pub(super) fn any_header(headers: &HeaderMap) -> Option<&str> {
    headers.keys().map(HeaderName::as_str).find(|name| is_proxys(name))
}

/// Names come in lower case; some proxies write `_` where others write `-`. What a WebSocket speaks is its client's word.
fn is_proxys(name: &str) -> bool {
    name != "sec-websocket-protocol" && name.split(['-', '_', '.']).any(|word| WORDS.contains(&word))
}

/// What `headers`, sent by the trusted `proxy`, say of the caller.
pub(super) fn claim(headers: &HeaderMap, kind: ForwardedHeaders, proxy: IpAddr, trusted: &[IpNet]) -> Claim {
    let hops = match kind {
        ForwardedHeaders::XForwarded => x_forwarded(headers),
        ForwardedHeaders::Standard => standard(headers),
    };
    let mut nearest = Claim { client: proxy, is_https: false };
    for (node, is_https) in hops.into_iter().rev() {
        match node {
            Node::Address(client) if trusted.iter().any(|net| net.contains(&client)) => nearest = Claim { client, is_https },
            Node::Address(client) => return Claim { client, is_https },
            Node::Hidden => return Claim { is_https, ..nearest },
            Node::Unreadable => return Claim { is_https: false, ..nearest },
        }
    }
    nearest
}

/// The entries of a header's lines in order; a line that is no text is one entry that nobody can read.
fn entries<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h str> {
    let lines = headers.get_all(name).map(|value| value.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.split(',')).map(str::trim).collect()
}

/// One `X-Forwarded-Proto` is the word of the proxy in front. Several belong to the hops one by one; where their numbers differ,
/// nobody can say whose is whose, so none counts.
fn x_forwarded(headers: &HeaderMap) -> Vec<(Node, bool)> {
    let hops = entries(headers, &X_FORWARDED_FOR);
    let protos = entries(headers, &X_FORWARDED_PROTO);
    let is_https = |at: usize| match protos.as_slice() {
        [one] => one.eq_ignore_ascii_case("https"),
        several => several.len() == hops.len() && several[at].eq_ignore_ascii_case("https"),
    };
    hops.iter().enumerate().map(|(at, hop)| (node(hop), is_https(at))).collect()
}

fn standard(headers: &HeaderMap) -> Vec<(Node, bool)> {
    let unreadable = (Node::Unreadable, false);
    let lines = headers.get_all(FORWARDED).map(|value| value.to_str().unwrap_or("?"));
    lines.flat_map(|line| split(line, ',').map_or_else(|| vec![unreadable], |all| all.into_iter().map(element).collect())).collect()
}

/// The parts of `text` between `by`, as far as it does not stand in quotes; none when a quote is not closed. A client that opens a
/// quote thus spoils its own line, and cannot swallow what the proxy appends.
fn split(text: &str, by: char) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if is_quoted && c == '\\' {
            is_escaped = true;
        } else if c == '"' {
            is_quoted = !is_quoted;
        } else if c == by && !is_quoted {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    (!is_quoted).then_some(parts)
}

fn element(text: &str) -> (Node, bool) {
    let unreadable = (Node::Unreadable, false);
    let mut from = None;
    let mut proto = None;
    for pair in split(text, ';').unwrap_or_default().into_iter().map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else { return unreadable };
        let (true, Some(value)) = (is_token(name), unquoted(value)) else { return unreadable };
        let slot = match name.to_ascii_lowercase().as_str() {
            "for" => &mut from,
            "proto" => &mut proto,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return unreadable;
        }
    }
    from.map_or(unreadable, |from| (node(&from), proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))))
}

/// The bytes of a token ([RFC 9110, section 5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2)).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A token, or what stands in a quoted string.
fn unquoted(value: &str) -> Option<String> {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        // Addresses with a port stand unquoted in the headers of some proxies.
        return value.bytes().all(|b| b == b':' || is_token(&char::from(b).to_string())).then(|| value.to_owned());
    };
    let mut plain = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(chars.next()?),
            '"' => return None,
            other => plain.push(other),
        }
    }
    Some(plain)
}

/// `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, `unknown` or `_word`; ports may be `_words` too.
fn node(text: &str) -> Node {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return Node::Unreadable };
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return if is_port { six(address) } else { Node::Unreadable };
    }
    if text.matches(':').count() > 1 {
        return six(text);
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    if !port.is_none_or(is_port) {
        return Node::Unreadable;
    }
    if host.eq_ignore_ascii_case("unknown") || is_word(host) {
        return Node::Hidden;
    }
    host.parse().map_or(Node::Unreadable, |four| Node::Address(IpAddr::V4(four)))
}

/// A zone names an interface of the machine that wrote it. Only link-local addresses have one, and those are counted by their
/// /64 in any case, so it is taken off; anywhere else it is nonsense.
fn six(text: &str) -> Node {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    let Ok(six) = address.parse::<std::net::Ipv6Addr>() else { return Node::Unreadable };
    let is_zone = |zone: &str| !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if zone.is_none_or(|zone| six.is_unicast_link_local() && is_zone(zone)) {
        Node::Address(IpAddr::V6(six).to_canonical())
    } else {
        Node::Unreadable
    }
}

fn is_port(text: &str) -> bool {
    is_word(text) || (text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

/// An obfuscated identifier (RFC 7239, section 6.3).
fn is_word(text: &str) -> bool {
    text.strip_prefix('_').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)))
}
