//! Where following a dataset stands: one state, which its parts change and which everybody may wait for.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use crate::model::Commit;
use crate::reload::ran::Ran;

/// The results of so many reloads are kept for callers that have not woken up yet.
const KEPT: usize = 16;

/// The state, and who watches it.
#[derive(Debug, Default)]
pub(super) struct Watched(watch::Sender<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of the last reload that began; the first is 1.
    begun: u64,
    /// The number of the last one that ended.
    ended: u64,
    /// What the last ones came to, by their numbers, oldest first: who waits for one may wake up when the next has ended already.
    ran: VecDeque<(u64, Arc<Ran>)>,
    /// The last reload that somebody waits for.
    wanted: u64,
    /// Whether one of those who wait for the next reload wants peers to hear of what is new.
    tell_peers: bool,
    /// Whether peers hear of what the last reload that began brings.
    tells_peers: bool,
    /// The commit that the app has loaded last.
    loaded: Option<Commit>,
    /// Whether this process has seen the app serve it.
    is_known_loaded: bool,
    folder: Folder,
    /// The commit that peers have heard of, or that one of them has told us.
    told: Option<Commit>,
    /// Whether anything of it runs.
    runs: bool,
}

/// How far this process has made the folder ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Folder {
    #[default]
    Untouched,
    Begun,
    Ready,
}

/// The reload that is about to begin.
pub(super) struct Turn {
    number: u64,
    /// Whether peers hear of what it brings.
    pub(super) tell_peers: bool,
}

/// The moment at which a caller came: a reload that begins later is an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    begun: u64,
}

/// The reload that a caller waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited {
    number: u64,
}

impl Watched {
    /// A caller is here now, and looks first whether a reload is needed.
    pub(super) fn arrive(&self) -> Arrival {
        Arrival { begun: self.0.borrow().begun }
    }

    /// A reload is wanted by a caller who came at `arrival`; [`Watched::answer_to`] gives what it came to. One that has begun since
    /// then is the answer, so that a caller who was slow to ask costs no reload of its own; else it is the next one.
    pub(super) fn ask(&self, arrival: Arrival, tell_peers: bool) -> Awaited {
        let mut number = 0;
        self.0.send_modify(|state| {
            let has_begun = state.begun > arrival.begun && (state.tells_peers || !tell_peers);
            number = if has_begun { state.begun } else { state.begun + 1 };
            state.tell_peers |= tell_peers && !has_begun;
            state.wanted = state.wanted.max(number);
        });
        Awaited { number }
    }

    /// What the reload came to that [`Watched::ask`] asked for.
    pub(super) async fn answer_to(&self, awaited: Awaited) -> Option<Arc<Ran>> {
        let mut state = self.0.subscribe();
        // The sender lives as long as this does.
        let state = state.wait_for(|state| state.ended >= awaited.number).await.ok()?;
        state.ran.iter().find(|(number, _)| *number >= awaited.number).map(|(_, ran)| Arc::clone(ran))
    }

    /// Waits until a reload is wanted.
    pub(super) async fn is_asked(&self) {
        let _ = self.0.subscribe().wait_for(|state| state.wanted > state.ended).await;
    }

    /// A reload that nobody asked for tells peers too.
    pub(super) fn is_due(&self) {
        self.0.send_modify(|state| state.tell_peers = true);
    }

    /// A reload begins: who comes from here on is answered by the next one.
    pub(super) fn begin(&self) -> Turn {
        let mut turn = Turn { number: 0, tell_peers: false };
        self.0.send_modify(|state| {
            state.begun += 1;
            state.tells_peers = std::mem::take(&mut state.tell_peers);
            turn = Turn { number: state.begun, tell_peers: state.tells_peers };
        });
        turn
    }

    /// The reload has ended, and all who wait for it are answered.
    pub(super) fn answer(&self, turn: &Turn, ran: Ran) {
        self.0.send_modify(|state| {
            state.ended = turn.number;
            state.ran.push_back((turn.number, Arc::new(ran)));
            if state.ran.len() > KEPT {
                state.ran.pop_front();
            }
        });
    }

    /// The commit that the app has loaded last.
    pub(super) fn loaded(&self) -> Option<Commit> {
        self.0.borrow().loaded.clone()
    }

    pub(super) fn set_loaded(&self, commit: Option<Commit>) {
        self.0.send_modify(|state| state.loaded = commit);
    }

    /// Whether this process has seen the app serve what is recorded as loaded.
    pub(super) fn is_known_loaded(&self) -> bool {
        self.0.borrow().is_known_loaded
    }

    pub(super) fn set_known_loaded(&self, is_known: bool) {
        self.0.send_modify(|state| state.is_known_loaded = is_known);
    }

    /// Whether the folder was made ready in this process.
    pub(super) fn is_ready(&self) -> bool {
        self.0.borrow().folder == Folder::Ready
    }

