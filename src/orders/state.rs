//! The state of a service, for people and programs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::Stream;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use futures_util::stream::FuturesUnordered;
use process::Cancel;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::api;
use crate::api::Standing;
use crate::api::Word;
use crate::clock;
use crate::config::Config;
use crate::config::Service;
use crate::engine::Container;
use crate::engine::Engine;
use crate::engine::Images;
use crate::engine::PinnedNow;
use crate::engine::Words;
use crate::landing;
use crate::model::ImageRef;
use crate::model::Message;
use crate::model::State;
use crate::orders::Deployer;
use crate::orders::met;
use crate::orders::seen::Seen;
use crate::orders::shown::away;
use crate::orders::standing;
use crate::orders::standing::Now;
use crate::orders::way_back::same_content;
use crate::orders::way_back::was_left;
use crate::results;
use crate::store::Debt;
use crate::store::Deployment;
use crate::store::Hold;
use crate::store::HoldKind;
use crate::store::Recorded;
use crate::store::StoreError;

/// How old what is observed may be while nothing changes the stack.
const AGE: Duration = Duration::from_secs(30);
/// How long one who asks how things stand waits for the engine or a disk, for all services together.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a disk has for the files of one stack, however long the services before it took.
const MOMENT: Duration = Duration::from_millis(250);

impl Deployer {
    /// The state of each service, in their order: what is live, what is running and waiting, and what blocks it.
    ///
    /// # Errors
    /// When the database does not answer. An engine that does not answer is said in `standing` and in `blocked`.
    pub async fn states(&self, services: &[&Service]) -> Result<Vec<api::Service>, StoreError> {
        let all = self.recorded(services).await?;
        let asked: Vec<_> = services.iter().zip(&all).enumerate().map(|(at, (service, recorded))| (at, *service, recorded)).collect();
        let mut states = Vec::with_capacity(services.len());
        self.look_at_each(&asked, Instant::now() + PATIENCE, |at, state| states.push((at, state))).await?;
        states.sort_by_key(|(at, _)| *at);
        Ok(states.into_iter().map(|(_, state)| state).collect())
    }

    /// Looks at services with their numbers and their records, and tells how each stands as soon as it is known.
    pub(super) async fn look_at_each(
        &self,
        asked: &[(usize, &Service, &Recorded)],
        until: Instant,
        mut tell: impl FnMut(usize, api::Service) + Send,
    ) -> Result<(), StoreError> {
        let owed = self.results.owed().await?;
        let looks = asked.iter().map(|(at, service, recorded)| {
            let look = self.look_at_one(&owed, service, recorded, until).map(|state| (*at, state));
            (service.stack.is_here(), look.boxed())
        });
        let mut states = as_seen(looks);
        while let Some((at, state)) = states.next().await {
            tell(at, state);
        }
        Ok(())
    }

    async fn look_at_one(&self, owed: &[Debt], service: &Service, recorded: &Recorded, until: Instant) -> api::Service {
        let config = self.config.now();
        let owed = owed.iter().filter(|debt| results::is_for(debt, &service.name)).filter_map(|debt| owed_result(&config, debt)).collect();
        let state = self.state(service, recorded, until).await;
        let guards = met::guards(&config, service, state.held.as_deref(), until).await;
        api::Service { guards, owed, ..state }
    }

    async fn state(&self, service: &Service, recorded: &Recorded, until: Instant) -> api::Service {
        match self.engine(service) {
            Some(engine) => self.state_here(service, &engine, recorded, until).await,
            None => self.state_elsewhere(service, recorded, until).await,
        }
    }

