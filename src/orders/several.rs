//! Services on several hosts, as they are shown: what each host has, and what a deployment does on each.

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::api;
use crate::api::Standing;
use crate::api::Word;
use crate::config::Service;
use crate::model::AgentName;
use crate::model::State;
use crate::orders::Deployer;
use crate::orders::elsewhere::on_record;
use crate::orders::standing;
use crate::store::Deployment;
use crate::store::HostRun;
use crate::store::Recorded;
use crate::store::StoreError;

impl Deployer {
    /// How a service of several hosts stands: as it does where it stands worst, and never well where its hosts have different releases.
    pub(super) async fn state_of_several(&self, service: &Service, recorded: &Recorded, until: Instant) -> api::Service {
        let agents = service.stack.agents();
        let seen = join_all(agents.iter().map(|agent| self.seen_by(agent, service, until))).await;
        let mut state = on_record(service, recorded, "");
        let mut away = Vec::new();
        for (agent, seen) in agents.iter().zip(seen) {
            let live = self.store.live_on_host(&service.name, agent).await;
            let live =
                live.inspect_err(|error| tracing::error!(service = %service.name, host = %agent, %error, "what a host has cannot be told"));
            let live = live.ok().flatten();
            let (standing, containers) = match seen {
                Ok(seen) => {
                    state.held = state.held.or(seen.held.map(|held| format!("on {agent}: {held}")));
                    state.incidents.extend(seen.incidents);
                    state.pinned.extend(seen.pinned);
                    if state.guards.is_empty() {
                        state.guards = seen.guards;
                    }
                    (seen.standing, seen.containers)
                }
                Err(why) => {
                    away.push(why.to_string());
                    (Standing { word: Word::Unknown, why: Some(format!("{why}.")), mend: None }, Vec::new())
                }
            };
            let containers: Vec<_> = containers.into_iter().map(|one| api::Container { host: Some(agent.clone()), ..one }).collect();
            state.containers.extend(containers.iter().cloned());
            state.hosts.push(service_host(agent, standing, live.as_ref(), containers));
        }
        state.pinned.sort();
        state.pinned.dedup();
        state.standing = together(service, recorded, &state.hosts);
        state.drift = state.standing.why.clone().filter(|_| state.standing.word == Word::Drift);
        state.blocked = state.blocked.or_else(|| (!away.is_empty()).then(|| away.join("; ")));
        state
    }

    /// What `deployment` does on each of its hosts; empty: it is on one host, or has not begun.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn hosts_of(&self, deployment: &Deployment) -> Result<Vec<api::HostRun>, StoreError> {
        let Some(plan) = &deployment.plan else { return Ok(Vec::new()) };
        let runs = self.store.host_runs(&deployment.id).await?;
        let to_come = plan.hosts.iter().filter(|host| !runs.iter().any(|run| run.host == **host)).map(not_begun);
        Ok(runs.iter().map(|run| self.host_run(run)).chain(to_come).collect())
    }

    fn host_run(&self, run: &HostRun) -> api::HostRun {
        api::HostRun {
            host: run.host.clone(),
            run: Some(run.run),
            goes_back: run.goes_back,
            state: if run.outcome.is_some() { "done" } else { "running" }.to_owned(),
            step: Some(run.step),
            summary: run.outcome.as_ref().map(ToString::to_string),
            waits_why: if run.outcome.is_none() { self.agents().why_not(&run.host) } else { None },
            ended: run.outcome.clone(),
            tag: run.images.first().and_then(|image| image.tag.clone()),
            images: run.images.iter().map(ToString::to_string).collect(),
            started_ms: Some(run.started_ms),
            ended_ms: run.ended_ms,
        }
    }
}

fn not_begun(host: &AgentName) -> api::HostRun {
    api::HostRun {
        host: host.clone(),
        run: None,
        goes_back: false,
        state: "waiting".to_owned(),
        step: None,
        ended: None,
        summary: None,
        waits_why: None,
        tag: None,
        images: Vec::new(),
        started_ms: None,
        ended_ms: None,
    }
}

fn service_host(agent: &AgentName, standing: Standing, live: Option<&HostRun>, containers: Vec<api::Container>) -> api::ServiceHost {
    api::ServiceHost {
        host: agent.clone(),
        standing,
        tag: live.and_then(|live| live.images.first()?.tag.clone()),
        images: live.map(|live| live.images.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        deployment: live.map(|live| live.deployment.clone()),
        containers,
    }
}

/// How the service stands on all hosts together.
fn together(service: &Service, recorded: &Recorded, hosts: &[api::ServiceHost]) -> Standing {
    if let Some(error) = recorded.may_run() {
        return Standing { word: Word::Unknown, why: Some(error.to_string()), mend: None };
    }
    if let Some(running) = recorded.running() {
        return Standing { word: Word::Deploying, why: Some(standing::at_work(running)), mend: None };
    }
    let worst = hosts.iter().min_by_key(|host| host.standing.word);
    let word = worst.map_or(Word::Unknown, |host| host.standing.word);
    let of_host = |host: &api::ServiceHost| host.standing.why.as_ref().map(|why| format!("{}: {why}", host.host));
    let mut why: Vec<String> = hosts.iter().filter_map(of_host).collect();
    let differ = hosts.windows(2).any(|two| two[0].images != two[1].images);
    if differ {
        let has = |host: &api::ServiceHost| format!("{} has {}", host.host, host.tag.as_ref().map_or("no release", |tag| tag.as_str()));
        why.push(format!("The hosts have different releases: {}.", hosts.iter().map(has).collect::<Vec<_>>().join(", ")));
    }
    let mend = if differ { Some(mend_of_several(service, recorded)) } else { worst.and_then(|host| host.standing.mend.clone()) };
    let word = if differ { word.min(Word::Drift) } else { word };
    Standing { word, why: (!why.is_empty()).then(|| why.join(" ")), mend }
}

/// What brings all hosts to one release. What one host tells of itself is no order for the others.
fn mend_of_several(service: &Service, recorded: &Recorded) -> String {
    match (&recorded.last_ended, recorded.live()) {
        (Some(Deployment { id, state: State::Done { outcome }, plan: Some(_), .. }), _) if !outcome.is_success() => {
            format!("tagalong retry {id}")
        }
        (_, Some(live)) => format!("tagalong retry {}", live.id),
        (_, None) => format!("tagalong deploy {} TAG", service.name),
    }
}
