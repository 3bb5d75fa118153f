//! The story of one look.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock;
use crate::config::OnFailure;
use crate::config::Service;
use crate::model::DeploymentId;
use crate::model::IncidentKind;
use crate::model::Refusal;
use crate::model::WatchState;
use crate::orders::Served;
use crate::store::Found;
use crate::store::Looked;
use crate::store::OrderError;
use crate::store::Settled;
use crate::store::StoreError;
use crate::store::Then;
use crate::store::Watch;
use crate::store::Watched;
use crate::watch::Watcher;
use crate::watch::judge;
use crate::watch::judge::Judged;
use crate::watch::sight;
use crate::watch::sight::Sight;
use crate::watch::tell_closed;

/// How many bad looks running are needed to go back.
const BAD: i64 = 2;
/// How long a look may take.
const LONGEST: Duration = Duration::from_mins(5);

/// What came of the wish to go back.
enum Back {
    /// This order was placed.
    Placed(DeploymentId),
    /// It is left for a person, for this reason.
    Left(String),
    /// Not now: the next look decides.
    Later,
}

impl Watcher {
    /// One look at what was taken, and what follows from it.
    pub(super) async fn turn(&self, watch: &Watch) {
        // The future of a look is large; boxing it keeps the callers' futures small.
        let put_off = match Box::pin(self.look_at_release(watch)).await {
            Ok(is_recorded) => !is_recorded,
            Err(error) => {
                tracing::warn!(watch = watch.id(), %error, "a look could not be recorded; looking again");
                true
            }
        };
        if put_off && let Err(error) = self.store.put_off_watch(watch, clock::spread(watch.every)).await {
            tracing::warn!(watch = watch.id(), %error, "what was looked at is left until its lease ends");
        }
    }

    /// Whether there was a look that counts. A service is not looked at while something is deployed to it, and what was seen while that
    /// began counts for nothing.
    async fn look_at_release(&self, watch: &Watch) -> Result<bool, StoreError> {
        let config = self.config.now();
        let Some(service) = config.service(&watch.service) else { return Ok(false) };
        if self.has_ordered(watch).await? {
            return Ok(true);
        }
        let Some(served) = self.deployer.served(service).await? else { return Ok(false) };
        if let Watched::Release(id) = &watch.watched
            && !served.is_by(id)
        {
            self.store.end_watch(watch, WatchState::Overtaken, "Something else is live by now.", None).await?;
            return Ok(true);
        }
        let restarts: BTreeMap<String, u64> =
            watch.restarts.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        // A release that is watched has another look soon; a page on a schedule has the time that it has after a deployment.
        let within = if watch.watched == Watched::Page { watch.every / 2 } else { Duration::ZERO };
        let seeing = sight::see(&self.deployer, service, &served, within, &restarts);
        let Some(sight) = Box::pin(self.while_it_is_ours(watch, seeing)).await else { return Ok(false) };
        if !self.deployer.served(service).await?.is_some_and(|now| now.is_as(&served)) {
            return Ok(false);
        }
        self.conclude(watch, service, &served, &sight).await?;
        Ok(true)
    }

    /// An order was placed by whoever looked before, and could not record that any more.
    async fn has_ordered(&self, watch: &Watch) -> Result<bool, StoreError> {
        let Watched::Release(id) = &watch.watched else { return Ok(false) };
        match self.deployer.ordered_by_watch(id).await {
            Ok(Some(placed)) => {
                let why = watch.why.as_deref().unwrap_or("Two looks in a row were bad.");
                self.store.end_watch(watch, WatchState::WentBack, why, Some(&placed)).await?;
                Ok(true)
            }
            Ok(None) | Err(OrderError::Refused(_)) => Ok(false),
            Err(OrderError::Store(error)) => Err(error),
        }
    }

    /// The end of `looking`, as long as nobody else may look; none: somebody else may, or it takes too long.
    async fn while_it_is_ours<T>(&self, watch: &Watch, looking: impl Future<Output = T>) -> Option<T> {
        let lease = self.config.now().store.lease;
        let began = Instant::now();
        let mut renewed = began;
        let mut looking = pin!(looking);
        while began.elapsed() < LONGEST && renewed.elapsed() < lease * 3 / 4 {
            tokio::select! {
                seen = &mut looking => return Some(seen),
                () = tokio::time::sleep(lease / 4) => {}
            }
            let asked = Instant::now();
            match tokio::time::timeout(lease / 4, self.store.renew_watch(watch, lease)).await {
                Ok(Ok(true)) => renewed = asked,
                Ok(Ok(false)) => return None,
                Ok(Err(_)) | Err(_) => {}
            }
        }
        tracing::warn!(watch = watch.id(), "a look was ended, because it took too long or the database does not answer");
        None
    }

