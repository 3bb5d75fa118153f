//! What to ask and what to expect: the checked form, no matter who has read it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use text::Secret;

use crate::catalogue::RuleLevel;
use crate::catalogue::RuleName;

/// What to ask and what to expect.
#[derive(Debug, Clone)]
pub struct SmokePlan {
    /// The public address of the page.
    pub url: url::Url,
    /// Statuses that are right for the last answer.
    pub status: Vec<u16>,
    /// How many redirects may be followed.
    pub max_redirects: u32,
    /// Hosts that may be asked beside the page's own: by redirects and for assets.
    pub allowed_hosts: Vec<HostPattern>,
    /// Headers to send, by name and value.
    pub headers: Vec<(String, Secret)>,
    /// User and password of HTTP basic authentication.
    pub basic_auth: Option<(String, Secret)>,
    /// Headers the last answer must have: name and a pattern its value must match.
    pub expect_headers: Vec<(String, regex::Regex)>,
    /// A pattern the body must match.
    pub body: Option<regex::Regex>,
    /// Where the page must show the release; none: it is not asked.
    pub release: Option<ReleaseProof>,
    /// How long the page may take to become right.
    pub within: Duration,
    /// How long a certificate may take to be issued.
    pub certificate_within: Duration,
    /// Fewer days left than this is an error.
    pub certificate_days: i64,
    /// How long one request may take.
    pub timeout: Duration,
    /// Whether the page's assets are looked at.
    pub assets: bool,
    /// How they are asked for; none: they are judged by their addresses alone.
    pub fetch: Option<FetchPlan>,
    /// How often the page is asked in one look: two builds behind one name show only in some answers.
    pub samples: u32,
    /// What the page must be beside its status, headers and body.
    pub demands: Demands,
    /// How bad findings of single rules are, where the service says so itself.
    pub rules: RuleLevels,
    /// How many bytes of the page are read at most.
    pub max_body_bytes: usize,
    /// Roots to trust beside the host's own (PEM).
    pub ca_file: Option<PathBuf>,
    /// A browser that looks at the page as well; none: it is not asked.
    pub browser: Option<BrowserPlan>,
    /// Connect here (`HOST:PORT`) instead of where the address leads; name and certificate stay those of the address.
    pub connect_to: Option<String>,
}

impl SmokePlan {
    /// A plan for `url` that asks for nothing but what every page must be, by the times and bounds that a configuration has where it
    /// says nothing.
    #[must_use]
    pub fn new(url: url::Url) -> Self {
        Self {
            url,
            status: vec![200],
            max_redirects: 5,
            allowed_hosts: Vec::new(),
            headers: Vec::new(),
            basic_auth: None,
            expect_headers: Vec::new(),
            body: None,
            release: None,
            within: Duration::from_secs(30),
            certificate_within: Duration::from_mins(2),
            certificate_days: 3,
            timeout: Duration::from_secs(10),
            assets: true,
            fetch: Some(FetchPlan { concurrency: 12, within: Duration::from_mins(1), max_bytes: 10_240 << 10 }),
            samples: 3,
            demands: Demands { min_body_bytes: 1, max_latency: None, http_version: None, json: Vec::new() },
            rules: RuleLevels::new(),
            max_body_bytes: 5120 << 10,
            ca_file: None,
            browser: None,
            connect_to: None,
        }
    }
}

/// How a browser looks at the page.
#[derive(Debug, Clone)]
pub struct BrowserPlan {
    /// The program; none: the first Chromium that this host has.
    pub program: Option<PathBuf>,
    /// Whether the check goes without one where there is none; that is a note then.
    pub is_optional: bool,
    /// How long it may take in all.
    pub deadline: Duration,
    /// A folder for a screenshot of desktop and of phone size.
    pub screenshots: Option<PathBuf>,
    /// A file for the list of requests (HAR 1.2).
    pub har: Option<PathBuf>,
}

