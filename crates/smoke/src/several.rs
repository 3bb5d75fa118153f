//! One look: the page is asked several times over, because two builds behind one name show only in some answers.

use std::cmp::Reverse;
use std::time::Duration;

use crate::client::Visitor;
use crate::plan::Release;
use crate::plan::SmokePlan;
use crate::report::Finding;
use crate::report::Severity;
use crate::sample::Sample;

/// Between two answers, so that a balancer has gone on to the next of its servers.
const PAUSE: Duration = Duration::from_millis(25);
/// All pauses of a look together: a good page is not made to wait.
const ALL_PAUSES: Duration = Duration::from_millis(300);

/// Asks once, and as often as the plan says when the first answer was right. What any of them shows is found; what not all
/// show says in how many of them it was seen. The release is proven when each of them shows it.
pub(super) async fn ask(visitor: &Visitor, plan: &SmokePlan, release: Option<&Release>) -> Sample {
    let first = Sample::take(visitor, plan, release, &[]).await;
    let is_right = first.findings.iter().all(|finding| finding.severity != Severity::Error);
    let mut answers = vec![first];
    let wanted = if is_right { plan.samples } else { 1 };
    let pause = PAUSE.min(ALL_PAUSES / wanted.max(2));
    for _ in 1..wanted {
        tokio::time::sleep(pause).await;
        let next = Sample::take(visitor, plan, release, &answers).await;
        let is_answer = next.status.is_some();
        answers.push(next);
        if !is_answer {
            // Each further one might take the whole time of a request.
            break;
        }
    }
    join(answers)
}

/// All answers as one.
fn join(answers: Vec<Sample>) -> Sample {
    let count = answers.len();
    let mut found: Vec<Found> = Vec::new();
    let mut joined: Option<Sample> = None;
    for (number, mut answer) in answers.into_iter().enumerate() {
        for finding in std::mem::take(&mut answer.findings) {
            // The same fault twice in one answer are two.
            match found.iter_mut().find(|found| found.last < number && found.finding.same_fault(&finding)) {
                Some(found) => found.is_seen_again(number, &finding),
                None => found.push(Found { finding, times: 1, last: number }),
            }
        }
        match &mut joined {
            None => joined = Some(answer),
            Some(joined) => joined.take_in(answer),
        }
    }
    let mut joined = joined.unwrap_or_default();
    joined.findings = found.into_iter().map(|found| found.into_finding(count)).collect();
    joined.findings.sort_by_key(|finding| Reverse(finding.severity));
    joined
}

/// A finding and how many answers showed it.
struct Found {
    finding: Finding,
    times: usize,
    last: usize,
}

impl Found {
    fn is_seen_again(&mut self, number: usize, again: &Finding) {
        self.times += 1;
        self.last = number;
        self.finding.severity = self.finding.severity.max(again.severity);
    }

    fn into_finding(self, answers: usize) -> Finding {
        let Self { mut finding, times, .. } = self;
        if times < answers {
            finding.message = format!("{} This happened in {times} of {answers} responses.", finding.message);
        }
        finding
    }
}
