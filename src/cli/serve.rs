//! `tagalong serve`.

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::app::App;
use crate::cli::global::Global;
use crate::config::Config;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(global: &Global, _: &Args) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    telemetry::start_logging(config.server.log_json, &config.server.log_level);
    let socket = config.server.socket.clone();
    let services = config.services.len();
    let mut stop = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut again = signal(SignalKind::hangup())?;
    let app = App::start(config).await?;
    let socket = socket.map_or_else(|| "none".to_owned(), |socket| socket.display().to_string());
    tracing::info!(addresses = ?app.addresses(), %socket, services, version = env!("CARGO_PKG_VERSION"), "serving");
    loop {
        tokio::select! {
            _ = stop.recv() => break,
            _ = interrupt.recv() => break,
            _ = again.recv() => app.read_again(&global.config),
        }
    }
    tracing::info!("stopping; running deployments are continued at the next start");
    app.stop().await;
    Ok(0)
}
