//! How closely a page is looked at: its assets, further expectations, and how bad each rule is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::reader::Section;
use crate::model::RuleLevel;
use crate::model::RuleName;
use crate::model::Severity;

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
            format!("\"{text}\" is no host: write cdn.example.com, cdn.example.com:8443 or *.example.com, without https://.")
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

/// Reads where to connect, `HOST:PORT`.
///
/// # Errors
/// It is none; the sentence says how one is written.
pub(super) fn place_to_connect(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_host = url::Host::parse(host).is_ok() && !host.is_empty();
    let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    (is_host && is_port)
        .then(|| text.to_owned())
        .ok_or_else(|| format!("\"{text}\" is no place to connect to: write HOST:PORT, for instance 127.0.0.1:443 or [::1]:443."))
}

/// How bad findings of single rules are, where a service says so itself.
pub type RuleLevels = BTreeMap<RuleName, RuleLevel>;

pub(super) fn read_fetch(from: &mut Section) -> Option<FetchPlan> {
    let is_wanted = from.flag("fetch_assets", true);
    let plan = FetchPlan {
        concurrency: from.whole("concurrency", 12, 1..=64) as usize,
        within: from.seconds("assets_within_s", 60.0, 1.0..=3600.0),
        max_bytes: (from.whole("max_asset_kib", 10_240, 1..=102_400) as usize) << 10,
    };
    is_wanted.then_some(plan)
}

pub(super) fn read_demands(from: &mut Section, pattern: impl Fn(&str) -> Result<regex::Regex, String>) -> Demands {
    let mut json = Vec::new();
    for (pointer, value) in from.texts_by_name("expect_json") {
        if !pointer.starts_with('/') {
            from.problem("expect_json", format!("\"{pointer}\" is no JSON pointer: write \"/status\"."));
        }
        match pattern(&value) {
            Ok(value) => json.push((pointer, value)),
            Err(why) => from.problem("expect_json", why),
        }
    }
    let latency_ms = from.whole("max_latency_ms", 0, 0..=600_000);
    Demands {
        min_body_bytes: from.whole("min_body_bytes", 1, 0..=50_000_000) as usize,
        max_latency: (latency_ms > 0).then(|| Duration::from_millis(latency_ms as u64)),
        http_version: from.choice("http_version", &[("any", None), ("1.1", Some(HttpVersion::One)), ("2", Some(HttpVersion::Two))]),
        json,
    }
}

pub(super) fn read_rules(from: &mut Section) -> RuleLevels {
    let mut levels = RuleLevels::new();
    for (name, level) in from.texts_by_name("rules") {
        match read_rule(&name, &level) {
            Ok((name, level)) => {
                levels.insert(name, level);
            }
            Err(why) => from.problem("rules", why),
        }
    }
    levels
}

fn read_rule(name: &str, level: &str) -> Result<(RuleName, RuleLevel), String> {
    let rule = RuleName::parse(name)?;
    let level = match level {
        // A check that never began would pass.
        "off" if name == "setup" => return Err("setup cannot be off: a check that could not begin would pass.".to_owned()),
        "off" => None,
        "note" => Some(Severity::Note),
        "warning" => Some(Severity::Warning),
        "error" => Some(Severity::Error),
        other => return Err(format!("{name} = \"{other}\" must be off, note, warning or error.")),
    };
    Ok((rule, level))
}

#[cfg(test)]
mod tests {
    use super::HostPattern;
    use super::read_rule;

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

    #[test]
    fn an_unknown_rule_is_refused_with_the_list() {
        let why = read_rule("assets", "off").unwrap_err();
        assert!(why.starts_with("there is no rule \"assets\"; the rules are setup, dns, "), "{why}");
        assert!(read_rule("asset_type", "loud").is_err() && read_rule("setup", "off").is_err());
        assert_eq!(read_rule("asset_type", "off").unwrap().1, None);
    }
}
