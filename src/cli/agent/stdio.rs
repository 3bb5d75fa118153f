//! `tagalong agent --stdio`.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use anyhow::Context as _;

use crate::agent;
use crate::config::Config;

/// Copies frames between the standard streams and the server of this host, until either ends.
pub(super) fn stdio(config: &Config) -> anyhow::Result<()> {
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
