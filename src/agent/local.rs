//! A line over a unix socket of this host: where `tagalong agent --stdio`, which ssh has started, finds the server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use process::Cancel;
use tokio::net::UnixListener;

use crate::agent::Agent;
use crate::line;

/// Where the socket is, in the data folder, which is its owner's alone.
#[must_use]
pub fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("line.sock")
}

impl Agent {
    /// Serves what comes over the socket in `data_dir` until `stop`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn listen(self: &Arc<Self>, data_dir: &Path, stop: Cancel) -> std::io::Result<tokio::task::JoinHandle<()>> {
        let path = socket(data_dir);
        // Whoever left it is gone: the data folder is locked.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let agent = Arc::clone(self);
        Ok(tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.cancelled() => return,
                };
                let Ok((stream, _)) = accepted else { continue };
                let agent = Arc::clone(&agent);
                let stop = stop.clone();
                tokio::spawn(async move {
                    let (read, write) = stream.into_split();
                    tokio::select! {
                        ended = agent.serve(line::over_stream(read, write)) => tracing::info!(why = %ended, "a line over the socket has ended"),
                        () = stop.cancelled() => {}
                    }
                });
            }
        }))
    }
}
