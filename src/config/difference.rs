//! What a configuration that was read again changes, told to the operator by the paths of its keys.

use std::collections::BTreeSet;

use toml::Table;
use toml::Value;

use crate::config::Config;

/// The file as it was written. Passwords may stand in free texts (headers), so it is never shown.
#[derive(Clone, Default)]
pub(super) struct Written(pub(super) Table);

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Written(…)")
    }
}

/// What differs between two configurations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What counts from now on: paths of keys, with a word where a whole table is new or gone.
    pub in_force: Vec<String>,
    /// Keys that are used at the start only, so that the running server goes on with what they were then.
    pub needs_restart: Vec<&'static str>,
}

impl Config {
    /// What this configuration changes for a server that has read `last` before and was started with `first`.
    #[must_use]
    pub fn difference(&self, last: &Self, first: &Self) -> Difference {
        let used_at_start = at_start(self).into_iter().zip(at_start(first));
        let needs_restart = used_at_start.filter(|(now, then)| now != then).map(|((key, _), _)| key).collect();
        let mut in_force = Vec::new();
        compare("", &last.written.0, &self.written.0, &mut in_force);
        in_force.retain(|path| !is_used_at_start(path, self));
        let proof_of = |config: &Self, id: &str| config.keys.iter().find(|key| key.id.as_str() == id).map(|key| key.proof.fingerprints());
        for key in &self.keys {
            let id = key.id.as_str();
            if proof_of(last, id).is_some_and(|before| Some(before) != proof_of(self, id)) {
                in_force.push(format!("key.{id} (its secret)"));
            }
        }
        Difference { in_force, needs_restart }
    }
}

/// Whether `path`, which may have a word behind it, is a key of [`at_start`]. The database's address has a second key.
fn is_used_at_start(path: &str, config: &Config) -> bool {
    let key = path.split(' ').next().unwrap_or(path);
    let is_a_sockets_place = key.starts_with("socket.") && !matches!(key.rsplit('.').next(), Some("scopes" | "refs"));
    is_a_sockets_place
        || key == "agent"
        || key.starts_with("agent.")
        || key.starts_with("store.postgres_url")
        || at_start(config).iter().any(|(known, _)| *known == key)
}

/// What is used at the start only, with its value.
fn at_start(config: &Config) -> [(&'static str, String); 14] {
    let server = &config.server;
    let tls = server.tls.as_ref();
    let sockets: Vec<_> = config.sockets.iter().map(|socket| (&socket.key.id, &socket.path, socket.gid)).collect();
    [
        ("server.listen", format!("{:?}", server.listen)),
        ("server.socket", format!("{:?}", server.socket)),
        ("server.socket_gid", format!("{:?}", server.socket_gid)),
        ("socket", format!("{sockets:?}")),
        ("agent", format!("{:?}", config.agent)),
        ("server.data_dir", server.data_dir.display().to_string()),
        ("server.tls_certificate_file", format!("{:?}", tls.map(|(certificate, _)| certificate))),
        ("server.tls_key_file", format!("{:?}", tls.map(|(_, key)| key))),
        ("server.max_connections", format!("{:?}", server.max_connections)),
        ("server.max_connections_per_address", format!("{:?}", server.max_connections_per_address)),
        ("server.max_followers", format!("{:?}", server.max_followers)),
        ("server.log", format!("{:?}", server.log_json)),
        ("server.log_level", server.log_level.clone()),
        ("store.postgres_url_file", config.store.postgres.as_ref().map(|url| url.reveal().to_owned()).unwrap_or_default()),
    ]
}

/// Adds the paths at which two tables differ.
fn compare(path: &str, before: &Table, after: &Table, paths: &mut Vec<String>) {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (before.get(name), after.get(name)) {
            (Some(Value::Table(before)), Some(Value::Table(after))) => compare(&path, before, after, paths),
            (Some(Value::Array(before)), Some(Value::Array(after))) if is_named(before) && is_named(after) => {
                compare(&path, &by_name(before), &by_name(after), paths);
            }
            (Some(before), Some(after)) if before == after => {}
            (None, Some(_)) => paths.push(format!("{path} (new)")),
            (Some(_), None) => paths.push(format!("{path} (gone)")),
            _ => paths.push(path),
        }
    }
}

