//! A look at a stack that nothing is configured for yet.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use process::Cancel;
use saphyr::LoadableYamlNode as _;
use saphyr::Yaml;
use serde_json::Value;

use crate::config::ComposeStack;
use crate::config::PinChoice;
use crate::engine::compose::daemon::Daemon;
use crate::engine::compose::dotenv::expand;
use crate::engine::compose::dotenv::name_length;
use crate::engine::compose::dotenv::split_brace;
use crate::engine::compose::fields::at;
use crate::engine::compose::fields::json;
use crate::engine::compose::fields::members;
use crate::engine::compose::fields::text;
use crate::engine::compose::ground::Ground;
use crate::engine::compose::project::repository;
use crate::engine::compose::replace;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::path_text;
use crate::engine::error::EngineError;

/// A daemon that does not answer keeps nobody from looking at files.
const LISTING: Duration = Duration::from_secs(10);
/// What a tag variable without a value is taken for, so that compose reads a stack that demands one.
const SOME_TAG: &str = "latest";

/// A stack as it is written.
#[derive(Debug)]
pub struct Survey {
    /// The project's name that a bare `docker compose` in the folder uses.
    pub project: String,
    /// The projects whose containers were started from the folder; none: Docker does not answer.
    pub started: Option<Vec<String>>,
    /// Its compose files, absolute.
    pub files: Vec<PathBuf>,
    /// The services of all profiles, by name.
    pub services: Vec<Surveyed>,
}

/// A service of such a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// Its name.
    pub name: String,
    /// The repository of its image, without tag and digest; none: it is built and its image has no name.
    pub repository: Option<String>,
    /// Its image as a compose file writes it, and in which file; none: it was not found there.
    pub written: Option<Written>,
    /// How it is built; none: it is not.
    pub build: Option<Build>,
    /// The names that a Traefik in front of it serves it by, as its labels say.
    pub hosts: Vec<String>,
}

/// The image of a service as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// In this compose file, absolute.
    pub file: PathBuf,
    /// With its variables.
    pub image: String,
}

/// How an image is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The folder of its files, absolute, or an address.
    pub context: String,
    /// The Dockerfile, from the context.
    pub dockerfile: String,
    /// The stage of it.
    pub target: Option<String>,
    /// Other keys of `build`, which say more about it.
    pub others: Vec<String>,
}

impl Written {
    /// The variable that is all of the tag; none: the tag is fixed, or more than a variable.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        tag_variable(&self.image)
    }
}

impl Compose {
    /// Looks at the stack in `dir` as a bare `docker compose` there reads it; nothing is changed.
    ///
    /// # Errors
    /// When there is no compose file, it names something remote, or compose does not accept it.
    pub async fn survey(daemon: &Daemon, dir: &Path, cancel: &Cancel) -> Result<Survey, EngineError> {
        let stack =
            ComposeStack { dir: dir.to_owned(), files: Vec::new(), project: String::new(), pins: Vec::new(), mode: PinChoice::Auto };
        let engine = Self::new(daemon, stack);
        let (ground, images) = engine
            .on_disk(|engine| {
                let ground = engine.ground()?;
                let images = images(&ground)?;
                Ok((ground, images))
            })
            .await?;
        let (config, values) = engine.as_written(&ground, &images, cancel).await?;
        let mut services: Vec<Surveyed> =
            members(&config, &["services"]).map(|(name, service)| surveyed(name, service, &images, &values)).collect();
        services.sort_by(|one, other| one.name.cmp(&other.name));
        let started = engine.started(cancel).await;
        Ok(Survey { project: text(&config, &["name"]).to_owned(), started, files: ground.files, services })
    }

    /// What compose makes of the stack, and the variables that it was made with.
    async fn as_written(
        &self,
        ground: &Ground,
        images: &[ImageLine],
        cancel: &Cancel,
    ) -> Result<(Value, BTreeMap<String, String>), EngineError> {
        let what = format!("reading the compose files in {}", self.stack.dir.display());
        let command = self.hand_command(ground, &["--profile", "*", "config", "--format", "json"]);
        let mut values = ground.dotenv.values();
        let first = match self.ask(&command, &what, cancel).await {
            Ok(config) => return Ok((json(&config)?, values)),
            Err(error @ EngineError::Failed { .. }) => error,
            Err(error) => return Err(error),
        };
        let missing: BTreeMap<String, String> = images
            .iter()
            .filter_map(|line| tag_variable(&line.written.image))
            .filter(|name| !values.contains_key(*name))
            .map(|name| (name.to_owned(), SOME_TAG.to_owned()))
            .collect();
        let mut command = command;
        command.env.extend(missing.clone());
        // What it said first is about the files as they are.
        let config = self.ask(&command, &what, cancel).await.map_err(|_| first)?;
        values.extend(missing);
        Ok((json(&config)?, values))
    }

    /// The projects whose containers were started from the folder.
    async fn started(&self, cancel: &Cancel) -> Option<Vec<String>> {
        let folder = format!("label=com.docker.compose.project.working_dir={}", path_text(&self.stack.dir));
        let format = "{{.Label \"com.docker.compose.project\"}}";
        let command = self.docker_command(["ps", "--all", "--filter", &folder, "--format", format], LISTING);
        let names = self.ask(&command, "docker ps", cancel).await.ok()?;
        let mut names: Vec<String> = names.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        Some(names)
    }
}

/// A line `image: …` of a compose file.
struct ImageLine {
    /// The service that it stands in; none: a fragment that a service may take over.
    service: Option<String>,
    written: Written,
}

