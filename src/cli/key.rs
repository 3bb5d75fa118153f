//! `tagalong key`.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use crate::cli::output::Output;
use crate::clock;
use crate::model::KeyId;
use crate::model::Scope;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Create a secret and print the lines of configuration for it
    New {
        /// The id of the key, which appears in records
        id: KeyId,
        /// What the key may do: deploy:SERVICE, rollback:SERVICE, reload:DATASET, read:SERVICE or read; may be given several times
        #[arg(long, value_name = "SCOPE", default_value = "deploy:SERVICE")]
        scope: Vec<String>,
        /// Create a bearer token instead of a signing secret
        #[arg(long)]
        bearer: bool,
        /// Write the secret to this new file (mode 0600) instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub(crate) fn run(output: &Output, args: &Args) -> anyhow::Result<u8> {
    let Args::New { id, scope, bearer, out } = args;
    for text in scope.iter().filter(|text| !text.contains("SERVICE")) {
        Scope::parse(text)?;
    }
    let secret = if *bearer {
        format!("tagalong_{}", URL_SAFE_NO_PAD.encode(clock::random_bytes::<32>()))
    } else {
        format!("whsec_{}", STANDARD.encode(clock::random_bytes::<32>()))
    };
    let file_key = if *bearer { "token_file" } else { "secret_file" };
    // A relative path in the configuration starts at the configuration's folder, which need not be this one.
    let whole = out.as_ref().map(|out| std::path::absolute(out).unwrap_or_else(|_| out.clone()));
    let file = whole.map_or_else(|| format!("{id}.secret"), |out| out.display().to_string());
    if let Some(out) = out {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(out)
            .with_context(|| format!("{} could not be created; name a file that does not exist yet", out.display()))?;
        writeln!(file, "{secret}")?;
    }
    let scopes: Vec<String> = scope.iter().map(|scope| format!("\"{scope}\"")).collect();
    let lines = format!("[[key]]\nid = \"{id}\"\n{file_key} = \"{file}\"\nscopes = [{}]", scopes.join(", "));
    if output.is_json() {
        output.json(&serde_json::json!({ "secret": out.is_none().then_some(&secret), "file": file, "config": lines }));
        return Ok(0);
    }
    if out.is_none() {
        output.say(&format!("# store this secret in {file} (mode 0600) and in the secrets of your forge:\n{secret}\n"));
    }
    output.say(&format!("# and add these lines to the configuration:\n{lines}"));
    Ok(0)
}
