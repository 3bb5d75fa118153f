//! The command line: one file a subcommand.

mod adopt;
mod agent;
mod approve;
mod audit;
mod backup;
mod cancel;
mod carry;
mod check;
mod client;
mod complete;
mod completions;
mod data;
mod deploy;
mod doctor;
mod follow;
mod global;
mod history;
mod hooks;
mod hosts;
mod incidents;
mod init;
mod kept;
mod key;
mod logs;
mod looks;
mod man;
mod notify;
mod oidc;
mod output;
mod prove;
mod reload;
mod repair;
mod restore;
mod resume;
mod retry;
mod rollback;
mod secrets;
mod serve;
mod sign;
mod smoke;
mod status;
mod tags;
mod typed;
mod user;
mod which;

use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory as _;
use clap::Parser;
use clap::Subcommand;

use crate::cli::global::Global;
use crate::cli::output::Output;

/// Deploys a tag with docker compose, checks the page from outside, and rolls back if the check fails.
#[derive(Debug, Parser)]
#[command(name = "tagalong", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 live · 1 error · 2 usage · 10 rolled back · 11 rollback failed · 12 superseded · 13 refused · 14 failed, \
    nothing changed · 15 broken · 16 needs operator · 17 cancelled · 18 only some peers serve the data · 19 no peer serves it · \
    20 a service is not well (status), or an incident is open (incidents)"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set a stack up: write the configuration, a key or policy for CI, and the workflow, and say what is left to do
    Init(Box<init::Args>),
    /// Run the server: accept orders over HTTP and carry them out
    Serve(serve::Args),
    /// Run the server as the agent of a control plane, or manage agents
    Agent(agent::Args),
    /// Deploy a tag
    Deploy(deploy::Args),
    /// Roll back to the previous release, a tag or a deployment, and hold the service
    Rollback(rollback::Args),
    /// Show how services stand: what is live, what is running, and what to do where they differ
    Status(status::Args),
    /// List open incidents: faults that scheduled looks have found
    Incidents(incidents::Args),
    /// List the tags that a service can be deployed with or rolled back to
    Tags(tags::Args),
    /// List deployments, newest first
    History(history::Args),
    /// Show the journal of a deployment
    Logs(logs::Args),
    /// Stop a deployment and undo what it has changed
    Cancel(cancel::Args),
    /// Approve a deployment that waits for it, with the code that was sent to you
    Approve(approve::Args),
    /// Repeat a deployment that has ended
    Retry(retry::Args),
    /// Deploy the last verified release again, where it is not running as it should
    Repair(repair::Args),
    /// Adopt the running release: check it and record it as verified, without changing anything
    Adopt(adopt::Args),
    /// Let CI deploy again after a rollback, or after an outcome that needs an operator
    Resume(resume::Args),
    /// Reload a dataset on this server and, if asked, on its peers
    Reload(reload::Args),
    /// Manage the data of an app: sync, daemon, status
    #[command(subcommand)]
    Data(data::Args),
    /// Copy the server's state to a new folder while the server is running
    Backup(backup::Args),
    /// Replace the state of a stopped server with a backup
    Restore(restore::Args),
    /// Check the configuration and every stack, and show every problem at once
    Check(check::Args),
    /// Check a page from outside, as a browser would load it; needs no server
    Smoke(Box<smoke::Args>),
    /// Check Docker, compose, registries, disk, permissions and the clock
    Doctor(doctor::Args),
    /// Create, list and rotate keys
    #[command(subcommand)]
    Key(key::Args),
    /// Manage the users of the dashboard
    #[command(subcommand)]
    User(user::Args),
    /// Put secrets and variables of Actions at forges, and secrets into Kubernetes manifests
    #[command(subcommand)]
    Secrets(secrets::Args),
    /// Print the headers that sign a body, or a complete curl command
    Sign(sign::Args),
    /// Explain the OIDC tokens of jobs
    #[command(subcommand)]
    Oidc(oidc::Args),
    /// Try the rules for webhooks of forges
    #[command(subcommand)]
    Hooks(hooks::Args),
    /// Try the notifiers that tell people what happened
    #[command(subcommand)]
    Notify(notify::Args),
    /// Verify the audit trail
    #[command(subcommand)]
    Audit(audit::Args),
    /// Print shell completions
    Completions(completions::Args),
    /// Print the man page
    Man,
    /// Carry out a deployment of the stack that tagalong runs in; a server starts this by itself
    #[command(hide = true)]
    Carry(carry::Args),
    /// Show that this version can take over from the one that runs; a deployment of tagalong itself asks this by itself
    #[command(hide = true)]
    Prove(prove::Args),
}

