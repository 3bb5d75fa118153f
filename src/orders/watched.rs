//! What whoever watches a service is told: what is live and at work, how the containers of the release stand, and the order to go back.

use std::collections::BTreeMap;
use std::time::Duration;

use process::Cancel;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::clock;
use crate::config::Service;
use crate::engine::Ailment;
use crate::engine::Container;
use crate::engine::Images;
use crate::engine::PinnedNow;
use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::RollbackTo;
use crate::orders::Deployer;
use crate::orders::standing;
use crate::orders::standing::Fault;
use crate::orders::standing::Now;
use crate::store::Accepted;
use crate::store::Delivery;
use crate::store::Deployment;
use crate::store::OrderError;
use crate::store::StoreError;
use crate::store::Wanted;

/// How long the engine has for a look.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the record has of a service at a moment.
#[derive(Debug, Clone)]
pub struct Served {
    /// The last verified release.
    pub live: Deployment,
    /// The last deployment that changed the host, where that can be read.
    pub last_change: Option<Deployment>,
}

impl Served {
    /// Whether `other` has the same live and the same done: nothing has changed in between.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        let change = |served: &Self| served.last_change.as_ref().map(|change| change.id.clone());
        self.live.id == other.live.id && change(self) == change(other)
    }

    /// Whether `id` is what serves: it is live, and nothing has changed the stack since.
    #[must_use]
    pub fn is_by(&self, id: &DeploymentId) -> bool {
        self.live.id == *id && self.last_change.as_ref().is_none_or(|change| change.id == *id)
    }
}

/// How the containers of the live release stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseSeen {
    /// Nothing speaks against it.
    Good,
    /// It does not run as it should.
    Bad(String),
    /// Somebody has changed its containers or its pin by hand, so that what is seen is not the release's doing.
    ByHand(String),
}

/// What a look at a stack has found.
#[derive(Debug, Clone)]
pub struct StackSeen {
    /// How the containers of the release stand.
    pub release: ReleaseSeen,
    /// Everything that is not as the record has it, in the whole stack.
    pub faults: Vec<Fault>,
    /// The command that mends them.
    pub mend: String,
    /// How often each container of the release has been restarted by the engine or has run out of memory, by its id.
    pub restarts: BTreeMap<String, u64>,
}

impl Deployer {
    /// What serves `service`; none: nothing was verified yet, something is being carried out, or the record of it cannot be read.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn served(&self, service: &Service) -> Result<Option<Served>, StoreError> {
        let mut recorded = self.store.recorded(&[(&service.name, 1)]).await?;
        let Some(recorded) = recorded.pop().filter(|one| one.running().is_none() && one.may_run().is_none()) else { return Ok(None) };
        let last_change = recorded.last_change.clone();
        let Some(live) = recorded.live() else { return Ok(None) };
        // With what the page had before it was deployed, which lists leave out.
        Ok(self.store.get(&live.id).await?.map(|live| Served { live, last_change }))
    }

    /// Looks at the stack of `service`, of which `served` is live; `restarts` is what the last look has found.
    ///
    /// # Errors
    /// Why it cannot be seen.
    pub async fn look_at_stack(&self, service: &Service, served: &Served, restarts: &BTreeMap<String, u64>) -> Result<StackSeen, String> {
        let engine = self.engine(service).ok_or_else(|| format!("{} stands on another host.", service.name))?;
        let name = engine.words().name;
        let never = Cancel::default();
        let until = Instant::now() + PATIENCE;
        let outages = engine.outages();
        let late = |_| format!("{name} said nothing for {} s.", PATIENCE.as_secs());
        // What decides is a look of its own.
        let asked = async { tokio::join!(engine.containers(&never), engine.current()) };
        let (containers, pinned) = timeout_at(until, asked).await.map_err(late)?;
        let containers = containers.map_err(|error| error.to_string())?;
        let pinned = pinned.map_err(|error| error.to_string())?;
        let images = if standing::is_unsure(&served.live, &containers) {
            Some(timeout_at(until, engine.images(&never)).await.map_err(late)?.map_err(|error| error.to_string())?)
        } else {
            None
        };
        let files = match service.files {
            Some(_) => timeout_at(until, engine.files_laid()).await.map_err(late)?.map_err(|error| error.to_string())?,
            None => None,
        };
        let now = Now {
            service: &service.name,
            words: engine.words(),
            live: Some(&served.live),
            running: None,
            changed: served.last_change.as_ref(),
            containers: Ok(&containers),
            pinned: Ok(&pinned),
            images: images.as_ref(),
            files: files.as_ref(),
            at_ms: clock::now_ms(),
        };
        let seen = stack_seen(&now, &served.live, &containers, &pinned, restarts);
        // What has stopped together with the engine comes back with it.
        if matches!(seen.release, ReleaseSeen::Bad(_)) && engine.was_away(outages).await {
            return Err(format!("{name} was away meanwhile."));
        }
        Ok(seen)
    }

    /// Places the order to go back from the release that `watched` has landed. Whoever asks again gets the first answer.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing has changed.
    pub async fn order_by_watch(&self, service: &Service, watched: &DeploymentId, why: &str) -> Result<Accepted, OrderError> {
        let caller = Caller::Watch(watched.clone());
        let order = Order { reason: Some(why.to_owned()), ..Order::new(OrderKind::Rollback, service.name.clone(), caller) };
        self.accept(service, order, Wanted::Back(RollbackTo::Previous), Some(&Delivery::of_watch(watched))).await
    }

    /// The order that the watch over `watched` has placed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ordered_by_watch(&self, watched: &DeploymentId) -> Result<Option<DeploymentId>, OrderError> {
        self.store.answered(&Delivery::of_watch(watched)).await
    }
}

