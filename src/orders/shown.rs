//! Which releases of a service are shown: as many as stay on its host.

use crate::config::Service;
use crate::model::ImageRef;
use crate::orders::Deployer;
use crate::orders::way_back::same_content;
use crate::store::Deployment;
use crate::store::StoreError;

impl Deployer {
    /// The last verified deployments of a service, newest first: enough of them for as many different contents as stay on the host,
    /// where there are as many. Seldom does the same content land again and again, so that seldom all have to be read.
    pub(super) async fn shown(&self, service: &Service) -> Result<Vec<Result<Deployment, StoreError>>, StoreError> {
        let few = service.keep * 2;
        let last = self.store.last_verified(&service.name, few as i64).await?;
        if last.len() < few || contents(&last) >= service.keep { Ok(last) } else { self.store.verified(&service.name).await }
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
