//! `tagalong hooks`: what the rules of the configuration make of a webhook.

use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::output::harmless;
use crate::config::Config;
use crate::config::Forge;
use crate::config::WebhookRule;
use crate::model::KeyId;
use crate::webhooks;
use crate::webhooks::Act;
use crate::webhooks::Payload;
use crate::webhooks::Verdict;

/// No forge sends more.
const MOST_BYTES: u64 = 25 << 20;
/// Exit code of a webhook that nothing is done for: that of an order that is refused.
const REFUSED: u8 = 13;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Show what each rule would make of the payload of a webhook, and why it would do nothing; needs no server and no signature
    ///
    /// The exit code is 0 if something would be done, 13 if nothing would.
    Test {
        /// The file with the payload, or - for standard input; forges show it among the recent deliveries of a webhook
        file: PathBuf,
        /// The event, as the forge's header X-GitHub-Event, X-Forgejo-Event or X-Gitea-Event has it
        #[arg(long)]
        event: String,
        /// The id of the forge that would send it; may be left out if the rules are for a single one
        #[arg(long, value_name = "ID")]
        forge: Option<KeyId>,
    },
}

pub(crate) fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let Args::Test { file, event, forge } = args;
    let config = Config::load(&global.config)?;
    let forge = sender(&config, forge.as_ref())?;
    // Rules know tags by a name of their own.
    let event = if event == "tag" { "push" } else { event };
    let payload = webhooks::read(forge.kind, event, &read(file)?)?;
    let (message, verdicts) = match &payload {
        Payload::Ping => ("Nothing would be done: a ping only asks whether the server is there.".to_owned(), Vec::new()),
        Payload::Nothing(why) => (format!("Nothing would be done: {why}."), Vec::new()),
        Payload::Notice(notice) => {
            let verdicts = webhooks::judge(rules_of(&config, &forge.id), notice);
            let does = verdicts.iter().filter(|verdict| verdict.outcome.is_ok()).count();
            let message = if does == 0 { "Nothing would be done: no [[hook]] matches." } else { "The webhook would be accepted." };
            (message.to_owned(), verdicts)
        }
    };
    if output.is_json() {
        output.json(&serde_json::json!({ "message": message, "rules": verdicts.iter().map(as_json).collect::<Vec<_>>() }));
    } else {
        for verdict in &verdicts {
            show(output, verdict);
        }
        output.say(&harmless(&message));
    }
    Ok(if verdicts.iter().any(|verdict| verdict.outcome.is_ok()) { 0 } else { REFUSED })
}

fn rules_of<'c>(config: &'c Config, forge: &KeyId) -> impl Iterator<Item = &'c WebhookRule> {
    config.webhook_rules.iter().filter(move |rule| rule.forge == *forge)
}

/// The forge that is meant.
fn sender<'c>(config: &'c Config, named: Option<&KeyId>) -> anyhow::Result<&'c Forge> {
    if let Some(id) = named {
        return config.forge(id).map(AsRef::as_ref).with_context(|| format!("The configuration has no [[forge]] with the id {id}."));
    }
    let mut with_rules = config.forges.iter().filter(|forge| rules_of(config, &forge.id).next().is_some());
    let first = with_rules.next().context("The configuration has no [[hook]], so no webhook does anything.")?;
    anyhow::ensure!(with_rules.next().is_none(), "The rules are for several forges; name the one that sends the webhook with --forge.");
    Ok(first)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(MOST_BYTES).read_to_end(&mut bytes)
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("{} cannot be opened", file.display()))?;
        opened.take(MOST_BYTES).read_to_end(&mut bytes)
    };
    read.with_context(|| format!("{} cannot be read", file.display()))?;
    if bytes.starts_with(b"payload=") {
        return webhooks::payload_of_form(bytes).map_err(|why| anyhow::anyhow!("{} cannot be read as a form: {why}.", file.display()));
    }
    Ok(bytes)
}

fn show(output: &Output, verdict: &Verdict<'_>) {
    let path = &verdict.rule.path;
    match &verdict.outcome {
        Ok(Act::Deploy(ask)) => {
            output.say(&format!("{} {path} would deploy {} with the tag {}", output.paint(Tone::Good, "✓"), ask.service, ask.tag));
            let number = ask.run_number.map(|number| number.to_string());
            let facts = [("commit", &ask.commit), ("ref", &ask.git_ref), ("run", &ask.run_url), ("run number", &number)];
            for (name, value) in facts.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
                output.say(&format!("    {name}: {}", harmless(value)));
            }
        }
        Ok(Act::Reload { dataset, branch, commit }) => {
            output.say(&format!("{} {path} would reload {dataset}", output.paint(Tone::Good, "✓")));
            let facts = [("branch", branch.clone()), ("commit", commit.as_ref().map(ToString::to_string))];
            for (name, value) in facts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                output.say(&format!("    {name}: {}", harmless(&value)));
            }
        }
        Err(why) => output.say(&format!("{} {path} would do nothing: {}", output.paint(Tone::Bad, "✗"), harmless(why))),
    }
    if let Some(note) = &verdict.note {
        output.say(&format!("  {} {}", output.paint(Tone::Careful, "!"), harmless(note)));
    }
}

/// As the server would answer, with the order that it would take.
fn as_json(verdict: &Verdict<'_>) -> serde_json::Value {
    let mut view = serde_json::to_value(verdict.view()).unwrap_or_default();
    if let Ok(Act::Deploy(ask)) = &verdict.outcome {
        view["order"] = serde_json::to_value(ask).unwrap_or_default();
    }
    view
}