fn stack_seen(
    now: &Now<'_>,
    live: &Deployment,
    containers: &[Container],
    pinned: &[PinnedNow],
    before: &BTreeMap<String, u64>,
) -> StackSeen {
    let mine: Vec<&Container> = containers.iter().filter(|one| standing::is_pinned_part(live, one)).collect();
    let restarts = mine.iter().map(|one| (one.id.clone(), one.restarts + u64::from(one.oom_killed))).collect();
    StackSeen {
        release: of_release(now, live, &mine, pinned, before),
        faults: standing::faults(now, live, containers, pinned),
        mend: standing::mend(now, live),
        restarts,
    }
}

/// How the containers of the release stand. The engine takes none away, makes none from another image and pauses none by itself.
fn of_release(now: &Now<'_>, live: &Deployment, mine: &[&Container], pinned: &[PinnedNow], before: &BTreeMap<String, u64>) -> ReleaseSeen {
    let images: Option<&Images> = now.images;
    let is_one_shot = |name: &str| live.parts.iter().any(|part| part.name == name && part.is_one_shot);
    let gone =
        live.parts.iter().filter(|part| part.is_pinned && !part.is_one_shot).find(|part| !mine.iter().any(|one| one.service == part.name));
    let gone = gone.map(|part| format!("The service {} of the compose file has no container any more.", part.name));
    let paused = mine.iter().find(|one| one.ailment(now.at_ms) == Some(Ailment::Paused)).map(|one| format!("{} is paused.", one.name));
    let other = mine.iter().find_map(|one| standing::other_image(live, one, images)).map(|fault| fault.why);
    let repinned = standing::other_pins(live, pinned).into_iter().next().map(|fault| fault.why);
    if let Some(why) = gone.or(paused).or(other).or(repinned) {
        return ReleaseSeen::ByHand(why);
    }
    let bad: Vec<String> = mine.iter().filter(|one| !is_one_shot(&one.service)).filter_map(|one| ails(now, live, one, before)).collect();
    if bad.is_empty() { ReleaseSeen::Good } else { ReleaseSeen::Bad(bad.join(" ")) }
}

