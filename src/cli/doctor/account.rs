//! Who looks: this process's own user, or the one that the server will run as.

use anyhow::Context as _;

use crate::cli::global::Global;

/// The name of the user that this process runs as; its number where it has none.
pub(super) fn own_name() -> String {
    let id = rustix::process::geteuid().as_raw().to_string();
    accounts().into_iter().find(|(_, number)| *number == id).map_or(id, |(name, _)| name)
}

/// Becomes this program again, as the user `name` with all groups of that user and that user's home, as systemd starts the
/// server. When it returns without an error, this process runs as `name` already.
///
/// # Errors
/// When there is no such user, or this process may not become one.
pub(super) fn look_as(name: &str, global: &Global) -> anyhow::Result<()> {
    if own_name() == name {
        return Ok(());
    }
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "Only root can look as the user {name}; run `sudo tagalong doctor --user {name}`."
    );
    anyhow::ensure!(
        accounts().iter().any(|(known, _)| known == name),
        "There is no user {name}; make one: `useradd --system --home-dir /var/lib/tagalong --shell /usr/sbin/nologin --groups docker {name}`."
    );
    let program = std::env::current_exe().context("The path of this program is not known")?;
    let become_user = ["setpriv", "--reuid", name, "--regid", name, "--init-groups", "--reset-env", "--"].map(str::to_owned);
    let mut argv = Vec::from(become_user);
    argv.push(program.display().to_string());
    argv.extend(global.arguments());
    argv.push("doctor".to_owned());
    Err(process::replace_by(&argv)).context("The program setpriv cannot be started; install util-linux")
}

/// Name and number of every user in `/etc/passwd`.
fn accounts() -> Vec<(String, String)> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.to_owned()))
    };
    text.lines().filter_map(entry).collect()
}
