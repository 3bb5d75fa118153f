//! Resolves a tag to a digest, and checks that the host has room for the image.

use crate::engine::EngineError;
use crate::engine::Room;
use crate::engine::Server;
use crate::landing::files;
use crate::landing::release::Release;
use crate::landing::seen;
use crate::landing::site::Site;
use crate::landing::stop::Fault;
use crate::landing::stop::Stop;
use crate::model::CommitName;
use crate::model::Digest;
use crate::model::Guard;
use crate::model::ImageRef;
use crate::model::OrderKind;
use crate::model::Repository;
use crate::model::Step;
use crate::model::Tag;
use crate::registry::RegistryError;
use crate::registry::Resolved;

/// The label by which an image says that it must not be rolled back past.
const BARRIER: &str = "tagalong.no-rollback-past";
/// The label by which an image says which commit it was built from.
const REVISION: &str = "org.opencontainers.image.revision";

/// Resolves the tag to a digest at the registry; a rollback takes it from the record, which has `recorded` of this release.
pub(super) async fn resolve(site: &mut Site<'_>, recorded: Release) -> Result<Release, Stop> {
    site.begin(Step::Resolve, "resolve the tag to a digest").await?;
    if site.order.kind == OrderKind::Repair {
        return last_verified(site).await;
    }
    if site.order.kind == OrderKind::Rollback && !recorded.images.is_empty() {
        site.record.journal.note(format!("from the record: {recorded}"));
        let files = files::of_record(site, &recorded).await?;
        return Ok(Release { files, ..recorded });
    }
    let tag = site.order.tag.clone().ok_or_else(|| Fault::Record("the order does not name a tag.".into()))?;
    let server = site.host.docker.get_or_try_init(|| site.engine.server(&site.cancel)).await?.clone();
    let mut release = Release { barrier: recorded.barrier, ..Release::default() };
    for pin in site.service.stack.pins().to_vec() {
        let (image, barrier) = match ask(site, &pin.image, &tag, &server).await? {
            Ok(found) => at_the_registry(site, &pin.image, &tag, found, &server).await?,
            Err(silence) => on_this_host(site, &pin.image, &tag, silence, &server).await?,
        };
        release.barrier |= barrier;
        release.images.push(image);
    }
    release.barrier |= site.service.no_rollback_past.contains(&tag);
    let digests: Vec<String> = release.images.iter().map(|image| image.digest.to_string()).collect();
    site.record.journal.note(format!("{tag} is {}", digests.join(", ")));
    release.files = files::of_order(site).await?;
    Ok(release)
}

/// The release that is live in the record at this moment: another one may have become so while the order waited.
async fn last_verified(site: &mut Site<'_>) -> Result<Release, Stop> {
    let newest = site.record.past.verified().await?.into_iter().next();
    let none = || Stop::refused(Guard::NoTarget, "there is no verified release that could be deployed again.");
    let live = newest.ok_or_else(none)?.map_err(|error| Fault::Record(error.to_string()))?;
    let release = Release { verified_with: live.report.clone().map(Box::new), ..Release::recorded(&live) };
    site.record.journal.note(format!("{} landed it: {release}", live.id));
    site.order.tag = release.images.first().and_then(|image| image.tag.clone());
    site.order.commit = live.order.commit;
    Ok(release)
}

/// What the registry says; or, where it says nothing, that as a fault.
async fn ask(site: &Site<'_>, image: &Repository, tag: &Tag, server: &Server) -> Result<Result<Resolved, Fault>, Stop> {
    let live = site.host.live();
    let asked = live.registries.resolve(image, Some(tag), None, (&server.os, &server.arch));
    match site.within(site.service.deadlines.resolve, "the registry", asked).await {
        Ok(Err(error @ (RegistryError::Unreachable { .. } | RegistryError::Odd { .. }))) => Ok(Err(Fault::Registry(error))),
        Err(Stop::Fault(silence)) => Ok(Err(silence)),
        Ok(answer) => Ok(Ok(answer?)),
        Err(stop) => Err(stop),
    }
}

/// The image and whether it must not be rolled back past, as the registry has it.
async fn at_the_registry(
    site: &mut Site<'_>,
    repository: &Repository,
    tag: &Tag,
    found: Resolved,
    server: &Server,
) -> Result<(ImageRef, bool), Stop> {
    if let Some(expected) = site.order.digest.as_ref().filter(|expected| **expected != found.digest) {
        let why = format!(
            "the tag {tag} of {repository} has the digest {} in the registry, but the order expects {expected}; the tag was moved.",
            found.digest
        );
        return Err(Stop::refused(Guard::DigestMismatch, why));
    }
    match site.engine.room_for(server, repository, found.size_bytes).await? {
        Room::Enough => {}
        Room::Unknown(why) => site.record.journal.note(why),
        Room::TooLittle(why) => return Err(Stop::refused(Guard::Disk, why)),
    }
    let label = |wanted: &str| found.labels.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    is_of_its_commit(site, repository, label(REVISION))?;
    let barrier = label(BARRIER) == Some("true");
    Ok((ImageRef { repository: repository.clone(), tag: Some(tag.clone()), digest: found.digest, loaded: false }, barrier))
}

