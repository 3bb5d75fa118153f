//! Everything that can be known before anything changes, the running page's own faults among it.

use smoke::Report;

use crate::engine::Container;
use crate::landing::files;
use crate::landing::policy;
use crate::landing::release::Ground;
use crate::landing::release::Release;
use crate::landing::seen;
use crate::landing::site::Site;
use crate::landing::smoke_step;
use crate::landing::stop::Stop;
use crate::model::OrderKind;
use crate::model::Step;
use crate::store::Facts;

/// What `release` is landed on: the stack, what runs, and how its page looks.
pub(super) async fn preflight(site: &mut Site<'_>, release: &Release) -> Result<Ground, Stop> {
    let facts = Facts { images: Some(release.images.clone()), barrier: Some(release.barrier), ..Facts::default() };
    site.begin_with(Step::Preflight, "check whether the release can be deployed", &facts).await?;
    let files = files::ground(site, release).await?;
    let (resolved, before) = files::resolve(site, files.as_ref()).await?;
    policy::judge(site, &resolved)?;
    files::tell(site, release, &resolved, before.as_ref()).await?;
    let containers = site.engine.containers(&site.cancel).await?;
    let running: Vec<&Container> =
        seen::pinned(&resolved, &containers).filter(|one| one.is_running() && !resolved.is_only_changed(&one.service)).collect();
    if running.is_empty() {
        site.record.journal.note("no container of the stack is running");
        return Ok(Ground { files, resolved, ran_before: None, baseline: release.verified_with.as_deref().cloned() });
    }
    let ran_before = running.iter().map(|one| format!("{} ({})", one.service, one.image)).collect::<Vec<_>>().join(", ");
    site.record.journal.note(format!("running now: {ran_before}"));
    let pins = site.service.stack.pins();
    let tag = running.iter().find_map(|one| pins.iter().find_map(|pin| seen::tag_of(one, &pin.image)));
    // What is to be mended excuses nothing: the release must be as good as it was when it was verified.
    let baseline = match site.order.kind {
        OrderKind::Repair => release.verified_with.as_deref().cloned(),
        _ => look_at_the_page(site, tag.map(|tag| tag.to_string())).await?,
    };
    Ok(Ground { files, resolved, ran_before: Some(ran_before), baseline })
}

/// A check while Docker was unavailable says nothing about the running release, so it is repeated.
async fn look_at_the_page(site: &mut Site<'_>, tag: Option<String>) -> Result<Option<Report>, Stop> {
    let outages = site.engine.outages();
    let baseline = smoke_step::look_before(site, tag.clone()).await;
    let has_faults = baseline.as_ref().is_some_and(|report| report.errors().count() > 0);
    if !has_faults || !site.engine.was_away(outages).await {
        return Ok(baseline);
    }
    site.engine.ready(&site.cancel).await?;
    Ok(smoke_step::look_before(site, tag).await)
}
