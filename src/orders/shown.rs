//! Which releases of a service are shown: as many as stay on its host.

use crate::api;
use crate::config::Service;
use crate::model::ImageRef;
use crate::orders::Deployer;
use crate::orders::way_back::same_content;
use crate::store::Deployment;
use crate::store::StoreError;

/// How many measurements of a page are shown: one, and a few to compare it with.
const MOST_AWAY: usize = 4;

impl Deployer {
    /// The last verified deployments of a service, newest first: enough of them for as many different contents as stay on the host,
    /// where there are as many. Seldom does the same content land again and again, so that seldom all have to be read.
    pub(super) async fn shown(&self, service: &Service) -> Result<Vec<Result<Deployment, StoreError>>, StoreError> {
        let few = service.keep * 2;
        let last = self.store.last_verified(&service.name, few as i64).await?;
        if last.len() < few || contents(&last) >= service.keep { Ok(last) } else { self.store.verified(&service.name).await }
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
    let mut seen: Vec<&[ImageRef]> = Vec::new();
    for one in verified.iter().flatten() {
        if !seen.iter().any(|other| same_content(other, &one.images)) {
            seen.push(&one.images);
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
