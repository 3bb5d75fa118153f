//! Bringing containers back that are there and do not do their work: one that is paused, and one beside the release whose health
//! check fails or that ends again and again. What runs the release itself is made anew by `up`. Only a repair does it, but for what is
//! paused and about to be started.

use std::time::Duration;

use process::Cancel;
use process::Stream;

use crate::clock;
use crate::engine::compose::project::Resolved;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::up::Plan;
use crate::engine::container::Ailment;
use crate::engine::container::Container;
use crate::engine::error::EngineError;

/// How long a container may take to end before it is started again.
const RESTART: Duration = Duration::from_mins(2);

impl Compose {
    /// Afterwards every paused container of a service that `plan` starts goes on, since Docker starts no paused one; one that runs the
    /// release has been restarted as well. Where things are mended, all paused ones of active services go on, and every one beside the
    /// release that was unhealthy or crashed again and again has been restarted, with the volumes that it has.
    ///
    /// # Errors
    /// When Docker does not do it; those before are done.
    pub(super) async fn wake(
        &self,
        resolved: &Resolved,
        there: &[Container],
        plan: &Plan,
        cancel: &Cancel,
        each: &mut impl FnMut(Stream, String),
    ) -> Result<(), EngineError> {
        let touched = resolved.touched();
        let is_active = |one: &&Container| !one.is_one_off && resolved.service(&one.service).is_some_and(|service| service.active);
        for container in there.iter().filter(is_active) {
            let is_touched = touched.contains(&container.service.as_str());
            let (verbs, why): (&[&str], _) = match container.ailment(clock::now_ms()) {
                // The release is judged by its health, which was asked for while nothing in the container could answer.
                Some(Ailment::Paused) if is_touched && !self.mends => (&["unpause", "restart"], "was paused"),
                Some(Ailment::Paused) if self.mends || plan.starts(&container.service) => (&["unpause"], "was paused"),
                Some(Ailment::CrashLoop) if self.mends && !is_touched => (&["restart"], "is in a crash loop"),
                Some(Ailment::Unhealthy) if self.mends && !is_touched => (&["restart"], "is unhealthy"),
                _ => continue,
            };
            for verb in verbs {
                each(Stream::Out, format!("docker {verb} {}: it {why}", container.name));
                self.ask(&self.docker_command([*verb, &container.id], RESTART), &format!("docker {verb}"), cancel).await?;
            }
        }
        Ok(())
    }
}
