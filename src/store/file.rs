//! The file of the SQLite database. Somebody may remove or replace it while the server runs; SQLite would continue to write to the file
//! that it has open, and the next start would find none of that.

use std::fs::File;
use std::fs::Metadata;
use std::io::Error;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

/// The database file that this process has open.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// Its device and inode numbers.
    place: (u64, u64),
}

impl DatabaseFile {
    /// The file at `path`, which is created if it does not exist.
    pub(super) fn made(path: PathBuf) -> std::io::Result<Self> {
        // SQLite gives its other files the mode of the database; an existing file keeps its mode.
        let file = File::options().append(true).create(true).mode(0o600).open(&path)?;
        Ok(Self { place: device_and_inode(&file.metadata()?), path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the path still names this file.
    ///
    /// # Errors
    /// When the file was removed or replaced: nothing that is written to it is kept then.
    pub(super) async fn still_stands(&self) -> Result<(), sqlx::Error> {
        let there = match tokio::fs::metadata(&self.path).await {
            Ok(there) => Some(device_and_inode(&there)),
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

fn device_and_inode(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
