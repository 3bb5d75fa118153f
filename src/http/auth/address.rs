//! Where a call comes from. Forwarded headers count only if a trusted proxy sends them.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::Version;
use actix_web::http::header::HOST;
use actix_web::http::header::HeaderValue;

use crate::config::Server;
use crate::http::auth::forwarded;
use crate::http::connection::Via;
use crate::http::connection::subscriber;
use crate::http::error::ApiError;
use crate::model::KeyId;
use crate::model::is_in_the_clear;

/// Where a call comes from.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) via: Via,
    /// The caller's own address; none over the unix socket.
    client: Option<IpAddr>,
    is_private: bool,
    is_https: bool,
}

impl Origin {
    /// # Errors
    /// 403 for a call over a unix socket that a proxy passed on: what anybody who opens the socket may do is not what the caller
    /// behind the proxy may.
    pub(super) fn of(request: &HttpRequest, server: &Server) -> Result<Self, ApiError> {
        let via = request.conn_data::<Via>().cloned().unwrap_or(Via::Plain);
        if matches!(via, Via::Socket { .. }) {
            return match forwarded::any_header(request.headers()) {
                Some(name) => Err(ApiError::forbidden(format!(
                    "A call over the unix socket must not contain the header {name}: let the proxy call an address in `listen`, and list \
                    the proxy in trusted_proxies."
                ))),
                None => Ok(Self { via, client: None, is_private: true, is_https: false }),
            };
        }
        let Some(peer) = request.peer_addr().map(|peer| peer.ip().to_canonical()) else {
            return Ok(Self { via, client: None, is_private: false, is_https: false });
        };
        if is_trusted(server, peer) {
            let claim = forwarded::claim(request.headers(), server.forwarded_headers, peer, &server.trusted_proxies);
            return Ok(Self { via, client: Some(claim.client), is_private: claim.is_https, is_https: claim.is_https });
        }
        // A proxy that nobody configured may itself have been called unencrypted.
        let is_private =
            (via == Via::Tls || peer.is_loopback() && is_from_here(request)) && forwarded::any_header(request.headers()).is_none();
        let is_https = via == Via::Tls;
        Ok(Self { via, client: Some(peer), is_private, is_https })
    }

    /// The user on the other end of a unix socket.
    pub(super) fn uid(&self) -> Option<u32> {
        match self.via {
            Via::Socket { uid, .. } => Some(uid),
            Via::Tls | Via::Plain => None,
        }
    }

    /// The id of the further socket in the configuration that the call came over.
    pub(super) fn scoped(&self) -> Option<&KeyId> {
        match &self.via {
            Via::Socket { scoped, .. } => scoped.as_deref(),
            Via::Tls | Via::Plain => None,
        }
    }

    /// Whether the call came over the server's own socket, whose callers may do everything and have nothing to guess.
    pub(super) fn is_operators(&self) -> bool {
        matches!(self.via, Via::Socket { scoped: None, .. })
    }

    /// Whether nobody on the way can read what is sent.
    pub(super) fn is_private(&self) -> bool {
        self.is_private
    }

    /// Whether the caller's browser has opened an https address.
    pub(super) fn is_https(&self) -> bool {
        self.is_https
    }

    /// The caller's own address; none over the unix socket.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.client
    }

    /// The key under which failed attempts are counted: the address, or for IPv6 its /64, which is what one subscriber has; over a
    /// further socket, the socket.
    pub(super) fn limit_key(&self) -> String {
        limit_key(self.client, self.scoped())
    }
}

/// See [`Origin::limit_key`].
pub(super) fn limit_key(client: Option<IpAddr>, socket: Option<&KeyId>) -> String {
    match (client, socket) {
        (Some(client), _) => subscriber(client),
        (None, Some(socket)) => format!("socket {socket}"),
        (None, None) => "socket".to_owned(),
    }
}

/// Whether a call over loopback is from this host as far as can be seen, and not passed on by a proxy that adds no header: those
/// pass on the name that they were called by, or speak HTTP/1.0.
fn is_from_here(request: &HttpRequest) -> bool {
    let names_here = |host: &HeaderValue| {
        let url = host.to_str().ok().and_then(|host| url::Url::parse(&format!("http://{host}")).ok());
        url.is_some_and(|url| !is_in_the_clear(&url))
    };
    request.version() >= Version::HTTP_11 && request.headers().get_all(HOST).all(names_here)
}

