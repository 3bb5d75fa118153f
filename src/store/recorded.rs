//! What the record has about services, for callers that need all services: it is read together, with as few statements for two hundred
//! services as for one.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::ServiceName;
use crate::model::State;
use crate::store::Deployment;
use crate::store::Hold;
use crate::store::Listed;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::holds;
use crate::store::many;
use crate::store::rows;
use crate::store::rows::select_deployments;

/// The most services or deployments that one statement names.
const MOST_NAMED: usize = 4096;

/// What the record has about one service.
#[derive(Debug)]
pub struct Recorded {
    /// The last verified releases, newest first. One that cannot be read is in the list as its error, so that the next older one is not
    /// mistaken for the newest.
    pub verified: Vec<Result<Deployment, StoreError>>,
    /// The running and the waiting deployment.
    pub unfinished: Listed,
    /// The deployment that ended last; none also if it cannot be read.
    pub last_ended: Option<Deployment>,
    /// The last ended deployment that changed the host; none also if it cannot be read.
    pub last_change: Option<Deployment>,
    /// The hold that is in effect, or why it cannot be read.
    pub hold: Result<Option<Hold>, StoreError>,
}

impl Recorded {
    /// The last verified release; none if its record cannot be read, because an older one is not the live release.
    #[must_use]
    pub fn live(&self) -> Option<&Deployment> {
        self.verified.first()?.as_ref().ok()
    }

    /// The running deployment.
    #[must_use]
    pub fn running(&self) -> Option<&Deployment> {
        self.unfinished.deployments.iter().find(|one| matches!(one.state, State::Running { .. }))
    }

    /// The waiting deployment.
    #[must_use]
    pub fn waiting(&self) -> Option<&Deployment> {
        self.unfinished.deployments.iter().find(|one| matches!(one.state, State::Waiting { .. }))
    }

    /// Why a deployment that may be running cannot be read.
    #[must_use]
    pub fn may_run(&self) -> Option<&StoreError> {
        self.unfinished.unreadable.first()
    }
}

/// The ids of a service's newest deployments, which may be unreadable as ids.
#[derive(Debug, Default)]
struct Newest {
    verified: Vec<String>,
    changed: Option<String>,
    ended: Option<String>,
}

impl Newest {
    fn of_row(row: &AnyRow, most: usize) -> Result<Self, sqlx::Error> {
        let verified: Option<String> = row.try_get("verified")?;
        let mut verified: Vec<String> = verified.iter().flat_map(|ids| ids.split(' ')).map(str::to_owned).collect();
        // The aggregate function guarantees no order.
        verified.sort_unstable_by(|one, other| other.cmp(one));
        verified.truncate(most);
        Ok(Self { verified, changed: row.try_get("changed")?, ended: row.try_get("ended")? })
    }

    /// Those of which what their smoke checks saw is shown as well.
    fn seen(&self) -> impl Iterator<Item = &str> {
        self.verified.first().into_iter().chain(&self.changed).chain(&self.ended).map(String::as_str)
    }
}

/// Deployments by their ids.
type ById = HashMap<String, Result<Deployment, StoreError>>;

fn readable(found: &ById, id: Option<&String>) -> Option<Deployment> {
    found.get(id?)?.as_ref().ok().cloned()
}

