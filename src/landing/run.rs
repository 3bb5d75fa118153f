//! The story of one run.
//!
//! [`story`] reads aloud what happens: each step takes what the ones before it gave, and its details stand in a file of its name.
//! A rollback, an adoption and a restart enter by the same function, [`land`]. Whatever goes wrong from the pin on is `undo.rs`'s.

use process::Cancel;
use process::HostLock;

use crate::config::WatchTerms;
use crate::engine::Engine;
use crate::landing::adopt::adopt;
use crate::landing::bring_up::bring_up;
use crate::landing::claimed::Claimed;
use crate::landing::claimed::Objection;
use crate::landing::hooks;
use crate::landing::host::Host;
use crate::landing::lock;
use crate::landing::lock::Stake;
use crate::landing::myself;
use crate::landing::pin::may_replace;
use crate::landing::pin::pin;
use crate::landing::preflight::preflight;
use crate::landing::pull::pull;
use crate::landing::record::Record;
use crate::landing::release::Release;
use crate::landing::resolve::resolve;
use crate::landing::restart;
use crate::landing::restart::Left;
use crate::landing::retain;
use crate::landing::site::Site;
use crate::landing::stop::Fault;
use crate::landing::stop::Stop;
use crate::landing::undo;
use crate::model::Approved;
use crate::model::Guard;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Step;
use crate::store::StoreError;

/// How often an order is started from the beginning.
const MOST_ATTEMPTS: i64 = 3;

/// Carries out an order, or finishes one that was interrupted by a restart. When this returns, its outcome is stored and announced;
/// none: this run must not or cannot store an outcome, and the next round continues it.
pub async fn land(host: &Host, claimed: Claimed, engine: Engine, record: Record, cancel: Cancel) -> Option<Outcome> {
    let Claimed { deployment, service, lease, recovered, objection } = claimed;
    if deployment.cancel_by.is_some() {
        cancel.cancel();
    }
    let left = Left::recorded(&deployment).filter(|_| recovered);
    let entry = match left {
        Some(left) => Entry::Behind(Box::new(left)),
        None => Entry::Anew(Anew {
            recovered,
            attempts: deployment.attempts,
            objection,
            recorded: Release::recorded(&deployment),
            approved: deployment.approved,
        }),
    };
    let engine = engine.acting_for(lease.clone());
    let mut site = Site { host, service, order: deployment.order, engine, lease, lock: None, record, cancel, watched: None };
    if recovered {
        lock::end_left_behind(&mut site).await;
    }
    // The future of a run is large; boxing it keeps the callers' futures small.
    let (ended, lock) = Box::pin(enter(&mut site, entry)).await;
    let outcome = ended
        .map_err(
            |error| tracing::error!(deployment = %site.record.id(), %error, "this run ended without an outcome; the next run continues it"),
        )
        .ok()?;
    end(site, &outcome, lock).await.then_some(outcome)
}

/// Where a run starts.
enum Entry {
    /// At the beginning: nothing was changed yet.
    Anew(Anew),
    /// After the pin, where an earlier run was interrupted.
    Behind(Box<Left>),
}

/// An order at its beginning.
struct Anew {
    recovered: bool,
    attempts: i64,
    objection: Option<Objection>,
    /// What the record has of its release.
    recorded: Release,
    /// What was approved of it; none: it needed no approval.
    approved: Option<Approved>,
}

/// Carries it out under the stack's lock, which is held on until it is let go.
async fn enter(site: &mut Site<'_>, entry: Entry) -> (Result<Outcome, StoreError>, Option<HostLock>) {
    let stake = match stake(site, &entry).await {
        Ok(stake) => stake,
        Err(error) => return (Err(error), None),
    };
    let lock = match lock::take(site, stake).await {
        Ok(lock) => lock,
        Err(stop) => return (without_lock(site, stake, stop).await, None),
    };
    let voice = site.record.journal.voice();
    site.lock = Some(lock.file());
    site.engine = site.engine.clone().locked(lock.file()).patient(move |line| voice.warning(line));
    if site.order.kind == OrderKind::Repair {
        site.engine = site.engine.mending();
    }
    // The future of the story is large; boxing it keeps the callers' futures small.
    let landed = match entry {
        Entry::Anew(anew) => Box::pin(story(site, anew)).await,
        Entry::Behind(left) => Box::pin(restart::go_on(site, *left)).await,
    };
    let ended = match landed {
        Ok(outcome) => Ok(outcome),
        Err(stop) => undo::nothing_changed(site, stop).await,
    };
    (ended, Some(lock))
}

/// The story.
async fn story(site: &mut Site<'_>, mut anew: Anew) -> Result<Outcome, Stop> {
    let approved = anew.approved.take();
    let recorded = asked(site, anew).await?;
    if site.order.kind == OrderKind::Adopt {
        return adopt(site).await;
    }
    let release = resolve(site, recorded).await?;
    is_what_was_approved(site, approved.as_ref(), &release)?;
    let ground = preflight(site, &release).await?;
    if site.order.dry_run {
        return Ok(Outcome::DryRun { would_pin: release.to_string() });
    }
    hooks::before(site, &release, &ground).await?;
    pull(site, &release, &ground).await?;
    myself::proves_itself(site, &release, &ground).await?;
    let pinned = pin(site, release, ground).await?;
    if let Err(stop) = may_replace(site, &pinned).await {
        return undo::take_back(site, pinned.into(), stop).await;
    }
    match bring_up(site, &pinned).await {
        Ok(outcome) => Ok(outcome),
        Err(stop) => Ok(undo::unwind(site, pinned.into(), stop).await?),
    }
}

