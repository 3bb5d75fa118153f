//! The key set of an issuer, fetched: it says itself where its keys are (OIDC Discovery 1.0, 4), and both answers are bounded.

use std::path::Path;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::Client;
use reqwest::header::ACCEPT;
use serde_json::Map;
use serde_json::Value;

use crate::answer;
use crate::model::Issuer;
use crate::model::json_object;
use crate::oidc::key::PublicKey;

/// For both answers together.
const DEADLINE: Duration = Duration::from_secs(5);
/// Of one answer.
const MOST_BYTES: usize = 256 << 10;
/// No issuer has more keys at a time.
const MOST_KEYS: usize = 64;

/// The keys that `issuer` signs with now. The certificates of `ca_file` (PEM) are trusted besides the host's own roots.
///
/// # Errors
/// What stands in the way, to go behind the issuer's name.
pub async fn fetch(issuer: &Issuer, ca_file: Option<&Path>) -> Result<Vec<PublicKey>, String> {
    let late = |_| Err(format!("it did not answer within {} s", DEADLINE.as_secs()));
    tokio::time::timeout(DEADLINE, described_by(issuer, ca_file)).await.unwrap_or_else(late)
}

async fn described_by(issuer: &Issuer, ca_file: Option<&Path>) -> Result<Vec<PublicKey>, String> {
    // A client of its own each time: it is needed every ten minutes at most, and would be kept for nothing in between.
    let mut client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .https_only(!issuer.is_here())
        .user_agent(concat!("tagalong/", env!("CARGO_PKG_VERSION")));
    if issuer.is_here() {
        client = client.no_proxy();
    }
    if let Some(file) = ca_file {
        client = client.tls_certs_merge(certificates(file).await?);
    }
    let client = client.build().map_err(|error| format!("the HTTP client could not be set up: {error}"))?;
    let address = issuer.discovery();
    let description = object(&get(&client, &address).await?, &address)?;
    let text = |name: &str| description.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("issuer") != issuer.as_str() {
        return Err(format!("{address} describes another issuer"));
    }
    let keys = url::Url::parse(text("jwks_uri")).map_err(|_| format!("{address} does not say where its keys are (jwks_uri)"))?;
    if !issuer.may_have_keys_at(&keys) {
        return Err(format!("{address} has its keys at an address that is not https"));
    }
    key_set(&get(&client, keys.as_str()).await?)
}

/// The file is read for each use, so that a new certificate needs no restart.
async fn certificates(file: &Path) -> Result<Vec<Certificate>, String> {
    let name = file.display();
    let pem = tokio::fs::read(file).await.map_err(|error| format!("its ca_file {name} cannot be read: {error}"))?;
    let all = Certificate::from_pem_bundle(&pem).map_err(|error| format!("its ca_file {name} is not PEM: {}", text::root_cause(&error)))?;
    if all.is_empty() { Err(format!("its ca_file {name} contains no certificate")) } else { Ok(all) }
}

async fn get(client: &Client, address: &str) -> Result<Vec<u8>, String> {
    let broken = |error: reqwest::Error| format!("{address} cannot be read: {}", text::root_cause(&error));
    let answer = client.get(address).header(ACCEPT, "application/json").send().await.map_err(broken)?;
    let status = answer.status();
    if status.is_redirection() {
        return Err(format!("{address} redirects ({}), which is not followed", status.as_u16()));
    }
    if status != reqwest::StatusCode::OK {
        return Err(format!("{address} answers {}", status.as_u16()));
    }
    let too_large = || format!("the answer of {address} is larger than {MOST_BYTES} bytes");
    answer::whole(answer, MOST_BYTES).await.map_err(broken)?.ok_or_else(too_large)
}

fn object(bytes: &[u8], address: &str) -> Result<Map<String, Value>, String> {
    json_object(bytes).map_err(|why| format!("the answer of {address} {why}"))
}

/// The keys of a key set (RFC 7517, 5) that can be used; what cannot be used is passed over.
///
/// # Errors
/// When it is none, or none of its keys can be used.
pub fn key_set(bytes: &[u8]) -> Result<Vec<PublicKey>, String> {
    let set = json_object(bytes).map_err(|why| format!("its key set {why}"))?;
    let all = set.get("keys").and_then(Value::as_array).ok_or("its key set has no keys")?;
    if all.len() > MOST_KEYS {
        return Err(format!("its key set has more than {MOST_KEYS} keys"));
    }
    let mut keys = Vec::new();
    let mut not_used = Vec::new();
    for jwk in all {
        match jwk.as_object().ok_or("it is no object").and_then(PublicKey::parse) {
            Ok(key) => keys.push(key),
            Err(why) => not_used.push(why),
        }
    }
    if keys.is_empty() {
        return Err(format!("none of the {} keys of its key set can be used ({})", all.len(), not_used.join("; ")));
    }
    Ok(keys)
}
