//! `tagalong agent`.

mod binary;
mod enrol;
mod host;
mod install;
mod list;
mod place;
mod plan;
mod remote;
mod service;
mod stdio;
mod swap;
mod target;
mod uninstall;
mod upgrade;

use std::time::Duration;

use crate::api;
use crate::cli::client::Client;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::serve;
use crate::clock;
use crate::config::Config;
use crate::model::AgentName;

pub(in crate::cli) use list::show_uplink;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Speak with a control plane over standard input and output, which ssh connects; the server of this host carries orders out
    #[arg(long)]
    stdio: bool,
    /// Run the server apart from whoever started it; `agent --stdio` does that by itself
    #[arg(long, hide = true)]
    apart: bool,
    /// End after nobody has needed the server for so long
    #[arg(long, hide = true, value_name = "SECONDS", requires = "apart")]
    leave_after: Option<u64>,
    #[command(subcommand)]
    act: Option<Act>,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Print a code that enrols one host as the agent NAME, once and within 15 minutes
    Token(One),
    /// Enrol this host at a control plane, with a code that was printed there
    Enrol(enrol::Args),
    /// Make a host an agent by ssh: install the binary, a unit and a configuration, enrol it and start it; a second run changes nothing
    Install(Box<install::Args>),
    /// Replace the binary of a host by ssh, or of this host; if the new one fails, the previous one is put back
    Upgrade(Box<upgrade::Args>),
    /// Remove the server of a host by ssh and revoke its keys; its stacks keep running
    Uninstall(Box<uninstall::Args>),
    /// What the commands above have the tagalong on a host do
    #[command(subcommand, hide = true)]
    Host(host::Act),
    /// List the agents: which are connected, and since when; on an agent, also the connection to its control plane
    List,
    /// Revoke an agent: its keys are no longer valid, and its connection is cut at once
    Revoke(One),
    /// Let an agent that was enrolled before the control plane lost its database connect again
    Readmit(One),
    /// Replace the key pair of this host; the control plane knows both until the new one is used
    Renew,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The name of the agent
    name: AgentName,
}

pub(crate) async fn run(global: &Global, output: &Output, args: Args) -> anyhow::Result<u8> {
    match args.act {
        None if args.stdio => {
            stdio::stdio(global, &Config::load(&global.config)?).await?;
            Ok(0)
        }
        None if args.apart => {
            // A server that was started by hand leads its group and has its terminal to itself.
            let _ = process::leave_session();
            serve::run_while_needed(global, args.leave_after.map(Duration::from_secs)).await
        }
        None => {
            let config = Config::load(&global.config)?;
            anyhow::ensure!(
                config.agent.is_some(),
                "{} has no [agent] table, so there is no control plane to connect to; `tagalong agent enrol` prints its lines.",
                global.config.display()
            );
            serve::run(global, &serve::Args {}).await
        }
        Some(Act::Token(One { name })) => token(global, output, &name).await,
        Some(Act::Enrol(args)) => enrol::run(global, output, &args).await,
        Some(Act::Install(args)) => install::run(global, output, &args).await,
        Some(Act::Upgrade(args)) => upgrade::run(global, output, *args).await,
        Some(Act::Uninstall(args)) => uninstall::run(global, output, &args).await,
        Some(Act::Host(act)) => host::run(global, output, &act).await,
        Some(Act::List) => list::run(global, output).await,
        Some(Act::Revoke(One { name })) => {
            let done: api::Done = Client::new(global)?.act(&format!("/api/v1/agents/{name}/revoke")).await?;
            output.done(&done);
            Ok(0)
        }
        Some(Act::Readmit(One { name })) => {
            let done: api::Done = Client::new(global)?.act(&format!("/api/v1/agents/{name}/readmit")).await?;
            output.done(&done);
            Ok(0)
        }
        Some(Act::Renew) => enrol::renew(global, output),
    }
}

async fn token(global: &Global, output: &Output, name: &AgentName) -> anyhow::Result<u8> {
    let code: api::AgentCode = Client::new(global)?.act(&format!("/api/v1/agents/{name}/code")).await?;
    if output.is_json() {
        output.json(&code);
        return Ok(0);
    }
    output.notice(&format!(
        "This code enrols one host as {name} until {}. Put it into a file there that only root can read, and run there: tagalong agent enrol --url \
         https://… --code-file FILE",
        clock::local(code.until_ms)
    ));
    output.say(&code.code);
    Ok(0)
}
