//! Whether an order is taken, and whether it is carried out when its turn comes: by facts alone.

use std::time::Duration;

use crate::clock;
use crate::config::Admission;
use crate::config::Config;
use crate::config::RequiredChecks;
use crate::config::Service;
use crate::config::WhichChecks;
use crate::model::Caller;
use crate::model::Commit;
use crate::model::DeploymentId;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Refusal;
use crate::model::State;
use crate::model::WaitsFor;
use crate::orders::approval;
use crate::orders::freeze;
use crate::orders::way_back::release_of;
use crate::store::AtTheDoor;
use crate::store::Deployment;
use crate::store::Hold;
use crate::store::HoldKind;
use crate::store::Landed;
use crate::store::OrderError;
use crate::store::Releases;
use crate::store::StoreError;
use crate::store::Taken;
use crate::store::Terms;
use crate::store::Waits;

/// Whether an order is taken that was not taken before, and what it lands.
///
/// # Errors
/// Why it is not.
pub fn at_the_door(mut facts: AtTheDoor<'_>) -> Result<Taken, OrderError> {
    if let Caller::Watch(watched) = &facts.order.caller {
        still_serves(watched, &facts.releases)?;
    }
    let taken = release_of(facts.order, facts.wanted, std::mem::take(&mut facts.releases))?;
    is_recorded(&taken, facts.terms)?;
    is_allowed_tag(&taken, facts.terms)?;
    is_admitted(&taken.order, &facts.terms.admission)?;
    facts.terms.objection.clone().map_or(Ok(()), Err)?;
    if is_of_ci(facts.order) {
        is_held(facts.order, facts.hold, facts.now_ms)?;
        is_late(facts.order, facts.landed)?;
    }
    has_a_place(&facts)?;
    Ok(taken)
}

/// Whether an order is carried out at its turn: it may have waited long, and the world may have moved on since it was taken.
pub(super) fn at_the_turn(deployment: &Deployment, hold: Option<&Hold>, max_wait: Duration, now_ms: i64) -> Result<(), Refusal> {
    // For an approval it may wait longer, and has a limit of its own.
    let is_unapproved = matches!(deployment.state, State::Waiting { waits_for: WaitsFor::Approval });
    let waited_ms = if is_unapproved { 0 } else { now_ms - deployment.ready_ms() };
    // Operators know what they are doing, and a deployment that has begun has already passed its guards.
    if deployment.order.kind == OrderKind::Deploy && deployment.attempts <= 1 && waited_ms > max_wait.as_millis() as i64 {
        return Err(Refusal::Age { waited_s: waited_ms / 1000, most_s: max_wait.as_secs() });
    }
    if is_of_ci(&deployment.order) { is_held(&deployment.order, hold, now_ms) } else { Ok(()) }
}

/// The checks that the commit of `order` must have; none: it need have none. A rollback, an adoption and a repair land what was landed
/// before; a dry run is asked about like the order that it tries.
pub(super) fn wants_checks<'a>(order: &Order, admission: &'a Admission) -> Option<&'a RequiredChecks> {
    let is_asked = order.kind == OrderKind::Deploy && !is_forced_by_the_host(order);
    admission.checks.as_ref().filter(|_| is_asked)
}

/// A rollback passes by the guards of a service because what it lands has passed them before. That does not hold for a tag that never
/// ran here, which is asked for at the registry.
fn is_recorded(taken: &Taken, terms: &Terms) -> Result<(), Refusal> {
    let may_pass = !terms.is_guarded && taken.order.tag.is_some();
    if taken.order.kind != OrderKind::Rollback || !taken.images.is_empty() || may_pass {
        return Ok(());
    }
    let tag = taken.order.tag.as_ref().map_or_else(|| "that it does not name".to_owned(), ToString::to_string);
    Err(Refusal::NeverRan { tag, service: taken.order.service.clone() })
}

