//! Files that differ from the branch only in how they are written: in line endings, or because a filter stores something else.
//! They do not count as edits if `git add` would store the branch's version for them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use process::Cancel;
use sha2::Digest as _;

use crate::dataset::DatasetError;
use crate::dataset::beneath::Beneath;
use crate::dataset::call::in_memory;
use crate::dataset::call::path_text;
use crate::dataset::git::Repo;

/// How a Git LFS pointer begins ([its specification](https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md)), and the
/// maximum length of a pointer.
const LFS: (&str, usize) = ("version https://git-lfs.github.com/spec/v1\n", 1024);

/// A file that both trees have.
struct Changed {
    path: Vec<u8>,
    mode: String,
    old: String,
    new: String,
}

impl Repo {
    /// Entries of `tip_tree` whose files, in the version of `tracked`, have the same meaning: input of `update-index
    /// --index-info`.
    pub(super) async fn same_but_written_otherwise(&self, tip_tree: &str, tracked: &str, cancel: &Cancel) -> Result<Vec<u8>, DatasetError> {
        let raw = self.git(["diff-tree", "-r", "-z", "--no-renames", "--diff-filter=M", tip_tree, tracked]).bytes(cancel).await?;
        let changed = changed(&raw);
        let Some(work) = self.work.clone().filter(|_| !changed.is_empty()) else { return Ok(Vec::new()) };
        let stored = self.stored_of_branch(&work, &changed, cancel).await?;
        let mut same = Vec::new();
        for one in changed {
            let is_same = stored.get(&one.path) == Some(&one.new) || self.is_lfs_content(&work, &one, cancel).await?;
            if is_same {
                same.extend_from_slice(format!("{} {}\t", one.mode, one.old).as_bytes());
                same.extend_from_slice(&one.path);
                same.push(0);
            }
        }
        Ok(same)
    }

    /// What `git add` stores for the branch's versions after they are checked out.
    async fn stored_of_branch(&self, work: &Path, changed: &[Changed], cancel: &Cancel) -> Result<BTreeMap<Vec<u8>, String>, DatasetError> {
        let tree = self.own_dir()?.join("as-checked-out");
        let index = self.own_dir()?.join("as-checked-out-index");
        let clear = || {
            // It is left over from a pass that was interrupted.
            let _ = (std::fs::remove_dir_all(&tree), std::fs::remove_file(&index));
        };
        clear();
        let files = Beneath::open_real(work).map_err(|error| DatasetError::File(work.to_owned(), error))?;
        for one in changed {
            take_attributes(&files, &tree, &one.path).map_err(|error| DatasetError::File(tree.clone(), error))?;
        }
        let mut info = Vec::new();
        for one in changed {
            info.extend_from_slice(format!("{} {}\t", one.mode, one.old).as_bytes());
            info.extend_from_slice(&one.path);
            info.push(0);
        }
        self.update_index(&index, &info, cancel).await?;
        let prefix = format!("--prefix={}/", path_text(&tree));
        self.git_on_files(["checkout-index", "-a", "-f", "-q", &prefix]).index(&index).text(cancel).await?;
        let list: Vec<u8> = changed.iter().flat_map(|one| one.path.iter().copied().chain([0])).collect();
        self.git(["update-index", "-z", "--stdin"]).index(&index).in_tree(&tree).stdin(in_memory(&list)?).text(cancel).await?;
        let out = self.git(["ls-files", "-s", "-z"]).index(&index).bytes(cancel).await?;
        clear();
        let parse = |entry: &[u8]| {
            let at = entry.iter().position(|b| *b == b'\t')?;
            Some((entry[at + 1..].to_vec(), String::from_utf8_lossy(&entry[..at]).split(' ').nth(1)?.to_owned()))
        };
        Ok(out.split(|b| *b == 0).filter_map(parse).collect())
    }

    /// Whether the branch has a Git LFS pointer to exactly the bytes of the file.
    async fn is_lfs_content(&self, work: &Path, one: &Changed, cancel: &Cancel) -> Result<bool, DatasetError> {
        let size = self.git(["cat-file", "-s", &one.old]).text(cancel).await?;
        if size.trim().parse().unwrap_or(usize::MAX) > LFS.1 {
            return Ok(false);
        }
        let pointer = self.git(["cat-file", "blob", &one.old]).text(cancel).await?;
        let Some(rest) = pointer.strip_prefix(LFS.0) else { return Ok(false) };
        let wanted = rest.lines().find_map(|line| line.strip_prefix("oid sha256:"));
        let hashed = || {
            let mut file = Beneath::open_real(work)?.file(Path::new(OsStr::from_bytes(&one.path)))?;
            let mut hash = sha2::Sha256::new();
            let mut chunk = vec![0; 64 << 10];
            loop {
                match file.read(&mut chunk)? {
                    0 => return Ok::<_, std::io::Error>(hash.finalize()),
                    count => hash.update(&chunk[..count]),
                }
            }
        };
        // A file that cannot be read counts as edited.
        Ok(hashed().is_ok_and(|hash| wanted == Some(text::hex(&hash).as_str())))
    }
}

/// The rules in the work tree that say how the file at `path` is written.
fn take_attributes(work: &Beneath, tree: &Path, path: &[u8]) -> std::io::Result<()> {
    for folder in Path::new(OsStr::from_bytes(path)).ancestors().skip(1) {
        let from = folder.join(".gitattributes");
        let to = tree.join(folder).join(".gitattributes");
        std::fs::create_dir_all(tree.join(folder))?;
        if work.meta(&from).is_ok_and(|meta| meta.is_file()) && !to.exists() {
            std::fs::write(to, work.read(&from)?)?;
        }
    }
    Ok(())
}

fn changed(raw: &[u8]) -> Vec<Changed> {
    let mut all = Vec::new();
    let mut fields = raw.split(|b| *b == 0);
    while let (Some(meta), Some(path)) = (fields.next(), fields.next()) {
        let meta = String::from_utf8_lossy(meta).into_owned();
        if let [before, mode, old, new, _] = meta.trim_start_matches(':').split(' ').collect::<Vec<_>>()[..]
            && before == mode
            && mode.starts_with("100")
            && !path.ends_with(b".gitattributes")
        {
            all.push(Changed { path: path.to_vec(), mode: mode.to_owned(), old: old.to_owned(), new: new.to_owned() });
        }
    }
    all
}
