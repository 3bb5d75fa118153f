//! What a host gets before its agent starts: the binary, a user, a unit, a data folder and the beginning of a configuration. What is there
//! already stays as it is.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::chown;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::agent::plan::Plan;
use crate::cli::agent::plan::PlannedAgent;
use crate::cli::agent::remote::NEW_PROGRAM;
use crate::cli::agent::remote::PACKAGED_PROGRAM;
use crate::cli::agent::remote::PROGRAM;
use crate::cli::agent::service;
use crate::cli::agent::service::UNIT_FILE;
use crate::cli::doctor::account::Account;
use crate::cli::global::Global;
use crate::config::Config;

/// Where an agent keeps its state if its configuration does not say so.
pub(super) const DATA_DIR: &str = "/var/lib/tagalong";
/// A binary that was not copied there by us.
pub(super) const PACKAGED: &str = PACKAGED_PROGRAM;
/// The user that the unit runs as.
const USER: &str = "tagalong";
/// The unit as packages bring it, which has the binary elsewhere.
const UNIT_TEXT: &str = include_str!("../../../config/tagalong.service");

/// The tagalong of this host: the one that we put there, or that of a package.
pub(super) fn installed() -> PathBuf {
    let ours = Path::new(PROGRAM);
    if ours.exists() || !Path::new(PACKAGED).exists() { ours.to_owned() } else { PACKAGED.into() }
}

/// The configuration, where there is one.
///
/// # Errors
/// When it is there and wrong.
pub(super) fn configuration(global: &Global) -> anyhow::Result<Option<Config>> {
    if global.config.exists() { Ok(Some(Config::load(&global.config)?)) } else { Ok(None) }
}

/// Puts everything in place that is missing, and says what that was.
///
/// # Errors
/// When something else is there already, or cannot be written.
pub(super) async fn place(global: &Global, plan: &Plan) -> anyhow::Result<Vec<String>> {
    let mut changed = Vec::new();
    if !installed().exists() {
        std::fs::rename(NEW_PROGRAM, PROGRAM).with_context(|| format!("{NEW_PROGRAM} could not be renamed to {PROGRAM}"))?;
        changed.push(format!("{PROGRAM} was put there"));
    }
    let owner = match &plan.agent {
        Some(_) if service::has_systemd() => Some(user(&mut changed).await?),
        Some(_) => None,
        None => Some(Account::of_uid(plan.uid).context("The user that ssh logs in as has no line in /etc/passwd")?),
    };
    let folder = global.config.parent().unwrap_or(Path::new("/")).to_owned();
    made(&folder, 0o750, owner.as_ref().map(|owner| (0, owner.group_id())), &mut changed)?;
    write_configuration(global, plan, &folder, owner.as_ref(), &mut changed)?;
    let config = configuration(global)?.context("The configuration is missing")?;
    made(&config.server.data_dir, 0o700, owner.as_ref().map(|owner| (owner.user_id(), owner.group_id())), &mut changed)?;
    if plan.agent.is_some() && service::has_systemd() && installed() == Path::new(PROGRAM) {
        let unit = UNIT_TEXT.replace(PACKAGED, PROGRAM);
        if std::fs::read_to_string(UNIT_FILE).ok().as_deref() != Some(&unit) {
            written(Path::new(UNIT_FILE), &unit, 0o644, None)?;
            service::systemctl(&["daemon-reload"]).await?;
            changed.push(format!("{UNIT_FILE} was written"));
        }
    }
    Ok(changed)
}

/// Becomes this tagalong with other `words`, as the user whom the data folder belongs to.
///
/// # Errors
/// When it cannot be started.
pub(super) fn as_owner(global: &Global, words: &[&str]) -> anyhow::Result<u8> {
    let config = configuration(global)?.context("The configuration is missing")?;
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&config.server.data_dir).context("The data folder is missing")?);
    let mut argv = Vec::new();
    if owner != rustix::process::geteuid().as_raw() {
        argv.extend(Account::of_uid(owner).context("The owner of the data folder has no line in /etc/passwd")?.become_it());
    }
    argv.push(installed().display().to_string());
    argv.extend(global.arguments());
    argv.extend(words.iter().map(|&word| word.to_owned()));
    Err(process::replace_by(&argv)).with_context(|| format!("{} cannot be started", argv[0]))
}

/// The user of the unit, who may speak to Docker.
async fn user(changed: &mut Vec<String>) -> anyhow::Result<Account> {
    if Account::named(USER).is_none() {
        let nobody = "/usr/sbin/nologin";
        service::ask("useradd", &["--system", "--home-dir", DATA_DIR, "--shell", nobody, "--groups", "docker", USER]).await?;
        changed.push(format!("the user {USER} was made, in the group docker"));
    }
    Account::named(USER).with_context(|| format!("The user {USER} has no line in /etc/passwd"))
}

