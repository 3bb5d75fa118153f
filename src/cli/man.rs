//! `tagalong man`: one page with every subcommand.

use clap_mangen::Man;

pub(crate) fn run(command: clap::Command) -> anyhow::Result<u8> {
    let mut out = std::io::stdout().lock();
    let subcommands: Vec<clap::Command> = command.get_subcommands().cloned().collect();
    Man::new(command).render(&mut out)?;
    for one in subcommands {
        let name = format!("tagalong {}", one.get_name());
        let man = Man::new(one.name("tagalong").bin_name(name));
        man.render_synopsis_section(&mut out)?;
        man.render_description_section(&mut out)?;
        man.render_options_section(&mut out)?;
    }
    Ok(0)
}
