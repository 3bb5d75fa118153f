//! The second half of the story, where a restart may enter: everything in it can be done again.

use std::time::Duration;

use crate::engine::EngineError;
use crate::engine::Words;
use crate::landing::health;
use crate::landing::hooks;
use crate::landing::myself;
use crate::landing::pull;
use crate::landing::release::Leg;
use crate::landing::release::Pinned;
use crate::landing::retain;
use crate::landing::site::Site;
use crate::landing::smoke_step;
use crate::landing::stack;
use crate::landing::stop::Stop;
use crate::model::Outcome;
use crate::model::Part;
use crate::model::Step;
use crate::store::Facts;

/// Starts the pinned release and checks it; when this succeeds, the release is verified and recorded as such. Its step `up` has begun.
pub(super) async fn bring_up(site: &mut Site<'_>, pinned: &Pinned) -> Result<Outcome, Stop> {
    let leg = pinned.leg();
    let mut warnings = Vec::from_iter(serve(site, &leg).await?);
    warnings.extend(verified(site, &leg).await?);
    warnings.extend(hooks::after(site, &leg).await);
    Ok(Outcome::Live { warnings, page_seen: site.service.smoke.is_some() })
}

/// What is pinned is brought up, is healthy, and was looked at; its step up has begun. Where Docker went away meanwhile, whatever
/// failed is no fault of the release: once Docker is back, all of it is done again. Gives what a person should look at.
pub(super) async fn serve(site: &mut Site<'_>, leg: &Leg<'_>) -> Result<Option<String>, Stop> {
    const MOST_OUTAGES: u32 = 5;
    site.watch_page();
    for _ in 0..MOST_OUTAGES {
        let outages = site.engine.outages();
        let why = match serve_once(site, leg).await {
            Err(Stop::Fault(fault)) if site.engine.was_away(outages).await => fault.to_string(),
            Err(Stop::OldFault(why)) if site.engine.was_away(outages).await => why,
            done => return done,
        };
        let Words { name, up, .. } = site.engine.words();
        site.record.journal.warning(format!("{}. {name} was unavailable meanwhile, so this step is repeated", why.trim_end_matches('.')));
        site.engine.ready(&site.cancel).await?;
        site.begin(leg.way.up(), up).await?;
        stack::unedited(site, leg).await?;
    }
    serve_once(site, leg).await
}

async fn serve_once(site: &mut Site<'_>, leg: &Leg<'_>) -> Result<Option<String>, Stop> {
    match up(site, leg).await {
        Err(EngineError::Failed { .. }) if pull::fetch_if_gone(site, leg.images).await? => up(site, leg).await,
        done => done,
    }?;
    health::health(site, leg).await?;
    myself::has_taken_over(site, leg).await?;
    smoke_step::smoke(site, leg).await
}

async fn up(site: &mut Site<'_>, leg: &Leg<'_>) -> Result<(), EngineError> {
    let journal = &mut site.record.journal;
    site.engine.up(leg.resolved, site.service.deadlines.up, &site.cancel, |_, line| journal.output(line)).await
}

/// From here on the release counts as verified, whatever the after-hook does. Gives what a person should look at.
pub(super) async fn verified(site: &mut Site<'_>, leg: &Leg<'_>) -> Result<Vec<String>, Stop> {
    let parts = parts(site, leg).await;
    let facts = Facts { verified: Some(true), images: Some(leg.images.to_vec()), parts: Some(parts), ..Facts::default() };
    let title = if site.service.smoke.is_some() { "verified" } else { "healthy; the page was not looked at" };
    site.begin_with(Step::AfterHook, title, &facts).await?;
    Ok(retain::keep(site, leg.images).await)
}

/// What the stack consists of. A service that is in the compose file and was never started is named, and is no part of what has to
/// run.
async fn parts(site: &mut Site<'_>, leg: &Leg<'_>) -> Vec<Part> {
    const AGE: Duration = Duration::from_secs(3);
    let mut parts = leg.resolved.parts();
    // What cannot be seen now is taken to be there.
    let Ok(seen) = site.engine.observed(AGE, &site.cancel).await else { return parts };
    parts.retain(|part| {
        let is_there = part.is_pinned || seen.containers.iter().any(|one| one.service == part.name);
        if !is_there && !part.is_one_shot {
            site.record.journal.warning(format!(
                "the service {name} of the compose file has no container: a deployment starts only what uses the pinned image and what \
                 that depends on. `tagalong repair {service}` starts it, or give it a profile if it is not to run",
                name = part.name,
                service = site.service.name
            ));
        }
        is_there
    });
    parts
}
