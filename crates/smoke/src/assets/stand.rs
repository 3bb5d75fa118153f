//! How an asset's place is told.

use text::misleads;

use crate::page::Asset;
use crate::report::Finding;

/// Longer addresses are cut in reports.
const LONGEST_URL: usize = 2000;

impl Asset {
    /// Where it stands, for people: `link[href], line 7`, or `url() in https://site.test/app.css, line 3`.
    pub(crate) fn location(&self) -> String {
        let sheet = self.sheet.as_deref().map_or_else(String::new, |sheet| format!(" in {}", shown_url(sheet)));
        let line = if self.line > 0 { format!(", line {}", self.line) } else { String::new() };
        format!("{}{sheet}{line}", self.element)
    }

    /// Writes into `finding` where it stands.
    pub(crate) fn mark(&self, finding: &mut Finding) {
        finding.url = Some(shown_url(&self.written));
        finding.resolved = self.resolved.as_ref().map(|url| shown_url(url.as_str()));
        finding.element = Some(self.element.clone());
        finding.line = (self.line > 0).then_some(self.line);
        finding.column = (self.column > 0).then_some(self.column);
        finding.sheet = self.sheet.as_deref().map(shown_url);
    }
}

/// An address without what would mislead a reader, and not too long for a report.
pub(super) fn shown_url(url: &str) -> String {
    url.chars().take(LONGEST_URL).filter(|c| !misleads(*c)).collect()
}
