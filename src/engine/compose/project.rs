//! What a stack is when compose has put it together: services, what they need, which of them use the pin.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;

use policy::Finding;
use policy::Policy;
use serde_json::Value;

use crate::config::PinnedImage;
use crate::engine::compose::fields::at;
use crate::engine::compose::fields::items;
use crate::engine::compose::fields::members;
use crate::engine::compose::fields::text;
use crate::engine::compose::inputs::Inputs;
use crate::engine::compose::mode::PinMode;
use crate::model::ImageRef;
use crate::model::Part;

/// One pinned image and who uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Which pin.
    pub pin: PinnedImage,
    /// The services whose image it is, also those of profiles that are not active; never empty.
    pub services: Vec<String>,
}

/// The state that a dependency must have before the service starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It was started.
    Started,
    /// Its health check passes.
    Healthy,
    /// It exited with code 0.
    Completed,
}

/// A service that another one needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Which.
    pub service: String,
    /// In what state.
    pub condition: Condition,
    /// Whether it must be there at all.
    pub required: bool,
}

/// One service of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "four independent facts")]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its image as the files have it without a pin; none: it is built and has no name of its own.
    pub image: Option<String>,
    /// Whether a bare `docker compose up` would run it (its profiles).
    pub active: bool,
    /// Which use it belongs to, an index into [`Resolved::uses`].
    pub pinned: Option<usize>,
    /// What it needs.
    pub depends_on: Vec<Dependency>,
    /// Whether the compose files give it a health check (its image may have one as well).
    pub has_healthcheck: bool,
    /// Whether it is meant to end: another service waits for its end, or it has `restart: "no"`, no ports and no health check.
    pub one_shot: bool,
    /// Whether the stack can build its image.
    pub builds: bool,
    /// How many containers it has.
    pub replicas: u32,
    /// The services in whose network, processes or volumes it lives: it cannot outlive their containers.
    pub lives_in: Vec<String>,
}

/// A stack that compose accepts, and how it is pinned.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub(super) mode: PinMode,
    /// Why it is pinned that way, as a sentence.
    pub why_mode: String,
    /// The pins in the stack's order.
    pub uses: Vec<Use>,
    /// All services, by name.
    pub services: Vec<Service>,
    /// What a person should know, as sentences: a hand-run that would mean something else, variables without a value.
    pub warnings: Vec<String>,
    /// Whether a bare `docker compose up -d` in the folder means this very stack, once it is pinned; a warning says why not.
    pub by_hand: bool,
    /// Whether `.env` must stay as it is, because a service has its content.
    pub(super) keeps_dotenv: bool,
    pub(super) config: Value,
    /// The folders and files of the host that are behind named volumes.
    pub(super) devices: BTreeMap<String, Vec<String>>,
    pub(super) files: Vec<PathBuf>,
    /// Services that use no pin, and are brought up nevertheless because their part of the stack has changed.
    pub(super) also: BTreeSet<String>,
    /// Those of all that are made anew, because a file that is mounted into them has changed.
    pub(super) anew: BTreeSet<String>,
    /// What compose read to resolve it; none if that may be incomplete.
    pub(super) inputs: Option<Inputs>,
}

