//! `tagalong data`: datasets beside an app, with or without a server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap_complete::ArgValueCompleter;
use process::Cancel;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::api;
use crate::app::Daemon;
use crate::app::Record;
use crate::cli::client::Client;
use crate::cli::client::Refusal;
use crate::cli::complete;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::output::duration;
use crate::clock;
use crate::clock::Backoff;
use crate::config::Config;
use crate::config::Reload;
use crate::dataset::links_sentence;
use crate::model::DatasetName;
use crate::reload;
use crate::telemetry;

/// The waits between two tries of a sync.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// Exit code of what SIGTERM has ended, as shells write it.
const TERMINATED: u8 = 143;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Clone or update the data and publish it; then run the program given after `--`, if any
    Sync(SyncArgs),
    /// Follow and push the data beside an app, without accepting calls
    Daemon(DaemonArgs),
    /// Show the state of datasets
    Status(StatusArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SyncArgs {
    /// The dataset [default: all]
    #[arg(add = ArgValueCompleter::new(complete::datasets))]
    dataset: Option<DatasetName>,
    /// Try only once; without this, the first clone is retried until it works
    #[arg(long)]
    once: bool,
    /// The program to run in place of this one, with its arguments; it starts after the data was published
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DaemonArgs {}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The dataset [default: all]
    #[arg(add = ArgValueCompleter::new(complete::datasets))]
    dataset: Option<DatasetName>,
}

pub(crate) async fn run(global: &Global, output: &Output, args: Args) -> anyhow::Result<u8> {
    match args {
        Args::Sync(args) => sync(global, output, args).await,
        Args::Daemon(_) => daemon(global).await,
        Args::Status(args) => status(global, output, &args).await,
    }
}

async fn sync(global: &Global, output: &Output, args: SyncArgs) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    telemetry::start_logging(config.server.log_json, "warn");
    let plans = chosen(&config, args.dataset.as_ref())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancel = Cancel::default();
    let work = async {
        for plan in &plans {
            sync_one(output, plan, &args, &cancel).await?;
        }
        anyhow::Ok(())
    };
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => done?,
        () = async { tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () } } => {
            cancel.cancel();
            // What it runs is ended first, so that nothing outlives it.
            let _ = tokio::time::timeout(Duration::from_secs(8), work).await;
            return Ok(TERMINATED);
        }
    }
    if args.command.is_empty() {
        return Ok(0);
    }
    let error = process::replace_by(&args.command);
    Err(error).with_context(|| format!("{} could not be started", args.command[0]))
}

async fn sync_one(output: &Output, plan: &Reload, args: &SyncArgs, cancel: &Cancel) -> anyhow::Result<()> {
    let mut again = AGAIN;
    loop {
        let why = match reload::sync(plan, !args.command.is_empty(), cancel).await {
            Ok(synced) if synced.commit.is_some() => {
                show_synced(output, plan, &synced);
                return Ok(());
            }
            Ok(synced) => anyhow::anyhow!("{}: there is no data yet: {}", plan.data.name, synced.notes.join("; ")),
            Err(error) => anyhow::Error::new(error).context(format!("The dataset {} is not available", plan.data.name)),
        };
        if args.once || cancel.is_cancelled() {
            return Err(why);
        }
        let pause = again.fail();
        output.failure(&why.context(format!("trying again in {} s", pause.as_secs())));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => {}
        }
    }
}

fn show_synced(output: &Output, plan: &Reload, synced: &reload::Synced) {
    let commit = synced.commit.as_ref().map(ToString::to_string).unwrap_or_default();
    if output.is_json() {
        let notes = &synced.notes;
        output.json_line(&serde_json::json!({ "dataset": plan.data.name, "outcome": synced.outcome, "commit": commit, "notes": notes }));
        return;
    }
    output.say(&format!("{}: {}, {commit}", plan.data.name, synced.outcome));
    for note in &synced.notes {
        output.say(&format!("  {} {note}", output.paint(Tone::Careful, "!")));
    }
}

fn chosen(config: &Config, name: Option<&DatasetName>) -> anyhow::Result<Vec<Arc<Reload>>> {
    let missing = |name: &DatasetName| format!("There is no [dataset.{name}] in the configuration");
    match name {
        Some(name) => Ok(vec![Arc::clone(config.datasets.get(name).with_context(|| missing(name))?)]),
        None if config.datasets.is_empty() => anyhow::bail!("No dataset is configured; add a [dataset.NAME] to the configuration."),
        None => Ok(config.datasets.values().cloned().collect()),
    }
}

async fn daemon(global: &Global) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    telemetry::start_logging(config.server.log_json, &config.server.log_level);
    chosen(&config, None)?;
    let mut stop = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut again = signal(SignalKind::hangup())?;
    let datasets = config.datasets.len();
    let daemon = Daemon::start(config).await?;
    tracing::info!(datasets, version = env!("CARGO_PKG_VERSION"), "following");
    loop {
        tokio::select! {
            _ = stop.recv() => break,
            _ = interrupt.recv() => break,
            _ = again.recv() => daemon.read_again(&global.config),
        }
    }
    tracing::info!("stopping; trying to push local commits once more");
    daemon.stop().await;
    Ok(0)
}

