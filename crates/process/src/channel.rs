//! A conversation with a program over two pipes of its own, beside its three standard streams.

use std::os::fd::OwnedFd;

use command_fds::FdMapping;
use tokio::net::unix::pipe;

/// Our end: what is written to `to` the program reads, what it writes comes `from` it. When this is dropped, the program
/// reads the end of its input, also when it is a crash of ours that drops it.
#[derive(Debug)]
pub struct Channel {
    /// To the program.
    pub to: pipe::Sender,
    /// From the program.
    pub from: pipe::Receiver,
}

/// The program's end, for [`crate::run_with`]: it reads from descriptor 3 and writes to descriptor 4, unless it is [`FarEnd::standard`].
#[derive(Debug)]
pub struct FarEnd {
    read: OwnedFd,
    write: OwnedFd,
    is_standard: bool,
}

/// Two pipes.
///
/// # Errors
/// No descriptor is left.
pub fn channel() -> std::io::Result<(Channel, FarEnd)> {
    let (to, read) = pipe::pipe()?;
    let (write, from) = pipe::pipe()?;
    let far = FarEnd { read: read.into_blocking_fd()?, write: write.into_blocking_fd()?, is_standard: false };
    Ok((Channel { to, from }, far))
}

impl FarEnd {
    /// The same, for a program that reads from its standard input and writes to its standard output.
    #[must_use]
    pub fn standard(self) -> Self {
        Self { is_standard: true, ..self }
    }

    pub(super) fn into_mappings(self) -> Vec<FdMapping> {
        let first = if self.is_standard { 0 } else { 3 };
        vec![FdMapping { parent_fd: self.read, child_fd: first }, FdMapping { parent_fd: self.write, child_fd: first + 1 }]
    }
}
