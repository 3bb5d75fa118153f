//! The hooks of a service.

use std::collections::BTreeMap;

use crate::config::Hook;
use crate::config::HookKind;
use crate::engine::EngineError;
use crate::engine::HookPlace;
use crate::landing::run::Run;
use crate::landing::stop::Stop;
use crate::model::Guard;
use crate::model::Step;
use crate::process;
use crate::process::Ended;

impl Run<'_> {
    /// A failing `before` hook stops the deployment with nothing changed.
    pub(super) async fn before_hook(&mut self) -> Result<(), Stop> {
        let Some(hook) = self.service.hooks.before.clone() else { return Ok(()) };
        self.begin(Step::BeforeHook, &format!("before-hook: {}", hook.argv.join(" "))).await?;
        match self.hook_through_outages(&hook).await {
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

    /// Runs a hook that may run twice, as before the pin and in an undo it does after a restart of tagalong too: when Docker went
    /// away while it ran and it failed, it is run again.
    pub(super) async fn hook_through_outages(&mut self, hook: &Hook) -> Ended {
        const MOST_TIMES: u32 = 3;
        for _ in 1..MOST_TIMES {
            let outages = self.compose.outages();
            let ended = self.hook(hook).await;
            let has_failed = matches!(ended, Ended::Exit(1..) | Ended::Signal(_) | Ended::Deadline(_));
            if !has_failed || !self.compose.was_away(outages).await {
                return ended;
            }
            self.journal.warning(format!("the hook {ended}; Docker was away meanwhile, so it is run again"));
        }
        self.hook(hook).await
    }

    /// Runs a hook, once Docker answers; it is told what is landed by its environment.
    pub(super) async fn hook(&mut self, hook: &Hook) -> Ended {
        let images: Vec<String> = self.images.iter().map(ToString::to_string).collect();
        let known = [
            ("TAGALONG_SERVICE", self.service.name.to_string()),
            ("TAGALONG_DEPLOYMENT", self.fence.id.to_string()),
            ("TAGALONG_TAG", self.order.tag.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("TAGALONG_IMAGES", images.join(" ")),
            ("TAGALONG_COMMIT", self.order.commit.clone().unwrap_or_default()),
        ];
        let env: BTreeMap<String, String> = known.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let place = match &hook.kind {
            HookKind::Host => HookPlace::Host,
            HookKind::Exec(service) => HookPlace::Exec(service.clone()),
            HookKind::Run(image) => HookPlace::Run(image.clone()),
        };
        let Some(resolved) = &self.resolved else { return Ended::NotStarted("the stack was not resolved".into()) };
        match self.compose.ready(&self.cancel).await {
            Err(EngineError::Cancelled { .. }) => return Ended::Cancelled,
            Err(error) => return Ended::NotStarted(error.to_string()),
            Ok(()) => {}
        }
        let command = match self.compose.hook(resolved, &place, &hook.argv, &env, hook.deadline).await {
            Ok(command) => command,
            Err(error) => return Ended::NotStarted(error.to_string()),
        };
        let journal = &mut self.journal;
        process::run(&command, &self.cancel, |_, line| journal.output(line)).await
    }
}
