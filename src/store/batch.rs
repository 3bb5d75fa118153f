//! Accepts a batch of orders in one transaction: the facts for all orders are read together, each order is decided separately, and all
//! decisions are written together.

use std::collections::BTreeSet;
use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::CancelledBy;
use crate::model::DeploymentId;
use crate::model::LineKind;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::Step;
use crate::model::WaitsFor;
use crate::store::Landed;
use crate::store::OrderError;
use crate::store::StoreError;
use crate::store::Taken;
use crate::store::Waits;
use crate::store::audit;
use crate::store::audit::Entry;
use crate::store::audit::Head;
use crate::store::columns;
use crate::store::gate::Tx;
use crate::store::holds;
use crate::store::ledger::Changes;
use crate::store::ledger::Given;
use crate::store::ledger::Ledger;
use crate::store::ledger::New;
use crate::store::many;
use crate::store::ordered;
use crate::store::orders;
use crate::store::orders::Accepted;
use crate::store::orders::Asked;
use crate::store::releases;
use crate::store::rows;

/// The decision about each order of a batch, in the order of the batch.
pub(super) type Decided = Vec<Result<Accepted, OrderError>>;

/// Decides about `batch` and writes the decisions, without the commit. The head of the audit trail is none if there was nothing to write.
pub(super) async fn carry(tx: &mut Tx, batch: &[&Asked]) -> Result<(Decided, Option<Head>), StoreError> {
    tx.alone("queue").await?;
    let mut ledger = facts(tx, batch).await?;
    let mut changes = Changes::default();
    let now_ms = clock::now_ms();
    let decided = batch.iter().enumerate().map(|(at, asked)| ledger.decide(at, asked, now_ms, &mut changes)).collect();
    if changes.new.is_empty() {
        return Ok((decided, None));
    }
    for (old, by) in &changes.superseded {
        orders::end_waiting(tx, old.as_str(), &Outcome::Superseded { by: by.clone() }).await?;
    }
    write_deployments(tx, &changes.new, now_ms).await?;
    write_superseded_lines(tx, &changes.new, now_ms).await?;
    write_deliveries(tx, &changes.new, batch, now_ms).await?;
    write_rollbacks(tx, &changes, now_ms).await?;
    let entries: Vec<Entry> = changes.new.iter().map(entry).collect();
    let head = audit::append(tx, &entries).await?;
    Ok((decided, Some(head)))
}

fn entry(new: &New) -> Entry {
    let order = &new.taken.order;
    let what = order.tag.as_ref().map_or("what runs", |tag| tag.as_str());
    let forced = order.overruling_reason().map_or(String::new(), |reason| format!(", forced: {reason}"));
    let detail = format!("{} {what} as {}{forced}", order.kind.as_str(), new.id);
    Entry { caller: order.caller.to_string(), action: "order", target: order.service.to_string(), detail }
}