/// Runs the command line and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    // Where a shell asks what fits, it is answered and that was all.
    clap_complete::CompleteEnv::with_factory(Cli::command).var(completions::ASKED_BY).completer("tagalong").complete();
    let cli = Cli::parse();
    let output = Output::new(cli.global.json);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(cli, &output));
            // A disk that hangs must not keep the process.
            runtime.shutdown_timeout(Duration::from_secs(1));
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = error.downcast_ref::<client::Refusal>().map_or(1, client::Refusal::exit_code);
            output.failure(&error);
            ExitCode::from(code)
        }
    }
}

async fn run(cli: Cli, output: &Output) -> anyhow::Result<u8> {
    let global = &cli.global;
    match cli.command {
        Command::Init(args) => init::run(global, output, &args).await,
        Command::Serve(args) => serve::run(global, &args).await,
        Command::Agent(args) => agent::run(global, output, args).await,
        Command::Deploy(args) => deploy::run(global, output, args).await,
        Command::Rollback(args) => rollback::run(global, output, args).await,
        Command::Status(args) => status::run(global, output, &args).await,
        Command::Incidents(args) => incidents::run(global, output, &args).await,
        Command::Tags(args) => tags::run(global, output, &args).await,
        Command::History(args) => history::run(global, output, &args).await,
        Command::Logs(args) => logs::run(global, output, &args).await,
        Command::Cancel(args) => cancel::run(global, output, &args).await,
        Command::Approve(args) => approve::run(global, output, &args).await,
        Command::Retry(args) => retry::run(global, output, &args).await,
        Command::Repair(args) => repair::run(global, output, &args).await,
        Command::Adopt(args) => adopt::run(global, output, &args).await,
        Command::Resume(args) => resume::run(global, output, &args).await,
        Command::Reload(args) => reload::run(global, output, args).await,
        Command::Data(args) => data::run(global, output, args).await,
        Command::Backup(args) => backup::run(global, output, &args).await,
        Command::Restore(args) => restore::run(global, output, &args),
        Command::Check(args) => check::run(global, output, &args).await,
        Command::Smoke(args) => smoke::run(global, output, &args).await,
        Command::Doctor(args) => doctor::run(global, output, &args).await,
        Command::Key(args) => key::run(global, output, &args).await,
        Command::User(args) => user::run(global, output, &args).await,
        Command::Secrets(args) => secrets::run(global, output, &args).await,
        Command::Sign(args) => sign::run(global, output, &args),
        Command::Oidc(args) => oidc::run(global, output, &args).await,
        Command::Hooks(args) => hooks::run(global, output, &args),
        Command::Notify(args) => notify::run(global, output, &args).await,
        Command::Audit(args) => audit::run(global, output, &args).await,
        Command::Completions(args) => completions::run(output, &args),
        Command::Carry(args) => carry::run(global, &args).await,
        Command::Prove(args) => prove::run(global, output, &args).await,
        Command::Man => man::run(output, &Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use clap::CommandFactory as _;
    use clap_complete::ArgValueCompleter;

    use super::Cli;
    use super::which::Which;
    use crate::model::DatasetName;
    use crate::model::ServiceName;

    /// Whatever names something that the server or the configuration knows is completed.
    #[test]
    fn names_are_completed_everywhere() {
        let known = [TypeId::of::<ServiceName>(), TypeId::of::<DatasetName>(), TypeId::of::<Which>()];
        let mut seen = 0;
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            // It makes a name that nobody knows yet.
            if command.get_name() == "init" {
                continue;
            }
            commands.extend(command.get_subcommands().cloned());
            for arg in command.get_arguments().filter(|arg| known.iter().any(|known| arg.get_value_parser().type_id() == *known)) {
                seen += 1;
                assert!(arg.get::<ArgValueCompleter>().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
        }
        assert!(seen >= 16, "{seen}");
    }
}
