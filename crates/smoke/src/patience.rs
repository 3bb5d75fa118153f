//! When to try again.

use std::time::Duration;

use tokio::time::Instant;

use crate::catalogue::Wait;
use crate::catalogue::explain;
use crate::plan::SmokePlan;
use crate::report::Severity;
use crate::sample::Sample;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const CONFIRM_PAUSE: Duration = Duration::from_millis(500);

/// What follows an attempt.
pub(super) enum Next {
    /// The attempt is the result.
    Stands,
    /// Try again after `pause`, because of `why`.
    Again {
        /// How long to wait before.
        pause: Duration,
        /// A sentence.
        why: String,
    },
}

/// The two windows, the page's and the certificate's, and the growing pauses.
pub(super) struct Patience {
    within: Duration,
    certificate_until: Instant,
    /// The page's window starts again when the certificate has come.
    page_since: Instant,
    certificate_was_pending: bool,
    looks: u32,
}

impl Patience {
    /// Both windows begin now.
    pub(super) fn new(plan: &SmokePlan) -> Self {
        let now = Instant::now();
        Self {
            within: plan.within,
            certificate_until: now + plan.certificate_within,
            page_since: now,
            certificate_was_pending: false,
            looks: 0,
        }
    }

    /// What follows `sample`, when `before` was the previous attempt.
    pub(super) fn after(&mut self, sample: &Sample, before: Option<&Sample>) -> Next {
        self.looks += 1;
        let wait = longest_wait(sample);
        let pending = wait == Wait::Certificate;
        if self.certificate_was_pending && !pending {
            self.page_since = Instant::now();
        }
        self.certificate_was_pending = pending;
        let page_until = self.page_since + self.within;
        // A clean attempt after a faulty one may have met the other of two builds behind one name.
        let was_faulty = before.is_some_and(|before| longest_wait(before) == Wait::Confirm);
        match wait {
            Wait::No if was_faulty => self.confirm(sample, before, page_until),
            Wait::No => Next::Stands,
            Wait::Confirm => self.confirm(sample, before, page_until),
            Wait::Page => self.until(page_until, sample),
            Wait::Certificate => self.until(self.certificate_until, sample),
        }
    }

    fn until(&self, end: Instant, sample: &Sample) -> Next {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Next::Stands;
        }
        let why = format!("{} Trying again for up to {} s.", first_message(sample), left.as_secs().max(1));
        // The last attempt is at the very end of the window and not before it.
        Next::Again { pause: self.growing_pause().min(left), why }
    }

    fn growing_pause(&self) -> Duration {
        // Four quick attempts are enough while a container is being switched; after them each pause is twice the last.
        let doublings = self.looks.saturating_sub(4).min(8);
        (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
    }

    fn confirm(&self, sample: &Sample, before: Option<&Sample>, end: Instant) -> Next {
        let agreed = before.is_some_and(|before| before.agrees(sample));
        let over = before.is_some() && Instant::now() >= end;
        if sample.proven || agreed || over {
            return Next::Stands;
        }
        let saw = if sample.findings.is_empty() { "Nothing is wrong any more.".to_owned() } else { first_message(sample) };
        Next::Again { pause: CONFIRM_PAUSE.min(self.within), why: format!("{saw} Checking once more to be sure.") }
    }
}

/// The longest wait that one of the failing findings asks for; a warning is not worth one.
fn longest_wait(sample: &Sample) -> Wait {
    let failing = sample.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let waits = failing.filter_map(|finding| explain(&finding.rule)).map(|rule| rule.wait);
    let rank = |wait: &Wait| match wait {
        Wait::No => 0,
        Wait::Confirm => 1,
        Wait::Page => 2,
        Wait::Certificate => 3,
    };
    waits.max_by_key(rank).unwrap_or(Wait::No)
}

fn first_message(sample: &Sample) -> String {
    sample.findings.first().map(|finding| finding.message.clone()).unwrap_or_default()
}
