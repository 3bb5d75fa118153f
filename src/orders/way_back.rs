//! Which release of the record an order is for, decided by facts alone.

use crate::model::Cause;
use crate::model::DeploymentId;
use crate::model::ImageRef;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Refusal;
use crate::model::RollbackTo;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::Tag;
use crate::store::Deployment;
use crate::store::Listed;
use crate::store::OrderError;
use crate::store::Releases;
use crate::store::StoreError;
use crate::store::Taken;
use crate::store::Wanted;

/// The order with what the record says about the release that it is for.
///
/// # Errors
/// When the record has no such release, or one that must not be landed, or cannot be read.
pub(super) fn release_of(order: &Order, wanted: &Wanted, releases: Releases) -> Result<Taken, OrderError> {
    let as_ordered = |images| Taken { order: order.clone(), images };
    match wanted {
        Wanted::Ordered => Ok(as_ordered(Vec::new())),
        Wanted::Recorded(images) => recorded(order, images, releases)?.ok_or_else(|| Refusal::NotVerified(order.service.clone()).into()),
        Wanted::Named(images) => Ok(recorded(order, images, releases)?.unwrap_or_else(|| as_ordered(Vec::new()))),
        Wanted::Back(to) => way_back(order, to, releases),
        Wanted::Before(undone) => before(order, undone, releases),
        Wanted::LastVerified => last_verified(order, releases),
    }
}

/// The last verified release with exactly these images; none: the record has no such release. One that cannot be read is none.
fn recorded(order: &Order, images: &[ImageRef], releases: Releases) -> Result<Option<Taken>, OrderError> {
    let (verified, _) = readable(releases.verified);
    let Some(old) = verified.iter().find(|old| !images.is_empty() && is_same(&old.images, images)) else { return Ok(None) };
    if !order.force {
        refuse_past_barrier(&order.service, &verified, old)?;
    }
    Ok(Some(landing(order, tag_landed(old), old)))
}

/// The last verified release, once more.
fn last_verified(order: &Order, releases: Releases) -> Result<Taken, OrderError> {
    let newest = releases.verified.into_iter().next();
    let live = newest.ok_or_else(|| Refusal::NothingToRepair(order.service.clone()))??;
    if let Some(left) = releases.last_change.transpose()? {
        refuse_repair_past_barrier(&live, &left)?;
    }
    let tag = live.images.first().and_then(|image| image.tag.clone());
    let taken = landing(order, tag, &live);
    Ok(Taken { order: Order { cause: Some(Cause::Repair(live.id)), ..taken.order }, ..taken })
}

/// What was verified before the deployment `undone`.
fn before(order: &Order, undone: &DeploymentId, releases: Releases) -> Result<Taken, OrderError> {
    let mut newer = Vec::new();
    for one in releases.verified {
        let one = one?;
        if one.id >= *undone {
            newer.push(one);
            continue;
        }
        if !order.force {
            refuse_past_barrier(&order.service, &newer, &one)?;
        }
        return Ok(landing(order, tag_landed(&one), &one));
    }
    Err(Refusal::NoPrevious(order.service.clone()).into())
}

/// The tag by which a release was ordered, or that its image has where it was ordered by its images.
fn tag_landed(old: &Deployment) -> Option<Tag> {
    old.order.tag.clone().or_else(|| old.images.first()?.tag.clone())
}

/// The order, which lands what `old` landed.
fn landing(order: &Order, tag: Option<Tag>, old: &Deployment) -> Taken {
    let digest = old.images.first().map(|image| image.digest.clone());
    let order = Order { tag, digest, commit: old.order.commit.clone(), ..order.clone() };
    Taken { order, images: old.images.clone() }
}

/// Where a rollback goes: the images of a verified release where the record has one.
///
/// # Errors
/// When there is nothing to go back to, something that must not be gone back past, or a release in between cannot be read.
fn way_back(order: &Order, to: &RollbackTo, releases: Releases) -> Result<Taken, OrderError> {
    let (verified, unreadable) = readable(releases.verified);
    let found = match to {
        RollbackTo::Previous => previous(&verified, &releases.unfinished, releases.last_change.as_ref()),
        RollbackTo::Tag(tag) => {
            verified.iter().find(|old| old.order.tag.as_ref() == Some(tag) || old.images.iter().any(|i| i.tag.as_ref() == Some(tag)))
        }
        RollbackTo::Deployment(id) => verified.iter().find(|old| &old.id == id),
    };
    if let Some((newer, error)) = unreadable.filter(|_| !order.force) {
        // It may be the one that is wanted, or one that must not be rolled back past.
        if !verified[..newer].iter().any(|one| found.is_some_and(|found| found.id == one.id)) {
            return Err(error.into());
        }
    }
    let Some(old) = found else { return Ok(unrecorded(order, to)?) };
    if !order.force {
        refuse_past_barrier(&order.service, &verified, old)?;
    }
    Ok(landing(order, tag_landed(old), old))
}

