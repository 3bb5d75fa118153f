//! The scripts of the action and of the workflows, as they stand in their files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use saphyr::LoadableYamlNode as _;
use saphyr::Yaml;

use crate::server::SECRET;
use crate::server::Server;

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A step that runs a script.
pub(crate) struct Script {
    /// The file, and the step's name.
    pub(crate) what: String,
    /// The names of its environment.
    pub(crate) names: Vec<String>,
    pub(crate) text: String,
}

impl Script {
    pub(crate) fn of(file: &str, step: &Yaml<'_>) -> Self {
        let name = step.as_mapping_get("name").and_then(Yaml::as_str).unwrap();
        let env = step.as_mapping_get("env").and_then(Yaml::as_mapping).unwrap();
        let text = step.as_mapping_get("run").and_then(Yaml::as_str).unwrap().to_owned();
        assert!(!text.contains("${{"), "{file}: an expression stands in a script");
        Self { what: format!("{file}: {name}"), names: env.iter().map(|(name, _)| name.as_str().unwrap().to_owned()).collect(), text }
    }

    /// Every script of a workflow; it has at least one.
    pub(crate) fn of_workflow(file: &str) -> Vec<Self> {
        let text = read(file);
        let document = Yaml::load_from_str(&text).unwrap().remove(0);
        let steps = steps_of(&document).into_iter().filter(|step| step.as_mapping_get("run").is_some());
        let scripts: Vec<Self> = steps.map(|step| Self::of(file, step)).collect();
        assert!(!scripts.is_empty(), "{file}");
        scripts
    }

    /// The two of the action: to order and to cancel.
    pub(crate) fn of_action() -> [Self; 2] {
        let text = read("action.yml");
        let document = Yaml::load_from_str(&text).unwrap().remove(0);
        let steps = document.as_mapping_get("runs").and_then(|runs| runs.as_mapping_get("steps")).and_then(Yaml::as_sequence).unwrap();
        let scripts: Vec<Self> = steps.iter().map(|step| Self::of("action.yml", step)).collect();
        scripts.try_into().ok().unwrap()
    }

    /// Good values for all that it takes.
    pub(crate) fn good(&self, server: &Server) -> BTreeMap<String, String> {
        let address = format!("http://127.0.0.1:{}", server.port);
        let values = [
            ("ORDER", "deploy"),
            ("SERVICE", "web"),
            ("TAG", "1f0c9e2"),
            ("REASON", ""),
            ("COMMIT", "0123456789abcdef0123456789abcdef01234567"),
            ("REF", "refs/heads/main"),
            ("TIMEOUT_MINUTES", "1"),
            ("ON_CANCEL", "cancel"),
            ("ON_APPROVAL", "wait"),
            ("DEPLOYMENT", "d1"),
            ("TAGALONG_SECRET", SECRET),
            ("TAGALONG_URL", &address),
            ("SECRET", "reload-secret"),
            ("PLAIN_HTTP", ""),
            ("BRANCH", "main"),
            ("URL", if self.what.contains("notify") { &address } else { "http://127.0.0.1:1/" }),
            ("RELEASE", ""),
            ("IMAGE", "registry.example.com/acme/web"),
            ("CONTEXT", "."),
            ("DOCKERFILE", "Dockerfile.web"),
            ("TARGET", "web"),
            ("REGISTRY_USER", "ada"),
            ("REGISTRY_PASSWORD", SECRET),
            ("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567"),
            ("BROWSER", ""),
            ("FLAGS", "--within-s 0 --timeout-s 2"),
        ];
        let values = values.into_iter().filter(|(name, _)| self.names.iter().any(|known| known == name));
        let env: BTreeMap<String, String> = values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(env.len(), self.names.len(), "{}: there is no good value for one of {:?}", self.what, self.names);
        env
    }
}

pub(crate) fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// The steps of every job.
pub(crate) fn steps_of<'d>(document: &'d Yaml<'d>) -> Vec<&'d Yaml<'d>> {
    let jobs = document.as_mapping_get("jobs").and_then(Yaml::as_mapping).unwrap();
    jobs.iter().flat_map(|(_, job)| job.as_mapping_get("steps").and_then(Yaml::as_sequence).into_iter().flatten()).collect()
}
