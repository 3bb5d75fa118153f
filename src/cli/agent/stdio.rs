//! `tagalong agent --stdio`.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Context as _;

use crate::agent;
use crate::cli::agent::service::Keeper;
use crate::cli::agent::service::leaving;
use crate::cli::global::Global;
use crate::config::Config;

/// Copies frames between the standard streams and the server of this host, until either ends. A server that does not run is started, and
/// outlives this process: it carries out what it has accepted, whatever becomes of the line.
pub(super) async fn stdio(global: &Global, config: &Config) -> anyhow::Result<()> {
    let socket = agent::socket(&config.server.data_dir);
    let mut from_server = match UnixStream::connect(&socket) {
        Ok(server) => server,
        Err(_) => started(global, config, &socket).await?,
    };
    let mut to_server = from_server.try_clone()?;
    std::thread::spawn(move || {
        // Whoever reads the other half sees how it ended.
        let _ = pass_on(std::io::stdin().lock(), &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    tokio::task::spawn_blocking(move || pass_on(&mut from_server, std::io::stdout().lock()))
        .await?
        .context("The line to the control plane has ended")
}

async fn started(global: &Global, config: &Config, socket: &Path) -> anyhow::Result<UnixStream> {
    let keeper = Keeper::here();
    if keeper == Keeper::Systemd && !rustix::process::geteuid().is_root() {
        anyhow::bail!("The server of this host does not answer at {}; start it with `systemctl start tagalong`.", socket.display());
    }
    let program = std::env::current_exe().context("The path of this program is not known")?;
    keeper.start(global, config, &program, leaving(config)).await?;
    UnixStream::connect(socket).with_context(|| format!("The server of this host does not answer at {}", socket.display()))
}

/// Passes on each piece as it comes. `std::io::copy` would leave that to the kernel, which keeps pieces back until there is more.
fn pass_on(mut from: impl Read, mut to: impl Write) -> std::io::Result<()> {
    let mut piece = vec![0_u8; 16 << 10];
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&piece[..count])?;
        to.flush()?;
    }
}