/// Where the checks of the order's commit had to be green, an image that says itself that it was built from another commit is not the
/// one that was checked.
fn is_of_its_commit(site: &Site<'_>, repository: &Repository, revision: Option<&str>) -> Result<(), Stop> {
    let wants_checks = site.service.source.as_ref().is_some_and(|source| source.admission.checks.is_some());
    let is_checked = wants_checks && site.order.kind == OrderKind::Deploy;
    match (site.order.commit.as_deref().filter(|_| is_checked), revision) {
        (Some(commit), Some(revision)) if names_another(commit, revision) => {
            let revision: String = text::without_controls(revision).chars().take(100).collect();
            let why = format!(
                "the image of {repository} was built from {revision}, as its label {REVISION} says, but the order is for the commit {commit}; \
                 order the commit of the image, or set the label when the image is built if it is inherited from a base image."
            );
            Err(Stop::refused(Guard::Checks, why))
        }
        _ => Ok(()),
    }
}

/// Whether `revision` is the name of another commit than `commit`; either may be abbreviated.
fn names_another(commit: &str, revision: &str) -> bool {
    let (Ok(commit), Ok(revision)) = (CommitName::parse(commit), CommitName::parse(revision)) else { return false };
    !commit.as_str().starts_with(revision.as_str()) && !revision.as_str().starts_with(commit.as_str())
}

/// The image of a host without a network: `docker load` brought it under this tag. Only where the service says so, since
/// nobody can tell whether the tag means the same at the registry.
async fn on_this_host(
    site: &mut Site<'_>,
    repository: &Repository,
    tag: &Tag,
    silence: Fault,
    server: &Server,
) -> Result<(ImageRef, bool), Stop> {
    let name = format!("{repository}:{tag}");
    let load = site.engine.words().load;
    let found = match site.engine.image(&name, &site.cancel).await {
        // Only a hint hangs on it, and the registry's silence is the reason.
        Err(error) if !site.service.loaded_images && !matches!(error, EngineError::Cancelled { .. }) => None,
        found => found?,
    };
    let image = match found {
        Some(image) if site.service.loaded_images => image,
        Some(_) => {
            let why = format!(
                "{silence} {name} is on this host, however; set loaded_images = true to deploy images that were loaded with `{load}`."
            );
            return Err(Fault::Image(why).into());
        }
        None if site.service.loaded_images => {
            let why = format!("{silence} {name} is not on this host either; load it with `{load}`.");
            return Err(Fault::Image(why).into());
        }
        None => return Err(silence.into()),
    };
    is_of_its_commit(site, repository, image.labels.get(REVISION).map(String::as_str))?;
    let platform = format!("{}/{}", server.os, server.arch);
    if image.platform != platform && !image.platform.starts_with(&format!("{platform}/")) {
        let why = format!("{name} on this host is for {}, and this host is {platform}.", image.platform);
        return Err(Stop::refused(Guard::Platform, why));
    }
    let (digest, loaded) = match seen::digest_of(&image, repository) {
        Some(digest) => (digest, false),
        None => (Digest::parse(&image.id).map_err(|error| Fault::Image(error.to_string()))?, true),
    };
    if let Some(expected) = site.order.digest.as_ref().filter(|expected| **expected != digest) {
        let why =
            format!("the order expects {expected}, but {name} on this host has the digest {digest}, and the registry cannot be reached.");
        return Err(Stop::refused(Guard::DigestMismatch, why));
    }
    site.record.journal.warning(format!("{silence} Using {name} as it is on this host"));
    let barrier = image.labels.get(BARRIER).is_some_and(|value| value == "true");
    Ok((ImageRef { repository: repository.clone(), tag: Some(tag.clone()), digest, loaded }, barrier))
}

#[cfg(test)]
mod tests {
    use super::names_another;

    #[test]
    fn only_the_name_of_another_commit_is_another_one() {
        let commit = "1f0c9e2a7d4105b3c8e6f9012345678901234567";
        for (order, revision, is_another) in [
            (commit, commit, false),
            (commit, "1F0C9E2", false),
            ("1f0c9e2", commit, false),
            (commit, "2f0c9e2", true),
            ("1f0c9e3", commit, true),
            // No name of a commit, so it says nothing.
            (commit, "v1.0", false),
            (commit, "", false),
        ] {
            assert_eq!(names_another(order, revision), is_another, "{order} {revision}");
        }
    }
}
