//! Why a service of an agent is not taken, each as a sentence that says what to change.

use crate::model::AgentName;
use crate::model::ServiceName;

/// Why `service` of `agent` is not taken, which stands on other hosts; none: on this one.
pub(super) fn not_taken(service: &ServiceName, agent: &AgentName, hosts: &[AgentName]) -> String {
    let names = hosts.iter().map(AgentName::as_str).collect::<Vec<_>>().join(", ");
    let list: Vec<String> = hosts.iter().chain([agent]).map(|host| format!("\"{host}\"")).collect();
    let (other, instead) = if hosts.is_empty() {
        ("it stands on this host".to_owned(), format!("remove [service.{service}] here"))
    } else {
        let list = list.join(", ");
        (
            format!("it stands on the host of {names}"),
            format!("write hosts = [{list}] in [service.{service}] here, if it is one service on all of them"),
        )
    };
    format!("The service {service} of the agent {agent} is not taken, because {other}; give it another name there, or {instead}.")
}

/// Why `service` of `agent` is not taken: it belongs to an agent that was revoked, or does not name it any more.
pub(super) fn let_go(service: &ServiceName, agent: &AgentName, before: &AgentName) -> String {
    format!(
        "The service {service} of the agent {agent} is not taken, because it stood on the host of {before}, which was revoked or does not \
         name it any more; write hosts = [\"{agent}\"] in [service.{service}] here, if it has moved, or enrol {before} again."
    )
}