    async fn state_here(&self, service: &Service, engine: &Engine, recorded: &Recorded, until: Instant) -> api::Service {
        for error in recorded.verified.iter().filter_map(|one| one.as_ref().err()) {
            tracing::error!(service = %service.name, %error, "a verified release is not shown");
        }
        let verified: Vec<&Deployment> = recorded.verified.iter().flatten().collect();
        let live = recorded.live();
        let running = recorded.running();
        let older = older(live, &verified, service.keep);
        let seen = self.look_at_service(service, engine, recorded, !older.is_empty(), until).await;
        let standing = standing_of(service, engine.words(), recorded, &seen);
        let last = recorded.last_ended.as_ref().filter(|last| live.is_none_or(|live| live.id != last.id));
        let fault = seen.containers.as_ref().err().or(seen.pinned.as_ref().err());
        let blocked = recorded.may_run().map(ToString::to_string).or_else(|| blocked(service, running, fault));
        let held = held(service, &recorded.hold);
        api::Service {
            name: service.name.clone(),
            drift: standing.why.clone().filter(|_| standing.word == Word::Drift),
            blocked: blocked.or_else(|| self.waits_for_a_place(&service.name)).or_else(|| recorded.waiting()?.waits_why.clone()),
            standing,
            pinned: seen.pinned.iter().flatten().map(pin_text).collect(),
            files: seen.files.as_ref().filter(|_| service.files.is_some()).and_then(|files| files.laid.from.clone()),
            containers: seen.containers.iter().flat_map(|all| all.iter()).map(container).collect(),
            live: live.map(view),
            next_step: last.and_then(standing::next_step).or_else(|| held.as_ref().map(|_| resume(service))),
            last: last.map(view),
            away: away(last.into_iter().chain(verified.iter().copied())),
            running: running.map(view),
            waiting: recorded.waiting().map(view),
            held,
            guards: Vec::new(),
            watch: None,
            schedule: None,
            incidents: Vec::new(),
            owed: Vec::new(),
            hosts: Vec::new(),
            rollback_candidates: candidates(&older, &verified, seen.images.as_ref()),
        }
    }

    /// How each service stands, in a word, for those who ask for all of them again and again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn standings(&self, services: &[&Service]) -> Result<Vec<Standing>, StoreError> {
        let asked: Vec<_> = services.iter().map(|service| (&service.name, 1)).collect();
        let all = self.store.recorded(&asked).await?;
        let until = Instant::now() + PATIENCE;
        let looks = services.iter().zip(&all).enumerate().map(|(at, (service, recorded))| {
            let look = self.standing(service, recorded, until).map(move |standing| (at, standing));
            (service.stack.is_here(), look.boxed())
        });
        let mut standings: Vec<(usize, Standing)> = as_seen(looks).collect().await;
        standings.sort_by_key(|(at, _)| *at);
        Ok(standings.into_iter().map(|(_, standing)| standing).collect())
    }

    async fn standing(&self, service: &Service, recorded: &Recorded, until: Instant) -> Standing {
        let Some(engine) = self.engine(service) else {
            return self.state_elsewhere(service, recorded, until).await.standing;
        };
        let seen = self.look_at_service(service, &engine, recorded, false, until).await;
        standing_of(service, engine.words(), recorded, &seen)
    }

    /// Looks at a stack. The host's images are listed only where they are asked for, or where the names of the containers' images do
    /// not say enough.
    async fn look_at_service(
        &self,
        service: &Service,
        engine: &Engine,
        recorded: &Recorded,
        wants_images: bool,
        until: Instant,
    ) -> Arc<Seen> {
        let changes = recorded.running().is_some() || recorded.may_run().is_some();
        let share = async |with_images: bool| {
            let look = async { Arc::new(look_at_stack(engine, changes, with_images, until).await) };
            self.seen.share((service.name.clone(), changes, with_images), look).await
        };
        let seen = share(wants_images).await;
        let is_unsure = recorded.live().is_some_and(|live| seen.containers.as_ref().is_ok_and(|all| standing::is_unsure(live, all)));
        if is_unsure && !wants_images { share(true).await } else { seen }
    }
}

