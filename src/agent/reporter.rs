//! Tells the control plane what it does not know: lines, then how it ended. Everything is read from the store, so nothing waits in memory,
//! and of each deployment one frame at a time is on its way: a slow line slows nothing on this host.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::journal::Hub;
use crate::line::Ack;
use crate::line::Ended;
use crate::line::FromAgent;
use crate::line::Lines;
use crate::line::SentLine;
use crate::model::DeploymentId;
use crate::model::Line;
use crate::model::State;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Untold;

/// How many deployments are looked at in a round, and of how many something is on its way at a time: fewer than the line has room for.
const MOST: i64 = 512;
const MOST_ON_ITS_WAY: usize = 16;
/// How many lines a frame holds at most, and how long their texts are together.
const MOST_LINES: i64 = 500;
const MOST_BYTES: usize = 256 << 10;
/// How long until what was not acknowledged is said again.
const AGAIN: Duration = Duration::from_secs(10);
/// How often it looks without having heard of anything: another process of this host may have written.
const LOOK: Duration = Duration::from_secs(5);

/// Tells over one line.
pub(super) struct Reporter<'a> {
    store: &'a Store,
    hub: &'a Hub,
    to: mpsc::Sender<FromAgent>,
    heard: mpsc::Receiver<Heard>,
    /// What was said of a deployment and not acknowledged.
    on_its_way: HashMap<DeploymentId, OnItsWay>,
    /// The control plane does not know these: it takes how they ended, and then their lines.
    unknown: Vec<DeploymentId>,
}

/// What the control plane has said that concerns what it is told.
#[derive(Debug)]
pub(super) enum Heard {
    /// What it has on its disk.
    Ack(Ack),
    /// It is at this deployment now, and may have missed what was said of it before.
    At(DeploymentId),
}

/// What was said, of what, and when.
#[derive(Debug)]
struct OnItsWay {
    one: Untold,
    said: Said,
    at: Instant,
}

/// What is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// Lines up to this position.
    Lines(i64),
    /// How it ended.
    End,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(store: &'a Store, hub: &'a Hub, to: mpsc::Sender<FromAgent>, heard: mpsc::Receiver<Heard>) -> Self {
        Self { store, hub, to, heard, on_its_way: HashMap::new(), unknown: Vec::new() }
    }

    /// Tells until the line ends.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn tell(mut self) -> Result<(), StoreError> {
        let mut news = self.hub.news();
        let mut is_settled = false;
        loop {
            news.borrow_and_update();
            let untold = self.store.untold(MOST).await?;
            // Once is enough: at rest nothing is written, and no lock is taken.
            if untold.is_empty() && !is_settled {
                self.store.nothing_is_untold().await?;
                self.unknown.clear();
            }
            is_settled = untold.is_empty();
            for one in untold {
                let is_waiting = self.on_its_way.get(&one.id).is_some_and(|way| way.at.elapsed() < AGAIN);
                if self.on_its_way.values().filter(|way| way.at.elapsed() < AGAIN).count() >= MOST_ON_ITS_WAY {
                    break;
                }
                if !is_waiting && !self.tell_of(one).await? {
                    return Ok(());
                }
            }
            tokio::select! {
                heard = self.heard.recv() => match heard {
                    Some(Heard::Ack(ack)) => self.acknowledged(&ack).await?,
                    Some(Heard::At(id)) => drop(self.on_its_way.remove(&id)),
                    None => return Ok(()),
                },
                _ = news.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Says the next thing of a deployment. Returns whether the line still takes it.
    async fn tell_of(&mut self, one: Untold) -> Result<bool, StoreError> {
        let Some(deployment) = self.store.get(&one.id).await? else {
            self.store.was_told(&one, true).await?;
            return Ok(true);
        };
        let is_done = matches!(deployment.state, State::Done { .. });
        let comes_first = self.unknown.contains(&one.id) && !one.ended;
        if comes_first && !is_done {
            return Ok(true);
        }
        let lines = if comes_first { Vec::new() } else { bounded(self.store.lines_after(&one.id, one.position, MOST_LINES).await?) };
        if let Some(last) = lines.last() {
            let said = Said::Lines(last.position);
            let lines = lines.into_iter().map(SentLine::of).collect();
            let frame = FromAgent::Lines(Lines { deployment: one.id.clone(), lines });
            return Ok(self.say(said, one, frame).await);
        }
        match Ended::of(&deployment) {
            Some(ended) if !one.ended => Ok(self.say(Said::End, one, FromAgent::Ended(Box::new(ended))).await),
            Some(_) => {
                self.store.was_told(&one, true).await?;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    async fn say(&mut self, said: Said, one: Untold, frame: FromAgent) -> bool {
        self.on_its_way.insert(one.id.clone(), OnItsWay { one, said, at: Instant::now() });
        self.to.send(frame).await.is_ok()
    }

    async fn acknowledged(&mut self, ack: &Ack) -> Result<(), StoreError> {
        let Some(mut way) = self.on_its_way.remove(&ack.deployment) else { return Ok(()) };
        if ack.unknown {
            // It has taken how it ended, and keeps nothing of it.
            if way.one.ended {
                return self.store.was_told(&way.one, true).await;
            }
            if !self.unknown.contains(&ack.deployment) {
                self.unknown.push(ack.deployment.clone());
            }
            return Ok(());
        }
        match way.said {
            Said::Lines(position) if ack.position == position => way.one.position = position,
            Said::End if ack.ended => way.one.ended = true,
            // It is about something that was said before.
            _ => {
                self.on_its_way.insert(ack.deployment.clone(), way);
                return Ok(());
            }
        }
        self.store.was_told(&way.one, false).await
    }
}

/// As many lines as a frame may hold, and at least one.
fn bounded(mut lines: Vec<Line>) -> Vec<Line> {
    let mut bytes = 0;
    let fits = lines.iter().take_while(|line| {
        let is_first = bytes == 0;
        bytes += line.text.len() + 100;
        is_first || bytes <= MOST_BYTES
    });
    let many = fits.count();
    lines.truncate(many);
    lines
}
