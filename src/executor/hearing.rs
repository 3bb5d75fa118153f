//! What agents say over their lines: who gets it, and which services stand where by it.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::config::Placement;
use crate::executor::agents::Agents;
use crate::executor::agents::PATIENCE;
use crate::executor::agents::held;
use crate::executor::gate;
use crate::executor::gate::Said;
use crate::line::Ack;
use crate::line::FromAgent;
use crate::line::FromControl;
use crate::line::Hello;
use crate::line::OutOfBounds;
use crate::model::AgentName;
use crate::store::StoreError;

impl Agents {
    /// The services of its host are stored and in force, if it is enrolled or dialled. One that says hello all the time waits.
    pub(super) async fn settle(&self, name: &AgentName, hello: &Hello) -> Result<(), StoreError> {
        tokio::time::sleep(self.pace.pause(name)).await;
        let services: Vec<_> = hello.services.iter().map(|service| (service.name.clone(), service.images.clone())).collect();
        // Most come back with what they had: when all come at once, that must cost nothing that grows with their number.
        let is_its = |one: &&Placement| one.agent == *name && one.is_named;
        let before =
            held(&self.placements).iter().filter(is_its).map(|one| (one.service.clone(), one.images.clone())).collect::<BTreeMap<_, _>>();
        if before.len() == services.len() && services.iter().all(|(service, images)| before.get(service) == Some(images)) {
            return Ok(());
        }
        if self.books.store.keep_placements(name, &services, self.config.now().dials(name)).await? {
            self.see_placements().await?;
        }
        Ok(())
    }

    /// What another server of the same database has heard of its agents is in force here as well.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn see_placements(&self) -> Result<(), StoreError> {
        let now = self.books.store.placements().await?;
        if *held(&self.placements) != now {
            *held(&self.placements) = now;
            self.put_in_force();
        }
        Ok(())
    }

    /// What `name` says over its line `number`, until the line ends, or says what no agent of ours says.
    pub(super) async fn hear(&self, name: &AgentName, number: u64, from: &mut mpsc::Receiver<FromAgent>, to: &mpsc::Sender<FromControl>) {
        while let Some(frame) = from.recv().await {
            let id = frame.deployment().cloned();
            let said = match gate::admit(&self.config.now(), name, frame) {
                Ok(said) => said,
                Err(ref why @ OutOfBounds::Future(ref deployment)) => {
                    tracing::warn!(agent = %name, %why, "what an agent said is not recorded");
                    let ack = Ack { deployment: deployment.clone(), position: 0, ended: true, unknown: false };
                    drop(timeout(PATIENCE, to.send(FromControl::Ack(ack))).await);
                    continue;
                }
                Err(why) => {
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
                    return;
                }
                self.says_now(name, number, hello);
            }
            // It says it again.
            frame if !self.telling.takes(name, &frame) => {}
            frame => match self.strays.hear(&self.books, &self.config.now(), name, frame).await {
                Ok(Some(ack)) => drop(timeout(PATIENCE, to.send(FromControl::Ack(ack))).await),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(agent = %name, %error, "what an agent said could not be stored; it will say it again");
                }
            },
        }
    }
}
