//! Orders that have had their turn and wait until every guard that is asked about them, again and again, lets them pass. Of several
//! servers on one database one asks at a time; when that one is gone, another does.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::DeploymentId;
use crate::model::LineDraft;
use crate::model::LineKind;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::Step;
use crate::model::WaitsFor;
use crate::store::Deployment;
use crate::store::Hold;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::gate::Tx;
use crate::store::holds;
use crate::store::lines;
use crate::store::now::by_the_databases_clock;
use crate::store::orders;

/// An order whose guards are to be asked about it now, by the server that has taken it.
#[derive(Debug, Clone)]
pub struct Awaited {
    /// The order.
    pub deployment: Deployment,
    /// What it waits for: whatever the guard that is to be asked first says yes to.
    pub waits_for: WaitsFor,
    /// Since when it waits for that (ms since 1970, UTC).
    pub since_ms: i64,
    /// How often that guard was asked.
    pub asked: u32,
    /// What holds its service, or held it until its time was over.
    pub hold: Option<Hold>,
}

/// What an order goes on waiting for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// What for.
    pub waits_for: WaitsFor,
    /// When it is asked about again.
    pub after: Duration,
    /// Why, as one sentence or more.
    pub why: String,
}

/// An order that waits for what a guard says, and who asks.
struct Waits {
    id: DeploymentId,
    service: ServiceName,
    what_for: WaitsFor,
    asker: String,
    /// Until when nobody else may ask.
    asker_until_ms: i64,
    since_ms: i64,
    asked: i64,
    next_ms: i64,
    /// The database's time.
    now_ms: i64,
}

impl Waits {
    fn of_row(row: &AnyRow) -> Result<Self, StoreError> {
        let number = |column: &str| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.unwrap_or_default());
        Ok(Self {
            id: columns::parsed(row, "deployments", "id", DeploymentId::parse)?,
            service: columns::parsed(row, "deployments", "service", ServiceName::parse)?,
            what_for: columns::parsed(row, "deployments", "waits_for", WaitsFor::parse)?,
            asker: row.try_get::<Option<String>, _>("asker")?.unwrap_or_default(),
            asker_until_ms: number("asker_until_ms")?,
            since_ms: number("waits_since_ms")?,
            asked: number("asked")?,
            next_ms: number("ask_next_ms")?,
            now_ms: row.try_get("now_ms")?,
        })
    }

    /// Whether `asker` may ask about it now.
    fn is_due(&self, asker: &str) -> bool {
        self.next_ms <= self.now_ms && (self.asker.is_empty() || self.asker == asker || self.asker_until_ms <= self.now_ms)
    }
}

