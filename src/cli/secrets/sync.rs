//! `tagalong secrets sync`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use text::Secret;

use crate::cli::global::Global;
use crate::cli::kept::Kept;
use crate::cli::output::Output;
use crate::cli::secrets::manifest;
use crate::cli::secrets::say::Became;
use crate::cli::secrets::say::Line;
use crate::cli::secrets::say::say;
use crate::clock;
use crate::config::At;
use crate::config::Config;
use crate::config::MOST_BYTES;
use crate::config::Provision;
use crate::config::ProvisionKind;
use crate::config::Rotating;
use crate::config::SecretSource;
use crate::config::Value;
use crate::config::Visibility;
use crate::forge::Forge;
use crate::forge::Shelf;
use crate::forge::There;
use crate::model::KeyId;
use crate::model::Rotated;
use crate::model::mark;
use crate::store::MARK_KEY;
use crate::store::Provisioned;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Change nothing, and show what would be changed
    #[arg(long)]
    dry_run: bool,
    /// Remove what earlier runs put at a forge and the configuration no longer names; what others put there stays
    #[arg(long)]
    prune: bool,
}

pub(super) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    let store = Store::open(&config.server.data_dir, config.store.postgres.as_ref()).await?;
    let all: Vec<&Provision> = config.provisions.iter().collect();
    let mut lines = put_all(&config, &store, &all, How { dry_run: args.dry_run, remember: true }).await?;
    if args.prune {
        lines.extend(prune(&config, &store, args.dry_run).await?);
    }
    if output.is_json() {
        output.json(&json!({ "dry_run": args.dry_run, "lines": lines.iter().map(Line::json).collect::<Vec<_>>() }));
    } else if lines.is_empty() {
        output.say("The configuration has no [[secret]] and no [[variable]], so there is nothing to put anywhere.");
    } else {
        say(output, &lines, args.dry_run);
    }
    Ok(u8::from(lines.iter().any(Line::is_failed)))
}

/// How something is put somewhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// Nothing is changed.
    pub(crate) dry_run: bool,
    /// It is recorded, so that it is known the next time, and removed when no table names it any more.
    pub(crate) remember: bool,
}

/// Puts each of `provisions` where it belongs. What fails keeps no other, and stands in its line.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn put_all(config: &Config, store: &Store, provisions: &[&Provision], how: How) -> anyhow::Result<Vec<Line>> {
    let mut desk = Desk::open(config, store, how).await?;
    let mut lines = Vec::new();
    for provision in provisions {
        let became = desk.put(provision).await.unwrap_or_else(Became::Failed);
        lines.push(Line { kind: provision.kind, name: provision.name.clone(), at: provision.at.clone(), became });
    }
    Ok(lines)
}

/// Removes what earlier runs put at forges and no table names any more.
async fn prune(config: &Config, store: &Store, dry_run: bool) -> anyhow::Result<Vec<Line>> {
    let mut desk = Desk::open(config, store, How { dry_run, remember: true }).await?;
    let is_named = |put: &Provisioned| config.provisions.iter().any(|one| put.is(&one.at, one.kind, &one.name));
    let gone: Vec<Provisioned> = desk.put_before.iter().filter(|put| !is_named(put)).cloned().collect();
    let mut lines = Vec::new();
    for put in gone {
        let became = desk.remove(&put).await.unwrap_or_else(Became::Failed);
        lines.push(Line { kind: put.kind, name: put.name, at: put.at, became });
    }
    Ok(lines)
}

/// What is needed to put something somewhere.
struct Desk<'c> {
    config: &'c Config,
    store: &'c Store,
    mark_key: Vec<u8>,
    put_before: Vec<Provisioned>,
    forges: BTreeMap<KeyId, Forge>,
    how: How,
}

