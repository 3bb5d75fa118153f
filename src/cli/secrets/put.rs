//! `tagalong secrets put`.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;
use text::Secret;

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::secrets::say::Line;
use crate::cli::secrets::say::say;
use crate::cli::secrets::sync::How;
use crate::cli::secrets::sync::put_all;
use crate::config::At;
use crate::config::Config;
use crate::config::Provision;
use crate::config::ProvisionKind;
use crate::config::SecretSource;
use crate::config::Value;
use crate::config::Visibility;
use crate::model::ForgeRepository;
use crate::model::KeyId;
use crate::store::Store;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("value").required(true)), group(clap::ArgGroup::new("place").required(true)))]
pub(crate) struct Args {
    /// The name that it is to have there
    name: String,
    /// The id of the `[[forge]]`
    #[arg(long, value_name = "ID")]
    forge: KeyId,
    /// The repository, as OWNER/NAME
    #[arg(long, value_name = "REPOSITORY", group = "place")]
    repository: Option<ForgeRepository>,
    /// An environment of the repository; GitHub only
    #[arg(long, value_name = "NAME", requires = "repository")]
    environment: Option<String>,
    /// The organisation; on GitHub its private repositories get it
    #[arg(long, value_name = "NAME", group = "place")]
    organisation: Option<String>,
    /// Read the value from this file
    #[arg(long, value_name = "FILE", group = "value")]
    file: Option<PathBuf>,
    /// Read the value from this environment variable
    #[arg(long, value_name = "VARIABLE", group = "value")]
    env: Option<String>,
    /// Read the value from standard input
    #[arg(long, group = "value")]
    stdin: bool,
    /// Put a variable, which can be read there, instead of a secret
    #[arg(long)]
    variable: bool,
    /// Change nothing, and show what would be changed
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    fn target(&self) -> anyhow::Result<At> {
        let forge = self.forge.clone();
        match (&self.repository, &self.environment, &self.organisation) {
            (Some(repository), None, _) => Ok(At::Repository(forge, repository.clone())),
            (Some(repository), Some(name), _) => Ok(At::Environment(forge, repository.clone(), name.clone())),
            (None, _, Some(name)) => Ok(At::Organisation(forge, name.clone(), Visibility::Private)),
            (None, _, None) => anyhow::bail!("Name a repository with --repository, or an organisation with --organisation."),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "which variable is read says an option, not the configuration")]
    fn value(&self) -> anyhow::Result<Value> {
        if let Some(file) = &self.file {
            return Ok(Value::Kept(SecretSource::File(file.clone())));
        }
        let text = if let Some(name) = &self.env {
            std::env::var(name).with_context(|| format!("The environment variable {name} is not set"))?
        } else {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("Standard input could not be read")?;
            text
        };
        Ok(Value::Kept(SecretSource::Env(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))))
    }
}

pub(super) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    let kind = if args.variable { ProvisionKind::Variable } else { ProvisionKind::Secret };
    let provision = Provision { kind, name: args.name.to_ascii_uppercase(), at: args.target()?, value: args.value()? };
    if let Some(why) = provision.fault(&config) {
        anyhow::bail!("{why}");
    }
    let store = Store::open(&config.server.data_dir, config.store.postgres.as_ref()).await?;
    let lines = put_all(&config, &store, &[&provision], How { dry_run: args.dry_run, remember: false }).await?;
    if output.is_json() {
        output.json(&json!({ "dry_run": args.dry_run, "lines": lines.iter().map(Line::json).collect::<Vec<_>>() }));
    } else {
        say(output, &lines, args.dry_run);
    }
    Ok(u8::from(lines.iter().any(Line::is_failed)))
}
