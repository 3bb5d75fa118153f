//! What a rollout does on each host. The rollout itself is the first run of its deployment; whoever has that run writes here, and nobody
//! else. A run on a host that has begun and not ended is continued by whoever has the rollout next.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::AgentName;
use crate::model::DeploymentId;
use crate::model::ImageRef;
use crate::model::LineDraft;
use crate::model::LineKind;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::Stage;
use crate::model::Step;
use crate::model::are_same_contents;
use crate::store::Facts;
use crate::store::Fence;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::deployments::MOST_RELEASES;
use crate::store::gate::Tx;
use crate::store::lines;
use crate::store::rows;

/// A run of a rollout on one host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostRun {
    /// Its deployment.
    pub deployment: DeploymentId,
    /// Its number, 2 or more.
    pub run: i64,
    /// The agent of the host.
    pub host: AgentName,
    /// Whether it brings the host back to what it had before the deployment.
    pub goes_back: bool,
    /// The id that its order has at the agent.
    pub order_id: DeploymentId,
    /// The last step that it was at, as far as it was told.
    pub step: Stage,
    /// How it ended; none: it is being carried out, or waits for its agent.
    pub outcome: Option<Outcome>,
    /// The exact images, once they are known.
    pub images: Vec<ImageRef>,
    /// Whether it was verified from outside.
    pub verified: bool,
    /// Whether the release must not be gone back past.
    pub barrier: bool,
    /// What ran before, for people.
    pub ran_before: Option<String>,
    /// When it began (ms since 1970, UTC).
    pub started_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
}

fn host_run(row: &AnyRow) -> Result<HostRun, StoreError> {
    let table = "host_runs";
    let outcome = columns::parsed_if_any(row, table, "outcome", columns::json::<Outcome>)?;
    let state: String = row.try_get("state")?;
    if !matches!((state.as_str(), &outcome), ("running", None) | ("done", Some(_))) {
        return Err(columns::wrong(row, table, "state", &format!("\"{}\" is not its state", state.escape_default())));
    }
    let images = columns::parsed_if_any(row, table, "images", columns::json::<Vec<String>>)?.unwrap_or_default();
    let exact = |text: &String| ImageRef::parse(text).map_err(|error| columns::wrong(row, table, "images", &error));
    Ok(HostRun {
        deployment: columns::parsed(row, table, "deployment", DeploymentId::parse)?,
        run: row.try_get("run")?,
        host: columns::parsed(row, table, "host", AgentName::parse)?,
        goes_back: columns::flag(row, table, "goes_back")?,
        order_id: columns::parsed(row, table, "order_id", DeploymentId::parse)?,
        step: columns::parsed(row, table, "step", Stage::parse)?,
        outcome,
        images: images.iter().map(exact).collect::<Result<_, _>>()?,
        verified: columns::flag(row, table, "verified")?,
        barrier: columns::flag(row, table, "barrier")?,
        ran_before: row.try_get("ran_before")?,
        started_ms: row.try_get("started_ms")?,
        ended_ms: row.try_get("ended_ms")?,
    })
}

/// The rollout's row is locked from here on, and is still `rollout`'s.
async fn is_its(tx: &mut Tx, rollout: &Fence) -> Result<(), StoreError> {
    let mine = sqlx::query("UPDATE runs SET fence = fence WHERE deployment = $1 AND run = $2 AND fence = $3 AND state = 'running'");
    match tx.execute(mine.bind(rollout.id.as_str()).bind(rollout.run).bind(rollout.number)).await? {
        1 => Ok(()),
        _ => Err(StoreError::Fenced),
    }
}

