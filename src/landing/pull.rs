//! Images come to the host while the old release serves.

use std::time::Duration;
use std::time::Instant;

use crate::landing::run::Run;
use crate::landing::stop::Stop;
use crate::model::ImageRef;
use crate::model::Step;
use crate::process::Passing;
use crate::registry;

impl Run<'_> {
    /// Afterwards everything that `up` starts is on the host, so that `up` needs no registry.
    pub(super) async fn pull(&mut self) -> Result<(), Stop> {
        self.begin(Step::Pull, "images").await?;
        let (limit, until) = (self.service.deadlines.pull, Instant::now() + self.service.deadlines.pull);
        for image in self.images.clone() {
            if self.compose.image(&image.by_digest(), &self.cancel).await?.is_some() {
                self.journal.note(format!("{} is on this host", image.by_digest()));
                self.compose.name_loaded(&image, &self.cancel).await?;
                continue;
            }
            self.fetch(&image, until.saturating_duration_since(Instant::now()), limit).await?;
        }
        if let Some(resolved) = &self.resolved {
            let left = until.saturating_duration_since(Instant::now());
            let journal = &mut self.journal;
            self.compose
                .pull_missing(resolved, left, &self.cancel, |_, line| journal.output(line))
                .await
                .map_err(|error| error.of_limit(limit))?;
        }
        Ok(())
    }

    /// For the undo: verified images are kept on the host, and one that somebody removed by force all the same is asked for
    /// at the registry.
    pub(super) async fn fetch_if_gone(&mut self) -> Result<(), Stop> {
        let limit = self.service.deadlines.pull;
        for image in self.images.clone() {
            if self.compose.image(&image.by_digest(), &self.cancel).await?.is_none() {
                self.journal.warning(format!("{} is not on this host any more; it is pulled", image.by_digest()));
                self.fetch(&image, limit, limit).await?;
            }
            self.compose.name_loaded(&image, &self.cancel).await?;
        }
        Ok(())
    }

    /// One image from its registry, with the login that the configuration has for it.
    async fn fetch(&mut self, image: &ImageRef, left: Duration, limit: Duration) -> Result<(), Stop> {
        if let Some(name) = image.loaded_name() {
            let why = format!("{name}, which `docker load` brought, is not on this host any more; load it again.");
            return Err(Stop::Fault(why));
        }
        let registries = self.host.registries();
        let login = registries.configured(&image.repository).and_then(|entry| Some((entry.host.clone(), entry.login.clone()?)));
        let place = self.config.server.passing_dir();
        let folder = login.map(|(host, (user, password))| registry::docker_config(&place, &host, &user, &password));
        let folder = folder.transpose().map_err(|error| Stop::Fault(format!("the registry's login cannot be written: {error}.")))?;
        let journal = &mut self.journal;
        self.compose
            .pull(image, folder.as_ref().map(Passing::path), left, &self.cancel, |_, line| journal.output(line))
            .await
            .map_err(|error| error.of_limit(limit))?;
        Ok(())
    }
}
