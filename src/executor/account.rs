//! Where what an agent says of an order is recorded: in the run of its deployment, or, where that goes over several hosts, in the run on
//! the agent's host. Nothing is acknowledged before it is on disk.

use text::Mask;

use crate::clock;
use crate::executor::drafts::ASIDE;
use crate::executor::drafts::drafts;
use crate::executor::drafts::on_host;
use crate::landing::Books;
use crate::landing::insist;
use crate::line::SentLine;
use crate::model::AgentName;
use crate::model::CancelledBy;
use crate::model::DeploymentId;
use crate::model::LineDraft;
use crate::model::LineKind;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::Stage;
use crate::model::Step;
use crate::store::Ending;
use crate::store::Facts;
use crate::store::Fence;
use crate::store::StoreError;

/// The record of what an agent says of one order.
pub(super) struct Account<'a> {
    pub(super) books: &'a Books,
    pub(super) mask: &'a Mask,
    /// The run of the deployment.
    pub(super) fence: Fence,
    pub(super) service: ServiceName,
    /// The run on a host of a rollout, and that host; none: the deployment is on one host.
    pub(super) on_host: Option<(i64, AgentName)>,
}

impl Account<'_> {
    /// The run whose lines these are.
    fn run(&self) -> i64 {
        self.on_host.as_ref().map_or(self.fence.run, |(run, _)| *run)
    }

    /// Copies lines into the journal. The lines of a rollout say which host they are of, and none of them is its last.
    pub(super) async fn copy(&self, lines: Vec<SentLine>) -> Result<(), StoreError> {
        let store = &self.books.store;
        for (run, mut drafts) in drafts(lines, self.mask) {
            match &self.on_host {
                Some((own, host)) => {
                    on_host(host, &mut drafts);
                    if run == ASIDE {
                        store.copy_lines(&self.fence.id, -own, &drafts).await?;
                    } else {
                        store.append_host_lines(&self.fence, *own, &drafts).await?;
                    }
                }
                None if run == ASIDE => store.copy_lines(&self.fence.id, run, &drafts).await?,
                None => store.append_lines(&self.fence, &drafts).await?,
            }
        }
        self.books.hub.tell(&self.fence.id);
        Ok(())
    }

    /// Stores the step that it is at, and what became known.
    pub(super) async fn keep(&self, step: Stage, facts: &Facts) -> Result<(), StoreError> {
        match &self.on_host {
            Some((run, _)) => self.books.store.advance_host_run(&self.fence, *run, step, facts).await,
            None => self.books.store.advance(&self.fence, step, facts).await,
        }
    }

    /// The number of the last line of the run.
    pub(super) async fn last_seq(&self) -> Result<i64, StoreError> {
        self.books.store.last_seq(&Fence { run: self.run(), ..self.fence.clone() }).await
    }

    /// Ends the run with `outcome`, which the line `seq` tells, however long the database does not answer. Returns whether it was this
    /// server's to say.
    pub(super) async fn end(&self, outcome: &Outcome, step: Stage, seq: i64) -> bool {
        let Some((run, host)) = &self.on_host else {
            return self.books.end(&self.fence, &self.service, Ending { outcome, step, seq, watch: None }).await;
        };
        let text = format!("{host}: {outcome}");
        let last = LineDraft { seq, at_ms: clock::now_ms(), step, kind: LineKind::Note, text };
        let finish = || self.books.store.finish_host_run(&self.fence, *run, outcome, last.clone());
        if insist(&self.fence.id, Some(host), "the outcome on a host could not be stored", finish).await.is_none() {
            return false;
        }
        tracing::info!(deployment = %self.fence.id, service = %self.service, host = %host, outcome = outcome.name(), "a host of a rollout has ended");
        self.books.hub.tell(&self.fence.id);
        true
    }

    /// Who stops the deployment.
    pub(super) async fn cancelled_by(&self) -> CancelledBy {
        let stored = self.books.store.get(&self.fence.id).await.ok().flatten();
        stored.and_then(|stored| stored.cancel_by).unwrap_or(CancelledBy::Nameless)
    }

    /// A line of the deployment itself. One that cannot be stored is no reason to stop.
    pub(super) async fn note(&self, text: &str) {
        note(self.books, &self.fence.id, text).await;
    }

    /// Ends the run with `outcome`, which is one more line of it, however long the database does not answer. None: this server must not
    /// say it.
    pub(super) async fn conclude(&self, outcome: Outcome) -> Option<Outcome> {
        let host = self.on_host.as_ref().map(|(_, host)| host);
        let last = insist(&self.fence.id, host, "the last line of a journal could not be read", || self.last_seq()).await?;
        self.end(&outcome, Step::Guards.into(), last + 1).await.then_some(outcome)
    }
}

/// [`Account::note`] for the deployment `id`.
pub(super) async fn note(books: &Books, id: &DeploymentId, text: &str) {
    if let Err(error) = books.store.say(id, text).await {
        tracing::warn!(deployment = %id, %error, "a line of a journal could not be stored");
    }
    books.hub.tell(id);
}
