//! How a service stands, by facts alone: whether what runs now is what the record has as live, and what mends it where it is not.

use crate::api::Standing;
use crate::api::Word;
use crate::clock;
use crate::engine::Ailment;
use crate::engine::Container;
use crate::engine::ContainerState;
use crate::engine::FilesNow;
use crate::engine::Images;
use crate::engine::PinnedNow;
use crate::engine::Words;
use crate::model::ImageRef;
use crate::model::OrderKind;
use crate::model::Part;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::Tag;
use crate::store::Deployment;

/// What is known of a service at a moment.
pub(super) struct Now<'a> {
    pub(super) service: &'a ServiceName,
    /// What the engine calls its things.
    pub(super) words: Words,
    /// The last verified release.
    pub(super) live: Option<&'a Deployment>,
    /// What is being carried out.
    pub(super) running: Option<&'a Deployment>,
    /// The last ended deployment that changed the host.
    pub(super) changed: Option<&'a Deployment>,
    /// How the stack's containers stand, or why that cannot be seen.
    pub(super) containers: Result<&'a [Container], String>,
    /// What the stack's files pin, or why that cannot be read.
    pub(super) pinned: Result<&'a [PinnedNow], String>,
    /// The images on the host, where they were listed.
    pub(super) images: Option<&'a Images>,
    /// The files that the stack has from a repository.
    pub(super) files: Option<&'a FilesNow>,
    /// The time (ms since 1970, UTC).
    pub(super) at_ms: i64,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// In a word.
    pub word: Word,
    /// What it is about, by a name that stays: a container, a service of the stack, or an image that is pinned.
    pub about: String,
    /// As a sentence.
    pub why: String,
}

impl Fault {
    fn new(word: Word, about: impl Into<String>, why: String) -> Self {
        Self { word, about: about.into(), why }
    }
}

/// How the service stands.
pub(super) fn standing(now: &Now<'_>) -> Standing {
    let (containers, pinned) = match (&now.containers, &now.pinned) {
        (Err(why), _) => return unknown(why, "tagalong doctor"),
        _ if now.running.is_some() => return Standing { word: Word::Deploying, why: now.running.map(at_work), mend: None },
        (_, Err(why)) => return unknown(why, "tagalong check"),
        (Ok(containers), Ok(pinned)) => (*containers, *pinned),
    };
    let Some(live) = now.live else { return without_a_release(now, containers) };
    let faults = faults(now, live, containers, pinned);
    standing_of(faults, || mend(now, live))
}

/// Everything that is not as the record has it, where `live` is live there.
pub(super) fn faults(now: &Now<'_>, live: &Deployment, containers: &[Container], pinned: &[PinnedNow]) -> Vec<Fault> {
    let mut faults = missing(live, containers);
    faults.extend(containers.iter().filter(|one| counts(live, one)).filter_map(|one| fault_of(now, live, one)));
    faults.extend(containers.iter().filter_map(|one| other_image(live, one, now.images)));
    faults.extend(other_pins(live, pinned));
    faults.extend(now.files.map(other_files).unwrap_or_default());
    faults
}

/// What is carried out now, and since when.
pub(super) fn at_work(one: &Deployment) -> String {
    let step = one.step.map_or("guards", |step| step.as_str());
    format!("{} has been at {step} since {}", one.id, clock::utc(one.started_ms.unwrap_or(one.created_ms)))
}

fn unknown(why: &str, look: &str) -> Standing {
    Standing { word: Word::Unknown, why: Some(sentence(why)), mend: Some(look.to_owned()) }
}

/// The worst word, and all that is wrong, the worst first.
fn standing_of(mut faults: Vec<Fault>, mend: impl FnOnce() -> String) -> Standing {
    faults.sort_by_key(|fault| fault.word);
    let Some(word) = faults.first().map(|fault| fault.word) else { return Standing { word: Word::Ok, why: None, mend: None } };
    let why = faults.into_iter().map(|fault| fault.why).collect::<Vec<_>>().join(" ");
    Standing { word, why: Some(why), mend: Some(mend()) }
}

