//! The files that a stack has from its repository, as they stand in its folder.
//!
//! The folder itself remembers what tagalong wrote: a list with the mark of each file. While files are replaced it has both lists, so
//! that whoever looks then, or after the process was killed, still knows which of them nobody else has written.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::engine::compose::below::Below;
use crate::engine::compose::below::plain_file;
use crate::engine::compose::files::LISTED;
use crate::engine::compose::files::is_ours;
use crate::engine::compose::replace;
use crate::engine::compose::stack::Compose;
use crate::engine::error::EngineError;
use crate::engine::right::Leave;
use crate::model::FileKind;
use crate::model::LaidFiles;
use crate::model::Mark;
use crate::model::Marks;
use crate::model::StackFile;
use crate::model::StackFiles;
use crate::model::wrong_path;

/// The list, in the stack's folder.
const LIST: &str = ".tagalong.files";
/// How the names of our own files in the folder begin.
const OURS: &str = ".tagalong";
/// What people read first in the list.
const NOTE: &str = "Written by tagalong: the files of this folder that come from git. Do not edit this list.";
/// How long the names of objects are where nothing says it.
const USUAL_DIGITS: usize = 40;

/// What tagalong has written, and what it is writing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct List {
    note: String,
    now: LaidFiles,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<LaidFiles>,
}

/// The files of a stack as they stand in its folder, beside those that are wanted there.
#[derive(Debug, Clone, Default)]
pub struct FilesNow {
    /// What tagalong wrote last.
    pub laid: LaidFiles,
    /// Whether it was interrupted while it wrote.
    pub is_half_way: bool,
    /// What stands there under these names, and under those that are wanted.
    pub there: BTreeMap<String, StackFile>,
    /// The marks of those among them that tagalong has never written.
    pub others: Marks,
    /// Those that somebody has edited since tagalong wrote them.
    pub edited: Vec<String>,
    /// Those that tagalong wrote and that are not there any more.
    pub gone: Vec<String>,
    /// Those that stand where others are wanted, and that tagalong has never written.
    pub strange: Vec<String>,
    /// What stands in the way of a file and is none, each with what it is.
    pub in_the_way: Vec<(String, &'static str)>,
}

/// What stands at a path.
enum There {
    Nothing,
    File(StackFile),
    Other(&'static str),
}

impl List {
    /// None: tagalong has never written a file here.
    fn read(dir: &Path) -> Result<Option<Self>, EngineError> {
        let path = dir.join(LIST);
        let Some(bytes) = replace::read(&path)? else { return Ok(None) };
        let unread = |why: &str| {
            EngineError::Stack(format!("{} cannot be read ({why}): remove it, and tagalong compares the files themselves", path.display()))
        };
        let list: Self = serde_json::from_slice(&bytes).map_err(|error| unread(&error.to_string()))?;
        // Whoever may write in the folder may have written the list, too.
        let wrong = list.paths().find_map(|path| wrong_path(path));
        match wrong {
            Some(why) => Err(unread(&format!("it has a file that tagalong never wrote: {why}"))),
            None => Ok(Some(list)),
        }
    }

    fn write(&self, leave: &Leave, dir: &Path) -> Result<(), EngineError> {
        // Marks always have a JSON form.
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        replace::replace(leave, &dir.join(LIST), text.as_bytes(), 0o644)
    }

    /// Whether tagalong wrote `mark` at `path`.
    fn has(&self, path: &str, mark: &Mark) -> bool {
        let sets = std::iter::once(&self.now).chain(&self.next);
        sets.filter_map(|set| set.files.get(path)).any(|known| known.is_same_as(mark))
    }

