//! A look that somebody asks for: at once, as the service's configuration says, and without a record.

use smoke::Release;
use smoke::Report;

use crate::config::Service;
use crate::executor::AskError;
use crate::model::ServiceName;
use crate::store::StoreError;
use crate::watch::Watcher;
use crate::watch::sight;

/// Why nothing was looked at.
#[derive(Debug, thiserror::Error)]
pub enum NotLooked {
    /// The service has no page to look at.
    #[error("{0} has no [service.{0}.smoke] table in the configuration of its host, so there is no page to look at.")]
    NoPage(ServiceName),
    /// There are enough looks.
    #[error("Too many pages are being looked at; try again.")]
    Busy,
    /// Its agent did not do it.
    #[error("{0}.")]
    Elsewhere(#[from] AskError),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Watcher {
    /// Looks at the page of `service` now, from the host that it stands on. The page should show `release`, or else what is live.
    ///
    /// # Errors
    /// [`NotLooked`].
    pub async fn look_now(&self, service: &Service, release: Option<Release>) -> Result<Report, NotLooked> {
        if let Some(agent) = service.stack.agents().first() {
            let agents = self.deployer.agents();
            let _place = agents.place_to_look(agent).ok_or(NotLooked::Busy)?;
            return Ok(agents.look(agent, &service.name, release.as_ref()).await?);
        }
        let _place = self.asked.try_acquire().map_err(|_| NotLooked::Busy)?;
        let smoke = service.smoke.as_ref().ok_or_else(|| NotLooked::NoPage(service.name.clone()))?;
        let release = match release {
            Some(release) => Some(release),
            None => self.deployer.served(service).await?.and_then(|served| sight::wanted(&served.live)),
        };
        Ok(smoke::check(&smoke.plan, release.as_ref(), &mut |_| {}).await)
    }
}
