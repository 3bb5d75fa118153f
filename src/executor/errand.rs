//! An order that an agent carries out: sent, accepted, its lines copied, its outcome recorded. The agent decides by ids what is new, so
//! everything may be said twice, and every point may be the last of a line or of either process.

use std::time::Duration;

use process::Cancel;
use text::Mask;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::clock;
use crate::executor::account::Account;
use crate::executor::agents::Agents;
use crate::executor::awaited::Awaited;
use crate::executor::awaited::NoLine;
use crate::executor::gate;
use crate::executor::gate::Said;
use crate::executor::seat::Attached;
use crate::landing::Claimed;
use crate::landing::Objection;
use crate::line::Ack;
use crate::line::CancelOrder;
use crate::line::Ended;
use crate::line::FromAgent;
use crate::line::FromControl;
use crate::line::Lines;
use crate::line::Refused;
use crate::line::SentOrder;
use crate::line::Unreadable;
use crate::model::AgentName;
use crate::model::LineKind;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::store::Facts;
use crate::store::StoreError;

/// How long a line may not take a frame.
const STALLED: Duration = Duration::from_secs(30);
/// How long an agent may take to accept an order before it is sent again.
const AGAIN: Duration = Duration::from_secs(10);
/// After how long an agent that takes the order, and says nothing of it, counts as stuck.
const STUCK: Duration = Duration::from_secs(20);
/// How often it is told why an order is not further.
const MOST_SAID: u32 = 50;
/// How soon the database is tried again.
const SOON: Duration = Duration::from_secs(1);

/// Returns at `at`, and never where there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Until when an order may be taken that may wait for `most` from `from_ms` on (ms since 1970, UTC).
pub(super) fn good_until(from_ms: i64, most: Duration) -> i64 {
    from_ms.saturating_add(i64::try_from(most.as_millis()).unwrap_or(i64::MAX))
}

/// An order on its way to an agent, and what comes back.
pub(super) struct Errand<'a> {
    pub(super) agents: &'a Agents,
    pub(super) account: Account<'a>,
    pub(super) agent: AgentName,
    /// The order, with the id that it has at the agent.
    pub(super) order: SentOrder,
    /// Why a guard refuses it, unless the agent may have it.
    pub(super) objection: Option<Objection>,
    pub(super) said: mpsc::Receiver<Said>,
    pub(super) cancel: Cancel,
    /// Whether the agent may have the order.
    pub(super) may_know: bool,
    /// How long an agent that is away is waited for where it cannot have the order; none: however long.
    pub(super) patience: Option<Duration>,
    /// Until when an agent may take it that does not have it yet (ms since 1970, UTC); none: at any time.
    pub(super) good_until_ms: Option<i64>,
    pub(super) progress: Progress,
}

/// How far an errand is.
#[derive(Default)]
pub(super) struct Progress {
    accepted: bool,
    told_away: bool,
    /// What was said last of why it is not further.
    not_yet: String,
    /// How often it was told why it is not further.
    said: u32,
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
    let deployment = &claimed.deployment;
    let (_leaves, said) = agents.listen(&deployment.id, &agent);
    if deployment.cancel_by.is_some() {
        cancel.cancel();
    }
    let service = deployment.order.service.clone();
    let account = Account { books: &agents.books, mask, fence: deployment.fence(), service, on_host: None };
    // A rollback that was cancelled has stopped something, which only the host can bring back.
    let is_left_half_way = cancel.is_cancelled() && deployment.order.kind == OrderKind::Rollback;
    let may_know = claimed.recovered || is_left_half_way;
    let order = SentOrder::of(deployment);
    let good_until_ms = (deployment.order.kind == OrderKind::Deploy).then(|| good_until(deployment.ready_ms(), claimed.service.max_wait));
    let errand =
        Errand { objection: claimed.objection, may_know, good_until_ms, ..Errand::new(agents, account, agent, order, said, cancel) };
    errand.run().await
}

impl<'a> Errand<'a> {
    /// One with an order that the agent cannot have yet.
    pub(super) fn new(
        agents: &'a Agents,
        account: Account<'a>,
        agent: AgentName,
        order: SentOrder,
        said: mpsc::Receiver<Said>,
        cancel: Cancel,
    ) -> Self {
        let progress = Progress::default();
        Self {
            agents,
            account,
            agent,
            order,
            objection: None,
            said,
            cancel,
            may_know: false,
            patience: None,
            good_until_ms: None,
            progress,
        }
    }