    pub(super) fn set_ready(&self) {
        self.0.send_modify(|state| state.folder = Folder::Ready);
    }

    /// Whether this process has not begun to make the folder ready before; it has from now on.
    pub(super) fn begins(&self) -> bool {
        let mut before = Folder::Untouched;
        self.0.send_modify(|state| {
            before = state.folder;
            state.folder = state.folder.max(Folder::Begun);
        });
        before == Folder::Untouched
    }

    /// Whether this process has begun to make the folder ready.
    pub(super) fn has_begun(&self) -> bool {
        self.0.borrow().folder != Folder::Untouched
    }

    /// Whether peers have not heard of `commit`.
    pub(super) fn is_news(&self, commit: &Commit) -> bool {
        self.0.borrow().told.as_ref() != Some(commit)
    }

    /// Peers hear of `commit`. Whether it is news to them.
    pub(super) fn tell(&self, commit: &Commit) -> bool {
        let mut before = None;
        self.0.send_modify(|state| before = state.told.replace(commit.clone()));
        before.as_ref() != Some(commit)
    }

    /// Whether anything of it runs.
    pub(super) fn runs(&self) -> bool {
        self.0.borrow().runs
    }

    pub(super) fn set_runs(&self, runs: bool) {
        self.0.send_modify(|state| state.runs = runs);
    }

    /// Ends when nothing of it runs any more.
    pub(super) async fn has_ended(&self) {
        let _ = self.0.subscribe().wait_for(|state| !state.runs).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::Watched;
    use crate::reload::ran::Load;
    use crate::reload::ran::Ran;

    fn ran(pushed: u64) -> Ran {
        Ran { reconciled: None, note: None, from: None, to: None, parked: None, pushed, is_behind: false, load: Load::Nothing }
    }

    #[tokio::test]
    async fn who_comes_while_one_runs_is_answered_by_the_next() {
        let watched = Watched::default();
        let first = watched.ask(watched.arrive(), false);
        watched.is_asked().await;
        let turn = watched.begin();
        let second = watched.ask(watched.arrive(), true);
        assert!(!turn.tell_peers);
        watched.answer(&turn, ran(1));
        assert_eq!(watched.answer_to(first).await.map(|ran| ran.pushed), Some(1));
        watched.is_asked().await;
        let turn = watched.begin();
        assert!(turn.tell_peers);
        watched.answer(&turn, ran(2));
        assert_eq!(watched.answer_to(second).await.map(|ran| ran.pushed), Some(2));
        // Nobody waits any more, and the wish of the last turn is not one of the next.
        assert!(!watched.begin().tell_peers);
    }

    #[tokio::test]
    async fn who_came_before_one_began_is_answered_by_it_however_late_the_question() {
        let watched = Watched::default();
        let arrival = watched.arrive();
        let turn = watched.begin();
        let during = watched.ask(arrival, false);
        watched.answer(&turn, ran(1));
        let after = watched.ask(arrival, false);
        for awaited in [during, after] {
            assert_eq!(watched.answer_to(awaited).await.map(|ran| ran.pushed), Some(1));
        }
        assert!(watched.is_asked().now_or_never().is_none());
        // Peers did not hear of that one.
        let tells = watched.ask(arrival, true);
        watched.is_asked().await;
        watched.answer(&watched.begin(), ran(2));
        assert_eq!(watched.answer_to(tells).await.map(|ran| ran.pushed), Some(2));
    }

    #[tokio::test]
    async fn who_wakes_up_late_gets_the_answer_to_the_own_question() {
        let watched = Watched::default();
        let mut waiting = Vec::new();
        for pushed in 1..=40 {
            waiting.push((pushed, watched.ask(watched.arrive(), false)));
            watched.answer(&watched.begin(), ran(pushed));
        }
        let latest = waiting.split_off(24);
        for (pushed, awaited) in latest {
            assert_eq!(watched.answer_to(awaited).await.map(|ran| ran.pushed), Some(pushed));
        }
        // Much later, a later one is an answer as well.
        for (_, awaited) in waiting {
            assert_eq!(watched.answer_to(awaited).await.map(|ran| ran.pushed), Some(25));
        }
    }

    #[tokio::test]
    async fn a_reload_that_broke_is_wanted_still() {
        let watched = Watched::default();
        let awaited = watched.ask(watched.arrive(), false);
        let _broken = watched.begin();
        watched.is_asked().await;
        watched.answer(&watched.begin(), ran(1));
        assert_eq!(watched.answer_to(awaited).await.map(|ran| ran.pushed), Some(1));
    }

    #[test]
    fn a_folder_is_begun_once() {
        let watched = Watched::default();
        assert!(!watched.has_begun() && watched.begins() && !watched.begins() && watched.has_begun() && !watched.is_ready());
        watched.set_ready();
        assert!(watched.is_ready() && !watched.begins() && watched.is_ready());
    }
}