impl Store {
    /// What the record has about each service of `asked`, in the same order. The number beside a service's name limits its verified
    /// releases.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn recorded(&self, asked: &[(&ServiceName, usize)]) -> Result<Vec<Recorded>, StoreError> {
        let names: Vec<&str> = asked.iter().map(|(service, _)| service.as_str()).collect();
        // Unfinished deployments are read before ended ones, so that one that ends in between is not missed.
        let mut unfinished = self.unfinished_of(&names).await?;
        let mut holds = self.holds_of(&names).await?;
        let newest = self.newest_of(asked).await?;
        let mut found = self.deployments_of(&newest).await?;
        let of_service = |service: &&str| {
            let none = Newest::default();
            let newest = newest.get(*service).unwrap_or(&none);
            Recorded {
                last_ended: readable(&found, newest.ended.as_ref()),
                last_change: readable(&found, newest.changed.as_ref()),
                verified: newest.verified.iter().filter_map(|id| found.remove(id)).collect(),
                unfinished: unfinished.remove(*service).unwrap_or_default(),
                hold: holds.remove(*service).unwrap_or(Ok(None)),
            }
        };
        Ok(names.iter().map(of_service).collect())
    }

    /// The running and the waiting deployment of each service, in the order of acceptance.
    async fn unfinished_of(&self, names: &[&str]) -> Result<HashMap<String, Listed>, StoreError> {
        let mut rows = self.among(select_deployments!(shown "WHERE d.state <> 'done' AND d.service IN"), names).await?;
        rows.sort_by_cached_key(|row| row.try_get::<String, _>("id").unwrap_or_default());
        let mut by_service: HashMap<String, Vec<AnyRow>> = HashMap::new();
        for row in rows {
            by_service.entry(row.try_get("service")?).or_default().push(row);
        }
        Ok(by_service.into_iter().map(|(service, rows)| (service, rows::listed(&rows))).collect())
    }

    async fn holds_of(&self, names: &[&str]) -> Result<HashMap<String, Result<Option<Hold>, StoreError>>, StoreError> {
        let rows = self.among("SELECT service, deployment, kind, since_ms, until_ms FROM holds WHERE service IN", names).await?;
        let now_ms = clock::now_ms();
        rows.iter().map(|row| Ok((row.try_get("service")?, holds::at(row, now_ms)))).collect()
    }

    async fn newest_of(&self, asked: &[(&ServiceName, usize)]) -> Result<HashMap<String, Newest>, StoreError> {
        // One statement uses the same limit for all its services, so that there are only a few different limits.
        let mut alike: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for (service, most) in asked {
            alike.entry(most.next_power_of_two()).or_default().push(service.as_str());
        }
        let most_of: HashMap<&str, usize> = asked.iter().map(|(service, most)| (service.as_str(), *most)).collect();
        let mut newest = HashMap::new();
        for (most, names) in &alike {
            for row in self.newest_alike(*most as i64, names).await? {
                let service: String = row.try_get("service")?;
                let most = most_of.get(service.as_str()).copied().unwrap_or_default();
                newest.insert(service, Newest::of_row(&row, most)?);
            }
        }
        Ok(newest)
    }

    async fn newest_alike(&self, most: i64, names: &[&str]) -> Result<Vec<AnyRow>, StoreError> {
        let select = "SELECT asked.column1 AS service,
             (SELECT string_agg(newest.deployment, ' ') FROM (SELECT deployment FROM runs
                WHERE service = asked.column1 AND verified = 1 ORDER BY deployment DESC LIMIT $1) AS newest) AS verified,
             (SELECT runs.deployment FROM runs JOIN deployments ON deployments.id = runs.deployment
                WHERE runs.service = asked.column1 AND runs.changed = 1 AND deployments.state = 'done'
                ORDER BY runs.deployment DESC LIMIT 1) AS changed,
             (SELECT id FROM deployments WHERE service = asked.column1 AND state = 'done' ORDER BY id DESC LIMIT 1) AS ended
             FROM";
        let mut rows = Vec::new();
        for names in names.chunks(MOST_NAMED) {
            let names = many::padded(names);
            let each = many::each(select, 2, names.len()).bind(most);
            rows.extend(self.gate.fetch_all(names.iter().fold(each, |each, name| each.bind(*name))).await?);
        }
        Ok(rows)
    }

    async fn deployments_of(&self, newest: &HashMap<String, Newest>) -> Result<ById, StoreError> {
        let seen: BTreeSet<&str> = newest.values().flat_map(Newest::seen).collect();
        let others = newest.values().flat_map(|one| &one.verified).map(String::as_str).filter(|id| !seen.contains(id));
        let others: Vec<&str> = others.collect();
        let seen: Vec<&str> = seen.into_iter().collect();
        let mut rows = self.among(select_deployments!(shown "WHERE d.id IN"), &seen).await?;
        rows.extend(self.among(select_deployments!(releases "WHERE d.id IN"), &others).await?);
        rows.iter().map(|row| Ok((row.try_get("id")?, rows::deployment(row)))).collect()
    }

    /// The rows whose value is in `values`, by `select`, which must end with `IN`.
    async fn among(&self, select: &'static str, values: &[&str]) -> Result<Vec<AnyRow>, StoreError> {
        let mut rows = Vec::new();
        for values in values.chunks(MOST_NAMED) {
            let values = many::padded(values);
            let query = many::among(select, 1, values.len());
            rows.extend(self.gate.fetch_all(values.iter().fold(query, |query, value| query.bind(*value))).await?);
        }
        Ok(rows)
    }
}