/// Every image that the files of a stack write, in their order.
fn images(ground: &Ground) -> Result<Vec<ImageLine>, EngineError> {
    let mut images = Vec::new();
    let others = ground.sources.files();
    let others = others.into_iter().filter(|file| !ground.files.iter().any(|own| own == file));
    for file in ground.files.iter().map(PathBuf::as_path).chain(others) {
        let bytes = replace::read(file)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // What is no YAML is a file of variables: compose files were read before.
        for document in Yaml::load_from_str(text.strip_prefix('\u{feff}').unwrap_or(&text)).unwrap_or_default() {
            for (key, value) in document.as_mapping().into_iter().flatten() {
                for (name, service) in value.as_mapping().into_iter().flatten() {
                    let service_name = name.as_str().filter(|_| key.as_str() == Some("services"));
                    let image = service.as_mapping_get("image").or_else(|| Some(service).filter(|_| name.as_str() == Some("image")));
                    if let Some(image) = image.and_then(Yaml::as_str) {
                        let written = Written { file: file.to_owned(), image: image.to_owned() };
                        images.push(ImageLine { service: service_name.map(str::to_owned), written });
                    }
                }
            }
        }
    }
    Ok(images)
}

fn surveyed(name: &str, service: &Value, images: &[ImageLine], values: &BTreeMap<String, String>) -> Surveyed {
    let image = at(service, &["image"]).and_then(Value::as_str);
    let is_it = |line: &&ImageLine| image.is_some_and(|image| expand(&line.written.image, values) == image);
    let own = images.iter().filter(is_it).rfind(|line| line.service.as_deref() == Some(name));
    let line = own.or_else(|| images.iter().find(is_it));
    Surveyed {
        name: name.to_owned(),
        repository: image.map(|image| repository(image).to_owned()),
        written: line.map(|line| line.written.clone()),
        build: at(service, &["build"]).map(build),
        hosts: hosts(service),
    }
}

fn build(build: &Value) -> Build {
    let word = |key: &str| Some(text(build, &[key])).filter(|text| !text.is_empty()).map(str::to_owned);
    let others = members(build, &[]).map(|(key, _)| key).filter(|key| !["context", "dockerfile", "target"].contains(key));
    Build {
        context: word("context").unwrap_or_else(|| ".".to_owned()),
        dockerfile: word("dockerfile").unwrap_or_else(|| "Dockerfile".to_owned()),
        target: word("target"),
        others: others.map(str::to_owned).collect(),
    }
}

/// The names in rules like ``Host(`www.example.com`)`` of Traefik's routers.
fn hosts(service: &Value) -> Vec<String> {
    let is_rule = |label: &str| label.starts_with("traefik.http.routers.") && label.rsplit('.').next() == Some("rule");
    let rules = members(service, &["labels"]).filter(|(label, _)| is_rule(label)).filter_map(|(_, rule)| rule.as_str());
    let named = |rule: &str| -> Vec<String> {
        let parts = rule.split("Host(").skip(1).filter_map(|rest| rest.split_once(')'));
        parts.flat_map(|(names, _)| names.split(',').map(|name| name.trim_matches(['`', '"', '\'', ' ']).to_owned())).collect()
    };
    let mut hosts: Vec<String> = rules.flat_map(named).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

/// The variable that is the whole tag of an image, as in `acme/web:${WEB_TAG:-latest}`.
fn tag_variable(image: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let mut tag_at = None;
    for (at, c) in image.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '/' if depth == 0 => tag_at = None,
            ':' if depth == 0 => tag_at = Some(at + 1),
            _ => {}
        }
    }
    let tag = image[tag_at?..].strip_prefix('$')?;
    let (inner, behind) = match tag.strip_prefix('{') {
        Some(tag) => split_brace(tag)?,
        None => tag.split_at(name_length(tag)),
    };
    let name = &inner[..name_length(inner)];
    (behind.is_empty() && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::engine::compose::survey::hosts;
    use crate::engine::compose::survey::tag_variable;

    #[test]
    fn the_variable_is_all_of_the_tag() {
        for (image, variable) in [
            ("acme/web:${WEB_TAG}", Some("WEB_TAG")),
            ("acme/web:$WEB_TAG", Some("WEB_TAG")),
            ("${REGISTRY:-r.example.com:5000}/acme/web:${WEB_TAG:-latest}", Some("WEB_TAG")),
            ("r.example.com:5000/acme/web:${WEB_TAG:?set it}", Some("WEB_TAG")),
            ("acme/web:v${WEB_TAG}", None),
            ("acme/web:${WEB_TAG}-alpine", None),
            ("acme/web:$WEB_TAG-alpine", None),
            ("${IMAGE}", None),
            ("${IMAGE:-acme/web:1}", None),
            ("r.example.com:${PORT}/acme/web", None),
            ("acme/web:latest", None),
            ("acme/web", None),
        ] {
            assert_eq!(tag_variable(image), variable, "{image}");
        }
    }

    #[test]
    fn hosts_of_routers() {
        let labels = json!({ "labels": {
            "traefik.http.routers.web.rule": "Host(`www.example.com`, `example.com`) && PathPrefix(`/`)",
            "traefik.http.routers.old.rule": "HostRegexp(`x`) || Host(\"old.example.com\")",
            "traefik.http.middlewares.x.rule": "Host(`no.example.com`)",
        }});
        assert_eq!(hosts(&labels), ["example.com", "old.example.com", "www.example.com"]);
        assert!(hosts(&json!({})).is_empty());
    }
}
