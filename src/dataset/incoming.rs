//! Receives objects from the remote. The git that talks to the remote runs programs that the operator configured (ssh,
//! credential helpers) and cannot be confined to a folder. Therefore it writes nothing in the checkout: new objects arrive in a
//! folder of our own and are moved from there through opened folders. In the other direction, nothing is sent that a confined
//! git has not read in the checkout: a link that somebody puts there at the right moment cannot expose another repository to
//! the remote.

use std::path::Path;
use std::path::PathBuf;

use process::Cancel;
use process::Ended;

use crate::dataset::DatasetError;
use crate::dataset::beneath::Beneath;
use crate::dataset::call::Call;
use crate::dataset::call::failed;
use crate::dataset::call::path_text;
use crate::dataset::git::Repo;
use crate::model::Commit;

impl Repo {
    /// `git ARGS`, a fetch, that stores new objects in our own folder. What an earlier fetch left there is removed.
    pub(super) fn fetching(&self, args: &[&str]) -> Result<Call, DatasetError> {
        let incoming = self.own.incoming();
        let made = match std::fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => std::fs::create_dir(&incoming),
        };
        made.map_err(|error| DatasetError::File(incoming.clone(), error))?;
        let call = self.git(args.iter().copied()).remote(&self.settings.access(), self.settings.fetch_deadline);
        let known = path_text(&self.own.git.join("objects")).replace('\\', "\\\\").replace('"', "\\\"");
        Ok(call.env("GIT_OBJECT_DIRECTORY", path_text(&incoming)).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", format!("\"{known}\"")))
    }

    /// Moves the new objects into the checkout and sets `fetched_ref` to the fetched commit, which is returned.
    pub(super) async fn take_in(&self, cancel: &Cancel) -> Result<Commit, DatasetError> {
        let checkout = self.files()?;
        let moved = || {
            let from = Beneath::open_real(&self.own.incoming())?;
            let to = checkout.at(Path::new("objects"))?;
            let mut files = Vec::new();
            for folder in from.names("")?.into_iter().map(PathBuf::from) {
                files.extend(from.names(&folder)?.into_iter().map(|name| folder.join(name)));
            }
            // A pack is complete only once its index exists.
            files.sort_by_key(|file| file.extension().is_some_and(|ending| ending == "idx"));
            for file in files {
                to.made(file.parent().unwrap_or(Path::new("")))?;
                to.bring(&from.path().join(&file), &file)?;
            }
            Ok(())
        };
        moved().map_err(|error: std::io::Error| DatasetError::File(self.git_dir.join("objects"), error))?;
        let text = std::fs::read_to_string(self.own.git.join("FETCH_HEAD")).unwrap_or_default();
        let nothing = || DatasetError::Git { what: "fetch".to_owned(), why: "it fetched nothing".to_owned() };
        let tip = text.split('\t').next().and_then(|name| Commit::parse(name).ok()).ok_or_else(nothing)?;
        if self.tip(&self.fetched_ref(), cancel).await?.as_ref() != Some(&tip) {
            self.set_ref(&self.fetched_ref(), &tip, cancel).await?;
        }
        Ok(tip)
    }

    /// Whether the checkout itself contains everything of `commit` that the remote, which has `at`, may lack.
    ///
    /// # Errors
    /// When it does not, or cannot be read.
    pub(super) async fn is_all_here(&self, commit: &Commit, at: Option<&Commit>, cancel: &Cancel) -> Result<(), DatasetError> {
        if self.reach.repository.is_none() {
            return Ok(());
        }
        let there = match at {
            Some(at) => Some(at.clone()),
            None => self.tip(&self.fetched_ref(), cancel).await?,
        };
        let but = there.iter().map(|there| format!("^{there}"));
        let args = ["rev-list", "--objects", "--quiet", commit.as_str()].map(str::to_owned);
        match self.git(args.into_iter().chain(but)).run(cancel).await {
            (Ended::Exit(0), ..) => Ok(()),
            (ended, _, err) => Err(failed("rev-list", &ended, &err)),
        }
    }
}
