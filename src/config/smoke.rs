//! How a service's public page is looked at: the checked form.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Demands;
use crate::config::FetchPlan;
use crate::config::HostPattern;
use crate::config::RuleLevels;
use crate::config::Secret;
use crate::config::reader::Problems;
use crate::config::reader::Section;
use crate::config::service;

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
    /// What becomes of a deployment whose page has faults that it had before.
    pub known_findings: KnownFindings,
    /// A browser that looks at the page as well; none: it is not asked.
    pub browser: Option<BrowserPlan>,
    /// Connect here (`HOST:PORT`) instead of where the address leads; name and certificate stay those of the address.
    pub connect_to: Option<String>,
}

/// What becomes of a deployment whose page has faults that the running release had as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownFindings {
    /// It is live with a warning.
    Warn,
    /// It is undone as for new ones.
    Block,
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

impl SmokePlan {
    /// The plan that `table`, with the keys of `[service.x.smoke]`, describes; paths are relative to `folder`.
    ///
    /// # Errors
    /// Every problem of the table at once.
    pub fn from_table(table: toml::Table, folder: &Path) -> Result<Self, Vec<String>> {
        let problems = Problems::default();
        let plan = service::read_smoke(Section::root(table, folder, &problems), &mut Vec::new());
        let problems = problems.take();
        plan.filter(|_| problems.is_empty()).ok_or(problems)
    }
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
