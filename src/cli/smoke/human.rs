//! The report for people: grouped by rule, each group with what a browser does and what to change.

use std::fmt::Write as _;

use smoke::Finding;
use smoke::Report;
use smoke::Severity;
use text::clean;

use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::output::duration;

pub(super) fn render(report: &Report, output: &Output) -> String {
    let mut text = head(report, output);
    for rule in report.rules() {
        let group: Vec<&Finding> = report.findings.iter().filter(|finding| finding.rule == rule).collect();
        let Some(worst) = group.iter().map(|finding| finding.severity).max() else { continue };
        let (mark, tone) = mark(worst);
        let effect = group[0].effect.in_words();
        let many = if group.len() > 1 { format!(" ({})", group.len()) } else { String::new() };
        let _ = writeln!(text, "\n  {}{many}: {effect}", output.paint(tone, &format!("{mark} {rule}")));
        for finding in &group {
            let old = newness(report, finding);
            // A missing icon stands beside a missing style sheet, and is not as bad.
            let less = if finding.severity < worst { format!("{}: ", finding.severity.as_str()) } else { String::new() };
            let _ = writeln!(text, "{}", output.wrapped(6, &format!("{less}{}{old}", clean(&finding.message))));
        }
        for fix in fixes(&group) {
            let _ = writeln!(text, "{}", output.paint(Tone::Faint, &output.wrapped(6, &format!("→ {}", clean(fix)))));
        }
    }
    if report.omitted > 0 {
        let _ = writeln!(text, "\n  … and {} more findings of these rules", report.omitted);
    }
    let _ = write!(text, "\n{}", verdict(report, output));
    text
}

/// What was asked and what answered.
fn head(report: &Report, output: &Output) -> String {
    let arrived = report.final_url.as_ref().map_or(String::new(), |url| format!(" → {}", clean(url)));
    let mut facts = vec![report.status.map_or_else(|| "no answer".to_owned(), |status| format!("status {status}"))];
    facts.push(format!("{} after {} attempt{}", duration(report.duration_ms as i64), report.attempts, plural(report.attempts)));
    facts.push(report.counted());
    if let Some(certificate) = &report.certificate {
        let lasts = certificate.lasts();
        facts.push(format!("certificate {} by {}, {lasts}", clean(&certificate.subject), clean(&certificate.issuer)));
    }
    format!("{}{arrived}\n{}\n", output.paint(Tone::Strong, &clean(&report.url)), output.wrapped(2, &facts.join(" · ")))
}

fn verdict(report: &Report, output: &Output) -> String {
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count() as u32;
    let errors = count(Severity::Error);
    let warnings = count(Severity::Warning);
    let notes = count(Severity::Note);
    let counted = [(errors, "error"), (warnings, "warning"), (notes, "note")];
    let counts: Vec<String> =
        counted.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}{}", plural(count))).collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    if errors == 0 {
        output.paint(Tone::Good, &format!("✓ the page passes{counts}"))
    } else {
        output.paint(Tone::Bad, &format!("✗ the page does not pass{counts}"))
    }
}

/// Whether the finding is new, where that is known.
pub(super) fn newness(report: &Report, finding: &Finding) -> String {
    clean(&report.newness(finding))
}

fn fixes<'a>(group: &[&'a Finding]) -> Vec<&'a str> {
    let mut fixes: Vec<&str> = group.iter().map(|finding| finding.fix.as_str()).collect();
    fixes.dedup();
    fixes
}

fn mark(severity: Severity) -> (&'static str, Tone) {
    match severity {
        Severity::Error => ("✗", Tone::Bad),
        Severity::Warning => ("!", Tone::Careful),
        Severity::Note => ("·", Tone::Faint),
    }
}

/// What the rule means, where it is one of the catalogue.
pub(super) fn meaning(rule: &str) -> &'static str {
    smoke::explain(rule).map_or("", |rule| rule.meaning)
}

pub(super) fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}
