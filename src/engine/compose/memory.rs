//! What is known of a host's containers without asking: the last look at each project, and whether anything has happened to it
//! since.
//!
//! It is believed only while the host's events are listened to, and not for longer than its reader says. It is kept only while
//! somebody wants it, so that an idle server holds nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::engine::container::Container;
use crate::engine::container::ContainerState;
use crate::engine::container::Health;

/// What is asked again within this time is wanted for longer, so that events are listened to for it.
pub(super) const WANTED: Duration = Duration::from_secs(15);
/// What is asked within less is one question.
const AGAIN: Duration = Duration::from_secs(1);
/// An event may come so much later than a look that shows what it tells of.
const LATE: Duration = Duration::from_secs(2);
/// A client that listens says nothing until something happens; by then its line surely stands.
const STANDS: Duration = Duration::from_secs(10);
/// Without events a look is good for its neighbours only: the services of one page.
const UNHEARD: Duration = Duration::from_millis(500);

/// A look at the host: when it was begun, and how long it took. On a loaded host that is longer than it is good for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    began: Instant,
    took: Duration,
}

impl Look {
    /// One that was begun at `began` and ends now.
    pub(super) fn since(began: Instant) -> Self {
        Self { began, took: began.elapsed() }
    }

    fn ended(self) -> Instant {
        self.began + self.took
    }
}

/// The last look at a project.
#[derive(Debug)]
struct Seen {
    containers: Arc<Vec<Container>>,
    looked: Option<Look>,
    /// When something happened to the project last.
    heard: Option<Instant>,
}

impl Seen {
    /// Since when nothing has happened that the look does not show.
    fn holds_since(&self) -> Option<Look> {
        self.looked.filter(|look| self.heard.is_none_or(|heard| heard < look.began))
    }
}

/// What is known of a host.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// How many deployments want the host's events.
    needs: usize,
    /// Since when somebody asks again and again how things stand, when that was done or answered last, and of which project.
    asked: Option<(Instant, Instant, String)>,
    /// Whether one attends to this memory; it ends when nobody wants it any more.
    pub(super) is_attended: bool,
    /// From when on events are surely heard: the first that came proves the line, and so does time. None: nobody listens.
    surely: Option<Instant>,
    has_proof: bool,
    projects: HashMap<String, Seen>,
    /// The last look at all projects: those that it did not find have nothing.
    all: Option<Look>,
    heard: Option<Instant>,
    /// The last listing of the host's images. No event tells of them.
    images: Option<(Arc<str>, Look)>,
    /// When a look found something of which no event had told.
    suspected: Option<Instant>,
}

impl Memory {
    /// One more deployment wants events.
    pub(super) fn need(&mut self) {
        self.needs += 1;
    }

    /// One less.
    pub(super) fn need_no_more(&mut self) {
        self.needs = self.needs.saturating_sub(1);
    }

    /// Somebody asks how `project` stands. Whether others were asked for just now too: then all of them are worth a look at once.
    pub(super) fn ask(&mut self, project: &str, now: Instant) -> bool {
        let before = self.asked.take().filter(|(_, last, _)| now.duration_since(*last) < WANTED);
        let with_others = before.as_ref().is_some_and(|(_, last, other)| other != project && now.duration_since(*last) <= UNHEARD);
        self.asked = Some((before.map_or(now, |(first, ..)| first), now, project.to_owned()));
        with_others
    }

    /// Whether events are worth listening to: something is deployed, or things are asked for again and again.
    pub(super) fn wants_events(&self, now: Instant) -> bool {
        self.needs > 0 || self.is_wanted(now) && self.asked.as_ref().is_some_and(|(first, last, _)| *last - *first >= AGAIN)
    }

