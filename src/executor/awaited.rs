//! The next line to an agent that has an order to carry out, and why none is waited for any more.

use std::time::Duration;

use process::Cancel;

use crate::executor::agents::Agents;
use crate::executor::seat::Attached;
use crate::model::AgentName;

/// How often it is looked whether an agent is connected to another server of the same database, and how often it has to be until its order
/// goes there.
const LOOK: Duration = Duration::from_secs(1);
const TIMES_ELSEWHERE: u32 = 3;

/// Why no line is waited for any more.
pub(super) enum NoLine {
    /// The order was cancelled, and the agent cannot have it.
    Cancelled,
    /// Why there is none, where the agent cannot have it.
    Away(String),
    /// Why there will be none, whether the agent has it or not.
    Gone(String),
    /// There is one to another server of the same database.
    Elsewhere,
}

/// What waits for a line.
pub(super) struct Awaited<'a> {
    pub(super) agents: &'a Agents,
    pub(super) agent: &'a AgentName,
    pub(super) cancel: &'a Cancel,
    /// Whether the agent may have the order.
    pub(super) may_know: bool,
    /// How long an agent that is away is waited for where it cannot have the order; none: however long.
    pub(super) patience: Option<Duration>,
    /// Whether another server may go on with it.
    pub(super) may_move: bool,
}

impl Awaited<'_> {
    /// The next line to the agent.
    ///
    /// # Errors
    /// [`NoLine`].
    pub(super) async fn line(self) -> Result<Attached, NoLine> {
        let mut seat = self.agents.seat(self.agent);
        let is_open = |attached: &Attached| !attached.to.is_closed();
        let here = async {
            let seen = seat.wait_for(|now| now.attached().is_some_and(is_open)).await;
            seen.ok().and_then(|seen| seen.attached().cloned())
        };
        let late = async {
            match self.patience {
                Some(patience) => tokio::time::sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            here = here => here.ok_or(NoLine::Cancelled),
            () = self.cancel.cancelled(), if !self.may_know => Err(NoLine::Cancelled),
            () = late, if !self.may_know => {
                let why = self.agents.why_not(self.agent).unwrap_or_else(|| format!("the agent {} is away", self.agent));
                let most_s = self.patience.unwrap_or_default().as_secs();
                Err(NoLine::Away(format!("{why}, which is longer than max_wait_s = {most_s}")))
            }
            why = self.agents.gone(self.agent) => Err(NoLine::Gone(why)),
            () = self.elsewhere(), if self.may_move => Err(NoLine::Elsewhere),
        }
    }

    /// Returns once the agent has been connected to another server for a while: one that moves back and forth takes no order along.
    async fn elsewhere(&self) {
        let mut times = 0;
        while times < TIMES_ELSEWHERE {
            tokio::time::sleep(LOOK).await;
            times = if self.agents.is_elsewhere(self.agent) { times + 1 } else { 0 };
        }
    }
}
