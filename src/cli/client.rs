//! Calls the server: over its unix socket on the host itself, elsewhere by address and key.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use reqwest::Method;
use reqwest::RequestBuilder;
use reqwest::Response;
use reqwest::header::AUTHORIZATION;
use text::Secret;

use crate::api;
use crate::cli::global::Global;
use crate::clock;
use crate::config::Rotating;
use crate::http::auth;
use crate::model::is_in_the_clear;
use crate::model::webhook_call;

/// An error answer of the server.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.detail)]
pub(crate) struct Refusal(api::Problem);

impl Refusal {
    /// 422 is a guard's refusal and has its own exit code; everything else is an error.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.0.status == 422 { 13 } else { 1 }
    }

    pub(crate) fn problem(&self) -> &api::Problem {
        &self.0
    }

    /// Whether the same call would get it again: it is neither a server's trouble nor a limit that ends by itself.
    pub(crate) fn is_final(&self) -> bool {
        (400..500).contains(&self.0.status) && !matches!(self.0.status, 408 | 429)
    }
}

/// What a path stands behind when the server is called over its socket.
pub(crate) const SOCKET_BASE: &str = "http://tagalong";

/// Where a server's socket is if the configuration does not say so.
pub(crate) const USUAL_SOCKET: &str = "/run/tagalong/tagalong.sock";

enum Key {
    None,
    Webhook(Rotating<Vec<u8>>),
    Bearer(Rotating<Secret>),
}

/// A client of the server.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: Key,
    server: String,
}

impl Client {
    pub(crate) fn new(global: &Global) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(api::IDLE_CONNECTION / 2);
        let key = read_key(global.key_file.as_deref())?;
        if let Some(url) = &global.url {
            if is_clear(url)? {
                anyhow::ensure!(
                    !matches!(key, Key::Bearer(_)),
                    "{url} uses plain http, so anybody who sees the traffic could use the bearer token, and the server would refuse it: \
                    use an https:// address, or a key that signs (whsec_…)."
                );
            } else if url.starts_with("http://") {
                // A call to this host itself: proxies of the environment are not used.
                builder = builder.no_proxy();
            }
            let http = builder.build().context("The HTTP client could not be set up")?;
            return Ok(Self { http, base: url.trim_end_matches('/').to_owned(), key, server: url.clone() });
        }
        let socket = match &global.socket {
            Some(socket) => socket.clone(),
            None => configured_socket(&global.config)?,
        };
        let server = socket.display().to_string();
        let http = builder.unix_socket(socket).build().context("The HTTP client could not be set up")?;
        Ok(Self { http, base: SOCKET_BASE.to_owned(), key: Key::None, server })
    }

    pub(crate) async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let answer = self.send(Method::GET, path, Vec::new(), &[]).await?;
        answer.json().await.context("The server's answer could not be parsed; is it a different version of tagalong?")
    }

    pub(crate) async fn post<T: serde::de::DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> anyhow::Result<T> {
        let answer = self.send(Method::POST, path, serde_json::to_vec(body)?, &[]).await?;
        answer.json().await.context("The server's answer could not be parsed; is it a different version of tagalong?")
    }

    /// A call that needs no body; if it is signed, the body names the call.
    pub(crate) async fn act<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.post(path, &serde_json::json!({ "call": format!("POST {path}") })).await
    }

    /// Opens a journal behind line `after`.
    pub(crate) async fn events(&self, path: &str, after: i64) -> anyhow::Result<Response> {
        self.send(Method::GET, path, Vec::new(), &[("accept", "text/event-stream".into()), ("last-event-id", after.to_string())]).await
    }

    /// The request, with what proves who calls: while a secret is rotated it is signed with both, and of two tokens the newest is shown.
    fn proven(&self, request: RequestBuilder, signed: &[u8]) -> RequestBuilder {
        match &self.key {
            Key::None => request,
            Key::Bearer(tokens) => request.bearer_auth(tokens.newest.reveal()),
            Key::Webhook(secrets) => {
                let id = format!("msg_{}", clock::new_id());
                let now_s = clock::now_ms() / 1000;
                let signatures: Vec<String> = secrets.iter().map(|secret| auth::sign(secret, &id, now_s, signed)).collect();
                let request = request.header("webhook-signature", signatures.join(" "));
                request.header("webhook-id", id).header("webhook-timestamp", now_s)
            }
        }
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>, headers: &[(&str, String)]) -> anyhow::Result<Response> {
        let reads = if method == Method::GET { webhook_call("GET", path).into_bytes() } else { Vec::new() };
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request = self.proven(request, if reads.is_empty() { &body } else { &reads });
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(body);
        }
        let again = request.try_clone();
        let mut answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        // The server may not have read the newest token yet.
        if let (reqwest::StatusCode::UNAUTHORIZED, Key::Bearer(Rotating { older: Some(older), .. }), Some(mut again)) =
            (answer.status(), &self.key, again.and_then(|again| again.build().ok()))
        {
            let token = format!("Bearer {}", older.reveal()).parse().context("The key file does not contain a token")?;
            again.headers_mut().insert(AUTHORIZATION, token);
            answer = self.http.execute(again).await.map_err(|error| self.unreachable(&error))?;
        }
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
        let clock_there = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp().as_second());
        let text = answer.text().await.unwrap_or_default();
        let problem: Result<api::Problem, _> = serde_json::from_str(&text);
        let Ok(mut problem) = problem else { anyhow::bail!("The server at {} answered {status}.", self.server) };
        if status == reqwest::StatusCode::UNAUTHORIZED {
            problem.detail = self.why_unproven(clock_there);
        }
        Err(Refusal(problem).into())
    }

    /// What a caller can check after a failed authentication: the server never says which part was wrong.
    fn why_unproven(&self, clock_there: Option<i64>) -> String {
        const LIMIT_S: i64 = 300;
        let off_s = clock_there.map(|there| clock::now_ms() / 1000 - there);
        match &self.key {
            Key::None => {
                format!("{} needs a key, but none was given; name its file with --key-file, or set TAGALONG_SECRET.", self.server)
            }
            Key::Webhook(_) if off_s.is_some_and(|off_s| off_s.abs() >= LIMIT_S) => format!(
                "Authentication failed: the clock of this host differs by {} s from the clock of {}, and a signature is valid for \
                {LIMIT_S} s; start a time service.",
                off_s.unwrap_or_default(),
                self.server
            ),
            Key::Webhook(_) => format!(
                "Authentication failed: {} does not know this signing secret, or the key is not valid at this time; compare the key file with the [[key]] of the server.",
                self.server
            ),
            Key::Bearer(_) => format!(
                "Authentication failed: {} does not know this bearer token, the key is not valid at this time, or the call came over plain http; compare the key file with the [[key]] of the server.",
                self.server
            ),
        }
    }

    /// Why there was no answer: the place, and the root cause alone.
    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let cause = text::root_cause(error);
        let server = &self.server;
        if self.base == SOCKET_BASE {
            return anyhow::anyhow!(
                "No tagalong server answers at the socket {server}: {cause}. Start it (`systemctl start tagalong`), run this command as root or \
                as the server's user, or name another server with --socket, or with --url and --key-file."
            );
        }
        anyhow::anyhow!("No tagalong server answers at {server}: {cause}.")
    }
}

