//! Which releases of a service are shown: as many as stay on its host.

use crate::config::Service;
use crate::model::ImageRef;
use crate::orders::Deployer;
use crate::orders::way_back::same_content;
use crate::store::Deployment;
use crate::store::MOST_RELEASES;
use crate::store::Recorded;
use crate::store::StoreError;

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
