//! How delivery goes: deploys a week, the share of them that was undone, how long it took until a service was well again, and how long an
//! order takes to be live.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock;
use crate::http::dashboard::kept::Kept;
use crate::http::dashboard::kept::Patience;
use crate::http::dashboard::plot;
use crate::http::dashboard::plot::Bar;
use crate::http::dashboard::words::many;
use crate::http::dashboard::words::span;
use crate::model::OrderKind;
use crate::store::EndedAt;
use crate::store::Store;

const WEEK_MS: i64 = 7 * 86_400_000;
const WEEKS: usize = 12;
/// How many deployments figures are made of at most, the last ones.
const MOST: i64 = 5000;
/// They change slowly, and no page waits for them where it can show older ones.
const PATIENCE: Patience = Patience { good_for: Duration::from_secs(20), first: Duration::from_millis(40), again: Duration::ZERO };

/// One figure with its plot over the last weeks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) unit: &'static str,
    pub(super) hint: String,
    pub(super) bars: Vec<Bar>,
}

/// What figures are made of, as it was read last.
#[derive(Debug, Default)]
pub(in crate::http) struct Figures(Kept<Vec<EndedAt>>);

impl Figures {
    /// The figures over those services that are `visible`; empty if nothing has ended in that time. None: they are being made.
    pub(super) async fn now(&self, store: &Store, visible: impl Fn(&str) -> bool) -> Option<Vec<Figure>> {
        let store = store.clone();
        let ended = self.0.now(PATIENCE, || read(store)).await?;
        let seen: Vec<&EndedAt> = ended.iter().filter(|one| visible(&one.service)).collect();
        Some(if seen.is_empty() { Vec::new() } else { made(&seen, clock::now_ms()) })
    }
}

async fn read(store: Store) -> Option<Vec<EndedAt>> {
    let ended = store.ended_since(clock::now_ms() - WEEKS as i64 * WEEK_MS, MOST).await;
    ended.inspect_err(|error| tracing::warn!(%error, "the delivery figures could not be read")).ok()
}

/// One week of deliveries.
#[derive(Debug, Clone, Default)]
struct Week {
    live: usize,
    /// Deploys that changed the host and did not hold.
    undone: usize,
    restores_ms: Vec<i64>,
    leads_ms: Vec<i64>,
}

impl Week {
    fn share(&self) -> f64 {
        let all = self.live + self.undone;
        if all == 0 { 0.0 } else { self.undone as f64 / all as f64 }
    }
}

fn is_undone(outcome: &str) -> bool {
    matches!(outcome, "rolled_back" | "rollback_failed" | "broken" | "needs_operator")
}

/// `ended` comes the last first.
fn made(ended: &[&EndedAt], now_ms: i64) -> Vec<Figure> {
    let mut weeks = vec![Week::default(); WEEKS];
    let week_of = |at_ms: i64| WEEKS.saturating_sub(1).checked_sub(usize::try_from((now_ms - at_ms).max(0) / WEEK_MS).unwrap_or(WEEKS));
    // Since when a service has not been well.
    let mut unwell: HashMap<&str, i64> = HashMap::new();
    for one in ended.iter().rev() {
        let Some(week) = week_of(one.ended_ms).and_then(|at| weeks.get_mut(at)) else { continue };
        let is_deploy = one.kind == OrderKind::Deploy;
        if one.outcome == "live" {
            if is_deploy {
                week.live += 1;
                week.leads_ms.push(one.ended_ms - one.created_ms);
            }
            if let Some(since_ms) = unwell.remove(one.service.as_str()) {
                week.restores_ms.push(one.ended_ms - since_ms);
            }
        } else if is_undone(&one.outcome) {
            if is_deploy {
                week.undone += 1;
            }
            let since_ms = one.started_ms.unwrap_or(one.created_ms);
            if one.outcome == "rolled_back" {
                week.restores_ms.push(one.ended_ms - unwell.remove(one.service.as_str()).unwrap_or(since_ms));
            } else {
                unwell.entry(&one.service).or_insert(since_ms);
            }
        }
    }
    vec![deploys(&weeks), undone(&weeks), restore(&weeks), lead(&weeks)]
}

fn when(at: usize) -> String {
    match WEEKS - 1 - at {
        0 => "the last 7 days".to_owned(),
        1 => "the week before".to_owned(),
        weeks => format!("{weeks} weeks before"),
    }
}

fn plotted(weeks: &[Week], class: &'static str, value: impl Fn(&Week) -> f64, said: impl Fn(&Week) -> String) -> Vec<Bar> {
    let bar = |(at, week): (usize, &Week)| (value(week), format!("{}: {}", when(at), said(week)), class);
    plot::bars(&weeks.iter().enumerate().map(bar).collect::<Vec<_>>())
}

