//! Services that agents name, as they are put into the configuration.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::config::Service;
use crate::config::Stack;
use crate::config::at_agent::elsewhere;
use crate::config::reader::Problems;
use crate::config::reader::Section;
use crate::model::AgentName;
use crate::model::Repository;
use crate::model::ServiceName;

/// A service that an agent has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The agent.
    pub agent: AgentName,
    /// The service.
    pub service: ServiceName,
    /// The images that are pinned of it.
    pub images: Vec<Repository>,
    /// Which claim it was among all: the first of a service is whom it belongs to.
    pub claimed: i64,
    /// Whether the agent still names it. One that does not, and that it belongs to, keeps others from it until a person decides.
    pub is_named: bool,
}

impl Config {
    /// This configuration with the services of agents, of whom the first of `placements` is the one that a service belongs to: those that it
    /// does not name have what a service has that says nothing, and those that it names without their images get these. A service that
    /// stands somewhere else according to it is left alone.
    #[must_use]
    pub fn with_services_of_agents(&self, placements: &[Placement]) -> Self {
        let mut config = self.clone();
        let mut left = BTreeSet::new();
        for placement in placements {
            match config.services.get_mut(&placement.service) {
                _ if !placement.is_named => {
                    left.insert(&placement.service);
                }
                None if left.contains(&placement.service) => {}
                Some(known) => {
                    if let Stack::Elsewhere(at) = &known.stack
                        && at.plan.hosts.contains(&placement.agent)
                        && at.pins.is_empty()
                    {
                        let stack = elsewhere(at.plan.clone(), placement.images.clone());
                        Arc::make_mut(known).stack = stack;
                    }
                }
                None => {
                    let Placement { agent, service, images, .. } = placement;
                    let silent = self.silent(service, std::slice::from_ref(agent), images);
                    config.services.extend(silent.map(|silent| (service.clone(), Arc::new(silent))));
                }
            }
        }
        config
    }

    /// The service `name`, which is not configured any more, as far as what was begun on the hosts of `agents` needs it to end; none: it
    /// stood on this host.
    #[must_use]
    pub fn service_left(&self, name: &ServiceName, agents: &[AgentName]) -> Option<Service> {
        self.silent(name, agents, &[]).filter(|service| !service.stack.is_here())
    }

    /// The service `name` as a table would make it that says nothing but where it stands.
    fn silent(&self, name: &ServiceName, agents: &[AgentName], images: &[Repository]) -> Option<Service> {
        let mut table = toml::Table::new();
        table.insert("hosts".to_owned(), agents.iter().map(ToString::to_string).collect::<Vec<_>>().into());
        let images = images.iter().map(|image| toml::Table::from_iter([("image".to_owned(), image.to_string().into())]));
        table.insert("images".to_owned(), images.collect::<Vec<_>>().into());
        let section = Section::root(table, Path::new(""), &Problems::default());
        Service::read(name.as_str(), section, &policy::Policy::default(), &self.docker, &mut Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Placement;
    use crate::config::Config;
    use crate::model::AgentName;
    use crate::model::OnPartial;
    use crate::model::Repository;
    use crate::model::ServiceName;

    const SERVER: &str = "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\nsocket = \"\"\n";

    fn read(services: &str) -> Result<Config, Vec<String>> {
        Config::read(&format!("{SERVER}{services}"), Path::new("x.toml"), Path::new("/tmp")).map_err(|error| error.problems)
    }

    fn placed(agent: &str, service: &str) -> Placement {
        Placement {
            agent: AgentName::parse(agent).unwrap(),
            service: ServiceName::parse(service).unwrap(),
            images: vec![Repository::parse("registry.example.com/acme/web").unwrap()],
            claimed: 1,
            is_named: true,
        }
    }

    #[test]
    fn what_the_host_decides_is_refused_here_by_its_key() {
        let problems =
            read("[service.web]\nhosts = [\"micro\"]\ndir = \"/srv/web\"\n[service.web.smoke]\nurl = \"https://x\"\n").unwrap_err();
        let named: Vec<&str> = problems.iter().filter_map(|problem| problem.split(": ").next()).collect();
        assert!(named.contains(&"service.web.dir") && named.contains(&"service.web.smoke"), "{problems:?}");
        assert!(read("[service.web]\nhosts = []\n").unwrap_err()[0].starts_with("service.web.hosts: name the agents"));
        assert!(read("[service.web]\nhosts = [\"a\", \"b\", \"a\"]\n").unwrap_err()[0].contains("a is named twice"));
        assert!(read("[service.web]\nhosts = [\"a\", \"b\"]\nat_once = 0\n").unwrap_err()[0].starts_with("service.web.at_once: "));
        let here = "[service.web]\ndir = \"/srv/web\"\nproject = \"web\"\nimage = \"a.example/web\"\non_partial = \"keep\"\n";
        assert!(read(here).unwrap_err()[0].starts_with("service.web.on_partial: "));
    }

    #[test]
    fn a_service_of_several_hosts_says_how_a_rollout_goes() {
        let read = |text: &str| {
            let config = read(&format!("[service.web]\nhosts = [\"b\", \"a\"]\n{text}")).unwrap();
            config.service(&ServiceName::parse("web").unwrap()).unwrap().stack.rollout().cloned().unwrap()
        };
        let plan = read("");
        let hosts: Vec<&str> = plan.hosts.iter().map(AgentName::as_str).collect();
        assert_eq!((hosts, plan.at_once, plan.on_partial), (vec!["b", "a"], 1, OnPartial::Undo));
        let plan = read("at_once = 5\non_partial = \"keep\"\n");
        assert_eq!((plan.at_once, plan.on_partial), (5, OnPartial::Keep));
    }

    #[test]
    fn a_service_that_only_its_agent_names_is_there_and_one_of_somebody_else_is_left_alone() {
        let config = read("[service.web]\nhosts = [\"micro\"]\nmax_wait_s = 7\n").unwrap();
        let of = |config: &Config, name: &str| {
            let service = config.service(&ServiceName::parse(name).unwrap()).cloned();
            service.map(|service| (service.stack.agents()[0].to_string(), service.stack.pins().len(), service.max_wait.as_secs()))
        };
        let known = config.with_services_of_agents(&[placed("micro", "web"), placed("micro", "api"), placed("other", "api")]);
        assert_eq!(of(&known, "web"), Some(("micro".to_owned(), 1, 7)));
        assert_eq!(of(&known, "api"), Some(("micro".to_owned(), 1, 3600)));
        let known = config.with_services_of_agents(&[placed("other", "web")]);
        assert_eq!(of(&known, "web"), Some(("micro".to_owned(), 0, 7)));
        // Whom it belongs to does not name it any more: nobody else gets it by that.
        let left = Placement { is_named: false, ..placed("micro", "api") };
        assert_eq!(of(&config.with_services_of_agents(&[left, placed("other", "api")]), "api"), None);
    }
}