/// Nothing was verified yet: what is there may be somebody's own, or what a first deployment left.
fn without_a_release(now: &Now<'_>, containers: &[Container]) -> Standing {
    let service = now.service;
    if let Some(left) = now.changed {
        let faults: Vec<Fault> = containers.iter().filter(|one| !one.is_one_off).filter_map(|one| ails(now, one)).collect();
        let is_there = containers.iter().any(Container::is_running);
        let nothing = Fault::new(Word::Down, "", "Nothing of it runs, and no release was verified yet.".to_owned());
        let faults = if is_there || !faults.is_empty() { faults } else { vec![nothing] };
        let standing = standing_of(faults, || format!("tagalong retry {}", left.id));
        return match standing.word {
            Word::Ok => Standing { word: Word::Drift, why: Some("What runs was never verified.".into()), mend: next_step(left) },
            _ => standing,
        };
    }
    let (why, mend) = if containers.iter().any(Container::is_running) {
        ("It runs, and tagalong has not taken it over yet.", format!("tagalong adopt {service}"))
    } else {
        ("Nothing was deployed yet.", format!("tagalong deploy {service} TAG"))
    };
    Standing { word: Word::Empty, why: Some(why.to_owned()), mend: Some(mend) }
}

/// What mends a service whose live release does not run as it should.
pub(super) fn mend(now: &Now<'_>, live: &Deployment) -> String {
    let service = now.service;
    // Nothing is landed over a file that somebody has edited: a person decides what becomes of it.
    if now.files.is_some_and(|files| !files.edited.is_empty()) {
        return "tagalong check".to_owned();
    }
    match now.changed {
        // It must not be rolled back past, not even by a repair: a person decides.
        Some(left) if left.id > live.id && left.barrier => format!("tagalong logs {}", left.id),
        _ => format!("tagalong repair {service}"),
    }
}

/// What a person does after a deployment that did not end well.
pub(super) fn next_step(ended: &Deployment) -> Option<String> {
    let State::Done { outcome } = &ended.state else { return None };
    outcome.next_step(&ended.id, &ended.order.service)
}

/// Whether the container is one that has to run: a service of the compose file as it was, or one of the release's images.
fn counts(live: &Deployment, one: &Container) -> bool {
    let is_part = live.parts.is_empty() || live.parts.iter().any(|part| part.name == one.service);
    is_part && !one.is_one_off
}

/// Parts of the stack that have no container, or too few.
fn missing(live: &Deployment, containers: &[Container]) -> Vec<Fault> {
    if live.parts.is_empty() {
        // A release of a version that kept no parts: at least one container of each image has to be there.
        let has_any = |image: &&ImageRef| containers.iter().any(|one| is_of(one, image));
        let none =
            |image: &ImageRef| Fault::new(Word::Down, image.repository.as_str(), format!("No container of {} is there.", image.repository));
        return live.images.iter().filter(|image| !has_any(image)).map(none).collect();
    }
    let of = |part: &Part| containers.iter().filter(|one| one.service == part.name && !one.is_one_off).count();
    let lacks = |part: &Part| {
        let there = of(part);
        match (there, part.replicas as usize) {
            (0, 1..) => Some(format!("The service {} of the compose file has no container.", part.name)),
            (there, wanted) if there < wanted => Some(format!("The service {} has {there} of {wanted} containers.", part.name)),
            _ => None,
        }
    };
    let lacks = |part: &Part| lacks(part).map(|why| Fault::new(Word::Down, part.name.as_str(), why));
    // Another's one-shot that was cleaned away is no fault.
    live.parts.iter().filter(|part| part.is_pinned || !part.is_one_shot).filter_map(lacks).collect()
}

pub(super) fn fault_of(now: &Now<'_>, live: &Deployment, one: &Container) -> Option<Fault> {
    let part = live.parts.iter().find(|part| part.name == one.service);
    if part.is_some_and(|part| part.is_one_shot) && one.state == ContainerState::Exited && one.exit_code == 0 {
        return None;
    }
    ails(now, one)
}

/// What is wrong with a container.
fn ails(now: &Now<'_>, one: &Container) -> Option<Fault> {
    let name = &one.name;
    let output = one.health_output.lines().next().unwrap_or_default();
    let (word, why) = match one.ailment(now.at_ms)? {
        Ailment::Stopped if one.oom_killed => (Word::Down, format!("{name} was ended by the kernel, since it ran out of memory.")),
        Ailment::Stopped if one.state == ContainerState::Exited => (Word::Down, format!("{name} has ended (exit code {}).", one.exit_code)),
        Ailment::Stopped => (Word::Down, format!("{name} does not run; {} says that it is {}.", now.words.name, one.state)),
        Ailment::Paused => (Word::Down, format!("{name} is paused.")),
        Ailment::CrashLoop => (Word::Unhealthy, one.crash_loop(one.restarts)),
        Ailment::Unhealthy if output.is_empty() => (Word::Unhealthy, format!("{name} is unhealthy.")),
        Ailment::Unhealthy => (Word::Unhealthy, sentence(&format!("{name} is unhealthy: {output}"))),
    };
    Some(Fault::new(word, name.as_str(), why))
}

