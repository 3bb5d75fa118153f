//! What a proven agent may say. Every frame of an agent passes here before anything of it is believed: its numbers, times and sizes are
//! within bounds, what it says of a service is about one of its own, and images are those that the service has.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock;
use crate::config::Config;
use crate::config::Service;
use crate::executor::mends;
use crate::line::AnswerBody;
use crate::line::Ended;
use crate::line::FromAgent;
use crate::line::Lines;
use crate::line::OutOfBounds;
use crate::line::SentOrder;
use crate::line::let_in_by;
use crate::model::AgentName;
use crate::model::Caller;
use crate::model::CancelledBy;
use crate::model::DeploymentId;
use crate::model::Guest;
use crate::model::ImageRef;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::store::Store;
use crate::store::StoreError;

/// How many hellos an agent may say at once, and how long until it may say one more.
const MOST_HELLOS: f64 = 20.0;
const PER_HELLO: Duration = Duration::from_secs(3);

/// What an agent has said, as far as it may. Only [`admit`] makes one.
#[derive(Debug)]
pub(super) struct Said(FromAgent);

impl Said {
    /// The deployment that it is about; none: it is about none.
    pub(super) fn deployment(&self) -> Option<&DeploymentId> {
        self.0.deployment()
    }

    pub(super) fn into_frame(self) -> FromAgent {
        self.0
    }
}

/// `frame` of `agent`, which has proven to be that, as far as it may say it.
///
/// # Errors
/// [`OutOfBounds`]: no agent of ours says that.
pub(super) fn admit(config: &Config, agent: &AgentName, frame: FromAgent) -> Result<Said, OutOfBounds> {
    let mut frame = frame.bounded(clock::now_ms())?;
    match &mut frame {
        FromAgent::Ended(ended) => {
            if let Some(service) = its_own(config, agent, &ended.order.service) {
                without_foreign_images(ended, service);
            }
            if let Outcome::Cancelled { by: by @ CancelledBy::Caller(_), .. } = &mut ended.outcome
                && *by != CancelledBy::Caller(Caller::Tagalong)
            {
                let there = Guest::parse(&by.to_string(), agent.clone()).map(|who| CancelledBy::Caller(Caller::Of(who)));
                *by = there.unwrap_or(CancelledBy::Nameless);
            }
        }
        FromAgent::Answer(answer) => without_others_services(config, agent, &mut answer.body),
        _ => {}
    }
    Ok(Said(frame))
}

/// The service `name`, if it is one of `agent`.
pub(super) fn its_own<'c>(config: &'c Config, agent: &AgentName, name: &ServiceName) -> Option<&'c Service> {
    config.service(name).map(AsRef::as_ref).filter(|service: &&Service| service.stack.agents().contains(agent))
}

/// Whether `image` is one of the service's.
fn is_its(service: &Service, image: &str) -> bool {
    ImageRef::parse(image).is_ok_and(|image| service.stack.has_image(&image.repository))
}

/// What the service does not have is not recorded, and a release with something of it was not verified.
fn without_foreign_images(ended: &mut Ended, service: &Service) {
    let (own, foreign) = std::mem::take(&mut ended.images).into_iter().partition(|image| is_its(service, image));
    ended.images = own;
    ended.foreign = foreign;
    ended.verified &= ended.foreign.is_empty();
}

/// An answer about services is about those of the agent, and shows what they can be rolled back to of their own images.
fn without_others_services(config: &Config, agent: &AgentName, answer: &mut AnswerBody) {
    let AnswerBody::Services { services } = answer else { return };
    services.retain_mut(|seen| {
        let Some(service) = its_own(config, agent, &seen.name) else { return false };
        let name = &service.name;
        seen.rollback_candidates.retain(|candidate| candidate.images.iter().all(|image| is_its(service, image)));
        for shown in [&mut seen.running, &mut seen.waiting] {
            *shown = shown.take().filter(|one| one.service == *name);
            if let Some(one) = shown {
                one.caller = let_in_by(&one.caller, agent).to_string();
            }
        }
        seen.incidents.retain(|incident| incident.service == *name);
        let hosts = seen.hosts.iter_mut().map(|host| &mut host.standing.mend);
        let incidents = seen.incidents.iter_mut().map(|incident| &mut incident.mend);
        for mend in hosts.chain(incidents).chain([&mut seen.standing.mend]) {
            *mend = mend.take().and_then(|said| mends::ours(&said, name));
        }
        true
    });
}

/// Whether there is room for what an agent says of `id`. What there is none for is acknowledged and not kept: the agent would say it for
/// ever.
pub(super) async fn has_room(store: &Store, agent: &AgentName, id: &DeploymentId, lines: &Lines) -> Result<bool, StoreError> {
    let bytes = lines.lines.iter().map(|line| line.text.len() as i64 + 100).sum();
    let has_room = store.has_room_for_told(id, bytes).await?;
    if !has_room {
        tracing::error!(deployment = %id, agent = %agent, "an agent says more of a deployment than is kept of one; lines are left out");
    }
    Ok(has_room)
}

/// How `sent`, which `agent` carried out, ended: `live` is only what was ordered, and a dry run changes nothing. What else runs there is for
/// a person to look at.
pub(super) fn as_ordered(mut ended: Ended, sent: &SentOrder, agent: &AgentName) -> Ended {
    let is_change = ended.outcome.is_change();
    let found = match &ended.outcome {
        Outcome::Live { .. } if !sent.dry_run => ended.other_than(sent).map(|found| format!("has landed {found}")),
        Outcome::DryRun { .. } if !sent.dry_run => Some("has tried the order and landed nothing, though it was no dry run".to_owned()),
        other if sent.dry_run && is_change => Some(format!("has changed something in a dry run ({other})")),
        _ => None,
    };
    let Some(found) = found else { return ended };
    ended.verified = false;
    let why = format!("the agent {agent} says that it {found}; look at what runs on its host before you trust it again");
    tracing::error!(deployment = %sent.deployment, service = %sent.service, agent = %agent, "{why}");
    // A dry run holds nothing.
    ended.outcome = if sent.dry_run { Outcome::Failed { why } } else { Outcome::NeedsOperator { why } };
    ended
}

/// How often agents may say hello: one that says it more often waits.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<AgentName, (f64, Instant)>>);

impl Pace {
    /// How long the next hello of `agent` has to wait.
    pub(super) fn pause(&self, agent: &AgentName) -> Duration {
        self.pause_at(agent, Instant::now())
    }

    fn pause_at(&self, agent: &AgentName, now: Instant) -> Duration {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, at) = paces.entry(agent.clone()).or_insert((MOST_HELLOS, now));
        *left = (*left + now.duration_since(*at).as_secs_f64() / PER_HELLO.as_secs_f64()).min(MOST_HELLOS) - 1.0;
        *at = now;
        PER_HELLO.mul_f64((-*left).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::PER_HELLO;
    use super::Pace;
    use crate::model::AgentName;

    #[test]
    fn who_says_hello_all_the_time_waits_and_nobody_else_does() {
        let pace = Pace::default();
        let now = Instant::now();
        let pause = |name: &str, after: Duration| pace.pause_at(&AgentName::parse(name).unwrap(), now + after);
        for _ in 0..20 {
            assert_eq!(pause("a", Duration::ZERO), Duration::ZERO);
        }
        assert_eq!(pause("a", Duration::ZERO), PER_HELLO);
        assert_eq!(pause("b", Duration::ZERO), Duration::ZERO);
        assert_eq!(pause("a", PER_HELLO * 3), Duration::ZERO);
    }
}
