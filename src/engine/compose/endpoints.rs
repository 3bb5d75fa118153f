//! Freeing the names that Docker keeps in a network for containers that are gone.
//!
//! Where the disk was full, or Docker was ended, while a container stopped, its endpoint in a network may be left behind. Docker
//! then starts no other container of that name there, whoever asks, until the endpoint is removed by force.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use process::Cancel;
use process::Stream;
use serde::Deserialize;
use serde_json::Value;

use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::compose::up::Plan;
use crate::engine::container::Container;
use crate::engine::error::EngineError;

const WHAT: &str = "freeing the name of a container in its network";

/// A network as `docker network inspect` shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    name: String,
    scope: String,
    /// Its endpoints, by their containers; those without one by `ep-ID`.
    #[serde(default)]
    containers: BTreeMap<String, Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    name: String,
}

impl Network {
    /// Whether an endpoint without a container has this name. One of another host's container looks the same, where a network
    /// has several hosts.
    fn keeps(&self, name: &str) -> bool {
        self.scope == "local" && self.containers.iter().any(|(by, endpoint)| by.starts_with("ep-") && endpoint.name == name)
    }
}

impl Compose {
    /// Afterwards no network keeps the name of a container that `plan` starts and that does not run. Returns whether one did.
    ///
    /// # Errors
    /// When Docker does not answer, or does not let go of the name.
    pub(super) async fn free_names(
        &self,
        plan: &Plan,
        cancel: &Cancel,
        each: &mut impl FnMut(Stream, String),
    ) -> Result<bool, EngineError> {
        let there = self.containers(cancel).await?;
        let is_blocked = |one: &&Container| !one.is_one_off && !one.is_running() && plan.starts(&one.service);
        let stopped: Vec<&Container> = there.iter().filter(is_blocked).collect();
        let mut freed = false;
        for network in self.networks_of(&stopped, cancel).await? {
            for container in stopped.iter().filter(|one| network.keeps(&one.name)) {
                each(Stream::Out, format!("removing what is left of an earlier {} in the network {}", container.name, network.name));
                self.free_name(container, &network.name, cancel).await?;
                freed = true;
            }
        }
        Ok(freed)
    }

    async fn networks_of(&self, containers: &[&Container], cancel: &Cancel) -> Result<Vec<Network>, EngineError> {
        if containers.is_empty() {
            return Ok(Vec::new());
        }
        let ids = containers.iter().map(|one| one.id.as_str());
        let args = ["inspect", "--format", "{{json .NetworkSettings.Networks}}"].into_iter().chain(ids);
        let joined = self.ask(&self.docker_command(args, QUESTION), WHAT, cancel).await?;
        let names: BTreeSet<String> = joined
            .lines()
            .filter_map(|line| serde_json::from_str::<BTreeMap<String, Value>>(line).ok())
            .flat_map(BTreeMap::into_keys)
            .collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let args = ["network", "inspect"].into_iter().chain(names.iter().map(String::as_str));
        let shown = self.ask(&self.docker_command(args, QUESTION), WHAT, cancel).await?;
        serde_json::from_str(&shown).map_err(|error| EngineError::Failed { what: WHAT.to_owned(), why: error.to_string() })
    }

    /// Docker removes an endpoint by force only while no container has its name; so it has another one meanwhile, of the kind
    /// that `mend` takes back.
    async fn free_name(&self, container: &Container, network: &str, cancel: &Cancel) -> Result<(), EngineError> {
        let Container { id, name, .. } = container;
        let aside = format!("{}_{name}", id.get(..12).unwrap_or(id));
        let act = async |args: &[&str]| self.ask(&self.docker_command(args.iter().copied(), QUESTION), WHAT, cancel).await;
        act(&["rename", id, &aside]).await?;
        let freed = act(&["network", "disconnect", "-f", network, name]).await;
        act(&["rename", id, name]).await?;
        freed.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    /// As Docker 20.10 showed it after its disk had been full.
    const LEFT: &str = r#"[{"Name": "site_default", "Id": "b074", "Scope": "local", "Driver": "bridge", "Containers": {
        "6605a3ff1cf6": {"Name": "site-db-1", "EndpointID": "f24b", "MacAddress": "", "IPv4Address": "10.1.0.2/24", "IPv6Address": ""},
        "ep-00652b64eacf": {"Name": "site-web-1", "EndpointID": "0065", "MacAddress": "", "IPv4Address": "10.1.0.3/24", "IPv6Address": ""}}}]"#;

    #[test]
    fn a_name_without_a_container_is_kept_by_its_own_host_alone() {
        let networks: Vec<Network> = serde_json::from_str(LEFT).unwrap();
        let keeps = |networks: &[Network]| ["site-web-1", "site-db-1", "site-web"].map(|name| networks[0].keeps(name));
        assert_eq!(keeps(&networks), [true, false, false]);
        let of_many_hosts: Vec<Network> = serde_json::from_str(&LEFT.replace("local", "swarm")).unwrap();
        assert_eq!(keeps(&of_many_hosts), [false; 3]);
    }
}
