//! `tagalong smoke`: looks at a page from outside and says what is wrong. It needs no server and no configuration.

mod format;
mod github;
mod human;
mod junit;
mod markdown;
mod plan;
mod schema;

use std::io::IsTerminal as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use smoke::Release;
use smoke::Report;
use smoke::RuleName;
use smoke::SmokePlan;
use text::clean;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::api;
use crate::cli::client::Client;
use crate::cli::client::Refusal;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::output::columns_of;
use crate::cli::output::harmless;
use crate::cli::output::json_text;
use crate::cli::smoke::format::Format;
use crate::cli::smoke::plan::Usage;
use crate::cli::smoke::plan::Wanted;
use crate::model::ServiceName;
use crate::model::Tag;

/// The check was made and the page did not pass.
const NOT_PASSED: u8 = 3;
/// The program was called wrongly, as clap ends.
const USAGE: u8 = 2;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 the page passes · 3 it does not · 1 the check could not be made · 2 usage · 129, 130, 143 interrupted by \
    SIGHUP, SIGINT, SIGTERM"
)]
pub(crate) struct Args {
    /// The address of the page; optional with --service
    #[arg(required_unless_present_any = ["service", "explain", "json_schema"], conflicts_with_all = ["explain", "json_schema"])]
    page: Option<String>,
    #[command(flatten)]
    plan: plan::Flags,
    /// The tag of the release that the page must show
    #[arg(long, value_name = "TAG")]
    release: Option<Tag>,
    /// The commit that it was built from, which the page may show instead of the tag
    #[arg(long, value_name = "SHA", requires = "release")]
    commit: Option<String>,
    /// The format of the report on standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Also write the report to a file; may be given once for each format
    #[arg(long, value_name = "FORMAT=FILE", value_parser = format::to_file)]
    output: Vec<(Format, PathBuf)>,
    /// The file in the repository that the page is made from; annotations refer to its lines
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,
    /// Explain what a rule means and what to change; without a name, list all rules
    #[arg(long, value_name = "RULE", num_args = 0..=1, default_missing_value = "")]
    explain: Option<String>,
    /// Print the JSON Schema of the report that --format json prints
    #[arg(long, conflicts_with = "explain")]
    json_schema: bool,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    match looked_at(global, output, args).await {
        Err(error) if error.is::<Usage>() => {
            output.failure(&error);
            Ok(USAGE)
        }
        other => other,
    }
}

async fn looked_at(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    if let Some(name) = &args.explain {
        return explain(output, name);
    }
    if args.json_schema {
        output.exactly(&json_text(&schema::of_report()));
        return Ok(0);
    }
    let wanted = plan::read(global, args.page.as_deref(), &args.plan)?;
    let mut interrupted = Interrupted::new()?;
    let looked = match &wanted {
        Wanted::Here(plan) => look_from_here(output, args, plan, &mut interrupted).await?,
        Wanted::There(service, why) => tokio::select! {
            report = look_from_there(global, args, service, why) => Ok(report?),
            code = interrupted.come() => Err(code),
        },
    };
    let report = match looked {
        Ok(report) => report,
        Err(code) => return Ok(code),
    };
    tell(output, args, &report)?;
    Ok(exit_code(&report))
}

/// What the host sees on which `service` stands.
async fn look_from_there(global: &Global, args: &Args, service: &ServiceName, why: &str) -> anyhow::Result<Report> {
    let look = api::NewLook { tag: args.release.clone(), commit: args.commit.clone() };
    let asked = Client::new(global)?.post(&format!("/api/v1/services/{service}/look"), &look).await;
    asked.map_err(|error| match error.downcast_ref::<Refusal>() {
        None if !why.is_empty() => anyhow::anyhow!("{why}, and no server could be asked: {error:#}"),
        _ => error,
    })
}

