//! `malformed_page`.

use crate::model::Effect;
use crate::model::Finding;
use crate::model::Severity;
use crate::model::misleads;

use crate::smoke::page::Malformed;
use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// Browsers show an error instead of the rest of the page.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "malformed_page",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Confirm,
    meaning: "The page is served as XHTML and breaks a rule of XML: browsers show what stands before that, and an error.",
    fix: "Mend the markup in the line that is named, or serve the page as text/html, which forgives it.",
};

/// What stopped the reader of XML.
pub(in crate::smoke) fn finding(fault: &Malformed) -> Finding {
    let message = format!("The page is XHTML and browsers stop reading it in line {}: {}.", fault.line, fault.why);
    let mut finding = RULE.finding(message.chars().filter(|c| !misleads(*c)).take(2000).collect());
    finding.line = Some(fault.line);
    finding
}
