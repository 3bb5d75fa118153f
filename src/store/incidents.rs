//! Incidents: what was found wrong with a service, from the look that found it until its end.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::EventName;
use crate::model::IncidentId;
use crate::model::IncidentKind;
use crate::model::ServiceName;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::events;
use crate::store::gate::Tx;
use crate::store::many;

/// So many looks running must not find a fault any more before its incident is closed.
const GOOD: i64 = 2;
/// How many incidents of one service are open at most; more of the same would tell nobody anything.
const MOST_OPEN: usize = 20;

/// An incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its reference.
    pub id: IncidentId,
    /// Its service.
    pub service: ServiceName,
    /// What it is about.
    pub kind: IncidentKind,
    /// What makes it the same fault when it is seen again.
    pub fault: String,
    /// What is wrong, as the last look that found it says.
    pub what: String,
    /// The command that a person begins with.
    pub mend: Option<String>,
    /// How many looks have found it.
    pub seen: i64,
    /// When it was opened (ms since 1970, UTC).
    pub opened_ms: i64,
    /// When it was found last.
    pub last_ms: i64,
    /// When it was closed; none: it is open.
    pub closed_ms: Option<i64>,
    /// How many looks running have not found it.
    good: i64,
}

/// A fault that a look has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is about.
    pub kind: IncidentKind,
    /// What makes it the same fault when it is seen again.
    pub fault: String,
    /// What is wrong.
    pub what: String,
    /// The command that a person begins with.
    pub mend: Option<String>,
}

/// What a look has seen of the faults of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// What it could see: faults of other kinds stay as they are.
    pub kinds: Vec<IncidentKind>,
    /// What it has found, the worst first.
    pub found: Vec<Found>,
}

/// What has become of the incidents of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Those that were opened.
    pub opened: Vec<Incident>,
    /// Those that were closed.
    pub closed: Vec<Incident>,
}

/// Which incidents to list; newest first.
#[derive(Debug, Clone, Default)]
pub struct IncidentFilter {
    /// Of this service.
    pub service: Option<ServiceName>,
    /// Those that are closed as well.
    pub all: bool,
    /// Older than this one.
    pub before: Option<IncidentId>,
    /// How many at most.
    pub limit: i64,
}

impl Incident {
    /// What people hear of it: that it was opened or closed.
    fn event(&self) -> Event {
        let service = &self.service;
        let (kind, what) = match (self.closed_ms, self.kind) {
            (Some(_), _) => (EventKind::IncidentClosed, format!("An incident of {service} is over.")),
            (None, IncidentKind::Page) => (EventKind::IncidentOpened, format!("The page of {service} does not pass its check.")),
            (None, IncidentKind::Certificate) => (EventKind::IncidentOpened, format!("The certificate of {service} expires soon.")),
            (None, IncidentKind::Container) => (EventKind::IncidentOpened, format!("A container of {service} does not run as it should.")),
            (None, IncidentKind::Drift) => (EventKind::IncidentOpened, format!("{service} does not run or pin its live release.")),
            (None, IncidentKind::Watch) => {
                (EventKind::IncidentOpened, format!("A release of {service} broke after it was live, and needs an operator."))
            }
        };
        Event {
            name: EventName { kind, of: self.id.to_string() },
            service: Some(service.clone()),
            at_ms: self.closed_ms.unwrap_or(self.opened_ms),
            what,
            why: self.what.clone(),
            next: self.mend.clone().filter(|_| self.closed_ms.is_none()),
        }
    }
}

impl Settled {
    /// Records what people hear of it.
    async fn happen(&self, tx: &mut Tx) -> Result<(), StoreError> {
        for incident in self.closed.iter().chain(&self.opened) {
            events::happen(tx, &incident.event()).await?;
        }
        Ok(())
    }

    /// Whether nothing was opened or closed.
    pub(super) fn is_nothing(&self) -> bool {
        self.opened.is_empty() && self.closed.is_empty()
    }
}

fn read(row: &AnyRow) -> Result<Incident, StoreError> {
    Ok(Incident {
        id: columns::parsed(row, "incidents", "id", IncidentId::parse)?,
        service: columns::parsed(row, "incidents", "service", ServiceName::parse)?,
        kind: columns::parsed(row, "incidents", "kind", IncidentKind::parse)?,
        fault: row.try_get("fault")?,
        what: row.try_get("what")?,
        mend: row.try_get("mend")?,
        seen: row.try_get("seen")?,
        good: row.try_get("good")?,
        opened_ms: row.try_get("opened_ms")?,
        last_ms: row.try_get("last_ms")?,
        closed_ms: row.try_get("closed_ms")?,
    })
}

