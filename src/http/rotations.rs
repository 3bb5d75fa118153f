//! Which secrets that follow others have been used: `tagalong key rotate` drops the old one only then. It is written once for each new
//! secret and start of the server, not for each call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use text::Secret;

use crate::clock;
use crate::config::Config;
use crate::config::Key;
use crate::model::DatasetName;
use crate::model::Rotated;
use crate::model::mark;
use crate::store::Store;

/// What is known of the secrets that are rotated.
#[derive(Debug)]
pub struct Rotations {
    /// Of the marks of secrets.
    key: Vec<u8>,
    /// The marks that are recorded already.
    recorded: Arc<Mutex<HashMap<Rotated, String>>>,
}

impl Rotations {
    /// `key` makes the marks.
    #[must_use]
    pub fn new(key: Vec<u8>) -> Self {
        Self { key, recorded: Arc::default() }
    }

    /// Somebody has proven to have the newest secret of `key`.
    pub(super) fn key_used(&self, store: &Store, key: &Key) {
        if let Some(newest) = key.proof.newest().filter(|_| key.proof.is_rotating()) {
            self.used(store, Rotated::Key(key.id.clone()), mark(&self.key, newest));
        }
    }

    /// Somebody has shown `newest`, the newest reload secret of the dataset.
    pub(super) fn reload_secret_used(&self, store: &Store, dataset: &DatasetName, newest: &Secret) {
        self.used(store, Rotated::Dataset(dataset.clone()), mark(&self.key, newest.reveal().as_bytes()));
    }

    fn used(&self, store: &Store, what: Rotated, mark: String) {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.get(&what) == Some(&mark) {
            return;
        }
        recorded.insert(what.clone(), mark.clone());
        drop(recorded);
        let store = store.clone();
        let recorded = Arc::clone(&self.recorded);
        // The call is answered meanwhile: it has proven who it is, and a record that fails is made by a later call.
        tokio::spawn(async move {
            if let Err(error) = store.secret_used(&what, &mark, clock::now_ms()).await {
                tracing::warn!(%what, %error, "it could not be recorded that a new secret is used");
                recorded.lock().unwrap_or_else(PoisonError::into_inner).remove(&what);
            }
        });
    }

    /// What the newest secrets of all keys with a secret are known by.
    pub(super) fn marks(&self, config: &Config) -> Vec<(Rotated, String)> {
        let of = |key: &Key| Some((Rotated::Key(key.id.clone()), mark(&self.key, key.proof.newest()?)));
        config.keys.iter().filter_map(of).collect()
    }
}