    fn paths(&self) -> impl Iterator<Item = &String> {
        self.now.files.keys().chain(self.next.iter().flat_map(|next| next.files.keys()))
    }
}

impl Compose {
    /// How the stack's files stand beside `wanted`.
    ///
    /// # Errors
    /// [`EngineError::Stack`] when one of `wanted` is not for a repository to bring; and when they cannot be read.
    pub async fn files_now(&self, wanted: &StackFiles) -> Result<FilesNow, EngineError> {
        if let Some(why) = objection(wanted) {
            return Err(EngineError::Stack(why));
        }
        let wanted = wanted.laid();
        self.on_disk(move |engine| files_now(&engine.stack.dir, &List::read(&engine.stack.dir)?.unwrap_or_default(), &wanted)).await
    }

    /// How the files stand that tagalong has written; none: it has written none.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn files_laid(&self) -> Result<Option<FilesNow>, EngineError> {
        self.on_disk(|engine| {
            let dir = &engine.stack.dir;
            List::read(dir)?.map(|list| files_now(dir, &list, &LaidFiles::default())).transpose()
        })
        .await
    }

    /// Replaces the stack's files by `wanted`: what tagalong wrote and is not among them goes. A file that somebody else has written
    /// stays as it is, unless `before` has it, and so does whatever else is in the folder. Gives the paths of those that stay.
    ///
    /// # Errors
    /// When one cannot be written. Some may be replaced by then: the same call again, or one with the files from before, finishes it.
    pub async fn lay(&self, wanted: &StackFiles, before: &LaidFiles) -> Result<Vec<String>, EngineError> {
        let wanted = wanted.clone();
        let before = before.clone();
        let leave = self.leave().await?;
        self.on_disk(move |engine| lay(&leave, &engine.stack.dir, &wanted, &before)).await
    }
}

/// Why `files` cannot be a stack's, which has files of its own; none: they can.
fn objection(files: &StackFiles) -> Option<String> {
    let refused = |path: &str, why: &str| Some(format!("the repository has {path}, which tagalong does not bring: {why}."));
    files.files.iter().find_map(|(path, file)| match path.as_str() {
        ".env" => {
            refused(path, "the .env file of a stack belongs to its host, since it has the pin and secrets; remove it from the repository")
        }
        LISTED => refused(path, "tagalong writes this file itself"),
        path if path.split('/').next().is_some_and(|first| first.starts_with(OURS)) => refused(path, "names like this are tagalong's own"),
        path if is_ours(&file.bytes) => refused(path, "tagalong wrote this file for a host; remove it from the repository"),
        _ => None,
    })
}

/// The paths of what tagalong has written in `dir`.
pub(super) fn written(dir: &Path) -> Result<Vec<String>, EngineError> {
    Ok(List::read(dir)?.map(|list| list.paths().cloned().collect()).unwrap_or_default())
}

fn files_now(dir: &Path, list: &List, wanted: &LaidFiles) -> Result<FilesNow, EngineError> {
    let mut now = FilesNow { laid: list.now.clone(), is_half_way: list.next.is_some(), ..FilesNow::default() };
    let digits = wanted.files.values().chain(list.now.files.values()).next().map_or(USUAL_DIGITS, |mark| mark.blob.len());
    let paths: BTreeSet<&String> = list.paths().chain(wanted.files.keys()).collect();
    for path in paths {
        let is_wanted = |mark: &Mark| wanted.files.get(path).is_some_and(|wanted| wanted.is_same_as(mark));
        let was_written = list.paths().any(|known| known == path);
        match there(dir, path, digits)? {
            There::Nothing if list.now.files.contains_key(path) => now.gone.push(path.clone()),
            There::Nothing => {}
            There::Other(what) => now.in_the_way.push((path.clone(), what)),
            There::File(file) => {
                let is_known = list.has(path, &file.mark) || is_wanted(&file.mark);
                match (is_known, was_written) {
                    (true, _) => {}
                    (false, true) => now.edited.push(path.clone()),
                    (false, false) => now.strange.push(path.clone()),
                }
                if !was_written {
                    now.others.insert(path.clone(), file.mark.clone());
                }
                now.there.insert(path.clone(), file);
            }
        }
    }
    Ok(now)
}

fn there(dir: &Path, path: &str, digits: usize) -> Result<There, EngineError> {
    let full = dir.join(path);
    let failed = |error| EngineError::file("reading", &full, error);
    let looked = |at: &Path| match at.symlink_metadata() {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(failed(error)),
    };
    let parents: Vec<&Path> = Path::new(path).ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).collect();
    for parent in parents.into_iter().rev() {
        match looked(&dir.join(parent))? {
            Some(meta) if meta.is_dir() => {}
            Some(meta) if meta.is_symlink() => return Ok(There::Other("one of its folders is a symbolic link")),
            Some(_) => return Ok(There::Other("one of the folders in its path is a file")),
            None => return Ok(There::Nothing),
        }
    }
    // From here on it is this very folder, whatever becomes of its name.
    let holder = match Below::open(dir, Path::new(path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(There::Nothing),
        other => other.map_err(failed)?,
    };
    let at = holder.path().join(full.file_name().unwrap_or_default());
    let Some(meta) = looked(&at)? else { return Ok(There::Nothing) };
    let (kind, bytes) = if meta.is_symlink() {
        (FileKind::Link, std::fs::read_link(&at).map_err(failed)?.as_os_str().as_bytes().to_vec())
    } else if meta.is_file() {
        let kind = if meta.permissions().mode() & 0o100 == 0 { FileKind::Plain } else { FileKind::Program };
        let mut bytes = Vec::new();
        plain_file(&at).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(failed)?;
        (kind, bytes)
    } else {
        return Ok(There::Other(if meta.is_dir() { "a folder of that name is there" } else { "something else of that name is there" }));
    };
    Ok(There::File(StackFile { mark: Mark::of(kind, &bytes, digits), bytes: bytes.into() }))
}

fn lay(leave: &Leave, dir: &Path, wanted: &StackFiles, before: &LaidFiles) -> Result<Vec<String>, EngineError> {
    let listed = List::read(dir)?;
    let mut list = listed.clone().unwrap_or_else(|| List { now: before.clone(), ..List::default() });
    let laid = wanted.laid();
    let now = files_now(dir, &list, &laid)?;
    let is_of_before = |path: &String| {
        let there = now.there.get(path).map(|file| &file.mark);
        before.files.get(path).zip(there).is_some_and(|(before, there)| before.is_same_as(there))
    };
    let edited = now.edited.iter().chain(&now.strange).filter(|path| !is_of_before(path));
    let stays: BTreeSet<&String> = edited.chain(now.in_the_way.iter().map(|(path, _)| path)).collect();
    let paths: BTreeSet<&String> = list.paths().chain(wanted.files.keys()).filter(|path| !stays.contains(path)).collect();
    let is_other = |path: &&String| match (wanted.files.get(*path), now.there.get(*path)) {
        (Some(new), Some(old)) => !new.mark.is_same_as(&old.mark) || new.mark.kind != old.mark.kind,
        (new, old) => new.is_some() || old.is_some(),
    };
    let others: Vec<String> = paths.into_iter().filter(is_other).cloned().collect();
    if others.is_empty() && listed.is_some_and(|listed| listed.now == laid && listed.next.is_none()) {
        return Ok(stays.into_iter().cloned().collect());
    }
    // What an earlier call left half done is what is there now.
    let known = now.there.iter().filter(|(path, file)| list.has(path, &file.mark)).map(|(path, file)| (path.clone(), file.mark.clone()));
    let known: Marks = known.collect();
    NOTE.clone_into(&mut list.note);
    list.now.files.extend(known);
    list.next = Some(laid.clone());
    list.write(leave, dir)?;
    for path in &others {
        match wanted.files.get(path) {
            Some(new) => replace::put_below(leave, dir, path, new)?,
            None => replace::take_out(leave, dir, path)?,
        }
    }
    if laid.tree.is_none() {
        // What stands there now is a person's own again.
        replace::remove(leave, &dir.join(LIST))?;
    } else {
        List { note: NOTE.to_owned(), now: laid, next: None }.write(leave, dir)?;
    }
    Ok(stays.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::LIST;
    use super::List;
    use super::objection;
    use super::replace;
    use crate::engine::compose::files::MARK;
    use crate::engine::compose::stack::Compose;
    use crate::engine::compose::stack::tests::engine;
    use crate::engine::right::Right;
    use crate::model::FileKind;
    use crate::model::LaidFiles;
    use crate::model::Mark;
    use crate::model::StackFile;
    use crate::model::StackFiles;
    use crate::model::Tree;

    type Texts = BTreeMap<&'static str, &'static str>;

    fn files(digit: char, texts: &Texts) -> StackFiles {
        let file = |text: &str| {
            let kind = if text.starts_with("->") { FileKind::Link } else { FileKind::Plain };
            let bytes = text.trim_start_matches("->").as_bytes();
            StackFile { mark: Mark::of(kind, bytes, 40), bytes: bytes.into() }
        };
        let tree = Tree::parse(&digit.to_string().repeat(40)).ok();
        StackFiles { from: Some("1f0c".into()), tree, files: texts.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect() }
    }

    fn acting(dir: &Path) -> Compose {
        engine(&dir.display().to_string()).acting(Right::Alone)
    }

    fn put(dir: &Path, path: &str, text: Option<&&str>) {
        let path = dir.join(path);
        let Some(text) = text else { return };
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(&path);
        match text.strip_prefix("->") {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => std::fs::write(path, text).unwrap(),
        }
    }

    fn stands(dir: &Path, paths: &[&'static str]) -> BTreeMap<&'static str, String> {
        let text = |path: &Path| match path.read_link() {
            Ok(target) => Some(format!("->{}", target.display())),
            Err(_) => std::fs::read_to_string(path).ok(),
        };
        paths.iter().filter_map(|path| Some((*path, text(&dir.join(path))?))).collect()
    }

    const PATHS: [&str; 5] = ["changed", "new/one", "gone/one", "link", "same"];

    /// Wherever a process was killed, the call once more ends with the new files, and the one for those from before with the old ones.
    #[tokio::test]
    async fn half_of_a_change_is_finished_or_undone() {
        let old: Texts = [("changed", "1"), ("gone/one", "1"), ("link", "->same"), ("same", "1")].into();
        let new: Texts = [("changed", "2"), ("new/one", "2"), ("link", "->changed"), ("same", "1")].into();
        for done in 0..1 << PATHS.len() {
            for wanted in [&old, &new] {
                let dir = tempfile::tempdir().unwrap();
                for (number, path) in PATHS.iter().enumerate() {
                    let of = if done >> number & 1 == 1 { &new } else { &old };
                    put(dir.path(), path, of.get(path));
                }
                let list = List { note: String::new(), now: files('a', &old).laid(), next: Some(files('b', &new).laid()) };
                std::fs::write(dir.path().join(LIST), serde_json::to_string(&list).unwrap()).unwrap();
                let wanted_files = files('c', wanted);
                let left = acting(dir.path()).lay(&wanted_files, &LaidFiles::default()).await.unwrap();
                assert!(left.is_empty(), "{left:?}");
                let expected: BTreeMap<&str, String> = wanted.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
                assert_eq!(stands(dir.path(), &PATHS), expected, "{done:b}");
                let now = acting(dir.path()).files_laid().await.unwrap().unwrap();
                assert!(!now.is_half_way && now.edited.is_empty() && now.gone.is_empty() && now.laid == wanted_files.laid(), "{now:?}");
                assert!(wanted.contains_key("gone/one") || !dir.path().join("gone").exists());
            }
        }
    }

    #[tokio::test]
    async fn what_somebody_else_wrote_stays() {
        let dir = tempfile::tempdir().unwrap();
        let engine = acting(dir.path());
        let old: Texts = [("compose.yaml", "1"), ("conf/web", "1"), ("run", "1")].into();
        put(dir.path(), "compose.yaml", Some(&"1"));
        put(dir.path(), "conf/mine", Some(&"mine"));
        let wanted = files('a', &old);
        let now = engine.files_now(&wanted).await.unwrap();
        assert!(now.strange.is_empty() && now.others.keys().eq(["compose.yaml"]), "{now:?}");
        assert!(engine.lay(&wanted, &LaidFiles { files: now.others, ..LaidFiles::default() }).await.unwrap().is_empty());
        let new = files('b', &[("compose.yaml", "2"), ("conf/mine", "theirs"), ("run/it", "2")].into());
        put(dir.path(), "conf/web", Some(&"edited"));
        std::fs::remove_file(dir.path().join("run")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("run")).unwrap();
        let now = engine.files_now(&new).await.unwrap();
        assert_eq!((now.edited, now.strange), (vec!["conf/web".to_owned(), "run".to_owned()], vec!["conf/mine".to_owned()]));
        assert_eq!(now.in_the_way[0].0, "run/it");
        let left = engine.lay(&new, &LaidFiles::default()).await.unwrap();
        assert_eq!(left, ["conf/mine", "conf/web", "run", "run/it"]);
        let expected = [("compose.yaml", "2"), ("conf/mine", "mine"), ("conf/web", "edited"), ("run", "->/etc")];
        let found = stands(dir.path(), &["compose.yaml", "conf/mine", "conf/web", "run"]);
        assert_eq!(found, expected.map(|(path, text)| (path, text.to_owned())).into());
    }

    /// A container that may write in the stack's folder may write the list: nothing outside is read or removed for it.
    #[tokio::test]
    async fn a_list_that_names_files_elsewhere_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("stack");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(place.path().join("precious"), "p").unwrap();
        let list = List { now: files('a', &[("../precious", "p")].into()).laid(), ..List::default() };
        std::fs::write(dir.join(LIST), serde_json::to_string(&list).unwrap()).unwrap();
        let said = acting(&dir).lay(&files('b', &[("x", "1")].into()), &LaidFiles::default()).await.unwrap_err().to_string();
        assert!(said.contains("leads out of the folder") && place.path().join("precious").exists(), "{said}");
    }

    #[tokio::test]
    async fn nothing_is_written_or_removed_through_a_folder_that_became_a_link() {
        let place = tempfile::tempdir().unwrap();
        let [dir, outside] = ["dir", "outside"].map(|name| place.path().join(name));
        for folder in [&dir, &outside] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(outside.join("x"), "precious").unwrap();
        std::os::unix::fs::symlink(&outside, dir.join("conf")).unwrap();
        let leave = acting(&dir).leave().await.unwrap();
        let wanted = files('a', &[("conf/x", "1"), ("conf/sub/x", "1"), ("own/x", "1")].into());
        for path in ["conf/x", "conf/sub/x"] {
            assert!(replace::put_below(&leave, &dir, path, &wanted.files[path]).is_err());
            replace::take_out(&leave, &dir, path).unwrap();
        }
        assert_eq!(stands(&outside, &["x", "sub"]), [("x", "precious".to_owned())].into());
        assert!(dir.join("conf").is_symlink());
        replace::put_below(&leave, &dir, "own/x", &wanted.files["own/x"]).unwrap();
        assert_eq!(stands(&dir, &["own/x"]), [("own/x", "1".to_owned())].into());
        replace::take_out(&leave, &dir, "own/x").unwrap();
        replace::take_out(&leave, &dir, "own/x").unwrap();
        assert!(!dir.join("own").exists());
    }

    #[test]
    fn names_of_ours_are_refused() {
        for path in [".env", "compose.tagalong.yml", ".tagalong.files", ".tagalong.lock", ".tagalong-x/y"] {
            assert!(objection(&files('a', &[(path, "x")].into())).is_some_and(|why| why.contains(path)), "{path}");
        }
        assert!(objection(&files('a', &[("compose.override.yml", MARK)].into())).is_some());
        assert_eq!(objection(&files('a', &[("conf/.env", "x"), ("compose.override.yml", "services: {}")].into())), None);
    }
}
