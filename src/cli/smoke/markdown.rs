//! The report as Markdown: for the step summary of a workflow run, or a comment.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Context as _;
use smoke::Report;
use text::clean;

use crate::cli::smoke::human;

pub(super) fn render(report: &Report) -> String {
    let mark = if report.passed() { "✅ passes" } else { "❌ does not pass" };
    let mut text = format!("### {} {mark}\n\n", escaped(&report.url));
    let status = report.status.map_or_else(|| "no answer".to_owned(), |status| format!("status {status}"));
    let certificate = report.certificate.as_ref().map_or(String::new(), |c| format!(", certificate {}", c.lasts()));
    let _ = writeln!(text, "{status} after {} ms, {}{certificate}", report.duration_ms, report.counted());
    if report.findings.is_empty() {
        return text;
    }
    text += "\n| | rule | what was seen | what to change |\n|---|---|---|---|\n";
    for finding in &report.findings {
        let old = escaped(&human::newness(report, finding));
        let severity = finding.severity.as_str();
        let rule = escaped(&finding.rule);
        let _ = writeln!(text, "| {severity} | {rule} | {}{old} | {} |", escaped(&finding.message), escaped(&finding.fix));
    }
    if report.omitted > 0 {
        let _ = writeln!(text, "\n… and {} more findings of these rules", report.omitted);
    }
    let meant: Vec<String> = report
        .rules()
        .into_iter()
        .filter(|rule| !human::meaning(rule).is_empty())
        .map(|rule| format!("- {}: {}", escaped(rule), escaped(human::meaning(rule))))
        .collect();
    let _ = write!(text, "\n{}\n", meant.join("\n"));
    text
}

/// Adds the report to the summary of the step that runs, where a runner asks for one.
#[allow(clippy::disallowed_methods, reason = "the runner says by its environment where its summary is")]
pub(super) fn append_summary(report: &Report) -> anyhow::Result<()> {
    let named = ["GITHUB_STEP_SUMMARY", "FORGEJO_STEP_SUMMARY"].into_iter().filter_map(std::env::var_os);
    let Some(file) = named.into_iter().find(|file| !file.is_empty()) else { return Ok(()) };
    let written = std::fs::File::options().create(true).append(true).open(&file);
    written.and_then(|mut file| file.write_all(render(report).as_bytes())).context("The step summary could not be written")
}

/// Text of the page that means nothing to Markdown or HTML, on one line. What is long is cut: a summary takes 1 MiB.
fn escaped(text: &str) -> String {
    const LONGEST: usize = 600;
    let mut out = String::new();
    // Forges make a link of an address that begins so.
    let text = clean(text).replace("www.", "www\u{2060}.");
    for (at, c) in text.chars().enumerate() {
        if at == LONGEST {
            out.push('…');
            break;
        }
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A mention would notify somebody, a number name an issue: forges look for both in the text that comes out.
            '@' => out.push_str("@\u{2060}"),
            '#' => out.push_str("\\#\u{2060}"),
            // An address would become a link.
            ':' => out.push_str("&#58;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '+' | '-' | '!' | '|' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
