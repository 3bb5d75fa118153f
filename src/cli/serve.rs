//! `tagalong serve`.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::time::Instant;

use crate::app::App;
use crate::app::LOCK_FILE;
use crate::cli::global::Global;
use crate::config::Config;
use crate::telemetry;

/// How often it is looked whether anybody needs this server.
const LOOK: Duration = Duration::from_secs(1);

/// What a server is called with that ends when nobody needs it.
pub(in crate::cli) const LEAVE_AFTER: &str = "--leave-after";

/// How long such a server may take until it has ended.
const STOP: Duration = Duration::from_secs(70);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(global: &Global, _: &Args) -> anyhow::Result<u8> {
    let config = read(global)?;
    end_one_apart(&config.server.data_dir).await?;
    serve(global, config, None).await
}

/// The same. It ends by itself after nobody needed it for as long as `leave_after` says: no control plane was connected and no order was
/// left. A server that runs with the same data folder stays.
pub(in crate::cli) async fn run_while_needed(global: &Global, leave_after: Option<Duration>) -> anyhow::Result<u8> {
    serve(global, read(global)?, leave_after).await
}

fn read(global: &Global) -> anyhow::Result<Config> {
    let config = Config::load(&global.config)?;
    telemetry::start_logging(config.server.log_json, &config.server.log_level);
    Ok(config)
}

async fn serve(global: &Global, config: Config, leave_after: Option<Duration>) -> anyhow::Result<u8> {
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

/// Ends the server of the data folder `dir` that `agent --stdio` started and that stays only while it is needed, so that this process can
/// take its place. What that one carries out goes on here. Any other server stays.
///
/// # Errors
/// When it does not end.
async fn end_one_apart(dir: &Path) -> anyhow::Result<()> {
    for holder in process::holders_of(&dir.join(LOCK_FILE)) {
        let pid = holder.pid;
        if process::arguments(pid).iter().any(|word| word == LEAVE_AFTER) {
            tracing::info!(pid, "the server that agent --stdio has started ends, and this one takes its place");
            end_server(pid).await?;
        }
    }
    Ok(())
}

/// Ends the server that runs as the process `pid`.
///
/// # Errors
/// When it does not end.
pub(in crate::cli) async fn end_server(pid: i32) -> anyhow::Result<()> {
    let has_ended = process::end(pid, STOP).await.with_context(|| format!("The server (process {pid}) could not be ended"))?;
    anyhow::ensure!(has_ended, "The server (process {pid}) did not end within {} s.", STOP.as_secs());
    Ok(())
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
