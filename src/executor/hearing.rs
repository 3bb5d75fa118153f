//! What agents say over their lines: who gets it, and which services stand where by it.

use std::time::Duration;

use process::Cancel;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::executor::agents::Agents;
use crate::executor::agents::PATIENCE;
use crate::executor::agents::held;
use crate::executor::gate;
use crate::executor::gate::Said;
use crate::executor::stray;
use crate::line::Ack;
use crate::line::FromAgent;
use crate::line::FromControl;
use crate::line::Hello;
use crate::line::OutOfBounds;
use crate::model::AgentName;
use crate::store::StoreError;

/// How often it is looked whether another server of the database has learned of services.
const LOOK: Duration = Duration::from_secs(2);

impl Agents {
    /// The services of its host are stored and in force. One that says hello all the time waits.
    pub(super) async fn settle(&self, name: &AgentName, hello: &Hello) -> Result<(), StoreError> {
        tokio::time::sleep(self.pace.pause(name)).await;
        let services: Vec<_> = hello.services.iter().map(|service| (service.name.clone(), service.images.clone())).collect();
        if self.books.store.keep_placements(name, &services).await? {
            self.look_at_placements().await?;
        }
        Ok(())
    }

    /// What is stored of which services stand where is in force when this returns.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn look_at_placements(&self) -> Result<(), StoreError> {
        let placements = self.books.store.placements().await?;
        if *held(&self.placements) != placements {
            *held(&self.placements) = placements;
            self.put_in_force();
        }
        Ok(())
    }

    /// What `name` says over its line `number`, until the line ends, or says what no agent of ours says.
    pub(super) async fn hear(&self, name: &AgentName, number: u64, from: &mut mpsc::Receiver<FromAgent>, to: &mpsc::Sender<FromControl>) {
        while let Some(frame) = from.recv().await {
            let id = frame.deployment().cloned();
            let said = match (gate::admit(&self.config.now(), name, frame), id) {
                (Ok(said), _) => said,
                (Err(OutOfBounds::Future(id)), _) => {
                    let why = OutOfBounds::Future(id.clone());
                    tracing::warn!(agent = %name, %why, "what an agent said is not recorded");
                    let ack = Ack { deployment: id, position: 0, ended: true, unknown: false };
                    drop(timeout(PATIENCE, to.send(FromControl::Ack(ack))).await);
                    continue;
                }
                (Err(why), id) => {
                    let of = id.map_or_else(String::new, |id| format!(" of the deployment {id}"));
                    return self.not_reached(name, &format!("it ended, because of what the agent said{of}: {why}"));
                }
            };
            self.take(name, number, said, to).await;
        }
    }

    async fn take(&self, name: &AgentName, number: u64, said: Said, to: &mpsc::Sender<FromControl>) {
        let whose = said.deployment().and_then(|id| held(&self.at_work).get(&(id.clone(), name.clone())).cloned());
        if let Some(errand) = whose {
            // Whoever carries the order out may have ended meanwhile; then the agent sends it again.
            return drop(errand.send(said).await);
        }
        match said.into_frame() {
            FromAgent::Unknown => {}
            FromAgent::Answer(answer) => {
                // Only who was asked answers.
                if let Some(asker) = held(&self.asked).remove(&(number, answer.ask)) {
                    let _ = asker.send(answer.body);
                }
            }
            FromAgent::Hello(hello) => {
                if let Err(error) = self.settle(name, &hello).await {
                    tracing::error!(agent = %name, %error, "the services of an agent could not be stored");
                }
            }
            frame => match stray::hear(&self.books, &self.config.now(), name, frame).await {
                Ok(Some(ack)) => drop(timeout(PATIENCE, to.send(FromControl::Ack(ack))).await),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(agent = %name, %error, "what an agent said could not be stored; it will say it again");
                }
            },
        }
    }

    /// Looks until `stop` which services other servers of the same database have learned of.
    pub async fn follow_placements(&self, stop: Cancel) {
        while !self.books.store.is_sqlite() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            if let Err(error) = self.look_at_placements().await {
                tracing::warn!(%error, "which services stand with agents could not be read");
            }
        }
    }
}
