//! The forges of the configuration that is in force, each with one client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::config;
use crate::config::Config;
use crate::config::Live;
use crate::forge::Forge;
use crate::forge::error::ForgeError;
use crate::forge::error::ForgeErrorKind;
use crate::model::KeyId;

/// The clients of the forges. A client is made when it is first needed, and again when the configuration was read again.
#[derive(Debug)]
pub struct Forges {
    config: Live<Config>,
    clients: Mutex<BTreeMap<KeyId, Client>>,
}

#[derive(Debug)]
struct Client {
    plan: Arc<config::Forge>,
    forge: Arc<Forge>,
}

impl Forges {
    /// Those of `config`.
    #[must_use]
    pub fn new(config: Live<Config>) -> Self {
        Self { config, clients: Mutex::default() }
    }

    /// The forge that the configuration calls `id` now.
    ///
    /// # Errors
    /// When there is none, or no client can be made for it.
    pub fn get(&self, id: &KeyId) -> Result<Arc<Forge>, ForgeError> {
        let gone = || ForgeError::new(ForgeErrorKind::Refused, format!("There is no [[forge]] with the id {id} any more."));
        let plan = Arc::clone(self.config.now().forge(id).ok_or_else(gone)?);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(id).filter(|client| Arc::ptr_eq(&client.plan, &plan)) {
            return Ok(Arc::clone(&client.forge));
        }
        let forge = Arc::new(Forge::new(&plan)?);
        clients.insert(id.clone(), Client { plan, forge: Arc::clone(&forge) });
        Ok(forge)
    }
}
