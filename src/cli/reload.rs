//! `tagalong reload`.

use std::time::Duration;
use std::time::Instant;

use clap_complete::ArgValueCompleter;

use crate::api;
use crate::cli::client::Client;
use crate::cli::client::Refusal;
use crate::cli::complete;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::output::duration;
use crate::model::CommitName;
use crate::model::DatasetName;
use crate::model::ref_text;

/// Only some servers serve the new data.
const SOME: u8 = 18;
/// No server serves the new data.
const NONE: u8 = 19;
/// How long between two calls while waiting.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The dataset, as the configuration names it
    #[arg(add = ArgValueCompleter::new(complete::datasets))]
    dataset: DatasetName,
    /// The commit that the app must serve
    #[arg(long, value_name = "SHA")]
    commit: Option<CommitName>,
    /// The branch that moved; the call is ignored if it is not the branch of the dataset
    #[arg(long, value_parser = ref_text)]
    branch: Option<String>,
    /// Also call every peer, and show each answer
    #[arg(long)]
    all_peers: bool,
    /// Wait until all of them serve the commit, for at most --wait-s
    #[arg(long, short)]
    wait: bool,
    /// How long --wait waits, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    wait_s: u64,
}

pub(crate) async fn run(global: &Global, output: &Output, args: Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let ask =
        api::NewReload { dataset: args.dataset, branch: args.branch, commit_hash: args.commit, all_peers: args.all_peers.then_some(true) };
    let began = Instant::now();
    loop {
        let answer: anyhow::Result<api::Reloaded> = client.post("/api/v1/reloads", &ask).await;
        let is_over = !args.wait || began.elapsed() > Duration::from_secs(args.wait_s);
        match answer {
            Ok(reloaded) if is_over || code_of(&reloaded) == 0 => {
                show(output, &reloaded);
                return Ok(code_of(&reloaded));
            }
            Err(error) if is_over || !may_change(&error) => {
                let is_behind = error.downcast_ref::<Refusal>().is_some_and(|refusal| matches!(refusal.problem().status, 409 | 502));
                if !is_behind {
                    return Err(error);
                }
                output.failure(&error);
                return Ok(NONE);
            }
            Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Whether a later call may be answered otherwise: nobody answered, or something behind the server does not do its part yet.
fn may_change(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refusal>().is_none_or(|refusal| matches!(refusal.problem().status, 409 | 429 | 500..))
}

fn code_of(reloaded: &api::Reloaded) -> u8 {
    let all = 1 + reloaded.peers.len();
    let good = usize::from(reloaded.ok) + reloaded.peers.iter().filter(|peer| peer.ok).count();
    match good {
        0 => NONE,
        good if good == all => 0,
        _ => SOME,
    }
}

fn show(output: &Output, reloaded: &api::Reloaded) {
    if output.is_json() {
        output.json(reloaded);
        return;
    }
    let mark = |ok: bool| if ok { output.paint(Tone::Good, "✓") } else { output.paint(Tone::Bad, "✗") };
    let serves = reloaded.loaded.as_ref().map_or_else(String::new, |commit| format!(", serves {commit}"));
    let took = duration(reloaded.duration_ms as i64);
    output.say(&format!("{} {}: {}{serves} ({took})", mark(reloaded.ok), reloaded.dataset, reloaded.outcome));
    if let Some(parked) = &reloaded.parked {
        output.say(&format!(
            "  {} local work conflicts with the remote and is parked on {parked}; a person must merge it",
            output.paint(Tone::Careful, "!")
        ));
    }
    if let Some(why) = &reloaded.why {
        output.say(&format!("  {} {why}", output.paint(Tone::Careful, "!")));
    }
    for peer in &reloaded.peers {
        output.say(&format!("{} {}: {}", mark(peer.ok), peer.peer, peer.detail));
    }
}
