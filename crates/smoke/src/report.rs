//! What a smoke check saw.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Worth a look; does not fail the check.
    Warning,
    /// Fails the check.
    Error,
}

impl Severity {
    /// The one word for it: in reports, in a configuration and to people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a browser does because of the finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The request is not made; the page goes without.
    Blocked,
    /// The request is made over https instead.
    Upgraded,
    /// The page's own policy rewrites it to https before it is asked.
    Rescued,
    /// The request brings nothing that can be used; the page goes without.
    Missing,
    /// The page does not load.
    PageFails,
    /// Nothing that a visitor sees.
    Nothing,
}

impl Effect {
    /// What a browser does, as the end of a sentence.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Blocked => "browsers do not load it",
            Self::Upgraded => "browsers request it over https instead",
            Self::Rescued => "the page's own policy upgrades it to https",
            Self::Missing => "it is missing from the page",
            Self::PageFails => "visitors cannot load the page",
            Self::Nothing => "visitors do not notice it",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// The rule's name, the same in code, tests, README and config.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, as one sentence.
    pub message: String,
    /// What a browser does with it.
    pub effect: Effect,
    /// What to change.
    pub fix: String,
    /// The address as the page writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The absolute address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<String>,
    /// Element and attribute, `link[href]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<String>,
    /// Line in the document, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The position in the line, in characters from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The linked style sheet or framed document that contains it; missing: the page itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// Whether the running release had the same finding before the deployment.
    #[serde(default)]
    pub known: bool,
}

impl Finding {
    /// Whether `other` is the same fault, seen at another time: rule and address agree.
    #[must_use]
    pub fn same_fault(&self, other: &Self) -> bool {
        self.rule == other.rule && self.resolved == other.resolved && self.url == other.url && self.element == other.element
    }
}

/// The certificate that the page was served with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Certificate {
    /// The subject's common name, or its first alternative name.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Whole days until it expires; negative when it has.
    pub days_left: i64,
}

impl Certificate {
    /// How long it lasts, as words: `good for 3 days`, `ended 2 days ago`.
    #[must_use]
    pub fn lasts(&self) -> String {
        let days = |count: i64| if count == 1 { "1 day".to_owned() } else { format!("{count} days") };
        match self.days_left {
            0 => "expires today".to_owned(),
            // Less than a day after its end is the first day after it.
            left @ ..0 => format!("expired {} ago", days(left.saturating_neg())),
            left => format!("valid for {}", days(left)),
        }
    }
}

/// The result of one smoke check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// The address that was requested.
    pub url: String,
    /// Where the redirects ended, when there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_url: Option<String>,
    /// The status of the last response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How many attempts it took.
    pub attempts: u32,
    /// How long the whole check took, ms.
    pub duration_ms: u64,
    /// How long the page's last response took, from its request to its headers, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// The certificate, when the address is https and a handshake was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// How many assets the page requests, including those of its linked style sheets if these were fetched.
    pub assets: u32,
    /// How many of them were fetched; an asset that is used several times is fetched once.
    #[serde(default)]
    pub fetched: u32,
    /// The tag of the release that was checked, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The release that ran before the deployment, where it is known: findings that are not `known` are new since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
    /// How many further findings of the same rules are not listed.
    #[serde(default)]
    pub omitted: u32,
}

impl Report {
    /// Whether the finding is new, as it is said to people behind the finding; empty where that is not known.
    #[must_use]
    pub fn newness(&self, finding: &Finding) -> String {
        match (&self.since, finding.known) {
            (Some(since), true) => format!(" (known: {since} had it too)"),
            (None, true) => " (known: the previous release had it too)".to_owned(),
            (Some(since), false) => format!(" (new since {since})"),
            (None, false) => String::new(),
        }
    }

    /// The assets in words: `12 assets, 9 fetched`. Of those that are not fetched some stand there twice, and others are on
    /// hosts that are not asked.
    #[must_use]
    pub fn counted(&self) -> String {
        let assets = format!("{} asset{}", self.assets, if self.assets == 1 { "" } else { "s" });
        if self.fetched == 0 { assets } else { format!("{assets}, {} fetched", self.fetched) }
    }

    /// Whether nothing fails: no finding of severity error.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.errors().next().is_none()
    }

    /// The rules that were broken, worst first and each once.
    #[must_use]
    pub fn rules(&self) -> Vec<&str> {
        let mut rules: Vec<&str> = Vec::new();
        for finding in &self.findings {
            if !rules.contains(&finding.rule.as_str()) {
                rules.push(&finding.rule);
            }
        }
        rules
    }

    /// The findings that fail the check.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }

    /// Marks every finding that `before`, the look at the release before, had as well, so that what is new can be told from
    /// what is old.
    pub fn mark_known(&mut self, before: &Self) {
        self.since.clone_from(&before.release);
        for finding in &mut self.findings {
            finding.known = before.findings.iter().any(|old| old.same_fault(finding));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Severity;

    #[test]
    fn a_severity_has_one_word() {
        for severity in [Severity::Note, Severity::Warning, Severity::Error] {
            assert_eq!(serde_json::to_value(severity).unwrap(), severity.as_str());
        }
    }
}
