//! How a service's public page is looked at: reads the table, key by key.

use std::path::Path;
use std::time::Duration;

use smoke::BrowserPlan;
use smoke::Demands;
use smoke::FetchPlan;
use smoke::HostPattern;
use smoke::HttpVersion;
use smoke::ReleaseCarrier;
use smoke::ReleaseProof;
use smoke::RuleLevel;
use smoke::RuleLevels;
use smoke::RuleName;
use smoke::Severity;
use smoke::SmokePlan;
use text::Secret;

use crate::config::reader::Problems;
use crate::config::reader::Section;

/// How a service's public page is looked at, and what becomes of what is found.
#[derive(Debug, Clone)]
pub struct Smoke {
    /// What to ask and what to expect.
    pub plan: SmokePlan,
    /// What becomes of a deployment whose page has faults that it had before.
    pub known_findings: KnownFindings,
}

/// What becomes of a deployment whose page has faults that the running release had as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownFindings {
    /// It is live with a warning.
    Warn,
    /// It is undone as for new ones.
    Block,
}

impl Smoke {
    /// What `table`, with the keys of `[service.x.smoke]`, describes; paths are relative to `folder`.
    ///
    /// # Errors
    /// Every problem of the table at once.
    pub fn from_table(table: toml::Table, folder: &Path) -> Result<Self, Vec<String>> {
        let problems = Problems::default();
        let smoke = read(Section::root(table, folder, &problems), &mut Vec::new());
        let problems = problems.take();
        smoke.filter(|_| problems.is_empty()).ok_or(problems)
    }
}

/// Reads `[service.x.smoke]`.
pub(super) fn read(mut from: Section, secrets: &mut Vec<Secret>) -> Option<Smoke> {
    let url = from.needed("url", "a smoke check needs the public address of the page.", smoke_url);
    let has_password = from.has("password_file") || from.has("password_env");
    let user = from.text("user");
    match (&user, has_password) {
        (Some(_), false) => from.problem("user", "basic authentication needs a password as well: set password_file or password_env."),
        (None, true) => from.problem("user", "a password is set without a user."),
        _ => {}
    }
    let password = from.secret("password_file", "password_env");
    let bearer = from.secret("bearer_file", "bearer_env");
    secrets.extend(password.iter().chain(&bearer).cloned());
    let mut headers: Vec<(String, Secret)> =
        from.texts_by_name("headers").into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
    headers.extend(bearer.map(|token| ("Authorization".to_owned(), Secret::new(format!("Bearer {}", token.reveal())))));
    let mut expect_headers = Vec::new();
    for (name, value) in from.texts_by_name("expect_headers") {
        match pattern(&value) {
            Ok(value) => expect_headers.push((name, value)),
            Err(why) => from.problem("expect_headers", why),
        }
    }
    let status = from.list("status", |text| text.parse::<u16>().map_err(|_| format!("\"{text}\" is not an HTTP status: write \"200\".")));
    let plan = SmokePlan {
        // An address that cannot be read is a problem already; the rest is read nevertheless.
        url: url.or_else(|| url::Url::parse("https://invalid.invalid/").ok())?,
        status: if status.is_empty() { vec![200] } else { status },
        max_redirects: from.whole("max_redirects", 5, 0..=20) as u32,
        allowed_hosts: from.list("allowed_hosts", HostPattern::parse),
        headers,
        basic_auth: user.zip(password),
        expect_headers,
        body: from.parsed("body", pattern),
        release: from.section("release").and_then(read_release),
        within: from.seconds("within_s", 30.0, 0.0..=3600.0),
        certificate_within: from.seconds("certificate_within_s", 120.0, 0.0..=3600.0),
        certificate_days: from.whole("certificate_days", 3, 0..=3650),
        timeout: from.seconds("timeout_s", 10.0, 0.1..=300.0),
        assets: from.flag("assets", true),
        fetch: read_fetch(&mut from),
        samples: from.whole("samples", 3, 1..=20) as u32,
        demands: read_demands(&mut from, pattern),
        rules: read_rules(&mut from),
        max_body_bytes: (from.whole("max_body_kib", 5120, 1..=51_200) as usize) << 10,
        ca_file: from.path("ca_file"),
        connect_to: from.parsed("connect_to", place_to_connect),
        browser: read_browser(&mut from),
    };
    let known_findings = from.choice("known_findings", &[("warn", KnownFindings::Warn), ("block", KnownFindings::Block)]);
    from.finish();
    Some(Smoke { plan, known_findings })
}

fn read_browser(from: &mut Section) -> Option<BrowserPlan> {
    let is_wanted = from.flag_or("browser", "auto", false);
    let plan = BrowserPlan {
        program: from.path("browser_program"),
        is_optional: is_wanted.is_none(),
        deadline: from.seconds("browser_deadline_s", 30.0, 1.0..=600.0),
        screenshots: from.path("browser_screenshots"),
        har: from.path("browser_har"),
    };
    is_wanted.unwrap_or(true).then_some(plan)
}

