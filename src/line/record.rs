//! What the record has, as it is sent, and what was sent, as it is recorded.

use crate::line::Ended;
use crate::line::SentLine;
use crate::line::SentOrder;
use crate::model::AgentName;
use crate::model::Caller;
use crate::model::Cause;
use crate::model::DeploymentId;
use crate::model::Digest;
use crate::model::Guest;
use crate::model::ImageRef;
use crate::model::Line;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::State;
use crate::model::Step;
use crate::model::WordError;
use crate::store::Deployment;
use crate::store::Facts;
use crate::store::Report;

/// What stands at an agent behind the callers whom its control plane has let in.
const OF_CONTROL: &str = " on control";

impl SentOrder {
    /// The order of `deployment`, with the images that it is for where they are settled already.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        let order = &deployment.order;
        let is_settled = order.kind == OrderKind::Rollback;
        let approved = deployment.approved.as_ref().map(|approved| approved.images.clone()).unwrap_or_default();
        let recorded = || deployment.images.iter().map(ToString::to_string).collect();
        Self {
            deployment: deployment.id.clone(),
            order: order.kind,
            service: order.service.clone(),
            caller: order.caller.to_string(),
            tag: order.tag.clone(),
            digest: order.digest.clone().or_else(|| digest_of(&approved)),
            commit: order.commit.clone(),
            git_ref: order.git_ref.clone(),
            run_url: order.run_url.clone(),
            run_number: order.run_number,
            actor: order.actor.clone(),
            reason: order.reason.clone(),
            cause: order.cause.as_ref().map(ToString::to_string),
            force: order.force,
            dry_run: order.dry_run,
            images: if is_settled { recorded() } else { Vec::new() },
            undoes: None,
        }
    }

    /// The order that undoes `deployment` on one host; it has the id `id` there.
    #[must_use]
    pub fn to_undo(deployment: &Deployment, id: &DeploymentId) -> Self {
        let order = Order {
            reason: Some(format!("{} does not hold on another host", deployment.id)),
            force: deployment.order.force,
            ..Order::new(OrderKind::Rollback, deployment.order.service.clone(), Caller::Tagalong)
        };
        let undo = Deployment { id: id.clone(), order, images: Vec::new(), approved: None, ..deployment.clone() };
        Self { undoes: Some(deployment.id.clone()), ..Self::of(&undo) }
    }

    /// The order as this side records it: its caller is one whom `place` has let in.
    ///
    /// # Errors
    /// When a word of it is not valid.
    pub fn into_order(self, place: &AgentName) -> Result<Order, WordError> {
        let caller = Caller::Of(Guest::parse(&self.caller, place.clone())?);
        Ok(Order {
            tag: self.tag,
            digest: self.digest,
            commit: self.commit,
            git_ref: self.git_ref,
            run_url: self.run_url,
            run_number: self.run_number,
            actor: self.actor,
            reason: self.reason,
            cause: self.cause.as_deref().map(Cause::parse).transpose()?,
            force: self.force,
            dry_run: self.dry_run,
            ..Order::new(self.order, self.service, caller)
        })
    }

    /// The images that the order is for.
    ///
    /// # Errors
    /// When one of them is no exact image.
    pub fn exact_images(&self) -> Result<Vec<ImageRef>, WordError> {
        self.images.iter().map(|image| ImageRef::parse(image)).collect()
    }
}

/// The digest of the one image that was approved; of several the agent finds them by the tag.
fn digest_of(approved: &[String]) -> Option<Digest> {
    match approved {
        [one] => ImageRef::parse(one).ok().filter(|image| !image.loaded).map(|image| image.digest),
        _ => None,
    }
}

impl SentLine {
    /// A stored line.
    #[must_use]
    pub fn of(line: Line) -> Self {
        let Line { position, run, seq, at_ms, step, kind, text } = line;
        Self { position, run, seq, at_ms, step, kind, text }
    }
}

impl Ended {
    /// How `deployment` ended; none: it has not.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Option<Self> {
        let State::Done { outcome } = &deployment.state else { return None };
        Some(Self {
            order: SentOrder { images: Vec::new(), ..SentOrder::of(deployment) },
            created_ms: deployment.created_ms,
            outcome: outcome.clone(),
            step: deployment.step.unwrap_or(Step::Guards.into()),
            started_ms: deployment.started_ms,
            ended_ms: deployment.ended_ms.unwrap_or(deployment.created_ms),
            images: deployment.images.iter().map(ToString::to_string).collect(),
            verified: deployment.verified,
            barrier: deployment.barrier,
            ran_before: deployment.ran_before.clone(),
            report: deployment.report.clone(),
            away: deployment.away,
        })
    }

    /// What became known of it. An image that this side cannot read is left out.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let images = self.exact();
        Facts {
            images: (!images.is_empty()).then_some(images),
            barrier: Some(self.barrier),
            ran_before: self.ran_before.clone(),
            report: self.report.clone(),
            away: self.away,
            verified: Some(self.verified),
            ..Facts::default()
        }
    }

    fn exact(&self) -> Vec<ImageRef> {
        self.images.iter().filter_map(|image| ImageRef::parse(image).ok()).collect()
    }

    /// The deployment as a control plane records it that did not know it. An order that a control plane had given has the caller whom
    /// that let in.
    ///
    /// # Errors
    /// When a word of it is not valid.
    pub fn into_report(self, agent: &AgentName) -> Result<Report, WordError> {
        let images = self.exact();
        let id = self.order.deployment.clone();
        let mut sent = self.order;
        let order = match sent.caller.strip_suffix(OF_CONTROL).map(Caller::parse) {
            Some(caller) => {
                let caller = caller?;
                Caller::Tagalong.to_string().clone_into(&mut sent.caller);
                Order { caller, ..sent.into_order(agent)? }
            }
            None => sent.into_order(agent)?,
        };
        Ok(Report {
            id,
            order,
            agent: agent.clone(),
            outcome: self.outcome,
            step: self.step,
            images,
            verified: self.verified,
            barrier: self.barrier,
            ran_before: self.ran_before,
            report: self.report,
            away: self.away,
            created_ms: self.created_ms,
            started_ms: self.started_ms,
            ended_ms: self.ended_ms,
        })
    }
}
