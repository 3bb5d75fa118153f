//! Whether a repository is damaged, or was only written while git examined it.
//!
//! `git fsck` lists the objects first and reads the refs and the index later: a commit that is made in between is "missing",
//! and a pack that an app's git replaces "cannot be accessed". Real damage shows again.

use std::collections::BTreeSet;

use process::Cancel;
use process::Ended;

use crate::dataset::DatasetError;
use crate::dataset::call::failed;
use crate::dataset::call::in_memory;
use crate::dataset::git::Repo;
use crate::dataset::remote::is_damage;

/// How often a repository is examined before its damage is believed.
pub(super) const LOOKS: usize = 3;

/// How git's messages about an object begin that it did not find, or wrongly thinks that it did not.
const ABSENCE: &[&str] = &[
    "missing ",
    "bad object",
    "unable to read",
    "Could not read ",
    "cannot be read",
    "invalid sha1 pointer",
    "does not point to a valid object",
    "unable to find",
    "not our ref",
];

/// The result of one examination.
pub(super) enum Look {
    /// No damage.
    Whole,
    /// It took too long.
    TooLarge,
    /// Damage, with git's messages.
    Damaged { ended: Ended, said: String },
}

impl Repo {
    /// Examines the repository with `git ARGS`, an fsck, until it is complete or has shown the same damage twice. False if that
    /// took too long.
    ///
    /// # Errors
    /// When it is damaged, or cannot be examined.
    pub(super) async fn look_until_sure(&self, args: &[&str], cancel: &Cancel) -> Result<bool, DatasetError> {
        let mut before: Option<BTreeSet<String>> = None;
        for number in 1..=LOOKS {
            let (ended, said) = match self.fsck(args, cancel).await? {
                Look::Whole => return Ok(true),
                Look::TooLarge => return Ok(false),
                Look::Damaged { ended, said } => (ended, said),
            };
            let found = self.still_damaged(&said, cancel).await?;
            let again = before.as_ref().is_some_and(|before| !before.is_disjoint(&found));
            // Damage in every examination is damage, even if its description changes each time.
            let always = number == LOOKS && !found.is_empty() && before.as_ref().is_some_and(|before| !before.is_empty());
            if again || always {
                return Err(failed("fsck", &ended, &said));
            }
            before = Some(found);
        }
        // Everything that was missing can be read: an app is writing all the time.
        Ok(true)
    }

    async fn fsck(&self, args: &[&str], cancel: &Cancel) -> Result<Look, DatasetError> {
        match self.git(args.iter().copied()).run(cancel).await {
            (Ended::Exit(0), ..) => Ok(Look::Whole),
            (Ended::Deadline(_), ..) => Ok(Look::TooLarge),
            (ended @ Ended::Exit(_), out, err) => {
                let said = format!("{err}\n{out}");
                Ok(if is_damage(&said) { Look::Damaged { ended, said } } else { Look::Whole })
            }
            (ended, _, err) => Err(failed("fsck", &ended, &err)),
        }
    }

    /// From git's messages, the objects that cannot be read now, and every line about damage of another kind.
    async fn still_damaged(&self, said: &str, cancel: &Cancel) -> Result<BTreeSet<String>, DatasetError> {
        let mut found = BTreeSet::new();
        let mut missed = BTreeSet::new();
        for line in said.lines().filter(|line| is_damage(line)) {
            let names = names_in(line);
            if names.is_empty() || !ABSENCE.iter().any(|word| line.contains(word)) {
                found.insert(line.to_owned());
            } else {
                missed.extend(names);
            }
        }
        if !missed.is_empty() {
            let input: String = missed.iter().flat_map(|name| [name, "\n"]).collect();
            let call = self.git(["cat-file", "--batch-check=%(objectname)"]).stdin(in_memory(input.as_bytes())?);
            let (_, out, _) = call.run(cancel).await;
            let read: BTreeSet<&str> = out.lines().collect();
            found.extend(missed.into_iter().filter(|name| !read.contains(name)).map(str::to_owned));
        }
        Ok(found)
    }
}

/// The object names in a line.
fn names_in(line: &str) -> Vec<&str> {
    line.split(|c: char| !c.is_ascii_alphanumeric())
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
