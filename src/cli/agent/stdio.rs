//! `tagalong agent --stdio`.

use std::io::Read;
use std::io::Write;
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
        let _ = pass_on(std::io::stdin().lock(), &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    pass_on(&mut from_server, std::io::stdout().lock()).context("The line to the control plane has ended")
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
