//! Whether a repository is damaged, or was only written while git looked at it, or holds what git merely finds odd.
//!
//! What git says is for people, and differs by version and language. So it is judged by how `git fsck` ends, by the object names
//! among its words, and by asking again: whether those objects can be read, and whether git can walk from every ref and the index
//! to the end. `git fsck` lists the objects first and reads the refs and the index later, so a commit that lands in between is
//! missing; what is really damaged is so again. Odd objects (a date that does not read) can be read, and are none of our affair.

use std::collections::BTreeSet;

use process::Cancel;
use process::Ended;

use crate::dataset::DatasetError;
use crate::dataset::call::failed;
use crate::dataset::call::in_memory;
use crate::dataset::git::Repo;

/// This often a repository is looked at before its damage is believed.
pub(super) const LOOKS: usize = 3;

/// A look at every object that the refs lead to, and at its content.
pub(super) const FSCK: [&str; 4] = ["fsck", "--no-dangling", "--no-progress", "--no-reflogs"];

/// What one look found.
enum Look {
    /// Nothing.
    Whole,
    /// It could not be looked at in time.
    TooLarge,
    /// Something, which may be damage.
    Suspect { ended: Ended, said: String },
}

impl Repo {
    /// Whether the repository is damaged for sure. One that is too large to be looked at in time is not.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) async fn is_damaged(&self, cancel: &Cancel) -> Result<bool, DatasetError> {
        match self.look_until_sure(&FSCK, cancel).await {
            Ok(_) => Ok(false),
            Err(DatasetError::Git { .. }) => Ok(true),
            Err(other) => Err(other),
        }
    }

    /// Looks at the repository by `git ARGS`, an fsck, until it is whole or has shown the same damage twice. False when it
    /// could not be looked at in time.
    ///
    /// # Errors
    /// [`DatasetError::Git`] when it is damaged; another when it cannot be looked at.
    pub(super) async fn look_until_sure(&self, args: &[&str], cancel: &Cancel) -> Result<bool, DatasetError> {
        let mut before: Option<BTreeSet<String>> = None;
        for number in 1..=LOOKS {
            let (ended, said) = match self.fsck(args, cancel).await? {
                Look::Whole => return Ok(true),
                Look::TooLarge => return Ok(false),
                Look::Suspect { ended, said } => (ended, said),
            };
            let found = self.still_damaged(&ended, &said, cancel).await?;
            let again = before.as_ref().is_some_and(|before| !before.is_disjoint(&found));
            // Damage in every look is damage, also where it is named otherwise each time.
            let always = number == LOOKS && !found.is_empty() && before.as_ref().is_some_and(|before| !before.is_empty());
            if again || always {
                return Err(failed("fsck", &ended, &said));
            }
            if found.is_empty() {
                // All that it missed can be read: it is odd, or an app writes all the time.
                return Ok(true);
            }
            before = Some(found);
        }
        Ok(true)
    }

    async fn fsck(&self, args: &[&str], cancel: &Cancel) -> Result<Look, DatasetError> {
        match self.git(args.iter().copied()).run(cancel).await {
            (Ended::Exit(0), ..) => Ok(Look::Whole),
            (Ended::Deadline(_), ..) => Ok(Look::TooLarge),
            (ended @ Ended::Exit(_), out, err) => Ok(Look::Suspect { ended, said: format!("{err}\n{out}") }),
            (ended, _, err) => Err(failed("fsck", &ended, &err)),
        }
    }

    /// What of a look that `ended` so is damage now: the names that git has `said` and that lead to nothing that can be read (a
    /// pack's name never does), or else that its objects cannot be walked.
    async fn still_damaged(&self, ended: &Ended, said: &str, cancel: &Cancel) -> Result<BTreeSet<String>, DatasetError> {
        let mut found: BTreeSet<String> = names_in(said).into_iter().map(str::to_owned).collect();
        if !found.is_empty() {
            let input: String = found.iter().flat_map(|name| [name, "\n"]).collect();
            let call = self.git(["cat-file", "--batch-check=%(objectname)"]).stdin(in_memory(input.as_bytes())?);
            let (_, out, _) = call.run(cancel).await;
            let read: BTreeSet<&str> = out.lines().collect();
            found.retain(|name| !read.contains(name.as_str()));
        }
        if found.is_empty() && !self.can_be_walked(cancel).await? {
            found.insert(ended.to_string());
        }
        Ok(found)
    }

    /// Whether every commit, tree and file that a ref or the index leads to is there.
    async fn can_be_walked(&self, cancel: &Cancel) -> Result<bool, DatasetError> {
        match self.git(["rev-list", "--quiet", "--objects", "--all", "--indexed-objects"]).run(cancel).await {
            (Ended::Exit(code), ..) => Ok(code == 0),
            (Ended::Deadline(_), ..) => Ok(true),
            (ended, _, err) => Err(failed("rev-list", &ended, &err)),
        }
    }
}

/// The object names in what git says.
fn names_in(said: &str) -> Vec<&str> {
    said.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| matches!(word.len(), 40 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::names_in;

    #[test]
    fn object_names_are_found_in_what_git_says() {
        let name = "0a".repeat(20);
        assert_eq!(names_in(&format!("missing commit {name}")), [name.as_str()]);
        assert_eq!(names_in(&format!("error: refs/heads/main: invalid sha1 pointer {name}")), [name.as_str()]);
        assert_eq!(names_in("error: inflate: data stream error (incorrect header check)"), Vec::<&str>::new());
    }
}