/// What is wrong with a container of the release now, or has happened to it since the last look.
fn ails(now: &Now<'_>, live: &Deployment, one: &Container, before: &BTreeMap<String, u64>) -> Option<String> {
    let memory = || format!("{} ran out of memory and was killed by the kernel.", one.name);
    if let Some(fault) = standing::fault_of(now, live, one) {
        return Some(if one.oom_killed { memory() } else { fault.why });
    }
    let has_happened = before.get(&one.id).is_some_and(|before| one.restarts + u64::from(one.oom_killed) > *before);
    let restarted = || format!("{} ended and was restarted by {} ({} restarts).", one.name, now.words.name, one.restarts);
    has_happened.then(|| if one.oom_killed { memory() } else { restarted() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::ReleaseSeen;
    use super::of_release;
    use crate::engine::Container;
    use crate::engine::ContainerState;
    use crate::engine::Health;
    use crate::engine::PinnedNow;
    use crate::engine::Words;
    use crate::model::Part;
    use crate::orders::sample::landed;
    use crate::orders::sample::web;
    use crate::orders::standing::Now;
    use crate::store::Deployment;

    const WORDS: Words = Words { name: "Docker", program: "docker", up: "up", load: "load", clean_up: "prune" };

    fn live() -> Deployment {
        let part = Part { name: "web".into(), is_pinned: true, is_one_shot: false, replicas: 1 };
        Deployment { parts: vec![part], ..landed(3) }
    }

    fn container(change: impl FnOnce(&mut Container)) -> Container {
        let mut one = Container {
            id: "1".into(),
            name: "site-web-1".into(),
            service: "web".into(),
            image_id: "sha256:0".into(),
            image: live().images[0].to_string(),
            state: ContainerState::Running,
            exit_code: 0,
            oom_killed: false,
            restarts: 1,
            created_at: String::new(),
            started_at: "2020-01-01T00:00:00Z".into(),
            health: Health::Unchecked,
            health_output: String::new(),
            error: String::new(),
            is_one_off: false,
            is_replacement: false,
        };
        change(&mut one);
        one
    }

    fn judged(containers: &[Container], pinned: bool) -> ReleaseSeen {
        let (live, service) = (live(), web());
        let image = &live.images[0];
        let pins = [PinnedNow { image: image.repository.clone(), value: pinned.then(|| image.pin()) }];
        let now = Now {
            service: &service,
            words: WORDS,
            live: Some(&live),
            running: None,
            changed: None,
            containers: Ok(containers),
            pinned: Ok(&pins),
            images: None,
            files: None,
            at_ms: 1_800_000_000_000,
        };
        let mine: Vec<&Container> = containers.iter().collect();
        of_release(&now, &live, &mine, &pins, &BTreeMap::from([("1".to_owned(), 1)]))
    }

    #[test]
    fn what_the_release_does_is_told_from_what_somebody_does_to_it() {
        let of = |change: fn(&mut Container)| judged(&[container(change)], true);
        assert_eq!(of(|_| {}), ReleaseSeen::Good);
        let changes: [fn(&mut Container); 6] = [
            |web| web.restarts = 2,
            |web| web.oom_killed = true,
            |web| web.state = ContainerState::Restarting,
            |web| (web.state, web.exit_code) = (ContainerState::Exited, 3),
            |web| web.health = Health::Unhealthy,
            |web| web.health = Health::Unknown("odd".into()),
        ];
        for bad in changes {
            assert!(matches!(of(bad), ReleaseSeen::Bad(_)), "{:?}", of(bad));
        }
        // A container that was made since the last look has its restarts from before.
        assert_eq!(of(|web| (web.id, web.restarts) = ("2".into(), 9)), ReleaseSeen::Good);
        let by_hand: [fn(&mut Container); 2] =
            [|web| web.state = ContainerState::Paused, |web| web.image = landed(2).images[0].to_string()];
        for changed in by_hand {
            assert!(matches!(of(changed), ReleaseSeen::ByHand(_)), "{:?}", of(changed));
        }
        assert!(matches!(judged(&[], true), ReleaseSeen::ByHand(_)));
        assert!(matches!(judged(&[container(|_| {})], false), ReleaseSeen::ByHand(_)));
    }
}