/// Whether a guard is asked about orders to deploy of the service which is not asked about a rollback.
pub(super) fn is_guarded(config: &Config, service: &Service) -> bool {
    let admits_all = service.source.as_ref().is_none_or(|source| source.admission == Admission::default());
    let is_asked_about = approval::is_ever_needed(service) || freeze::is_wanted(config, service);
    is_asked_about || !admits_all || service.files.is_some() || service.policy.refusing().next().is_some()
}

/// Where the stack's files come from git, an order to deploy says by its commit which they are.
pub(super) fn names_its_files(service: &Service, order: &Order) -> Option<Refusal> {
    let is_named = order.commit.as_deref().is_some_and(|commit| Commit::parse(commit).is_ok());
    let lacks = service.files.is_some() && order.kind == OrderKind::Deploy && !is_named;
    lacks.then(|| Refusal::NoFiles { given: order.commit.clone(), service: order.service.clone() })
}

/// Whoever may change the configuration may overrule what it says of repositories. A key or a job that may force an order may only
/// overrule who rolled back.
fn is_forced_by_the_host(order: &Order) -> bool {
    order.force && order.is_of_the_host()
}

/// Whether the ref of an order and who is behind it are such as may land something, and its commit can be asked about.
fn is_admitted(order: &Order, admission: &Admission) -> Result<(), Refusal> {
    if order.kind != OrderKind::Deploy || is_forced_by_the_host(order) {
        return Ok(());
    }
    let Admission { refs, actors, .. } = admission;
    let service = || order.service.clone();
    let git_ref = order.git_ref.as_deref();
    if !refs.is_empty() && !git_ref.is_some_and(|named| refs.iter().any(|pattern| pattern.matches(named))) {
        let refs = refs.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        return Err(Refusal::Ref { given: order.git_ref.clone(), refs, service: service() });
    }
    if !actors.is_empty() && !order.actor.as_ref().is_some_and(|named| actors.iter().any(|actor| actor.eq_ignore_ascii_case(named))) {
        return Err(Refusal::Actor { given: order.actor.clone(), actors: actors.clone(), service: service() });
    }
    wants_checks(order, admission).map_or(Ok(()), |required| can_be_asked_about(order, required))
}

/// Whether a forge can be asked about the checks of the order's commit.
fn can_be_asked_about(order: &Order, required: &RequiredChecks) -> Result<(), Refusal> {
    let service = &order.service;
    let lacks = |what: &str| Err(Refusal::Checks(format!("{what}, since {service} requires checks (source.require_checks).")));
    let git_ref = order.git_ref.as_deref();
    let is_branch = git_ref.is_some_and(|named| named.starts_with("refs/heads/"));
    if order.commit.is_none() {
        return lacks("The order names no commit; send the one that the image was built from as commit");
    }
    if required.which == WhichChecks::Protected && !is_branch {
        return lacks("The order names no branch whose protection could be looked up; send it as ref, like refs/heads/main");
    }
    if git_ref.is_some_and(|named| !is_branch && !named.starts_with("refs/tags/")) {
        return lacks("The ref of the order is not a whole name; send it like refs/heads/main or refs/tags/v1");
    }
    Ok(())
}

/// Whether the release that `watched` has landed is still what serves, and nothing is about to take its place: only then may its watch go
/// back from it. What waits for somebody else's leave may wait for hours, and takes nothing's place meanwhile.
fn still_serves(watched: &DeploymentId, releases: &Releases) -> Result<(), Refusal> {
    let is_it = |one: &Result<Deployment, StoreError>| one.as_ref().is_ok_and(|one| one.id == *watched);
    let is_under_way =
        |one: &Deployment| matches!(one.state, State::Running { .. } | State::Waiting { waits_for: WaitsFor::Turn }) && !one.order.dry_run;
    let is_alone = releases.unfinished.unreadable.is_empty() && !releases.unfinished.deployments.iter().any(is_under_way);
    let serves = releases.verified.first().is_some_and(is_it) && releases.last_change.as_ref().is_none_or(is_it);
    if serves && is_alone { Ok(()) } else { Err(Refusal::Overtaken(watched.clone())) }
}

