//! HEAD of the checkout and the logs of its refs: read and written here, because git uses a folder of our own (`own.rs`).

use std::io::Write as _;
use std::path::Path;

use process::Cancel;
use process::Ended;

use crate::clock;
use crate::dataset::DatasetError;
use crate::dataset::git::Repo;
use crate::model::Commit;

/// What HEAD refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Head {
    /// A branch, by its full name.
    On(String),
    /// A commit.
    Detached(Commit),
    /// Its content cannot be read.
    Unreadable,
}

impl Repo {
    /// What HEAD of the checkout refers to.
    pub(super) async fn head(&self, cancel: &Cancel) -> Result<Head, DatasetError> {
        if self.own.is_reftable {
            let (ended, name, _) = self.git(["symbolic-ref", "--quiet", "HEAD"]).run(cancel).await;
            if ended == Ended::Exit(0) && !name.trim().is_empty() {
                return Ok(Head::On(name.trim().to_owned()));
            }
            let at = self.git(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).run(cancel).await.1;
            return Ok(Commit::parse(at.trim()).map_or(Head::Unreadable, Head::Detached));
        }
        let text = self.files()?.text("HEAD").unwrap_or_default();
        Ok(match text.trim().strip_prefix("ref:").map(str::trim) {
            Some(name) if name.starts_with("refs/") && !name.contains("..") => Head::On(name.to_owned()),
            Some(_) => Head::Unreadable,
            None => Commit::parse(text.trim()).map_or(Head::Unreadable, Head::Detached),
        })
    }

    /// The commit that HEAD of the checkout leads to.
    pub(super) async fn head_commit(&self, cancel: &Cancel) -> Result<Option<Commit>, DatasetError> {
        match self.head(cancel).await? {
            Head::On(name) => self.tip(&name, cancel).await,
            // The commit may be missing.
            Head::Detached(commit) => self.tip(commit.as_str(), cancel).await,
            Head::Unreadable => Ok(None),
        }
    }

    /// Points HEAD of the checkout to the branch, under git's own lock.
    pub(super) async fn set_head(&self, cancel: &Cancel) -> Result<(), DatasetError> {
        let branch = self.local_ref();
        if self.own.is_reftable {
            return self.git(["symbolic-ref", "-m", "tagalong", "HEAD", &branch]).text(cancel).await.map(drop);
        }
        let files = self.files()?;
        let before = self.head_commit(cancel).await?;
        let put = || {
            files.create("HEAD.lock")?.write_all(format!("ref: {branch}\n").as_bytes())?;
            files.rename(Path::new("HEAD.lock"), Path::new("HEAD"))
        };
        put().map_err(|error| DatasetError::File(self.git_dir.join("HEAD"), error))?;
        if let Some(now) = self.tip(&branch, cancel).await? {
            self.log("HEAD", before.as_ref(), &now);
        }
        Ok(())
    }

    /// Adds a line to the log of a ref, as git does. A log only helps people: if it cannot be written, the work continues.
    pub(super) fn log(&self, name: &str, before: Option<&Commit>, now: &Commit) {
        let Ok(files) = self.files() else { return };
        if self.own.is_reftable || self.work.is_none() {
            return;
        }
        let zero = "0".repeat(now.as_str().len());
        let who = crate::dataset::commit::identity(&self.settings);
        let at_s = clock::now_ms() / 1000;
        let line = format!("{} {now} {who} {at_s} +0000\ttagalong\n", before.map_or(zero.as_str(), Commit::as_str));
        let _ = files.append(Path::new("logs").join(name), line.as_bytes());
    }

    /// The same for the branch, and for HEAD if it is on the branch.
    pub(super) fn log_branch(&self, name: &str, before: Option<&Commit>, now: &Commit) {
        if name != self.local_ref() {
            return;
        }
        self.log(name, before, now);
        let head = self.files().and_then(|files| files.text("HEAD").map_err(|error| DatasetError::File(self.git_dir.clone(), error)));
        if head.is_ok_and(|text| text.trim_end().strip_prefix("ref: ") == Some(name)) {
            self.log("HEAD", before, now);
        }
    }
}
