//! What other files make of a stack: which services have to be brought up again, and what a person reads of it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::engine::compose::fields::at;
use crate::engine::compose::fields::items;
use crate::engine::compose::fields::members;
use crate::engine::compose::fields::text;
use crate::engine::compose::project::Resolved;
use crate::engine::compose::proof::leaves;
use crate::model::ImageRef;

/// So many changes are named; the rest is counted.
const NAMED: usize = 30;
/// A value is shown up to this length.
const SHOWN: usize = 80;

impl Resolved {
    /// The same, where `before` is what the stack was and `files` are those in `dir` that have changed since: [`Resolved::touched`] has
    /// what is different too, and what has one of the files mounted is made anew.
    #[must_use]
    pub fn over(mut self, before: &Self, dir: &Path, files: &[String]) -> Self {
        let files: Vec<PathBuf> = files.iter().map(|file| dir.join(file)).collect();
        for service in self.services.iter().filter(|service| service.active) {
            let name = &service.name;
            let skip = service.pinned.is_some();
            let is_new = !before.service(name).is_some_and(|old| old.active);
            if mounts_one_of(&self.config, name, &files) {
                self.anew.insert(name.clone());
            }
            if is_new || self.anew.contains(name) || of_service(&self.config, name, skip) != of_service(&before.config, name, skip) {
                self.also.insert(name.clone());
            }
        }
        self
    }

    /// The same, where nobody knows what the stack was: all that is active is brought up, as far as it is different from what runs.
    #[must_use]
    pub fn over_anything(mut self) -> Self {
        self.also = self.services.iter().filter(|service| service.active).map(|service| service.name.clone()).collect();
        self
    }

    /// What is not as it was in `before`, a text of [`Resolved::config_with`], with `refs` pinned now: one line for each value, in which
    /// secrets are fingerprints. The pinned images are not meant.
    #[must_use]
    pub fn changes_since(&self, before: &str, refs: &[ImageRef]) -> Vec<String> {
        let texts = [before, &self.config_with(refs)].map(serde_json::from_str::<Value>);
        let [Ok(before), Ok(now)] = texts.map(|value| value.map(|value| flat(&value))) else { return Vec::new() };
        let pinned: BTreeSet<String> =
            self.uses.iter().flat_map(|used| used.services.iter().map(|name| format!("services.{name}.image"))).collect();
        let paths: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let is_other = |path: &&&String| before.get(**path) != now.get(**path) && !pinned.contains(**path);
        let shown = |value: Option<&String>| {
            value.map_or_else(|| "nothing".to_owned(), |value| text::without_controls(value).chars().take(SHOWN).collect())
        };
        let line = |path: &String| format!("{path}: {} → {}", shown(before.get(path)), shown(now.get(path)));
        let mut lines: Vec<String> = paths.iter().filter(is_other).map(|path| line(path)).collect();
        let more = lines.len().saturating_sub(NAMED);
        lines.truncate(NAMED);
        lines.extend((more > 0).then(|| format!("and {more} more values")));
        lines
    }

    /// What it means for containers and data that the stack was `before` and is this now, one sentence each.
    #[must_use]
    pub fn means_over(&self, before: &Self) -> Vec<String> {
        let removed = before.services.iter().filter(|old| old.active && self.service(&old.name).is_none()).map(|old| {
            format!(
                "the service {} is not in the compose files any more: its container keeps running until somebody removes it, and a rollback \
                 takes it up again",
                old.name
            )
        });
        let mut said: Vec<String> = removed.collect();
        for service in self.services.iter().filter(|service| service.active) {
            let was = volumes_of(&before.config, &service.name);
            for (target, volume) in volumes_of(&self.config, &service.name) {
                let Some(old) = was.get(&target).filter(|old| **old != volume) else { continue };
                said.push(format!(
                    "the service {} has the volume {volume} at {target} now, and not {old}: it starts with what is in {volume}, which is empty \
                     if it is new. {old} and its data stay on the host, and a rollback mounts it again",
                    service.name
                ));
            }
        }
        let named = volume_names(&self.config);
        let moved = |name: &&String| !named.contains(*name) && !said.iter().any(|sentence| sentence.contains(name.as_str()));
        let left: Vec<String> = volume_names(&before.config).iter().filter(moved).cloned().collect();
        said.extend(
            left.into_iter()
                .map(|name| format!("the compose files do not name the volume {name} any more: it and its data stay on the host")),
        );
        said
    }
}

/// What the configuration has of a service.
fn of_service(config: &Value, name: &str, without_image: bool) -> Option<Value> {
    let mut service = at(config, &["services", name])?.clone();
    if let (true, Some(members)) = (without_image, service.as_object_mut()) {
        members.remove("image");
    }
    Some(service)
}

/// Whether one of `files` is mounted into the service, by itself or in a folder, or is one of its configs or secrets.
fn mounts_one_of(config: &Value, name: &str, files: &[PathBuf]) -> bool {
    let Some(service) = at(config, &["services", name]) else { return false };
    let mut sources: Vec<&str> = items(service, &["volumes"]).map(|volume| text(volume, &["source"])).collect();
    for section in ["configs", "secrets"] {
        for used in items(service, &[section]) {
            sources.push(text(config, &[section, text(used, &["source"]), "file"]));
        }
    }
    sources.iter().filter(|source| source.starts_with('/')).any(|source| files.iter().any(|file| file.starts_with(source)))
}

