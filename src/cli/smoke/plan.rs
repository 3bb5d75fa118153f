//! What to look at, from the command line. The flags are the keys of `[service.x.smoke]`, and are checked by the same reader.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use clap_complete::ArgValueCompleter;
use smoke::SmokePlan;
use toml::Table;
use toml::Value;

use crate::cli::complete;
use crate::cli::global::Global;
use crate::config::Config;
use crate::config::Smoke;
use crate::model::ServiceName;

#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// Check the page as the configuration of this service says, on its own host; no other flags of the check are accepted then
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::services))]
    pub(super) service: Option<ServiceName>,
    /// A status to accept for the final response; may be given several times [default: 200]
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// How many redirects may be followed [default: 5]
    #[arg(long, value_name = "COUNT")]
    max_redirects: Option<i64>,
    /// How long the page may take to become right, in seconds [default: 30]
    #[arg(long, value_name = "SECONDS")]
    within_s: Option<f64>,
    /// How long to wait for a certificate that is being issued, in seconds [default: 120]
    #[arg(long, value_name = "SECONDS")]
    certificate_within_s: Option<f64>,
    /// The check fails when the certificate expires in fewer days than this [default: 3]
    #[arg(long, value_name = "DAYS")]
    certificate_days: Option<i64>,
    /// How long one request may take, in seconds [default: 10]
    #[arg(long, value_name = "SECONDS")]
    timeout_s: Option<f64>,
    /// Do not check the page's assets
    #[arg(long)]
    no_assets: bool,
    /// Check only the addresses of the assets, without fetching them
    #[arg(long, conflicts_with = "no_assets")]
    no_fetch_assets: bool,
    /// How many assets are fetched at the same time [default: 12]
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["no_assets", "no_fetch_assets"])]
    concurrency: Option<i64>,
    /// Another host that redirects may lead to and assets may be fetched from, or *.HOST for its subdomains; may be given several times
    #[arg(long, value_name = "HOST")]
    allowed_host: Vec<String>,
    /// How long all assets together may take, in seconds [default: 60]
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["no_assets", "no_fetch_assets"])]
    assets_within_s: Option<f64>,
    /// How much of one asset is read, in KiB [default: 10240]
    #[arg(long, value_name = "KIB", conflicts_with_all = ["no_assets", "no_fetch_assets"])]
    max_asset_kib: Option<i64>,
    /// How often the page is requested in one attempt, because two builds may serve the same name [default: 3]
    #[arg(long, value_name = "COUNT")]
    samples: Option<i64>,
    /// How much of the page is read, in KiB [default: 5120]
    #[arg(long, value_name = "KIB")]
    max_body_kib: Option<i64>,
    /// The user name for basic authentication
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The file with the password of --user
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// The environment variable with the password of --user
    #[arg(long, value_name = "VARIABLE", requires = "user", conflicts_with = "password_file")]
    password_env: Option<String>,
    /// The file with a bearer token
    #[arg(long, value_name = "FILE")]
    bearer_file: Option<PathBuf>,
    /// The environment variable with a bearer token
    #[arg(long, value_name = "VARIABLE", conflicts_with = "bearer_file")]
    bearer_env: Option<String>,
    /// A header to send; others on this host can see it, so do not put a secret here
    #[arg(long, value_name = "NAME: VALUE", value_parser = pair)]
    header: Vec<(String, String)>,
    /// A header that the response must have, and a pattern that its value must match
    #[arg(long, value_name = "NAME: PATTERN", value_parser = pair)]
    expect_header: Vec<(String, String)>,
    /// A pattern that the page must match
    #[arg(long, value_name = "PATTERN")]
    body: Option<String>,
    /// How many bytes the page must have at least [default: 0]
    #[arg(long, value_name = "BYTES")]
    min_body_bytes: Option<i64>,
    /// After how many milliseconds the response must have started, including connection and TLS handshake; 0: no limit [default: 0]
    #[arg(long, value_name = "MS")]
    max_latency_ms: Option<i64>,
    /// The version of HTTP that the page must be served over: 1.1, 2 or any [default: any]
    #[arg(long, value_name = "VERSION")]
    http_version: Option<String>,
    /// A value in the JSON response (RFC 6901), and a pattern that it must match; may be given several times
    #[arg(long, value_name = "POINTER=PATTERN", value_parser = assignment)]
    expect_json: Vec<(String, String)>,
    /// The severity of a rule's findings: off, note, warning or error; may be given several times
    #[arg(long, value_name = "RULE=LEVEL", value_parser = assignment)]
    rule: Vec<(String, String)>,
    /// Root certificates to trust besides those of this host (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Connect to this place instead, but use the name of the address for TLS and the Host header
    #[arg(long, value_name = "HOST:PORT")]
    connect_to: Option<String>,
    /// Also load the page in the Chromium of this host; auto: only if Chromium is installed
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = ["true", "auto"])]
    browser: Option<String>,
    /// The browser's program [default: the first one that is found]
    #[arg(long, value_name = "FILE", requires = "browser")]
    browser_program: Option<PathBuf>,
    /// How long the browser may take in all, in seconds [default: 30]
    #[arg(long, value_name = "SECONDS", requires = "browser")]
    browser_deadline_s: Option<f64>,
    /// A folder for the browser's screenshots, desktop.png and phone.png
    #[arg(long, value_name = "DIR", requires = "browser")]
    browser_screenshots: Option<PathBuf>,
    /// A file for the browser's list of requests (HAR 1.2)
    #[arg(long, value_name = "FILE", requires = "browser")]
    browser_har: Option<PathBuf>,
    /// The address that shows the release, relative to the page [default: the page itself]
    #[arg(long, value_name = "PATH")]
    release_path: Option<String>,
    /// The header that shows the release
    #[arg(long, value_name = "NAME")]
    release_header: Option<String>,
    /// The JSON value that shows the release (RFC 6901)
    #[arg(long, value_name = "POINTER", conflicts_with = "release_header")]
    release_json: Option<String>,
    /// The text of the response shows the release
    #[arg(long, conflicts_with_all = ["release_header", "release_json"])]
    release_text: bool,
}

