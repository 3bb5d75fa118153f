//! How services stand, for pages: whoever opens one waits for nothing outside longer than a moment, and is told what is not known yet.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::api;
use crate::api::Standing;
use crate::api::Tags;
use crate::api::Word;
use crate::config::Service;
use crate::model::ServiceName;
use crate::orders::Deployer;
use crate::orders::elsewhere::on_record;
use crate::orders::sights::Seen;
use crate::orders::sights::Turn;
use crate::orders::state::PATIENCE;
use crate::orders::tags::tags_of;
use crate::store::Recorded;
use crate::store::StoreError;

/// How long a page waits for what is outside.
const BOUND: Duration = Duration::from_millis(600);
/// For how long what a registry said is not asked again.
const TAGS_AGE: Duration = Duration::from_secs(20);

/// How a service stands, as far as it is known at once.
#[derive(Debug, Clone)]
pub struct Glimpse {
    /// The record of now, with what is seen outside.
    pub state: api::Service,
    /// Whether what is seen outside is of now.
    pub seen: SeenWhen,
}

/// How much of a service is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Depth {
    /// How it stands and what is live: without the releases before, and without the images of its host.
    Brief,
    /// Also where one can go back to.
    Whole,
}

/// Of when it is what is seen outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenWhen {
    /// Of now.
    Now,
    /// Of this moment (ms since 1970, UTC): nothing has answered since.
    Before(i64),
    /// Nothing has answered yet.
    NotYet,
}

impl Deployer {
    /// How each of `services` stands, in their order, within a moment. What does not answer by then is looked at in the background, and
    /// is shown to whoever asks later.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn glimpses(self: &Arc<Self>, services: &[Arc<Service>], depth: Depth) -> Result<Vec<Glimpse>, StoreError> {
        let asked = Instant::now();
        let recorded = match depth {
            Depth::Brief => self.store.recorded(&services.iter().map(|service| (&service.name, 1)).collect::<Vec<_>>()).await?,
            Depth::Whole => self.recorded(&services.iter().map(Arc::as_ref).collect::<Vec<_>>()).await?,
        };
        let recorded = Arc::new(recorded);
        let keys: Vec<(ServiceName, Depth)> = services.iter().map(|service| (service.name.clone(), depth)).collect();
        self.begin_looks(services, &keys, &recorded);
        let waits = keys.iter().map(|key| self.glimpsed.wait(key, BOUND));
        futures_util::future::join_all(waits).await;
        let glimpse = |((service, key), recorded): ((&Arc<Service>, &(ServiceName, Depth)), &Recorded)| {
            let last = self.glimpsed.last(key);
            match last {
                Some(last) if last.began >= asked => Glimpse { state: last.what, seen: SeenWhen::Now },
                Some(last) => Glimpse {
                    seen: if last.ended >= asked { SeenWhen::Now } else { SeenWhen::Before(last.at_ms) },
                    state: joined(on_record(service, recorded, ""), last.what),
                },
                None => Glimpse { state: on_record(service, recorded, "Its host has not answered yet"), seen: SeenWhen::NotYet },
            }
        };
        Ok(services.iter().zip(&keys).zip(recorded.iter()).map(glimpse).collect())
    }

    /// What the record has of each of `services`, in their order; nothing outside is looked at.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn on_record(&self, services: &[&Service]) -> Result<Vec<api::Service>, StoreError> {
        let recorded = self.recorded(services).await?;
        Ok(services.iter().zip(&recorded).map(|(service, recorded)| on_record(service, recorded, "")).collect())
    }

    /// Begins to look at those that nobody looks at yet.
    fn begin_looks(self: &Arc<Self>, services: &[Arc<Service>], keys: &[(ServiceName, Depth)], recorded: &Arc<Vec<Recorded>>) {
        let mut turns: Vec<Option<Turn<_, api::Service>>> = keys.iter().map(|key| self.glimpsed.begin(key)).collect();
        if turns.iter().all(Option::is_none) {
            return;
        }
        let deployer = Arc::clone(self);
        let services = services.to_vec();
        let recorded = Arc::clone(recorded);
        tokio::spawn(async move {
            let asked: Vec<(usize, &Service, &Recorded)> =
                (0..services.len()).filter(|at| turns[*at].is_some()).map(|at| (at, &*services[at], &recorded[at])).collect();
            let seen = |at: usize, state: api::Service| {
                if let Some(turn) = turns[at].take() {
                    turn.seen(state);
                }
            };
            if let Err(error) = deployer.look_at_each(&asked, Instant::now() + PATIENCE, seen).await {
                tracing::warn!(%error, "how services stand is not known, because the database does not answer");
            }
        });
    }

    /// The tags of `service` within a moment, and whether its registry has been heard.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tags_at_once(self: &Arc<Self>, service: &Arc<Service>) -> Result<(Tags, bool), StoreError> {
        let is_young = |seen: &Seen<_>| seen.began.elapsed() < TAGS_AGE;
        let known = self.offered_last.last(&service.name).filter(is_young);
        if known.is_none()
            && let Some(turn) = self.offered_last.begin(&service.name)
        {
            let deployer = Arc::clone(self);
            let service = Arc::clone(service);
            tokio::spawn(async move {
                match deployer.store.verified(&service.name).await {
                    Ok(verified) => turn.seen(deployer.offer(&service, &verified).await),
                    Err(error) => tracing::warn!(%error, "the tags of a service are not known, because the database does not answer"),
                }
            });
        }
        if known.is_none() {
            self.offered_last.wait(&service.name, BOUND).await;
        }
        let verified = self.store.verified(&service.name).await?;
        let last = self.offered_last.last(&service.name);
        let offered = last.as_ref().and_then(|last| last.what.as_deref());
        Ok((tags_of(service, &verified, offered), last.is_some()))
    }
}

