//! The steps of a deployment as a time line.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::clock;
use crate::http::dashboard::plot::short;
use crate::http::dashboard::words::spaced;
use crate::http::dashboard::words::span;
use crate::model::DeploymentId;
use crate::model::Outcome;
use crate::model::Stage;
use crate::model::State;
use crate::model::Step;
use crate::store::Deployment;
use crate::store::Store;
use crate::store::StoreError;

/// How many steps are read of a deployment: it may have been taken up again and again.
const MOST: i64 = 60;
/// The steps of how many ended deployments are remembered.
const MOST_KNOWN: usize = 2000;

/// A step, from its begin to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) step: Stage,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

/// The steps of deployments that have ended; they never change.
#[derive(Debug, Default)]
pub(in crate::http) struct Known(Mutex<HashMap<DeploymentId, Arc<Vec<Span>>>>);

impl Known {
    /// The steps of a deployment.
    pub(super) async fn of(&self, store: &Store, one: &Deployment) -> Result<Arc<Vec<Span>>, StoreError> {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&one.id) {
            return Ok(Arc::clone(known));
        }
        let began = store.steps_of(&one.id, MOST).await?;
        let end_ms = one.ended_ms.unwrap_or_else(clock::now_ms);
        let ends = began.iter().skip(1).map(|next| next.at_ms).chain([end_ms]);
        let spans = began.iter().zip(ends).map(|(one, to_ms)| Span { step: one.step, from_ms: one.at_ms, to_ms: to_ms.max(one.at_ms) });
        let spans = Arc::new(spans.collect::<Vec<_>>());
        if matches!(one.state, State::Done { .. }) {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
            known.insert(one.id.clone(), Arc::clone(&spans));
        }
        Ok(spans)
    }
}

/// A step as it is drawn, in a picture that is 100 wide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) width: String,
    pub(super) took: String,
}

/// The time line. The last step of what is running grows; the one at which a deployment failed stands out.
pub(super) fn drawn(spans: &[Span], state: &State) -> Vec<Drawn> {
    let Some((first, last)) = spans.first().zip(spans.last()) else { return Vec::new() };
    let all_ms = (last.to_ms - first.from_ms).max(1) as f64;
    let failed = match state {
        State::Done { outcome: Outcome::Live { .. } | Outcome::DryRun { .. } | Outcome::Cancelled { .. } | Outcome::Superseded { .. } } => {
            None
        }
        State::Done { outcome: Outcome::RollbackFailed { .. } } => Some(spans.len() - 1),
        _ => spans
            .iter()
            .rposition(|span| !span.step.is_unwinding())
            .filter(|at| at + 1 < spans.len() || matches!(state, State::Done { .. })),
    };
    let draw = |(at, span): (usize, &Span)| {
        let width = ((span.to_ms - span.from_ms) as f64 / all_ms * 100.0).max(0.6);
        let x = ((span.from_ms - first.from_ms) as f64 / all_ms * 100.0).min(100.0 - width);
        let is_now = at + 1 == spans.len() && matches!(state, State::Running { .. });
        let class = match (is_now, failed == Some(at), span.step.is_unwinding()) {
            (true, ..) => "busy",
            (_, true, _) => "bad",
            (.., true) => "undo",
            _ => "",
        };
        Drawn { name: named(span.step), class, x: short(x), width: short(width), took: span_text(span) }
    };
    spans.iter().enumerate().map(draw).collect()
}

fn span_text(one: &Span) -> String {
    span(one.to_ms - one.from_ms)
}

fn named(step: Stage) -> String {
    if step.is_unwinding() { format!("back: {}", spaced(step.as_str().trim_start_matches("undo_"))) } else { spaced(step.as_str()) }
}

/// Groups of steps, for plots of many deployments: their names, and the classes that colour them.
pub(super) const GROUPS: [(&str, &str); 5] = [("before", "s5"), ("pull", "s1"), ("up and healthy", "s2"), ("page", "s4"), ("back", "s3")];

/// To which of [`GROUPS`] a step belongs.
pub(super) fn group(step: Stage) -> usize {
    match step {
        Stage::Landing(Step::Guards | Step::Resolve | Step::Preflight | Step::BeforeHook) => 0,
        Stage::Landing(Step::Pull) => 1,
        Stage::Landing(Step::Pin | Step::Up | Step::Health) => 2,
        Stage::Landing(Step::Smoke | Step::AfterHook) => 3,
        Stage::Unwinding(_) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::Span;
    use super::drawn;
    use crate::model::Outcome;
    use crate::model::Stage;
    use crate::model::State;
    use crate::model::Step;
    use crate::model::StepBack;

    #[test]
    fn the_step_that_failed_stands_out_and_the_way_back_is_told_apart() {
        let span = |step: Stage, from_ms, to_ms| Span { step, from_ms, to_ms };
        let spans = [span(Step::Pull.into(), 0, 500), span(Step::Smoke.into(), 500, 900), span(StepBack::Up.into(), 900, 1000)];
        let back = State::Done { outcome: Outcome::RolledBack { why: String::new(), to: String::new(), verified_before: true } };
        let shown: Vec<_> = drawn(&spans, &back).into_iter().map(|one| (one.name, one.class, one.x, one.width, one.took)).collect();
        let want = [("pull", "", "0", "50", "500 ms"), ("smoke", "bad", "50", "40", "400 ms"), ("back: up", "undo", "90", "10", "100 ms")];
        let want: Vec<_> = want.map(|(a, b, c, d, e)| (a.to_owned(), b, c.to_owned(), d.to_owned(), e.to_owned())).to_vec();
        assert_eq!(shown, want);
        let live = State::Done { outcome: Outcome::Live { warnings: Vec::new(), page_seen: true } };
        assert!(drawn(&spans[..2], &live).iter().all(|one| one.class.is_empty()));
        let running = State::Running { step: Step::Smoke.into() };
        assert_eq!(drawn(&spans[..2], &running)[1].class, "busy");
        assert!(drawn(&[], &running).is_empty());
    }
}
