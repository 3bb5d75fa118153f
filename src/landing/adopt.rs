//! Adoption: what runs is looked at and recorded, and nothing is changed.

use crate::landing::run::Run;
use crate::landing::seen;
use crate::landing::stop::Stop;
use crate::model::Digest;
use crate::model::Guard;
use crate::model::ImageRef;
use crate::model::Outcome;
use crate::model::Step;

impl Run<'_> {
    /// What runs is smoked and recorded; nothing is changed.
    pub(super) async fn adopt(&mut self) -> Result<Outcome, Stop> {
        self.begin(Step::Preflight, "what runs now").await?;
        self.look_at_the_stack().await?;
        let containers = self.compose.containers(&self.cancel).await?;
        let mut images = Vec::new();
        for pin in self.service.stack.pins.clone() {
            let used = self.resolved.as_ref().and_then(|resolved| resolved.uses.iter().find(|used| used.pin.image == pin.image));
            let using = used.map(|used| used.services.clone()).unwrap_or_default();
            let Some(container) = containers.iter().find(|c| seen::is_running(c) && using.contains(&c.service)) else {
                return Err(Stop::Refused(Guard::NothingRuns, format!("no container of {} runs; deploy a tag instead.", pin.image)));
            };
            let found = self.compose.image(&container.image_id, &self.cancel).await?;
            let tag = seen::tag_of(container, &pin.image);
            let known = found.as_ref().and_then(|image| seen::digest_of(image, &pin.image));
            let loaded = known.is_none() && self.service.loaded_images && tag.is_some();
            let own = found.filter(|_| loaded).and_then(|image| Digest::parse(&image.id).ok());
            let digest = known.or(own).ok_or_else(|| {
                Stop::Refused(
                    Guard::NotFound,
                    format!(
                        "the image that {} runs has no digest of {}: it was built here; push it and deploy its tag.",
                        container.name, pin.image
                    ),
                )
            })?;
            images.push(ImageRef { repository: pin.image.clone(), tag, digest, loaded });
        }
        self.images = images;
        self.journal.note(format!("runs {}", self.images_text()));
        self.health(Step::Health).await?;
        self.smoke(Step::Smoke).await?;
        self.verified().await?;
        Ok(Outcome::Live { warnings: std::mem::take(&mut self.warnings) })
    }
}
