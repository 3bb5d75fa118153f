//! The flags: what cannot be found out, or should be otherwise than it was found.

use std::path::PathBuf;

use crate::cli::init::forge::Kind;
use crate::model::Repository;
use crate::model::ServiceName;

/// How CI shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Auth {
    /// By the OIDC token of its job: no secret is stored
    Oidc,
    /// By a secret that the forge stores
    Secret,
}

/// What cannot be found out, or should be otherwise than it was found.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the compose files
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) dir: PathBuf,
    /// The name that tagalong gives the service [default: that of the compose service, or of the project]
    #[arg(long, value_name = "NAME")]
    pub(super) service: Option<ServiceName>,
    /// The compose project [default: the one that runs, or that `docker compose` uses in the folder]
    #[arg(long, value_name = "NAME")]
    pub(super) project: Option<String>,
    /// An image that CI builds, as the compose file writes it but without the tag; may be given several times
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: Vec<Repository>,
    /// The variable of the tag in the compose file [default: the one that is written there]
    #[arg(long, value_name = "NAME")]
    pub(super) variable: Option<String>,
    /// The page to check after each deployment [default: the host of a Traefik rule]
    #[arg(long, value_name = "URL")]
    pub(super) smoke_url: Option<url::Url>,
    /// The repository that CI runs in: its address, or OWNER/NAME at the forge of the git remote [default: the remote "origin"]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) repository: Option<String>,
    /// The forge [default: found out from the address of the repository]
    #[arg(long, value_enum)]
    pub(super) forge: Option<Kind>,
    /// The branch whose pushes are deployed [default: the default branch of the repository]
    #[arg(long, value_name = "NAME")]
    pub(super) branch: Option<String>,
    /// How CI shows who it is [default: by OIDC if the forge has it and --url is given, else by a secret]
    #[arg(long, value_enum)]
    pub(super) auth: Option<Auth>,
    /// The number of the repository, which a policy names [default: the forge is asked]
    #[arg(long, value_name = "NUMBER", requires = "owner_id")]
    pub(super) repository_id: Option<String>,
    /// The number of its owner
    #[arg(long, value_name = "NUMBER", requires = "repository_id")]
    pub(super) owner_id: Option<String>,
    /// The label of the runner; its machine needs docker [default: ubuntu-latest, Forgejo: docker]
    #[arg(long, value_name = "LABEL")]
    pub(super) runner: Option<String>,
    /// The published action to call, pinned: OWNER/NAME@COMMIT [default: the action is put into the repository]
    #[arg(long, value_name = "ACTION", value_parser = action)]
    pub(super) action: Option<String>,
    /// Give the image a variable for its tag in the compose file; without this, compose files are never changed
    #[arg(long)]
    pub(super) edit_compose: bool,
    /// Replace a workflow that is there and has another content
    #[arg(long)]
    pub(super) force: bool,
    /// Print what would be written, and write nothing
    #[arg(long, visible_alias = "print")]
    pub(super) dry_run: bool,
}

/// A published action is called at a commit: a branch or tag can be moved by whoever holds it.
fn action(given: &str) -> Result<String, String> {
    let (name, commit) = given.split_once('@').unwrap_or((given, ""));
    let is_commit = matches!(commit.len(), 40 | 64) && commit.bytes().all(|b| b.is_ascii_hexdigit());
    let is_name = name.contains('/') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:".contains(&b));
    if is_commit && is_name {
        Ok(given.to_owned())
    } else {
        Err("it must be OWNER/NAME@COMMIT, with the whole name of the commit".to_owned())
    }
}
