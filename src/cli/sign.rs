//! `tagalong sign`.

use std::io::Read as _;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::client::SOCKET_BASE;
use crate::cli::client::USUAL_SOCKET;
use crate::cli::client::signing_secrets;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::clock;
use crate::config::Rotating;
use crate::http::auth;
use crate::model::webhook_call;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The body to sign, or - for standard input
    #[arg(required_unless_present_any = ["get", "curl"])]
    body: Option<String>,
    /// Print a complete curl command for this path, e.g. /api/v1/deployments; without a body it is a call that reads
    #[arg(long, value_name = "PATH")]
    curl: Option<String>,
    /// Sign a GET of this path and query, e.g. /api/v1/services, instead of a body
    #[arg(long, value_name = "PATH", conflicts_with_all = ["body", "curl"])]
    get: Option<String>,
}

/// Where curl is sent to.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// An address, without a path.
    Url(String),
    /// A unix socket.
    Socket(PathBuf),
}

impl Place {
    /// As the options say; else as the server of this host is called without a proxy: at the first address that its configuration
    /// listens on, at its socket where it listens on none.
    fn of(global: &Global) -> Self {
        match (&global.url, &global.socket) {
            (Some(url), _) => Self::Url(url.trim_end_matches('/').to_owned()),
            (None, Some(socket)) => Self::Socket(socket.clone()),
            (None, None) => Self::configured(&global.config),
        }
    }

    fn configured(config: &Path) -> Self {
        let text = std::fs::read_to_string(config).unwrap_or_default();
        let Ok(table) = text.parse::<toml::Table>() else { return Self::Url("http://127.0.0.1:8787".to_owned()) };
        let server = table.get("server");
        let listen = server.and_then(|server| server.get("listen")?.as_array());
        let first = listen.and_then(|listen| listen.first()?.as_str());
        let scheme = if server.is_some_and(|server| server.get("tls_key_file").is_some()) { "https" } else { "http" };
        match first {
            Some(first) => Self::Url(format!("{scheme}://{}", reachable(first))),
            // Without a configuration nothing is known; one without addresses is served at its socket alone.
            None if server.is_none() => Self::Url("http://127.0.0.1:8787".to_owned()),
            None => {
                let socket = server.and_then(|server| server.get("socket")?.as_str()).unwrap_or(USUAL_SOCKET);
                Self::Socket(config.parent().unwrap_or(Path::new("")).join(socket))
            }
        }
    }
}

/// The address itself; loopback where it stands for every address of the host.
fn reachable(listen: &str) -> String {
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            let loopback = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
            SocketAddr::new(loopback, address.port()).to_string()
        }
        _ => listen.to_owned(),
    }
}

pub(crate) fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let file = global.key_file.as_ref().context("Name the file of the secret with --key-file.")?;
    let text = std::fs::read_to_string(file).with_context(|| format!("The key file {} cannot be read", file.display()))?;
    let both = Rotating::of_lines(text.trim()).map_err(|why| anyhow::anyhow!("The key file {} cannot be used: {why}", file.display()))?;
    let secrets = signing_secrets(&both)?;
    let reads = args.get.as_ref().or(args.curl.as_ref()).filter(|_| args.body.is_none());
    let body = match (reads, args.body.as_deref()) {
        (Some(path), _) => webhook_call("GET", path),
        (None, Some("-")) => {
            let mut body = String::new();
            std::io::stdin().read_to_string(&mut body).context("Standard input could not be read")?;
            body
        }
        (None, body) => body.unwrap_or_default().to_owned(),
    };
    let id = format!("msg_{}", clock::new_id());
    let now_s = clock::now_ms() / 1000;
    let signatures: Vec<String> = secrets.iter().map(|secret| auth::sign(secret, &id, now_s, body.as_bytes())).collect();
    let signature = signatures.join(" ");
    if output.is_json() {
        output.json(&serde_json::json!({ "webhook-id": id, "webhook-timestamp": now_s.to_string(), "webhook-signature": signature }));
        return Ok(0);
    }
    let Some(path) = &args.curl else {
        output.say(&format!("webhook-id: {id}\nwebhook-timestamp: {now_s}\nwebhook-signature: {signature}"));
        return Ok(0);
    };
    let quoted = |text: &str| text.replace('\'', "'\\''");
    let (socket, url) = match Place::of(global) {
        Place::Url(url) => (String::new(), url),
        Place::Socket(socket) => (format!(" --unix-socket '{}'", quoted(&socket.display().to_string())), SOCKET_BASE.to_owned()),
    };
    let data = match reads {
        Some(_) => String::new(),
        None => format!(" -H 'content-type: application/json' --data-raw '{}'", quoted(&body)),
    };
    let headers = format!("-H 'webhook-id: {id}' -H 'webhook-timestamp: {now_s}' -H 'webhook-signature: {signature}'");
    output.say(&format!("curl -sS{socket} {headers}{data} '{}'", quoted(&format!("{url}{path}"))));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::Place;

    /// A command that is printed reaches the server of this host.
    #[test]
    fn curl_is_sent_where_somebody_listens() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tagalong.toml");
        let url = |text: &str| Place::Url(text.to_owned());
        for (server, place) in [
            ("listen = [\"127.0.0.1:9000\"]", url("http://127.0.0.1:9000")),
            ("listen = [\"0.0.0.0:9999\"]\ntls_key_file = \"k\"", url("https://127.0.0.1:9999")),
            ("listen = [\"[::]:9999\", \"10.0.0.1:1\"]", url("http://[::1]:9999")),
            ("listen = []\nsocket = \"s\"", Place::Socket(dir.path().join("s"))),
            ("data_dir = \"x\"", Place::Socket("/run/tagalong/tagalong.sock".into())),
        ] {
            std::fs::write(&file, format!("[server]\n{server}\n")).unwrap();
            assert_eq!(Place::configured(&file), place, "{server}");
        }
        assert_eq!(Place::configured(&dir.path().join("none.toml")), url("http://127.0.0.1:8787"));
    }
}
