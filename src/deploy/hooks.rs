//! The hooks of a service.

use crate::config::Hook;
use crate::deploy::run::Run;
use crate::deploy::run::Stop;
use crate::model::Guard;
use crate::model::Step;
use crate::process;
use crate::process::Ended;

impl Run<'_> {
    /// A failing `before` hook stops the deployment with nothing changed.
    pub(super) async fn before_hook(&mut self) -> Result<(), Stop> {
        let Some(hook) = self.service.hooks.before.clone() else { return Ok(()) };
        self.begin(Step::BeforeHook, &format!("before-hook: {}", hook.argv.join(" "))).await?;
        match self.hook(&hook).await {
            Ended::Exit(0) => Ok(()),
            Ended::Cancelled => Err(Stop::Cancelled),
            ended => Err(Stop::Refused(Guard::BeforeHook, format!("the before-hook {ended}."))),
        }
    }

    /// A failing `after` hook leaves the release live, with a warning.
    pub(super) async fn after_hook(&mut self) -> Result<(), Stop> {
        let Some(hook) = self.service.hooks.after.clone() else { return Ok(()) };
        self.journal.note(format!("after-hook: {}", hook.argv.join(" ")));
        let ended = self.hook(&hook).await;
        if ended != Ended::Exit(0) {
            let warning = format!("the after-hook {ended}");
            self.journal.warning(&warning);
            self.warnings.push(warning);
        }
        Ok(())
    }

    /// Runs a hook; it is told what is landed by its environment.
    pub(super) async fn hook(&mut self, hook: &Hook) -> Ended {
        let mut command = self.compose.hook(hook);
        let images: Vec<String> = self.images.iter().map(ToString::to_string).collect();
        for (name, value) in [
            ("TAGALONG_SERVICE", self.service.name.to_string()),
            ("TAGALONG_DEPLOYMENT", self.fence.id.to_string()),
            ("TAGALONG_TAG", self.order.tag.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("TAGALONG_IMAGES", images.join(" ")),
            ("TAGALONG_COMMIT", self.order.commit.clone().unwrap_or_default()),
        ] {
            command.env.insert(name.to_owned(), value);
        }
        let journal = &mut self.journal;
        process::run(&command, &self.cancel, |_, line| journal.output(line)).await
    }
}
