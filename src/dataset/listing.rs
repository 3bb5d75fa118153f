//! What git lists of a tree, read: which names and contents have a place in a stack's folder.

use std::collections::BTreeMap;

use crate::model::FileKind;
use crate::model::Mark;
use crate::model::Marks;
use crate::model::StackFile;
use crate::model::link_stays;
use crate::model::wrong_path;

/// More files than this are no stack.
const MOST_FILES: usize = 5000;
/// The files of a stack are read into memory.
const MOST_BYTES: u64 = 32 << 20;
/// No listing of so many files with names that may be brought is longer.
pub(super) const LONGEST: u64 = 8 << 20;
/// How a file begins that stands for one that is kept elsewhere.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The marks in the output of `git ls-tree -r -z -l`.
///
/// # Errors
/// The first entry that has no place in a stack's folder, as a sentence.
pub(super) fn parse(listed: &[u8]) -> Result<Marks, String> {
    let mut marks = Marks::new();
    let mut size_bytes = 0;
    for entry in listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let (path, kind, blob, bytes) = fields(entry)?;
        let refused = |why: &str| Err(format!("the repository has {}, which tagalong does not bring: {why}.", path.escape_debug()));
        if let Some(why) = wrong_path(&path) {
            return refused(why);
        }
        let Some(file_kind) = FileKind::parse(&kind) else {
            return refused(if kind == "160000" { "it is a submodule; add its files themselves" } else { "it is no file" });
        };
        if marks.contains_key(&path) {
            return refused("it is named twice there");
        }
        marks.insert(path, Mark { kind: file_kind, blob });
        size_bytes += bytes;
        if marks.len() > MOST_FILES || size_bytes > MOST_BYTES {
            return Err(too_much());
        }
    }
    if marks.is_empty() {
        return Err("the folder of the repository has no files: correct service.NAME.stack.path.".to_owned());
    }
    match marks.keys().find_map(|path| file_above(path, &marks)) {
        Some(path) => {
            let path = path.escape_debug();
            Err(format!("the repository has {path}, which tagalong does not bring: it is named twice there, as a file and as a folder."))
        }
        None => Ok(marks),
    }
}

fn too_much() -> String {
    format!(
        "the folder of the repository has more than a stack may have ({MOST_FILES} files, {} MiB together): keep the stack's files in a \
         folder of their own and name it in service.NAME.stack.path.",
        MOST_BYTES >> 20
    )
}

/// A file or link whose name is also that of a folder above `path`: git writes no such tree, but takes one from who does.
fn file_above<'p>(path: &'p str, marks: &Marks) -> Option<&'p str> {
    path.match_indices('/').map(|(end, _)| &path[..end]).find(|above| marks.contains_key(*above))
}

/// `MODE TYPE OBJECT SIZE<tab>PATH`: path, mode, object, size in bytes.
fn fields(entry: &[u8]) -> Result<(String, String, String, u64), String> {
    let unreadable =
        || format!("the repository has \"{}\", whose name is not UTF-8; rename it.", String::from_utf8_lossy(entry).escape_debug());
    let text = std::str::from_utf8(entry).map_err(|_| unreadable())?;
    let (head, path) = text.split_once('\t').ok_or_else(unreadable)?;
    let words: Vec<&str> = head.split_whitespace().collect();
    let [mode, _, object, size] = words[..] else { return Err(unreadable()) };
    Ok((path.to_owned(), mode.to_owned(), object.to_owned(), size.parse().unwrap_or(0)))
}

/// Looks at what the files have in them.
///
/// # Errors
/// The first that has no place in a stack's folder, as a sentence.
pub(super) fn examine(files: &BTreeMap<String, StackFile>) -> Result<(), String> {
    for (path, file) in files {
        let target = std::str::from_utf8(&file.bytes).ok();
        if file.mark.kind == FileKind::Link && !target.is_some_and(|target| link_stays(path, target)) {
            let target = String::from_utf8_lossy(&file.bytes);
            return Err(format!(
                "the repository has the symbolic link {path}, which leads out of the stack's folder or to that folder itself (to {}): replace it \
                 by a file.",
                target.escape_debug()
            ));
        }
        if file.bytes.starts_with(LFS) {
            return Err(format!("{path} is kept by Git LFS, whose program tagalong does not run: add the file itself to the repository."));
        }
    }
    Ok(())
}