impl Resolved {
    /// How the pin is held, in the engine's word: `env` is a variable, `override` is a generated file.
    #[must_use]
    pub fn pinned_by(&self) -> &'static str {
        self.mode.as_str()
    }

    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// What `up` touches: active services that use a pin or have changed, and those that live in one of them.
    #[must_use]
    pub fn touched(&self) -> Vec<&str> {
        let mut touched: BTreeSet<&str> = self
            .services
            .iter()
            .filter(|service| service.active && (service.pinned.is_some() || self.also.contains(&service.name)))
            .map(|service| service.name.as_str())
            .collect();
        loop {
            let more = self.services.iter().filter(|service| service.active && !touched.contains(service.name.as_str()));
            let more: Vec<&str> = more
                .filter(|service| service.lives_in.iter().any(|host| touched.contains(host.as_str())))
                .map(|service| service.name.as_str())
                .collect();
            if more.is_empty() {
                return touched.into_iter().collect();
            }
            touched.extend(more);
        }
    }

    /// Whether `name` is brought up for nothing but a change in its own part of the stack.
    #[must_use]
    pub fn is_only_changed(&self, name: &str) -> bool {
        self.also.contains(name) && self.service(name).is_some_and(|service| service.pinned.is_none())
    }

    /// What a bare `docker compose up` starts, for the record.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let part = |service: &Service| Part {
            name: service.name.clone(),
            is_pinned: service.pinned.is_some(),
            is_one_shot: service.one_shot,
            replicas: service.replicas,
        };
        self.services.iter().filter(|service| service.active).map(part).collect()
    }

    /// What `policy` finds in what a bare `docker compose up` starts.
    #[must_use]
    pub fn judged(&self, policy: &Policy) -> Vec<Finding> {
        let active: Vec<&str> = self.services.iter().filter(|service| service.active).map(|service| service.name.as_str()).collect();
        let pinned: Vec<&str> =
            self.services.iter().filter(|service| service.pinned.is_some()).map(|service| service.name.as_str()).collect();
        policy::judge(&policy::Stack { config: &self.config, active: &active, pinned: &pinned, devices: &self.devices }, policy)
    }

    /// The whole resolved configuration as JSON, with `refs` as the pinned images and a keyed fingerprint in place of every
    /// value that may be a secret: fit to be stored and compared.
    #[must_use]
    pub fn config_with(&self, refs: &[ImageRef]) -> String {
        let mut config = self.config.clone();
        for used in &self.uses {
            let Some(reference) = refs.iter().find(|reference| same_repository(reference.repository.as_str(), used.pin.image.as_str()))
            else {
                continue;
            };
            for service in &used.services {
                if let Some(image) = config.pointer_mut(&format!("/services/{}/image", service.replace('~', "~0").replace('/', "~1"))) {
                    *image = Value::String(format!("{}:{}", used.pin.image, reference.pin()));
                }
            }
        }
        config.to_string()
    }
}

/// The services of `all` (every profile on); `active` names those of a hand-run.
pub(super) fn services(all: &Value, active: &BTreeSet<String>) -> Vec<Service> {
    let awaited: BTreeSet<&str> = members(all, &["services"])
        .flat_map(|(_, service)| members(service, &["depends_on"]))
        .filter(|(_, dependency)| text(dependency, &["condition"]) == "service_completed_successfully")
        .map(|(name, _)| name)
        .collect();
    let service = |(name, value): (&str, &Value)| {
        let has_healthcheck = has_healthcheck(value);
        let ends_alone = text(value, &["restart"]) == "no" && !has_healthcheck && at(value, &["ports"]).is_none();
        Service {
            name: name.to_owned(),
            image: at(value, &["image"]).and_then(Value::as_str).map(str::to_owned),
            active: active.contains(name),
            pinned: None,
            depends_on: members(value, &["depends_on"]).map(dependency).collect(),
            has_healthcheck,
            one_shot: awaited.contains(name) || ends_alone,
            builds: at(value, &["build"]).is_some(),
            replicas: replicas(value),
            lives_in: lives_in(value),
        }
    };
    let mut services: Vec<Service> = members(all, &["services"]).map(service).collect();
    services.sort_by(|one, other| one.name.cmp(&other.name));
    services
}

/// The folders and files of the host that are behind the named volumes of `all`.
pub(super) fn devices(all: &Value) -> BTreeMap<String, Vec<String>> {
    members(all, &["volumes"]).map(|(name, volume)| (name.to_owned(), behind(volume))).collect()
}

