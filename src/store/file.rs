//! The file of the SQLite database, which somebody may remove or replace while it is open. SQLite goes on writing to the file
//! that it has open, where the next start finds nothing of it.

use std::fs::File;
use std::fs::Metadata;
use std::io::Error;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

/// The file that this process works with.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// Its device and its number there.
    place: (u64, u64),
}

impl DatabaseFile {
    /// The file at `path`, which is made where there is none.
    pub(super) fn made(path: PathBuf) -> std::io::Result<Self> {
        // SQLite gives the files beside it the mode of the database, and an existing one keeps its own.
        let file = File::options().append(true).create(true).mode(0o600).open(&path)?;
        Ok(Self { place: place(&file.metadata()?), path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is the one that its path names.
    ///
    /// # Errors
    /// When it was removed or replaced: then nothing that is written to it is kept.
    pub(super) async fn still_stands(&self) -> Result<(), sqlx::Error> {
        let there = match tokio::fs::metadata(&self.path).await {
            Ok(there) => Some(place(&there)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let what = match there {
            Some(there) if there == self.place => return Ok(()),
            Some(_) => "replaced",
            None => "removed",
        };
        let why = format!(
            "{} was {what} while tagalong used it, so nothing is kept any more: stop the server, put the file or a backup back, and start it",
            self.path.display()
        );
        Err(Error::other(why).into())
    }
}

fn place(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