/// Those that read. One that does not is said, and hides no other.
fn readable(rows: &[AnyRow]) -> Vec<Incident> {
    let read = |row: &AnyRow| read(row).inspect_err(|error| tracing::error!(%error, "an incident is not shown")).ok();
    rows.iter().filter_map(read).collect()
}

/// What a look has seen is brought together with what is open.
pub(super) async fn settle(tx: &mut Tx, service: &ServiceName, seen: &Seen, now_ms: i64) -> Result<Settled, StoreError> {
    if seen.kinds.is_empty() && seen.found.is_empty() {
        return Ok(Settled::default());
    }
    let open = sqlx::query(
        "SELECT id, service, kind, fault, what, mend, seen, good, opened_ms, last_ms, closed_ms FROM incidents
         WHERE service = $1 AND closed_ms IS NULL",
    );
    let open = readable(&tx.fetch_all(open.bind(service.to_string())).await?);
    let mut settled = Settled::default();
    for incident in &open {
        match seen.found.iter().find(|found| found.fault == incident.fault) {
            Some(found) => found_again(tx, incident, found, now_ms).await?,
            None if seen.kinds.contains(&incident.kind) => settled.closed.extend(not_found(tx, incident, now_ms).await?),
            None => {}
        }
    }
    let is_new = |found: &&Found| !open.iter().any(|incident| incident.fault == found.fault);
    let room = MOST_OPEN.saturating_sub(open.len() - settled.closed.len());
    for found in seen.found.iter().filter(is_new).take(room) {
        settled.opened.push(opened(tx, service, found, now_ms).await?);
    }
    settled.happen(tx).await?;
    Ok(settled)
}

async fn found_again(tx: &mut Tx, incident: &Incident, found: &Found, now_ms: i64) -> Result<(), StoreError> {
    let again = sqlx::query("UPDATE incidents SET what = $2, mend = $3, seen = seen + 1, good = 0, last_ms = $4 WHERE id = $1");
    tx.execute(again.bind(incident.id.to_string()).bind(found.what.clone()).bind(found.mend.clone()).bind(now_ms)).await?;
    Ok(())
}

async fn not_found(tx: &mut Tx, incident: &Incident, now_ms: i64) -> Result<Option<Incident>, StoreError> {
    let closed_ms = (incident.good + 1 >= GOOD).then_some(now_ms);
    let good = sqlx::query("UPDATE incidents SET good = good + 1, closed_ms = $2 WHERE id = $1");
    tx.execute(good.bind(incident.id.to_string()).bind(closed_ms)).await?;
    Ok(closed_ms.map(|_| Incident { closed_ms, ..incident.clone() }))
}

async fn opened(tx: &mut Tx, service: &ServiceName, found: &Found, now_ms: i64) -> Result<Incident, StoreError> {
    let incident = Incident {
        id: IncidentId::from_parts(now_ms as u64, u128::from_le_bytes(clock::random_bytes::<16>())),
        service: service.clone(),
        kind: found.kind,
        fault: found.fault.clone(),
        what: found.what.clone(),
        mend: found.mend.clone(),
        seen: 1,
        good: 0,
        opened_ms: now_ms,
        last_ms: now_ms,
        closed_ms: None,
    };
    let insert = sqlx::query(
        "INSERT INTO incidents (id, service, kind, fault, what, mend, seen, good, opened_ms, last_ms) VALUES ($1, $2, $3, $4, $5, $6, 1, 0, $7, $7)",
    );
    let insert = insert.bind(incident.id.to_string()).bind(service.to_string()).bind(found.kind.as_str());
    tx.execute(insert.bind(found.fault.clone()).bind(found.what.clone()).bind(found.mend.clone()).bind(now_ms)).await?;
    Ok(incident)
}