impl Store {
    /// Begins a run of `rollout` on `host` as its run number `run`: with `back`, which is the id of its order there, it brings the host
    /// back; without, the order has the rollout's own id. When this returns, it is on disk.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another executor has taken the rollout over; or when a run on that host has not ended.
    pub async fn begin_host_run(
        &self,
        rollout: &Fence,
        service: &ServiceName,
        host: &AgentName,
        run: i64,
        back: Option<&DeploymentId>,
    ) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        is_its(&mut tx, rollout).await?;
        let begin = sqlx::query(
            "INSERT INTO host_runs (deployment, run, service, host, goes_back, order_id, state, step, verified, barrier, started_ms)
             VALUES ($1, $2, $3, $4, $5, $6, 'running', $7, 0, 0, $8)",
        );
        let begin = begin.bind(rollout.id.as_str()).bind(run).bind(service.as_str()).bind(host.as_str()).bind(i64::from(back.is_some()));
        let begin = begin.bind(back.unwrap_or(&rollout.id).as_str()).bind(Step::Guards.as_str()).bind(clock::now_ms());
        tx.execute(begin).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Stores where a run on a host is, together with what became known of it; the rollout is at that step as well.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another executor has taken the rollout over.
    pub async fn advance_host_run(&self, rollout: &Fence, run: i64, step: Stage, facts: &Facts) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        is_its(&mut tx, rollout).await?;
        let advance = sqlx::query(
            "UPDATE host_runs SET step = $3, images = COALESCE($4, images), barrier = COALESCE($5, barrier),
               ran_before = COALESCE($6, ran_before) WHERE deployment = $1 AND run = $2 AND state = 'running'",
        );
        let advance = advance.bind(rollout.id.as_str()).bind(run).bind(step.as_str());
        let advance = advance.bind(facts.images.as_deref().map(rows::images_text)).bind(facts.barrier.map(i64::from));
        tx.execute(advance.bind(facts.ran_before.clone())).await?;
        tx.commit().await?;
        self.advance(rollout, step, &Facts { report: facts.report.clone(), away: facts.away, ..Facts::default() }).await
    }

    /// Stores lines of a run on a host. Lines that are stored already stay as they are.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another executor has taken the rollout over. None of the lines is stored then.
    pub async fn append_host_lines(&self, rollout: &Fence, run: i64, drafts: &[LineDraft]) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        is_its(&mut tx, rollout).await?;
        lines::write(&mut tx, &rollout.id, run, drafts).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends a run on a host; `last` is the line that says so, unless its number is taken already. Ending it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another executor has taken the rollout over.
    pub async fn finish_host_run(&self, rollout: &Fence, run: i64, outcome: &Outcome, last: LineDraft) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        is_its(&mut tx, rollout).await?;
        let end = sqlx::query(
            "UPDATE host_runs SET state = 'done', outcome = $3, verified = $4, ended_ms = $5
             WHERE deployment = $1 AND run = $2 AND state = 'running'",
        );
        let end = end.bind(rollout.id.as_str()).bind(run).bind(serde_json::to_string(outcome).unwrap_or_default());
        let end = end.bind(i64::from(matches!(outcome, Outcome::Live { .. }))).bind(clock::now_ms());
        if tx.execute(end).await? == 1 {
            lines::write(&mut tx, &rollout.id, run, &[LineDraft { kind: LineKind::Note, ..last }]).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The runs of a deployment on its hosts, in the order in which they began.
    ///
    /// # Errors
    /// When the database does not answer, or contains a row that cannot be read.
    pub async fn host_runs(&self, id: &DeploymentId) -> Result<Vec<HostRun>, StoreError> {
        let all = sqlx::query("SELECT * FROM host_runs WHERE deployment = $1 ORDER BY run").bind(id.as_str());
        self.gate.fetch_all(all).await?.iter().map(host_run).collect()
    }

    /// The last verified run of `service` on `host`.
    ///
    /// # Errors
    /// When the database does not answer, or contains a row that cannot be read.
    pub async fn live_on_host(&self, service: &ServiceName, host: &AgentName) -> Result<Option<HostRun>, StoreError> {
        let last = sqlx::query(
            "SELECT * FROM host_runs WHERE service = $1 AND host = $2 AND verified = 1 ORDER BY deployment DESC, run DESC LIMIT 1",
        );
        self.gate.fetch_optional(last.bind(service.as_str()).bind(host.as_str())).await?.as_ref().map(host_run).transpose()
    }

    /// Whether a release of `service` with these images was verified on `host`, whatever their tags were, by a rollout or when the service
    /// stood on that host alone.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn was_verified_on(&self, service: &ServiceName, host: &AgentName, images: &[ImageRef]) -> Result<bool, StoreError> {
        let of_rollouts = sqlx::query(
            "SELECT host, images FROM host_runs WHERE service = $1 AND host = $2 AND verified = 1 ORDER BY deployment DESC, run DESC LIMIT $3",
        );
        let of_rollouts = of_rollouts.bind(service.as_str()).bind(host.as_str()).bind(MOST_RELEASES);
        let alone = sqlx::query("SELECT host, images FROM runs WHERE service = $1 AND verified = 1 ORDER BY deployment DESC LIMIT $2");
        for statement in [of_rollouts, alone.bind(service.as_str()).bind(MOST_RELEASES)] {
            for row in self.gate.fetch_all(statement).await? {
                // What cannot be read is not known to have been there.
                let Ok(Some(texts)) = columns::parsed_if_any(&row, "runs", "images", columns::json::<Vec<String>>) else { continue };
                let found: Vec<ImageRef> = texts.iter().filter_map(|text| ImageRef::parse(text).ok()).collect();
                let is_there = row.try_get::<String, _>("host")? == host.as_str();
                if is_there && texts.len() == found.len() && are_same_contents(&found, images) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The run whose order has the id `order_id` on `host`; none: it is the order of no rollout there.
    ///
    /// # Errors
    /// When the database does not answer, or contains a row that cannot be read.
    pub async fn host_run_of(&self, order_id: &DeploymentId, host: &AgentName) -> Result<Option<HostRun>, StoreError> {
        let one = sqlx::query("SELECT * FROM host_runs WHERE order_id = $1 AND host = $2 ORDER BY run DESC LIMIT 1");
        self.gate.fetch_optional(one.bind(order_id.as_str()).bind(host.as_str())).await?.as_ref().map(host_run).transpose()
    }
}
