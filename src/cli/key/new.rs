//! `tagalong key new`.

use anyhow::Context as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use crate::cli::key::secret::new_bearer;
use crate::cli::key::secret::new_signing;
use crate::cli::output::Output;
use crate::model::KeyId;
use crate::model::Scope;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id of the key, which appears in records
    id: KeyId,
    /// What the key may do: deploy:SERVICE, rollback:SERVICE, approve:SERVICE, reload:DATASET, read:SERVICE or read, with * for all;
    /// may be given several times
    #[arg(long, value_name = "SCOPE", default_value = "deploy:SERVICE")]
    scope: Vec<String>,
    /// Create a bearer token instead of a signing secret
    #[arg(long)]
    bearer: bool,
    /// Write the secret to this new file (mode 0600) instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(output: &Output, args: &Args) -> anyhow::Result<u8> {
    let Args { id, scope, bearer, out } = args;
    for text in scope.iter().filter(|text| !text.contains("SERVICE")) {
        Scope::parse(text)?;
    }
    let secret = if *bearer { new_bearer() } else { new_signing() };
    let file_key = if *bearer { "token_file" } else { "secret_file" };
    // A relative path in the configuration starts at the configuration's folder, which need not be this one.
    let file = out.as_ref().map_or_else(|| format!("{id}.secret"), |out| whole_path(out).display().to_string());
    if let Some(out) = out {
        write_secret(out, &secret)?;
    }
    let scopes: Vec<String> = scope.iter().map(|scope| format!("\"{scope}\"")).collect();
    let lines = format!("[[key]]\nid = \"{id}\"\n{file_key} = \"{file}\"\nscopes = [{}]", scopes.join(", "));
    if output.is_json() {
        output.json(&serde_json::json!({ "secret": out.is_none().then_some(&secret), "file": file, "config": lines }));
        return Ok(0);
    }
    if out.is_none() {
        output.say(&format!("# Store this secret in {file} (mode 0600) and in the secrets of your forge:\n{secret}\n"));
    }
    // Standard output may be appended to the configuration.
    output.notice("Add these lines to the configuration:");
    output.say(&format!("\n{lines}"));
    Ok(0)
}

/// Writes `secret` to the new file `out`, for its owner alone, or as root for the server as its folder says.
///
/// # Errors
/// When the file is there already, or cannot be written.
pub(crate) fn write_secret(out: &Path, secret: &str) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .with_context(|| format!("{} could not be created; name a file that does not exist yet", out.display()))?;
    give_to_owner_of_folder(&file, &whole_path(out))
        .with_context(|| format!("{} could not be given to the owner of its folder", out.display()))?;
    writeln!(file, "{secret}")?;
    Ok(())
}

fn whole_path(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

/// What root makes in a folder of the server's user or group is for the server: the file gets the owner and the group of the
/// folder, and the group may read it where it may enter the folder and others may not.
fn give_to_owner_of_folder(file: &File, path: &Path) -> std::io::Result<()> {
    let Some(folder) = path.parent().filter(|_| rustix::process::geteuid().is_root()) else { return Ok(()) };
    let folder = std::fs::metadata(folder)?;
    std::os::unix::fs::fchown(file, Some(folder.uid()), Some(folder.gid()))?;
    if folder.gid() != 0 && folder.mode() & 0o057 == 0o050 {
        file.set_permissions(std::fs::Permissions::from_mode(0o640))?;
    }
    Ok(())
}
