//! Adoption: the running release is checked and recorded as verified; nothing is changed.

use crate::engine::Container;
use crate::engine::Resolved;
use crate::landing::bring_up;
use crate::landing::files;
use crate::landing::health;
use crate::landing::release::Leg;
use crate::landing::release::Way;
use crate::landing::seen;
use crate::landing::site::Site;
use crate::landing::smoke_step;
use crate::landing::stack;
use crate::landing::stop::Stop;
use crate::model::Digest;
use crate::model::Guard;
use crate::model::ImageRef;
use crate::model::Outcome;
use crate::model::Repository;
use crate::model::Step;
use crate::store::Facts;

/// Checks the running release and records it as verified; nothing is changed.
pub(super) async fn adopt(site: &mut Site<'_>) -> Result<Outcome, Stop> {
    site.begin(Step::Preflight, "what runs now").await?;
    let resolved = stack::resolve(site).await?;
    let containers = site.engine.containers(&site.cancel).await?;
    let mut images = Vec::new();
    for pin in site.service.stack.pins().to_vec() {
        let container = running(&resolved, &containers, &pin.image)?;
        images.push(image_of(site, container, &pin.image).await?);
    }
    site.record.journal.note(format!("runs {}", images.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    let files = files::adopted(site).await?;
    site.record.keep(Step::Preflight, &Facts { files, ..Facts::default() }).await?;
    let leg = Leg { way: Way::Landing, images: &images, resolved: &resolved, baseline: None };
    health::health(site, &leg).await?;
    let mut warnings = Vec::from_iter(smoke_step::smoke(site, &leg).await?);
    warnings.extend(bring_up::verified(site, &leg).await?);
    Ok(Outcome::Live { warnings, page_seen: site.service.smoke.is_some() })
}

/// A container that runs `image`.
fn running<'c>(resolved: &Resolved, containers: &'c [Container], image: &Repository) -> Result<&'c Container, Stop> {
    let used = resolved.uses.iter().find(|used| used.pin.image == *image);
    let is_one = |one: &&Container| one.is_running() && used.is_some_and(|used| used.services.contains(&one.service));
    let none = || Stop::refused(Guard::NothingRuns, format!("no container of {image} is running; deploy a tag instead."));
    containers.iter().find(is_one).ok_or_else(none)
}

/// The image that a container was made from, as it would be pinned.
async fn image_of(site: &Site<'_>, container: &Container, repository: &Repository) -> Result<ImageRef, Stop> {
    let found = site.engine.image(&container.image_id, &site.cancel).await?;
    let tag = seen::tag_of(container, repository);
    let known = found.as_ref().and_then(|image| seen::digest_of(image, repository));
    let loaded = known.is_none() && site.service.loaded_images && tag.is_some();
    let own = found.filter(|_| loaded).and_then(|image| Digest::parse(&image.id).ok());
    let unknown = || {
        let why = format!(
            "the image of {} has no digest in {repository}, because it was built on this host; push it and deploy its tag.",
            container.name
        );
        Stop::refused(Guard::NotFound, why)
    };
    Ok(ImageRef { repository: repository.clone(), tag, digest: known.or(own).ok_or_else(unknown)?, loaded })
}
