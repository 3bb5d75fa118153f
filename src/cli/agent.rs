//! `tagalong agent`.

mod enrol;
mod list;
mod stdio;

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
    #[command(subcommand)]
    act: Option<Act>,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Print a code that enrols one host as the agent NAME, within 15 minutes and once
    Token(One),
    /// Enrol this host at a control plane, with a code that was printed there
    Enrol(enrol::Args),
    /// List the agents: which are connected, and since when
    List,
    /// Revoke an agent: its keys count no more, and its line is cut at once
    Revoke(One),
    /// Let an agent connect again that was enrolled before the database of the control plane was lost
    Readmit(One),
    /// Replace the key pair of this host; the control plane knows both until the new one is used
    Renew,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The name of the agent
    name: AgentName,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    match &args.act {
        None if args.stdio => {
            stdio::stdio(&Config::load(&global.config)?)?;
            Ok(0)
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
        Some(Act::Token(One { name })) => token(global, output, name).await,
        Some(Act::Enrol(args)) => enrol::run(global, output, args).await,
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
