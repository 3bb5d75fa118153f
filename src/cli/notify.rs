//! `tagalong notify`: whether messages arrive.

use anyhow::Context as _;

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::harmless;
use crate::config::Config;
use crate::notices;
use crate::notify::Notifier;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Send a real message by a notifier, and show what its service answered; needs no server
    Test {
        /// The id of the `[[notify]]`
        name: String,
    },
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let Args::Test { name } = args;
    let config = Config::load(&global.config)?;
    let plan = config.notifier(name).with_context(|| {
        let known: Vec<&str> = config.notifiers.iter().map(|notifier| notifier.id.as_str()).collect();
        let known = if known.is_empty() { "it has none at all".to_owned() } else { format!("it has {}", known.join(", ")) };
        format!("The configuration has no [[notify]] with the id {}; {known}.", harmless(name))
    })?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = Notifier::new(plan, &config.mask)?.send_for_answer(&notices::trial(&config)).await;
    let answer = answer.with_context(|| format!("The notifier {name} ({}) did not send the message", plan.to.kind()))?;
    if output.is_json() {
        output.json(&serde_json::json!({ "notifier": name, "kind": plan.to.kind(), "answer": answer }));
    } else {
        output.say(&format!("Sent by {name} ({}). {}", plan.to.kind(), harmless(&answer)));
        output.say("Look whether it has arrived: a service may take a message and still not show it.");
    }
    Ok(0)
}