/// What a table of a list (`[[key]]`, `[[registry]]`) is called by.
fn name_of(value: &Value) -> Option<&str> {
    ["id", "host"].iter().find_map(|key| value.get(key)?.as_str())
}

fn is_named(list: &[Value]) -> bool {
    list.iter().all(|value| name_of(value).is_some())
}

fn by_name(list: &[Value]) -> Table {
    list.iter().filter_map(|value| Some((name_of(value)?.to_owned(), value.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Difference;
    use crate::config::Config;

    const FIRST: &str = r#"
        version = 1
        [server]
        listen = ["127.0.0.1:8787"]
        max_waiting = 5
        [[key]]
        id = "ci"
        secret_file = "ci.secret"
        scopes = ["read"]
        [service.web]
        dir = "/srv/web"
        project = "web"
        image = "registry.example.com/acme/web"
        variable = "WEB_TAG"
    "#;

    fn config(folder: &Path, secret: &str, text: &str) -> Config {
        let (file, key) = (folder.join("tagalong.toml"), folder.join("ci.secret"));
        std::fs::write(key, format!("whsec_{secret}")).expect("a secret");
        std::fs::write(&file, text).expect("a file");
        Config::load(&file).expect("it holds")
    }

    #[test]
    fn what_changed_is_named_and_what_needs_a_restart_stays_named_until_there_was_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = ("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWc=");
        let first = config(folder.path(), one, FIRST);
        assert_eq!(config(folder.path(), one, FIRST).difference(&first, &first), Difference::default());
        // A default that is written out changes nothing that would need a restart.
        let text = FIRST.replace("max_waiting = 5", "max_waiting = 6\nlog_level = \"info\"").replace("8787", "8788");
        let text = text.replace("scopes = [\"read\"]", "scopes = [\"read\", \"deploy:web\"]").replace("variable", "keep = 9\nvariable");
        let second = config(folder.path(), two, &text);
        let found = second.difference(&first, &first);
        assert_eq!(found.in_force, ["key.ci.scopes", "server.max_waiting", "service.web.keep (new)", "key.ci (its secret)"]);
        assert_eq!(found.needs_restart, ["server.listen"]);
        let again = config(folder.path(), two, &text).difference(&second, &first);
        assert_eq!(again, Difference { in_force: Vec::new(), needs_restart: vec!["server.listen"] });
        // One key of a table waits for a restart, its neighbour does not.
        let leased = format!("{text}[store]\nlease_s = 90\n");
        let found = config(folder.path(), two, &leased).difference(&second, &first);
        assert_eq!(found, Difference { in_force: vec!["store (new)".to_owned()], needs_restart: vec!["server.listen"] });
        let longer = config(folder.path(), two, &leased.replace("90", "95"));
        let found = longer.difference(&config(folder.path(), two, &leased), &longer);
        assert_eq!(found, Difference { in_force: vec!["store.lease_s".to_owned()], needs_restart: Vec::new() });
        // Where a further socket is needs a restart; what its callers may do does not.
        let socket = "[[socket]]\nid = \"runner\"\npath = \"runner/tagalong.sock\"\nscopes = [\"deploy:web\"]\n";
        let with = config(folder.path(), two, &format!("{text}{socket}"));
        assert_eq!(with.difference(&second, &second), Difference { in_force: Vec::new(), needs_restart: vec!["socket"] });
        let wider = config(folder.path(), two, &format!("{text}{}", socket.replace("deploy:web", "read")));
        assert_eq!(
            wider.difference(&with, &with),
            Difference { in_force: vec!["socket.runner.scopes".to_owned()], needs_restart: Vec::new() }
        );
        let moved = config(folder.path(), two, &format!("{text}{}", socket.replace("runner/", "ci/")));
        assert_eq!(moved.difference(&with, &with), Difference { in_force: Vec::new(), needs_restart: vec!["socket"] });
        let third = config(folder.path(), two, "version = 1\n[server]\nlisten = [\"127.0.0.1:8787\"]\n");
        let found = third.difference(&second, &first);
        assert_eq!(found.in_force, ["key (gone)", "server.max_waiting (gone)", "service (gone)"]);
        assert_eq!(found.needs_restart, Vec::<&str>::new());
    }
}
