//! Annotations of a workflow run, by workflow commands: `::error title=…::…`.

use std::fmt::Write as _;

use crate::cli::smoke::human;
use crate::journal::clean;
use crate::model::Report;
use crate::model::Severity;

/// One line a finding, and a last one that is for the log alone.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let command = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let title = property(&clean(&format!("smoke: {}", finding.rule)));
        let message = data(&clean(&format!("{} {}", finding.message, finding.fix)));
        let _ = writeln!(text, "::{command} title={title}::{message}");
    }
    let verdict = if report.passed() { "passes" } else { "does not pass" };
    let count = report.findings.len() as u32;
    let _ = writeln!(text, "{} {verdict}: {count} finding{}", plain(&clean(&report.url)), human::plural(count));
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

/// A line that is no command, whatever stands in it.
fn plain(text: &str) -> String {
    text.trim_start().trim_start_matches("::").to_owned()
}