/// The output of `git cat-file --batch`, object by object.
pub(super) struct Blobs<'a>(&'a [u8]);

impl<'a> Blobs<'a> {
    pub(super) fn new(said: &'a [u8]) -> Self {
        Self(said)
    }

    /// The content of the next object; none: it is not `name`, no blob, or not all there.
    pub(super) fn next_of(&mut self, name: &str) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&self.0[..end]).ok()?;
        let rest = &self.0[end + 1..];
        let words: Vec<&str> = head.split(' ').collect();
        let [object, "blob", size] = words[..] else { return None };
        let size: usize = size.parse().ok()?;
        let bytes = rest.get(..size)?;
        self.0 = rest.get(size + 1..)?;
        (object == name).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Blobs;
    use super::examine;
    use super::parse;
    use crate::model::FileKind;
    use crate::model::Mark;
    use crate::model::StackFile;

    const BLOB: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    fn listed(mode: &str, path: &str) -> Vec<u8> {
        format!("{mode} blob {BLOB}       6\t{path}\0").into_bytes()
    }

    #[test]
    fn only_files_with_plain_names_are_taken() {
        let all = [listed("100644", "compose.yaml"), listed("100755", "conf/run.sh"), listed("120000", "link")].concat();
        let marks = parse(&all).unwrap();
        assert_eq!(marks.keys().collect::<Vec<_>>(), ["compose.yaml", "conf/run.sh", "link"]);
        assert_eq!(marks["conf/run.sh"], Mark { kind: FileKind::Program, blob: BLOB.to_owned() });
        for (mode, path, word) in [
            ("160000", "vendor", "submodule"),
            ("100644", "../x", "out of the folder"),
            ("100644", ".git/config", ".git"),
            ("100644", "a\nb", "mislead"),
            ("040000", "dir", "no file"),
        ] {
            let said = parse(&listed(mode, path)).unwrap_err();
            assert!(said.contains(word), "{path:?}: {said}");
        }
        assert!(parse(b"").unwrap_err().contains("no files"));
        assert!(parse(b"100644 blob x 1\t\xff\0").unwrap_err().contains("UTF-8"));
        for (first, second) in [("120000", "100644"), ("100644", "120000")] {
            let twice = [listed("100644", "b"), listed(first, "a"), listed(second, "a")].concat();
            assert!(parse(&twice).unwrap_err().contains("has a, which tagalong does not bring: it is named twice"));
            for inner in ["a/b", "a/b/c"] {
                let both = [listed(second, inner), listed("100644", "a-b"), listed(first, "a")].concat();
                assert!(parse(&both).unwrap_err().contains("has a, which tagalong does not bring: it is named twice there, as a file"));
            }
        }
        let many: Vec<u8> = (0..=super::MOST_FILES).flat_map(|number| listed("100644", &number.to_string())).collect();
        // It is refused before the rest is looked at.
        assert!(parse(&[many, listed("160000", "vendor")].concat()).unwrap_err().contains("5000 files"));
        let huge = format!("100644 blob {BLOB} {}\tbig\0", 33 << 20);
        assert!(parse(huge.as_bytes()).unwrap_err().contains("32 MiB"));
    }

    #[test]
    fn links_that_leave_and_stand_ins_are_refused_by_name() {
        let of = |kind, bytes: &[u8]| {
            let file = StackFile { mark: Mark::of(kind, bytes, 40), bytes: bytes.into() };
            examine(&BTreeMap::from([("conf/x".to_owned(), file)])).err().unwrap_or_default()
        };
        assert_eq!(of(FileKind::Link, b"../y"), "");
        assert!(of(FileKind::Link, b"/etc/shadow").contains("conf/x, which leads out"));
        assert!(of(FileKind::Link, b"../../y").contains("leads out"));
        assert!(of(FileKind::Link, b"..").contains("that folder itself"));
        assert!(of(FileKind::Plain, b"version https://git-lfs.github.com/spec/v1\noid x\n").contains("Git LFS"));
        assert_eq!(of(FileKind::Plain, b"../../y"), "");
    }

    #[test]
    fn objects_are_read_by_their_length() {
        let said = format!("{BLOB} blob 6\nhe\nlo\n\n{BLOB} missing\n");
        let mut blobs = Blobs::new(said.as_bytes());
        assert_eq!(blobs.next_of(BLOB), Some(&b"he\nlo\n"[..]));
        assert_eq!(blobs.next_of(BLOB), None);
    }
}
