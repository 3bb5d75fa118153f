//! `tagalong oidc`: why a token of a job is or is not accepted. The token itself is never shown.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::output::harmless;
use crate::clock;
use crate::config::Config;
use crate::config::OidcPolicy;
use crate::oidc::Fault;
use crate::oidc::Finding;
use crate::oidc::KeySets;
use crate::oidc::Looked;
use crate::oidc::Token;
use crate::oidc::key_set;
use crate::oidc::prove;

/// No token is longer; a file that is, is none.
const MOST_BYTES: u64 = 64 << 10;
/// Exit code of a token that no policy accepts: that of an order that is refused.
const REFUSED: u8 = 13;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Show claim by claim why the OIDC token of a job is or is not accepted by each policy; the token itself is never shown
    ///
    /// The exit code is 0 if a policy accepts the token, 13 if none does.
    Explain {
        /// The file with the token, or - for standard input
        file: PathBuf,
        /// Verify the signature with the key set in this file instead of asking the issuer
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
    },
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let Args::Explain { file, keys } = args;
    let config = Config::load(&global.config)?;
    let text = read(file)?;
    let token = Token::parse(text.trim())?;
    anyhow::ensure!(!config.oidc.is_empty(), "The configuration has no [[oidc]] policy, so no token is accepted.");
    let proven = match keys {
        Some(keys) => signed_by_file(&token, keys)?,
        None => signed_by_issuer(&config.oidc, &token).await,
    };
    let looked = Looked::at(&config.oidc, &token, clock::now_ms());
    let accepted = looked.accepted().filter(|_| proven.is_ok()).map(|(at, _)| &config.oidc[at]);
    if output.is_json() {
        output.json(&as_json(&looked, &proven, accepted));
    } else {
        show(output, &token, &looked, &proven);
        conclude(output, &looked, accepted);
    }
    Ok(if accepted.is_some() { 0 } else { REFUSED })
}

fn read(file: &PathBuf) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(MOST_BYTES).read_to_string(&mut text)
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("{} cannot be opened", file.display()))?;
        opened.take(MOST_BYTES).read_to_string(&mut text)
    };
    read.with_context(|| format!("{} cannot be read as text", file.display()))?;
    Ok(text)
}

async fn signed_by_issuer(policies: &[OidcPolicy], token: &Token) -> Result<(), Fault> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    prove(&KeySets::default(), policies, token).await
}

fn signed_by_file(token: &Token, file: &PathBuf) -> anyhow::Result<Result<(), Fault>> {
    let bytes = std::fs::read(file).with_context(|| format!("The key set {} cannot be read", file.display()))?;
    let keys = key_set(&bytes).map_err(|why| anyhow::anyhow!("{} cannot be used: {why}.", file.display()))?;
    Ok(token.proven_by(&keys))
}

fn line(output: &Output, holds: bool, text: &str) {
    let mark = if holds { output.paint(Tone::Good, "✓") } else { output.paint(Tone::Bad, "✗") };
    output.say(&format!("  {mark} {}", harmless(text)));
}

fn show(output: &Output, token: &Token, looked: &Looked, proven: &Result<(), Fault>) {
    output.say("the token");
    match proven {
        Ok(()) => line(output, true, &format!("signature: made by the issuer's key {}", token.key_id().escape_debug())),
        Err(fault) => line(output, false, &format!("signature: {fault}")),
    }
    for finding in &looked.findings {
        line(output, finding.holds, &finding.to_string());
    }
    if let Some(job) = &looked.job {
        output.say("its job, as an order takes it from the token");
        let facts = [("repository", &job.repository), ("commit", &job.commit), ("ref", &job.git_ref), ("run", &job.run_url)];
        for (name, value) in facts {
            output.say(&format!("    {name}: {}", harmless(value)));
        }
        output.say(&format!("    run number: {}", job.run_number));
    }
    for verdict in &looked.verdicts {
        output.say(&format!("the policy {}", verdict.policy));
        for finding in &verdict.findings {
            line(output, finding.holds, &finding.to_string());
        }
    }
}

fn conclude(output: &Output, looked: &Looked, accepted: Option<&OidcPolicy>) {
    if let Some(policy) = accepted {
        let scopes: Vec<String> = policy.scopes.iter().map(ToString::to_string).collect();
        output.say(&format!("{} the policy {} accepts the token, for {}", output.paint(Tone::Good, "✓"), policy.id, scopes.join(", ")));
    } else {
        let matching = looked.verdicts.iter().find(|verdict| verdict.holds());
        let but = matching.map_or(String::new(), |verdict| format!(", although its claims are what the policy {} wants", verdict.policy));
        output.say(&format!("{} the token is not accepted{but}", output.paint(Tone::Bad, "✗")));
    }
}

fn as_json(looked: &Looked, proven: &Result<(), Fault>, accepted: Option<&OidcPolicy>) -> serde_json::Value {
    let findings = |all: &[Finding]| -> Vec<serde_json::Value> {
        all.iter().map(|one| serde_json::json!({ "claim": one.claim, "ok": one.holds, "why": one.why })).collect()
    };
    let policies: Vec<serde_json::Value> = looked
        .verdicts
        .iter()
        .map(|verdict| serde_json::json!({ "policy": verdict.policy, "ok": verdict.holds(), "claims": findings(&verdict.findings) }))
        .collect();
    serde_json::json!({
        "accepted_by": accepted.map(|policy| &policy.id),
        "signature": { "ok": proven.is_ok(), "why": proven.as_ref().err().map(ToString::to_string) },
        "token": findings(&looked.findings),
        "policies": policies,
    })
}
