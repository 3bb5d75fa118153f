//! `tagalong carry`: what a server starts in a container beside its own, to replace the stack that it runs in.

use process::Cancel;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::app::Carrier;
use crate::cli::global::Global;
use crate::config::Config;
use crate::model::DeploymentId;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The deployment
    #[arg(value_parser = DeploymentId::parse)]
    deployment: DeploymentId,
}

pub(crate) async fn run(global: &Global, args: &Args) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    telemetry::start_logging(config.server.log_json, &config.server.log_level);
    let mut ended = signal(SignalKind::terminate())?;
    let carrier = Carrier::start(config, args.deployment.clone()).await?;
    tracing::info!(deployment = %args.deployment, version = env!("CARGO_PKG_VERSION"), "carrying a deployment of tagalong itself out");
    let stop = Cancel::default();
    let work = tokio::spawn(carrier.carry(stop.clone()));
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => done??,
        _ = ended.recv() => {
            stop.cancel();
            work.await??;
        }
    }
    Ok(0)
}