/// What is wrong with how the program was called.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// Reads `NAME: VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Reads `NAME=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What is looked at, and from where.
pub(super) enum Wanted {
    /// A page, from here.
    Here(Box<SmokePlan>),
    /// The page of a service that stands elsewhere: the server has it looked at. If no server answers, this is why nothing can be.
    There(ServiceName, String),
}

/// The plan of the command line, or of the service that it names.
pub(super) fn read(global: &Global, page: Option<&str>, flags: &Flags) -> anyhow::Result<Wanted> {
    flags.names_nothing_twice()?;
    let table = flags.table(page);
    let Some(name) = &flags.service else {
        let here = std::env::current_dir().context("The current folder does not exist any more")?;
        return Smoke::from_table(table, &here)
            .map(|smoke| Wanted::Here(Box::new(smoke.plan)))
            .map_err(|problems| Usage(problems.join("\n")).into());
    };
    if !table.is_empty() {
        return Err(Usage(format!("The configuration says how {name} is checked; remove {}.", names_of_flags(&table))).into());
    }
    if !global.is_here() {
        return Ok(Wanted::There(name.clone(), String::new()));
    }
    let config = Config::load(&global.config)?;
    let elsewhere = |why: String| Ok(Wanted::There(name.clone(), why));
    let service = match config.service(name) {
        None => return elsewhere(format!("There is no service {name} in {}", global.config.display())),
        Some(service) if !service.stack.is_here() => return elsewhere(format!("{name} stands on the host of an agent")),
        Some(service) => service,
    };
    let smoke = service.smoke.as_ref();
    smoke
        .map(|smoke| Wanted::Here(Box::new(smoke.plan.clone())))
        .with_context(|| format!("{name} has no [service.{name}.smoke] table in {}", global.config.display()))
}