/// The order whose turn it is, which a guard may have something against. Gives what the record has of its release.
async fn asked(site: &mut Site<'_>, anew: Anew) -> Result<Release, Stop> {
    if anew.recovered {
        site.engine.ready(&site.cancel).await?;
    }
    let service = &site.service.name;
    let order = &site.order;
    let journal = &mut site.record.journal;
    let tag = order.tag.as_ref().map_or_else(|| "the recorded image".to_owned(), ToString::to_string);
    let title = match order.kind {
        OrderKind::Deploy => format!("{service}: deploy {tag}"),
        OrderKind::Rollback => format!("{service}: roll back to {tag}"),
        OrderKind::Adopt => format!("{service}: adopt the running release"),
        OrderKind::Repair => format!("{service}: deploy the last verified release again ({tag})"),
    };
    journal.step(Step::Guards, &title);
    let why = order.reason.as_ref().map_or(String::new(), |why| format!(": {why}"));
    journal.note(format!("ordered by {}{why}", order.caller));
    if anew.attempts > MOST_ATTEMPTS {
        return Err(Fault::EndedOften(anew.attempts - 1).into());
    }
    anew.objection.map_or(Ok(anew.recorded), |objection| Err(Stop::Refused(objection)))
}

/// An approval is for exact images: when the tag has been moved since, nobody has approved what would be landed. Nor does a host land
/// anything else than the images that its control plane names.
fn is_what_was_approved(site: &mut Site<'_>, approved: Option<&Approved>, release: &Release) -> Result<(), Stop> {
    let Some(approved) = approved else { return Ok(()) };
    let is_it = approved.is_for(&release.images);
    if approved.by.is_empty() {
        if is_it {
            return Ok(());
        }
        let why = format!(
            "the control plane orders {}, but the tag means {release} on this host; the tag was moved, or another host has said what is \
             not so. Order it again.",
            approved.images.join(", ")
        );
        return Err(Stop::refused(Guard::DigestMismatch, why));
    }
    if is_it {
        site.record.journal.note(format!("approved by {}", approved.names()));
        return Ok(());
    }
    let why = format!(
        "{} approved {}, but the tag was moved since and would land {release}; order it again, so that this can be approved.",
        approved.names(),
        approved.images.join(", ")
    );
    Err(Stop::refused(Guard::Approval, why))
}

/// What the run leaves undone where it does not get the lock.
async fn stake(site: &Site<'_>, entry: &Entry) -> Result<Stake, StoreError> {
    if matches!(entry, Entry::Behind(_)) {
        return Ok(Stake::Own);
    }
    let left = site.record.past.left_half_way(&site.order).await?;
    Ok(if left.is_some() { Stake::PreEmpted } else { Stake::Nothing })
}

/// From an order that did not get the lock to an outcome: it has touched nothing.
async fn without_lock(site: &mut Site<'_>, stake: Stake, stop: Stop) -> Result<Outcome, StoreError> {
    let changed = stake == Stake::Own;
    if let Stop::Fault(fault) = &stop {
        site.record.count(fault);
    }
    Ok(match stop {
        Stop::Lost(error) => return Err(error),
        Stop::Cancelled => Outcome::Cancelled { by: site.record.cancelled_by().await?, changed, brought_back: false },
        Stop::Fault(fault) if changed => Outcome::RollbackFailed { why: fault.to_string(), and: "no undo was possible.".into() },
        Stop::Fault(fault) => Outcome::Failed { why: fault.to_string() },
        Stop::Refused(Objection { why, .. }) | Stop::OldFault(why) => Outcome::Failed { why },
    })
}

/// How the release is watched from its outcome on. What is gone back to was verified before, and what is adopted or repaired was already
/// live: going further back from there is a person's to decide.
fn watch_of(site: &Site<'_>, outcome: &Outcome) -> Option<WatchTerms> {
    let is_new = site.order.kind == OrderKind::Deploy && matches!(outcome, Outcome::Live { .. });
    site.service.watch.release.filter(|_| is_new)
}

/// Stores and tells how the page answered meanwhile and the outcome, lets go of the lock, then removes images that nothing needs any
/// more. Returns whether this run
/// could say how it ended.
async fn end(site: Site<'_>, outcome: &Outcome, lock: Option<HostLock>) -> bool {
    let watch = watch_of(&site, outcome);
    let Site { host, service, engine, lease, lock: held, mut record, watched, .. } = site;
    if let Some(watched) = watched
        && let Some(away) = watched.availability().await
    {
        record.tell_away(away).await;
    }
    let Some(past) = record.end(outcome, watch).await else { return false };
    // The engine's programs hold the lock as well.
    drop(engine);
    drop(held);
    drop(lock);
    if matches!(outcome, Outcome::Live { .. }) {
        // One without the lock that waits for nothing: whoever is next asks Docker himself.
        if let Some(engine) = host.engine(&service) {
            retain::retain(host, &past, &service, &engine.acting_for(lease)).await;
        }
    }
    true
}
