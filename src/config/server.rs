//! Where the server listens and what it takes.

use std::net::SocketAddr;

use crate::config::ForwardedHeaders;
use crate::config::Server;
use crate::config::reader::Section;
use crate::model::is_in_the_clear;

impl Server {
    /// Where people open this server from outside, without a slash at its end, so that a path can follow.
    #[must_use]
    pub fn public(&self) -> Option<&str> {
        self.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/'))
    }
}

pub(super) fn read_server(root: &mut Section) -> Option<Server> {
    let Some(mut from) = root.section("server") else {
        root.problem("server", "the table [server] is missing.");
        return None;
    };
    // Not by `path`: an empty one wants no socket, not the folder.
    let socket = from.text("socket").unwrap_or_else(|| "/run/tagalong/tagalong.sock".to_owned());
    let tls = match (from.path("tls_certificate_file"), from.path("tls_key_file")) {
        (Some(chain), Some(key)) => Some((chain, key)),
        (None, None) => None,
        _ => {
            from.problem("tls_key_file", "TLS needs both tls_certificate_file and tls_key_file.");
            None
        }
    };
    let listen = from.list("listen", |text| {
        text.parse::<SocketAddr>()
            .map_err(|_| format!("\"{}\" is not an address with a port; write 127.0.0.1:8787 or [::]:8787.", text.escape_default()))
    });
    let server = Server {
        listen,
        ssh_agent: ssh_agent(),
        socket: (!socket.is_empty()).then(|| from.folder.join(socket)),
        socket_gid: u32::try_from(from.whole("socket_gid", -1, -1..=i64::from(u32::MAX))).ok(),
        data_dir: from.path("data_dir").unwrap_or_else(|| "/var/lib/tagalong".into()),
        public_url: from.parsed("public_url", public_url),
        trusted_proxies: from.list("trusted_proxies", network),
        forwarded_headers: from
            .choice("forwarded_headers", &[("x-forwarded", ForwardedHeaders::XForwarded), ("forwarded", ForwardedHeaders::Standard)]),
        tls,
        body_limit_bytes: (from.whole("body_limit_kib", 1024, 1..=25_600) as usize) << 10,
        max_waiting: from.whole("max_waiting", 100, 1..=100_000),
        max_running: from.whole("max_running", default_running(), 1..=1000) as usize,
        max_connections: from.whole("max_connections", 2048, 16..=100_000) as usize,
        max_connections_per_address: from.whole("max_connections_per_address", 512, 1..=100_000) as usize,
        max_followers: from.whole("max_followers", 200, 1..=100_000) as usize,
        failed_attempts_per_min: from.whole("failed_attempts_per_min", 30, 1..=100_000),
        log_json: from.choice("log", &[("text", false), ("json", true)]),
        log_level: from.text("log_level").unwrap_or_else(|| "info".to_owned()),
    };
    if server.listen.is_empty() && server.socket.is_none() {
        from.problem("listen", "tagalong would not listen anywhere; set listen or socket.");
    }
    from.finish();
    Some(server)
}

#[allow(clippy::disallowed_methods, reason = "config/ alone reads the environment")]
fn ssh_agent() -> Option<String> {
    std::env::var("SSH_AUTH_SOCK").ok().filter(|socket| !socket.is_empty())
}

/// Codes are entered there, so nobody on the way may read what is sent.
fn public_url(text: &str) -> Result<url::Url, String> {
    let parsed =
        url::Url::parse(text).ok().filter(|url| url.has_host() && !is_in_the_clear(url) && matches!(url.scheme(), "https" | "http"));
    parsed.ok_or_else(|| {
        format!("\"{}\" is not an address that people can open safely; write https://tagalong.example.com.", text.escape_default())
    })
}

/// Four for each core, but one for each 512 MiB of memory at most, since each may have a client of Docker Compose at work.
fn default_running() -> i64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as i64;
    let memory_mib = i64::try_from(rustix::system::sysinfo().totalram >> 20).unwrap_or(i64::MAX);
    (cores * 4).min(memory_mib / 512).clamp(2, 64)
}

fn network(text: &str) -> Result<ipnet::IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().ok().map(ipnet::IpNet::from);
    text.parse().ok().or_else(address).ok_or_else(|| format!("\"{}\" is not a network; write 172.18.0.0/16 or ::1.", text.escape_default()))
}