async fn facts(tx: &mut Tx, batch: &[&Asked]) -> Result<Ledger, StoreError> {
    let services: BTreeSet<&ServiceName> = batch.iter().map(|asked| &asked.order.service).collect();
    let names: Vec<&str> = services.iter().map(|service| service.as_str()).collect();
    let mut ledger = Ledger { came_before: came_before(tx, batch).await?, ..Ledger::default() };
    let row = tx.fetch_optional(sqlx::query("SELECT id FROM deployments ORDER BY id DESC LIMIT 1")).await?;
    ledger.last_id = row.map(|row| columns::parsed(&row, "deployments", "id", DeploymentId::parse)).transpose()?;
    let row = tx.fetch_optional(sqlx::query("SELECT COUNT(*) AS waiting FROM deployments WHERE state = 'waiting'")).await?;
    ledger.waiting = row.ok_or(sqlx::Error::RowNotFound)?.try_get("waiting")?;
    for row in
        of_services(tx, "SELECT id, service, kind, waits_for FROM deployments WHERE state = 'waiting' AND service IN", &names).await?
    {
        let kind = columns::parsed(&row, "deployments", "kind", OrderKind::parse)?;
        let is_unapproved = row.try_get::<Option<String>, _>("waits_for")?.as_deref() == Some(WaitsFor::Approval.as_str());
        let waits = Waits { id: id_of(&row)?, kind, is_unapproved };
        ledger.waits.insert(service_of(&row)?, waits);
    }
    if batch.iter().any(|asked| asked.order.kind == OrderKind::Rollback) {
        for row in of_services(tx, "SELECT id, service FROM deployments WHERE state = 'running' AND service IN", &names).await? {
            ledger.running.insert(service_of(&row)?, id_of(&row)?);
        }
    }
    for row in of_services(tx, "SELECT service, deployment, kind, since_ms, until_ms FROM holds WHERE service IN", &names).await? {
        let service = columns::parsed(&row, "holds", "service", ServiceName::parse)?;
        ledger.holds.insert(service, holds::read(&row)?);
    }
    for (at, asked) in batch.iter().enumerate() {
        ledger.releases.extend(releases::of(tx, asked).await?.map(|found| (at, found)));
    }
    for (at, asked) in batch.iter().enumerate() {
        if let Some(id) = &asked.terms.given {
            ledger.given.insert(at, given(tx, id, &asked.order.service).await?);
        }
    }
    let numbered: BTreeSet<&ServiceName> =
        batch.iter().filter(|asked| asked.order.run_number.is_some() && !asked.order.force).map(|asked| &asked.order.service).collect();
    for service in numbered {
        // A release that is verified and only runs its after-hook is newer than every deployment that has ended.
        let landed = sqlx::query(
            "SELECT run_number, id FROM deployments WHERE id = COALESCE(
               (SELECT b.id FROM deployments AS b WHERE b.service = $1 AND b.state = 'running' AND b.kind = 'deploy' AND b.run_number IS NOT NULL
                AND (SELECT r.verified FROM runs AS r WHERE r.deployment = b.id AND r.run = 1) = 1),
               (SELECT d.id FROM deployments AS d WHERE d.service = $1 AND d.outcome_name = 'live' AND d.kind = 'deploy'
                AND d.run_number IS NOT NULL ORDER BY d.id DESC LIMIT 1))",
        );
        if let Some(row) = tx.fetch_optional(landed.bind(service.as_str())).await? {
            ledger.landed.insert(service.clone(), Landed { run_number: row.try_get("run_number")?, by: row.try_get("id")? });
        }
    }
    Ok(ledger)
}

async fn given(tx: &mut Tx, id: &DeploymentId, service: &ServiceName) -> Result<Given, StoreError> {
    let known = tx.fetch_optional(sqlx::query("SELECT id FROM deployments WHERE id = $1").bind(id.as_str())).await?;
    let newest = sqlx::query("SELECT id FROM deployments WHERE service = $1 ORDER BY id DESC LIMIT 1").bind(service.as_str());
    let newest = tx.fetch_optional(newest).await?;
    Ok(Given { is_known: known.is_some(), newest: newest.as_ref().map(id_of).transpose()? })
}

async fn of_services(tx: &mut Tx, select: &'static str, names: &[&str]) -> Result<Vec<AnyRow>, sqlx::Error> {
    let names = many::padded(names);
    tx.fetch_all(names.iter().fold(many::among(select, 1, names.len()), |query, name| query.bind(*name))).await
}

fn id_of(row: &AnyRow) -> Result<DeploymentId, StoreError> {
    columns::parsed(row, "deployments", "id", DeploymentId::parse)
}

fn service_of(row: &AnyRow) -> Result<ServiceName, StoreError> {
    columns::parsed(row, "deployments", "service", ServiceName::parse)
}

/// Those deliveries of the batch that came before: their body and deployment, by caller and id.
async fn came_before(tx: &mut Tx, batch: &[&Asked]) -> Result<HashMap<(String, String), (String, String)>, StoreError> {
    let deliveries: Vec<_> = batch.iter().filter_map(|asked| asked.delivery.as_ref()).collect();
    if deliveries.is_empty() {
        return Ok(HashMap::new());
    }
    let deliveries = many::padded(&deliveries);
    let select = "SELECT caller, id, body_sha256, deployment FROM deliveries WHERE (caller, id) IN";
    let query = many::among(select, 2, deliveries.len());
    let rows = tx.fetch_all(deliveries.iter().fold(query, |query, one| query.bind(&one.caller).bind(&one.id))).await?;
    let text = |row: &AnyRow, column: &str| row.try_get::<String, _>(column);
    rows.iter().map(|row| Ok(((text(row, "caller")?, text(row, "id")?), (text(row, "body_sha256")?, text(row, "deployment")?)))).collect()
}

