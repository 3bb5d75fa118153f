//! Which releases of a service are shown: as many as stay on its host.

use crate::api;
use crate::config::Service;
use crate::orders::Deployer;
use crate::orders::way_back::same_content;
use crate::store::Deployment;
use crate::store::MOST_RELEASES;
use crate::store::Recorded;
use crate::store::StoreError;

/// How many measurements of a page are shown: one, and a few to compare it with.
const MOST_AWAY: usize = 4;

impl Deployer {
    /// What the record has of each service, in their order: enough of the last verified releases for as many different contents as
    /// stay on the host, where there are as many. Seldom does the same content land again and again, so that seldom more are read.
    pub(super) async fn recorded(&self, services: &[&Service]) -> Result<Vec<Recorded>, StoreError> {
        let few = |service: &Service| service.keep * 2;
        let asked: Vec<_> = services.iter().map(|service| (&service.name, few(service))).collect();
        let mut recorded = self.store.recorded(&asked).await?;
        let lacks = |service: &Service, found: &Recorded| found.verified.len() >= few(service) && contents(&found.verified) < service.keep;
        let lacking: Vec<usize> = (0..services.len()).filter(|at| lacks(services[*at], &recorded[*at])).collect();
        let all: Vec<_> = lacking.iter().map(|at| (&services[*at].name, MOST_RELEASES as usize)).collect();
        for (at, found) in lacking.into_iter().zip(self.store.recorded(&all).await?) {
            recorded[at] = found;
        }
        Ok(recorded)
    }
}

/// How the page answered during the last of these deployments, which come newest first. Deployments that never replaced a container
/// have nothing to tell.
pub(super) fn away<'a>(newest_first: impl Iterator<Item = &'a Deployment>) -> Vec<api::PageAway> {
    let measured = |one: &Deployment| Some(api::PageAway { deployment: one.id.clone(), measured: one.away? });
    newest_first.filter_map(measured).take(MOST_AWAY).collect()
}

/// How many different contents there are.
fn contents(verified: &[Result<Deployment, StoreError>]) -> usize {
    let mut seen: Vec<&Deployment> = Vec::new();
    for one in verified.iter().flatten() {
        if !seen.iter().any(|other| same_content(other, one)) {
            seen.push(one);
        }
    }
    seen.len()
}

#[cfg(test)]
mod tests {
    use smoke::Availability;

    use super::MOST_AWAY;
    use super::away;
    use crate::orders::sample::landed;

    #[test]
    fn the_newest_measurements_are_shown_and_deployments_without_one_are_passed_over() {
        let of = |number: u8| Availability { requests: u32::from(number), ..Availability::default() };
        let mut all: Vec<_> = (1..=8).rev().map(landed).collect();
        for (number, one) in (1..=8).rev().zip(&mut all) {
            one.away = (number != 7).then(|| of(number));
        }
        let shown = away(all.iter());
        let seen: Vec<_> = shown.iter().map(|one| (&one.deployment, one.measured.requests)).collect();
        assert_eq!(seen, [(&all[0].id, 8), (&all[2].id, 6), (&all[3].id, 5), (&all[4].id, 4)]);
        assert_eq!(seen.len(), MOST_AWAY);
        assert!(away([landed(1)].iter()).is_empty());
    }
}