fn names_of_flags(table: &Table) -> String {
    let flag = |key: &String| match key.as_str() {
        "url" => "the address".to_owned(),
        "assets" | "fetch_assets" => format!("--no-{}", key.replace('_', "-")),
        "headers" | "expect_headers" | "allowed_hosts" | "rules" => format!("--{}", key.trim_end_matches('s').replace('_', "-")),
        "release" => "--release-path, --release-header, --release-json, --release-text".to_owned(),
        _ => format!("--{}", key.replace('_', "-")),
    };
    table.keys().map(flag).collect::<Vec<_>>().join(", ")
}

impl Flags {
    /// A name that is given twice has one place in the table: the first would be lost.
    fn names_nothing_twice(&self) -> Result<(), Usage> {
        let all =
            [("header", &self.header), ("expect-header", &self.expect_header), ("expect-json", &self.expect_json), ("rule", &self.rule)];
        for (flag, pairs) in all {
            for (at, (name, _)) in pairs.iter().enumerate() {
                let is_new = pairs[..at].iter().all(|(other, _)| other != name);
                if !is_new {
                    return Err(Usage(format!("--{flag} gives {} twice; give it once.", name.escape_debug())));
                }
            }
        }
        Ok(())
    }

    fn table(&self, page: Option<&str>) -> Table {
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let path = |path: &Option<PathBuf>| path.as_deref().map(Path::to_string_lossy).map(|path| Value::from(path.into_owned()));
        let pairs = |pairs: &[(String, String)]| {
            let table: Table = pairs.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect();
            (!table.is_empty()).then_some(Value::Table(table))
        };
        let release = [
            ("path", text(&self.release_path)),
            ("header", text(&self.release_header)),
            ("json", text(&self.release_json)),
            ("text", self.release_text.then_some(Value::from(true))),
        ];
        let release: Table = release.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        let keys = [
            ("url", page.map(Value::from)),
            ("status", (!self.status.is_empty()).then(|| Value::from(self.status.clone()))),
            ("max_redirects", self.max_redirects.map(Value::from)),
            ("within_s", self.within_s.map(Value::from)),
            ("certificate_within_s", self.certificate_within_s.map(Value::from)),
            ("certificate_days", self.certificate_days.map(Value::from)),
            ("timeout_s", self.timeout_s.map(Value::from)),
            ("assets", self.no_assets.then_some(Value::from(false))),
            ("fetch_assets", self.no_fetch_assets.then_some(Value::from(false))),
            ("concurrency", self.concurrency.map(Value::from)),
            ("allowed_hosts", (!self.allowed_host.is_empty()).then(|| Value::from(self.allowed_host.clone()))),
            ("assets_within_s", self.assets_within_s.map(Value::from)),
            ("max_asset_kib", self.max_asset_kib.map(Value::from)),
            ("samples", self.samples.map(Value::from)),
            ("min_body_bytes", self.min_body_bytes.map(Value::from)),
            ("max_latency_ms", self.max_latency_ms.map(Value::from)),
            ("http_version", text(&self.http_version)),
            ("expect_json", pairs(&self.expect_json)),
            ("rules", pairs(&self.rule)),
            ("max_body_kib", self.max_body_kib.map(Value::from)),
            ("user", text(&self.user)),
            ("password_file", path(&self.password_file)),
            ("password_env", text(&self.password_env)),
            ("bearer_file", path(&self.bearer_file)),
            ("bearer_env", text(&self.bearer_env)),
            ("headers", pairs(&self.header)),
            ("expect_headers", pairs(&self.expect_header)),
            ("body", text(&self.body)),
            ("ca_file", path(&self.ca_file)),
            ("connect_to", text(&self.connect_to)),
            ("browser", self.browser.as_deref().map(|when| if when == "auto" { Value::from(when) } else { Value::from(true) })),
            ("browser_program", path(&self.browser_program)),
            ("browser_deadline_s", self.browser_deadline_s.map(Value::from)),
            ("browser_screenshots", path(&self.browser_screenshots)),
            ("browser_har", path(&self.browser_har)),
            ("release", (!release.is_empty()).then_some(Value::Table(release))),
        ];
        keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}