    /// Until it has ended. None: this server must not say how.
    pub(super) async fn run(mut self) -> Option<Outcome> {
        if let Some(objection) = self.objection.take().filter(|_| !self.may_know) {
            return self.account.conclude(Outcome::Refused { guard: objection.guard, why: objection.why }).await;
        }
        if !self.may_know {
            let waits = self.agents.why_not(&self.agent);
            let waits = waits.map_or_else(String::new, |why| format!(" It waits for it: {why}."));
            self.account.note(&format!("The agent {} carries it out.{waits}", self.agent)).await;
        }
        loop {
            let line = match self.line().await {
                Ok(line) => line,
                Err(NoLine::Cancelled) => {
                    let outcome = self.cancelled().await;
                    return self.account.conclude(outcome).await;
                }
                Err(NoLine::Away(why)) => return self.account.conclude(Outcome::Failed { why }).await,
                Err(NoLine::Gone(why)) => {
                    let outcome = self.lost(&why);
                    return self.account.conclude(outcome).await;
                }
                Err(NoLine::Elsewhere) => {
                    self.give_back().await;
                    return None;
                }
            };
            match self.over(&line).await {
                Left::Line => self.tell_away().await,
                Left::Order(outcome) => return Some(outcome),
                Left::Run => return None,
            }
        }
    }

    /// The next line to the agent.
    async fn line(&self) -> Result<Attached, NoLine> {
        let Self { agents, agent, cancel, may_know, patience, .. } = self;
        // The runs on the hosts of a rollout are all of the server that has the rollout.
        let may_move = self.account.on_host.is_none();
        Awaited { agents, agent, cancel, may_know: *may_know, patience: *patience, may_move }.line().await
    }

    /// The server that the agent is connected to goes on with it.
    async fn give_back(&self) {
        let why = "it is connected to another server of this database";
        self.account.note(&format!("The agent {} is not waited for any more: {why}, which goes on with it.", self.agent)).await;
        if let Err(error) = self.account.books.store.give_back(&self.account.fence).await {
            tracing::error!(deployment = %self.order.deployment, %error, "a run could not be given to the server of its agent; trying again");
        }
    }

    /// How it ends with an agent that does not come back, because of `why`: nobody can say any more what the agent did with it.
    fn lost(&self, why: &str) -> Outcome {
        if self.may_know {
            Outcome::NeedsOperator { why: format!("{why} while it may have carried this out; look at what runs on its host") }
        } else {
            Outcome::Failed { why: format!("{why} before it had the order") }
        }
    }

