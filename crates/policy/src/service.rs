//! A service of a resolved configuration, and what several rules ask of it.

use serde_json::Value;

use crate::stack::Stack;

/// A service of a resolved configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service<'a> {
    stack: &'a Stack<'a>,
    name: &'a str,
    value: &'a Value,
}

impl<'a> Service<'a> {
    /// None: there is no such service.
    pub(crate) fn of(stack: &'a Stack<'a>, name: &'a str) -> Option<Self> {
        Some(Self { stack, name, value: stack.config.get("services")?.get(name)? })
    }

    /// Whether its image is pinned.
    pub(crate) fn is_pinned(&self) -> bool {
        self.stack.pinned.contains(&self.name)
    }

    /// What stands at `path`, names with `/` between them; none: it is missing or null.
    pub(crate) fn at(&self, path: &str) -> Option<&'a Value> {
        at(self.value, path)
    }

    /// The text at `path`, or an empty one.
    pub(crate) fn text(&self, path: &str) -> &'a str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether there is a `true` at `path`.
    pub(crate) fn is(&self, path: &str) -> bool {
        // What is interpolated may have come out as a text.
        self.at(path).is_some_and(|value| value.as_bool() == Some(true) || value.as_str() == Some("true"))
    }

    /// The items of the list at `path`, or the names of what is there.
    pub(crate) fn items(&self, path: &str) -> Vec<&'a Value> {
        self.at(path).and_then(Value::as_array).into_iter().flatten().collect()
    }

    /// The texts of the list at `path`.
    pub(crate) fn texts(&self, path: &str) -> Vec<&'a str> {
        self.items(path).into_iter().filter_map(Value::as_str).collect()
    }

    /// The networks that it is in, by the names that Docker knows.
    pub(crate) fn networks(&self) -> Vec<&'a str> {
        let names = self.at("networks").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str());
        let real =
            |name: &'a str| member(self.stack.config, "networks", name).and_then(|network| at(network, "name")?.as_str()).unwrap_or(name);
        names.map(real).collect()
    }

    /// What of the host is mounted: files and folders, those behind named volumes, configurations and secrets among them.
    pub(crate) fn mounted(&self) -> Vec<&'a str> {
        let mut all = Vec::new();
        for volume in self.items("volumes") {
            let source = at(volume, "source").and_then(Value::as_str).unwrap_or_default();
            match at(volume, "type").and_then(Value::as_str) {
                Some("bind" | "npipe") => all.push(source),
                Some("volume") => all.extend(self.stack.devices.get(source).into_iter().flatten().map(String::as_str)),
                _ => {}
            }
        }
        for kind in ["configs", "secrets"] {
            let named = self.items(kind).into_iter().filter_map(|one| one.as_str().or_else(|| at(one, "source")?.as_str()));
            all.extend(named.filter_map(|name| at(member(self.stack.config, kind, name)?, "file")?.as_str()));
        }
        all.retain(|source| !source.is_empty());
        all
    }

    /// Which container that is not of the stack it shares `key` with, or none.
    pub(crate) fn shares_with(&self, key: &str) -> Option<&'a str> {
        self.text(key).strip_prefix("container:")
    }

    /// Whether one of its hooks of that kind is privileged. One that cannot be read may be.
    pub(crate) fn has_privileged(&self, hooks: &str) -> bool {
        // Values of hooks may have come out as fingerprints.
        let is_harmless = |hook: &Value| hook.is_object() && at(hook, "privileged").is_none_or(|value| value.as_bool() == Some(false));
        self.at(hooks).is_some_and(|hooks| hooks.as_array().is_none_or(|hooks| !hooks.iter().all(is_harmless)))
    }

    /// The names of its labels.
    pub(crate) fn labels(&self) -> Vec<&'a str> {
        match self.at("labels") {
            Some(Value::Object(labels)) => labels.keys().map(String::as_str).collect(),
            Some(Value::Array(labels)) => {
                labels.iter().filter_map(Value::as_str).map(|label| label.split('=').next().unwrap_or(label)).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn member<'a>(config: &'a Value, kind: &str, name: &str) -> Option<&'a Value> {
    config.get(kind)?.get(name)
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/').try_fold(value, |value, name| value.get(name)).filter(|value| !value.is_null())
}
