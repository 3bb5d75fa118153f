//! Records which new secrets have been used, because `tagalong key rotate` drops the old secret only then. It is written once for each new
//! secret and each start of the server, not for each call.

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

/// The use of rotated secrets.
#[derive(Debug)]
pub struct Rotations {
    /// The key of the marks (keyed hashes) of secrets.
    key: Vec<u8>,
    /// The marks that are already recorded.
    recorded: Arc<Mutex<HashMap<Rotated, String>>>,
}

impl Rotations {
    /// `key` is the key of the marks.
    #[must_use]
    pub fn new(key: Vec<u8>) -> Self {
        Self { key, recorded: Arc::default() }
    }

    /// A caller has authenticated with the newest secret of `key`.
    pub(super) fn key_used(&self, store: &Store, key: &Key) {
        if let Some(newest) = key.proof.newest().filter(|_| key.proof.is_rotating()) {
            self.used(store, Rotated::Key(key.id.clone()), mark(&self.key, newest));
        }
    }

    /// A caller has sent `newest`, the newest reload secret of the dataset.
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
        // The call does not wait for this: the caller is authenticated, and if recording fails, a later call records it.
        tokio::spawn(async move {
            if let Err(error) = store.secret_used(&what, &mark, clock::now_ms()).await {
                tracing::warn!(%what, %error, "it could not be recorded that a new secret is used");
                recorded.lock().unwrap_or_else(PoisonError::into_inner).remove(&what);
            }
        });
    }

    /// The marks of the newest secrets of all keys that have a secret.
    pub(super) fn marks(&self, config: &Config) -> Vec<(Rotated, String)> {
        let of = |key: &Key| Some((Rotated::Key(key.id.clone()), mark(&self.key, key.proof.newest()?)));
        config.keys.iter().filter_map(of).collect()
    }
}
