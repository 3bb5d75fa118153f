//! Where a dataset is on this host: its folder, and beside it tagalong's own for the lock, new clones and files that were moved
//! aside.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use process::HostLock;
use process::LockError;

use crate::clock;
use crate::config;
use crate::dataset::DatasetError;
use crate::dataset::beneath::Beneath;
use crate::dataset::beneath::plain_folder;

/// The name of our own folder inside a dataset's folder.
pub(super) const INSIDE: &str = ".tagalong";
/// The folder for moved files, in our own folder.
pub(super) const ASIDE: &str = "aside";

/// The places of one dataset.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The checkout.
    pub(super) dir: PathBuf,
    /// Our own folder, on the same file system: beside the checkout, or inside if the checkout is a volume of its own.
    pub(super) side: PathBuf,
    inside: bool,
}

/// The content of the dataset's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or an empty folder.
    Nothing,
    /// Something other than a repository.
    Foreign,
    /// A repository, in any state.
    Repository,
}

impl Place {
    /// The places of `settings`; our own folder is created.
    pub(super) fn of(settings: &Arc<config::Dataset>) -> Result<Self, DatasetError> {
        let dir = settings.dir.clone();
        let parent = dir.parent().unwrap_or(Path::new("/")).to_owned();
        let inside = match std::fs::metadata(&dir) {
            Ok(meta) if !meta.is_dir() => return Err(DatasetError::NotAFolder(dir)),
            Ok(meta) => is_apart(&meta, &parent) || rustix::fs::access(&parent, rustix::fs::Access::WRITE_OK).is_err(),
            Err(_) => false,
        };
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let side = if inside { dir.join(INSIDE) } else { parent.join(format!(".{name}.tagalong")) };
        std::fs::create_dir_all(side.parent().unwrap_or(Path::new("/"))).map_err(|error| DatasetError::File(side.clone(), error))?;
        plain_folder(&side).map_err(|error| DatasetError::File(side.clone(), error))?;
        Ok(Self { dir, side, inside })
    }

    /// Takes the dataset's lock, waiting at most `patience` for its holder.
    pub(super) async fn take_lock(&self, patience: Duration) -> Result<HostLock, DatasetError> {
        let path = self.side.join("lock");
        // This goes through the open folder, because others may have replaced its path by a link.
        let side = self.open_side().map_err(|error| DatasetError::File(path.clone(), error))?;
        let taken = HostLock::take_over(&side.path().join("lock"), patience).await;
        taken.map_err(|error| match error {
            LockError::File(_, error) => LockError::File(path, error).into(),
            LockError::Taken(_, by) => LockError::Taken(path, by).into(),
        })
    }

    /// An unused folder name for a new clone. Incomplete clones are removed: nobody ever worked in them.
    pub(super) fn new_clone(&self) -> PathBuf {
        if let Ok(side) = self.open_side() {
            let names = side.names("").unwrap_or_default();
            for name in names.iter().filter(|name| name.to_string_lossy().starts_with("clone-")) {
                // If it cannot be removed, it only takes up space.
                let _ = side.remove_all(name);
            }
        }
        self.side.join(format!("clone-{}", clock::new_id()))
    }

    pub(super) fn found(&self) -> Result<Found, DatasetError> {
        if self.dir.join(".git").symlink_metadata().is_ok() || (self.dir.join("HEAD").is_file() && self.dir.join("objects").is_dir()) {
            return Ok(Found::Repository);
        }
        Ok(if self.entries()?.is_empty() { Found::Nothing } else { Found::Foreign })
    }

    /// The content of the dataset's folder, without our own folder.
    fn entries(&self) -> Result<Vec<PathBuf>, DatasetError> {
        let error = |error| DatasetError::File(self.dir.clone(), error);
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(error)? {
            paths.push(entry.map_err(error)?.path());
        }
        paths.retain(|path| !path.ends_with(INSIDE));
        paths.sort();
        Ok(paths)
    }