impl<'c> Desk<'c> {
    async fn open(config: &'c Config, store: &'c Store, how: How) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mark_key = store.named_value(MARK_KEY, || STANDARD.encode(clock::random_bytes::<32>())).await?.into_bytes();
        Ok(Self { config, store, mark_key, put_before: store.provisioned().await?, forges: BTreeMap::new(), how })
    }

    async fn put(&mut self, provision: &Provision) -> Result<Became, String> {
        let value = value(self.config, provision)?;
        if let At::Manifest { file, .. } = &provision.at {
            let text = std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}.", file.display()))?;
            let Some(after) = manifest::with_value(&text, &provision.name, value.reveal())? else { return Ok(Became::Unchanged) };
            if !self.how.dry_run {
                Kept::lock(file).and_then(|kept| kept.replace(&after)).map_err(|error| format!("{error:#}."))?;
            }
            return Ok(Became::Updated);
        }
        let put = Provisioned {
            at: provision.at.clone(),
            kind: provision.kind,
            name: provision.name.clone(),
            mark: mark_of(&self.mark_key, provision, &value),
            stamp: String::new(),
        };
        let before = self.put_before.iter().find(|before| before.is(&put.at, put.kind, &put.name)).cloned();
        let before = before.filter(|before| before.mark == put.mark);
        let store = self.store;
        let how = self.how;
        let mark_key = self.mark_key.clone();
        let has_value = |readable: &Secret| mark_of(&mark_key, provision, readable) == put.mark;
        let shelf = Shelf::new(self.forge(&provision.at)?, &provision.at, provision.kind);
        let there = shelf.find(&put.name).await.map_err(|error| error.to_string())?;
        let became = match &there {
            None => Became::Created,
            Some(there) if is_unchanged(provision, there, before.as_ref(), has_value) => return Ok(Became::Unchanged),
            Some(_) => Became::Updated,
        };
        if how.dry_run {
            return Ok(became);
        }
        shelf.put(&put.name, value.reveal(), there.is_some()).await.map_err(|error| error.to_string())?;
        if !how.remember {
            return Ok(became);
        }
        let unrecorded = "It was put there, but";
        let there = shelf.find(&put.name).await.map_err(|error| format!("{unrecorded} the forge could not be asked about it: {error}"))?;
        let put = Provisioned { stamp: there.map(|there| there.stamp).unwrap_or_default(), ..put };
        store.record_provisioned(&put).await.map_err(|error| format!("{unrecorded} that could not be recorded: {error}"))?;
        Ok(became)
    }

    async fn remove(&mut self, put: &Provisioned) -> Result<Became, String> {
        if self.how.dry_run {
            return Ok(Became::Removed);
        }
        let store = self.store;
        let shelf = Shelf::new(self.forge(&put.at)?, &put.at, put.kind);
        shelf.remove(&put.name).await.map_err(|error| error.to_string())?;
        store.forget_provisioned(put).await.map_err(|error| error.to_string())?;
        Ok(Became::Removed)
    }

    fn forge(&mut self, at: &At) -> Result<&Forge, String> {
        let id = at.forge().ok_or("a file is at no forge.")?;
        if !self.forges.contains_key(id) {
            let plan = self.config.forge(id).ok_or_else(|| format!("There is no [[forge]] with the id {id} any more."))?;
            self.forges.insert(id.clone(), Forge::new(plan).map_err(|error| error.to_string())?);
        }
        self.forges.get(id).ok_or_else(|| format!("There is no [[forge]] with the id {id}."))
    }
}

/// What the value is known by, and for whom it is there.
fn mark_of(key: &[u8], provision: &Provision, value: &Secret) -> String {
    let mut bytes = value.reveal().len().to_be_bytes().to_vec();
    bytes.extend_from_slice(value.reveal().as_bytes());
    if let At::Organisation(_, _, visibility) = &provision.at {
        bytes.extend_from_slice(format!("{visibility:?}").as_bytes());
    }
    mark(key, &bytes)
}

/// Whether nothing needs to be put. `before` is what we put there last, if it is the very same value; `has_value` says whether a value
/// that can be read is that one.
fn is_unchanged(provision: &Provision, there: &There, before: Option<&Provisioned>, has_value: impl Fn(&Secret) -> bool) -> bool {
    let Some(readable) = &there.value else { return before.is_some_and(|before| before.stamp == there.stamp) };
    let is_for_the_same = match &provision.at {
        // Which repositories are selected is not told with the variable.
        At::Organisation(_, _, Visibility::Selected(_)) => before.is_some() && there.stamp == "selected",
        At::Organisation(_, _, visibility) => there.stamp.is_empty() || there.stamp == visibility.as_str(),
        _ => true,
    };
    provision.kind == ProvisionKind::Variable && is_for_the_same && has_value(&Secret::new(readable.clone()))
}

/// What is to be put.
fn value(config: &Config, provision: &Provision) -> Result<Secret, String> {
    let value = match &provision.value {
        Value::Text(text) => Secret::new(text.clone()),
        Value::Kept(source) => source.read()?,
        Value::Of(whose) => {
            let held = own(config, whose)?;
            match &provision.at {
                At::Manifest { both: true, .. } => held.lines(),
                _ => held.newest,
            }
        }
    };
    match value.reveal().len() {
        0 => Err("The value is empty.".to_owned()),
        length if length > MOST_BYTES => Err(format!("The value is larger than {MOST_BYTES} bytes, which no forge takes.")),
        _ => Ok(value),
    }
}

/// A secret of our own.
fn own(config: &Config, whose: &Rotated) -> Result<Rotating<Secret>, String> {
    let source = match whose {
        Rotated::Key(id) => {
            let key = config.keys.iter().find(|key| key.id == *id);
            key.and_then(|key| key.file.clone()).map(SecretSource::File)
        }
        Rotated::Dataset(name) => config.datasets.get(name).and_then(|dataset| dataset.secret.clone()),
    };
    source.ok_or_else(|| format!("There is no secret of {whose}."))?.read_both()
}