/// The releases that read; and how many of them are newer than the first that does not, with its fault.
fn readable(verified: Vec<Result<Deployment, StoreError>>) -> (Vec<Deployment>, Option<(usize, StoreError)>) {
    let mut read = Vec::new();
    let mut unreadable = None;
    for one in verified {
        match one {
            Ok(one) => read.push(one),
            Err(error) => {
                tracing::error!(%error, "a verified release cannot be restored");
                unreadable.get_or_insert((read.len(), error));
            }
        }
    }
    (read, unreadable)
}

/// The verified release to go back to: the last one while a newer is under way or failed, else the one before it. What does
/// not read may be under way, or may not have held.
fn previous<'a>(
    verified: &'a [Deployment],
    unfinished: &Listed,
    last_change: Option<&Result<Deployment, StoreError>>,
) -> Option<&'a Deployment> {
    let last = verified.first()?;
    for error in unfinished.unreadable.iter().chain(last_change.and_then(|change| change.as_ref().err())) {
        tracing::error!(service = %last.order.service, %error, "a record that cannot be read may have changed the service: the last verified release is restored");
    }
    // One at its after-hook is verified and serves already, so it is what is gone back from. A dry run changes nothing.
    let is_under_way = |one: &Deployment| matches!(one.state, State::Running { .. }) && !one.order.dry_run && one.id != last.id;
    let under_way = !unfinished.unreadable.is_empty() || unfinished.deployments.iter().any(is_under_way);
    let serves = |change: &Deployment| change.id == last.id || left_the_last_one(change);
    let serving = matches!(last.state, State::Running { .. }) || last_change.is_none_or(|change| change.as_ref().is_ok_and(serves));
    if under_way || !serving {
        return Some(last);
    }
    let all: Vec<&Deployment> = verified.iter().collect();
    let older = all.iter().skip(landed_at(&all, last).unwrap_or_default() + 1);
    older.copied().find(|old| !same_content(old, last) && !was_left(&all, old))
}

/// Where in the record the content of `release` was landed last by something else than a way back to it: what is older than that
/// is further back. None: only a rollback ever brought it here.
fn landed_at(verified: &[&Deployment], release: &Deployment) -> Option<usize> {
    let is_it = |one: &&Deployment| same_content(one, release);
    let is_landing = |one: &&Deployment| is_it(one) && !matches!(one.order.kind, OrderKind::Rollback | OrderKind::Repair);
    verified.iter().position(is_landing)
}

/// Whether a rollback left the content of `release` for something older when it served last. Such a release is one to flee from,
/// so it is not gone back to until somebody names it.
pub(super) fn was_left(verified: &[&Deployment], release: &Deployment) -> bool {
    let Some(newest) = verified.iter().position(|one| same_content(one, release)) else { return false };
    let Some(next) = newest.checked_sub(1).map(|at| verified[at]) else { return false };
    let at = |one: &Deployment| landed_at(verified, one).unwrap_or(usize::MAX);
    next.order.kind == OrderKind::Rollback && at(next) > at(release)
}

/// An undo that held left the last verified release serving, so going back means the one before it.
fn left_the_last_one(change: &Deployment) -> bool {
    matches!(&change.state, State::Done { outcome: Outcome::RolledBack { .. } | Outcome::Cancelled { brought_back: true, .. } })
}

/// A tag that never ran here is asked for at the registry, like that of any deployment.
fn unrecorded(order: &Order, to: &RollbackTo) -> Result<Taken, Refusal> {
    let service = || order.service.clone();
    match to {
        RollbackTo::Tag(tag) => Ok(Taken { order: Order { tag: Some(tag.clone()), ..order.clone() }, images: Vec::new() }),
        RollbackTo::Previous => Err(Refusal::NoPrevious(service())),
        RollbackTo::Deployment(id) => Err(Refusal::NoRelease { id: id.clone(), service: service() }),
    }
}

