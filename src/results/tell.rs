//! Tells a forge what it is owed.

use std::time::Duration;

use crate::clock;
use crate::config::Config;
use crate::forge::CommitStatus;
use crate::forge::DeploymentLike;
use crate::forge::DeploymentStatus;
use crate::forge::ForgeError;
use crate::forge::ForgeErrorKind;
use crate::model::Message;
use crate::model::News;
use crate::model::OrderKind;
use crate::model::Says;
use crate::outbox::Told;
use crate::results::Results;
use crate::results::place::Place;
use crate::results::place::commit_of;
use crate::results::words;
use crate::store::Debt;
use crate::store::Deployment;

/// A deployment that is to be shown, and what is said of it.
struct Shown<'s> {
    place: Place<'s>,
    deployment: Deployment,
    commit: String,
    says: Says,
}

impl Results {
    /// Tells what is owed, and gives what the forge made of it.
    pub(super) async fn tell(&self, debt: Debt) -> Told {
        let config = self.config.now();
        let Some(place) = place_of(&config, &debt.receiver) else { return Told::Gone };
        let (Message::Status(news) | Message::Deployment(news)) = &debt.message else {
            return Told::Refused { why: format!("Only results are reported to a forge, not \"{}\".", debt.message) };
        };
        let shown = match self.deployment_at_forge(place, news).await {
            Ok(Some(shown)) => shown,
            // Its record was deleted because of its age.
            Ok(None) => return Told::Taken,
            Err(why) => return Told::NotNow { why, after: None },
        };
        let put = match &debt.message {
            Message::Status(_) => self.put_status(&shown).await,
            Message::Deployment(_) | Message::Commit(_) | Message::Event(_) => self.put_deployment(&shown).await,
        };
        put.map_or_else(|error| refusal(&error), |()| Told::Taken)
    }

    async fn deployment_at_forge<'s>(&self, place: Place<'s>, news: &News) -> Result<Option<Shown<'s>>, String> {
        let deployment = self.store.get(&news.of).await.map_err(|error| error.to_string())?;
        let shown = |deployment: Deployment| {
            let commit = commit_of(&deployment.order)?;
            Some(Shown { place, deployment, commit, says: news.says })
        };
        Ok(deployment.and_then(shown))
    }

    async fn put_status(&self, shown: &Shown<'_>) -> Result<(), ForgeError> {
        let Shown { place, deployment, commit, says } = shown;
        let words = words::of(*says, deployment);
        let status = CommitStatus {
            commit: commit.clone(),
            state: words.status,
            context: format!("tagalong/{}", place.service.name),
            description: format!("{} ({})", words.text, deployment.id),
            target_url: deployment.order.run_url.clone(),
        };
        self.forges.get(&place.source.forge)?.put_status(&place.source.repository, &status).await
    }

    async fn put_deployment(&self, shown: &Shown<'_>) -> Result<(), ForgeError> {
        let Shown { place, deployment, commit, says } = shown;
        let words = words::of(*says, deployment);
        let like = DeploymentLike {
            id: deployment.id.clone(),
            commit: commit.clone(),
            environment: place.source.environment.clone(),
            task: if deployment.order.kind == OrderKind::Rollback { "rollback" } else { "deploy" },
        };
        let status = DeploymentStatus {
            state: words.deployment,
            description: words.text.to_owned(),
            log_url: deployment.order.run_url.clone(),
            environment_url: place.service.smoke.as_ref().map(|smoke| smoke.plan.url.to_string()),
        };
        let makes_it = *says != Says::Replaced;
        self.forges.get(&place.source.forge)?.put_deployment(&place.source.repository, &like, &status, makes_it).await
    }
}

/// The place that the outbox calls `receiver`; none: the configuration has it no more.
fn place_of<'c>(config: &'c Config, receiver: &str) -> Option<Place<'c>> {
    config.services.values().filter_map(|service| Place::of(service)).find(|place| place.receiver() == receiver)
}

/// What the outbox makes of a forge's error: what it refuses stays so until a person changes something, and everything else may be
/// another next time.
fn refusal(error: &ForgeError) -> Told {
    let why = error.to_string();
    match error.kind {
        ForgeErrorKind::Refused | ForgeErrorKind::NotFound => Told::Refused { why },
        ForgeErrorKind::Odd if error.status.is_some_and(|status| (300..400).contains(&status)) => Told::Refused { why },
        ForgeErrorKind::RateLimited { until_ms } => {
            let left_ms = u64::try_from(until_ms - clock::now_ms()).unwrap_or_default();
            Told::NotNow { why, after: Some(Duration::from_millis(left_ms)) }
        }
        ForgeErrorKind::Unreachable | ForgeErrorKind::Odd => Told::NotNow { why, after: None },
    }
}