fn deploys(weeks: &[Week]) -> Figure {
    let last = weeks.last().map_or(0, |week| week.live + week.undone);
    let all: usize = weeks.iter().map(|week| week.live + week.undone).sum();
    Figure {
        name: "Deploys a week",
        value: last.to_string(),
        unit: "in 7 days",
        hint: format!("{} in {WEEKS} weeks", many(all, "deploy")),
        bars: plotted(weeks, "", |week| (week.live + week.undone) as f64, |week| many(week.live + week.undone, "deploy")),
    }
}

fn undone(weeks: &[Week]) -> Figure {
    let undone: usize = weeks.iter().map(|week| week.undone).sum();
    let all: usize = weeks.iter().map(|week| week.live + week.undone).sum();
    let share = if all == 0 { 0.0 } else { undone as f64 * 100.0 / all as f64 };
    Figure {
        name: "Share undone",
        value: format!("{share:.0} %"),
        unit: "",
        hint: format!("{undone} of {} in {WEEKS} weeks", many(all, "deploy")),
        bars: plotted(weeks, "warn", Week::share, |week| format!("{} of {}", week.undone, week.live + week.undone)),
    }
}

fn restore(weeks: &[Week]) -> Figure {
    let all: Vec<i64> = weeks.iter().flat_map(|week| &week.restores_ms).copied().collect();
    let of_week = |week: &Week| middle(week.restores_ms.clone());
    Figure {
        name: "Time to restore",
        value: middle(all.clone()).map_or_else(|| "–".to_owned(), span),
        unit: "",
        hint: if all.is_empty() { format!("nothing had to be restored in {WEEKS} weeks") } else { format!("middle of {}", all.len()) },
        bars: plotted(weeks, "warn", |week| of_week(week).unwrap_or(0) as f64, |week| of_week(week).map_or_else(|| "none".into(), span)),
    }
}

fn lead(weeks: &[Week]) -> Figure {
    let all: Vec<i64> = weeks.iter().flat_map(|week| &week.leads_ms).copied().collect();
    let of_week = |week: &Week| middle(week.leads_ms.clone());
    Figure {
        name: "From order to live",
        value: middle(all.clone()).map_or_else(|| "–".to_owned(), span),
        unit: "",
        hint: if all.is_empty() { format!("nothing went live in {WEEKS} weeks") } else { format!("middle of {}", all.len()) },
        bars: plotted(weeks, "", |week| of_week(week).unwrap_or(0) as f64, |week| of_week(week).map_or_else(|| "none".into(), span)),
    }
}

/// The value in the middle.
fn middle(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::WEEK_MS;
    use super::made;
    use crate::model::OrderKind;
    use crate::store::EndedAt;

    fn ended(service: &str, kind: OrderKind, outcome: &str, from_ms: i64, to_ms: i64) -> EndedAt {
        EndedAt { service: service.into(), kind, outcome: outcome.into(), created_ms: from_ms, started_ms: Some(from_ms), ended_ms: to_ms }
    }

    #[test]
    fn figures_say_what_was_delivered_and_what_was_undone() {
        let now_ms = 100 * WEEK_MS;
        let mut all = [
            ended("web", OrderKind::Deploy, "live", now_ms - 9 * WEEK_MS, now_ms - 9 * WEEK_MS + 60_000),
            ended("web", OrderKind::Deploy, "rolled_back", now_ms - 5000, now_ms - 3000),
            // Not well from its begin until somebody rolls back; what happens to another service in between does not mend it.
            ended("api", OrderKind::Deploy, "needs_operator", now_ms - 100_000, now_ms - 90_000),
            ended("web", OrderKind::Deploy, "live", now_ms - 80_000, now_ms - 70_000),
            ended("api", OrderKind::Rollback, "live", now_ms - 50_000, now_ms - 40_000),
            ended("web", OrderKind::Deploy, "refused", now_ms - 1000, now_ms - 900),
        ];
        all.sort_by_key(|one| std::cmp::Reverse(one.ended_ms));
        let figures = made(&all.iter().collect::<Vec<_>>(), now_ms);
        let said: Vec<(&str, &str)> = figures.iter().map(|figure| (figure.value.as_str(), figure.hint.as_str())).collect();
        assert_eq!(
            said,
            [
                ("3", "4 deploys in 12 weeks"),
                ("50 %", "2 of 4 deploys in 12 weeks"),
                ("1 min 0 s", "middle of 2"),
                ("1 min 0 s", "middle of 2")
            ]
        );
        assert!(figures.iter().all(|figure| figure.bars.len() == 12));
        assert_eq!(figures[0].bars[3].title, "8 weeks before: 1 deploy");
    }
}
