//! A stack that somebody edits while an order is carried out.
//!
//! What was looked at before anything changed is what is landed. An edit that is noticed before anything was replaced refuses
//! the order, and the old release goes on; later it is a reason to undo. An undo itself is never stopped by one: that would
//! leave the page broken. It brings the previous images up with the files as they are then, and says so.

use crate::landing::run::Run;
use crate::landing::stop::Stop;
use crate::model::Guard;

impl Run<'_> {
    /// Right before `up`: the stack is what preflight saw, with the pin.
    pub(super) async fn refuse_edited(&mut self, is_undo: bool) -> Result<(), Stop> {
        let Some(resolved) = &self.resolved else { return Ok(()) };
        let asked = self.compose.edited(resolved, &self.images, &self.host.fingerprint_key, &self.cancel);
        let edit = match self.within(self.service.deadlines.preflight, "docker compose", asked).await {
            Ok(Ok(edit)) => edit,
            // What cannot be compared must not keep the page broken.
            Ok(Err(_)) | Err(Stop::Fault(_)) if is_undo => None,
            Ok(Err(error)) => return Err(error.into()),
            Err(stop) => return Err(stop),
        };
        self.refuse_edit(edit, is_undo)
    }

    /// What follows from an edit that was noticed.
    pub(super) fn refuse_edit(&mut self, edit: Option<String>, is_undo: bool) -> Result<(), Stop> {
        let Some(edit) = edit else { return Ok(()) };
        let dir = self.service.stack.dir.display();
        if is_undo {
            self.journal
                .warning(format!("the stack in {dir} was edited meanwhile ({edit}); the previous images come up with it as it is now"));
            return Ok(());
        }
        let why = format!(
            "the stack in {dir} was edited after it had been looked at: {edit}. Finish the edit, look at it with `tagalong check`, and give the order again."
        );
        Err(if self.replaced { Stop::Fault(why) } else { Stop::Refused(Guard::Stack, why) })
    }
}
