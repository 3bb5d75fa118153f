//! What was written, and what is left to do, for people and for programs.

use std::path::Path;
use std::path::PathBuf;

use crate::cli::init::files::State;
use crate::cli::output::Output;
use crate::cli::output::Tone;

/// The result.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) files: Vec<(PathBuf, State)>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
    /// What is left to do, in its order.
    pub(super) next: Vec<String>,
}

impl Written {
    /// Shows it; `dry` is the content of a dry run.
    pub(super) fn show(&self, output: &Output, dry: Option<&str>) {
        if output.is_json() {
            let files: Vec<_> = self.files.iter().map(|(path, state)| serde_json::json!({ "path": path, "state": state })).collect();
            output.json(
                &serde_json::json!({ "dry_run": dry.is_some(), "files": files, "notes": self.notes, "next": self.next, "content": dry }),
            );
            return;
        }
        if let Some(content) = dry {
            output.say(content);
        }
        // The scripts of the action go with its action.yml.
        let is_script = |path: &Path| path.extension().is_some_and(|ending| ending == "sh");
        for (path, state) in self.files.iter().filter(|(path, state)| !is_script(path) || *state == State::Kept) {
            let (tone, mark, words) = match (state, dry.is_some()) {
                (State::New, false) => (Tone::Good, "✓", "written"),
                (State::Changed, false) => (Tone::Good, "✓", "changed"),
                (State::New | State::Changed, true) => (Tone::Faint, "·", "would be written"),
                (State::Same, _) => (Tone::Faint, "·", "nothing to change"),
                (State::Kept, _) => {
                    (Tone::Careful, "!", "is yours and was kept; --force replaces it, --dry-run shows what init would write")
                }
            };
            output.say(&format!("{} {}: {words}", output.paint(tone, mark), path.display()));
        }
        for note in &self.notes {
            output.say(&format!("{} {note}", output.paint(Tone::Careful, "!")));
        }
        if dry.is_none() && self.files.iter().all(|(_, state)| matches!(state, State::Same | State::Kept)) {
            output.say("Nothing has changed: the service was set up before.");
        }
        output.say("\nWhat is left to do, unless it was done before:");
        for (at, step) in self.next.iter().enumerate() {
            output.say(&output.wrapped(2, &format!("{}. {step}", at + 1)));
        }
    }
}
