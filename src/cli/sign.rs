//! `tagalong sign`.

use std::io::Read as _;

use anyhow::Context as _;

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

/// The first address of the configuration, where there is one: as the server of this host is called without a proxy.
fn configured_address(config: &std::path::Path) -> String {
    let table: toml::Table = std::fs::read_to_string(config).unwrap_or_default().parse().unwrap_or_default();
    let server = table.get("server");
    let listen = server.and_then(|server| server.get("listen")?.as_array()?.first()?.as_str());
    let scheme = if server.is_some_and(|server| server.get("tls_key_file").is_some()) { "https" } else { "http" };
    format!("{scheme}://{}", listen.unwrap_or("127.0.0.1:8787"))
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
    let url = global.url.clone().unwrap_or_else(|| configured_address(&global.config));
    let url = url.trim_end_matches('/');
    let quoted = |text: &str| text.replace('\'', "'\\''");
    let data = match reads {
        Some(_) => String::new(),
        None => format!(" -H 'content-type: application/json' --data-raw '{}'", quoted(&body)),
    };
    let headers = format!("-H 'webhook-id: {id}' -H 'webhook-timestamp: {now_s}' -H 'webhook-signature: {signature}'");
    output.say(&format!("curl -sS {headers}{data} '{}'", quoted(&format!("{url}{path}"))));
    Ok(0)
}
