//! Links in published data that lead out of it: anybody who follows one reads a file of this host instead of data.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use process::Cancel;
use text::misleads;

use crate::dataset::DatasetError;
use crate::dataset::beneath::Beneath;
use crate::dataset::git::Repo;
use crate::model::Commit;

/// In a worktree's record: every link of its commit, each terminated by a NUL.
const LINKS: &str = "links";
/// How many links are followed to resolve one, the same as in the kernel.
const MOST_LINKS: usize = 40;
/// How many links are named.
const NAMED: usize = 5;

/// Records the links of `commit` in `record`. If another commit's links are known, only the difference is examined.
pub(super) async fn note_links(
    repo: &Repo,
    record: &Path,
    commit: &Commit,
    before: Option<(&Path, &Commit)>,
    cancel: &Cancel,
) -> Result<(), DatasetError> {
    let known = before.and_then(|(record, at)| Some((noted(record)?, at)));
    let mut links: BTreeSet<Vec<u8>> = BTreeSet::new();
    if let Some((bytes, at)) = known {
        links.extend(names(&bytes));
        let args = ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-commit-id", at.as_str(), commit.as_str()];
        let out = repo.git(args).bytes(cancel).await?;
        let mut fields = out.split(|byte| *byte == 0);
        // ":MODE MODE OBJECT OBJECT LETTER" and the path.
        while let (Some(modes), Some(path)) = (fields.next(), fields.next()) {
            let is_link = modes.split(|byte| *byte == b' ').nth(1) == Some(b"120000");
            let _ = if is_link { links.insert(path.to_vec()) } else { links.remove(path) };
        }
    } else {
        let out = repo.git(["ls-tree", "-r", "-z", commit.as_str()]).bytes(cancel).await?;
        let path = |line: &[u8]| line.splitn(2, |byte| *byte == b'\t').nth(1).map(<[u8]>::to_vec);
        links.extend(out.split(|byte| *byte == 0).filter(|line| line.starts_with(b"120000 ")).filter_map(path));
    }
    let file = record.join(LINKS);
    let bytes: Vec<u8> = links.into_iter().flat_map(|link| link.into_iter().chain([0])).collect();
    Beneath::open(record).and_then(|record| record.write(LINKS, bytes)).map_err(|error| DatasetError::File(file, error))
}

/// Whether the links were recorded.
pub(super) fn is_noted(record: &Path) -> bool {
    record.join(LINKS).symlink_metadata().is_ok()
}

/// The recorded links in `record` that lead out of the folder `tree`, in order, in a form that can be shown.
pub(super) fn leading_out(tree: &Path, record: &Path) -> Vec<String> {
    let noted = noted(record).unwrap_or_default();
    let links = names(&noted).map(|name| PathBuf::from(std::ffi::OsStr::from_bytes(&name)));
    let shown = |link: PathBuf| link.to_string_lossy().chars().filter(|c| !misleads(*c)).collect();
    links.filter(|link| leads_out(tree, link)).map(shown).collect()
}

fn noted(record: &Path) -> Option<Vec<u8>> {
    Beneath::open(record).and_then(|record| record.read(LINKS)).ok()
}

/// A sentence about `links`, which lead out of the data; none if there are no such links.
#[must_use]
pub fn links_sentence(links: &[String]) -> Option<String> {
    let named = links.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = links.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    (!links.is_empty()).then(|| format!("Symbolic links in the data point outside it, to files of this host: {named}{more}."))
}

fn names(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
}

/// Resolves `link` step by step as long as it stays in `tree`, so that nothing outside is ever accessed.
fn leads_out(tree: &Path, link: &Path) -> bool {
    let mut ahead: Vec<PathBuf> = steps(link);
    let mut at = PathBuf::new();
    let mut followed = 0;
    while let Some(step) = ahead.pop() {
        match step.components().next() {
            Some(Component::RootDir | Component::Prefix(_)) => return true,
            Some(Component::ParentDir) if !at.pop() => return true,
            Some(Component::Normal(name)) => {
                let here = at.join(name);
                match std::fs::read_link(tree.join(&here)) {
                    Ok(target) if followed < MOST_LINKS => {
                        followed += 1;
                        ahead.extend(steps(&target));
                    }
                    // It is a loop, which leads nowhere.
                    Ok(_) => return false,
                    Err(_) => at = here,
                }
            }
            Some(Component::ParentDir | Component::CurDir) | None => {}
        }
    }
    false
}

/// The components of a path, last one first.
fn steps(path: &Path) -> Vec<PathBuf> {
    path.components().rev().map(|step| PathBuf::from(step.as_os_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::leads_out;

    #[test]
    fn a_link_is_followed_as_far_as_it_stays_inside() {
        let root = tempfile::tempdir().expect("a folder");
        let tree = root.path().join("tree");
        std::fs::create_dir_all(tree.join("deep/er")).expect("folders");
        let cases = [
            ("plain", "deep/er", false),
            ("deep/up", "../plain", false),
            ("gone", "nothing/here", false),
            ("round", "round", false),
            ("up", "../tree/deep", true),
            ("absolute", "/etc/passwd", true),
            ("gone-up", "nothing/../../x", true),
            ("deep/er/twice", "../../../x", true),
            // Each of these looks as if it stayed inside.
            ("through", "plain/../../../x", true),
            ("chain", "deep/er/twice", true),
            ("far", "absolute/x", true),
        ];
        for (link, target, _) in cases {
            symlink(target, tree.join(link)).expect("a link");
        }
        for (link, target, out) in cases {
            assert_eq!(leads_out(&tree, Path::new(link)), out, "{link} -> {target}");
        }
    }
}