/// Closes the incidents of `service` that say that a release is left for a person: it has been decided about.
pub(super) async fn decided(tx: &mut Tx, service: &str, now_ms: i64) -> Result<Settled, StoreError> {
    let close = sqlx::query(
        "UPDATE incidents SET closed_ms = $3 WHERE service = $1 AND closed_ms IS NULL AND kind = $2
         RETURNING id, service, kind, fault, what, mend, seen, good, opened_ms, last_ms, closed_ms",
    );
    let close = close.bind(service.to_owned()).bind(IncidentKind::Watch.as_str()).bind(now_ms);
    let settled = Settled { opened: Vec::new(), closed: readable(&tx.fetch_all(close).await?) };
    settled.happen(tx).await?;
    Ok(settled)
}

impl Store {
    /// The open incidents of these services.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open_incidents(&self, services: &[&ServiceName]) -> Result<Vec<Incident>, StoreError> {
        const MOST_NAMED: usize = 1024;
        let mut open = Vec::new();
        for part in services.chunks(MOST_NAMED) {
            let part = many::padded(part);
            let select = "SELECT id, service, kind, fault, what, mend, seen, good, opened_ms, last_ms, closed_ms FROM incidents
                WHERE closed_ms IS NULL AND service IN";
            let select = part.iter().fold(many::among(select, 1, part.len()), |select, name| select.bind(name.as_str()));
            open.extend(readable(&self.gate.fetch_all(select).await?));
        }
        open.sort_by(|one, other| other.id.cmp(&one.id));
        open.dedup();
        Ok(open)
    }

    /// Incidents, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn incidents(&self, filter: &IncidentFilter) -> Result<Vec<Incident>, StoreError> {
        if !filter.all {
            return self.open_page(filter).await;
        }
        // It sorts behind every reference.
        let before = filter.before.as_ref().map_or("~", IncidentId::as_str);
        let statement = match &filter.service {
            Some(service) => sqlx::query(
                "SELECT id, service, kind, fault, what, mend, seen, good, opened_ms, last_ms, closed_ms FROM incidents
                 WHERE service = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
            )
            .bind(service.as_str()),
            None => sqlx::query(
                "SELECT d.id, d.service, d.kind, d.fault, d.what, d.mend, d.seen, d.good, d.opened_ms, d.last_ms, d.closed_ms FROM incidents AS d
                 WHERE d.id < $1 ORDER BY d.id DESC LIMIT $2",
            ),
        };
        Ok(readable(&self.gate.fetch_all(statement.bind(before).bind(filter.limit)).await?))
    }

    /// The open ones. They are few, so all of them are read.
    async fn open_page(&self, filter: &IncidentFilter) -> Result<Vec<Incident>, StoreError> {
        let mut open = if let Some(service) = &filter.service {
            self.open_incidents(&[service]).await?
        } else {
            let select = "SELECT id, service, kind, fault, what, mend, seen, good, opened_ms, last_ms, closed_ms FROM incidents
                WHERE closed_ms IS NULL";
            readable(&self.gate.fetch_all(sqlx::query(select)).await?)
        };
        open.sort_by(|one, other| other.id.cmp(&one.id));
        open.retain(|one| filter.before.as_ref().is_none_or(|before| one.id < *before));
        open.truncate(usize::try_from(filter.limit).unwrap_or(usize::MAX));
        Ok(open)
    }

    /// Closes what is open of services that are not among `looked_at`, because nobody would see its end; but not what says that a release is
    /// left for a person, as long as its service is among the `configured`. Gives what was closed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn close_unwatched(&self, looked_at: &[&ServiceName], configured: &[&ServiceName]) -> Result<Vec<Incident>, StoreError> {
        let filter = IncidentFilter { limit: i64::MAX, ..IncidentFilter::default() };
        let mut closed = Vec::new();
        for incident in self.incidents(&filter).await? {
            let seen_by = if incident.kind == IncidentKind::Watch { configured } else { looked_at };
            if seen_by.contains(&&incident.service) {
                continue;
            }
            let now_ms = clock::now_ms();
            let over = Incident { closed_ms: Some(now_ms), ..incident };
            let mut tx = self.gate.begin().await?;
            let close = sqlx::query("UPDATE incidents SET closed_ms = $2 WHERE id = $1 AND closed_ms IS NULL");
            if tx.execute(close.bind(over.id.to_string()).bind(now_ms)).await? == 1 {
                events::happen(&mut tx, &over.event()).await?;
                tx.commit().await?;
                self.has_news();
                closed.push(over);
            }
        }
        Ok(closed)
    }
}