/// What the record has now, with what was seen before.
fn joined(now: api::Service, seen: api::Service) -> api::Service {
    let standing = match (&now.running, seen.standing.word) {
        (Some(_), word) if word != Word::Deploying => Standing { word: Word::Deploying, why: None, mend: None },
        (None, Word::Deploying) => {
            Standing { word: Word::Unknown, why: Some("It was not looked at since its deployment".to_owned()), mend: None }
        }
        _ => seen.standing,
    };
    api::Service {
        standing,
        pinned: seen.pinned,
        files: seen.files,
        containers: seen.containers,
        hosts: seen.hosts,
        drift: seen.drift,
        blocked: now.blocked.or(seen.blocked),
        rollback_candidates: seen.rollback_candidates,
        guards: seen.guards,
        owed: seen.owed,
        // Their own servers tell these of services elsewhere; of services here the watcher tells them anew.
        watch: seen.watch,
        schedule: seen.schedule,
        incidents: seen.incidents,
        ..now
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::joined;
    use crate::api;

    fn service(name: &str, further: &serde_json::Value) -> api::Service {
        let mut all = json!({ "name": name, "standing": { "word": "ok" }, "pinned": [], "containers": [], "rollback_candidates": [] });
        all.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
        serde_json::from_value(all).expect("a service")
    }

    #[test]
    fn what_only_its_hosts_know_of_a_service_stays_until_they_are_seen_again() {
        let watch = json!({ "state": "watching", "since_ms": 1, "every_s": 5.0, "looks": 3, "bad": 0 });
        let incident = json!({
            "id": "01J00000000000000000000000", "service": "web", "kind": "container", "what": "It is down.", "seen": 2, "opened_ms": 1, "last_ms": 2
        });
        let host = json!({ "host": "micro", "standing": { "word": "ok" } });
        let seen = service("web", &json!({ "hosts": [host], "watch": watch, "schedule": watch, "incidents": [incident] }));
        let joined = joined(service("web", &json!({ "held": "a rollback holds it" })), seen.clone());
        assert_eq!(joined.hosts.iter().map(|host| host.host.as_str()).collect::<Vec<_>>(), ["micro"]);
        assert_eq!((joined.watch, joined.schedule, joined.incidents), (seen.watch, seen.schedule, seen.incidents));
        assert_eq!(joined.held.as_deref(), Some("a rollback holds it"), "the record of now");
    }
}
