//! `tagalong serve`.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::time::Instant;

use crate::app::App;
use crate::cli::global::Global;
use crate::config::Config;
use crate::telemetry;

/// How often it is looked whether anybody needs this server.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(global: &Global, _: &Args) -> anyhow::Result<u8> {
    run_while_needed(global, None).await
}

/// The same. It ends by itself after nobody needed it for as long as `leave_after` says: no control plane was connected and no order was
/// left.
pub(in crate::cli) async fn run_while_needed(global: &Global, leave_after: Option<Duration>) -> anyhow::Result<u8> {
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
    tell_systemd("READY=1");
    loop {
        tokio::select! {
            _ = stop.recv() => break,
            _ = interrupt.recv() => break,
            _ = again.recv() => app.read_again(&global.config),
            () = unneeded(&app, leave_after) => break,
        }
    }
    tracing::info!("stopping; running deployments are continued at the next start");
    app.stop().await;
    Ok(0)
}

/// Ends when nobody has needed `app` for so long; without a time it never does.
async fn unneeded(app: &App, leave_after: Option<Duration>) {
    let Some(leave_after) = leave_after else { return std::future::pending().await };
    let mut since = Instant::now();
    while since.elapsed() < leave_after {
        tokio::time::sleep(LOOK.min(leave_after)).await;
        if app.is_needed().await {
            since = Instant::now();
        }
    }
    tracing::info!("no control plane is connected and no order is left");
}

/// Says so to systemd ([sd_notify(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html)), so that
/// `systemctl start` returns when calls are answered. Without systemd there is nobody to tell.
#[allow(clippy::disallowed_methods, reason = "the socket's name is systemd's, not the configuration's")]
fn tell_systemd(state: &str) {
    let Ok(name) = std::env::var("NOTIFY_SOCKET") else { return };
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, socket = name, "systemd could not be told that the server is ready");
    }
}