/// A release that must not be rolled back past stops a rollback to one before it.
fn refuse_past_barrier(service: &ServiceName, verified: &[Deployment], target: &Deployment) -> Result<(), Refusal> {
    let mut newer = verified.iter().take_while(|one| one.id > target.id);
    let Some(barrier) = newer.find(|one| one.barrier && !same_images(one, target)) else { return Ok(()) };
    let release = barrier.order.tag.as_ref().map_or("a release", |tag| tag.as_str()).to_owned();
    Err(Refusal::Barrier { release, service: service.clone() })
}

/// What was left for a person may have migrated data: the release before it is not landed again by a mere repair.
fn refuse_repair_past_barrier(live: &Deployment, left: &Deployment) -> Result<(), Refusal> {
    if left.id <= live.id || !left.barrier || same_images(left, live) {
        return Ok(());
    }
    let release = left.order.tag.as_ref().map_or("a release", |tag| tag.as_str()).to_owned();
    Err(Refusal::Barrier { release, service: live.order.service.clone() })
}

/// Whether two releases are the same content: images, whatever their tags, and files of the stack.
pub(super) fn same_content(a: &Deployment, b: &Deployment) -> bool {
    same_images(a, b) && a.files == b.files
}

/// Whether two releases are the same images, whatever their tags. Images migrate data, files of the stack do not.
fn same_images(a: &Deployment, b: &Deployment) -> bool {
    is_same(&a.images, &b.images)
}

fn is_same(some: &[ImageRef], others: &[ImageRef]) -> bool {
    let is_there = |image: &ImageRef| others.iter().any(|other| other.repository == image.repository && other.digest == image.digest);
    some.len() == others.len() && some.iter().all(is_there)
}

#[cfg(test)]
mod tests {
    use super::release_of;
    use crate::model::Cause;
    use crate::model::DeploymentId;
    use crate::model::Guard;
    use crate::model::Order;
    use crate::model::OrderKind;
    use crate::model::Outcome;
    use crate::model::RollbackTo;
    use crate::model::State;
    use crate::model::Step;
    use crate::model::Tree;
    use crate::orders::sample::landed;
    use crate::orders::sample::order;
    use crate::store::Deployment;
    use crate::store::Listed;
    use crate::store::OrderError;
    use crate::store::Releases;
    use crate::store::StoreError;
    use crate::store::Taken;
    use crate::store::Wanted;

    fn unreadable() -> StoreError {
        StoreError::Value { place: "deployments.kind of X".into(), why: "none of ours".into() }
    }

    /// The releases of these numbers, newest first, the newest of which is live.
    fn releases(numbers: &[u8]) -> Releases {
        let verified = numbers.iter().map(|number| Ok(landed(*number))).collect();
        Releases { verified, last_change: numbers.first().map(|number| Ok(landed(*number))), ..Releases::default() }
    }

    fn ended(number: u8, outcome: Outcome) -> Deployment {
        Deployment { state: State::Done { outcome }, verified: false, ..landed(number) }
    }

    /// The tag that is gone back to, or the guard that says no; none: a row cannot be read.
    fn to(to: RollbackTo, force: bool, releases: Releases) -> Result<String, Option<Guard>> {
        let ordered = Order { tag: None, force, ..order(OrderKind::Rollback) };
        tag_of(release_of(&ordered, &Wanted::Back(to), releases))
    }

    fn tag_of(taken: Result<Taken, OrderError>) -> Result<String, Option<Guard>> {
        match taken {
            Ok(taken) => Ok(taken.order.tag.map_or_else(String::new, |tag| tag.to_string())),
            Err(OrderError::Refused(refusal)) => Err(refusal.guard()),
            Err(OrderError::Store(error)) => {
                assert!(error.is_unreadable());
                Err(None)
            }
        }
    }

    fn previous(releases: Releases) -> Result<String, Option<Guard>> {
        to(RollbackTo::Previous, false, releases)
    }

