//! `tagalong agent install`: a host becomes an agent, or one that the control plane dials. Run again, it changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;
use url::Url;

use crate::api;
use crate::api::AgentState;
use crate::cli::agent::binary::Binary;
use crate::cli::agent::plan::Changed;
use crate::cli::agent::plan::Plan;
use crate::cli::agent::plan::PlannedAgent;
use crate::cli::agent::plan::Standing;
use crate::cli::agent::plan::Starting;
use crate::cli::agent::remote::Facts;
use crate::cli::agent::remote::NEW_PROGRAM;
use crate::cli::agent::remote::PACKAGED_PROGRAM;
use crate::cli::agent::remote::PROGRAM;
use crate::cli::agent::remote::Remote;
use crate::cli::agent::target::Target;
use crate::cli::agent::target::show_taken;
use crate::cli::client::Client;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::config::Config;
use crate::model::AgentName;
use crate::model::is_in_the_clear;

/// How long an agent may take until it has said hello.
const HELLO: Duration = Duration::from_secs(90);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// The name of the agent [default: NAME of the host in the configuration, or the first part of HOST]
    #[arg(long)]
    name: Option<AgentName>,
    /// The binary for the host [default: this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The address at which the host reaches the control plane [default: `server.public_url` in the configuration, or --url]
    #[arg(long, value_name = "URL")]
    control: Option<Url>,
    /// Certificates that the agent trusts besides the host's own (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

pub(super) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let (mut remote, is_configured) = args.target.remote(global, args.name.as_ref())?;
    let client = Client::new(global)?;
    let binary = Binary::read(args.binary.as_deref())?;
    let agent = if remote.host.is_dialled { None } else { Some(planned(global, args, &remote.name)?) };
    let before = seen(&client, &remote.name).await?;
    let facts = remote.facts().await?;
    if !is_configured {
        show_taken(output, &remote)?;
    }
    facts.suffice(remote.name.as_str(), &binary)?;
    let there = brought(&remote, &facts, &binary, output).await?;
    let plan = Plan { agent, uid: facts.uid };
    let placed = placed(&remote, there, &plan, before.as_ref()).await;
    if placed.is_err() && there == NEW_PROGRAM {
        remote.clear().await;
    }
    let Placed { is_new, was_running, mut changed } = placed?;
    let program = if facts.is_packaged && facts.installed.is_none() { PACKAGED_PROGRAM } else { PROGRAM };
    if is_new {
        let code: api::AgentCode = client.act(&format!("/api/v1/agents/{}/code", remote.name)).await?;
        remote.tagalong(program, &["agent", "host", "enrol"], Some(code.code.as_bytes())).await?;
        changed.push(format!("it was enrolled as {}", remote.name));
    }
    let again = Starting { again: !changed.is_empty() && was_running };
    changed.extend(asked::<_, Changed>(&remote, program, "start", &again).await?.changed);
    let version = said_hello(&client, &remote, (!changed.is_empty()).then_some(before).flatten()).await?;
    show(output, &remote, &changed, &version);
    doctor(&remote, program, output).await?;
    Ok(0)
}

/// What was put in place.
struct Placed {
    /// The host has to be enrolled.
    is_new: bool,
    /// The server ran before.
    was_running: bool,
    changed: Vec<String>,
}

/// Puts everything in place, once the name is free for this host.
async fn placed(remote: &Remote, program: &str, plan: &Plan, known: Option<&api::Agent>) -> anyhow::Result<Placed> {
    let standing: Standing = asked(remote, program, "look", &()).await?;
    let is_new = plan.agent.is_some() && may_enrol(remote, &standing, known)?;
    let Changed { changed } = asked(remote, program, "place", plan).await?;
    Ok(Placed { is_new, was_running: standing.is_running, changed })
}

/// What an agent needs to dial the control plane.
fn planned(global: &Global, args: &Args, name: &AgentName) -> anyhow::Result<PlannedAgent> {
    let public = || Some(Config::load(&global.config).ok()?.server.public_url?.to_string());
    let given = args.control.as_ref().map(ToString::to_string);
    let address = given.or_else(public).or_else(|| global.url.clone());
    let address =
        address.context("Name the address at which the host reaches this control plane: --control https://…, or server.public_url.")?;
    let url = Url::parse(&address).with_context(|| format!("\"{}\" is not the address of a server", address.escape_default()))?;
    anyhow::ensure!(!is_in_the_clear(&url), "{url} uses plain http; an agent dials https.");
    let read = |file: &PathBuf| std::fs::read_to_string(file).with_context(|| format!("The file {} cannot be read", file.display()));
    Ok(PlannedAgent { name: name.clone(), url, ca_pem: args.ca_file.as_ref().map(read).transpose()? })
}

