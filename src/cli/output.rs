//! Output of the command line: in colour on a terminal unless `NO_COLOR` is set, plain lines elsewhere, JSON on request.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line speaks here and nowhere else")]

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::io::Write as _;

use text::misleads;

use crate::cli::client::Refusal;
use crate::model::Line;
use crate::model::LineKind;

/// The form of the output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
    live: bool,
    /// Columns of the terminal; none: lines are as long as they are.
    columns: Option<usize>,
}

/// The meaning of a text, which decides its colour.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tone {
    Good,
    Bad,
    Careful,
    Faint,
    Strong,
}

impl Output {
    #[allow(clippy::disallowed_methods, reason = "NO_COLOR and TERM are the terminal's, not the configuration's")]
    pub(crate) fn new(json: bool) -> Self {
        let terminal = std::io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb");
        let no_colour = std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty());
        Self {
            json,
            colour: terminal && !no_colour && !json,
            live: terminal && !json,
            columns: columns_of(std::io::stdout()).filter(|_| terminal),
        }
    }

    /// For what does not go to the terminal.
    pub(crate) fn plain() -> Self {
        Self { json: false, colour: false, live: false, columns: None }
    }

    /// Whether the terminal shows characters that are no letters.
    #[allow(clippy::disallowed_methods, reason = "the locale is the terminal's, not the configuration's")]
    pub(crate) fn draws(&self) -> bool {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.is_empty());
        self.live && locale.is_some_and(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"))
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Careful => "33",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Lines of the answer, of which a runner takes none for a command, and nothing in them misleads a reader.
    pub(crate) fn say(&self, text: &str) {
        self.exactly(&visible(&harmless(text), self.colour));
    }

    /// Text that is meant as it stands. A reader that has gone away (`| head`) ends it quietly.
    #[allow(clippy::unused_self, reason = "all output goes through Output")]
    pub(crate) fn exactly(&self, text: &str) {
        if writeln!(std::io::stdout(), "{text}").is_err() {
            std::process::exit(0);
        }
    }

    pub(crate) fn json(&self, value: &impl serde::Serialize) {
        self.exactly(&json_text(value));
    }

    /// One JSON document on one line.
    pub(crate) fn json_line(&self, value: &impl serde::Serialize) {
        self.exactly(&escaped(&serde_json::to_string(value).unwrap_or_default()));
    }

    /// `text` broken between words so that it fits the terminal behind `indent` columns, which every line gets.
    pub(crate) fn wrapped(&self, indent: usize, text: &str) -> String {
        let margin = " ".repeat(indent);
        let width = self.columns.map_or(usize::MAX, |columns| columns.saturating_sub(indent).max(20));
        let mut lines = vec![String::new()];
        let mut used = 0;
        for word in text.split(' ') {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > width {
                lines.push(String::new());
                used = 0;
            }
            let Some(line) = lines.last_mut() else { break };
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
        lines.iter().map(|line| format!("{margin}{line}")).collect::<Vec<_>>().join("\n")
    }

    /// Draws `text` over the current line.
    pub(crate) fn redraw(&self, text: &str) {
        if self.live {
            print!("\r\u{1b}[2K{text}");
            let _ = std::io::stdout().flush();
        }
    }

    pub(crate) fn line(&self, line: &Line) {
        let step = format!("{:<11}", line.step.as_str());
        let (mark, tone) = match line.kind {
            LineKind::Step => ("▸", Tone::Strong),
            LineKind::Note => (" ", Tone::Faint),
            LineKind::Warning => ("!", Tone::Careful),
            LineKind::Error => ("✗", Tone::Bad),
            LineKind::Output => ("|", Tone::Faint),
            LineKind::Outcome => return,
        };
        self.say(&format!("{} {}", self.paint(Tone::Faint, &step), self.paint(tone, &format!("{mark} {}", line.text))));
    }

    /// Words beside the answer, for people: to standard error, so that a program that reads the answer is not misled.
    #[allow(clippy::unused_self, reason = "all output goes through Output")]
    pub(crate) fn notice(&self, text: &str) {
        eprintln!("{}", visible(&harmless(text), false));
    }

    pub(crate) fn failure(&self, error: &anyhow::Error) {
        if self.json {
            let problem = error.downcast_ref::<Refusal>().map(Refusal::problem);
            let fallback = serde_json::json!({ "error": once(error) });
            self.json(&problem.map_or(fallback, |problem| serde_json::to_value(problem).unwrap_or_default()));
            return;
        }
        let text = visible(&harmless(&once(error)), false);
        let label = if self.colour { "\u{1b}[31merror:\u{1b}[0m" } else { "error:" };
        eprintln!("{label} {text}");
    }
}

/// An error with what it comes from, each said once: many errors quote their sources themselves.
fn once(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(cause.trim_end_matches('.')) {
            said = format!("{}: {cause}", said.trim_end_matches('.'));
        }
    }
    said
}