/// The folder is there, with this mode and owner if it was not before.
fn made(folder: &Path, mode: u32, owner: Option<(u32, u32)>, changed: &mut Vec<String>) -> anyhow::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let fault = || format!("The folder {} could not be made", folder.display());
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(folder).with_context(fault)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).with_context(fault)?;
    if let Some((uid, gid)) = owner {
        chown(folder, Some(uid), Some(gid)).with_context(fault)?;
    }
    changed.push(format!("{} was made", folder.display()));
    Ok(())
}

fn write_configuration(
    global: &Global,
    plan: &Plan,
    folder: &Path,
    owner: Option<&Account>,
    changed: &mut Vec<String>,
) -> anyhow::Result<()> {
    let file = &global.config;
    let group = owner.map(Account::group_id);
    if let Some(pem) = plan.agent.as_ref().and_then(|agent| agent.ca_pem.as_ref()) {
        let ca = folder.join(CA_FILE);
        if std::fs::read_to_string(&ca).ok().as_ref() != Some(pem) {
            written(&ca, pem, 0o644, None)?;
            changed.push(format!("{} was written", ca.display()));
        }
    }
    let agent = plan.agent.as_ref().map(agent_table).unwrap_or_default();
    let Some(config) = configuration(global)? else {
        written(file, &format!("{}{agent}", skeleton(plan)), 0o640, group)?;
        changed.push(format!("{} was written", file.display()));
        return Ok(());
    };
    let Some(PlannedAgent { name, url, .. }) = &plan.agent else { return Ok(()) };
    match config.agent {
        Some(there) if there.name == *name && there.url == *url => Ok(()),
        Some(there) => anyhow::bail!(
            "[agent] in {} has the name {} and the control plane {}; correct it, or install with --name {} --control {}.",
            file.display(),
            there.name,
            there.url,
            there.name,
            there.url
        ),
        None => {
            let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
            let mode = std::fs::metadata(file).map_or(0o640, |meta| meta.permissions().mode() & 0o777);
            let (uid, gid) = owners(file)?;
            written(file, &format!("{}\n\n{agent}", text.trim_end()), mode, None)?;
            chown(file, Some(uid), Some(gid)).with_context(|| format!("The owner of {} could not be set", file.display()))?;
            changed.push(format!("[agent] was added to {}", file.display()));
            Ok(())
        }
    }
}

fn owners(file: &Path) -> anyhow::Result<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(file).with_context(|| format!("{} cannot be read", file.display()))?;
    Ok((meta.uid(), meta.gid()))
}

/// The file of the certificates, beside the configuration.
const CA_FILE: &str = "control-ca.pem";

/// The configuration of a host that has no service yet.
fn skeleton(plan: &Plan) -> String {
    // Nobody makes /run/tagalong where no unit does.
    let socket = if plan.agent.is_some() && service::has_systemd() { "" } else { "socket = \"/var/lib/tagalong/tagalong.sock\"\n" };
    format!(
        "# The tagalong of this host, which takes orders from a control plane. Every key: docs/reference.md, config/tagalong.toml.\n\
         # After a change: `tagalong doctor`, then restart or reload the server.\n\n\
         version = 1\n\n[server]\nlisten = []\n{socket}\n\
         # A service that the control plane may order:\n\
         # [service.web]\n# dir = \"/srv/web\"\n# project = \"web\"\n# image = \"registry.example.com/acme/web\"\n# variable = \"WEB_TAG\"\n\
         # [service.web.smoke]\n# url = \"https://www.example.com/\"\n\n"
    )
}

fn agent_table(agent: &PlannedAgent) -> String {
    let ca = if agent.ca_pem.is_some() { format!("ca_file = \"{CA_FILE}\"\n") } else { String::new() };
    let mut table = toml::Table::new();
    table.insert("name".to_owned(), agent.name.to_string().into());
    table.insert("url".to_owned(), agent.url.to_string().into());
    format!("[agent]\n{table}{ca}")
}

/// Replaces the file at once: whoever reads it finds the one before or this one.
fn written(file: &Path, text: &str, mode: u32, group: Option<u32>) -> anyhow::Result<()> {
    let fault = || format!("{} could not be written", file.display());
    let mut fresh = tempfile::NamedTempFile::new_in(file.parent().unwrap_or(Path::new("/"))).with_context(fault)?;
    fresh.write_all(text.as_bytes()).with_context(fault)?;
    fresh.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).with_context(fault)?;
    chown(fresh.path(), None, group).with_context(fault)?;
    fresh.as_file().sync_all().with_context(fault)?;
    fresh.persist(file).with_context(fault)?;
    Ok(())
}