/// What the page must show when the plan asks for a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The tag that was deployed; an empty one is shown nowhere.
    pub tag: String,
    /// The commit that it was built from, as hex digits.
    pub commit: Option<String>,
}

/// Where the served page says which release it is.
#[derive(Debug, Clone)]
pub struct ReleaseProof {
    /// Asked instead of the page itself, resolved against it (`/version`).
    pub path: Option<String>,
    /// What carries the tag or the commit.
    pub carried_by: ReleaseCarrier,
}

/// What carries the tag or the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseCarrier {
    /// This header.
    Header(String),
    /// The JSON value at this pointer (RFC 6901).
    Json(String),
    /// The body's text.
    Text,
}

/// How the page's assets are asked for.
#[derive(Debug, Clone)]
pub struct FetchPlan {
    /// How many requests may be under way at once.
    pub concurrency: usize,
    /// How long all of them may take.
    pub within: Duration,
    /// How many bytes of one asset are read at most.
    pub max_bytes: usize,
}

/// A host that may be asked: `cdn.example.com`, with a port, or `*.example.com` for everything below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern(String);

impl HostPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is no host; the sentence says how one is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let host = text.strip_prefix("*.").unwrap_or(text);
        let parsed = url::Url::parse(&format!("https://{host}/")).ok().filter(|url| url.path() == "/" && url.username().is_empty());
        let is_host = parsed.is_some() && !host.contains(['/', '@', '?', '#', '*']);
        is_host.then(|| Self(text.to_ascii_lowercase())).ok_or_else(|| {
            format!("\"{text}\" is not a host: write cdn.example.com, cdn.example.com:8443 or *.example.com, without https://.")
        })
    }

    /// Whether the host of `url` is meant.
    #[must_use]
    pub fn matches(&self, url: &url::Url) -> bool {
        let Some(name) = url.host_str() else { return false };
        let with_port = format!("{name}:{}", url.port_or_known_default().unwrap_or_default());
        match self.0.strip_prefix('*') {
            Some(below) => name.ends_with(below) || with_port.ends_with(below),
            None => self.0 == name || self.0 == with_port,
        }
    }
}

/// The protocol of the page's last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    One,
    /// HTTP/2.
    Two,
}

/// What a page must be beside its status, headers and body.
#[derive(Debug, Clone)]
pub struct Demands {
    /// Fewer bytes than these are not the page; 0: it may be empty.
    pub min_body_bytes: usize,
    /// The head of the answer must come in this time.
    pub max_latency: Option<Duration>,
    /// The protocol that must be spoken.
    pub http_version: Option<HttpVersion>,
    /// Values of a JSON body: pointer (RFC 6901) and a pattern.
    pub json: Vec<(String, regex::Regex)>,
}

/// How bad findings of single rules are, where a service says so itself.
pub type RuleLevels = BTreeMap<RuleName, RuleLevel>;

#[cfg(test)]
mod tests {
    use super::HostPattern;

    #[test]
    fn hosts_are_matched_whole_or_below() {
        let url = |text: &str| url::Url::parse(text).unwrap();
        let table = [
            ("cdn.test", "https://cdn.test/a", true),
            ("CDN.test", "https://cdn.test:8443/a", true),
            ("cdn.test:8443", "https://cdn.test:8443/a", true),
            ("cdn.test:8443", "https://cdn.test/a", false),
            ("cdn.test:443", "https://cdn.test/a", true),
            ("*.test", "https://a.b.test/", true),
            ("*.cdn.test", "https://cdn.test/", false),
            ("dn.test", "https://cdn.test/", false),
            ("[::1]", "https://[::1]/", true),
        ];
        for (pattern, target, matches) in table {
            assert_eq!(HostPattern::parse(pattern).unwrap().matches(&url(target)), matches, "{pattern} {target}");
        }
        for wrong in ["https://cdn.test", "cdn.test/x", "", "*", "a@b", "*.*.test", "a b"] {
            assert!(HostPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