/// The tagalong on the host, for the questions that follow: the one that is there, or ours beside its place.
async fn brought(remote: &Remote, facts: &Facts, binary: &Binary, output: &Output) -> anyhow::Result<&'static str> {
    match &facts.installed {
        Some(there) => {
            if *there != binary.sha256 {
                output.notice(&format!(
                    "{} has another binary of tagalong, which stays; `tagalong agent upgrade {}` replaces it.",
                    remote.name,
                    remote.address()
                ));
            }
            Ok(PROGRAM)
        }
        None if facts.is_packaged => Ok(PACKAGED_PROGRAM),
        None => {
            remote.copy(binary).await?;
            Ok(NEW_PROGRAM)
        }
    }
}

/// Whether the host has to be enrolled, and its name is free for that.
fn may_enrol(remote: &Remote, standing: &Standing, known: Option<&api::Agent>) -> anyhow::Result<bool> {
    let name = &remote.name;
    let is_taken = known.is_some_and(|known| known.state != AgentState::Revoked);
    if standing.enrolled.as_ref() == Some(name) {
        return Ok(!is_taken);
    }
    if let Some(other) = standing.enrolled.as_ref().or(standing.configured.as_ref()).filter(|other| *other != name) {
        anyhow::bail!(
            "{} is the agent {other} already; install it under that name (--name {other}), or uninstall it first.",
            remote.address()
        );
    }
    anyhow::ensure!(
        !is_taken,
        "The agent {name} is another host already; give this one another name (--name NAME), or end the other one's (`tagalong agent revoke {name}`)."
    );
    Ok(true)
}

/// What the tagalong on the host answers when it is asked to do `act`.
async fn asked<P: serde::Serialize, A: serde::de::DeserializeOwned>(
    remote: &Remote,
    program: &str,
    act: &str,
    plan: &P,
) -> anyhow::Result<A> {
    let plan = serde_json::to_vec(plan).context("The plan could not be written")?;
    remote.asked(program, act, Some(&plan)).await
}

/// The agent of that name, or the host that is dialled, as the control plane sees it.
pub(super) async fn seen(client: &Client, name: &AgentName) -> anyhow::Result<Option<api::Agent>> {
    let all: api::Agents = client.get("/api/v1/agents").await?;
    Ok(all.agents.into_iter().chain(all.hosts).find(|agent| agent.name == *name))
}

/// The version that said hello, over another line than the one in `before`.
///
/// # Errors
/// When none does in time; the text says what is known of it.
pub(super) async fn said_hello(client: &Client, remote: &Remote, before: Option<api::Agent>) -> anyhow::Result<String> {
    let until = Instant::now() + HELLO;
    let old_line = before.filter(|before| before.state == AgentState::Online).map(|before| before.since_ms);
    loop {
        let now = seen(client, &remote.name).await?;
        if let Some(now) = now.filter(|now| now.state == AgentState::Online && Some(now.since_ms) != old_line)
            && let Some(version) = now.version
        {
            return Ok(version);
        }
        if Instant::now() >= until {
            anyhow::bail!("The agent {} has not connected within {} s. {}", remote.name, HELLO.as_secs(), why_silent(client, remote).await);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn why_silent(client: &Client, remote: &Remote) -> String {
    let all: Option<api::Agents> = client.get("/api/v1/agents").await.ok();
    let problem = all.and_then(|all| all.problems.into_iter().find(|problem| problem.contains(&format!(" {}:", remote.name))));
    if remote.host.is_dialled {
        return problem.unwrap_or_else(|| "Has the server read the configuration with that host (`systemctl reload tagalong`)?".to_owned());
    }
    let uplink = remote.tagalong(PROGRAM, &["--json", "agent", "list"], None).await.ok();
    let uplink = uplink.and_then(|said| serde_json::from_str::<api::Agents>(&said).ok()?.uplink?.why);
    uplink.unwrap_or_else(|| "`tagalong agent list` there says why.".to_owned())
}

fn show(output: &Output, remote: &Remote, changed: &[String], version: &str) {
    if output.is_json() {
        let name = &remote.name;
        output.json(&serde_json::json!({ "name": name, "address": remote.address(), "changed": changed, "version": version }));
        return;
    }
    for change in changed {
        output.say(&format!("  {change}"));
    }
    let nothing = if changed.is_empty() { "; nothing was changed" } else { "" };
    output.say(&format!("{} {} is connected, with tagalong {version}{nothing}", output.paint(Tone::Good, "✓"), remote.name));
}

/// The host's own doctor. What it finds is shown, and is no failure of the installation.
async fn doctor(remote: &Remote, program: &str, output: &Output) -> anyhow::Result<()> {
    for finding in remote.doctor(program).await? {
        if !finding.ok {
            output.notice(&format!("{}: {}: {}", remote.name, finding.check, finding.detail));
        }
    }
    Ok(())
}