    #[test]
    fn previous_is_the_release_before_the_one_that_serves() {
        assert_eq!(previous(releases(&[3, 2, 1])), Ok("v2".into()));
        assert_eq!(previous(releases(&[3])), Err(Some(Guard::NoTarget)));
        assert_eq!(previous(releases(&[])), Err(Some(Guard::NoTarget)));
        // The same content again is no release before it.
        assert_eq!(previous(releases(&[3, 3, 1])), Ok("v1".into()));
    }

    /// The verified deployments of these numbers, newest first; one below zero is a rollback to that release.
    fn history(numbers: &[i8]) -> Releases {
        let mut history = Releases::default();
        for (at, number) in numbers.iter().enumerate() {
            let mut one = landed(number.unsigned_abs());
            // Ids follow the order.
            one.id = DeploymentId::from_parts((numbers.len() - at) as u64, 7);
            if *number < 0 {
                one.order.kind = OrderKind::Rollback;
            }
            if at == 0 {
                history.last_change = Some(Ok(one.clone()));
            }
            history.verified.push(Ok(one));
        }
        history
    }

    #[test]
    fn a_second_rollback_goes_further_back() {
        for (numbers, to) in [
            (&[-2, 3, 2, 1][..], "v1"),
            (&[-1, -2, 3, 2, 1, 4], "v4"),
            // It was fled, and ordered by its name since: by a deployment, or by a rollback that goes forward.
            (&[3, -2, 3, 2, 1], "v2"),
            (&[-3, -2, 3, 2, 1], "v2"),
            // What was fled lies between.
            (&[4, -2, 3, 2, 1], "v2"),
            (&[-2, 4, -2, 3, 2, 1], "v1"),
            // A tag that had never run here.
            (&[-9, 3, 2, 1], "v2"),
        ] {
            assert_eq!(previous(history(numbers)), Ok(to.into()), "{numbers:?}");
        }
        assert_eq!(previous(history(&[-1, -2, 3, 2, 1])), Err(Some(Guard::NoTarget)));
    }

    #[test]
    fn previous_is_the_last_verified_one_while_another_is_there() {
        let mut under_way = releases(&[3, 2]);
        under_way.unfinished.deployments.push(Deployment { state: State::Running { step: Step::Up.into() }, ..landed(4) });
        assert_eq!(previous(under_way), Ok("v3".into()));
        let mut dry_run = Deployment { state: State::Running { step: Step::Up.into() }, ..landed(4) };
        dry_run.order.dry_run = true;
        let mut looked_at = releases(&[3, 2]);
        looked_at.unfinished.deployments.push(dry_run);
        assert_eq!(previous(looked_at), Ok("v2".into()));
        let broken = Outcome::RollbackFailed { why: String::new(), and: String::new() };
        assert_eq!(previous(Releases { last_change: Some(Ok(ended(4, broken))), ..releases(&[3, 2]) }), Ok("v3".into()));
        let undone = Outcome::RolledBack { why: String::new(), to: String::new(), verified_before: true };
        assert_eq!(previous(Releases { last_change: Some(Ok(ended(4, undone))), ..releases(&[3, 2]) }), Ok("v2".into()));
    }

    #[test]
    fn what_does_not_read_never_counts_as_nothing() {
        let unfinished = Listed { unreadable: vec![unreadable()], ..Listed::default() };
        assert_eq!(previous(Releases { unfinished, ..releases(&[3, 2]) }), Ok("v3".into()));
        assert_eq!(previous(Releases { last_change: Some(Err(unreadable())), ..releases(&[3, 2]) }), Ok("v3".into()));
        // A release between that cannot be read may be one that must not be rolled back past.
        let hole = || {
            let mut hole = releases(&[3, 1]);
            hole.verified.insert(1, Err(unreadable()));
            hole
        };
        let first = || RollbackTo::Deployment(landed(1).id);
        assert_eq!((to(first(), false, hole()), to(first(), true, hole())), (Err(None), Ok("v1".into())));
        assert_eq!(to(RollbackTo::Deployment(landed(3).id), false, hole()), Ok("v3".into()));
    }

    #[test]
    fn a_barrier_stops_it_unless_it_is_forced() {
        let barrier = || {
            let mut barrier = releases(&[3, 2, 1]);
            barrier.verified[1] = Ok(Deployment { barrier: true, ..landed(2) });
            barrier
        };
        let first = || RollbackTo::Deployment(landed(1).id);
        assert_eq!((to(first(), false, barrier()), to(first(), true, barrier())), (Err(Some(Guard::Barrier)), Ok("v1".into())));
        assert_eq!(previous(barrier()), Ok("v2".into()));
    }

