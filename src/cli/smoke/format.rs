//! The forms that a report is given in.

use std::path::Path;
use std::path::PathBuf;

use smoke::Report;

use crate::cli::output::Output;
use crate::cli::output::harmless;
use crate::cli::output::json_text;
use crate::cli::smoke::github;
use crate::cli::smoke::human;
use crate::cli::smoke::junit;
use crate::cli::smoke::markdown;

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people, grouped by rule
    Human,
    /// The report as the API gives it
    Json,
    /// JUnit XML, a test case for each rule
    Junit,
    /// Annotations of a GitHub workflow run, and its step summary
    Github,
    /// The same for Forgejo
    Forgejo,
    /// A table for a summary or a comment
    Markdown,
}

impl Format {
    /// The report as text that ends with a line end. `source` is the repository's file that the page is made from. Nothing in
    /// the text but the annotations is a command to a runner, printed or not.
    pub(super) fn render(self, report: &Report, output: &Output, source: Option<&Path>) -> String {
        let text = match self {
            Self::Human => harmless(&human::render(report, output)),
            Self::Json => json_text(report),
            Self::Junit => junit::render(report),
            Self::Github | Self::Forgejo => github::render(report, source),
            Self::Markdown => harmless(&markdown::render(report)),
        };
        text.trim_end().to_owned() + "\n"
    }

    /// Whether a runner reads it, who then has a summary as well.
    pub(super) fn is_for_a_runner(self) -> bool {
        matches!(self, Self::Github | Self::Forgejo)
    }
}

/// Reads `FORMAT=FILE`.
pub(super) fn to_file(text: &str) -> Result<(Format, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("write FORMAT=FILE, such as junit=smoke.xml")?;
    let format = <Format as clap::ValueEnum>::from_str(name, false).map_err(|_| {
        let names = <Format as clap::ValueEnum>::value_variants().iter().filter_map(clap::ValueEnum::to_possible_value);
        format!(
            "there is no format {name}; choose one of {}",
            names.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(", ")
        )
    })?;
    if file.is_empty() { Err("give a file name after the equals sign".to_owned()) } else { Ok((format, file.into())) }
}
