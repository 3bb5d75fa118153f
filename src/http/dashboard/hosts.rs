//! The hosts of a service or of a deployment, as pages show them.

use crate::api;
use crate::http::dashboard::words::Pill;
use crate::http::dashboard::words::Tone;
use crate::http::dashboard::words::span;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::State;

/// One host: what it has or gets, and how it stands.
pub(super) struct Host {
    pub(super) name: String,
    pub(super) pill: Pill,
    pub(super) tag: String,
    /// The deployment that it has that from.
    pub(super) deployment: Option<String>,
    pub(super) why: Option<String>,
    pub(super) took: String,
}

/// The hosts of a service.
pub(super) fn of_service(service: &api::Service) -> Vec<Host> {
    let host = |one: &api::ServiceHost| Host {
        name: one.host.to_string(),
        pill: Pill::standing(one.standing.word),
        tag: one.tag.as_ref().map_or("\u{2013}", |tag| tag.as_str()).to_owned(),
        deployment: one.deployment.as_ref().map(ToString::to_string),
        why: one.standing.why.clone(),
        took: String::new(),
    };
    service.hosts.iter().map(host).collect()
}

/// What a deployment does on each host, in the order in which it came to them.
pub(super) fn of_deployment(deployment: &api::Deployment) -> Vec<Host> {
    let host = |one: &api::HostRun| Host {
        name: if one.goes_back { format!("{}, brought back", one.host) } else { one.host.to_string() },
        pill: pill(one, deployment.kind),
        tag: one.tag.as_ref().map_or("\u{2013}", |tag| tag.as_str()).to_owned(),
        deployment: None,
        why: one.waits_why.clone().or_else(|| one.summary.clone().filter(|_| !is_well(one))),
        took: one.started_ms.zip(one.ended_ms).map(|(from, to)| span(to - from)).unwrap_or_default(),
    };
    deployment.hosts.iter().map(host).collect()
}

fn is_well(run: &api::HostRun) -> bool {
    matches!(run.ended, Some(Outcome::Live { .. }))
}

fn pill(run: &api::HostRun, kind: OrderKind) -> Pill {
    match (&run.ended, run.step) {
        (Some(_), _) if run.goes_back && is_well(run) => Pill::new(Tone::Good, "restored"),
        (Some(outcome), _) => Pill::ended(kind, outcome.name()),
        (None, _) if run.waits_why.is_some() => Pill::new(Tone::Wait, "waits for its host"),
        (None, Some(step)) => Pill::of(kind, &State::Running { step }),
        (None, None) => Pill::new(Tone::Still, "not begun"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::pill;
    use crate::http::dashboard::words::Tone;
    use crate::model::OrderKind;

    #[test]
    fn a_host_that_goes_back_is_told_from_one_that_goes_on() {
        let of = |step: &str| {
            let run = json!({ "host": "micro", "state": "running", "step": step });
            pill(&serde_json::from_value(run).expect("a run"), OrderKind::Deploy)
        };
        assert_eq!((of("pull").tone, of("pull").word.as_str()), (Tone::Busy, "pull"));
        assert_eq!((of("undo_up").tone, of("undo_up").word.as_str()), (Tone::Warn, "restoring: undo up"));
    }
}
