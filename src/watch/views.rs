//! Watches, looks and incidents as the API shows them.

use std::collections::HashMap;

use crate::api;
use crate::model::ServiceName;
use crate::store::Incident;
use crate::store::IncidentFilter;
use crate::store::LookRow;
use crate::store::StoreError;
use crate::store::Watch;
use crate::store::Watched;
use crate::watch::Watcher;

/// How many looks, and how many hours, are shown.
const MOST_SHOWN: i64 = 1000;

impl Watcher {
    /// `services` with how they are looked at and what is wrong with them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn dressed(&self, mut services: Vec<api::Service>) -> Result<Vec<api::Service>, StoreError> {
        let releases: Vec<_> = services.iter().filter_map(|service| Some(&service.live.as_ref()?.id)).collect();
        let names: Vec<&ServiceName> = services.iter().map(|service| &service.name).collect();
        let watches = self.store.watches_of(&releases, &names).await?;
        let mut incidents: HashMap<ServiceName, Vec<api::Incident>> = HashMap::new();
        for incident in self.store.open_incidents(&names).await? {
            incidents.entry(incident.service.clone()).or_default().push(view_of_incident(&incident));
        }
        let config = self.config.now();
        let is_here = |name: &ServiceName| config.service(name).is_none_or(|service| service.stack.is_here());
        // What stands elsewhere is looked at there, and its agent has said so.
        for service in services.iter_mut().filter(|service| is_here(&service.name)) {
            let of = |is_page: bool| {
                let is_it = |watch: &&Watch| watch.service == service.name && (watch.watched == Watched::Page) == is_page;
                watches.iter().find(is_it).map(view)
            };
            let is_scheduled = config.service(&service.name).is_some_and(|service| service.watch.looks.is_some());
            service.watch = of(false);
            service.schedule = of(true).filter(|_| is_scheduled);
            service.incidents = incidents.remove(&service.name).unwrap_or_default();
        }
        Ok(services)
    }

    /// Incidents, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn incidents(&self, filter: &IncidentFilter) -> Result<api::Incidents, StoreError> {
        let found = self.store.incidents(filter).await?;
        let next_before = found.last().filter(|_| found.len() as i64 == filter.limit).map(|last| last.id.clone());
        Ok(api::Incidents { incidents: found.iter().map(view_of_incident).collect(), next_before })
    }

    /// What looks at `service` have seen.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn looks(&self, service: &ServiceName) -> Result<api::Looks, StoreError> {
        let looks = self.store.looks(service, false, MOST_SHOWN).await?;
        let hours = self.store.looks(service, true, MOST_SHOWN).await?;
        Ok(api::Looks { looks: looks.iter().map(view_of_look).collect(), hours: hours.iter().map(view_of_look).collect() })
    }

    /// Tells the metrics what is open.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn measure(&self) -> Result<(), StoreError> {
        let config = self.config.now();
        let names: Vec<&ServiceName> = config.services.keys().collect();
        let open = self.store.open_incidents(&names).await?;
        for name in names {
            self.metrics.looks().set_open(name, open.iter().filter(|incident| incident.service == *name).count());
        }
        Ok(())
    }
}

fn view(watch: &Watch) -> api::Watch {
    api::Watch {
        state: watch.state,
        since_ms: watch.since_ms,
        until_ms: watch.until_ms,
        every_s: watch.every.as_secs_f64(),
        looks: watch.looks,
        bad: watch.bad,
        last_ms: watch.last_ms,
        last: watch.last,
        why: watch.why.clone(),
        placed: watch.placed.clone(),
    }
}

fn view_of_incident(incident: &Incident) -> api::Incident {
    api::Incident {
        id: incident.id.clone(),
        service: incident.service.clone(),
        kind: incident.kind,
        what: incident.what.clone(),
        mend: incident.mend.clone(),
        seen: incident.seen,
        opened_ms: incident.opened_ms,
        last_ms: incident.last_ms,
        closed_ms: incident.closed_ms,
    }
}

fn view_of_look(row: &LookRow) -> api::Look {
    api::Look {
        at_ms: row.at_ms,
        looks: row.looks,
        bad: row.bad,
        blind: row.blind,
        latency_ms: row.latency_ms,
        slowest_ms: row.slowest_ms,
        status: row.status,
        rules: row.rules.split_whitespace().map(str::to_owned).collect(),
    }
}