/// What is seen of services, as soon as it is: those of this host (`true`) have one daemon, which is asked for one after the other; hosts
/// elsewhere do not wait for each other.
fn as_seen<'l, T: Send + 'l>(looks: impl Iterator<Item = (bool, BoxFuture<'l, T>)>) -> impl Stream<Item = T> + Send + Unpin + 'l {
    let (here, there): (Vec<_>, Vec<_>) = looks.partition(|(is_here, _)| *is_here);
    let here = stream::iter(here).then(|(_, look)| look);
    let there: FuturesUnordered<_> = there.into_iter().map(|(_, look)| look).collect();
    stream::select(here, there)
}

/// What a forge is still to be told.
fn owed_result(config: &Config, debt: &Debt) -> Option<api::OwedResult> {
    let (Message::Status(news) | Message::Deployment(news)) = &debt.message else { return None };
    let kind = if matches!(debt.message, Message::Status(_)) { "status" } else { "deployment" };
    Some(api::OwedResult {
        deployment: news.of.clone(),
        what: format!("{kind} {}", news.says.as_str()),
        since_ms: debt.since_ms,
        tries: debt.tries,
        why: debt.why.clone(),
        refused_ms: debt.refused_ms,
        retry_ms: results::retried_ms(config, debt),
    })
}

fn standing_of(service: &Service, words: Words, recorded: &Recorded, seen: &Seen) -> Standing {
    // One that cannot be read may be at work, so nothing is said as if nothing ran.
    if let Some(error) = recorded.may_run() {
        return Standing { word: Word::Unknown, why: Some(error.to_string()), mend: None };
    }
    standing::standing(&Now {
        service: &service.name,
        words,
        live: recorded.live(),
        running: recorded.running(),
        changed: recorded.last_change.as_ref(),
        containers: seen.containers.as_ref().map(|all| all.as_slice()).map_err(Clone::clone),
        pinned: seen.pinned.as_deref().map_err(Clone::clone),
        images: seen.images.as_ref(),
        files: seen.files.as_ref().filter(|_| service.files.is_some()),
        at_ms: clock::now_ms(),
    })
}

async fn look_at_stack(engine: &Engine, changes: bool, wants_images: bool, until: Instant) -> Seen {
    let (containers, pinned) = tokio::join!(containers_of(engine, changes, until), pinned(engine, until));
    let never = Cancel::default();
    let listed =
        if containers.is_ok() && wants_images { timeout_at(until, engine.images(&never)).await.ok().and_then(Result::ok) } else { None };
    let files = timeout_at(until.max(Instant::now() + MOMENT), engine.files_laid()).await.ok().and_then(Result::ok).flatten();
    Seen { containers, pinned, images: listed, files }
}

/// Why CI's orders are refused.
pub(super) fn held(service: &Service, hold: &Result<Option<Hold>, StoreError>) -> Option<String> {
    let hold = match hold {
        Ok(hold) => hold.as_ref()?,
        Err(error) => return Some(error.to_string()),
    };
    let since = clock::utc(hold.since_ms);
    let why = match hold.kind {
        HoldKind::Rollback => format!("the rollback {} has held the service since {since}", hold.by),
        HoldKind::NeedsOperator => format!("deployment {} has needed an operator since {since}", hold.by),
    };
    Some(format!("{why}; `{}` lets CI deploy again", resume(service)))
}

pub(super) fn resume(service: &Service) -> String {
    format!("tagalong resume {}", service.name)
}

/// The stack's containers: as they were observed, but where something changes them just now; or why they cannot be seen.
async fn containers_of(engine: &Engine, changes: bool, until: Instant) -> Result<Arc<Vec<Container>>, String> {
    let at_most = if changes { Duration::ZERO } else { AGE };
    let never = Cancel::default();
    let seen = timeout_at(until, engine.observed(at_most, &never)).await;
    let seen = seen.map_err(|_| format!("{} said nothing for {} s", engine.words().name, PATIENCE.as_secs()))?;
    seen.map(|seen| seen.containers).map_err(|error| error.to_string())
}

/// What the stack's files pin, or why they cannot be read.
async fn pinned(engine: &Engine, until: Instant) -> Result<Vec<PinnedNow>, String> {
    let read = timeout_at(until.max(Instant::now() + MOMENT), engine.current()).await;
    let read = read.map_err(|_| format!("the stack's files could not be read within {} s", PATIENCE.as_secs()))?;
    read.map_err(|error| error.to_string())
}

fn pin_text(pin: &PinnedNow) -> String {
    pin.value.as_ref().map_or_else(|| format!("{} (nothing)", pin.image), |value| format!("{}:{value}", pin.image))
}

fn container(one: &Container) -> api::Container {
    api::Container {
        host: None,
        service: one.service.clone(),
        name: one.name.clone(),
        state: one.state.to_string(),
        health: one.health.word().map(str::to_owned),
        image: one.image.clone(),
        image_id: one.image_id.clone(),
        exit_code: (!one.is_running()).then_some(one.exit_code),
        started_at: one.started_at.clone(),
    }
}

/// Why nothing happens that should. What a deployment does is nothing of the kind, unless what it needs does not answer.
fn blocked(service: &Service, running: Option<&Deployment>, engine_fault: Option<&String>) -> Option<String> {
    if let Some(one) = running {
        return engine_fault.map(|fault| format!("{}; {fault}", standing::at_work(one)));
    }
    let holders = service.stack.dir().map(landing::holders).unwrap_or_default();
    let stranger = holders.iter().find(|holder| !holder.is_ours);
    stranger.map(|holder| format!("process {} ({}) holds the lock of the stack", holder.pid, holder.command)).or(engine_fault.cloned())
}

/// The verified releases before the live one, each content once, newest first.
pub(super) fn older<'a>(live: Option<&'a Deployment>, verified: &[&'a Deployment], keep: usize) -> Vec<&'a Deployment> {
    let mut older: Vec<&Deployment> = Vec::new();
    for one in verified.iter().copied() {
        if !live.iter().chain(&older).any(|newer| same_content(newer, one)) {
            older.push(one);
        }
    }
    older.truncate(keep.saturating_sub(1));
    older
}

/// Where one can go back to. Images that could not be listed are not said to be gone.
pub(super) fn candidates(older: &[&Deployment], verified: &[&Deployment], listed: Option<&Images>) -> Vec<api::Candidate> {
    let is_gone = |image: &&ImageRef| listed.is_some_and(|listed| listed.id_of(image).is_none());
    let candidate = |one: &&Deployment| api::Candidate {
        deployment: one.id.clone(),
        tag: one.images.first().and_then(|image| image.tag.clone()),
        images: one.images.iter().map(ToString::to_string).collect(),
        gone: one.images.iter().filter(is_gone).map(ToString::to_string).collect(),
        at_ms: one.ended_ms.unwrap_or(one.created_ms),
        left: was_left(verified, one),
    };
    older.iter().map(candidate).collect()
}

/// A stored deployment as the API shows it.
#[must_use]
pub fn view(stored: &Deployment) -> api::Deployment {
    let summary = match &stored.state {
        State::Done { outcome } => Some(outcome.summary(stored.order.kind)),
        _ => None,
    };
    let is_waiting = matches!(stored.state, State::Waiting { .. });
    api::Deployment {
        id: stored.id.clone(),
        service: stored.order.service.clone(),
        kind: stored.order.kind,
        state: stored.state.clone(),
        summary,
        waits_why: stored.waits_why.clone().filter(|_| is_waiting),
        waits_since_ms: stored.waits_since_ms.filter(|_| is_waiting),
        approval: stored.approved.as_ref().map(|approved| api::Approval {
            images: approved.images.clone(),
            by: approved.by.clone(),
            needed: None,
            approvers: Vec::new(),
            until_ms: None,
        }),
        tag: stored.order.tag.clone().or_else(|| stored.images.first()?.tag.clone()),
        images: stored.images.iter().map(ToString::to_string).collect(),
        verified: stored.verified,
        commit: stored.order.commit.clone(),
        git_ref: stored.order.git_ref.clone(),
        run_url: stored.order.run_url.clone(),
        run_number: stored.order.run_number,
        actor: stored.order.actor.clone(),
        cause: stored.order.cause.as_ref().map(ToString::to_string),
        reason: stored.order.reason.clone(),
        caller: stored.order.caller.to_string(),
        ran_before: stored.ran_before.clone(),
        report: stored.report.clone(),
        away: stored.away,
        created_ms: stored.created_ms,
        started_ms: stored.started_ms,
        ended_ms: stored.ended_ms,
        took_ms: stored.started_ms.zip(stored.ended_ms).map(|(from, to)| to - from),
        hosts: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::PATIENCE;
    use super::containers_of;
    use crate::config::ComposeStack;
    use crate::config::Docker;
    use crate::config::PinChoice;
    use crate::engine::Daemon;
    use crate::engine::Engine;

    #[tokio::test]
    async fn a_docker_that_hangs_is_waited_for_once_for_all_services() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("docker");
        std::fs::write(&program, "#!/bin/sh\nexec sleep 60\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let docker = Docker {
            program: program.display().to_string(),
            path: "/usr/bin:/bin".into(),
            home: "/".into(),
            host: None,
            config_dir: None,
            wait: Duration::ZERO,
        };
        let daemon = Daemon::new(docker, Arc::default());
        let until = Instant::now() + Duration::from_millis(100);
        for project in ["one", "two", "three"] {
            let stack =
                ComposeStack { dir: "/".into(), files: Vec::new(), project: project.into(), pins: Vec::new(), mode: PinChoice::Auto };
            let engine = Engine::new(&daemon, &stack);
            assert_eq!(containers_of(&engine, false, until).await.unwrap_err(), "Docker said nothing for 5 s", "{project}");
        }
        assert!(until.elapsed() < PATIENCE, "each was waited for by itself: {:?}", until.elapsed());
    }
}