    /// Says the order over a line, and hears what comes of it.
    async fn over(&mut self, line: &Attached) -> Left {
        let mut is_cancel_sent = false;
        self.progress.accepted = false;
        if !self.cancel.is_cancelled() || self.order.order == OrderKind::Rollback {
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
                () = until(stuck_at), if !self.progress.accepted => {
                    stuck_at = None;
                    self.tell_stuck().await;
                    continue;
                }
                () = tokio::time::sleep_until(again), if !self.progress.accepted => {
                    again = Instant::now() + AGAIN;
                    if is_cancel_sent { self.say_cancel(line).await } else { self.say_order(line).await }
                    continue;
                }
            };
            let Some(frame) = frame else { return Left::Run };
            self.agents.set_stuck(&self.agent, false);
            stuck_at = None;
            match self.hear(frame, line).await {
                Ok(None) => {}
                Ok(Some(left)) => return left,
                Err(StoreError::Fenced) => return Left::Run,
                Err(error) => {
                    // Nothing was acknowledged, so the agent says it again.
                    tracing::error!(deployment = %self.order.deployment, %error, "what an agent said could not be stored");
                    tokio::time::sleep(SOON).await;
                }
            }
        }
    }

    async fn say_order(&mut self, line: &Attached) {
        self.may_know = true;
        // What is left is told, and not the time itself: clocks differ.
        let left_ms = self.good_until_ms.map(|until_ms| u64::try_from(until_ms - clock::now_ms()).unwrap_or_default());
        let order = SentOrder { good_for_s: left_ms.map(|left_ms| left_ms.div_ceil(1000)), ..self.order.clone() };
        self.say(line, FromControl::Order(Box::new(order))).await;
    }

    async fn say_cancel(&self, line: &Attached) {
        let by = self.account.cancelled_by().await;
        self.say(line, FromControl::Cancel(CancelOrder { deployment: self.order.deployment.clone(), by: by.to_string() })).await;
    }

    /// A line that takes nothing for long is as good as none.
    async fn say(&self, line: &Attached, frame: FromControl) {
        if timeout(STALLED, line.to.send(frame)).await.is_err() {
            tracing::warn!(agent = %self.agent, "a line to an agent takes nothing");
        }
    }

    async fn hear(&mut self, said: Said, line: &Attached) -> Result<Option<Left>, StoreError> {
        match said.into_frame() {
            FromAgent::Accepted(_) => {
                self.progress.accepted = true;
                Ok(None)
            }
            FromAgent::Refused(refused) => self.refused(refused).await,
            FromAgent::Lines(lines) => {
                self.progress.accepted = true;
                let position = self.copy(lines).await?;
                self.ack(line, position, false).await;
                Ok(None)
            }
            FromAgent::Ended(ended) if ended.order.service != self.order.service => Ok(None),
            FromAgent::Ended(ended) => {
                let outcome = self.ended(*ended).await?;
                if outcome.is_some() {
                    self.ack(line, 0, true).await;
                }
                Ok(Some(outcome.map_or(Left::Run, Left::Order)))
            }
            FromAgent::Unreadable(what) => {
                let Unreadable { kind, why, .. } = what;
                self.not_yet(format!(
                    "What the agent {} says of it ({kind}) cannot be read here: {why}; upgrade the control plane.",
                    self.agent
                ))
                .await;
                Ok(None)
            }
            FromAgent::Hello(_) | FromAgent::Answer(_) | FromAgent::Unknown => Ok(None),
        }
    }

    async fn ack(&self, line: &Attached, position: i64, ended: bool) {
        let ack = Ack { deployment: self.order.deployment.clone(), position, ended, unknown: false };
        self.say(line, FromControl::Ack(ack)).await;
    }

    async fn refused(&mut self, refused: Refused) -> Result<Option<Left>, StoreError> {
        let Refused { guard, why, later, .. } = refused;
        // Whether an order that was cancelled is there, the answer to the cancel says.
        if later {
            self.not_yet(format!("The agent {} does not take it yet: {why}", self.agent)).await;
            return Ok(None);
        }
        let outcome = match guard {
            _ if self.cancel.is_cancelled() => self.cancelled().await,
            Some(guard) => Outcome::Refused { guard, why: format!("the agent {}: {why}", self.agent) },
            None => Outcome::Failed { why: format!("the agent {} did not take it: {why}", self.agent) },
        };
        Ok(Some(self.account.conclude(outcome).await.map_or(Left::Run, Left::Order)))
    }

    /// Copies lines into the journal. Gives the position, at the agent, of the last one.
    async fn copy(&self, lines: Lines) -> Result<i64, StoreError> {
        let position = lines.lines.last().map_or(0, |line| line.position);
        if !gate::has_room(&self.agents.books.store, &self.agent, &self.account.fence.id, &lines).await? {
            return Ok(position);
        }
        let step = lines.lines.iter().rev().find(|line| line.run == 1 && line.kind == LineKind::Step).map(|line| line.step);
        self.account.copy(lines.lines).await?;
        if let Some(step) = step {
            self.account.keep(step, &Facts::default()).await?;
        }
        Ok(position)
    }

    async fn ended(&self, ended: Ended) -> Result<Option<Outcome>, StoreError> {
        let ended = gate::as_ordered(ended, &self.order, &self.agent);
        self.account.keep(ended.step, &ended.facts()).await?;
        // Its last line tells the outcome, unless it was never begun there.
        let last = self.account.last_seq().await?;
        let seq = if ended.started_ms.is_some() { last.max(1) } else { last + 1 };
        Ok(self.account.end(&ended.outcome, ended.step, seq).await.then_some(ended.outcome))
    }

    async fn cancelled(&self) -> Outcome {
        Outcome::Cancelled { by: self.account.cancelled_by().await, changed: false, brought_back: false }
    }

    async fn tell_away(&mut self) {
        if !self.progress.told_away {
            self.progress.told_away = true;
            let why = "what it has accepted goes on there, and its lines follow when it is back";
            self.account.note(&format!("The line to the agent {} has ended; {why}.", self.agent)).await;
        }
    }

    /// Says why it is not further, unless that was said last, or enough was said.
    async fn not_yet(&mut self, text: String) {
        if self.progress.not_yet != text && self.progress.said < MOST_SAID {
            self.progress.said += 1;
            self.account.note(&text).await;
            self.progress.not_yet = text;
        }
    }

    async fn tell_stuck(&mut self) {
        self.agents.set_stuck(&self.agent, true);
        let seconds = STUCK.as_secs();
        let why = "it is asked again; look at the log of its server, or restart it";
        self.account.note(&format!("The agent {} is connected, and has not answered this order for {seconds} s; {why}.", self.agent)).await;
    }
}
