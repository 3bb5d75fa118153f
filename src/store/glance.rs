//! What the dashboard shows of many deployments at once: few columns of each, so that a page about all services is made quickly.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::model::DeploymentId;
use crate::model::OrderKind;
use crate::model::ServiceName;
use crate::model::Stage;
use crate::model::WordError;
use crate::store::Deployment;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns::parsed;
use crate::store::columns::parsed_if_any;
use crate::store::many;
use crate::store::rows;
use crate::store::rows::select_deployments;

/// The most services that one statement names.
const MOST_NAMED: usize = 4096;
/// What stands for no outcome.
const NO_OUTCOME: &str = "-";

/// How one deployment of a service ended, or that it has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// Which.
    pub id: DeploymentId,
    /// What was ordered; a repair is told as the rollback that it is stored as.
    pub kind: OrderKind,
    /// `waiting`, `running` or `done`.
    pub state: String,
    /// The outcome's name, if it has ended.
    pub outcome: Option<String>,
}

/// A deployment that has ended, for figures over many of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedAt {
    /// Its service.
    pub service: String,
    /// What was ordered; a repair is told as the rollback that it is stored as.
    pub kind: OrderKind,
    /// The outcome's name.
    pub outcome: String,
    /// When it was accepted (ms since 1970, UTC).
    pub created_ms: i64,
    /// When it began; none: it never did.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: i64,
}

/// When a step began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepBegan {
    /// The step.
    pub step: Stage,
    /// When (ms since 1970, UTC).
    pub at_ms: i64,
}

/// An entry of the audit trail as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number.
    pub seq: i64,
    /// When (ms since 1970, UTC).
    pub at_ms: i64,
    /// Who.
    pub caller: String,
    /// Did what.
    pub action: String,
    /// To what.
    pub target: String,
    /// Further words.
    pub detail: String,
    /// Its hash.
    pub hash: String,
}

/// Four words for each deployment; the newest come first, in whatever order a database puts them together.
fn glances(text: &str) -> Result<Vec<Glance>, WordError> {
    let words: Vec<&str> = text.split(' ').collect();
    let glance = |words: &[&str; 4]| {
        let [id, kind, state, outcome] = *words;
        Ok(Glance {
            id: DeploymentId::parse(id)?,
            kind: OrderKind::parse(kind)?,
            state: state.to_owned(),
            outcome: Some(outcome.to_owned()).filter(|outcome| outcome != NO_OUTCOME),
        })
    };
    let mut glances: Vec<Glance> = words.as_chunks().0.iter().map(glance).collect::<Result<_, WordError>>()?;
    glances.sort_by(|a, b| b.id.cmp(&a.id));
    Ok(glances)
}

impl Store {
    /// The newest deployments of each of `services`, newest first, at most `most` of each. Services without any are not in it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn glances(&self, services: &[&ServiceName], most: i64) -> Result<HashMap<ServiceName, Vec<Glance>>, StoreError> {
        let select = "SELECT asked.column1 AS service, asked.column1 AS id,
             (SELECT string_agg(newest.words, ' ') FROM (SELECT id || ' ' || kind || ' ' || state || ' ' || COALESCE(outcome_name, '-') AS words
                FROM deployments WHERE service = asked.column1 ORDER BY deployments.id DESC LIMIT $1) AS newest) AS glances
             FROM";
        let mut found = HashMap::new();
        for part in services.chunks(MOST_NAMED) {
            let names = many::padded(part);
            let each = many::each(select, 2, names.len()).bind(most);
            for row in self.gate.fetch_all(names.iter().fold(each, |each, name| each.bind(name.as_str()))).await? {
                let service = parsed(&row, "deployments", "service", ServiceName::parse)?;
                let glances = parsed_if_any(&row, "deployments", "glances", glances)?.unwrap_or_default();
                found.insert(service, glances);
            }
        }
        Ok(found)
    }

    /// What has ended since `since_ms`, the last first, at most `most`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ended_since(&self, since_ms: i64, most: i64) -> Result<Vec<EndedAt>, StoreError> {
        let select = "SELECT service, kind, outcome_name, created_ms, started_ms, ended_ms FROM deployments
                      WHERE state = 'done' AND ended_ms >= $1 ORDER BY ended_ms DESC LIMIT $2";
        let rows = self.gate.fetch_all(sqlx::query(select).bind(since_ms).bind(most)).await?;
        let ended = |row: &AnyRow| {
            Ok(EndedAt {
                service: row.try_get("service")?,
                kind: parsed(row, "deployments", "kind", OrderKind::parse)?,
                outcome: row.try_get::<Option<String>, _>("outcome_name")?.unwrap_or_default(),
                created_ms: row.try_get("created_ms")?,
                started_ms: row.try_get("started_ms")?,
                ended_ms: row.try_get("ended_ms")?,
            })
        };
        rows.iter().map(ended).collect()
    }

    /// When each step of a deployment began, in their order, at most `most`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn steps_of(&self, id: &DeploymentId, most: i64) -> Result<Vec<StepBegan>, StoreError> {
        let select = "SELECT deployment, position, at_ms, step FROM lines
                      WHERE deployment = $1 AND kind = 'step' ORDER BY position LIMIT $2";
        let rows = self.gate.fetch_all(sqlx::query(select).bind(id.as_str()).bind(most)).await?;
        let began = |row: &AnyRow| Ok(StepBegan { step: parsed(row, "lines", "step", Stage::parse)?, at_ms: row.try_get("at_ms")? });
        rows.iter().map(began).collect()
    }

    /// The last verified deployment of `service` before `id`, whole.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn verified_before(&self, service: &ServiceName, id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        let before = sqlx::query(select_deployments!(
            "WHERE r.service = $1 AND r.verified = 1 AND r.deployment < $2 ORDER BY r.deployment DESC LIMIT 1"
        ));
        let row = self.gate.fetch_optional(before.bind(service.as_str()).bind(id.as_str())).await?;
        row.as_ref().map(rows::deployment).transpose()
    }

    /// Entries of the audit trail before number `before`, the last first, at most `most`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit_entries(&self, before: i64, most: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let select = "SELECT seq, at_ms, caller, action, target, detail, hash FROM audit WHERE seq < $1 ORDER BY seq DESC LIMIT $2";
        let rows = self.gate.fetch_all(sqlx::query(select).bind(before).bind(most)).await?;
        let entry = |row: &AnyRow| {
            Ok(AuditEntry {
                seq: row.try_get("seq")?,
                at_ms: row.try_get("at_ms")?,
                caller: row.try_get("caller")?,
                action: row.try_get("action")?,
                target: row.try_get("target")?,
                detail: row.try_get("detail")?,
                hash: row.try_get("hash")?,
            })
        };
        rows.iter().map(entry).collect()
    }
}
