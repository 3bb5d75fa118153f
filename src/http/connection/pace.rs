//! How long each part of a connection may take. actix times the first head of a connection only and no answer at all, so this
//! stands under it and sees every byte that goes in and out.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// For the first head, a TLS handshake among it. actix itself answers 408 a little sooner, where there is anybody to answer.
const FIRST_HEAD: Duration = Duration::from_millis(4_500);
/// For each later head, from its first byte on.
const LATER_HEAD: Duration = Duration::from_secs(3);
/// How long an answer may stand still.
const WRITE: Duration = Duration::from_secs(15);
/// Anybody who reads must take so many bytes a second on the whole.
const WRITE_BYTES_PER_S: f64 = 4096.0;

/// Where a connection stands in time.
#[derive(Debug)]
pub(in crate::http) struct Pace {
    phase: Cell<Phase>,
    /// Until when what is to be written must be out; none while nothing waits.
    write_until: Cell<Option<Instant>>,
    idle: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing of the next call has come.
    Between(Instant),
    /// Its head comes.
    Head(Instant),
    /// It is being answered; how long its body may take is known where it is read.
    Call,
}

impl Pace {
    /// Of a connection that was just made. `idle`: how long it may wait for a further call.
    pub(super) fn new(idle: Duration) -> Self {
        Self { phase: Cell::new(Phase::Head(Instant::now() + FIRST_HEAD)), write_until: Cell::default(), idle }
    }

    /// Something has come. Returns whether it is the beginning of a further head.
    pub(super) fn has_read(&self) -> bool {
        let is_first = matches!(self.phase.get(), Phase::Between(_));
        if is_first {
            self.phase.set(Phase::Head(Instant::now() + LATER_HEAD));
        }
        is_first
    }

    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.phase.get(), Phase::Head(_))
    }

    /// A head was whole.
    pub(super) fn call_begins(&self) {
        self.phase.set(Phase::Call);
    }

    /// Whether a further call has begun.
    pub(super) fn has_more_calls(&self) -> bool {
        self.phase.get() == Phase::Call
    }

    /// The answer is made; it may still be on its way out.
    pub(super) fn call_ends(&self) {
        self.phase.set(Phase::Between(Instant::now() + self.idle));
    }

    pub(super) fn must_wait_to_write(&self) {
        if self.write_until.get().is_none() {
            self.write_until.set(Some(Instant::now() + WRITE));
        }
    }

    pub(super) fn has_written(&self, bytes: usize) {
        if let Some(until) = self.write_until.get() {
            // What was taken quickly is no credit for standing still later.
            let earned = until + Duration::from_secs_f64(bytes as f64 / WRITE_BYTES_PER_S);
            self.write_until.set(Some(earned.min(Instant::now() + WRITE)));
        }
    }

    /// Everything is out.
    pub(super) fn is_written(&self) {
        self.write_until.set(None);
    }

    pub(super) fn waits_to_write(&self) -> bool {
        self.write_until.get().is_some()
    }

    /// When the connection is cut unless something happens first.
    pub(super) fn cut_at(&self) -> Option<Instant> {
        let phase = match self.phase.get() {
            // Until the answer is out nobody can be expected to ask again.
            Phase::Between(until) | Phase::Head(until) => Some(until).filter(|_| !self.waits_to_write()),
            Phase::Call => None,
        };
        phase.into_iter().chain(self.write_until.get()).min()
    }
}
