//! The stack of a service on the host of an agent: `[service.NAME]` with `hosts`.

use crate::config::Elsewhere;
use crate::config::PinnedImage;
use crate::config::Stack;
use crate::config::reader::Section;
use crate::model::AgentName;
use crate::model::Repository;

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
    let agents = from.list("hosts", AgentName::parse);
    match agents.len() {
        0 => from.problem("hosts", "name the agent on whose host the service stands, like hosts = [\"micro\"]."),
        1 => {}
        _ => from.problem("hosts", "only one host is supported so far; name one agent."),
    }
    for key in OF_THE_HOST.into_iter().chain(["undo"]).filter(|key| from.has(key)) {
        from.problem(key, "the service stands on the host of an agent, so this belongs in the agent's configuration; remove it here.");
    }
    let mut pins: Vec<Repository> = from.parsed("image", Repository::parse).into_iter().collect();
    for mut section in from.sections("images") {
        pins.extend(section.parsed("image", Repository::parse));
        section.finish();
    }
    Some(elsewhere(agents.into_iter().next()?, pins))
}

pub(super) fn elsewhere(agent: AgentName, images: Vec<Repository>) -> Stack {
    let pins = images.into_iter().map(|image| PinnedImage { image, variable: None }).collect();
    Stack::Elsewhere(Elsewhere { agent, pins })
}
