//! What a stack would be with other files, before one of them is replaced.
//!
//! Compose is shown a view of the host: a folder in which everything is a link to what is there, but for the files that would be
//! replaced. It has the paths of the host behind the name of that folder, so that `..` and `./data` mean the same, and what compose
//! says is read without that name.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;

use process::Cancel;
use process::Passing;
use serde_json::Value;

use crate::config::ComposeStack;
use crate::engine::compose::fields::at;
use crate::engine::compose::fields::members;
use crate::engine::compose::project::Resolved;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::path_text;
use crate::engine::compose::tracked::written;
use crate::engine::error::EngineError;
use crate::model::FileKind;
use crate::model::StackFile;
use crate::model::StackFiles;

impl Compose {
    /// What the stack would resolve to with `files` in place of those that tagalong has written; nothing is changed.
    ///
    /// # Errors
    /// [`EngineError::Stack`] when they name a program of the host, or make no stack that can be pinned.
    pub async fn resolve_with(&self, files: &StackFiles, place: &Path, key: &[u8], cancel: &Cancel) -> Result<Resolved, EngineError> {
        let wanted = files.clone();
        let place = place.to_owned();
        let view = self.on_disk(move |engine| View::make(&engine.stack.dir, &wanted, &place)).await?;
        let named = self.stack.files.iter().map(|file| file.strip_prefix(&self.stack.dir).unwrap_or(file).to_owned());
        let stack = ComposeStack { dir: view.dir.clone(), files: named.collect(), ..self.stack.clone() };
        let trial = Self { stack, below: Some(path_text(view.root.path())), ..self.clone() };
        let mut resolved = trial.resolve(key, cancel).await.map_err(|error| match error {
            EngineError::Stack(why) => EngineError::Stack(trial.as_on_the_host(&why).into_owned()),
            other => other,
        })?;
        resolved.files = resolved.files.iter().map(|file| PathBuf::from(trial.as_on_the_host(&path_text(file)).into_owned())).collect();
        for warning in &mut resolved.warnings {
            *warning = trial.as_on_the_host(warning).into_owned();
        }
        resolved.why_mode = trial.as_on_the_host(&resolved.why_mode).into_owned();
        // It was read elsewhere: whoever compares reads it again.
        resolved.inputs = None;
        match program(&resolved.config) {
            Some(why) => Err(EngineError::Stack(why)),
            None => Ok(resolved),
        }
    }

    /// What compose says of a view, as it would say it of the host.
    pub(super) fn as_on_the_host<'t>(&self, said: &'t str) -> Cow<'t, str> {
        match &self.below {
            Some(root) => Cow::Owned(said.replace(root.as_str(), "")),
            None => Cow::Borrowed(said),
        }
    }
}

/// What of a stack makes compose run a program of the host, as a sentence.
fn program(config: &Value) -> Option<String> {
    let why = "from a repository: take it out of the compose files";
    let service = members(config, &["services"]).find(|(_, service)| at(service, &["provider"]).is_some());
    if let Some((name, _)) = service {
        return Some(format!("the service {name} names a program of this host (provider), which tagalong does not run {why}"));
    }
    at(config, &["models"]).map(|_| format!("the compose files have models, for which compose runs a program of this host, not {why}"))
}

/// The view; it goes with this value.
struct View {
    root: Passing,
    /// The stack's folder in it.
    dir: PathBuf,
}

impl View {
    fn make(stack: &Path, files: &StackFiles, place: &Path) -> Result<Self, EngineError> {
        let failed = |error| EngineError::file("writing", place, error);
        std::fs::create_dir_all(place).map_err(failed)?;
        let root = Passing::within(place).map_err(failed)?;
        let dir = root.path().join(stack.strip_prefix("/").unwrap_or(stack));
        let replaced = written(stack)?;
        let fill = || -> std::io::Result<()> {
            std::fs::create_dir_all(&dir)?;
            link_around(stack, root.path())?;
            let folders: BTreeSet<PathBuf> = files.files.keys().chain(&replaced).flat_map(|path| folders_of(path)).collect();
            let skipped: BTreeSet<&str> = files.files.keys().chain(&replaced).map(String::as_str).collect();
            link_inside(stack, &dir, Path::new(""), &Shown { folders: &folders, skipped: &skipped })?;
            files.files.iter().try_for_each(|(path, file)| put(&dir, Path::new(path), file))
        };
        fill().map_err(failed)?;
        Ok(Self { root, dir })
    }
}