/// Whether `peer` is a proxy whose headers are trusted.
pub(in crate::http) fn is_trusted(server: &Server, peer: IpAddr) -> bool {
    server.trusted_proxies.iter().any(|net| net.contains(&peer))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderMap;
    use actix_web::http::header::HeaderName;
    use actix_web::http::header::HeaderValue;
    use actix_web::test::TestRequest;

    use super::Origin;
    use crate::config::Config;
    use crate::config::Server;

    fn server(kind: &str) -> Server {
        let text = format!(
            "version = 1\n[server]\nlog = \"text\"\nlisten = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]\nforwarded_headers = {kind:?}\n"
        );
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("server.toml");
        std::fs::write(&file, text).expect("a file");
        Config::load(&file).expect("a configuration").server
    }

    fn origin(kind: &str, peer: &str, headers: &[(&str, &[u8])]) -> (String, bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).expect("a name"), HeaderValue::from_bytes(value).expect("a value"));
        }
        let mut request = TestRequest::default().peer_addr(peer.parse().expect("an address"));
        for (name, value) in &map {
            request = request.append_header((name.clone(), value.clone()));
        }
        let found = Origin::of(&request.to_http_request(), &server(kind)).expect("no socket");
        (found.limit_key(), found.is_private())
    }

    /// Proxy 10.0.0.2 sends these lists of addresses and protocols.
    fn x_forwarded(addresses: &[&str], protos: &[&str]) -> (String, bool) {
        let addresses = addresses.iter().map(|value| ("x-forwarded-for", value.as_bytes()));
        let all: Vec<_> = addresses.chain(protos.iter().map(|value| ("x-forwarded-proto", value.as_bytes()))).collect();
        origin("x-forwarded", "10.0.0.2:1", &all)
    }

    fn standard(lines: &[&str]) -> (String, bool) {
        let all: Vec<_> = lines.iter().map(|line| ("forwarded", line.as_bytes())).collect();
        origin("forwarded", "10.0.0.2:1", &all)
    }

    #[test]
    fn forwarded_headers_count_only_from_trusted_proxies() {
        let https: (&str, &[u8]) = ("x-forwarded-proto", b"https");
        for (peer, headers, key, private) in [
            ("192.0.2.1:1", vec![("x-forwarded-for", &b"127.0.0.1"[..]), https], "192.0.2.1", false),
            ("10.0.0.2:1", vec![], "10.0.0.2", false),
            ("[::ffff:10.0.0.2]:1", vec![("x-forwarded-for", b"192.0.2.7"), https], "192.0.2.7", true),
            ("[::ffff:192.0.2.3]:1", vec![], "192.0.2.3", false),
            ("127.0.0.1:1", vec![], "127.0.0.1", true),
            ("[::1]:1", vec![], "0:0:0:0::/64", true),
            // A proxy on this host that nobody configured: whatever it says, it may have been called unencrypted.
            ("127.0.0.1:1", vec![https], "127.0.0.1", false),
            ("127.0.0.1:1", vec![("x-forwarded-host", b"x")], "127.0.0.1", false),
            ("127.0.0.1:1", vec![("forwarded", b"proto=https")], "127.0.0.1", false),
            ("127.0.0.1:1", vec![("x-real-ip", b"127.0.0.1")], "127.0.0.1", false),
            ("127.0.0.1:1", vec![("via", b"1.1 squid")], "127.0.0.1", false),
            ("[::1]:1", vec![("x-forwarded-for", b"\xff")], "0:0:0:0::/64", false),
            ("127.0.0.1:1", vec![("host", b"tagalong.example.com")], "127.0.0.1", false),
            ("127.0.0.1:1", vec![("host", b"10.0.0.1:8787")], "127.0.0.1", false),
            ("127.0.0.1:1", vec![("host", b"local host")], "127.0.0.1", false),
            ("127.0.0.1:1", vec![("host", b"localhost"), ("host", b"tagalong.example.com")], "127.0.0.1", false),
            ("127.0.0.1:1", vec![("host", b"127.0.0.1:8787")], "127.0.0.1", true),
            ("[::1]:1", vec![("host", b"[::1]:8787")], "0:0:0:0::/64", true),
            ("127.0.0.1:1", vec![("host", b"localhost:8787")], "127.0.0.1", true),
            // The other kind is passed over, whether it agrees or not.
            ("10.0.0.2:1", vec![("forwarded", b"for=192.0.2.9;proto=https")], "10.0.0.2", false),
            (
                "10.0.0.2:1",
                vec![("x-forwarded-for", b"192.0.2.7"), ("x-forwarded-proto", b"http"), ("forwarded", b"for=1.1.1.1;proto=https")],
                "192.0.2.7",
                false,
            ),
        ] {
            assert_eq!(origin("x-forwarded", peer, &headers), (key.to_owned(), private), "{peer} {headers:?}");
        }
        let both: [(&str, &[u8]); 3] = [("x-forwarded-for", b"1.1.1.1"), https, ("forwarded", b"for=192.0.2.7;proto=http")];
        assert_eq!(origin("forwarded", "10.0.0.2:1", &both), ("192.0.2.7".to_owned(), false));
    }

    /// Of a proxy on this host that nobody configured, every header that only a proxy adds gives it away, and none that callers
    /// send of themselves does.
    #[test]
    fn a_proxy_is_known_by_what_only_proxies_add() {
        let private = |name: &str| origin("x-forwarded", "127.0.0.1:1", &[("host", b"localhost"), (name, b"x")]).1;
        for name in "Forwarded Forwarded-For Forwarded-Proto Via X-Forwarded X-Forwarded-For X_Forwarded_For X-Forwarded-Client-Cert \
            X-Real-IP X_Real_IP X-RealIP X-Client-IP Client-IP Fly-Client-IP True-Client-IP X-Cluster-Client-IP X-Azure-ClientIP \
            X-Originating-IP X-Remote-IP X-Remote-Addr X-ProxyUser-Ip Proxy-Client-IP WL-Proxy-Client-IP WL-Proxy-SSL X-Original-URI \
            X-Original-Forwarded-For X-Original-Host X-Rewrite-URL X-Scheme X-Url-Scheme X-SSL X-Https Front-End-Https \
            SSL-Client-Cert Surrogate-Capability CDN-Loop CF-Ray CF-Visitor CF-IPCountry CF-Connecting-IP Cloudfront-Viewer-Country \
            Akamai-Origin-Hop X-Akamai-Edgescape Fastly-FF X-Varnish X-Envoy-External-Address X-Envoy-Expected-Rq-Timeout-Ms \
            X-Amzn-Trace-Id X-ARR-LOG-ID X-Azure-FDID X-AppEngine-Country X-Cloud-Trace-Context Proxy-Connection"
            .split_whitespace()
        {
            assert!(!private(name), "{name}");
        }
        for name in "User-Agent Accept Accept-Encoding Accept-Language Authorization Cache-Control Connection Content-Type Cookie Origin \
            Expect Referer Idempotency-Key Last-Event-ID Webhook-Id Webhook-Timestamp Webhook-Signature X-GitHub-Event X-GitHub-Hook-ID \
            X-Hub-Signature-256 X-Forgejo-Event X-Gitea-Signature X-Request-Id Traceparent Tracestate Sec-Fetch-Site Sec-Fetch-Mode \
            Sec-CH-UA-Platform Upgrade-Insecure-Requests Priority DNT TE Pragma If-None-Match Range X-Requested-With"
            .split_whitespace()
        {
            assert!(private(name), "{name}");
        }
    }

    #[test]
    fn the_list_is_walked_from_the_right_to_the_first_hop_that_is_not_trusted_or_not_readable() {
        for (addresses, protos, key, private) in [
            (vec!["127.0.0.1, 192.0.2.7"], vec!["https"], "192.0.2.7", true),
            (vec!["127.0.0.1", "192.0.2.7"], vec!["https"], "192.0.2.7", true),
            (vec!["garbage, 192.0.2.7"], vec!["https"], "192.0.2.7", true),
            (vec!["1.1.1.1, 192.0.2.7, 10.0.0.9"], vec!["https"], "192.0.2.7", true),
            (vec!["10.0.0.7, 10.0.0.9"], vec!["https"], "10.0.0.7", true),
            // Not readable: the hop that wrote it is all that is known, and it does not vouch for https.
            (vec!["192.0.2.7, garbage"], vec!["https"], "10.0.0.2", false),
            (vec!["192.0.2.7, garbage, 10.0.0.9"], vec!["https"], "10.0.0.9", false),
            (vec!["192.0.2.7,"], vec!["https"], "10.0.0.2", false),
            (vec![""], vec!["https"], "10.0.0.2", false),
            (vec![], vec!["https"], "10.0.0.2", false),
            (vec!["\"192.0.2.7\""], vec!["https"], "10.0.0.2", false),
            (vec!["192.0.2.7:x"], vec!["https"], "10.0.0.2", false),
            (vec!["192.0.2.7:99999"], vec!["https"], "10.0.0.2", false),
            (vec!["192.0.2.07"], vec!["https"], "10.0.0.2", false),
            (vec!["[2001:db8::1]x"], vec!["https"], "10.0.0.2", false),
            (vec!["2001:db8::1%eth0"], vec!["https"], "10.0.0.2", false),
            // Hidden on purpose.
            (vec!["1.1.1.1, unknown"], vec!["https"], "10.0.0.2", true),
            (vec!["1.1.1.1, _gazonk"], vec!["http"], "10.0.0.2", false),
            // Every way to write an address.
            (vec!["192.0.2.7:443"], vec!["HTTPS"], "192.0.2.7", true),
            (vec!["2001:db8:1:2:3::4"], vec!["https"], "2001:db8:1:2::/64", true),
            (vec!["[2001:db8:1:2:3::4]"], vec!["https"], "2001:db8:1:2::/64", true),
            (vec!["[2001:db8:1:2:3::4]:99"], vec!["https"], "2001:db8:1:2::/64", true),
            (vec!["::ffff:192.0.2.7"], vec!["https"], "192.0.2.7", true),
            (vec!["1.1.1.1, ::ffff:10.0.0.4"], vec!["https"], "1.1.1.1", true),
            (vec!["fe80::1%eth0"], vec!["https"], "fe80:0:0:0::/64", true),
            // Protocols belong to the hops when there are as many of both.
            (vec!["1.1.1.1, 192.0.2.7"], vec!["https, http"], "192.0.2.7", false),
            (vec!["1.1.1.1, 192.0.2.7"], vec!["http", "https"], "192.0.2.7", true),
            (vec!["192.0.2.7, 10.0.0.9"], vec!["https, http"], "192.0.2.7", true),
            (vec!["192.0.2.7"], vec!["https, https"], "192.0.2.7", false),
            (vec!["1.1.1.1, 1.1.1.2, 192.0.2.7"], vec!["https, https"], "192.0.2.7", false),
            (vec!["192.0.2.7"], vec![], "192.0.2.7", false),
            (vec!["192.0.2.7"], vec!["httpsx"], "192.0.2.7", false),
        ] {
            assert_eq!(x_forwarded(&addresses, &protos), (key.to_owned(), private), "{addresses:?} {protos:?}");
        }
    }

    #[test]
    fn the_standard_header_is_read_by_its_grammar_and_the_same_walk() {
        for (lines, key, private) in [
            (vec!["for=192.0.2.7;proto=https"], "192.0.2.7", true),
            (vec!["For=\"[2001:db8:1:2:3::4]:99\"; Proto=HTTPS;by=_x"], "2001:db8:1:2::/64", true),
            (vec!["for=1.1.1.1;proto=https, for=192.0.2.7;proto=http"], "192.0.2.7", false),
            (vec!["for=1.1.1.1;proto=https", "for=192.0.2.7;proto=http"], "192.0.2.7", false),
            (vec!["for=192.0.2.7;proto=https, for=10.0.0.9;proto=http"], "192.0.2.7", true),
            (vec!["for=unknown;proto=https"], "10.0.0.2", true),
            (vec!["for=\"_gazonk:_p\";proto=https"], "10.0.0.2", true),
            // A client cannot swallow what the proxy appends, nor tell it twice.
            (vec!["for=\"1.1.1.1, for=192.0.2.7;proto=https"], "10.0.0.2", false),
            (vec!["for=\"1.1.1.1", "for=192.0.2.7;proto=https"], "192.0.2.7", true),
            (vec!["for=\"x\\, for=\"[2001:db8::1]\";proto=https"], "10.0.0.2", false),
            (vec!["for=192.0.2.7;for=1.1.1.1;proto=https"], "10.0.0.2", false),
            (vec!["for=192.0.2.7;proto=http;proto=https"], "10.0.0.2", false),
            (vec!["proto=https"], "10.0.0.2", false),
            (vec!["for=192.0.2.7, "], "10.0.0.2", false),
            (vec!["192.0.2.7"], "10.0.0.2", false),
            (vec!["for=\"[fe80::1%eth0]:80\";proto=https"], "fe80:0:0:0::/64", true),
            (vec!["for=192.0.2.7;;proto=https;"], "192.0.2.7", true),
        ] {
            assert_eq!(standard(&lines), (key.to_owned(), private), "{lines:?}");
        }
    }
}
