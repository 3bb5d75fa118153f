//! After a restart: what an earlier life was at is finished or undone.

use std::time::Duration;

use crate::landing::run::Run;
use crate::landing::stop::Stop;
use crate::model::DeploymentId;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::State;
use crate::model::Step;
use crate::process;
use crate::process::HostLock;

impl Run<'_> {
    /// Takes the stack's lock. After a restart, what the earlier life left running is ended first: it holds the lock by the
    /// descriptor that it inherited, and is found by it.
    pub(super) async fn take_lock(&mut self, recovered: bool) -> Result<HostLock, String> {
        let dir = self.service.stack.dir.clone();
        if recovered {
            let ended = process::end_left_behind(&dir, self.fence.id.as_str()).await;
            self.journal.warning(format!(
                "tagalong was ended while it carried this out; going on after {} process{} ended",
                ended,
                if ended == 1 { "" } else { "es" }
            ));
        }
        self.end_leavings_of_ended().await;
        HostLock::take(&dir, self.fence.id.as_str(), Duration::from_secs(20)).await.map_err(|error| error.to_string())
    }

    /// Tagalong may have been ended just after it had stored an outcome, with a program of that deployment still running. No
    /// recovery comes for one that has ended, so whoever wants the lock next ends what is left.
    async fn end_leavings_of_ended(&mut self) {
        let dir = self.service.stack.dir.clone();
        let Some(work) = process::work_left_behind(&dir) else { return };
        let Ok(id) = DeploymentId::parse(&work) else { return };
        if let Ok(Some(old)) = self.host.store.get(&id).await
            && matches!(old.state, State::Done { .. })
        {
            process::end_left_behind(&dir, &work).await;
        }
    }

    /// Enters the story where the earlier life was. Before the pin it begins anew; from the pin on it finishes what it can,
    /// and undoes it when it does not hold; an undo is taken up as an undo.
    pub(super) async fn resume(&mut self, step: Step) -> Result<Outcome, Stop> {
        self.compose.ready(&self.cancel).await?;
        if self.order.kind == OrderKind::Adopt || !step.changes_the_host() {
            return self.land().await;
        }
        self.changed = true;
        if step.is_undo() {
            self.owe_again().await?;
            let stored = self.host.store.get(&self.fence.id).await?;
            let why = stored.and_then(|stored| stored.undo_why).unwrap_or_else(|| "it did not hold".to_owned());
            return self.undo(why).await;
        }
        if step == Step::AfterHook {
            if self.service.hooks.after.is_some() {
                self.warnings.push("the after-hook may have been cut short by a restart".into());
            }
            self.keep_images().await;
            return Ok(Outcome::Live { warnings: std::mem::take(&mut self.warnings) });
        }
        self.look_at_the_stack().await?;
        let stored = self.host.store.get(&self.fence.id).await?.and_then(|stored| stored.resolved);
        let edit = self.resolved.as_ref().zip(stored).and_then(|(now, then)| now.changed_since(&then, &self.images));
        self.refuse_edit(edit, false)?;
        self.pin().await?;
        self.bring_up().await
    }
}
