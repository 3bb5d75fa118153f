//! An order that an agent carries out: sent, accepted, its lines copied, its outcome recorded. The agent decides by ids what is new, so
//! everything may be said twice, and every point may be the last of a line or of either process.

use std::time::Duration;

use process::Cancel;
use text::Mask;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::clock;
use crate::executor::agents::Agents;
use crate::executor::drafts::ASIDE;
use crate::executor::drafts::drafts;
use crate::executor::seat::Attached;
use crate::landing::Claimed;
use crate::line::Ack;
use crate::line::CancelOrder;
use crate::line::Ended;
use crate::line::FromAgent;
use crate::line::FromControl;
use crate::line::Lines;
use crate::line::Refused;
use crate::line::SentOrder;
use crate::model::AgentName;
use crate::model::CancelledBy;
use crate::model::LineDraft;
use crate::model::LineKind;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Stage;
use crate::model::Step;
use crate::store::Ending;
use crate::store::Facts;
use crate::store::Fence;
use crate::store::StoreError;

/// How long a line may not take a frame.
const STALLED: Duration = Duration::from_secs(30);
/// How long an agent may take to accept an order before it is sent again.
const AGAIN: Duration = Duration::from_secs(10);
/// After how long an agent that takes the order, and says nothing of it, counts as stuck.
const STUCK: Duration = Duration::from_secs(20);
/// How soon the database is tried again.
const SOON: Duration = Duration::from_secs(1);

/// Returns at `at`, and never where there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// An order on its way to an agent, and what comes back.
pub(super) struct Errand<'a> {
    agents: &'a Agents,
    claimed: Claimed,
    fence: Fence,
    agent: AgentName,
    mask: &'a Mask,
    said: mpsc::Receiver<FromAgent>,
    cancel: Cancel,
    /// Whether the agent may have the order.
    may_know: bool,
    accepted: bool,
    told_away: bool,
    /// Why the agent did not take it yet, as it said last.
    not_yet: String,
}

/// Why a line is left.
enum Left {
    /// It has ended.
    Line,
    /// The order has ended so.
    Order(Outcome),
    /// Another server has the run now.
    Run,
}

/// Has `agent` carry an order out. When this returns, its outcome is stored and told; none: this server must not say it.
pub(super) async fn carry_out(agents: &Agents, claimed: Claimed, agent: AgentName, mask: &Mask, cancel: Cancel) -> Option<Outcome> {
    let (_leaves, said) = agents.listen(&claimed.deployment.id, &agent);
    Errand::new(agents, claimed, agent, mask, said, cancel).run().await
}

impl<'a> Errand<'a> {
    pub(super) fn new(
        agents: &'a Agents,
        claimed: Claimed,
        agent: AgentName,
        mask: &'a Mask,
        said: mpsc::Receiver<FromAgent>,
        cancel: Cancel,
    ) -> Self {
        if claimed.deployment.cancel_by.is_some() {
            cancel.cancel();
        }
        let fence = claimed.deployment.fence();
        // A rollback that was cancelled has stopped something, which only the host can bring back.
        let is_left_half_way = cancel.is_cancelled() && claimed.deployment.order.kind == OrderKind::Rollback;
        let may_know = claimed.recovered || is_left_half_way;
        Self { agents, claimed, fence, agent, mask, said, cancel, may_know, accepted: false, told_away: false, not_yet: String::new() }
    }

    /// Until it has ended. None: this server must not say how.
    pub(super) async fn run(mut self) -> Option<Outcome> {
        if let Some(objection) = self.claimed.objection.take().filter(|_| !self.may_know) {
            return self.end(Outcome::Refused { guard: objection.guard, why: objection.why }, None).await;
        }
        if !self.may_know {
            self.note(&format!("The agent {} carries it out.", self.agent)).await;
        }
        loop {
            let Some(line) = self.line().await else {
                let outcome = self.cancelled().await;
                return self.end(outcome, None).await;
            };
            match self.over(&line).await {
                Left::Line => self.tell_away().await,
                Left::Order(outcome) => return Some(outcome),
                Left::Run => return None,
            }
        }
    }

