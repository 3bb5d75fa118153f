//! The state of the push of own commits, for `tagalong data status` in another process: a file that is locked as long as the
//! process that wrote it is alive.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The note of a process that pushes.
#[derive(Debug)]
pub(super) struct Note {
    file: Option<File>,
    written: Option<String>,
}

const NAME: &str = "push";

impl Note {
    /// The note below `state`. If the file cannot be written, other processes do not see the push, and nothing else is lost.
    pub(super) fn keep(state: &Path) -> Self {
        let open = || {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state)?;
            let file = File::options().write(true).create(true).truncate(false).open(state.join(NAME))?;
            file.try_lock()?;
            file.set_len(0)?;
            Ok::<_, std::io::Error>(file)
        };
        Self { file: open().ok(), written: None }
    }

    /// Writes the new state.
    pub(super) fn say(&mut self, text: Option<String>) {
        if let Some(file) = self.file.as_ref().filter(|_| self.written != text) {
            let bytes = text.as_deref().unwrap_or_default().as_bytes();
            // A reader between the two sees an empty note for a moment.
            let _ = file.set_len(0).and_then(|()| file.write_all_at(bytes, 0));
            self.written = text;
        }
    }
}

/// The note below `state`, if its writer is alive.
pub(super) fn read(state: &Path) -> Option<String> {
    let mut file = File::open(state.join(NAME)).ok()?;
    if file.try_lock_shared().is_ok() {
        return None;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::Note;
    use super::read;

    #[test]
    fn it_is_said_as_long_as_somebody_stands_for_it() {
        let state = tempfile::tempdir().expect("a folder");
        let state = state.path().join("of/it");
        assert_eq!(read(&state), None);
        let mut note = Note::keep(&state);
        assert_eq!(read(&state), None);
        for text in ["refused: a long story", "short"] {
            note.say(Some(text.to_owned()));
            assert_eq!(read(&state).as_deref(), Some(text));
        }
        note.say(None);
        assert_eq!(read(&state), None);
        note.say(Some("again".to_owned()));
        drop(note);
        assert_eq!(read(&state), None);
    }
}
