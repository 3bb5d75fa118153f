//! What looks have seen, for plots: each by itself for a short time, and those of an hour together for a long one.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::model::LookResult;
use crate::model::ServiceName;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::gate::Tx;

/// How long an hour is.
const HOUR_MS: i64 = 3_600_000;

/// How a page answered in one look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageLook {
    /// The status of the last response.
    pub status: Option<u16>,
    /// How long it took to come, ms.
    pub latency_ms: Option<u64>,
    /// The rules that failed the check, each once.
    pub rules: Vec<String>,
}

/// One look, or those of an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookRow {
    /// When it was, or the beginning of the hour (ms since 1970, UTC).
    pub at_ms: i64,
    /// How many there were.
    pub looks: i64,
    /// How many of them found something wrong.
    pub bad: i64,
    /// How many saw nothing.
    pub blind: i64,
    /// How long the page took to answer on the average, ms; none: it did not.
    pub latency_ms: Option<i64>,
    /// How long at most.
    pub slowest_ms: Option<i64>,
    /// The status of the last bad one, or of the only one.
    pub status: Option<i64>,
    /// What the last bad one was about: names of rules, with spaces between them.
    pub rules: String,
}

impl LookRow {
    fn of_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let answered: i64 = row.try_get("answered")?;
        let sum_ms: i64 = row.try_get("latency_ms")?;
        let slowest_ms: i64 = row.try_get("slowest_ms")?;
        Ok(Self {
            at_ms: row.try_get("at_ms")?,
            looks: row.try_get("looks")?,
            bad: row.try_get("bad")?,
            blind: row.try_get("blind")?,
            latency_ms: sum_ms.checked_div(answered),
            slowest_ms: (answered > 0).then_some(slowest_ms),
            status: row.try_get("status")?,
            rules: row.try_get("rules")?,
        })
    }
}

/// Adds a look by itself and to its hour.
pub(super) async fn write(tx: &mut Tx, service: &str, result: LookResult, page: Option<&PageLook>, now_ms: i64) -> Result<(), StoreError> {
    let none = PageLook::default();
    let page = page.unwrap_or(&none);
    let latency_ms = page.latency_ms.map_or(0, |ms| i64::try_from(ms).unwrap_or(i64::MAX));
    let rules = page.rules.join(" ");
    for (span_ms, at_ms) in [(0, now_ms), (HOUR_MS, now_ms - now_ms.rem_euclid(HOUR_MS))] {
        let add = sqlx::query(
            "INSERT INTO looks (service, span_ms, at_ms, looks, bad, blind, answered, latency_ms, slowest_ms, status, rules)
             VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $7, $8, $9)
             ON CONFLICT (service, span_ms, at_ms) DO UPDATE SET looks = looks.looks + 1, bad = looks.bad + excluded.bad,
               blind = looks.blind + excluded.blind, answered = looks.answered + excluded.answered,
               latency_ms = looks.latency_ms + excluded.latency_ms,
               slowest_ms = CASE WHEN excluded.slowest_ms > looks.slowest_ms THEN excluded.slowest_ms ELSE looks.slowest_ms END,
               status = CASE WHEN excluded.bad > 0 THEN excluded.status ELSE looks.status END,
               rules = CASE WHEN excluded.bad > 0 THEN excluded.rules ELSE looks.rules END",
        );
        let add = add.bind(service.to_owned()).bind(span_ms).bind(at_ms);
        let add = add.bind(i64::from(result == LookResult::Bad)).bind(i64::from(result == LookResult::Blind));
        let add = add.bind(i64::from(page.latency_ms.is_some())).bind(latency_ms);
        tx.execute(add.bind(page.status.map(i64::from)).bind(rules.clone())).await?;
    }
    Ok(())
}

impl Store {
    /// The last `most` looks at `service`, oldest first: each by itself, or by the hour.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn looks(&self, service: &ServiceName, by_the_hour: bool, most: i64) -> Result<Vec<LookRow>, StoreError> {
        let select = sqlx::query(
            "SELECT at_ms, looks, bad, blind, answered, latency_ms, slowest_ms, status, rules FROM looks
             WHERE service = $1 AND span_ms = $2 ORDER BY at_ms DESC LIMIT $3",
        );
        let span_ms = if by_the_hour { HOUR_MS } else { 0 };
        let mut looks = Vec::new();
        for row in self.gate.fetch_all(select.bind(service.as_str()).bind(span_ms).bind(most)).await? {
            looks.push(LookRow::of_row(&row)?);
        }
        looks.reverse();
        Ok(looks)
    }
}
