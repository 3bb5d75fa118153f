//! A secret that can be rotated: whose it is, and every file of the configuration that it is kept in.

use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use text::Secret;

use crate::cli::kept::Kept;
use crate::clock;
use crate::config::Config;
use crate::config::OnChange;
use crate::config::Rotating;
use crate::config::SecretSource;
use crate::model::Rotated;
use crate::model::mark;

/// A new signing secret.
pub(crate) fn new_signing() -> String {
    format!("whsec_{}", STANDARD.encode(clock::random_bytes::<32>()))
}

/// A new bearer token.
pub(super) fn new_bearer() -> String {
    format!("tagalong_{}", URL_SAFE_NO_PAD.encode(clock::random_bytes::<32>()))
}

/// A secret in its files.
pub(super) struct Held {
    /// Whose it is.
    pub(super) whose: Rotated,
    /// The file that says what it is.
    file: Kept,
    /// Where else the same secret is.
    copies: Vec<PathBuf>,
    /// What it is.
    pub(super) now: Rotating<Secret>,
    /// Makes marks, by which secrets are compared.
    mark_key: Vec<u8>,
}

impl Held {
    /// The secret of `whose`, whose files no other command changes meanwhile.
    ///
    /// # Errors
    /// When it is in no file, or in the environment as well.
    pub(super) fn of(config: &Config, whose: Rotated, mark_key: Vec<u8>) -> anyhow::Result<Self> {
        let file = Kept::lock(&file_of(config, &whose)?)?;
        let source = SecretSource::File(file.path().to_owned());
        let now = source.read_both().map_err(anyhow::Error::msg)?;
        let mut held = Self { whose, file, copies: Vec::new(), now, mark_key };
        for source in secrets_of(config) {
            match (source, source.read_both()) {
                (_, Ok(both)) if !held.shares(&both) => {}
                (SecretSource::Env(_), Ok(_)) => anyhow::bail!(
                    "The secret of {} is in the environment as well, which tagalong cannot change; keep it in a file there too (token_file, secret_file).",
                    held.whose
                ),
                (SecretSource::File(path), Ok(_)) => held.copies.extend(path.canonicalize().ok().filter(|path| path != held.file.path())),
                (_, Err(_)) => {}
            }
        }
        held.copies.sort();
        held.copies.dedup();
        Ok(held)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &std::path::Path {
        self.file.path()
    }

    /// What the newest of it is known by.
    pub(super) fn mark(&self) -> String {
        let newest = self.now.newest.reveal();
        // As the server does: the bytes of a signing secret, the hash of a token, a reload secret as it is.
        match &self.whose {
            Rotated::Dataset(_) => self.mark_of(newest),
            Rotated::Key(_) => match newest.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok()) {
                Some(bytes) => mark(&self.mark_key, &bytes),
                None => mark(&self.mark_key, &<sha2::Sha256 as sha2::Digest>::digest(newest)),
            },
        }
    }

    fn mark_of(&self, secret: &str) -> String {
        mark(&self.mark_key, secret.as_bytes())
    }

    /// By their marks, which tell nothing by the time that a comparison takes.
    fn is_same(&self, one: &Secret, other: &Secret) -> bool {
        let marks = [one, other].map(|one| self.mark_of(one.reveal()));
        marks[0] == marks[1]
    }

    fn shares(&self, other: &Rotating<Secret>) -> bool {
        self.now.iter().any(|mine| other.iter().any(|other| self.is_same(mine, other)))
    }

    /// A new secret is put beside the one that was there.
    ///
    /// # Errors
    /// When a file cannot be written; callers with the old secret are still accepted then.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        let new = if self.now.newest.reveal().starts_with("whsec_") { new_signing() } else { new_bearer() };
        let older = std::mem::replace(&mut self.now.newest, Secret::new(new));
        self.now.older = Some(older);
        self.write()
    }

    /// The old secret is dropped.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.now.older = None;
        self.write()
    }

    /// Every file holds what the secret is now. The one that is read for calls that come is the first: whoever gets a new secret
    /// from another one is accepted.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        let text = self.now.lines();
        let is_same = |path: &std::path::Path| {
            let there = SecretSource::File(path.to_owned()).read_both();
            there.is_ok_and(|there| self.is_same(&there.lines(), &text))
        };
        if !is_same(self.file.path()) {
            self.file.replace(text.reveal())?;
        }
        for copy in self.copies.iter().filter(|copy| !is_same(copy)) {
            Kept::lock(copy)?.replace(text.reveal())?;
        }
        Ok(())
    }
}

/// The file of the secret of `whose`.
fn file_of(config: &Config, whose: &Rotated) -> anyhow::Result<PathBuf> {
    let elsewhere = |what: &str| {
        format!(
            "The secret of {whose} is not in a file: {what} cannot be rotated by tagalong. Keep it in a file, or use two keys for a while."
        )
    };
    match whose {
        Rotated::Key(id) => {
            let key = config.keys.iter().find(|key| key.id == *id);
            let key = key.with_context(|| format!("There is no [[key]] with the id {id}; `tagalong key list` shows the keys."))?;
            key.file.clone().with_context(|| elsewhere("secret_env, token_env and token_sha256"))
        }
        Rotated::Dataset(name) => {
            let dataset = config.datasets.get(name).with_context(|| format!("There is no [dataset.{name}] in the configuration."))?;
            let secret = dataset.secret.as_ref().with_context(|| format!("The dataset {name} has no reload_secret_file."))?;
            secret.file().map(std::path::Path::to_owned).with_context(|| elsewhere("reload_secret_env"))
        }
    }
}

/// What this configuration shows to others: to apps, and to peers.
fn secrets_of(config: &Config) -> Vec<&SecretSource> {
    let of_all = config.datasets.values().flat_map(|dataset| {
        let told = match &dataset.on_change {
            Some(OnChange::Http { credential, .. }) => credential.as_ref(),
            _ => None,
        };
        let asked = dataset.verify.as_ref().and_then(|verify| verify.credential.as_ref());
        told.into_iter().chain(asked).chain(dataset.peers.iter().filter_map(|peer| peer.credential.as_ref()))
    });
    of_all.collect()
}
