//! What systemd lets the server write: the unit closes everything but a few folders, and a stack elsewhere could not be pinned.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use process::Cancel;
use process::Command;

use crate::config::Config;

/// Every folder that the server writes and that the unit closes, with what to type; none where no unit is installed.
pub(super) async fn closed_folders(config: &Config) -> Option<Result<String, String>> {
    let open = writable_folders(config).await?;
    let is_closed = |dir: &&Path| !open.iter().any(|root| dir.starts_with(root));
    let stacks = config.services.values().filter_map(|service| service.stack.dir());
    let datasets = config.datasets.values().map(|dataset| dataset.data.dir.as_path());
    let closed: Vec<String> =
        stacks.chain(datasets).chain([config.server.data_dir.as_path()]).filter(is_closed).map(|dir| dir.display().to_string()).collect();
    if closed.is_empty() {
        return Some(Ok("tagalong.service may write to every folder that it needs".to_owned()));
    }
    Some(Err(format!(
        "tagalong.service may not write to {}: run `systemctl edit tagalong` and add the lines [Service] and ReadWritePaths={}.",
        closed.join(", "),
        closed.join(" ")
    )))
}

/// The folders that the installed unit leaves open; none where there is no unit, or it closes nothing.
async fn writable_folders(config: &Config) -> Option<Vec<PathBuf>> {
    let command = Command {
        program: "systemctl".to_owned(),
        args: ["show", "tagalong.service", "--property=LoadState,ProtectSystem,ReadWritePaths,StateDirectory"].map(str::to_owned).into(),
        env: BTreeMap::from([("PATH".to_owned(), config.docker.path.clone())]),
        dir: None,
        deadline: Duration::from_secs(5),
        mask: Arc::default(),
        lock: None,
    };
    let properties = process::capture(&command, &Cancel::default()).await.success().ok()?;
    open_folders(&properties)
}

fn open_folders(properties: &str) -> Option<Vec<PathBuf>> {
    let value = |name: &str| properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    if value("LoadState") != "loaded" || value("ProtectSystem") != "strict" {
        return None;
    }
    let written = value("ReadWritePaths").split_whitespace().map(|path| PathBuf::from(path.trim_start_matches(['-', '+'])));
    let state = value("StateDirectory").split_whitespace().map(|name| Path::new("/var/lib").join(name));
    Some(written.chain(state).collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::open_folders;

    #[test]
    fn what_the_unit_leaves_open_is_read_as_systemd_shows_it() {
        let properties = "StateDirectory=tagalong\nReadWritePaths=-/srv /opt/stacks\nProtectSystem=strict\nLoadState=loaded\n";
        let wanted: Vec<PathBuf> = ["/srv", "/opt/stacks", "/var/lib/tagalong"].map(PathBuf::from).into();
        assert_eq!(open_folders(properties), Some(wanted));
        assert_eq!(open_folders(&properties.replace("=loaded", "=not-found")), None);
        assert_eq!(open_folders(&properties.replace("=strict", "=no")), None);
    }
}