/// What of the host a volume shows, by the options with which Docker mounts it.
fn behind(volume: &Value) -> Vec<String> {
    /// What these mount is none of the host's files, so that their device is a mere name.
    const ELSEWHERE: [&str; 7] = ["tmpfs", "ramfs", "nfs", "nfs4", "cifs", "smb3", "overlay"];
    const PATHS: [&str; 6] = ["device", "lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir"];
    let device = text(volume, &["driver_opts", "device"]);
    let options = || text(volume, &["driver_opts", "o"]).split(',').map(str::trim);
    let is_local = matches!(text(volume, &["driver"]), "" | "local");
    let is_elsewhere = ELSEWHERE.contains(&text(volume, &["driver_opts", "type"])) && !options().any(|option| option.ends_with("bind"));
    // Docker takes a path that does not begin at the root, too.
    let is_path = device.starts_with('/') || (is_local && !is_elsewhere);
    let named = options().filter_map(|option| option.split_once('=')).filter(|(key, _)| PATHS.contains(key));
    let named = named.flat_map(|(_, paths)| paths.split(':'));
    let all = is_path.then_some(device).into_iter().chain(named);
    all.filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

fn has_healthcheck(service: &Value) -> bool {
    let disabled = at(service, &["healthcheck", "disable"]).and_then(Value::as_bool) == Some(true);
    let none = items(service, &["healthcheck", "test"]).next().and_then(Value::as_str) == Some("NONE");
    at(service, &["healthcheck", "test"]).is_some() && !disabled && !none
}

fn dependency((name, value): (&str, &Value)) -> Dependency {
    let condition = match text(value, &["condition"]) {
        "service_healthy" => Condition::Healthy,
        "service_completed_successfully" => Condition::Completed,
        _ => Condition::Started,
    };
    let required = at(value, &["required"]).and_then(Value::as_bool).unwrap_or(true);
    Dependency { service: name.to_owned(), condition, required }
}

fn replicas(service: &Value) -> u32 {
    let number = |path: &[&str]| at(service, path).and_then(Value::as_u64);
    number(&["deploy", "replicas"]).or_else(|| number(&["scale"])).unwrap_or(1) as u32
}

fn lives_in(service: &Value) -> Vec<String> {
    let modes = ["network_mode", "ipc", "pid"].map(|key| text(service, &[key]));
    let mut hosts: Vec<String> = modes.iter().filter_map(|mode| mode.strip_prefix("service:")).map(str::to_owned).collect();
    let volumes = items(service, &["volumes_from"]).filter_map(Value::as_str).filter(|from| !from.starts_with("container:"));
    hosts.extend(volumes.map(|from| from.split(':').next().unwrap_or(from).to_owned()));
    hosts.sort();
    hosts.dedup();
    hosts
}

/// The repository of an image reference, without tag and digest.
pub(super) fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// Whether two repositories are one: `web`, `library/web` and `docker.io/library/web` are.
pub(super) fn same_repository(one: &str, other: &str) -> bool {
    fn short(name: &str) -> &str {
        let name = name.strip_prefix("docker.io/").or_else(|| name.strip_prefix("index.docker.io/")).unwrap_or(name);
        name.strip_prefix("library/").unwrap_or(name)
    }
    short(one) == short(other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::engine::compose::project::devices;
    use crate::engine::compose::project::repository;
    use crate::engine::compose::project::same_repository;

    #[test]
    fn every_path_of_the_host_behind_a_volume_is_seen() {
        let paths = |volume| devices(&json!({ "volumes": { "v": volume } })).remove("v").unwrap();
        let by = |kind: &str, device: &str, o: &str| paths(json!({ "driver_opts": { "type": kind, "device": device, "o": o } }));
        assert_eq!(by("none", "/etc", "bind"), ["/etc"]);
        assert_eq!(by("none", "etc", "ro,rbind"), ["etc"]);
        assert_eq!(by("tmpfs", "etc", "bind"), ["etc"]);
        assert_eq!(by("ext4", "dev/sda1", ""), ["dev/sda1"]);
        assert_eq!(by("overlay", "overlay", "lowerdir=/etc:/root,upperdir=/u,workdir=/w"), ["/etc", "/root", "/u", "/w"]);
        assert!(by("nfs", ":/export", "addr=192.0.2.1,rw").is_empty() && by("tmpfs", "tmpfs", "size=1m").is_empty());
        assert!(paths(json!({ "driver": "rclone", "driver_opts": { "device": "x" } })).is_empty() && paths(json!({})).is_empty());
    }

    #[test]
    fn repositories_of_references() {
        let references = ["acme/web", "acme/web:1", "acme/web@sha256:00", "acme/web:1@sha256:00"];
        assert!(references.iter().all(|reference| repository(reference) == "acme/web"));
        assert_eq!(repository("127.0.0.1:5000/acme/web"), "127.0.0.1:5000/acme/web");
        assert!(same_repository("docker.io/library/nginx", "nginx"));
        assert!(!same_repository("registry.example.com/nginx", "nginx"));
    }
}
