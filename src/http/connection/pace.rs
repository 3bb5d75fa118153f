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
/// How long a line may make no progress in writing: those who use it have their own idea of who is gone, and a slow one is none of them.
const LINE_WRITE: Duration = Duration::from_mins(1);
/// How long what was said last on a line may take.
const LINE_END: Duration = Duration::from_secs(1);
/// A client that reads an answer must accept at least this many bytes a second on average.
const WRITE_BYTES_PER_S: f64 = 4096.0;

/// The time limits of one connection, and what it is doing now.
#[derive(Debug)]
pub(in crate::http) struct Pace {
    phase: Cell<Phase>,
    /// By when the pending bytes must be written; none if no bytes are pending.
    write_until: Cell<Option<Instant>>,
    idle: Duration,
    /// Whether the connection was upgraded, so that it stays for as long as both sides want.
    is_line: Cell<bool>,
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
        Self { phase: Cell::new(Phase::Head(Instant::now() + FIRST_HEAD)), write_until: Cell::default(), idle, is_line: Cell::default() }
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

    /// The connection was upgraded.
    pub(super) fn becomes_line(&self) {
        self.is_line.set(true);
    }

    pub(super) fn is_line(&self) -> bool {
        self.is_line.get()
    }

    /// The answer is complete, but may not be sent yet.
    pub(super) fn call_ends(&self) {
        // Nothing follows a line.
        let idle = if self.is_line() { LINE_END } else { self.idle };
        self.phase.set(Phase::Between(Instant::now() + idle));
    }

    fn most_to_write(&self) -> Duration {
        if self.is_line() { LINE_WRITE } else { WRITE }
    }

    pub(super) fn must_wait_to_write(&self) {
        if self.write_until.get().is_none() {
            self.write_until.set(Some(Instant::now() + self.most_to_write()));
        }
    }

    pub(super) fn has_written(&self, bytes: usize) {
        if let Some(until) = self.write_until.get() {
            // A client that has read quickly may not stand still for longer afterwards.
            let most = Instant::now() + self.most_to_write();
            let earned = until + Duration::from_secs_f64(bytes as f64 / WRITE_BYTES_PER_S);
            self.write_until.set(Some(if self.is_line() { most } else { earned.min(most) }));
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