    #[test]
    fn other_files_with_the_same_images_are_no_barrier() {
        let tree = |digit: &str| Tree::parse(&digit.repeat(40)).ok();
        let mut same_images = releases(&[3, 1]);
        // The files alone were changed by the release that must not be undone.
        same_images.verified.insert(1, Ok(Deployment { id: landed(2).id, barrier: true, files: tree("a"), ..landed(1) }));
        assert_eq!(to(RollbackTo::Deployment(landed(1).id), false, same_images), Ok("v1".into()));
        let left = Deployment { barrier: true, files: tree("a"), ..ended(3, Outcome::NeedsOperator { why: String::new() }) };
        let left = Deployment { id: landed(4).id, ..left };
        let repaired =
            release_of(&order(OrderKind::Repair), &Wanted::LastVerified, Releases { last_change: Some(Ok(left)), ..releases(&[3]) });
        assert_eq!(tag_of(repaired), Ok("v3".into()));
    }

    #[test]
    fn a_repair_lands_the_last_verified_release_once_more() {
        let repair = |releases| release_of(&order(OrderKind::Repair), &Wanted::LastVerified, releases);
        let taken = repair(releases(&[3, 2])).expect("it is taken");
        let landed_before = landed(3);
        assert_eq!((taken.order.tag, taken.order.cause), (landed_before.order.tag, Some(Cause::Repair(landed_before.id))));
        assert_eq!((taken.order.digest, taken.images), (Some(landed_before.images[0].digest.clone()), landed_before.images));
        assert_eq!(tag_of(repair(releases(&[]))), Err(Some(Guard::NoTarget)));
        // What was left for a person may have migrated data.
        let left = Deployment { barrier: true, ..ended(4, Outcome::NeedsOperator { why: String::new() }) };
        assert_eq!(tag_of(repair(Releases { last_change: Some(Ok(left)), ..releases(&[3]) })), Err(Some(Guard::Barrier)));
        assert_eq!(tag_of(repair(Releases { last_change: Some(Err(unreadable())), ..releases(&[3]) })), Err(None));
    }

    #[test]
    fn a_tag_that_never_ran_here_is_asked_for_at_the_registry() {
        assert_eq!(to(RollbackTo::Tag("v9".parse().expect("a tag")), false, releases(&[3])), Ok("v9".into()));
        assert_eq!(to(RollbackTo::Deployment(landed(9).id), false, releases(&[3])), Err(Some(Guard::NoTarget)));
    }

    #[test]
    fn what_undoes_a_deployment_goes_to_what_was_verified_before_it_whatever_came_since() {
        let undo = |number: u8, force: bool, releases: Releases| {
            let ordered = Order { tag: None, force, ..order(OrderKind::Rollback) };
            tag_of(release_of(&ordered, &Wanted::Before(landed(number).id), releases))
        };
        assert_eq!(undo(3, false, releases(&[3, 2, 1])), Ok("v2".into()));
        // The same content twice: what was there before is gone back to, and not what was before that.
        let mut twice = releases(&[3, 2, 1]);
        twice.verified[0].as_mut().unwrap().images = landed(2).images;
        assert_eq!(undo(3, false, twice), Ok("v2".into()));
        assert_eq!(undo(3, false, releases(&[3])), Err(Some(Guard::NoTarget)));
        let barred = || {
            let mut barred = releases(&[3, 2]);
            barred.verified[0].as_mut().unwrap().barrier = true;
            barred
        };
        assert_eq!(undo(3, false, barred()), Err(Some(Guard::Barrier)));
        assert_eq!(undo(3, true, barred()), Ok("v2".into()));
        // Whatever lies between, also where the newest has the images that are gone back to.
        let mut between = releases(&[4, 3, 2]);
        between.verified[0].as_mut().unwrap().images = landed(2).images;
        for newer in &mut between.verified[..2] {
            newer.as_mut().unwrap().barrier = true;
        }
        assert_eq!(undo(3, false, between), Err(Some(Guard::Barrier)));
        let unread = Releases { verified: vec![Ok(landed(3)), Err(unreadable()), Ok(landed(1))], ..Releases::default() };
        assert_eq!(undo(3, false, unread), Err(None), "an older one is not taken for it");
    }
}