/// Whether the container was made from that repository.
fn is_of(one: &Container, image: &ImageRef) -> bool {
    let rest = one.image.strip_prefix(image.repository.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
}

/// Whether the container is there to run the release.
pub(super) fn is_pinned_part(live: &Deployment, one: &Container) -> bool {
    let part = live.parts.iter().find(|part| part.name == one.service);
    let by_image = || live.parts.is_empty() && live.images.iter().any(|image| is_of(one, image));
    !one.is_one_off && part.map_or_else(by_image, |part| part.is_pinned)
}

/// Whether a container may run something else, as far as the names of images tell; then they have to be looked up.
pub(super) fn is_unsure(live: &Deployment, containers: &[Container]) -> bool {
    let has_other = |one: &&Container| !live.images.iter().any(|image| runs(one, image, None));
    containers.iter().filter(|one| is_pinned_part(live, one)).any(|one| has_other(&one))
}

/// A container of the release that was made from another image.
pub(super) fn other_image(live: &Deployment, one: &Container, images: Option<&Images>) -> Option<Fault> {
    let is_it = |image: &ImageRef| runs(one, image, images);
    if !is_pinned_part(live, one) || live.images.iter().any(is_it) {
        return None;
    }
    let why = format!("{} is made from {}, which is not the live release.", one.name, one.image);
    Some(Fault::new(Word::Drift, one.name.as_str(), why))
}

/// Whether the container runs exactly this image. Engines go by the digest where the reference carries one.
fn runs(one: &Container, image: &ImageRef, images: Option<&Images>) -> bool {
    if image.loaded {
        return one.image_id == image.digest.as_str();
    }
    one.image.split_once('@').is_some_and(|(_, digest)| digest == image.digest.as_str() && is_of(one, image))
        || images.and_then(|images| images.id_of(image)).is_some_and(|id| id == one.image_id)
}

/// Pins that somebody has changed.
pub(super) fn other_pins(live: &Deployment, pinned: &[PinnedNow]) -> Vec<Fault> {
    // What was adopted is pinned as somebody else has pinned it.
    let is_adopted = live.order.kind == OrderKind::Adopt;
    let differs = |image: &&ImageRef| !pinned.iter().any(|pin| is_pinned(image, pin) || (is_adopted && is_named(image, pin)));
    let fault = |image: &ImageRef| {
        let now = pinned.iter().find(|pin| pin.image == image.repository).and_then(|pin| pin.value.as_deref());
        let now = now.map_or_else(|| "nothing".to_owned(), |value| format!("\"{value}\""));
        let why = format!("The stack pins {now} for {}, not \"{}\".", image.repository, image.pin());
        Fault::new(Word::Drift, format!("the pin of {}", image.repository), why)
    };
    live.images.iter().filter(differs).map(fault).collect()
}

/// Files that are not as tagalong wrote them.
fn other_files(files: &FilesNow) -> Vec<Fault> {
    let from = files.laid.from.as_ref().map_or(String::new(), |from| format!(" from the commit {from}"));
    let drift = |about: &str, why: String| Fault::new(Word::Drift, about, why);
    let edited = files.edited.iter().map(|path| drift(path, format!("{path} was edited since tagalong wrote it{from}.")));
    let gone = files.gone.iter().map(|path| drift(path, format!("{path} is gone, which tagalong wrote{from}.")));
    let half_way = files.is_half_way.then(|| drift("", "tagalong was interrupted while it replaced the stack's files.".to_owned()));
    edited.chain(gone).chain(half_way).collect()
}

/// Whether `pin` means the image: by its digest, or by the tag that a loaded one has alone.
fn is_pinned(image: &ImageRef, pin: &PinnedNow) -> bool {
    let value = pin.value.as_deref().unwrap_or_default();
    if image.loaded { pin.image == image.repository && value == image.pin() } else { value.contains(image.digest.as_str()) }
}

/// Whether `pin` names the image by its tag alone.
fn is_named(image: &ImageRef, pin: &PinnedNow) -> bool {
    pin.image == image.repository && image.tag.as_ref().map(Tag::as_str) == pin.value.as_deref()
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::Now;
    use super::mend;
    use super::standing;
    use crate::api::Standing;
    use crate::api::Word;
    use crate::engine::Container;
    use crate::engine::ContainerState;
    use crate::engine::FilesNow;
    use crate::engine::Health;
    use crate::engine::PinnedNow;
    use crate::engine::Words;
    use crate::model::OrderKind;
    use crate::model::Outcome;
    use crate::model::Part;
    use crate::model::State;
    use crate::orders::sample::landed;
    use crate::orders::sample::web;
    use crate::store::Deployment;

    const NOW_MS: i64 = 1_800_000_000_000;
    const WORDS: Words = Words { name: "Podman", program: "podman", up: "up", load: "load", clean_up: "prune" };

    fn part(name: &str, is_pinned: bool, is_one_shot: bool) -> Part {
        Part { name: name.into(), is_pinned, is_one_shot, replicas: 1 }
    }

    /// Release 3, whose stack is web and migrate, which are pinned, and db.
    fn live() -> Deployment {
        Deployment { parts: vec![part("web", true, false), part("migrate", true, true), part("db", false, false)], ..landed(3) }
    }

    fn container(service: &str, state: &str, release: &Deployment) -> Container {
        let image = if service == "db" { "db:16".to_owned() } else { release.images[0].to_string() };
        Container {
            id: service.into(),
            name: format!("site-{service}-1"),
            service: service.into(),
            image_id: "sha256:0".into(),
            image,
            state: ContainerState::of(state),
            exit_code: 0,
            oom_killed: false,
            restarts: 0,
            created_at: String::new(),
            started_at: "2020-01-01T00:00:00Z".into(),
            health: Health::Unchecked,
            health_output: String::new(),
            error: String::new(),
            is_one_off: false,
            is_replacement: false,
        }
    }

    fn well() -> Vec<Container> {
        let live = live();
        vec![container("web", "running", &live), container("migrate", "exited", &live), container("db", "running", &live)]
    }

    fn pins(release: &Deployment) -> Vec<PinnedNow> {
        release.images.iter().map(|image| PinnedNow { image: image.repository.clone(), value: Some(image.pin()) }).collect()
    }

    fn of(containers: &[Container], pinned: &[PinnedNow], changed: Option<&Deployment>) -> Standing {
        let (live, service) = (live(), web());
        standing(&Now {
            service: &service,
            words: WORDS,
            live: Some(&live),
            running: None,
            changed,
            containers: Ok(containers),
            pinned: Ok(pinned),
            images: None,
            files: None,
            at_ms: NOW_MS,
        })
    }

    /// The word, where the web container is changed by `change`.
    fn word(change: impl FnOnce(&mut Container)) -> Word {
        let mut containers = well();
        change(&mut containers[0]);
        of(&containers, &pins(&live()), None).word
    }

    #[test]
    fn what_runs_is_told_from_what_is_recorded() {
        assert_eq!(of(&well(), &pins(&live()), None), Standing { word: Word::Ok, why: None, mend: None });
        for state in ["exited", "created", "dead", "paused", "removing", "hibernating"] {
            assert_eq!(word(|web| web.state = ContainerState::of(state)), Word::Down, "{state}");
        }
        let mut dead = well();
        dead[0].state = ContainerState::Dead;
        assert_eq!(of(&dead, &pins(&live()), None).why.unwrap(), "site-web-1 does not run; Podman says that it is dead.");
        assert_eq!(word(|web| web.state = ContainerState::Restarting), Word::Unhealthy);
        assert_eq!(word(|web| web.health = Health::Unhealthy), Word::Unhealthy);
        assert_eq!(word(|web| web.health = Health::Unknown("odd".into())), Word::Unhealthy);
        assert_eq!(word(|web| web.health = Health::Starting), Word::Ok);
        // It crashed once long ago.
        assert_eq!(word(|web| web.restarts = 7), Word::Ok);
        let just_now = jiff::Timestamp::from_millisecond(NOW_MS - 3000).unwrap().to_string();
        assert_eq!(word(|web| (web.restarts, web.started_at) = (7, just_now)), Word::Unhealthy);
        assert_eq!(word(|web| web.image = landed(2).images[0].to_string()), Word::Drift);
        assert_eq!(word(|web| web.image = "example.com/web:v3".into()), Word::Drift);
        for without in 0..3 {
            let mut containers = well();
            let gone = containers.remove(without);
            assert_eq!(of(&containers, &pins(&live()), None).word, Word::Down, "{}", gone.service);
        }
    }

    #[test]
    fn the_pin_is_part_of_it_and_the_worst_comes_first() {
        let drifted = of(&well(), &pins(&landed(2)), None);
        assert_eq!((drifted.word, drifted.mend.as_deref()), (Word::Drift, Some("tagalong repair web")));
        let mut containers = well();
        containers[0].health = Health::Unhealthy;
        containers[2].state = ContainerState::Exited;
        let bad = of(&containers, &[], None);
        assert_eq!(bad.word, Word::Down);
        let why = bad.why.unwrap();
        let places = ["site-db-1 has ended", "site-web-1 is unhealthy", "The stack pins nothing"].map(|words| why.find(words));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{why}");
    }

    #[test]
    fn what_must_not_be_rolled_back_past_is_looked_at_first() {
        let outcome = Outcome::NeedsOperator { why: String::new() };
        let left = Deployment { state: State::Done { outcome }, verified: false, barrier: true, ..landed(4) };
        let drifted = of(&well(), &pins(&landed(4)), Some(&left));
        assert_eq!(drifted.mend, Some(format!("tagalong logs {}", left.id)));
        let other = Deployment { barrier: false, ..left };
        assert_eq!(of(&well(), &pins(&landed(4)), Some(&other)).mend.as_deref(), Some("tagalong repair web"));
    }

    #[test]
    fn a_person_looks_first_at_files_that_somebody_has_edited_whatever_else_is_wrong() {
        let (live, service) = (live(), web());
        let files = FilesNow { edited: vec!["compose.yaml".into()], ..FilesNow::default() };
        let now = || Now {
            service: &service,
            words: WORDS,
            live: Some(&live),
            running: None,
            changed: None,
            containers: Ok(&[]),
            pinned: Ok(&[]),
            images: None,
            files: Some(&files),
            at_ms: NOW_MS,
        };
        let well = well();
        for (containers, word) in [(&well[..], Word::Drift), (&[], Word::Down)] {
            let standing = standing(&Now { containers: Ok(containers), ..now() });
            assert_eq!((standing.word, standing.mend.as_deref()), (word, Some("tagalong check")));
        }
        assert_eq!(mend(&now(), &live), "tagalong check");
        assert_eq!(mend(&Now { files: None, ..now() }, &live), "tagalong repair web");
    }

    #[test]
    fn what_cannot_be_seen_is_never_well() {
        let (live, service) = (live(), web());
        let now = || Now {
            service: &service,
            words: WORDS,
            live: Some(&live),
            running: None,
            changed: None,
            containers: Err("Docker is away".into()),
            pinned: Ok(&[]),
            images: None,
            files: None,
            at_ms: NOW_MS,
        };
        assert_eq!(standing(&now()).word, Word::Unknown);
        let running = Some(&live);
        assert_eq!(standing(&Now { running, ..now() }).word, Word::Unknown);
        assert_eq!(standing(&Now { containers: Ok(&[]), running, ..now() }).word, Word::Deploying);
        assert_eq!(standing(&Now { containers: Ok(&[]), pinned: Err("unreadable".into()), ..now() }).word, Word::Unknown);
    }

    #[test]
    fn what_was_never_landed_is_adopted_or_deployed() {
        let service = web();
        let mend = |containers: &[Container], changed: Option<&Deployment>| {
            let now = Now {
                service: &service,
                words: WORDS,
                live: None,
                running: None,
                changed,
                containers: Ok(containers),
                pinned: Ok(&[]),
                images: None,
                files: None,
                at_ms: NOW_MS,
            };
            let standing = standing(&now);
            (standing.word, standing.mend.unwrap_or_default())
        };
        assert_eq!(mend(&[], None), (Word::Empty, "tagalong deploy web TAG".into()));
        assert_eq!(mend(&well(), None), (Word::Empty, "tagalong adopt web".into()));
        let outcome = Outcome::Broken { why: String::new(), runs: String::new() };
        let broken = Deployment { state: State::Done { outcome }, verified: false, ..landed(1) };
        assert_eq!(mend(&[], Some(&broken)), (Word::Down, format!("tagalong retry {}", broken.id)));
    }

    #[test]
    fn what_was_adopted_is_pinned_by_its_tag() {
        let mut adopted = live();
        adopted.order.kind = OrderKind::Adopt;
        let service = web();
        let pinned = [PinnedNow { image: adopted.images[0].repository.clone(), value: Some("v3".into()) }];
        let containers = well();
        let now = Now {
            service: &service,
            words: WORDS,
            live: Some(&adopted),
            running: None,
            changed: None,
            containers: Ok(&containers),
            pinned: Ok(&pinned),
            images: None,
            files: None,
            at_ms: NOW_MS,
        };
        assert_eq!(standing(&now).word, Word::Ok);
        assert_eq!(standing(&Now { live: Some(&live()), ..now }).word, Word::Drift);
    }
}