/// What CI asks for by itself: nobody has said that it overrules anybody. A dry run is refused where the order that it tries would be.
fn is_of_ci(order: &Order) -> bool {
    order.kind == OrderKind::Deploy && !order.force
}

/// A tag that is taken from the registry must be one that may be landed; one from the record was.
fn is_allowed_tag(Taken { order, images }: &Taken, terms: &Terms) -> Result<(), Refusal> {
    let service = || order.service.clone();
    if order.kind == OrderKind::Deploy && order.digest.is_some() && terms.pins > 1 {
        return Err(Refusal::ManyImages(service()));
    }
    match (&terms.tag_pattern, &order.tag) {
        (Some(pattern), Some(tag)) if images.is_empty() && !pattern.is_match(tag.as_str()) => {
            Err(Refusal::TagPattern { tag: tag.clone(), pattern: pattern.as_str().to_owned(), service: service() })
        }
        _ => Ok(()),
    }
}

fn is_held(order: &Order, hold: Option<&Hold>, now_ms: i64) -> Result<(), Refusal> {
    let Some(hold) = hold.filter(|hold| hold.holds_at(now_ms)) else { return Ok(()) };
    let service = order.service.clone();
    let by = hold.by.clone();
    let since = clock::utc(hold.since_ms);
    Err(match hold.kind {
        HoldKind::Rollback => Refusal::Held { service, by, since },
        HoldKind::NeedsOperator => Refusal::NeedsOperator { service, by, since },
    })
}

fn is_late(order: &Order, landed: Option<&Landed>) -> Result<(), Refusal> {
    match (order.run_number, landed) {
        (Some(mine), Some(landed)) if mine < landed.run_number => {
            Err(Refusal::Late { mine, live: landed.run_number, by: landed.by.clone() })
        }
        _ => Ok(()),
    }
}