/// Columns of the terminal that this is, where it says so.
pub(crate) fn columns_of(stream: impl std::os::fd::AsFd) -> Option<usize> {
    rustix::termios::tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// `text` in a log that a runner reads: GitHub's takes `##[command]` anywhere in a line and `::command::` at its start for a
/// command, Forgejo's both at the start (actions/runner, `ActionCommand.cs`; act, `command.go`).
pub(crate) fn harmless(text: &str) -> String {
    let broken = text.replace("##[", "# #[");
    let line = |line: &str| match line.split_once("::") {
        Some((before, rest)) if before.chars().all(char::is_whitespace) => format!("{before}: :{rest}"),
        _ => line.to_owned(),
    };
    broken.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// What [`Output::paint`] writes around a text.
const OURS: [&str; 6] = ["\u{1b}[32m", "\u{1b}[31m", "\u{1b}[33m", "\u{1b}[2m", "\u{1b}[1m", "\u{1b}[0m"];

/// `text` with what misleads a terminal or a reader written as its number; ends of lines and, where there is `colour`, our own
/// colours stay.
fn visible(text: &str, colour: bool) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(ours) = OURS.iter().find(|ours| colour && rest.starts_with(**ours)) {
            kept.push_str(ours);
            rest = &rest[ours.len()..];
            continue;
        }
        if misleads(c) && c != '\n' && c != '\t' {
            let _ = write!(kept, "{}", c.escape_unicode());
        } else {
            kept.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    kept
}

/// A value as JSON whose text misleads neither a terminal nor a runner, and reads back as the very same value.
pub(crate) fn json_text(value: &impl serde::Serialize) -> String {
    escaped(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// Both can stand inside strings alone, where JSON allows any character to be written as its number.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.replace("##[", "#\\u0023[").chars() {
        if c != '\n' && misleads(c) {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

/// `12 s`, `3 min`, `2 h`, `5 d`: how long ago or how long, for people.
pub(crate) fn duration(ms: i64) -> String {
    match ms / 1000 {
        s if s < 1 => format!("{} ms", ms.max(0)),
        s if s < 120 => format!("{s} s"),
        s if s < 7200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

impl Output {
    /// The result of an action.
    pub(crate) fn done(&self, done: &crate::api::Done) {
        if self.json {
            self.json(done);
        } else {
            self.say(&done.message);
        }
    }

    /// A name and its value.
    pub(crate) fn fact(&self, name: &str, value: &str) {
        if self.json {
            self.json_line(&serde_json::json!({ name: value }));
        } else {
            self.say(&format!("{name}: {value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Output;
    use super::harmless;
    use super::json_text;
    use super::once;
    use super::visible;

    #[test]
    fn a_cause_that_is_quoted_already_is_not_said_again() {
        let full = anyhow::anyhow!("the disk is full").context("The file could not be written: the disk is full. Free some space.");
        assert_eq!(once(&full), "The file could not be written: the disk is full. Free some space.");
        let plain = anyhow::anyhow!("Read-only file system").context("The mode could not be set.").context("It does not start");
        assert_eq!(once(&plain), "It does not start: The mode could not be set: Read-only file system");
    }

    #[test]
    fn no_line_is_a_command_to_a_runner() {
        assert_eq!(harmless("a ##[error]b\n  ::error::c\nd ::e"), "a # #[error]b\n  : :error::c\nd ::e");
        let value = "###[add-mask]x \u{202e}\u{9b}31m \u{7f} \n ::error::y";
        let text = json_text(&value);
        assert!(!text.contains("##[") && !text.contains(['\u{202e}', '\u{9b}', '\u{7f}', '\n']), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).ok().as_deref(), Some(value));
    }

    #[test]
    fn no_words_from_outside_steer_a_terminal() {
        let all = "a\u{1b}[31mb\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}1m\u{202e}\u{2066}\u{200e}\u{61c}\r\u{8}\nc\td";
        let text = visible(all, false);
        assert!(!text.contains(|c: char| text::misleads(c) && c != '\n' && c != '\t'), "{text:?}");
        assert!(text.ends_with("\nc\td") && text.contains("\\u{202e}"), "{text:?}");
        let text = visible(all, true);
        assert_eq!(text.matches('\u{1b}').count(), 1, "{text:?}");
    }

    #[test]
    fn words_are_kept_whole() {
        let output = Output { columns: Some(24), ..Output::plain() };
        assert_eq!(output.wrapped(2, "one two three four https://long.example/path"), "  one two three four\n  https://long.example/path");
        assert_eq!(Output::plain().wrapped(2, &"x ".repeat(100)).lines().count(), 1);
    }
}
