//! The hooks of a service.

use std::collections::BTreeMap;

use process::Ended;

use crate::config::Hook;
use crate::config::HookKind;
use crate::engine::EngineError;
use crate::engine::HookPlace;
use crate::engine::Resolved;
use crate::landing::release::Ground;
use crate::landing::release::Leg;
use crate::landing::release::Release;
use crate::landing::site::Site;
use crate::landing::stop::Fault;
use crate::landing::stop::Stop;
use crate::model::Guard;
use crate::model::ImageRef;
use crate::model::Step;

/// A failing `before` hook stops the deployment with nothing changed.
pub(super) async fn before(site: &mut Site<'_>, release: &Release, ground: &Ground) -> Result<(), Stop> {
    let Some(hook) = site.service.hooks.before.clone() else { return Ok(()) };
    site.begin(Step::BeforeHook, &format!("before-hook: {}", hook.argv.join(" "))).await?;
    match run_through_outages(site, &hook, &release.images, &ground.resolved).await {
        Ended::Exit(0) => Ok(()),
        Ended::Cancelled => Err(Stop::Cancelled),
        ended => Err(Stop::refused(Guard::BeforeHook, format!("the before-hook {ended}."))),
    }
}

/// A failing `after` hook leaves the release live, with a warning.
pub(super) async fn after(site: &mut Site<'_>, leg: &Leg<'_>) -> Option<String> {
    let hook = site.service.hooks.after.clone()?;
    site.record.journal.note(format!("after-hook: {}", hook.argv.join(" ")));
    let ended = run(site, &hook, leg.images, leg.resolved).await;
    if ended == Ended::Exit(0) {
        return None;
    }
    let warning = format!("the after-hook {ended}");
    site.record.journal.warning(&warning);
    Some(warning)
}

/// The `undo` hook may restore a backup, so the previous release must not start before it has ended well.
pub(super) async fn undo(site: &mut Site<'_>, images: &[ImageRef], resolved: &Resolved) -> Result<(), Stop> {
    let Some(hook) = site.service.hooks.undo.clone() else { return Ok(()) };
    site.record.journal.note(format!("undo-hook: {}", hook.argv.join(" ")));
    match run_through_outages(site, &hook, images, resolved).await {
        Ended::Exit(0) => Ok(()),
        ended => Err(Fault::Hook { name: "undo", ended }.into()),
    }
}

/// Runs a hook that may run twice, as before the pin and in an undo it does after a restart of tagalong too: when Docker went
/// away while it ran and it failed, it is run again.
async fn run_through_outages(site: &mut Site<'_>, hook: &Hook, images: &[ImageRef], resolved: &Resolved) -> Ended {
    const MOST_TIMES: u32 = 3;
    for _ in 1..MOST_TIMES {
        let outages = site.engine.outages();
        let ended = run(site, hook, images, resolved).await;
        let has_failed = matches!(ended, Ended::Exit(1..) | Ended::Signal(_) | Ended::Deadline(_));
        if !has_failed || !site.engine.was_away(outages).await {
            return ended;
        }
        let engine = site.engine.words().name;
        site.record.journal.warning(format!("the hook {ended}; {engine} was unavailable meanwhile, so the hook is run again"));
    }
    run(site, hook, images, resolved).await
}

/// Runs a hook, once Docker answers; it is told what is landed by its environment.
async fn run(site: &mut Site<'_>, hook: &Hook, images: &[ImageRef], resolved: &Resolved) -> Ended {
    let place = match &hook.kind {
        HookKind::Host => HookPlace::Host,
        HookKind::Exec(service) => HookPlace::Exec(service.clone()),
        HookKind::Run(image) => HookPlace::Run(image.clone()),
    };
    match site.engine.ready(&site.cancel).await {
        Err(EngineError::Cancelled { .. }) => return Ended::Cancelled,
        Err(error) => return Ended::NotStarted(error.to_string()),
        Ok(()) => {}
    }
    let command = match site.engine.hook(resolved, &place, &hook.argv, &known(site, images), hook.deadline).await {
        Ok(command) => command,
        Err(error) => return Ended::NotStarted(error.to_string()),
    };
    let journal = &mut site.record.journal;
    match site.engine.run_hook(&command, &site.cancel, |_, line| journal.output(line)).await {
        Ok(ended) => ended,
        Err(error) => Ended::NotStarted(error.to_string()),
    }
}

/// What a hook is told.
fn known(site: &Site<'_>, images: &[ImageRef]) -> BTreeMap<String, String> {
    let images: Vec<String> = images.iter().map(ToString::to_string).collect();
    let known = [
        ("TAGALONG_SERVICE", site.service.name.to_string()),
        ("TAGALONG_DEPLOYMENT", site.record.id().to_string()),
        ("TAGALONG_TAG", site.order.tag.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("TAGALONG_IMAGES", images.join(" ")),
        ("TAGALONG_COMMIT", site.order.commit.clone().unwrap_or_default()),
    ];
    known.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
