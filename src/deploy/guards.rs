//! What is asked when an order's turn comes, before anything is touched.

use crate::clock;
use crate::deploy::run::Run;
use crate::deploy::run::Stop;
use crate::model::Guard;
use crate::model::OrderKind;
use crate::model::Step;

impl Run<'_> {
    /// The order may have waited long, and the world may have moved on since it was accepted.
    pub(super) async fn guards(&mut self) -> Result<(), Stop> {
        let title = match self.order.kind {
            OrderKind::Deploy => format!("{} → {}", self.service.name, self.wanted_tag()),
            OrderKind::Rollback => format!("{} back to {}", self.service.name, self.wanted_tag()),
            OrderKind::Adopt => format!("{}: adopt what runs", self.service.name),
        };
        self.journal.step(Step::Guards, &title);
        self.journal.note(format!(
            "ordered by {}{}",
            self.order.caller,
            self.order.reason.as_ref().map_or(String::new(), |why| format!(": {why}"))
        ));
        if self.attempts > 3 {
            return Err(Stop::Fault(format!(
                "tagalong was ended {} times while it carried this out; retry it when the host is well.",
                self.attempts - 1
            )));
        }
        let waited_ms = clock::now_ms() - self.created_ms;
        if self.order.kind == OrderKind::Deploy && self.attempts == 1 && waited_ms > self.service.max_wait.as_millis() as i64 {
            let why = format!("the order waited {} s, longer than max_wait_s = {}.", waited_ms / 1000, self.service.max_wait.as_secs());
            return Err(Stop::Refused(Guard::Age, why));
        }
        if self.order.kind == OrderKind::Deploy
            && !self.order.force
            && !self.order.dry_run
            && let Some(hold) = self.deployer.store.hold(&self.service.name).await?
        {
            let why = format!(
                "the rollback {} holds {}; `tagalong release {}` lets CI deploy again.",
                hold.deployment, self.service.name, self.service.name
            );
            return Err(Stop::Refused(Guard::Held, why));
        }
        Ok(())
    }

    pub(super) fn wanted_tag(&self) -> String {
        self.order.tag.as_ref().map_or_else(|| "the recorded image".to_owned(), ToString::to_string)
    }
}
