//! Where following a dataset stands: one state, which its parts change and which everybody may wait for.

use std::sync::Arc;

use tokio::sync::watch;

use crate::model::Commit;
use crate::reload::ran::Ran;

/// The state, and who watches it.
#[derive(Debug, Default)]
pub(super) struct Watched(watch::Sender<State>);

#[derive(Debug, Default)]
struct State {
    /// How many reloads were asked for.
    asked: u64,
    /// How many had been when the last one that has ended began.
    answered: u64,
    /// What that one came to.
    ran: Option<Arc<Ran>>,
    /// Whether one of those who wait wants peers to hear of what is new.
    tell_peers: bool,
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
    /// Whoever had asked by now is answered by it.
    up_to: u64,
    /// Whether peers hear of what it brings.
    pub(super) tell_peers: bool,
}

impl Watched {
    /// A reload is wanted; [`Watched::answer_to`] gives what it came to. Whoever comes while one runs is answered by the next.
    pub(super) fn ask(&self, tell_peers: bool) -> u64 {
        let mut mine = 0;
        self.0.send_modify(|state| {
            state.asked += 1;
            state.tell_peers |= tell_peers;
            mine = state.asked;
        });
        mine
    }

    /// What the reload came to that [`Watched::ask`] asked for.
    pub(super) async fn answer_to(&self, mine: u64) -> Option<Arc<Ran>> {
        let mut state = self.0.subscribe();
        // The sender lives as long as this does.
        state.wait_for(|state| state.answered >= mine).await.ok()?.ran.clone()
    }

    /// Waits until a reload is wanted.
    pub(super) async fn is_asked(&self) {
        let _ = self.0.subscribe().wait_for(|state| state.asked > state.answered).await;
    }

    /// A reload that nobody asked for tells peers too.
    pub(super) fn is_due(&self) {
        self.0.send_modify(|state| state.tell_peers = true);
    }

    /// A reload begins: whoever asks from here on is answered by the next one.
    pub(super) fn begin(&self) -> Turn {
        let mut turn = Turn { up_to: 0, tell_peers: false };
        self.0.send_modify(|state| turn = Turn { up_to: state.asked, tell_peers: std::mem::take(&mut state.tell_peers) });
        turn
    }

    /// It has ended, and whoever waits for it is answered.
    pub(super) fn answer(&self, turn: &Turn, ran: Ran) {
        self.0.send_modify(|state| (state.answered, state.ran) = (turn.up_to, Some(Arc::new(ran))));
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
    use super::Watched;
    use crate::reload::ran::Load;
    use crate::reload::ran::Ran;

    fn ran(pushed: u64) -> Ran {
        Ran { reconciled: None, note: None, from: None, to: None, parked: None, pushed, is_behind: false, load: Load::Nothing }
    }

    #[tokio::test]
    async fn whoever_asks_while_one_runs_is_answered_by_the_next() {
        let watched = Watched::default();
        let first = watched.ask(false);
        watched.is_asked().await;
        let turn = watched.begin();
        let second = watched.ask(true);
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

    #[test]
    fn a_folder_is_begun_once() {
        let watched = Watched::default();
        assert!(!watched.has_begun() && watched.begins() && !watched.begins() && watched.has_begun() && !watched.is_ready());
        watched.set_ready();
        assert!(watched.is_ready() && !watched.begins() && watched.is_ready());
    }
}
