//! `tagalong smoke`: looks at a page from outside and says what is wrong. It needs no server and no configuration.

mod format;
mod github;
mod human;
mod junit;
mod markdown;
mod plan;

use std::io::IsTerminal as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::smoke::format::Format;
use crate::journal::clean;
use crate::model::Report;
use crate::model::Tag;
use crate::smoke;
use crate::smoke::Release;

/// The check was made and the page did not pass.
const NOT_PASSED: u8 = 3;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 the page passes · 3 it does not · 1 the check could not be made · 2 usage")]
pub(crate) struct Args {
    /// The address of the page; with --service it may be left out
    #[arg(required_unless_present_any = ["service", "explain"], conflicts_with = "explain")]
    page: Option<String>,
    #[command(flatten)]
    plan: plan::Flags,
    /// The release that the page must show: a tag
    #[arg(long, value_name = "TAG")]
    release: Option<Tag>,
    /// The commit that it was built from, which the page may show instead of the tag
    #[arg(long, value_name = "SHA", requires = "release")]
    commit: Option<String>,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the report to a file as well, once for each format
    #[arg(long, value_name = "FORMAT=FILE", value_parser = format::to_file)]
    output: Vec<(Format, PathBuf)>,
    /// Say what a rule means and what to change; without a name list all of them
    #[arg(long, value_name = "RULE", num_args = 0..=1, default_missing_value = "")]
    explain: Option<String>,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    if let Some(name) = &args.explain {
        return explain(output, name);
    }
    let plan = plan::read(global, args)?;
    let release = args.release.clone().map(|tag| Release { tag, commit: args.commit.clone() });
    anyhow::ensure!(
        release.is_some() == plan.release.is_some() || args.plan.service.is_some(),
        "To prove a release give --release TAG and where the page shows it: --release-header, --release-json or --release-text."
    );
    let mut progress = Progress::new(output);
    let report = smoke::check(&plan, release.as_ref(), &mut |line| progress.say(&line)).await;
    progress.end();
    let format = if output.is_json() { Format::Json } else { args.format };
    output.say(format.render(&report, output).trim_end());
    for (format, file) in &args.output {
        let text = format.render(&report, &Output::plain());
        std::fs::write(file, text).with_context(|| format!("The report cannot be written to {}", file.display()))?;
    }
    if format == Format::Github || format == Format::Forgejo {
        markdown::append_summary(&report)?;
    }
    Ok(exit_code(&report))
}

fn exit_code(report: &Report) -> u8 {
    // The check itself, or its browser, not the page.
    let is_ours = |rule: &str| matches!(rule, "setup" | "browser_failed");
    match report.errors().map(|finding| is_ours(&finding.rule)).reduce(|all, ours| all && ours) {
        None => 0,
        Some(true) => 1,
        Some(false) => NOT_PASSED,
    }
}

fn explain(output: &Output, name: &str) -> anyhow::Result<u8> {
    let known = || smoke::rules().iter().map(|rule| rule.name).collect::<Vec<_>>().join(", ");
    let wanted: Vec<_> = smoke::rules().iter().filter(|rule| name.is_empty() || rule.name == name).collect();
    anyhow::ensure!(!wanted.is_empty(), "There is no rule {}; the rules are {}.", clean(name), known());
    if output.is_json() {
        let all = wanted.iter().map(|rule| {
            serde_json::json!({ "rule": rule.name, "severity": rule.severity, "effect": rule.effect, "meaning": rule.meaning, "fix": rule.fix })
        });
        output.json(&all.collect::<Vec<_>>());
        return Ok(0);
    }
    for rule in wanted {
        let severity = human::severity(rule.severity);
        output.say(&format!("{} ({severity}; {})", output.paint(Tone::Strong, rule.name), human::effect(rule.effect)));
        output.say(&format!("  {}\n  {}", rule.meaning, rule.fix));
    }
    Ok(0)
}

/// What happens meanwhile, on standard error: one line that is drawn over on a terminal, a line each elsewhere.
struct Progress {
    is_terminal: bool,
    is_quiet: bool,
    drawn: bool,
}

impl Progress {
    fn new(output: &Output) -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), is_quiet: output.is_json(), drawn: false }
    }

    fn say(&mut self, line: &str) {
        if self.is_quiet {
            return;
        }
        let line = clean(line);
        let mut err = std::io::stderr();
        // A reader that has gone away takes nothing from the check.
        let _ = if self.is_terminal { write!(err, "\r\u{1b}[2K{line}") } else { writeln!(err, "{line}") };
        let _ = err.flush();
        self.drawn = self.is_terminal;
    }

    fn end(&mut self) {
        if self.drawn {
            let _ = write!(std::io::stderr(), "\r\u{1b}[2K");
        }
    }
}