    /// Records what was seen and does what follows from it.
    async fn conclude(&self, watch: &Watch, service: &Service, served: &Served, sight: &Sight) -> Result<(), StoreError> {
        let judged = match watch.watched {
            Watched::Release(_) => judge::of_release(sight),
            Watched::Page => judge::of_service(sight),
        };
        let seen = service.watch.looks.as_ref().map(|terms| judge::incidents(&service.name, terms, sight)).unwrap_or_default();
        let mut looked = Looked {
            result: judged.result(),
            why: judged.why().map(str::to_owned),
            bad: judged.bad(watch.bad),
            restarts: sight.stack.as_ref().ok().and_then(|stack| serde_json::to_string(&stack.restarts).ok()),
            page: judge::for_plots(&sight.page),
            seen,
        };
        let then = match &watch.watched {
            Watched::Page => Then::Again(clock::spread(watch.every)),
            Watched::Release(id) => self.follow(watch, service, id, &judged, &mut looked).await,
        };
        tracing::debug!(watch = watch.id(), service = %service.name, live = %served.live.id, result = looked.result.as_str(), "looked");
        if let Some(settled) = self.store.record_look(watch, &looked, &then).await? {
            self.metrics.looks().count(&service.name, looked.result.as_str(), looked.page.as_ref().and_then(|page| page.latency_ms));
            Self::tell(&settled);
        }
        Ok(())
    }

    /// What becomes of the watch over the release that `id` has landed.
    async fn follow(&self, watch: &Watch, service: &Service, id: &DeploymentId, judged: &Judged, looked: &mut Looked) -> Then {
        let again = Then::Again(clock::spread(watch.every));
        match judged {
            Judged::ByHand(_) => Then::End(WatchState::Overtaken, None),
            Judged::Bad(why) if looked.bad >= BAD => match self.go_back(service, id, why).await {
                Back::Placed(order) => Then::End(WatchState::WentBack, Some(order)),
                Back::Left(why) => {
                    looked.seen.found.insert(0, left(service, id, &why));
                    looked.why = Some(why);
                    Then::End(WatchState::Left, None)
                }
                Back::Later => again,
            },
            Judged::Good | Judged::Blind(_) if watch.is_over() => Then::End(WatchState::Passed, None),
            Judged::Good | Judged::Blind(_) | Judged::Bad(_) => again,
        }
    }

    /// Places the order to go back, unless a person has to decide.
    async fn go_back(&self, service: &Service, id: &DeploymentId, why: &str) -> Back {
        if service.on_failure == OnFailure::Leave {
            return Back::Left(format!("{why} The stack is left as it is (on_failure = \"leave\")."));
        }
        let reason = format!("two looks in a row at the release of {id} were bad: {why}");
        match self.deployer.order_by_watch(service, id, &reason).await {
            Ok(accepted) => {
                tracing::warn!(service = %service.name, watched = %id, deployment = %accepted.id, why, "a release failed while it was watched and is rolled back");
                Back::Placed(accepted.id)
            }
            Err(OrderError::Refused(refusal)) if refusal.guard().is_some() => {
                Back::Left(format!("{why} It was not rolled back: {refusal}"))
            }
            Err(OrderError::Refused(Refusal::Overtaken(_))) => Back::Later,
            Err(error) => {
                tracing::error!(service = %service.name, watched = %id, %error, "the order to go back could not be placed; trying again");
                Back::Later
            }
        }
    }

    /// Says in the log what was opened and closed.
    fn tell(settled: &Settled) {
        for incident in &settled.opened {
            tracing::warn!(incident = %incident.id, service = %incident.service, kind = incident.kind.as_str(), what = incident.what, "incident opened");
        }
        for incident in &settled.closed {
            tell_closed(incident);
        }
    }
}

/// A release that did not hold and is left for a person.
fn left(service: &Service, id: &DeploymentId, why: &str) -> Found {
    let mend = Some(format!("tagalong rollback {}", service.name));
    Found {
        kind: IncidentKind::Watch,
        fault: format!("watch {id}"),
        what: format!("The release of {id} failed while it was watched: {why}"),
        mend,
    }
}
