//! What waits for a person, the most pressing first.

use std::collections::HashSet;

use crate::api;
use crate::api::Word;
use crate::http::Shared;
use crate::http::auth::Viewer;
use crate::http::dashboard::words;
use crate::http::dashboard::words::Moment;
use crate::http::dashboard::words::Pill;
use crate::http::dashboard::words::Tone;
use crate::http::dashboard::words::spaced;
use crate::model::IncidentKind;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::Verb;
use crate::model::WaitsFor;
use crate::orders;
use crate::store::Filter;
use crate::store::StoreError;

/// How many waiting orders are looked through; one service has one at most.
const MOST_WAITING: i64 = 500;
/// How many things are shown; whoever has more begins with these.
const MOST_SHOWN: usize = 12;

/// Something that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) tone: Tone,
    pub(super) title: String,
    pub(super) why: String,
    pub(super) href: String,
    pub(super) since: Option<Moment>,
    /// Where it can be done, and how that is called.
    pub(super) act: Option<(String, &'static str)>,
}

/// Everything that waits, of the services `readable`; how some of them stand is in `states`.
pub(super) async fn all(
    viewer: &Viewer,
    shared: &Shared,
    readable: &[&ServiceName],
    states: &[&api::Service],
) -> Result<Vec<Wait>, StoreError> {
    let filter = Filter { service: None, state: Some("waiting".into()), before: None, limit: MOST_WAITING };
    let waiting = shared.store.list(&filter).await?;
    let readable_names: HashSet<&ServiceName> = readable.iter().copied().collect();
    let mut all: Vec<Wait> = waiting
        .deployments
        .iter()
        .filter(|one| matches!(one.state, State::Waiting { waits_for: WaitsFor::Approval }))
        .filter(|one| readable_names.contains(&one.order.service))
        .map(|one| approval(viewer, &orders::view(one)))
        .collect();
    let mut told = HashSet::new();
    for state in states {
        if let Some(wait) = of_state(viewer, state) {
            told.insert(&state.name);
            all.push(wait);
        }
    }
    let open = shared.store.open_incidents(readable).await?;
    // What the service's own line says already is not said twice.
    let is_told = |service: &ServiceName, kind: IncidentKind| {
        told.contains(service) && matches!(kind, IncidentKind::Container | IncidentKind::Drift | IncidentKind::Watch)
    };
    for incident in open.iter().filter(|one| !is_told(&one.service, one.kind)) {
        all.push(Wait {
            tone: Tone::Bad,
            title: format!("{}: {}", incident.service, incident_title(incident.kind)),
            why: incident.what.clone(),
            href: format!("/services/{}", incident.service),
            since: Some(Moment(incident.opened_ms)),
            act: None,
        });
    }
    all.sort_by_key(|wait| (wait.tone != Tone::Bad, wait.since));
    all.truncate(MOST_SHOWN);
    Ok(all)
}

/// What an incident is about.
pub(super) fn incident_title(kind: IncidentKind) -> &'static str {
    match kind {
        IncidentKind::Page => "its page does not pass",
        IncidentKind::Certificate => "its certificate runs out",
        IncidentKind::Container => "a container does not run",
        IncidentKind::Drift => "something else runs",
        IncidentKind::Watch => "its release did not hold",
    }
}

fn approval(viewer: &Viewer, one: &api::Deployment) -> Wait {
    let what = match one.kind {
        OrderKind::Rollback => "a rollback to",
        _ => "the deploy of",
    };
    let reason = one.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    let may = viewer.may(&Scope::on(Verb::Approve, &one.service));
    Wait {
        tone: Tone::Busy,
        title: format!("{}: {what} {} waits for an approval", one.service, words::tag(one)),
        why: format!("Ordered by {}{reason}", words::who(one)),
        href: format!("/deployments/{}", one.id),
        since: Some(Moment(one.waits_since_ms.unwrap_or(one.created_ms))),
        act: may.then(|| (format!("/deployments/{}/approval", one.id), "Approve…")),
    }
}

/// What the way in which a service stands asks for.
fn of_state(viewer: &Viewer, state: &api::Service) -> Option<Wait> {
    let name = &state.name;
    let href = format!("/services/{name}");
    let may = viewer.may(&Scope::on(Verb::Rollback, name));
    let left = state.last.as_ref().filter(|last| {
        matches!(
            &last.state,
            State::Done {
                outcome: Outcome::NeedsOperator { .. }
                    | Outcome::RollbackFailed { .. }
                    | Outcome::Broken { .. }
                    | Outcome::Cancelled { changed: true, brought_back: false, .. }
            }
        )
    });
    if let Some(last) = left {
        let pill = Pill::of(last.kind, &last.state);
        let repair = state.live.is_some().then(|| (format!("{href}/repair"), "Repair…"));
        return Some(Wait {
            tone: Tone::Bad,
            title: format!("{name}: {} {}", words::tag(last), pill.word),
            why: last.summary.clone().unwrap_or_default(),
            href: format!("/deployments/{}", last.id),
            since: Some(Moment(last.ended_ms.unwrap_or(last.created_ms))),
            act: repair.filter(|_| may),
        });
    }
    let word = state.standing.word;
    if word.is_bad() {
        let is_repair = state.standing.mend.as_deref().is_some_and(|mend| mend.starts_with("tagalong repair"));
        let titled = if word == Word::Drift { "something else runs than its live release".to_owned() } else { spaced(word.as_str()) };
        return Some(Wait {
            tone: if word == Word::Unknown { Tone::Warn } else { Tone::Bad },
            title: format!("{name}: {titled}"),
            why: state.standing.why.clone().unwrap_or_default(),
            act: (is_repair && may).then(|| (format!("{href}/repair"), "Repair…")),
            href,
            since: None,
        });
    }
    let held = state.held.as_ref()?;
    Some(Wait {
        tone: Tone::Warn,
        title: format!("{name} is held"),
        why: held.split("; `").next().unwrap_or(held).to_owned(),
        act: may.then(|| (format!("{href}/resume"), "Resume…")),
        href,
        since: None,
    })
}