    /// The path of a new folder for files that are moved aside.
    fn aside(&self, what: &str) -> Result<PathBuf, DatasetError> {
        let asides = self.side.join(ASIDE);
        plain_folder(&asides).map_err(|error| DatasetError::File(asides.clone(), error))?;
        let name = format!("{}{what}", clock::utc(clock::now_ms()).replace(':', "-"));
        let to = asides.join(&name);
        Ok(if to.symlink_metadata().is_ok() { asides.join(format!("{name}-{}", clock::new_id())) } else { to })
    }

    /// A new folder for files that were in the way of the remote's, and the same folder held open.
    pub(super) fn new_aside(&self) -> Result<(PathBuf, Beneath), DatasetError> {
        let to = self.aside("-in-the-way")?;
        let made = self.open_side().and_then(|side| side.made(to.strip_prefix(&self.side).unwrap_or(&to)));
        let made = made.map_err(|error| DatasetError::File(to.clone(), error))?;
        Ok((to, made))
    }

    /// Removes a folder of [`Self::new_aside`] if it is empty.
    pub(super) fn drop_empty_aside(&self, folder: &Path) {
        let _ = self.open_side().map(|side| side.remove_empty(folder.strip_prefix(&self.side).unwrap_or(folder)));
    }

    /// Our own folder, held open: if it is inside the checkout, others may put a link in its place.
    pub(super) fn open_side(&self) -> std::io::Result<Beneath> {
        let parent = Beneath::open_real(self.side.parent().unwrap_or(Path::new("/")))?;
        parent.at(Path::new(self.side.file_name().unwrap_or_default()))
    }

    /// Moves the whole content of the dataset's folder into a new folder and returns its path. Nothing is ever deleted.
    pub(super) fn set_aside(&self) -> Result<PathBuf, DatasetError> {
        let to = self.aside("")?;
        let error = |error| DatasetError::File(to.clone(), error);
        if !self.inside && std::fs::rename(&self.dir, &to).is_ok() {
            return Ok(to);
        }
        let side = self.open_side().map_err(error)?;
        let aside = side.made(to.strip_prefix(&self.side).unwrap_or(&to)).map_err(error)?;
        let dir = Beneath::open_real(&self.dir).map_err(error)?;
        for path in self.entries()? {
            let name = Path::new(path.file_name().unwrap_or_default());
            let moved = dir.move_to(name, &aside, name);
            // A volume's own lost+found may belong to root; it is empty, or not our business.
            if !path.ends_with("lost+found") {
                moved.map_err(error)?;
            }
        }
        Ok(to)
    }

    /// Puts a complete new clone into its place, which must be empty. The git folder comes last: if this is interrupted before,
    /// the content is not a repository, and the next start moves it aside.
    pub(super) fn install(&self, clone: &Path) -> Result<(), DatasetError> {
        let error = |error| DatasetError::File(self.dir.clone(), error);
        if !self.inside {
            // An empty folder is removed.
            let _ = std::fs::remove_dir(&self.dir);
            if std::fs::rename(clone, &self.dir).is_ok() {
                return Ok(());
            }
        }
        std::fs::create_dir_all(&self.dir).map_err(error)?;
        let side = self.open_side().map_err(error)?;
        let name = Path::new(clone.file_name().unwrap_or_default());
        let from = side.at(name).map_err(error)?;
        let dir = Beneath::open_real(&self.dir).map_err(error)?;
        let mut all = from.names("").map_err(error)?;
        all.sort_by_key(|name| name == ".git");
        for name in all.iter().map(Path::new) {
            from.move_to(name, &dir, name).map_err(error)?;
        }
        // It is empty by now; if it cannot be removed, a later clone removes it.
        side.remove_empty(name);
        Ok(())
    }

    /// Every folder that was moved aside, oldest first.
    pub(super) fn asides(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> =
            std::fs::read_dir(self.side.join(ASIDE)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        all.sort();
        all
    }

    /// Names in the dataset's folder that git must not take for data.
    pub(super) fn not_data(&self) -> &'static [&'static str] {
        if self.inside { &["/.tagalong/", "/lost+found/"] } else { &[] }
    }
}

/// Whether a folder is a mount point.
fn is_apart(meta: &std::fs::Metadata, parent: &Path) -> bool {
    std::fs::metadata(parent).is_ok_and(|parent| parent.dev() != meta.dev())
}
