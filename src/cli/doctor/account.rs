//! Who looks: this process's own user, or the one that the server will run as.

use anyhow::Context as _;

use crate::cli::global::Global;

/// The name of the user that this process runs as; its number where it has none.
pub(super) fn own_name() -> String {
    let id = rustix::process::geteuid().as_raw().to_string();
    accounts().into_iter().find(|account| account.user == id).map_or(id, |account| account.name)
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
    let account = Account::named(name);
    let account = account.with_context(|| {
        format!(
            "There is no user {name}; make one: `useradd --system --home-dir /var/lib/tagalong --shell /usr/sbin/nologin --groups docker {name}`."
        )
    })?;
    let program = std::env::current_exe().context("The path of this program is not known")?;
    let mut argv = Vec::from(account.become_it());
    argv.push(program.display().to_string());
    argv.extend(global.arguments());
    argv.push("doctor".to_owned());
    Err(process::replace_by(&argv)).context("The program setpriv cannot be started; install util-linux")
}

/// A user of this host.
#[derive(Debug)]
pub(in crate::cli) struct Account {
    name: String,
    /// The user's number.
    user: String,
    /// The number of the user's own group, which need not be called like the user.
    group: String,
}

impl Account {
    /// A line of `/etc/passwd`.
    fn of(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        Some(Self { name: fields.next()?.to_owned(), user: fields.nth(1)?.to_owned(), group: fields.next()?.to_owned() })
    }

    /// The user of that name.
    pub(in crate::cli) fn named(name: &str) -> Option<Self> {
        accounts().into_iter().find(|account| account.name == name)
    }

    /// The user of that number.
    pub(in crate::cli) fn of_uid(uid: u32) -> Option<Self> {
        accounts().into_iter().find(|account| account.user_id() == uid)
    }

    /// The user's number; one that cannot be read is nobody's.
    pub(in crate::cli) fn user_id(&self) -> u32 {
        self.user.parse().unwrap_or(u32::MAX)
    }

    /// The number of the user's own group.
    pub(in crate::cli) fn group_id(&self) -> u32 {
        self.group.parse().unwrap_or(u32::MAX)
    }

    /// The beginning of a command that runs as this user.
    pub(in crate::cli) fn become_it(&self) -> [String; 8] {
        ["setpriv", "--reuid", &self.user, "--regid", &self.group, "--init-groups", "--reset-env", "--"].map(str::to_owned)
    }
}

/// Every user in `/etc/passwd`.
fn accounts() -> Vec<Account> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    text.lines().filter_map(Account::of).collect()
}

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn a_user_keeps_a_group_of_another_name() {
        let nobody = Account::of("nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin").unwrap();
        assert_eq!(nobody.become_it()[1..5], ["--reuid", "65534", "--regid", "65533"]);
    }
}
