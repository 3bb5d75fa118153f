//! A service that is the stack which tagalong itself runs in (`self = true`).
//!
//! Its story is the same as every other. It is told by a process in a container of its own, which stays while the stack is replaced,
//! and it asks two things more: before anything changes, the new version has to show in a container beside that it accepts the
//! configuration, reads the store and answers; and once it is healthy, that it works the queue. On the way back the second is asked of
//! the old version.

use std::path::Path;
use std::time::Duration;

use process::Passing;
use tokio::time::Instant;

use crate::engine::Beside;
use crate::engine::BesideKind;
use crate::engine::Own;
use crate::landing::release::Ground;
use crate::landing::release::Leg;
use crate::landing::release::Release;
use crate::landing::seen;
use crate::landing::site::Site;
use crate::landing::stop::Fault;
use crate::landing::stop::Stop;
use crate::model::Guard;
use crate::model::ImageRef;

/// How often it is looked who works the queue.
const LOOK: Duration = Duration::from_millis(500);

/// The new version shows, on a copy of the store and in a container that can change nothing, that it can take over.
pub(super) async fn proves_itself(site: &mut Site<'_>, release: &Release, ground: &Ground) -> Result<(), Stop> {
    if !site.service.is_self {
        return Ok(());
    }
    let own = own(site).await?;
    let Some(image) = image_of(&own, release, ground) else {
        site.record.journal.note("the image of tagalong itself stays as it is");
        return Ok(());
    };
    let live = site.host.live();
    let passing = folder(&live.passing_dir).map_err(|error| Fault::Record(format!("a copy of the store could not be made: {error}.")))?;
    let copy = site.record.copy_store(passing.path()).await?;
    let beside = trial(site, image, &live.config_file, copy.as_deref());
    site.record.journal.note(match copy {
        Some(_) => "the new version is tried beside this one, on a copy of the store",
        None => "the new version is tried beside this one; the database is only looked at",
    });
    let limit = site.service.health.deadline;
    let journal = &mut site.record.journal;
    let tried = site.engine.run_beside(&own, &beside, (&live.passing_dir, limit), &site.cancel, |_, line| journal.output(line)).await;
    tried.map_err(|error| match Stop::from(error) {
        Stop::Fault(fault) => Fault::Container(format!("the new version cannot take over: {}.", sentence(&fault))).into(),
        other => other,
    })
}

/// What went wrong, without its last stop.
fn sentence(fault: &Fault) -> String {
    fault.to_string().trim_end_matches('.').to_owned()
}

fn folder(place: &Path) -> std::io::Result<Passing> {
    std::fs::create_dir_all(place)?;
    Passing::within(place)
}

/// `tagalong prove` of the new version.
fn trial(site: &Site<'_>, image: &ImageRef, config: &Path, copy: Option<&Path>) -> Beside {
    let id = site.record.id();
    let mut args = vec!["--config".to_owned(), config.display().to_string(), "prove".to_owned(), id.to_string()];
    args.extend(copy.iter().flat_map(|copy| ["--copy".to_owned(), copy.display().to_string()]));
    Beside {
        name: format!("tagalong-trial-{}", id.as_str().to_lowercase()),
        image: image.by_digest(),
        deployment: id.to_string(),
        kind: BesideKind::Tries,
        program: None,
        args,
    }
}

/// The container beside which this process stands.
async fn own(site: &Site<'_>) -> Result<Own, Stop> {
    let own = site.engine.own(&site.cancel).await?;
    own.ok_or_else(|| Stop::refused(Guard::Stack, "tagalong does not run in a container of this stack, which self = true is for."))
}

/// What is ordered for the service that this process belongs to; none: nothing new.
fn image_of<'r>(own: &Own, release: &'r Release, ground: &Ground) -> Option<&'r ImageRef> {
    let used = ground.resolved.uses.iter().find(|used| used.services.contains(&own.service))?;
    release.images.iter().find(|image| image.repository.as_str() == used.pin.image.as_str())
}

/// Waits until the server that was brought up works the queue: by then it has read and written the store, and answers.
pub(super) async fn has_taken_over(site: &mut Site<'_>, leg: &Leg<'_>) -> Result<(), Stop> {
    if !site.service.is_self {
        return Ok(());
    }
    let limit = site.service.health.deadline;
    let began = Instant::now();
    loop {
        let containers = site.engine.containers(&site.cancel).await?;
        // A database that is away for a moment is asked again.
        let seat = site.record.seat().await.ok().flatten();
        let holder = seen::pinned(leg.resolved, &containers).find(|one| one.is_running() && seat.as_ref() == Some(&one.id));
        if let Some(holder) = holder {
            site.record.journal.note(format!("{} works the queue", holder.name));
            return Ok(());
        }
        if began.elapsed() >= limit {
            let why = format!("its containers are healthy, but none of them has taken the queue over within {} s.", limit.as_secs());
            return Err(Fault::Container(why).into());
        }
        tokio::select! {
            () = site.cancel.cancelled() => return Err(Stop::Cancelled),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
