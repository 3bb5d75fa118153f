//! How long a page is away while its release is replaced: it is asked over and over, one request at a time.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::client::Visitor;
use crate::plan::SmokePlan;

/// The pause between two requests.
const EVERY: Duration = Duration::from_millis(200);
/// Who waits longer than this for the head of an answer takes the page for gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a page answered while it was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Availability {
    /// How many requests were made.
    pub requests: u32,
    /// How many of them failed: no answer, or a status that is neither one of the plan's nor a redirect.
    pub failed: u32,
    /// How long it was away in all (ms): each time from the first request that failed until one was answered well again.
    pub away_ms: u64,
    /// Whether it was still away at the end.
    pub is_away: bool,
}

impl Availability {
    /// How long it was away, for a list beside others.
    #[must_use]
    pub fn in_short(&self) -> String {
        match self {
            Self { failed: 0, .. } => "not at all".to_owned(),
            Self { is_away: true, .. } => "to the end".to_owned(),
            Self { away_ms, .. } => seconds(*away_ms),
        }
    }
}

impl std::fmt::Display for Availability {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { requests, failed, away_ms, is_away } = self;
        match (failed, is_away) {
            (0, _) => write!(out, "the page answered all the time: none of {requests} requests failed"),
            (_, false) => write!(out, "the page answered again after {}: {failed} of {requests} requests failed", seconds(*away_ms)),
            (_, true) => write!(out, "the page did not answer at the end: {failed} of {requests} requests failed"),
        }
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// Asks for the page of `plan` over and over, as the plan says and without its body, and tells after each request how it has
/// answered until then. This judges nothing, and does not end by itself: dropping the future ends it. A plan by which nothing can
/// be asked is never told of.
pub async fn watch(plan: &SmokePlan, mut tell: impl FnMut(Availability) + Send) {
    let Ok(visitor) = Visitor::new(plan).await else { return };
    let patience = plan.timeout.min(PATIENCE);
    let is_right = |status: u16| plan.status.contains(&status) || (300..400).contains(&status);
    let mut seen = Availability::default();
    let mut away_since = None;
    let mut away_before = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let status = tokio::time::timeout(patience, visitor.status(&plan.url)).await.ok().flatten();
        let is_away = !status.is_some_and(is_right);
        let away = away_since.get_or_insert(asked).elapsed();
        if is_away {
            seen.failed += 1;
            seen.away_ms = (away_before + away).as_millis() as u64;
        } else {
            if seen.is_away {
                away_before += away;
                seen.away_ms = away_before.as_millis() as u64;
            }
            away_since = None;
        }
        seen.requests += 1;
        seen.is_away = is_away;
        tell(seen);
        tokio::time::sleep(EVERY).await;
    }
}
