//! What is asked of the stacks of services: reads the table, key by key.

use ::policy::Level;
use ::policy::Policy;
use ::policy::RuleName;

use crate::config::reader::Section;
use crate::model::Repository;

/// Reads `[policy]`, or `[service.x.policy]` over what `[policy]` says: a list takes the place of the one there, and a rule's level too.
pub(super) fn read_policy(from: Option<Section>, base: &Policy) -> Policy {
    let mut policy = base.clone();
    let Some(mut from) = from else { return policy };
    for (name, level) in from.texts_by_name("rules") {
        match read_rule(&name, &level) {
            Ok((rule, level)) => {
                policy.levels.insert(rule, level);
            }
            Err(why) => from.problem("rules", why),
        }
    }
    replace(&mut from, "folders", &mut policy.folders, folder);
    replace(&mut from, "repositories", &mut policy.repositories, repository);
    replace(&mut from, "labels", &mut policy.labels, name);
    replace(&mut from, "ports", &mut policy.ports, port);
    replace(&mut from, "capabilities", &mut policy.capabilities, name);
    from.finish();
    policy
}

/// What the list `key` names takes the place of what was there.
fn replace<T, E: std::fmt::Display>(from: &mut Section, key: &'static str, what: &mut Vec<T>, parse: impl Fn(&str) -> Result<T, E>) {
    let is_there = from.has(key);
    let named = from.list(key, parse);
    if is_there {
        *what = named;
    }
}

fn read_rule(name: &str, level: &str) -> Result<(RuleName, Level), String> {
    let rule = RuleName::parse(name)?;
    let level = Level::ALL.into_iter().find(|known| known.as_str() == level);
    Ok((rule, level.ok_or_else(|| format!("{name} must be off, note, warn or refuse."))?))
}

fn folder(text: &str) -> Result<String, String> {
    let is_whole = text.starts_with('/') && !text.split('/').any(|part| part == "..");
    if is_whole {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{}\" is not a whole path; write one like /srv/shared.", text.escape_default()))
    }
}

/// A repository, or what all of somebody's begin with.
fn repository(text: &str) -> Result<String, String> {
    let hint =
        || format!("\"{}\" is neither a repository nor the beginning of some; write ghcr.io/acme or postgres.", text.escape_default());
    let name = text.trim_end_matches('/');
    // A registry alone is the beginning of all that it has.
    let is_registry = !name.contains('/') && name.contains(['.', ':']) && !name.contains(char::is_whitespace);
    if is_registry || Repository::parse(name).is_ok() { Ok(name.to_owned()) } else { Err(hint()) }
}

fn name(text: &str) -> Result<String, String> {
    let is_ok = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if is_ok { Ok(text.to_owned()) } else { Err(format!("\"{}\" is not a name.", text.escape_default())) }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("\"{}\" is not a port; write \"443\".", text.escape_default()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ::policy::Level;
    use ::policy::RuleName;

    use crate::config::Config;

    fn read(tables: &str) -> Result<Config, Vec<String>> {
        let head = "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\nsocket = \"\"\n";
        let service = "[service.web]\ndir = \"/srv/web\"\nproject = \"web\"\nimage = \"a.example/web\"\n";
        Config::read(&format!("{head}{service}{tables}\n"), Path::new("x.toml"), Path::new("/etc")).map_err(|error| error.problems)
    }

    #[test]
    fn a_service_changes_what_holds_for_all() {
        let all = "[policy]\nfolders = [\"/srv/shared\"]\nports = [\"443\"]\nrules = { privileged = \"refuse\", labels = \"warn\" }\n";
        let own = "[service.web.policy]\nports = [\"80\"]\nlabels = [\"owner\"]\nrules = { privileged = \"off\" }\n";
        let config = read(&format!("{own}{all}")).expect("no problem");
        let policy = &config.services.values().next().expect("a service").policy;
        let level = |name: &str| policy.level(RuleName::parse(name).expect("a rule"));
        assert_eq!(["privileged", "labels", "host_pid"].map(level), [Level::Off, Level::Warn, Level::Note]);
        assert_eq!((&policy.ports, &policy.labels), (&vec![80], &vec!["owner".to_owned()]));
        assert_eq!(policy.folders, ["/srv/shared", "/srv/web"], "the stack's own folder is always among them");
    }

    #[test]
    fn what_is_wrong_with_a_policy_is_said() {
        for (lines, part) in [
            ("rules = { priviledged = \"off\" }", "policy.rules: there is no rule \"priviledged\"; did you mean privileged?"),
            ("rules = { privileged = \"error\" }", "policy.rules: privileged must be off, note, warn or refuse."),
            ("folders = [\"data\"]", "policy.folders: \"data\" is not a whole path"),
            ("folders = [\"/srv/../etc\"]", "is not a whole path"),
            ("repositories = [\"a b\"]", "policy.repositories: \"a b\" is neither a repository nor the beginning of some"),
            ("labels = [\"\"]", "policy.labels: \"\" is not a name."),
            ("ports = [\"70000\"]", "policy.ports: \"70000\" is not a port"),
            ("port = [\"80\"]", "policy.port: unknown key; did you mean ports?"),
        ] {
            for table in ["policy", "service.web.policy"] {
                let problems = read(&format!("[{table}]\n{lines}")).err().unwrap_or_default();
                assert!(problems.len() == 1 && problems[0].contains(part), "{table} {lines}: {problems:#?}");
            }
        }
        assert!(read("[policy]\nrepositories = [\"ghcr.io\", \"ghcr.io/acme/\", \"postgres\", \"localhost:5000/x\"]").is_ok());
    }
}