/// What changes nothing, or only brings back what is live, takes nobody's place, and CI takes no operator's. An order that nobody has
/// approved yet may wait for hours, and keeps nothing out that may be carried out before.
fn has_a_place(facts: &AtTheDoor<'_>) -> Result<(), Refusal> {
    let AtTheDoor { order, terms, waiting, .. } = facts;
    let service = || order.service.clone();
    let gives_way = |waits: &Waits| match order.kind {
        OrderKind::Adopt | OrderKind::Repair => true,
        OrderKind::Deploy => waits.kind == OrderKind::Rollback,
        OrderKind::Rollback => false,
    };
    let passes_by = |waits: &Waits| waits.is_unapproved && !terms.awaits_approval;
    match facts.waits {
        Some(waits) if order.dry_run || (gives_way(waits) && !passes_by(waits)) => {
            Err(Refusal::Waiting { service: service(), waiting: waits.id.clone() })
        }
        Some(waits) if terms.awaits_approval && !waits.is_unapproved => Err(Refusal::Unapproved(service())),
        // An operator's rollback is not kept out by what CI has ordered.
        None if *waiting >= terms.max_waiting && order.kind != OrderKind::Rollback => Err(Refusal::Full(*waiting)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::at_the_door;
    use super::at_the_turn;
    use super::wants_checks;
    use crate::config::Admission;
    use crate::config::RefPattern;
    use crate::config::RequiredChecks;
    use crate::config::WhichChecks;
    use crate::model::Caller;
    use crate::model::Guard;
    use crate::model::Order;
    use crate::model::OrderKind;
    use crate::model::Refusal;
    use crate::orders::sample::landed;
    use crate::orders::sample::order;
    use crate::orders::sample::web;
    use crate::store::AtTheDoor;
    use crate::store::Hold;
    use crate::store::HoldKind;
    use crate::store::Landed;
    use crate::store::OrderError;
    use crate::store::Releases;
    use crate::store::Terms;
    use crate::store::Turn;
    use crate::store::Waits;
    use crate::store::Wanted;

    const NOW_MS: i64 = 1_000_000;

    fn terms() -> Terms {
        let tag_pattern = regex::Regex::new("^v[0-9]$").ok();
        Terms {
            max_waiting: 3,
            hold_ms: None,
            tag_pattern,
            pins: 2,
            admission: Admission::default(),
            objection: None,
            awaits_approval: false,
            is_guarded: false,
            given: None,
            approved: None,
            door: at_the_door,
        }
    }

    fn hold(kind: HoldKind, until_ms: Option<i64>) -> Hold {
        Hold { kind, by: "X".into(), since_ms: 0, until_ms }
    }

    /// An order of that kind that waits.
    fn waits(kind: OrderKind, is_unapproved: bool) -> &'static Waits {
        Box::leak(Box::new(Waits { id: landed(9).id, kind, is_unapproved }))
    }

    /// What speaks against the order at the door, where the facts are changed by `change`.
    fn at_door<'a>(order: &'a Order, change: impl FnOnce(&mut AtTheDoor<'a>)) -> Option<Refusal> {
        let terms: &'static Terms = Box::leak(Box::new(terms()));
        let mut facts = AtTheDoor {
            order,
            wanted: &Wanted::Ordered,
            terms,
            releases: Releases::default(),
            hold: None,
            landed: None,
            waits: None,
            waiting: 0,
            now_ms: NOW_MS,
        };
        change(&mut facts);
        match at_the_door(facts) {
            Ok(_) => None,
            Err(OrderError::Refused(refusal)) => Some(refusal),
            Err(OrderError::Store(error)) => panic!("{error}"),
        }
    }

    fn refused<'a>(order: &'a Order, hold: &'a Hold) -> Option<Guard> {
        at_door(order, |facts| facts.hold = Some(hold)).and_then(|refusal| refusal.guard())
    }

    fn overruling(kind: OrderKind) -> [Order; 2] {
        [Order { force: true, ..order(kind) }, Order { dry_run: true, ..order(kind) }]
    }

    #[test]
    fn tags_and_digests_are_looked_at_unless_they_are_recorded() {
        let odd = Order { tag: "latest".parse().ok(), ..order(OrderKind::Rollback) };
        assert_eq!(at_door(&odd, |_| {}).and_then(|refusal| refusal.guard()), Some(Guard::TagPattern));
        let recorded: &'static [Wanted] = Box::leak(Box::new([Wanted::Recorded(landed(1).images), Wanted::Named(landed(1).images)]));
        for wanted in recorded {
            assert_eq!(at_door(&odd, |facts| (facts.wanted, facts.releases.verified) = (wanted, vec![Ok(landed(1))])), None);
            // What was never verified here is not recorded because somebody says so.
            let guard = at_door(&odd, |facts| (facts.wanted, facts.releases.verified) = (wanted, vec![Ok(landed(2))]));
            let expected = if matches!(wanted, Wanted::Named(_)) { Guard::TagPattern } else { Guard::NoTarget };
            assert_eq!(guard.and_then(|refusal| refusal.guard()), Some(expected));
        }
        let nameless = Order { tag: None, ..odd.clone() };
        let guard = at_door(&nameless, |facts| facts.wanted = &recorded[1]).and_then(|refusal| refusal.guard());
        assert_eq!(guard, Some(Guard::NoTarget));
        let digest = format!("sha256:{}", "a".repeat(64)).parse().ok();
        let one = Order { digest, ..order(OrderKind::Deploy) };
        assert_eq!(at_door(&one, |_| {}), Some(Refusal::ManyImages(web())));
    }

    #[test]
    fn a_hold_keeps_ci_away_until_its_time_is_over_and_nobody_else() {
        for (kind, guard) in [(HoldKind::Rollback, Guard::Held), (HoldKind::NeedsOperator, Guard::NeedsOperator)] {
            let (for_ever, over) = (hold(kind, None), hold(kind, Some(NOW_MS)));
            assert_eq!(refused(&order(OrderKind::Deploy), &for_ever), Some(guard));
            assert_eq!(refused(&order(OrderKind::Deploy), &over), None);
            let [forced, dry] = overruling(OrderKind::Deploy);
            assert_eq!((refused(&dry, &for_ever), refused(&dry, &over)), (Some(guard), None), "a dry run is told so too");
            for other in [forced, order(OrderKind::Rollback), order(OrderKind::Adopt)] {
                assert_eq!(refused(&other, &for_ever), None, "{other:?}");
            }
        }
    }

    /// Refs, actors and checks are looked at whoever calls; only who is on the host may force an order past them.
    #[test]
    fn an_order_must_be_admitted_by_its_ref_its_actor_and_its_commit() {
        let checks = |which| Some(RequiredChecks { which, wait: Duration::ZERO, waits_for_forge: false });
        let refs = Admission { refs: vec![RefPattern::parse("refs/heads/main").expect("a ref")], ..Admission::default() };
        let actors = Admission { actors: vec!["Ada".into()], ..Admission::default() };
        let named = Admission { checks: checks(WhichChecks::Named(vec!["test".into()])), ..Admission::default() };
        let protected = Admission { checks: checks(WhichChecks::Protected), ..Admission::default() };
        let text = |text: &str| Some(text.to_owned());
        let of = |git_ref: &str| Order { git_ref: text(git_ref), commit: text("1f0c"), actor: text("ada"), ..order(OrderKind::Deploy) };
        let main = of("refs/heads/main");
        let bare = order(OrderKind::Deploy);
        let bob = Order { actor: text("bob"), ..main.clone() };
        for (admission, order, guard) in [
            (&refs, &main, None),
            (&refs, &of("refs/heads/main2"), Some(Guard::Ref)),
            (&refs, &of("main"), Some(Guard::Ref)),
            (&refs, &bare, Some(Guard::Ref)),
            (&actors, &main, None),
            (&actors, &bob, Some(Guard::Actor)),
            (&actors, &bare, Some(Guard::Actor)),
            (&named, &main, None),
            (&named, &of("refs/tags/v1"), None),
            (&named, &Order { git_ref: None, ..main.clone() }, None),
            (&named, &of("main"), Some(Guard::Checks)),
            (&named, &of("refs/pull/1/merge"), Some(Guard::Checks)),
            (&named, &bare, Some(Guard::Checks)),
            (&protected, &main, None),
            (&protected, &of("refs/tags/v1"), Some(Guard::Checks)),
            (&protected, &Order { git_ref: None, ..main.clone() }, Some(Guard::Checks)),
        ] {
            let judged = |order: &Order| super::is_admitted(order, admission).err().and_then(|refusal| refusal.guard());
            assert_eq!(judged(order), guard, "{admission:?} {order:?}");
            let forced = Order { force: true, ..order.clone() };
            assert_eq!(judged(&forced), guard, "forced by a key or a job: {admission:?} {order:?}");
            assert_eq!(judged(&Order { caller: Caller::Local(0), ..forced }), None, "forced on the host");
            assert_eq!(judged(&Order { caller: Caller::Local(0), ..order.clone() }), guard, "on the host");
            assert_eq!(judged(&Order { kind: OrderKind::Rollback, ..order.clone() }), None, "a rollback");
        }
        assert!(wants_checks(&main, &named).is_some() && wants_checks(&Order { dry_run: true, ..main }, &named).is_some());
    }

    #[test]
    fn an_older_run_is_late_unless_it_is_forced() {
        let live = Landed { run_number: 10, by: "X".into() };
        let late = |run_number: Option<i64>, order: Order| at_door(&Order { run_number, ..order }, |facts| facts.landed = Some(&live));
        assert_eq!(late(Some(9), order(OrderKind::Deploy)), Some(Refusal::Late { mine: 9, live: 10, by: "X".into() }));
        for run_number in [Some(10), Some(11), None] {
            assert_eq!(late(run_number, order(OrderKind::Deploy)), None);
        }
        let [forced, dry] = overruling(OrderKind::Deploy);
        assert_eq!(late(Some(9), forced), None);
        assert_eq!(late(Some(9), dry), Some(Refusal::Late { mine: 9, live: 10, by: "X".into() }));
    }

    #[test]
    fn who_takes_whose_place() {
        let takes = |order: &Order, waits: OrderKind| {
            at_door(order, |facts| (facts.waits, facts.waiting) = (Some(self::waits(waits, false)), 3)).is_none()
        };
        assert!(takes(&order(OrderKind::Deploy), OrderKind::Deploy) && takes(&order(OrderKind::Rollback), OrderKind::Rollback));
        assert!(takes(&order(OrderKind::Rollback), OrderKind::Deploy));
        let [forced, dry] = overruling(OrderKind::Deploy);
        for (keeps, waits) in [
            (order(OrderKind::Deploy), OrderKind::Rollback),
            (forced, OrderKind::Rollback),
            (dry, OrderKind::Deploy),
            (order(OrderKind::Adopt), OrderKind::Deploy),
        ] {
            assert!(!takes(&keeps, waits), "{keeps:?}");
        }
        assert_eq!(at_door(&order(OrderKind::Deploy), |facts| facts.waiting = 3), Some(Refusal::Full(3)));
    }

    #[test]
    fn who_takes_the_place_of_what_nobody_has_approved() {
        let unapproved: &'static Terms = Box::leak(Box::new(Terms { awaits_approval: true, ..terms() }));
        // What nobody has approved yet takes the place of its like alone.
        for kind in [OrderKind::Deploy, OrderKind::Rollback] {
            let over = |is_unapproved: bool| {
                at_door(&order(kind), |facts| (facts.terms, facts.waits) = (unapproved, Some(waits(OrderKind::Deploy, is_unapproved))))
            };
            assert_eq!((over(true), over(false)), (None, Some(Refusal::Unapproved(web()))), "{kind:?}");
        }
        let kept_out = |order: &Order, waits: &'static Waits, terms: Option<&'static Terms>| {
            at_door(order, |facts| (facts.waits, facts.terms) = (Some(waits), terms.unwrap_or(facts.terms)))
        };
        let waiting = || Some(Refusal::Waiting { service: web(), waiting: landed(9).id });
        for (kind, waits_kind) in [
            (OrderKind::Adopt, OrderKind::Deploy),
            (OrderKind::Repair, OrderKind::Deploy),
            (OrderKind::Repair, OrderKind::Rollback),
            (OrderKind::Deploy, OrderKind::Rollback),
        ] {
            assert_eq!(kept_out(&order(kind), waits(waits_kind, true), None), None, "{kind:?}");
            assert_eq!(kept_out(&order(kind), waits(waits_kind, false), None), waiting(), "{kind:?}");
        }
        // CI takes no operator's place, and a dry run takes nobody's.
        let [_, dry] = overruling(OrderKind::Deploy);
        assert_eq!(kept_out(&order(OrderKind::Deploy), waits(OrderKind::Rollback, true), Some(unapproved)), waiting());
        assert_eq!(kept_out(&dry, waits(OrderKind::Deploy, true), None), waiting());
    }

    #[test]
    fn at_the_turn_age_and_holds_are_asked_about() {
        let turn = |change: &dyn Fn(&mut Turn)| {
            let mut turn = Turn { deployment: landed(1), hold: None };
            change(&mut turn);
            at_the_turn(&turn.deployment, turn.hold.as_ref(), Duration::from_secs(999), NOW_MS).err().and_then(|refusal| refusal.guard())
        };
        assert_eq!(turn(&|_| {}), Some(Guard::Age));
        assert_eq!(turn(&|turn| turn.deployment.created_ms = 1000), None);
        // One that was begun before has had its turn, and an operator's order may be old.
        assert_eq!(turn(&|turn| turn.deployment.attempts = 2), None);
        assert_eq!(turn(&|turn| turn.deployment.order.kind = OrderKind::Rollback), None);
        let held = |force: bool| {
            turn(&|turn| {
                turn.hold = Some(hold(HoldKind::NeedsOperator, None));
                (turn.deployment.created_ms, turn.deployment.order.force) = (NOW_MS, force);
            })
        };
        assert_eq!((held(false), held(true)), (Some(Guard::NeedsOperator), None));
    }
}
