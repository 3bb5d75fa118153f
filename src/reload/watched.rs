//! The state of following a dataset, which its parts change and for which anybody may wait.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use crate::model::Commit;
use crate::reload::ran::Ran;

/// How many results of reloads are kept for callers that have not woken up yet.
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
    /// The last results, by their numbers, oldest first: a caller may wake up when the next reload has already ended.
    ran: VecDeque<(u64, Arc<Ran>)>,
    /// The last reload that somebody waits for.
    wanted: u64,
    /// Whether a caller who waits for the next reload wants peers to be told.
    tell_peers: bool,
    /// Whether peers are told about the result of the last reload that began.
    tells_peers: bool,
    /// The commit that the app loaded last.
    loaded: Option<Commit>,
    /// Whether this process has seen that the app serves it.
    is_known_loaded: bool,
    folder: Folder,
    /// The commit that peers were told about, or that one of them has told us.
    told: Option<Commit>,
    /// Whether anything of it is running.
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
    /// Whether peers are told about its result.
    pub(super) tell_peers: bool,
}

/// The moment at which a caller arrived: a reload that begins later is an answer.
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
    /// A caller arrives now, and first checks whether a reload is needed.
    pub(super) fn arrive(&self) -> Arrival {
        Arrival { begun: self.0.borrow().begun }
    }

    /// A caller who arrived at `arrival` requests a reload; [`Watched::answer_to`] returns its result. A reload that has begun
    /// since then is the answer, so that a slow caller causes no reload of its own; otherwise it is the next one.
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

    /// The result of the reload that [`Watched::ask`] requested.
    pub(super) async fn answer_to(&self, awaited: Awaited) -> Option<Arc<Ran>> {
        let mut state = self.0.subscribe();
        // The sender lives as long as this value.
        let state = state.wait_for(|state| state.ended >= awaited.number).await.ok()?;
        state.ran.iter().find(|(number, _)| *number >= awaited.number).map(|(_, ran)| Arc::clone(ran))
    }

    /// Waits until a reload is requested.
    pub(super) async fn is_asked(&self) {
        let _ = self.0.subscribe().wait_for(|state| state.wanted > state.ended).await;
    }

    /// A reload that nobody requested tells peers too.
    pub(super) fn is_due(&self) {
        self.0.send_modify(|state| state.tell_peers = true);
    }

    /// A reload begins: callers who arrive from now on are answered by the next one.
    pub(super) fn begin(&self) -> Turn {
        let mut turn = Turn { number: 0, tell_peers: false };
        self.0.send_modify(|state| {
            state.begun += 1;
            state.tells_peers = std::mem::take(&mut state.tell_peers);
            turn = Turn { number: state.begun, tell_peers: state.tells_peers };
        });
        turn
    }

    /// The reload has ended, and everybody who waits for it is answered.
    pub(super) fn answer(&self, turn: &Turn, ran: Ran) {
        self.0.send_modify(|state| {
            state.ended = turn.number;
            state.ran.push_back((turn.number, Arc::new(ran)));
            if state.ran.len() > KEPT {
                state.ran.pop_front();
            }
        });
    }

    /// The commit that the app loaded last.
    pub(super) fn loaded(&self) -> Option<Commit> {
        self.0.borrow().loaded.clone()
    }

    pub(super) fn set_loaded(&self, commit: Option<Commit>) {
        self.0.send_modify(|state| state.loaded = commit);
    }

    /// Whether this process has seen that the app serves the commit that is recorded as loaded.
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

    /// Whether this process has not begun to make the folder ready before; from now on it has.
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

    /// Whether peers were not told about `commit` yet.
    pub(super) fn is_news(&self, commit: &Commit) -> bool {
        self.0.borrow().told.as_ref() != Some(commit)
    }

    /// Notes that peers are told about `commit`. Returns whether it is news to them.
    pub(super) fn tell(&self, commit: &Commit) -> bool {
        let mut before = None;
        self.0.send_modify(|state| before = state.told.replace(commit.clone()));
        before.as_ref() != Some(commit)
    }

    /// Whether anything of it is running.
    pub(super) fn runs(&self) -> bool {
        self.0.borrow().runs
    }

    pub(super) fn set_runs(&self, runs: bool) {
        self.0.send_modify(|state| state.runs = runs);
    }

    /// Returns when nothing of it is running any more.
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
        // Nobody waits any more, and a wish of the last round does not count for the next one.
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
        // Peers were not told about that one.
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
        // Much later, a later reload is an answer as well.
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
