//! `malformed_page`.

use text::misleads;

use crate::catalogue::MALFORMED_PAGE;
use crate::page::Malformed;
use crate::report::Finding;

/// What stopped the reader of XML.
pub(crate) fn finding(fault: &Malformed) -> Finding {
    let message = format!("The page is XHTML, and browsers stop reading it at line {}: {}.", fault.line, fault.why);
    let mut finding = MALFORMED_PAGE.finding(message.chars().filter(|c| !misleads(*c)).take(2000).collect());
    finding.line = Some(fault.line);
    finding
}