async fn status(global: &Global, output: &Output, args: &StatusArgs) -> anyhow::Result<u8> {
    let api::Datasets { mut datasets, unseen } = match Client::new(global)?.get::<api::Datasets>("/api/v1/datasets").await {
        Ok(all) => all,
        Err(error) if !global.is_here() || error.downcast_ref::<Refusal>().is_some() => return Err(error),
        // No server is running here: read the repositories and the database directly.
        Err(_) => {
            let datasets = Record::open(&Config::load(&global.config)?).await?.datasets().await?;
            api::Datasets { datasets, unseen: Vec::new() }
        }
    };
    if let Some(name) = &args.dataset {
        datasets.retain(|dataset| dataset.name == *name);
        anyhow::ensure!(!datasets.is_empty(), "There is no dataset {name}; `tagalong data status` lists the datasets.");
    }
    if output.is_json() {
        output.json(&api::Datasets { datasets, unseen });
        return Ok(0);
    }
    if datasets.is_empty() && unseen.is_empty() {
        output.say("No dataset is configured; add a [dataset.NAME] to the configuration.");
    }
    for dataset in &datasets {
        show(output, dataset);
    }
    for why in &unseen {
        output.say(&format!("{} {why}", output.paint(Tone::Careful, "!")));
    }
    Ok(0)
}

fn show(output: &Output, dataset: &api::Dataset) {
    let fact = |name: &str, text: &str| output.say(&format!("  {} {text}", output.paint(Tone::Faint, &format!("{name:<8}"))));
    let careful = |text: &str| output.paint(Tone::Careful, text);
    let ago = |at_ms: i64| duration(clock::now_ms() - at_ms);
    let place = dataset.agent.as_ref().map_or_else(String::new, |agent| format!(" on {agent}"));
    output.say(&format!("{}{place}", output.paint(Tone::Strong, dataset.name.as_str())));
    fact("head", dataset.head.as_deref().unwrap_or("none yet"));
    match &dataset.loaded {
        Some(loaded) => {
            let tone = if dataset.loaded == dataset.head { Tone::Good } else { Tone::Careful };
            let when = dataset.loaded_ms.map_or_else(String::new, |at_ms| format!(", {} ago", ago(at_ms)));
            fact("loaded", &format!("{}{when}", output.paint(tone, loaded)));
        }
        None => fact("loaded", "nothing yet"),
    }
    if dataset.pending > 0 {
        fact("pending", &careful(&format!("{} local commits that the remote does not have", dataset.pending)));
    }
    if let Some(push) = &dataset.push {
        fact("push", push);
    }
    if let Some(last) = &dataset.last {
        let why = last.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        fact("last", &format!("{} {} ago{why}", last.outcome, ago(last.at_ms)));
        if let Some(fault) = &last.load_fault {
            fact("stale", &output.paint(Tone::Bad, fault));
        }
    }
    for parked in &dataset.parked {
        let place = if parked.published { "on the remote" } else { "on this host, and is pushed as soon as the remote accepts it" };
        fact("parked", &careful(&format!("{} ({}) {place}; merge it, then remove the branch", parked.branch, parked.commit)));
    }
    for kept in &dataset.kept {
        let more = if kept.more == 0 { String::new() } else { format!(" and {} more", kept.more) };
        let files: Vec<String> = kept.holds.iter().map(|file| file.escape_debug().to_string()).collect();
        let text = format!(
            "{} only on this host: {}{more}; take what you need, then remove it with `git update-ref -d`",
            kept.name,
            files.join(", ")
        );
        fact("kept", &careful(&text));
    }
    if let Some(text) = links_sentence(&dataset.outward) {
        fact("links", &careful(&text));
    }
    for folder in &dataset.aside {
        fact("aside", &careful(&format!("{folder}; check its contents, then remove it")));
    }
    for owed in &dataset.owed {
        let (tone, text) = told_owed(&dataset.name, owed);
        fact("owed", &output.paint(tone, &text));
    }
    if let Some(fault) = &dataset.fault {
        fact("fault", &output.paint(Tone::Bad, fault));
    }
}

/// What a peer is owed, and whether somebody must look into it.
fn told_owed(dataset: &DatasetName, owed: &api::Owed) -> (Tone, String) {
    let ago = |at_ms: i64| duration(clock::now_ms() - at_ms);
    let why = owed.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    match owed.refused_ms {
        Some(at_ms) => {
            let refused = format!("{} refused {} {} ago{why}", owed.peer, owed.commit, ago(at_ms));
            (Tone::Bad, format!("{refused} It is called again after the next commit, or by `tagalong reload {dataset} --all-peers`"))
        }
        None => (Tone::Careful, format!("{} gets {} for {}, {} tries{why}", owed.peer, owed.commit, ago(owed.since_ms), owed.tries)),
    }
}
