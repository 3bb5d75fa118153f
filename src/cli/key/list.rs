//! `tagalong key list`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::clock;
use crate::config::Config;
use crate::config::Key;
use crate::config::KeyProof;
use crate::model::Rotated;
use crate::model::mark;
use crate::store::MARK_KEY;
use crate::store::Store;

pub(super) async fn run(global: &Global, output: &Output) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    let mut shown = Vec::new();
    for key in &config.keys {
        let used_ms = if key.proof.is_rotating() { used(&config, key).await? } else { None };
        shown.push(entry(key, used_ms));
        if !output.is_json() {
            line(output, key, used_ms);
        }
    }
    if output.is_json() {
        output.json(&json!({ "keys": shown }));
    } else if config.keys.is_empty() {
        output.say("No key is configured; `tagalong key new ID` makes one.");
    }
    Ok(0)
}

/// When the newest secret of a key that is rotated was used first.
async fn used(config: &Config, key: &Key) -> anyhow::Result<Option<i64>> {
    let store = Store::open(&config.server.data_dir, config.store.postgres.as_ref()).await?;
    let mark_key = store.named_value(MARK_KEY, || STANDARD.encode(clock::random_bytes::<32>())).await?.into_bytes();
    let newest = mark(&mark_key, key.proof.newest().unwrap_or_default());
    Ok(store.secret_first_used(&Rotated::Key(key.id.clone()), &newest).await?)
}

fn scheme(key: &Key) -> &'static str {
    match key.proof {
        KeyProof::Bearer(_) => "bearer token",
        KeyProof::Webhook(_) => "signs",
        KeyProof::Socket => "socket",
    }
}

fn scopes(key: &Key) -> Vec<String> {
    key.scopes.iter().map(ToString::to_string).collect()
}

fn rotation(key: &Key, used_ms: Option<i64>) -> &'static str {
    match (key.proof.is_rotating(), used_ms) {
        (false, _) => "none",
        (true, None) => "waiting",
        (true, Some(_)) => "used",
    }
}

fn entry(key: &Key, used_ms: Option<i64>) -> serde_json::Value {
    json!({ "id": key.id, "scheme": scheme(key), "scopes": scopes(key), "file": key.file, "rotation": rotation(key, used_ms), "used_ms": used_ms })
}

fn line(output: &Output, key: &Key, used_ms: Option<i64>) {
    let id = output.paint(Tone::Strong, key.id.as_str());
    output.say(&format!("{id} ({}): {}", scheme(key), scopes(key).join(", ")));
    let file =
        key.file.as_ref().map_or_else(|| "not in a file, so tagalong cannot rotate it".to_owned(), |file| file.display().to_string());
    output.say(&format!("  secret    {file}"));
    let next = format!("`tagalong key rotate {} --finish` drops the old secret", key.id);
    match (key.proof.is_rotating(), used_ms) {
        (false, _) => {}
        (true, None) => output.say("  rotation  both secrets are accepted; the new one has not been used yet"),
        (true, Some(at_ms)) => output.say(&format!("  rotation  the new secret has been used since {}; {next}", clock::local(at_ms))),
    }
}
