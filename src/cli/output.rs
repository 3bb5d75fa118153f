//! What the terminal gets: colour only where there is one and nobody said no, plain lines elsewhere, JSON when asked.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line speaks here and nowhere else")]

use std::io::IsTerminal as _;
use std::io::Write as _;

use crate::cli::client::Refusal;
use crate::model::Line;
use crate::model::LineKind;

/// How to speak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
    live: bool,
}

/// What a text means.
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
        Self { json, colour: terminal && !no_colour && !json, live: terminal && !json }
    }

    /// For what does not go to the terminal.
    pub(crate) fn plain() -> Self {
        Self { json: false, colour: false, live: false }
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

    /// A line of the answer. A reader that has gone away (`| head`) ends it quietly.
    #[allow(clippy::unused_self, reason = "whoever speaks holds the way of speaking")]
    pub(crate) fn say(&self, text: &str) {
        if writeln!(std::io::stdout(), "{text}").is_err() {
            std::process::exit(0);
        }
    }

    pub(crate) fn json(&self, value: &impl serde::Serialize) {
        self.say(&serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// One JSON document on one line.
    pub(crate) fn json_line(&self, value: &impl serde::Serialize) {
        self.say(&serde_json::to_string(value).unwrap_or_default());
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

    pub(crate) fn failure(&self, error: &anyhow::Error) {
        if self.json {
            let problem = error.downcast_ref::<Refusal>().map(Refusal::problem);
            let fallback = serde_json::json!({ "error": format!("{error:#}") });
            self.json(&problem.map_or(fallback, |problem| serde_json::to_value(problem).unwrap_or_default()));
            return;
        }
        let text = format!("{error:#}");
        let label = if self.colour { "\u{1b}[31merror:\u{1b}[0m" } else { "error:" };
        eprintln!("{label} {text}");
    }
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
    /// What an action came to.
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