    /// Whether anything may be asked again soon.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        self.needs > 0 || self.asked.as_ref().is_some_and(|(_, last, _)| now.duration_since(*last) < WANTED)
    }

    /// Whether a look found what no event has told of, and none came behind: the line is dead, though nobody has cut it.
    pub(super) fn is_deaf(&self, now: Instant) -> bool {
        self.suspected.is_some_and(|since| now.duration_since(since) >= LATE)
    }

    pub(super) fn is_listening(&self) -> bool {
        self.surely.is_some()
    }

    /// A client begins to listen. Whatever was known may have been missed in between.
    pub(super) fn listens(&mut self, now: Instant) {
        self.listens_no_more();
        self.surely = Some(now + STANDS);
    }

    /// Nobody listens any more.
    pub(super) fn listens_no_more(&mut self) {
        self.projects = HashMap::new();
        self.all = None;
        self.suspected = None;
        self.surely = None;
        self.has_proof = false;
    }

    /// Nobody wants it any more: it holds nothing afterwards.
    pub(super) fn clear(&mut self) {
        *self = Self { needs: self.needs, ..Self::default() };
    }

    /// Something has happened to `project`.
    pub(super) fn hear(&mut self, project: &str, now: Instant) {
        self.heard = Some(now);
        self.suspected = None;
        if !std::mem::replace(&mut self.has_proof, true) && self.surely.is_some_and(|surely| now < surely) {
            self.surely = Some(now);
        }
        match self.projects.get_mut(project) {
            Some(seen) => seen.heard = Some(now),
            // One that nobody has asked for yet, and that the look at all did not find.
            None if self.all.is_some() => self.expect(project, Some(now)),
            None => {}
        }
    }

    /// A look at `project` begins: what happens to it from now on is not missed.
    pub(super) fn begin(&mut self, project: &str) {
        if self.is_attended && !self.projects.contains_key(project) {
            self.expect(project, None);
        }
    }

    fn expect(&mut self, project: &str, heard: Option<Instant>) {
        self.projects.insert(project.to_owned(), Seen { containers: Arc::default(), looked: None, heard });
    }

    /// What a look at `project` has found.
    pub(super) fn keep(&mut self, project: &str, containers: &[Container], look: Look) {
        if let Some((_, last, of)) = &mut self.asked
            && of == project
        {
            *last = look.ended().max(*last);
        }
        let Some(seen) = self.projects.get_mut(project).filter(|seen| seen.looked.is_none_or(|before| before.began < look.began)) else {
            return;
        };
        let is_news = seen.holds_since().is_some() && how_they_stand(&seen.containers) != how_they_stand(containers);
        seen.containers = Arc::new(containers.to_vec());
        seen.looked = Some(look);
        if is_news && self.is_listening() {
            self.suspected.get_or_insert(look.began);
        }
    }

    /// What a look at all projects has found.
    pub(super) fn keep_all(&mut self, found: HashMap<String, Vec<Container>>, look: Look) {
        if !self.is_attended {
            return;
        }
        let mut before = std::mem::take(&mut self.projects);
        // Of one that was not known, it is not known either whether it was the one that something happened to.
        let unsure = self.heard.filter(|heard| *heard >= look.began);
        for (project, containers) in found {
            let heard = before.remove(&project).map_or(unsure, |seen| seen.heard);
            self.projects.insert(project, Seen { containers: Arc::new(containers), looked: Some(look), heard });
        }
        let is_younger = |seen: &Seen| seen.looked.map(|look| look.began).or(seen.heard).is_some_and(|at| at >= look.began);
        self.projects.extend(before.into_iter().filter(|(_, seen)| is_younger(seen)));
        self.all = Some(look);
    }

    /// How `project` stands, where that is known and was looked at no longer than `at_most` ago; and how long ago.
    pub(super) fn recall(&self, project: &str, at_most: Duration, now: Instant) -> Option<(Arc<Vec<Container>>, Duration)> {
        let (containers, look) = match self.projects.get(project) {
            Some(seen) => (Arc::clone(&seen.containers), seen.holds_since()?),
            None => (Arc::default(), self.all?),
        };
        let is_heard = self.surely.is_some_and(|surely| look.began >= surely);
        let at_most = if is_heard { at_most } else { at_most.min(look.took + UNHEARD) };
        let age = now.duration_since(look.began);
        (age <= at_most).then_some((containers, age))
    }

    /// What docker has listed as the host's images.
    pub(super) fn keep_images(&mut self, images: &Arc<str>, look: Look) {
        if self.is_attended {
            self.images = Some((Arc::clone(images), look));
        }
    }

    /// The host's images, where they were listed for a neighbour just now.
    pub(super) fn recall_images(&self, now: Instant) -> Option<Arc<str>> {
        let (images, look) = self.images.as_ref()?;
        (now.duration_since(look.ended()) <= UNHEARD).then(|| Arc::clone(images))
    }

    /// Whether something has happened to `project` since.
    pub(super) fn has_heard(&self, project: &str, since: Instant) -> bool {
        self.projects.get(project).and_then(|seen| seen.heard).is_some_and(|heard| heard >= since)
    }
}

