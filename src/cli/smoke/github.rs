//! Annotations of a workflow run, by workflow commands: `::error file=…,line=…,title=…::…`, escaped as the runner undoes it.
//! Forgejo's runner reads the same commands and shows them in the log.

use std::fmt::Write as _;
use std::path::Path;

use smoke::Report;
use smoke::Severity;
use text::clean;

use crate::cli::output::harmless;
use crate::cli::smoke::human;

/// One line a finding, and a last one that is for the log alone. With `source` they stand at that file's lines.
pub(super) fn render(report: &Report, source: Option<&Path>) -> String {
    let file = source.map(|file| property(&clean(&file.to_string_lossy())));
    let mut text = String::new();
    for finding in &report.findings {
        let command = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let title = property(&clean(&format!("smoke: {}", finding.rule)));
        let message = data(&clean(&format!("{} {}", finding.message, finding.fix)));
        let place = file.as_ref().map_or(String::new(), |file| {
            // A line of a linked style sheet is none of the page's source.
            let is_here = finding.element.is_some() && finding.sheet.is_none();
            let line = finding.line.filter(|_| is_here).unwrap_or(1);
            let column = finding.column.filter(|_| is_here).map_or(String::new(), |column| format!("col={column},"));
            format!("file={file},line={line},{column}")
        });
        let _ = writeln!(text, "::{command} {place}title={title}::{message}");
    }
    let verdict = if report.passed() { "passes" } else { "does not pass" };
    let count = report.findings.len() as u32;
    let _ = writeln!(text, "{} {verdict}: {count} finding{}", harmless(&clean(&report.url)), human::plural(count));
    text
}

/// A message, escaped as the runner's toolkit does.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property's value.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
