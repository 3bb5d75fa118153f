//! `tagalong key`.

mod list;
mod new;
mod rotate;
mod secret;

use crate::cli::global::Global;
use crate::cli::output::Output;

pub(super) use new::write_secret;
pub(super) use secret::new_signing as signing_secret;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Create a secret and print the lines of configuration for it
    ///
    /// Run as root, the command gives the file to the owner of its folder, so that the server can read it.
    New(new::Args),
    /// List the keys, and how far the rotation of each is
    List,
    /// Replace the secret of a key without refusing anybody, in two steps
    ///
    /// The first run puts a new secret beside the old one in the file of the key, makes the server accept both, and puts the new one
    /// where the [[secret]] tables of the configuration say. A later run drops the old one, once the new one has been used.
    Rotate(rotate::Args),
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    match args {
        Args::New(args) => new::run(output, args),
        Args::List => list::run(global, output).await,
        Args::Rotate(args) => rotate::run(global, output, args).await,
    }
}
