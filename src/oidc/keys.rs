//! The key sets of the issuers that policies name, each kept for a while. Strangers can write any key's name into a token: that makes us
//! ask an issuer once a minute at most. Each issuer is waited for by itself, so that a slow one keeps nobody else waiting.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::Issuer;
use crate::oidc::fetch;
use crate::oidc::key::PublicKey;
use crate::oidc::token::Fault;
use crate::oidc::token::Token;

/// So long a key set counts as new.
const FRESH: Duration = Duration::from_mins(10);
/// So long a key set is used whose issuer does not answer any more.
const KEPT: Duration = Duration::from_hours(1);
/// Between two looks for a key that a new key set did not have.
const BETWEEN_LOOKS: Duration = Duration::from_mins(1);
/// Between two tries, after one that failed.
const BETWEEN_TRIES: Duration = Duration::from_secs(10);
/// How many calls may wait for one issuer.
const MOST_WAITING: usize = 64;

/// What is known of the issuers' keys. An issuer that other certificates are trusted for by now is another one.
#[derive(Debug, Default)]
pub struct KeySets(Mutex<HashMap<Known, Arc<KeySet>>>);

/// An issuer, and the certificates that are trusted when it is asked.
type Known = (String, Option<PathBuf>);

impl KeySets {
    /// Whether a key of `issuer` signed `token`; the certificates of `ca_file` are trusted when it is asked. Only issuers of the configuration may be asked for: each is remembered.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) async fn prove(&self, issuer: &Issuer, ca_file: Option<&Path>, token: &Token) -> Result<(), Fault> {
        let keys = self.of(issuer, ca_file).keys(token.key_id()).await?;
        token.proven_by(&keys)
    }

    fn of(&self, issuer: &Issuer, ca_file: Option<&Path>) -> Arc<KeySet> {
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ca_file = ca_file.map(Path::to_owned);
        let key = (issuer.as_str().to_owned(), ca_file.clone());
        let made = || {
            let places = Semaphore::new(MOST_WAITING);
            Arc::new(KeySet { issuer: issuer.clone(), ca_file, state: Mutex::default(), places })
        };
        Arc::clone(sets.entry(key).or_insert_with(made))
    }
}

#[derive(Debug)]
struct KeySet {
    issuer: Issuer,
    ca_file: Option<PathBuf>,
    state: Mutex<State>,
    places: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    keys: Arc<Vec<PublicKey>>,
    /// When they were fetched.
    at: Option<Instant>,
    /// When a new key set was last looked at again for a key that it did not have.
    looked: Option<Instant>,
    /// When fetching last failed since, and why.
    failed: Option<(Instant, String)>,
    /// It is being fetched, and this is told when it has been.
    fetching: Option<watch::Receiver<bool>>,
}

/// What somebody who needs a key does.
enum Next {
    Use(Arc<Vec<PublicKey>>),
    Wait(watch::Receiver<bool>),
    GiveUp(String),
}

impl KeySet {
    /// The keys, with the one that has this name.
    async fn keys(self: Arc<Self>, key_id: &str) -> Result<Arc<Vec<PublicKey>>, Fault> {
        let unknown = |why: &str| Fault::Key { issuer: self.issuer.to_string(), why: why.to_owned() };
        let mut fetched = match self.next(key_id) {
            Next::Use(keys) => return Ok(keys),
            Next::GiveUp(why) => return Err(unknown(&why)),
            Next::Wait(fetched) => fetched,
        };
        let _place = self.places.try_acquire().map_err(|_| Fault::Busy(self.issuer.to_string()))?;
        // Whoever fetches may have been ended; then there is nothing new, and that is told below.
        let _ = fetched.wait_for(|is_done| *is_done).await;
        match self.next(key_id) {
            Next::Use(keys) => Ok(keys),
            Next::GiveUp(why) => Err(unknown(&why)),
            Next::Wait(_) => Err(unknown("it is being asked again")),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(self: &Arc<Self>, key_id: &str) -> Next {
        let now = Instant::now();
        let mut state = self.state();
        let age = state.at.map(|at| now.duration_since(at));
        let is_fresh = age.is_some_and(|age| age < FRESH);
        let has = state.keys.iter().any(|key| key.id() == key_id);
        if has && is_fresh {
            return Next::Use(Arc::clone(&state.keys));
        }
        if let Some(fetching) = state.fetching.as_ref().filter(|fetching| !*fetching.borrow() && fetching.has_changed().is_ok()) {
            return Next::Wait(fetching.clone());
        }
        let has_just_failed = state.failed.as_ref().is_some_and(|(at, _)| now.duration_since(*at) < BETWEEN_TRIES);
        let may_look = !is_fresh || state.looked.is_none_or(|at| now.duration_since(at) >= BETWEEN_LOOKS);
        if may_look && !has_just_failed {
            if is_fresh {
                state.looked = Some(now);
            }
            return Next::Wait(self.fetch(&mut state));
        }
        if has && age.is_some_and(|age| age < KEPT) {
            return Next::Use(Arc::clone(&state.keys));
        }
        let why = state.failed.as_ref().map(|(_, why)| why.clone());
        Next::GiveUp(why.unwrap_or_else(|| "it is not in its key set".to_owned()))
    }

    /// Fetches the key set. It is nobody's own, so that who stops waiting stops it for nobody else.
    fn fetch(self: &Arc<Self>, state: &mut State) -> watch::Receiver<bool> {
        let (tell, fetched) = watch::channel(false);
        state.fetching = Some(fetched.clone());
        let set = Arc::clone(self);
        tokio::spawn(async move {
            let keys = fetch::fetch(&set.issuer, set.ca_file.as_deref()).await;
            set.take(keys);
            tell.send_replace(true);
        });
        fetched
    }

    fn take(&self, keys: Result<Vec<PublicKey>, String>) {
        let now = Instant::now();
        let mut state = self.state();
        match keys {
            Ok(keys) => {
                state.keys = Arc::new(keys);
                state.at = Some(now);
                state.failed = None;
            }
            Err(why) => {
                tracing::warn!(issuer = %self.issuer, %why, "the key set of an issuer of tokens could not be fetched");
                state.failed = Some((now, why));
            }
        }
    }
}