/// What of the stack's folder is not simply linked.
struct Shown<'a> {
    /// Folders that have files in them that are replaced.
    folders: &'a BTreeSet<PathBuf>,
    /// Files that are replaced.
    skipped: &'a BTreeSet<&'a str>,
}

fn folders_of(path: &str) -> impl Iterator<Item = PathBuf> {
    Path::new(path).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned)
}

/// What stands beside the stack's folder and beside the folders above it.
fn link_around(stack: &Path, root: &Path) -> std::io::Result<()> {
    for (folder, on_the_way) in stack.ancestors().skip(1).zip(stack.ancestors()) {
        let to = root.join(folder.strip_prefix("/").unwrap_or(folder));
        // Of a folder that may be entered and not be listed, nothing can be named either.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path() != on_the_way) {
            symlink(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn link_inside(from: &Path, to: &Path, below: &Path, shown: &Shown<'_>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let at = to.join(entry.file_name());
        if path.to_str().is_some_and(|path| shown.skipped.contains(path)) {
            continue;
        }
        if !shown.folders.contains(&path) {
            symlink(entry.path(), &at)?;
            continue;
        }
        // Files are written in it, so it is a folder of the view also where the host has a link there, which leads anywhere.
        std::fs::create_dir(&at)?;
        if entry.file_type()?.is_dir() {
            link_inside(&entry.path(), &at, &path, shown)?;
        }
    }
    Ok(())
}

/// Writes `file` at `path` in the view, with the folders that it needs: never through a link, and never over what is there.
fn put(dir: &Path, path: &Path, file: &StackFile) -> std::io::Result<()> {
    let mut folder = dir.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ if !folder.symlink_metadata()?.is_dir() => return Err(ErrorKind::NotADirectory.into()),
            _ => {}
        }
    }
    let path = dir.join(path);
    match file.mark.kind {
        FileKind::Link => symlink(OsStr::from_bytes(&file.bytes), &path),
        FileKind::Plain | FileKind::Program => File::create_new(&path)?.write_all(&file.bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::View;
    use crate::model::FileKind;
    use crate::model::Mark;
    use crate::model::StackFile;
    use crate::model::StackFiles;

    fn files(all: &[(&str, FileKind, &str)]) -> StackFiles {
        let file = |(path, kind, text): &(&str, FileKind, &str)| {
            let file = StackFile { mark: Mark::of(*kind, text.as_bytes(), 40), bytes: text.as_bytes().into() };
            ((*path).to_owned(), file)
        };
        StackFiles { files: all.iter().map(file).collect::<BTreeMap<_, _>>(), ..StackFiles::default() }
    }

    fn is_empty(folder: &Path) -> bool {
        std::fs::read_dir(folder).unwrap().next().is_none()
    }

    #[test]
    fn nothing_is_written_where_a_link_of_the_host_leads() {
        let place = tempfile::tempdir().unwrap();
        let [stack, outside, views] = ["stack", "outside", "views"].map(|name| place.path().join(name));
        std::fs::create_dir_all(stack.join("conf/mine")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, stack.join("conf/sub")).unwrap();
        symlink(&outside, stack.join("top")).unwrap();
        symlink(outside.join("new"), stack.join("file")).unwrap();
        let plain = FileKind::Plain;
        let wanted = files(&[("conf/sub/deep/a", plain, "a"), ("top/b", plain, "b"), ("file", plain, "c")]);
        let view = View::make(&stack, &wanted, &views).unwrap();
        let text = |path: &str| std::fs::read_to_string(view.dir.join(path)).unwrap();
        assert_eq!(["conf/sub/deep/a", "top/b", "file"].map(text), ["a", "b", "c"]);
        assert!(view.dir.join("conf/mine").is_symlink() && is_empty(&outside));
    }

    #[test]
    fn nothing_is_written_through_a_link_of_the_repository() {
        let place = tempfile::tempdir().unwrap();
        let [stack, outside, views] = ["stack", "outside", "views"].map(|name| place.path().join(name));
        for folder in [&stack, &outside] {
            std::fs::create_dir(folder).unwrap();
        }
        let wanted = files(&[("a", FileKind::Link, outside.to_str().unwrap()), ("a/b", FileKind::Plain, "b")]);
        assert!(View::make(&stack, &wanted, &views).is_err() && is_empty(&outside));
    }
}