/// What events tell of.
fn how_they_stand(containers: &[Container]) -> Vec<(&str, &ContainerState, &Health)> {
    containers.iter().map(|one| (one.id.as_str(), &one.state, &one.health)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;
    use std::time::Instant;

    use crate::engine::compose::containers::tests::container;
    use crate::engine::compose::memory::Look;
    use crate::engine::compose::memory::Memory;
    use crate::engine::compose::memory::STANDS;
    use crate::engine::compose::memory::UNHEARD;
    use crate::engine::compose::memory::WANTED;
    use crate::engine::container::Container;

    const LONG: Duration = Duration::from_secs(30);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// A look that took no time.
    fn at(began: Instant) -> Look {
        Look { began, took: Duration::ZERO }
    }

    fn one(service: &str) -> Arc<Vec<Container>> {
        Arc::new(vec![container(service, "running", 0)])
    }

    fn attended() -> (Memory, Instant) {
        let mut memory = Memory { is_attended: true, ..Memory::default() };
        let start = Instant::now();
        memory.listens(start);
        memory.hear("another", start);
        (memory, start + Duration::from_millis(1))
    }

    #[test]
    fn a_look_holds_until_something_happens() {
        let (mut memory, start) = attended();
        assert!(memory.recall("site", LONG, start).is_none());
        memory.begin("site");
        memory.keep("site", &one("web"), at(start));
        let (known, age) = memory.recall("site", LONG, start + seconds(29)).unwrap();
        assert_eq!((known, age), (one("web"), seconds(29)));
        assert!(memory.recall("site", LONG, start + seconds(31)).is_none(), "it has an age");
        memory.hear("other", start + seconds(1));
        assert!(memory.recall("site", LONG, start + seconds(2)).is_some());
        memory.hear("site", start + seconds(3));
        assert!(memory.recall("site", LONG, start + seconds(3)).is_none());
        assert!(memory.has_heard("site", start + seconds(2)) && !memory.has_heard("site", start + seconds(4)));
    }

    #[test]
    fn what_happens_during_a_look_is_not_missed() {
        let (mut memory, start) = attended();
        memory.begin("site");
        memory.hear("site", start + seconds(1));
        memory.keep("site", &one("web"), at(start));
        assert!(memory.recall("site", LONG, start + seconds(1)).is_none());
        memory.keep("site", &one("web"), at(start + seconds(2)));
        assert!(memory.recall("site", LONG, start + seconds(2)).is_some());
        // A slower look that was begun before does not take its place.
        memory.keep("site", &one("old"), at(start));
        assert_eq!(memory.recall("site", LONG, start + seconds(2)).unwrap().0, one("web"));
    }

    #[test]
    fn a_look_at_all_tells_of_those_that_have_nothing() {
        let (mut memory, start) = attended();
        let found = |services: &[&str]| -> HashMap<String, Vec<Container>> {
            services.iter().map(|service| ((*service).to_owned(), vec![container(service, "running", 0)])).collect()
        };
        memory.keep_all(found(&["site", "shop"]), at(start));
        assert_eq!(memory.recall("shop", LONG, start).unwrap().0, one("shop"));
        assert_eq!(memory.recall("empty", LONG, start).unwrap().0, Arc::default());
        memory.hear("empty", start + seconds(1));
        assert!(memory.recall("empty", LONG, start + seconds(1)).is_none());
        // It went with its last container.
        memory.keep_all(found(&["site"]), at(start + seconds(2)));
        for gone in ["shop", "empty"] {
            assert_eq!(memory.recall(gone, LONG, start + seconds(2)).unwrap().0, Arc::default());
        }
        // What happened while all were looked at may have happened to any that was not known.
        memory.hear("shop", start + seconds(4));
        memory.keep_all(found(&["site", "shop", "fresh"]), at(start + seconds(3)));
        assert!(memory.recall("site", LONG, start + seconds(4)).is_some());
        assert!(memory.recall("shop", LONG, start + seconds(4)).is_none());
        assert!(memory.recall("fresh", LONG, start + seconds(4)).is_none());
    }

    #[test]
    fn without_events_a_look_is_good_for_a_moment() {
        let (mut memory, start) = attended();
        memory.listens_no_more();
        memory.begin("site");
        memory.keep("site", &one("web"), at(start));
        assert!(memory.recall("site", LONG, start + UNHEARD).is_some());
        assert!(memory.recall("site", LONG, start + seconds(1)).is_none());
        memory.listens(start);
        assert!(memory.recall("site", LONG, start).is_none(), "what happened in between was not heard");
    }

    #[test]
    fn a_slow_look_is_good_for_a_moment_behind_its_end() {
        let (mut memory, start) = attended();
        memory.listens_no_more();
        assert!(!memory.ask("site", start));
        memory.begin("site");
        memory.keep("site", &one("web"), Look { began: start, took: seconds(3) });
        assert!(memory.ask("shop", start + seconds(3)), "the next service of the page is asked for when the first was answered");
        memory.keep_all(HashMap::new(), Look { began: start + seconds(3), took: seconds(4) });
        assert!(memory.recall("shop", LONG, start + seconds(7) + UNHEARD).is_some());
        assert!(memory.recall("shop", LONG, start + seconds(8)).is_none());
        assert!(memory.recall("shop", Duration::ZERO, start + seconds(7)).is_none(), "who asks for more gets it");
    }

    #[test]
    fn a_line_that_may_not_stand_yet_proves_nothing() {
        let (mut memory, start) = attended();
        memory.listens(start);
        memory.begin("site");
        memory.keep("site", &one("web"), at(start + seconds(1)));
        assert!(memory.recall("site", LONG, start + seconds(1)).is_some());
        assert!(memory.recall("site", LONG, start + seconds(3)).is_none(), "what happened meanwhile may not have been heard");
        let mut by_time = memory;
        by_time.keep("site", &one("web"), at(start + STANDS));
        assert!(by_time.recall("site", LONG, start + STANDS + seconds(9)).is_some());
        let (mut memory, start) = attended();
        memory.listens(start);
        memory.hear("another", start + seconds(2));
        memory.begin("site");
        memory.keep("site", &one("web"), at(start + seconds(2)));
        assert!(memory.recall("site", LONG, start + seconds(9)).is_some(), "an event has proven the line");
    }

    #[test]
    fn events_are_wanted_for_a_deployment_and_by_who_asks_again() {
        let (mut memory, start) = attended();
        assert!(!memory.is_wanted(start));
        assert!(!memory.ask("site", start));
        // The services of one page are one question.
        assert!(memory.ask("shop", start) && !memory.ask("shop", start));
        assert!(memory.is_wanted(start) && !memory.wants_events(start));
        assert!(!memory.ask("site", start + seconds(1)));
        assert!(memory.wants_events(start + seconds(1)) && !memory.is_wanted(start + seconds(1) + WANTED));
        memory.need();
        assert!(memory.wants_events(start + seconds(100)));
        memory.clear();
        memory.need_no_more();
        assert!(!memory.is_wanted(start + seconds(1)));
    }

    #[test]
    fn a_dead_line_is_found_out_by_a_look() {
        let (mut memory, start) = attended();
        memory.begin("site");
        memory.keep("site", &one("web"), at(start));
        memory.keep("site", &one("web"), at(start + seconds(1)));
        assert!(!memory.is_deaf(start + seconds(9)), "nothing has happened");
        let ended = [container("web", "exited", 0)];
        memory.keep("site", &ended, at(start + seconds(2)));
        assert!(!memory.is_deaf(start + seconds(3)), "its event may be under way");
        assert!(memory.is_deaf(start + seconds(4)));
        memory.hear("site", start + seconds(4));
        assert!(!memory.is_deaf(start + seconds(9)));
    }

    #[test]
    fn nothing_is_kept_that_nobody_wants() {
        let mut memory = Memory::default();
        memory.begin("site");
        memory.keep("site", &one("web"), at(Instant::now()));
        memory.keep_all(HashMap::from([("site".to_owned(), Vec::new())]), at(Instant::now()));
        assert!(memory.projects.is_empty() && memory.all.is_none());
    }
}