async fn write_deployments(tx: &mut Tx, new: &[New], now_ms: i64) -> Result<(), sqlx::Error> {
    let table = "deployments (id, service, kind, state, waits_for, outcome, outcome_name, ended_ms, tag, digest, commit_id, git_ref, \
                 run_url, run_number, actor, reason, cause, force, dry_run, caller, proof, watch, by_user, guest, last_position, created_ms, images, waits_since_ms, asked, \
                 ask_next_ms, approved)";
    for part in many::parts(new) {
        let mut insert = many::insert(table, 31, part.len(), "");
        for one in part {
            let Taken { order, images } = &one.taken;
            let outcome = one.superseded_by.clone().map(|by| Outcome::Superseded { by });
            insert = insert
                .bind(one.id.to_string())
                .bind(order.service.to_string())
                .bind(ordered::kind_text(order.kind))
                .bind(if outcome.is_some() { "done" } else { "waiting" })
                .bind(outcome.is_none().then_some(waits_for(one).as_str()))
                .bind(outcome.as_ref().map(|outcome| serde_json::to_string(outcome).unwrap_or_default()))
                .bind(outcome.as_ref().map(Outcome::name))
                .bind(outcome.as_ref().map(|_| now_ms));
            insert = ordered::bind_order(insert, order)
                .bind(i64::from(outcome.is_some()))
                .bind(now_ms)
                .bind((!images.is_empty()).then(|| rows::images_text(images)))
                .bind(one.is_unapproved.then_some(now_ms))
                .bind(one.is_unapproved.then_some(0_i64))
                .bind(one.is_unapproved.then_some(0_i64))
                .bind(one.approved.as_ref().and_then(|approved| serde_json::to_string(approved).ok()));
        }
        tx.execute(insert).await?;
    }
    Ok(())
}

fn waits_for(new: &New) -> WaitsFor {
    if new.is_unapproved { WaitsFor::Approval } else { WaitsFor::Turn }
}

/// Writes the only journal line of each order that another order of the same batch has superseded, for those who follow it.
async fn write_superseded_lines(tx: &mut Tx, new: &[New], now_ms: i64) -> Result<(), sqlx::Error> {
    let lines: Vec<(&str, String)> =
        new.iter().filter_map(|new| Some((new.id.as_str(), Outcome::Superseded { by: new.superseded_by.clone()? }.to_string()))).collect();
    for part in many::parts(&lines) {
        let mut insert = many::insert("lines (deployment, run, seq, position, at_ms, step, kind, text)", 8, part.len(), "");
        for (id, text) in part {
            insert = insert.bind(*id).bind(0_i64).bind(1_i64).bind(1_i64).bind(now_ms);
            insert = insert.bind(Step::Guards.as_str()).bind(LineKind::Outcome.as_str()).bind(text);
        }
        tx.execute(insert).await?;
    }
    Ok(())
}

async fn write_deliveries(tx: &mut Tx, new: &[New], batch: &[&Asked], now_ms: i64) -> Result<(), sqlx::Error> {
    let made: Vec<_> = new.iter().filter_map(|new| Some((batch[new.at].delivery.as_ref()?, new.id.as_str()))).collect();
    for part in many::parts(&made) {
        let mut insert = many::insert("deliveries (caller, id, body_sha256, deployment, at_ms)", 5, part.len(), "");
        for (delivery, id) in part {
            insert = insert.bind(&delivery.caller).bind(&delivery.id).bind(&delivery.body_sha256).bind(*id).bind(delivery.at_ms(now_ms));
        }
        tx.execute(insert).await?;
    }
    Ok(())
}

/// Holds the services of the rollbacks, and tells their running deployments to stop.
async fn write_rollbacks(tx: &mut Tx, changes: &Changes, now_ms: i64) -> Result<(), StoreError> {
    for (service, id, until_ms) in &changes.held {
        holds::take(tx, service.as_str(), id.as_str(), now_ms, *until_ms).await?;
    }
    // A rollback that was superseded within its own batch gives its hold back, after the next one has taken it.
    for new in changes.new.iter().filter(|new| changes.held.iter().any(|(_, id, _)| *id == new.id)) {
        if let Some(by) = &new.superseded_by {
            holds::settle(tx, new.id.as_str(), &Outcome::Superseded { by: by.clone() }).await?;
        }
    }
    for (running, by) in &changes.stopped {
        let stop = sqlx::query("UPDATE deployments SET cancel_by = COALESCE(cancel_by, $2) WHERE id = $1");
        tx.execute(stop.bind(running.as_str()).bind(CancelledBy::Rollback(by.clone()).to_string())).await?;
    }
    Ok(())
}
