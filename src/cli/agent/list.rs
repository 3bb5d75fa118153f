//! `tagalong agent list`.

use crate::api;
use crate::api::AgentState;
use crate::cli::client::Client;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::output::duration;
use crate::clock;

pub(super) async fn run(global: &Global, output: &Output) -> anyhow::Result<u8> {
    let all: api::Agents = Client::new(global)?.get("/api/v1/agents").await?;
    if output.is_json() {
        output.json(&all);
        return Ok(0);
    }
    if all.agents.is_empty() && all.hosts.is_empty() && all.uplink.is_none() {
        output.say("No agent is enrolled; `tagalong agent token NAME` prints a code that enrols one.");
    }
    for agent in all.agents.iter().chain(&all.hosts) {
        show(output, agent);
    }
    for problem in &all.problems {
        output.say(&format!("{} {}", output.paint(Tone::Bad, "!"), output.wrapped(2, problem).trim_start()));
    }
    if let Some(uplink) = &all.uplink {
        show_uplink(output, uplink);
    }
    Ok(0)
}

fn show(output: &Output, agent: &api::Agent) {
    let age = duration(clock::now_ms() - agent.since_ms);
    let (tone, words) = match agent.state {
        AgentState::Online => (Tone::Good, format!("online for {age}")),
        AgentState::Stuck => (Tone::Bad, format!("stuck for {age}: it answers pings, and does not take what it is sent")),
        AgentState::Away => (Tone::Bad, format!("away for {age}")),
        AgentState::Never if agent.keys.is_empty() => (Tone::Bad, format!("not reached by ssh for {age}")),
        AgentState::Never => (Tone::Careful, format!("enrolled {age} ago and not connected since")),
        AgentState::Revoked => (Tone::Faint, format!("revoked {age} ago")),
    };
    let version = agent.version.as_ref().map(|version| format!(", tagalong {version}")).unwrap_or_default();
    output.say(&format!("{} {}{version}", output.paint(Tone::Strong, agent.name.as_str()), output.paint(tone, &words)));
    if let Some(clone) = &agent.clone {
        let age = duration(clock::now_ms() - clone.at_ms);
        output.say(&output.wrapped(2, &format!("a copy of its keys was refused {age} ago: {}", clone.what)));
    }
}

/// The line to the control plane of the server that was asked.
pub(in crate::cli) fn show_uplink(output: &Output, uplink: &api::Uplink) {
    let words = match (uplink.online_ms, &uplink.why) {
        (Some(online_ms), _) => output.paint(Tone::Good, &format!("connected for {}", duration(clock::now_ms() - online_ms))),
        (None, why) => {
            let why = why.as_deref().unwrap_or("It is being dialled.");
            let next = uplink.next_ms.map(|next_ms| format!(" Next attempt in {}.", duration((next_ms - clock::now_ms()).max(0))));
            output.paint(Tone::Bad, &format!("not connected. {why}{}", next.unwrap_or_default()))
        }
    };
    output.say(&format!("control plane {} (as {}): {words}", uplink.url, uplink.name));
}