/// The volumes of a service by where they are mounted, as Docker calls them.
fn volumes_of(config: &Value, service: &str) -> BTreeMap<String, String> {
    let mounts = at(config, &["services", service]).into_iter().flat_map(|service| items(service, &["volumes"]));
    let volumes = mounts.filter(|mount| text(mount, &["type"]) == "volume" && !text(mount, &["source"]).is_empty());
    volumes.map(|mount| (text(mount, &["target"]).to_owned(), volume_name(config, text(mount, &["source"])))).collect()
}

fn volume_name(config: &Value, key: &str) -> String {
    let name = text(config, &["volumes", key, "name"]);
    if name.is_empty() { key.to_owned() } else { name.to_owned() }
}

fn volume_names(config: &Value) -> BTreeSet<String> {
    members(config, &["volumes"]).map(|(key, _)| volume_name(config, key)).collect()
}

fn flat(value: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    leaves(value, "", &mut |path, leaf| drop(all.insert(path.to_owned(), leaf.to_owned())));
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;
    use serde_json::json;

    use crate::config::PinnedImage;
    use crate::engine::compose::mode::PinMode;
    use crate::engine::compose::project::Resolved;
    use crate::engine::compose::project::Use;
    use crate::engine::compose::project::services;
    use crate::model::Repository;

    fn resolved(config: Value) -> Resolved {
        let active = config["services"].as_object().unwrap().keys().cloned().collect();
        let mut services = services(&config, &active);
        services.iter_mut().filter(|service| service.name == "web").for_each(|service| service.pinned = Some(0));
        let pin = PinnedImage { image: Repository::parse("acme/web").unwrap(), variable: None };
        Resolved {
            mode: PinMode::Env,
            why_mode: String::new(),
            uses: vec![Use { pin, services: vec!["web".into()] }],
            services,
            warnings: Vec::new(),
            by_hand: true,
            keeps_dotenv: false,
            devices: [].into(),
            config,
            files: Vec::new(),
            also: [].into(),
            anew: [].into(),
            inputs: None,
        }
    }

    fn stack(change: impl FnOnce(&mut Value)) -> Resolved {
        let bind = |source: &str| json!([{"type": "bind", "source": source, "target": "/x"}]);
        let mut config = json!({
            "services": {
                "web": {"image": "acme/web:1", "environment": {"A": "hmac:1"}},
                "db": {"image": "db", "volumes": [{"type": "volume", "source": "data", "target": "/data"}]},
                "proxy": {"image": "proxy", "volumes": bind("/srv/site/conf")},
                "cache": {"image": "cache", "configs": [{"source": "cache", "target": "/etc/cache"}]},
                "worker": {"image": "worker", "volumes": bind("/srv/site/data")},
            },
            "configs": {"cache": {"file": "/srv/site/cache.conf"}},
            "volumes": {"data": {"name": "site_data"}},
        });
        change(&mut config);
        resolved(config)
    }

    #[test]
    fn what_is_different_is_brought_up_and_what_has_a_changed_file_is_made_anew() {
        let over = |now: Resolved, files: &[&str]| {
            let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
            let now = now.over(&stack(|_| {}), Path::new("/srv/site"), &files);
            let words = |names: &std::collections::BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
            (words(&now.also), words(&now.anew), now.touched().join(" "))
        };
        let expect = |also: &str, anew: &str, touched: &str| (also.to_owned(), anew.to_owned(), touched.to_owned());
        assert_eq!(over(stack(|_| {}), &["compose.yaml"]), expect("", "", "web"));
        assert_eq!(over(stack(|_| {}), &["conf/a/b", "cache.conf"]), expect("cache proxy", "cache proxy", "cache proxy web"));
        assert_eq!(over(stack(|config| config["services"]["db"]["user"] = json!("1")), &[]), expect("db", "", "db web"));
        assert_eq!(over(stack(|config| config["services"]["new"] = json!({"image": "n"})), &[]), expect("new", "", "new web"));
        // What is pinned is another image anyway.
        assert_eq!(over(stack(|config| config["services"]["web"]["image"] = json!("acme/web:2")), &[]), expect("", "", "web"));
    }

    #[test]
    fn people_read_what_it_means() {
        let before = stack(|_| {});
        let now = stack(|config| {
            config["services"]["db"]["volumes"][0]["source"] = json!("store");
            config["volumes"] = json!({"store": {"name": "site_store"}});
            config["services"].as_object_mut().unwrap().remove("worker");
            config["services"]["web"]["environment"]["A"] = json!("hmac:2");
        });
        let said = now.means_over(&before);
        assert!(said.len() == 2 && said[0].contains("worker is not in the compose files any more"), "{said:?}");
        assert!(said[1].contains("db has the volume site_store at /data now, and not site_data"), "{said:?}");
        assert!(now.means_over(&now).is_empty());
        let left = stack(|config| {
            config["volumes"] = json!({});
            config["services"]["db"]["volumes"] = json!([]);
        });
        assert_eq!(
            left.means_over(&before),
            ["the compose files do not name the volume site_data any more: it and its data stay on the host"]
        );
        let lines = now.changes_since(&before.config_with(&[]), &[]);
        assert!(lines.contains(&"services.web.environment.A: hmac:1 → hmac:2".to_owned()), "{lines:?}");
        assert!(lines.contains(&"services.worker.image: worker → nothing".to_owned()), "{lines:?}");
    }
}
