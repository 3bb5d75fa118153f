//! The stack of a service on the hosts of agents: `[service.NAME]` with `hosts`.

use crate::config::Elsewhere;
use crate::config::PinnedImage;
use crate::config::Stack;
use crate::config::reader::Section;
use crate::model::AgentName;
use crate::model::OnPartial;
use crate::model::Repository;
use crate::model::RolloutPlan;

/// What the host decides, and so its agent's configuration says.
const OF_THE_HOST: [&str; 16] = [
    "dir",
    "project",
    "files",
    "variable",
    "pin",
    "loaded_images",
    "on_failure",
    "keep",
    "deadlines",
    "health",
    "smoke",
    "watch",
    "stack",
    "policy",
    "before",
    "after",
];

/// The stack of a service with `hosts`; none: they are wrong.
pub(super) fn read(from: &mut Section) -> Option<Stack> {
    let hosts = from.list("hosts", AgentName::parse);
    if hosts.is_empty() {
        from.problem("hosts", "name the agents on whose hosts the service stands, like hosts = [\"micro\"].");
    }
    if let Some(twice) = hosts.iter().enumerate().find(|(at, host)| hosts[..*at].contains(host)) {
        from.problem("hosts", format!("{} is named twice; name each host once.", twice.1));
    }
    let at_once = usize::try_from(from.whole("at_once", 1, 1..=1000)).unwrap_or(1);
    let on_partial = from.choice("on_partial", &[("undo", OnPartial::Undo), ("keep", OnPartial::Keep)]);
    for key in OF_THE_HOST.into_iter().chain(["undo"]).filter(|key| from.has(key)) {
        from.problem(key, "the service stands on the host of an agent, so this belongs in the agent's configuration; remove it here.");
    }
    let mut pins: Vec<Repository> = from.parsed("image", Repository::parse).into_iter().collect();
    for mut section in from.sections("images") {
        pins.extend(section.parsed("image", Repository::parse));
        section.finish();
    }
    (!hosts.is_empty()).then(|| elsewhere(RolloutPlan { hosts, at_once, on_partial }, pins))
}

pub(super) fn elsewhere(plan: RolloutPlan, images: Vec<Repository>) -> Stack {
    let pins = images.into_iter().map(|image| PinnedImage { image, variable: None }).collect();
    Stack::Elsewhere(Elsewhere { plan, pins })
}
