//! `malformed_page`.

use text::misleads;

use crate::page::Malformed;
use crate::report::Effect;
use crate::report::Finding;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// Browsers show an error instead of the rest of the page.
pub(crate) const RULE: Rule = Rule {
    name: "malformed_page",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Confirm,
    meaning: "The page is served as XHTML and breaks a rule of XML: browsers show what stands before that, and an error.",
    fix: "Mend the markup in the line that is named, or serve the page as text/html, which forgives it.",
};

/// What stopped the reader of XML.
pub(crate) fn finding(fault: &Malformed) -> Finding {
    let message = format!("The page is XHTML and browsers stop reading it in line {}: {}.", fault.line, fault.why);
    let mut finding = RULE.finding(message.chars().filter(|c| !misleads(*c)).take(2000).collect());
    finding.line = Some(fault.line);
    finding
}