/// What is seen from here, or the exit code of the signal that came first.
async fn look_from_here(
    output: &Output,
    args: &Args,
    plan: &SmokePlan,
    interrupted: &mut Interrupted,
) -> anyhow::Result<Result<Report, u8>> {
    let release = args.release.as_ref().map(|tag| Release { tag: tag.to_string(), commit: args.commit.clone() });
    if release.is_some() != plan.release.is_some() && args.plan.service.is_none() {
        let how = "To check the release, give --release TAG and where the page shows it: --release-header, --release-json or \
            --release-text.";
        return Err(Usage(how.to_owned()).into());
    }
    let mut progress = Progress::new(output);
    let mut say = |line: String| progress.say(&line);
    let looked = tokio::select! {
        report = smoke::check(plan, release.as_ref(), &mut say) => Ok(report),
        // The check is dropped with all that it has started.
        code = interrupted.come() => Err(code),
    };
    progress.end();
    Ok(looked)
}

/// Prints the report, and writes it to where it was asked for.
fn tell(output: &Output, args: &Args, report: &Report) -> anyhow::Result<()> {
    let format = if output.is_json() { Format::Json } else { args.format };
    output.exactly(format.render(report, output, args.source.as_deref()).trim_end());
    for (format, file) in &args.output {
        let text = format.render(report, &Output::plain(), args.source.as_deref());
        std::fs::write(file, text).with_context(|| format!("The report could not be written to {}", file.display()))?;
    }
    let mut formats = args.output.iter().map(|(format, _)| *format).chain([format]);
    if formats.any(Format::is_for_a_runner) {
        markdown::append_summary(report)?;
    }
    Ok(())
}

/// The signals that end a program, as a shell tells them: 128 and their number.
struct Interrupted {
    hang_up: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupted {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("Signal handlers could not be installed");
        let hang_up = SignalKind::hangup();
        let interrupt = SignalKind::interrupt();
        let terminate = SignalKind::terminate();
        Ok(Self { hang_up: listen(hang_up)?, interrupt: listen(interrupt)?, terminate: listen(terminate)? })
    }

    async fn come(&mut self) -> u8 {
        tokio::select! {
            _ = self.hang_up.recv() => 129,
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}

fn exit_code(report: &Report) -> u8 {
    match report.errors().map(|finding| smoke::is_own_fault(&finding.rule)).reduce(|all, ours| all && ours) {
        None => 0,
        Some(true) => 1,
        Some(false) => NOT_PASSED,
    }
}

fn explain(output: &Output, name: &str) -> anyhow::Result<u8> {
    let wanted = if name.is_empty() {
        smoke::rules()
    } else {
        let known = RuleName::parse(name).map_err(|why| Usage(format!("That cannot be explained: {why}")))?;
        std::slice::from_ref(known.rule())
    };
    if output.is_json() {
        let all = wanted.iter().map(|rule| {
            serde_json::json!({ "rule": rule.name, "severity": rule.severity, "effect": rule.effect, "meaning": rule.meaning, "fix": rule.fix })
        });
        output.json(&all.collect::<Vec<_>>());
        return Ok(0);
    }
    for rule in wanted {
        let severity = rule.severity.as_str();
        output.say(&format!("{} ({severity}; {})", output.paint(Tone::Strong, rule.name), rule.effect.in_words()));
        output.say(&format!("{}\n{}", output.wrapped(2, rule.meaning), output.wrapped(2, rule.fix)));
    }
    Ok(0)
}

/// What happens meanwhile, on standard error: one line that is drawn over on a terminal, a line each elsewhere.
struct Progress {
    /// Columns of the terminal; none: there is none.
    columns: Option<usize>,
    is_quiet: bool,
    drawn: bool,
}

impl Progress {
    fn new(output: &Output) -> Self {
        let columns = std::io::stderr().is_terminal().then(|| columns_of(std::io::stderr()).unwrap_or(80));
        Self { columns, is_quiet: output.is_json(), drawn: false }
    }

    fn say(&mut self, line: &str) {
        if self.is_quiet {
            return;
        }
        let line = harmless(&clean(line));
        let mut err = std::io::stderr();
        // A reader that has gone away takes nothing from the check.
        let _ = match self.columns {
            // A line that is wider would leave its first part behind.
            Some(columns) => write!(err, "\r\u{1b}[2K{}", line.chars().take(columns.saturating_sub(1)).collect::<String>()),
            None => writeln!(err, "{line}"),
        };
        let _ = err.flush();
        self.drawn = self.columns.is_some();
    }

    fn end(&mut self) {
        if self.drawn {
            let _ = write!(std::io::stderr(), "\r\u{1b}[2K");
        }
    }
}
