//! What the record has, as it is sent, and what was sent, as it is recorded.

use crate::line::Ended;
use crate::line::SentLine;
use crate::line::SentOrder;
use crate::model::AgentName;
use crate::model::Approved;
use crate::model::Caller;
use crate::model::Cause;
use crate::model::DeploymentId;
use crate::model::Digest;
use crate::model::Guest;
use crate::model::ImageRef;
use crate::model::Line;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::State;
use crate::model::Step;
use crate::model::WordError;
use crate::store::Deployment;
use crate::store::Facts;
use crate::store::Report;

/// What stands at an agent behind the callers whom its control plane has let in.
const OF_CONTROL: &str = " on control";
/// What stands for a caller whose name is none.
const SOMEBODY: &str = "somebody";

/// Whoever is `who` in the record of `place`, as another record calls them: nobody of its own, whatever `who` says. Somebody whom the
/// control plane of `place` has let in is `control:WHO`.
#[must_use]
pub fn let_in_by(who: &str, place: &AgentName) -> Caller {
    let who = who.strip_suffix(OF_CONTROL).map_or_else(|| who.to_owned(), |who| format!("control:{who}"));
    let guest = Guest::parse(&who, place.clone()).or_else(|_| Guest::parse(SOMEBODY, place.clone()));
    guest.map_or(Caller::Tagalong, Caller::Of)
}

impl SentOrder {
    /// The order of `deployment`, with the images that it is for where they are settled already.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        let order = &deployment.order;
        let approved = deployment.approved.as_ref().map(|approved| approved.images.clone()).unwrap_or_default();
        let recorded = || deployment.images.iter().map(ToString::to_string).collect();
        let digest = order.digest.clone().or_else(|| digest_of(&approved));
        let images = match order.kind {
            OrderKind::Rollback => recorded(),
            OrderKind::Deploy => approved,
            OrderKind::Adopt | OrderKind::Repair => Vec::new(),
        };
        Self {
            deployment: deployment.id.clone(),
            order: order.kind,
            service: order.service.clone(),
            caller: order.caller.to_string(),
            tag: order.tag.clone(),
            digest,
            commit: order.commit.clone(),
            git_ref: order.git_ref.clone(),
            run_url: order.run_url.clone(),
            run_number: order.run_number,
            actor: order.actor.clone(),
            reason: order.reason.clone(),
            cause: order.cause.as_ref().map(ToString::to_string),
            force: order.force,
            dry_run: order.dry_run,
            images,
            undoes: None,
            good_for_s: None,
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

/// The digest of the one image that was approved, by which an agent knows it that goes by no approved images.
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
            foreign: Vec::new(),
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

    /// What of its images is not what `sent` was for, as words; none: it is what was ordered.
    #[must_use]
    pub fn other_than(&self, sent: &SentOrder) -> Option<String> {
        if let [first, ..] = &self.foreign[..] {
            return Some(format!("{}, which is no image of {}", text::clean(first), sent.service));
        }
        let landed = || if self.images.is_empty() { "images that it does not name".to_owned() } else { self.images.join(", ") };
        let exact = self.exact();
        if !sent.images.is_empty() {
            let settled = Approved { images: sent.images.clone(), by: Vec::new() };
            return (!settled.is_for(&exact)).then(|| format!("{}, and not {}", landed(), sent.images.join(", ")));
        }
        // What is repaired or adopted is what the host has.
        let digest = sent.digest.as_ref().filter(|_| matches!(sent.order, OrderKind::Deploy | OrderKind::Rollback))?;
        let is_it = matches!(&exact[..], [one] if one.digest == *digest) && self.images.len() == 1;
        (!is_it).then(|| format!("{}, and not {digest}", landed()))
    }

    /// The deployment as a control plane records it that did not know it. Its caller is whom the agent says it has let in, and nobody whom
    /// this side has: an order of this side is known here, and where it is known no more, nothing proves it.
    ///
    /// # Errors
    /// When a word of it is not valid.
    pub fn into_report(self, agent: &AgentName) -> Result<Report, WordError> {
        let images = self.exact();
        let id = self.order.deployment.clone();
        let caller = let_in_by(&self.order.caller, agent);
        let order = Order { caller, ..SentOrder { caller: SOMEBODY.to_owned(), ..self.order }.into_order(agent)? };
        Ok(Report {
            id,
            order,
            agent: agent.clone(),
            is_one_of_several: false,
            step: self.step,
            images,
            verified: self.verified && matches!(self.outcome, Outcome::Live { .. }),
            outcome: self.outcome,
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
