//! Limits how long each part of a request may take. actix limits only the time of a connection's first head, and never the time of an
//! answer; this module is below actix and sees every byte that is read and written.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// For the first head and a TLS handshake before it. actix itself answers 408 a little sooner, if the handshake is complete.
const FIRST_HEAD: Duration = Duration::from_millis(4_500);
/// For each further head, from its first byte.
const LATER_HEAD: Duration = Duration::from_secs(3);
/// How long an answer may make no progress.
const WRITE: Duration = Duration::from_secs(15);
/// A client that reads an answer must accept at least this many bytes a second on average.
const WRITE_BYTES_PER_S: f64 = 4096.0;

/// The time limits of one connection, and what it is doing now.
#[derive(Debug)]
pub(in crate::http) struct Pace {
    phase: Cell<Phase>,
    /// By when the pending bytes must be written; none if no bytes are pending.
    write_until: Cell<Option<Instant>>,
    idle: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing of the next request has arrived; it must begin by then.
    Between(Instant),
    /// The head is arriving; it must be complete by then.
    Head(Instant),
    /// The request is being answered. The time for its body is limited where the body is read.
    Call,
}

impl Pace {
    /// For a connection that was just accepted. `idle` is how long it may wait for another request.
    pub(super) fn new(idle: Duration) -> Self {
        Self { phase: Cell::new(Phase::Head(Instant::now() + FIRST_HEAD)), write_until: Cell::default(), idle }
    }

    /// Bytes have arrived. Returns whether they are the beginning of a further head.
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

    /// A head is complete.
    pub(super) fn call_begins(&self) {
        self.phase.set(Phase::Call);
    }

    /// Whether a further request is being handled.
    pub(super) fn has_more_calls(&self) -> bool {
        self.phase.get() == Phase::Call
    }

    /// The answer is complete, but may not be sent yet.
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
            // A client that has read quickly may not stand still for longer afterwards.
            let earned = until + Duration::from_secs_f64(bytes as f64 / WRITE_BYTES_PER_S);
            self.write_until.set(Some(earned.min(Instant::now() + WRITE)));
        }
    }

    /// Everything was written.
    pub(super) fn is_written(&self) {
        self.write_until.set(None);
    }

    pub(super) fn waits_to_write(&self) -> bool {
        self.write_until.get().is_some()
    }

    /// When the connection is closed unless something happens before.
    pub(super) fn cut_at(&self) -> Option<Instant> {
        let phase = match self.phase.get() {
            // A client cannot be expected to send another request before it has the answer.
            Phase::Between(until) | Phase::Head(until) => Some(until).filter(|_| !self.waits_to_write()),
            Phase::Call => None,
        };
        phase.into_iter().chain(self.write_until.get()).min()
    }
}