/// Whether a bearer token would be seen on the way to `url`.
fn is_clear(url: &str) -> anyhow::Result<bool> {
    let parsed = url::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let parsed = parsed
        .with_context(|| format!("\"{}\" is not the address of a server; write https://tagalong.example.com", url.escape_default()))?;
    Ok(is_in_the_clear(&parsed))
}

/// The socket of the configuration; where there is no configuration, or it names none, the usual place.
///
/// # Errors
/// When the configuration is there and cannot be read: the usual place may be another server's.
fn configured_socket(config: &Path) -> anyhow::Result<PathBuf> {
    let text = match std::fs::read_to_string(config) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(USUAL_SOCKET.into()),
        Err(error) => anyhow::bail!(
            "The configuration {} cannot be read ({error}), so the server's socket is unknown; name it with --socket.",
            config.display()
        ),
    };
    let table: toml::Table = text.parse().map_err(|_| {
        anyhow::anyhow!(
            "The configuration {} has an error (`tagalong check` shows it), so the server's socket is unknown; name it with --socket.",
            config.display()
        )
    })?;
    let socket = table.get("server").and_then(|server| server.get("socket")).and_then(toml::Value::as_str);
    // A relative path starts at the configuration's folder, as it does for the server.
    Ok(config.parent().unwrap_or(Path::new("")).join(socket.unwrap_or(USUAL_SOCKET)))
}

#[allow(clippy::disallowed_methods, reason = "a workflow gives its secret by the environment")]
fn read_key(file: Option<&Path>) -> anyhow::Result<Key> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("The key file {} cannot be read", file.display()))?,
        None => std::env::var("TAGALONG_SECRET").unwrap_or_default(),
    };
    if text.trim().is_empty() {
        return Ok(Key::None);
    }
    let both = Rotating::of_lines(text.trim()).map_err(|why| anyhow::anyhow!("The key cannot be used: {why}"))?;
    if both.newest.reveal().starts_with("whsec_") { signing_secrets(&both).map(Key::Webhook) } else { Ok(Key::Bearer(both)) }
}

/// The bytes of each `whsec_BASE64`.
///
/// # Errors
/// When one of them is none.
pub(crate) fn signing_secrets(both: &Rotating<Secret>) -> anyhow::Result<Rotating<Vec<u8>>> {
    both.try_map(|secret| {
        let encoded = secret.reveal().strip_prefix("whsec_").context("The key file does not contain a signing secret (whsec_…).")?;
        base64::engine::general_purpose::STANDARD.decode(encoded).context("The part of the key after whsec_ is not base64")
    })
}
