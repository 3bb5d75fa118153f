//! Pushes own commits to the remote as they are made.

use std::path::PathBuf;

use process::Cancel;
use tokio::sync::Notify;
use tokio::sync::watch;

use crate::dataset::Dataset;
use crate::dataset::Push;
use crate::reload::note;
use crate::reload::note::Note;
use crate::reload::watched::Watched;

/// The push of own commits.
#[derive(Debug)]
pub(super) struct Pusher {
    dataset: Dataset,
    /// The file in which other processes find its state.
    notes: PathBuf,
    now: watch::Sender<Push>,
    wake: Notify,
}

impl Pusher {
    pub(super) fn new(dataset: Dataset, notes: PathBuf) -> Self {
        Self { dataset, notes, now: watch::Sender::new(Push::Done), wake: Notify::new() }
    }

    /// Pushes until `stop`. A reload is requested if the remote has moved on, and after a push, so that peers are told.
    pub(super) async fn keep_pushing(&self, watched: &Watched, stop: &Cancel) {
        let mut told = self.now.subscribe();
        let mut note = Note::keep(&self.notes);
        let watch = async {
            while told.changed().await.is_ok() {
                let now = told.borrow_and_update().clone();
                note.say(self.state());
                let is_due = match now {
                    Push::Behind => watched.is_ready(),
                    Push::Done => {
                        let head = self.dataset.head().await.ok().flatten();
                        watched.is_ready() && head.is_some_and(|head| watched.is_news(&head))
                    }
                    Push::Working | Push::Waiting { .. } | Push::Refused { .. } => false,
                };
                if is_due {
                    watched.ask(watched.arrive(), true);
                }
            }
        };
        tokio::select! {
            () = self.dataset.push_forever(&self.wake, &self.now, stop) => {}
            () = watch => {}
        }
    }

    /// Whether it waits for a reload.
    pub(super) fn is_behind(&self) -> bool {
        *self.now.borrow() == Push::Behind
    }

    /// A reload was successful: whatever waited for it continues.
    pub(super) fn go_on(&self) {
        if *self.now.borrow() != Push::Done {
            self.wake.notify_one();
        }
    }

    /// The reason why it waits; none: it does not wait.
    pub(super) fn state(&self) -> Option<String> {
        match &*self.now.borrow() {
            Push::Done | Push::Working => None,
            Push::Waiting { why, next_ms } => Some(format!("tried again in {} s: {}", next_ms.div_ceil(1000), why.trim_end())),
            Push::Refused { why } => Some(format!("the remote refused it, the next tries are further apart: {}", why.trim_end())),
            Push::Behind => Some("waits for a merge: the remote branch has moved on".to_owned()),
        }
    }

    /// The same for any process that pushes.
    pub(super) fn noted(&self) -> Option<String> {
        note::read(&self.notes)
    }
}