    /// The next line to the agent. None: it was cancelled, and the agent does not have it.
    async fn line(&self) -> Option<Attached> {
        let mut seat = self.agents.seat(&self.agent);
        let is_open = |attached: &Attached| !attached.to.is_closed();
        let here = seat.wait_for(|now| now.attached().is_some_and(is_open));
        tokio::select! {
            here = here => here.ok()?.attached().cloned(),
            () = self.cancel.cancelled(), if !self.may_know => None,
        }
    }

    /// Says the order over a line, and hears what comes of it.
    async fn over(&mut self, line: &Attached) -> Left {
        let mut is_cancel_sent = false;
        self.accepted = false;
        if !self.cancel.is_cancelled() || self.claimed.deployment.order.kind == OrderKind::Rollback {
            self.say_order(line).await;
        }
        let mut again = Instant::now() + AGAIN;
        let mut stuck_at = Some(Instant::now() + STUCK);
        loop {
            let frame = tokio::select! {
                frame = self.said.recv() => frame,
                () = line.to.closed() => return Left::Line,
                () = self.cancel.cancelled(), if !is_cancel_sent => {
                    is_cancel_sent = true;
                    self.say_cancel(line).await;
                    continue;
                }
                () = until(stuck_at), if !self.accepted => {
                    stuck_at = None;
                    self.tell_stuck().await;
                    continue;
                }
                () = tokio::time::sleep_until(again), if !self.accepted => {
                    again = Instant::now() + AGAIN;
                    if is_cancel_sent { self.say_cancel(line).await } else { self.say_order(line).await }
                    continue;
                }
            };
            let Some(frame) = frame else { return Left::Run };
            self.agents.presence.set_stuck(&self.agent, false);
            stuck_at = None;
            match self.hear(frame, line).await {
                Ok(None) => {}
                Ok(Some(left)) => return left,
                Err(StoreError::Fenced) => return Left::Run,
                Err(error) => {
                    // Nothing was acknowledged, so the agent says it again.
                    tracing::error!(deployment = %self.fence.id, %error, "what an agent said could not be stored");
                    tokio::time::sleep(SOON).await;
                }
            }
        }
    }

    async fn say_order(&mut self, line: &Attached) {
        self.may_know = true;
        let order = SentOrder::of(&self.claimed.deployment);
        self.say(line, FromControl::Order(Box::new(order))).await;
    }

    async fn say_cancel(&self, line: &Attached) {
        let by = self.cancelled_by().await;
        self.say(line, FromControl::Cancel(CancelOrder { deployment: self.fence.id.clone(), by: by.to_string() })).await;
    }

    /// A line that takes nothing for long is as good as none.
    async fn say(&self, line: &Attached, frame: FromControl) {
        if timeout(STALLED, line.to.send(frame)).await.is_err() {
            tracing::warn!(agent = %self.agent, "a line to an agent takes nothing");
        }
    }

    async fn hear(&mut self, frame: FromAgent, line: &Attached) -> Result<Option<Left>, StoreError> {
        match frame {
            FromAgent::Accepted(_) => {
                self.accepted = true;
                Ok(None)
            }
            FromAgent::Refused(refused) => self.refused(refused).await,
            FromAgent::Lines(lines) => {
                self.accepted = true;
                let position = self.copy(lines).await?;
                self.ack(line, position, false).await;
                Ok(None)
            }
            FromAgent::Ended(ended) => {
                let outcome = self.ended(*ended).await?;
                if outcome.is_some() {
                    self.ack(line, 0, true).await;
                }
                Ok(Some(outcome.map_or(Left::Run, Left::Order)))
            }
            FromAgent::Unreadable(what) => {
                let why = format!("what the agent {} says of it ({}) cannot be read here: {}", self.agent, what.kind, what.why);
                if self.not_yet != why {
                    self.note(&format!("{why}; upgrade the control plane.")).await;
                    self.not_yet = why;
                }
                Ok(None)
            }
            FromAgent::Hello(_) | FromAgent::Answer(_) | FromAgent::Unknown => Ok(None),
        }
    }

    async fn ack(&self, line: &Attached, position: i64, ended: bool) {
        let ack = Ack { deployment: self.fence.id.clone(), position, ended, unknown: false };
        self.say(line, FromControl::Ack(ack)).await;
    }

