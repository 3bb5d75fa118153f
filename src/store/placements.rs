//! Which services stand on the hosts of agents. A service belongs to the agent that named it first: that one alone, or a person, lets go
//! of it, so that no other agent takes it over by naming it as well.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::config::Placement;
use crate::model::AgentName;
use crate::model::Repository;
use crate::model::ServiceName;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::audit::Entry;
use crate::store::columns;
use crate::store::gate::Tx;

const ALL: &str = "SELECT agent, service, service AS id, images, claimed, is_named FROM placements ORDER BY service, claimed, agent";

/// The services that an agent names, each with its images.
pub(super) type Named = [(ServiceName, Vec<Repository>)];

impl Store {
    /// Stores which services stand on the host of `agent`, in place of what was known of it. What it named before keeps its place. Returns
    /// whether anything has changed; nothing does of one that is neither dialled (`is_dialled`) nor enrolled, or was revoked.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn keep_placements(&self, agent: &AgentName, services: &Named, is_dialled: bool) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        tx.alone("placements").await?;
        let enrolled = sqlx::query("SELECT name FROM agents WHERE name = $1 AND revoked_ms IS NULL");
        if !is_dialled && tx.fetch_optional(enrolled.bind(agent.as_str())).await?.is_none() {
            return Ok(false);
        }
        let before = all(&mut tx).await?;
        let mut next = before.iter().map(|placement| placement.claimed).max().unwrap_or_default();
        let own: BTreeMap<&ServiceName, &Placement> =
            before.iter().filter(|placement| placement.agent == *agent).map(|placement| (&placement.service, placement)).collect();
        let mut changed = false;
        for (service, images) in services {
            match own.get(service) {
                Some(known) if known.images == *images && known.is_named => continue,
                Some(_) => {}
                None => next += 1,
            }
            changed = true;
            let put = sqlx::query(
                "INSERT INTO placements (agent, service, images, seen_ms, claimed, is_named) VALUES ($1, $2, $3, $4, $5, 1)
                 ON CONFLICT (agent, service) DO UPDATE SET images = excluded.images, seen_ms = excluded.seen_ms, is_named = 1",
            );
            let images = serde_json::to_string(images).unwrap_or_default();
            let put = put.bind(agent.as_str()).bind(service.as_str()).bind(images).bind(clock::now_ms()).bind(next);
            tx.execute(put).await?;
        }
        for gone in own.values().filter(|known| !services.iter().any(|(service, _)| *service == known.service)) {
            changed |= let_go(&mut tx, gone, &before).await?;
        }
        tx.commit().await?;
        Ok(changed)
    }

    /// Which services stand on the hosts of agents: of those that name the same one, whom it belongs to comes first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn placements(&self) -> Result<Vec<Placement>, StoreError> {
        self.gate.fetch_all(sqlx::query(ALL)).await?.iter().map(Placement::of_row).collect()
    }
}

impl Placement {
    fn of_row(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            agent: columns::parsed(row, "placements", "agent", AgentName::parse)?,
            service: columns::parsed(row, "placements", "service", ServiceName::parse)?,
            images: columns::parsed(row, "placements", "images", columns::json)?,
            claimed: row.try_get("claimed")?,
            is_named: columns::flag(row, "placements", "is_named")?,
        })
    }
}

async fn all(tx: &mut Tx) -> Result<Vec<Placement>, StoreError> {
    tx.fetch_all(sqlx::query(ALL)).await?.iter().map(Placement::of_row).collect()
}

/// Whom `service` belongs to.
fn owner<'p>(service: &ServiceName, all: &'p [Placement]) -> Option<&'p Placement> {
    all.iter().find(|placement| placement.service == *service)
}

/// `gone` is not named any more by its agent. Where another agent names the service as well, who gets it is a person's to decide, so it
/// keeps its place. Returns whether anything has changed.
async fn let_go(tx: &mut Tx, gone: &Placement, all: &[Placement]) -> Result<bool, StoreError> {
    let is_owner = owner(&gone.service, all).is_some_and(|owner| owner.agent == gone.agent);
    let is_wanted = all.iter().any(|other| other.service == gone.service && other.agent != gone.agent && other.is_named);
    if is_owner && is_wanted {
        let leave = sqlx::query("UPDATE placements SET is_named = 0 WHERE agent = $1 AND service = $2 AND is_named = 1");
        return Ok(tx.execute(leave.bind(gone.agent.as_str()).bind(gone.service.as_str())).await? == 1);
    }
    let end = sqlx::query("DELETE FROM placements WHERE agent = $1 AND service = $2");
    tx.execute(end.bind(gone.agent.as_str()).bind(gone.service.as_str())).await?;
    // Where nobody names it any more, it is anybody's.
    let free = sqlx::query(
        "DELETE FROM placements WHERE service = $1 AND is_named = 0
         AND NOT EXISTS (SELECT 1 FROM placements AS o WHERE o.service = $1 AND o.is_named = 1)",
    );
    tx.execute(free.bind(gone.service.as_str())).await?;
    Ok(true)
}

/// `agent` names no service any more, by `caller`. Those that another agent names as well are nobody's until a person decides, or until the
/// host is enrolled anew: whoever named them second must get nothing by it. Gives what the audit trail is to say of those; none: nothing
/// stood there.
pub(super) async fn free(tx: &mut Tx, agent: &AgentName, caller: &str) -> Result<Option<Vec<Entry>>, StoreError> {
    tx.alone("placements").await?;
    let before = all(tx).await?;
    let own: Vec<&Placement> = before.iter().filter(|placement| placement.agent == *agent).collect();
    for gone in &own {
        let_go(tx, gone, &before).await?;
    }
    let after = all(tx).await?;
    let is_left = |one: &&&Placement| one.is_named && after.iter().any(|left| left.agent == *agent && left.service == one.service);
    let entry = |one: &&Placement| Entry {
        caller: caller.to_owned(),
        action: "placement",
        target: one.service.to_string(),
        detail: format!("it stood on the host of {agent}, and stands nowhere until a person says where"),
    };
    Ok((!own.is_empty()).then(|| own.iter().filter(is_left).map(entry).collect()))
}