fn smoke_url(text: &str) -> Result<url::Url, String> {
    let url = match url::Url::parse(text) {
        Ok(url) if url.host().is_some() || matches!(url.scheme(), "https" | "http") => url,
        // `example.com`, and `example.com:8443`, which reads like a scheme.
        _ if is_bare_host(text) => return Err(format!("the scheme is missing: write https://{text}")),
        Ok(url) => return Err(format!("it must begin with https:// or http://, not {}:.", url.scheme())),
        Err(error) => return Err(format!("it is not a valid address: {error}.")),
    };
    if !matches!(url.scheme(), "https" | "http") {
        return Err(format!("it must begin with https:// or http://, not {}:.", url.scheme()));
    }
    if url.username().is_empty() && url.password().is_none() {
        return Ok(url);
    }
    Err("an address must not contain a credential; set user and password_file instead.".to_owned())
}

/// Whether an address would be one with `https://` in front of it.
fn is_bare_host(text: &str) -> bool {
    let begins_as_host = text.starts_with(|c: char| c.is_alphanumeric() || c == '[') && !text.contains([' ', '@']);
    let rest_is_port = text
        .split(['/', '?', '#'])
        .next()
        .and_then(|host| host.rsplit_once(':'))
        .is_none_or(|(_, port)| port.ends_with(']') || (!port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())));
    begins_as_host && rest_is_port && url::Url::parse(&format!("https://{text}")).is_ok()
}

fn read_release(mut from: Section) -> Option<ReleaseProof> {
    let carried_by = read_carrier(&mut from);
    let proof = ReleaseProof { path: from.text("path"), carried_by: carried_by? };
    from.finish();
    Some(proof)
}

/// What of an answer carries a release or a commit.
pub(super) fn read_carrier(from: &mut Section) -> Option<ReleaseCarrier> {
    let header = from.text("header");
    let json = from.text("json");
    let text = from.flag("text", false);
    match (header, json, text) {
        (Some(name), None, false) => Some(ReleaseCarrier::Header(name)),
        (None, Some(pointer), false) => Some(ReleaseCarrier::Json(pointer)),
        (None, None, true) => Some(ReleaseCarrier::Text),
        _ => {
            from.problem("text", "set exactly one of header = \"NAME\", json = \"/POINTER\" and text = true.");
            None
        }
    }
}

fn pattern(text: &str) -> Result<regex::Regex, String> {
    regex::Regex::new(text).map_err(|error| format!("it is not a valid regular expression: {error}."))
}

/// Reads where to connect, `HOST:PORT`.
///
/// # Errors
/// It is none; the sentence says how one is written.
fn place_to_connect(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_host = url::Host::parse(host).is_ok() && !host.is_empty();
    let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    (is_host && is_port)
        .then(|| text.to_owned())
        .ok_or_else(|| format!("\"{text}\" is not a place to connect to: write HOST:PORT, for instance 127.0.0.1:443 or [::1]:443."))
}

fn read_fetch(from: &mut Section) -> Option<FetchPlan> {
    let is_wanted = from.flag("fetch_assets", true);
    let plan = FetchPlan {
        concurrency: from.whole("concurrency", 12, 1..=64) as usize,
        within: from.seconds("assets_within_s", 60.0, 1.0..=3600.0),
        max_bytes: (from.whole("max_asset_kib", 10_240, 1..=102_400) as usize) << 10,
    };
    is_wanted.then_some(plan)
}

fn read_demands(from: &mut Section, pattern: impl Fn(&str) -> Result<regex::Regex, String>) -> Demands {
    let mut json = Vec::new();
    for (pointer, value) in from.texts_by_name("expect_json") {
        if !pointer.starts_with('/') {
            from.problem("expect_json", format!("\"{pointer}\" is not a JSON pointer: write it like \"/status\"."));
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

fn read_rules(from: &mut Section) -> RuleLevels {
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
        "off" if name == "setup" => return Err("setup cannot be off, because a check that could not start would pass.".to_owned()),
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
    use std::path::Path;

    use smoke::SmokePlan;

    use super::Smoke;
    use super::read_rule;

    #[test]
    fn an_unknown_rule_is_refused_with_the_one_that_was_meant() {
        assert_eq!(read_rule("asset_typ", "off").unwrap_err(), "there is no rule \"asset_typ\"; did you mean asset_type?");
        assert!(read_rule("asset_type", "loud").is_err() && read_rule("setup", "off").is_err());
        assert_eq!(read_rule("asset_type", "off").unwrap().1, None);
    }

    #[test]
    fn a_table_that_says_nothing_is_the_checkers_own_plan() {
        let table = toml::from_str("url = \"https://site.test/\"").unwrap();
        let plan = Smoke::from_table(table, Path::new("/")).unwrap().plan;
        assert_eq!(format!("{plan:?}"), format!("{:?}", SmokePlan::new(url::Url::parse("https://site.test/").unwrap())));
    }
}