    async fn refused(&mut self, refused: Refused) -> Result<Option<Left>, StoreError> {
        let Refused { guard, why, later, .. } = refused;
        // Whether an order that was cancelled is there, the answer to the cancel says.
        if later {
            if self.not_yet != why {
                self.note(&format!("The agent {} does not take it yet: {why}", self.agent)).await;
                self.not_yet = why;
            }
            return Ok(None);
        }
        let outcome = match guard {
            _ if self.cancel.is_cancelled() => self.cancelled().await,
            Some(guard) => Outcome::Refused { guard, why: format!("the agent {}: {why}", self.agent) },
            None => Outcome::Failed { why: format!("the agent {} did not take it: {why}", self.agent) },
        };
        Ok(Some(self.end(outcome, None).await.map_or(Left::Run, Left::Order)))
    }

    /// Copies lines into the journal. Gives the position, at the agent, of the last one.
    async fn copy(&self, lines: Lines) -> Result<i64, StoreError> {
        let store = &self.agents.books.store;
        let position = lines.lines.last().map_or(0, |line| line.position);
        let step = lines.lines.iter().rev().find(|line| line.run == 1 && line.kind == LineKind::Step).map(|line| line.step);
        for (run, drafts) in drafts(lines.lines, self.mask) {
            if run == ASIDE {
                store.copy_lines(&self.fence.id, run, &drafts).await?;
            } else {
                store.append_lines(&self.fence, &drafts).await?;
            }
        }
        if let Some(step) = step {
            store.advance(&self.fence, step, &Facts::default()).await?;
        }
        self.agents.books.hub.tell(&self.fence.id);
        Ok(position)
    }

    async fn ended(&self, ended: Ended) -> Result<Option<Outcome>, StoreError> {
        self.agents.books.store.advance(&self.fence, ended.step, &ended.facts()).await?;
        // Its last line tells the outcome, unless it was never begun there.
        let last = self.agents.books.store.last_seq(&self.fence).await?;
        let seq = if ended.started_ms.is_some() { last.max(1) } else { last + 1 };
        Ok(self.end_at(ended.outcome, ended.step, seq).await)
    }

    async fn end(&self, outcome: Outcome, seq: Option<i64>) -> Option<Outcome> {
        let seq = match seq {
            Some(seq) => seq,
            None => self.agents.books.store.last_seq(&self.fence).await.unwrap_or_default() + 1,
        };
        self.end_at(outcome, Step::Guards.into(), seq).await
    }

    async fn end_at(&self, outcome: Outcome, step: Stage, seq: i64) -> Option<Outcome> {
        let service = &self.claimed.deployment.order.service;
        let ending = Ending { outcome: &outcome, step, seq, watch: None };
        self.agents.books.end(&self.fence, service, ending).await.then_some(outcome)
    }

    async fn cancelled(&self) -> Outcome {
        Outcome::Cancelled { by: self.cancelled_by().await, changed: false, brought_back: false }
    }

    async fn cancelled_by(&self) -> CancelledBy {
        let stored = self.agents.books.store.get(&self.fence.id).await.ok().flatten();
        stored.and_then(|stored| stored.cancel_by).unwrap_or(CancelledBy::Nameless)
    }

    async fn tell_away(&mut self) {
        if !self.told_away {
            self.told_away = true;
            let why = "what it has accepted goes on there, and its lines follow when it is back";
            self.note(&format!("The line to the agent {} has ended; {why}.", self.agent)).await;
        }
    }

    async fn tell_stuck(&mut self) {
        self.agents.presence.set_stuck(&self.agent, true);
        let seconds = STUCK.as_secs();
        let why = "it is asked again; look at the log of its server, or restart it";
        self.note(&format!("The agent {} is connected, and has not answered this order for {seconds} s; {why}.", self.agent)).await;
    }

    /// A line of the deployment itself. One that cannot be stored is no reason to stop.
    async fn note(&self, text: &str) {
        let store = &self.agents.books.store;
        let own = Fence { run: 0, ..self.fence.clone() };
        let said = async {
            let seq = store.last_seq(&own).await? + 1;
            let line = LineDraft { seq, at_ms: clock::now_ms(), step: Step::Guards.into(), kind: LineKind::Note, text: text.to_owned() };
            store.append_own_lines(&self.fence.id, &[line]).await
        };
        if let Err(error) = said.await {
            tracing::warn!(deployment = %self.fence.id, %error, "a line of a journal could not be stored");
        }
        self.agents.books.hub.tell(&self.fence.id);
    }
}
