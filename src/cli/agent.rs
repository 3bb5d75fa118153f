//! `tagalong agent`.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use anyhow::Context as _;

use crate::agent;
use crate::cli::global::Global;
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Speak with a control plane over standard input and output, which ssh connects; the server of this host carries orders out
    #[arg(long)]
    stdio: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<u8> {
    anyhow::ensure!(args.stdio, "Say what to do: `tagalong agent --stdio` is what a control plane runs over ssh.");
    let config = Config::load(&global.config)?;
    stdio(&config)?;
    Ok(0)
}

/// Copies frames between the standard streams and the server of this host, until either ends.
fn stdio(config: &Config) -> anyhow::Result<()> {
    let socket = agent::socket(&config.server.data_dir);
    let server = UnixStream::connect(&socket);
    let mut from_server = server.with_context(|| {
        format!("The server of this host does not answer at {}; start it with `systemctl start tagalong`", socket.display())
    })?;
    let mut to_server = from_server.try_clone()?;
    std::thread::spawn(move || {
        // Whoever reads the other half sees how it ended.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    // Standard output passes on whole lines at once, and every frame is one.
    std::io::copy(&mut from_server, &mut std::io::stdout().lock()).context("The line to the control plane has ended")?;
    Ok(())
}