impl Store {
    /// From now on `id`, which waits for its turn, waits for what a guard says. Returns whether it still waited.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn await_guard(&self, id: &DeploymentId, waits_for: WaitsFor) -> Result<bool, StoreError> {
        let wait = sqlx::query(
            "UPDATE deployments SET waits_for = $3, waits_since_ms = $2, asked = 0, ask_next_ms = 0, asker = NULL, granted_ms = NULL,
               granted_until_ms = NULL WHERE id = $1 AND state = 'waiting' AND waits_for = 'turn'",
        );
        Ok(self.gate.write(wait.bind(id.as_str()).bind(clock::now_ms()).bind(waits_for.as_str())).await? == 1)
    }

    /// The guards before it have let `id` pass, so that it waits for `waits_for` from now on. Returns whether it is still `asker`'s.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn move_on(&self, id: &DeploymentId, asker: &str, waits_for: WaitsFor) -> Result<bool, StoreError> {
        let moved = sqlx::query(
            "UPDATE deployments SET waits_for = $3, waits_since_ms = $4, asked = 0, waits_why = NULL
             WHERE id = $1 AND state = 'waiting' AND waits_for IN ('approval', 'window', 'checks') AND asker = $2",
        );
        let moved = moved.bind(id.as_str()).bind(asker).bind(waits_for.as_str()).bind(clock::now_ms());
        Ok(self.gate.write(moved).await? == 1)
    }

    /// Takes the orders of `services` that are to be asked about now, for `asker`, but none of `busy`. For the time of `lease` no
    /// other server gets them. One that does not read is said, and left to a person.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take_awaited(
        &self,
        services: &[ServiceName],
        asker: &str,
        busy: &[DeploymentId],
        lease: Duration,
    ) -> Result<Vec<Awaited>, StoreError> {
        // In this order the few rows are found by the index that keeps them few, whatever else the table holds.
        let waiting = by_the_databases_clock!(
            self,
            "SELECT d.id, d.service, d.waits_for, d.asker, d.asker_until_ms, d.waits_since_ms, d.asked, d.ask_next_ms, ",
            " AS now_ms FROM deployments AS d WHERE d.state = 'waiting' AND d.waits_for IN ('approval', 'window', 'checks') ORDER BY d.service"
        );
        let mut awaited = Vec::new();
        for row in self.gate.fetch_all(sqlx::query(waiting)).await? {
            match Waits::of_row(&row) {
                Ok(waits) if !waits.is_due(asker) || busy.contains(&waits.id) || !services.contains(&waits.service) => {}
                Ok(waits) => awaited.extend(self.take_one(&waits, asker, lease).await?),
                Err(error) => tracing::error!(%error, "a deployment is not carried out"),
            }
        }
        Ok(awaited)
    }

    /// None: another server was quicker, or it waits no more.
    async fn take_one(&self, waits: &Waits, asker: &str, lease: Duration) -> Result<Option<Awaited>, StoreError> {
        let mut tx = self.gate.begin().await?;
        let free =
            tx.seizing("SELECT id FROM deployments WHERE id = $1 AND state = 'waiting' AND waits_for IN ('approval', 'window', 'checks')");
        if tx.fetch_optional(free.bind(waits.id.as_str())).await?.is_none() {
            return Ok(None);
        }
        let take = by_the_databases_clock!(
            self,
            "UPDATE deployments SET asker = $2, asker_until_ms = $5 + ",
            " WHERE id = $1 AND state = 'waiting' AND waits_for IN ('approval', 'window', 'checks') AND COALESCE(asker, '') = $3 AND asked = $4"
        );
        let take = sqlx::query(take).bind(waits.id.as_str()).bind(asker).bind(&waits.asker).bind(waits.asked);
        if tx.execute(take.bind(lease.as_millis() as i64)).await? != 1 {
            return Ok(None);
        }
        let hold = holds::of(&mut tx, waits.service.as_str()).await?;
        tx.commit().await?;
        let Some(deployment) = self.get(&waits.id).await? else { return Ok(None) };
        let asked = u32::try_from(waits.asked).unwrap_or(u32::MAX);
        Ok(Some(Awaited { deployment, waits_for: waits.what_for, since_ms: waits.since_ms, asked, hold }))
    }

    /// It is asked about again, by any server. Why it waits is a line of its journal, unless that was the last one already. Returns
    /// whether it was `asker`'s to say.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ask_again(&self, id: &DeploymentId, asker: &str, again: &Again) -> Result<bool, StoreError> {
        let Again { waits_for, after, why } = again;
        let mut tx = self.gate.begin().await?;
        let said = sqlx::query("SELECT waits_why FROM deployments WHERE id = $1");
        let said: Option<String> =
            tx.fetch_optional(said.bind(id.as_str())).await?.map(|row| row.try_get("waits_why")).transpose()?.flatten();
        let change = by_the_databases_clock!(
            self,
            "UPDATE deployments SET asked = CASE WHEN waits_for = $6 THEN asked + 1 ELSE 1 END,
               waits_since_ms = CASE WHEN waits_for = $6 THEN waits_since_ms ELSE $5 END, waits_for = $6, asker = NULL, waits_why = $3,
               ask_next_ms = $4 + ",
            " WHERE id = $1 AND state = 'waiting' AND waits_for IN ('approval', 'window', 'checks') AND asker = $2"
        );
        let change = sqlx::query(change).bind(id.as_str()).bind(asker).bind(why).bind(after.as_millis() as i64);
        if tx.execute(change.bind(clock::now_ms()).bind(waits_for.as_str())).await? != 1 {
            return Ok(false);
        }
        if said.as_deref() != Some(why) {
            say(&mut tx, id, why).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Every guard has let it pass: it waits for its turn again, which it has had. That counts until `until_ms` at most; what was said
    /// about it are lines of its journal. Returns whether it was `asker`'s to say.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn grant(&self, id: &DeploymentId, asker: &str, until_ms: Option<i64>, said: &[String]) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        let grant = sqlx::query(
            "UPDATE deployments SET waits_for = 'turn', granted_ms = $3, granted_until_ms = $4, waits_why = NULL, asker = NULL
             WHERE id = $1 AND state = 'waiting' AND waits_for IN ('approval', 'window', 'checks') AND asker = $2",
        );
        if tx.execute(grant.bind(id.as_str()).bind(asker).bind(clock::now_ms()).bind(until_ms)).await? != 1 {
            return Ok(false);
        }
        for text in said {
            say(&mut tx, id, text).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// `text` is one more line of the deployment itself, however many others say something of it at the same time.
    ///
    /// # Errors
    /// When the database does not answer. The line is not stored then.
    pub async fn say(&self, id: &DeploymentId, text: &str) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        say(&mut tx, id, text).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Nothing that guards have granted counts any more: whatever waits for its turn is asked about anew when it comes.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_grants(&self) -> Result<(), StoreError> {
        let forget =
            sqlx::query("UPDATE deployments SET granted_ms = NULL, granted_until_ms = NULL WHERE state = 'waiting' AND waits_for = 'turn'");
        self.gate.write(forget).await?;
        Ok(())
    }

    /// Ends an order that waits for what a guard says; its journal says how. Returns whether it was `asker`'s to end.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn finish_awaited(&self, id: &DeploymentId, asker: &str, outcome: &Outcome) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        tx.alone("queue").await?;
        let mine = sqlx::query(
            "UPDATE deployments SET asker = NULL
             WHERE id = $1 AND state = 'waiting' AND waits_for IN ('approval', 'window', 'checks') AND asker = $2",
        );
        let is_mine = tx.execute(mine.bind(id.as_str()).bind(asker)).await? == 1;
        if !is_mine || !orders::end_waiting(&mut tx, id.as_str(), outcome).await? {
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }
}

/// One more line of the deployment itself. Its row is locked from here on, so that nobody else gives another line the same number.
pub(super) async fn say(tx: &mut Tx, id: &DeploymentId, text: &str) -> Result<(), StoreError> {
    let alone = sqlx::query("UPDATE deployments SET last_position = last_position WHERE id = $1");
    tx.execute(alone.bind(id.as_str())).await?;
    let last = sqlx::query("SELECT COALESCE(MAX(seq), 0) AS last FROM lines WHERE deployment = $1 AND run = 0");
    let last: i64 = tx.fetch_optional(last.bind(id.as_str())).await?.ok_or(sqlx::Error::RowNotFound)?.try_get("last")?;
    let line = LineDraft { seq: last + 1, at_ms: clock::now_ms(), step: Step::Guards.into(), kind: LineKind::Note, text: text.to_owned() };
    lines::write(tx, id, 0, &[line]).await
}
