//! `tagalong man`: one page with every subcommand, each under the words by which it is called.

use clap::Command;
use clap_mangen::Man;

use crate::cli::output::Output;

pub(crate) fn run(output: &Output, command: &Command) -> anyhow::Result<u8> {
    let man = Man::new(command.clone());
    let mut head = Vec::new();
    man.render_title(&mut head)?;
    man.render_name_section(&mut head)?;
    let mut page = String::from_utf8(head)?;
    page.push_str(&body(&man, command)?);
    for one in command.get_subcommands() {
        page.push_str(&section("tagalong", one)?);
    }
    output.exactly(page.trim_end());
    Ok(0)
}

/// The section of a subcommand, and those of the subcommands below it.
fn section(above: &str, command: &Command) -> anyhow::Result<String> {
    let name = format!("{above} {}", command.get_name());
    let man = Man::new(command.clone().name("tagalong").bin_name(name.clone()));
    let mut text = format!(".SH \"{name}\"\n{}", body(&man, command)?.replace("\n.SH ", "\n.SS "));
    for one in command.get_subcommands() {
        text.push_str(&section(&name, one)?);
    }
    Ok(text)
}

/// No list of subcommands: it would name pages that do not exist.
fn body(man: &Man, command: &Command) -> anyhow::Result<String> {
    let mut text = Vec::new();
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.get_after_help().is_some() {
        man.render_extra_section(&mut text)?;
    }
    Ok(String::from_utf8(text)?.replace(".SH EXTRA", ".SH \"EXIT STATUS\""))
}
