//! From the file's text to [`Config`], with every problem at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sha2::Digest as _;
use text::Mask;
use text::Secret;

use crate::config::Agent;
use crate::config::Config;
use crate::config::Dashboard;
use crate::config::Docker;
use crate::config::Forge;
use crate::config::Host;
use crate::config::Key;
use crate::config::OidcPolicy;
use crate::config::OnFailure;
use crate::config::People;
use crate::config::Registry;
use crate::config::RegistryLogin;
use crate::config::Reload;
use crate::config::Retention;
use crate::config::ScopedSocket;
use crate::config::Server;
use crate::config::Service;
use crate::config::Store;
use crate::config::approval_check::Callers;
use crate::config::approval_check::check_approvals;
use crate::config::difference::Written;
use crate::config::freeze::read_freezes;
use crate::config::key::is_monotonous;
use crate::config::notify::read_notifiers;
use crate::config::oidc::read_policies;
use crate::config::provision::Known;
use crate::config::provision::read_provisions;
use crate::config::reader::Problems;
use crate::config::reader::Section;
use crate::config::server::read_server;
use crate::config::service::complete_services;
use crate::config::service::read_services;
use crate::config::webhook_check::read_webhooks;
use crate::model::DatasetName;
use crate::model::KeyId;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::Target;

const DAY_S: u64 = 86_400;

pub(super) fn check(text: &str, folder: &Path) -> Result<Config, Vec<String>> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| vec![syntax(text, &error)])?;
    let written = Written(table.clone());
    let problems: Problems = Rc::new(RefCell::new(Vec::new()));
    let mut root = Section::root(table, folder, &problems);
    check_version(&mut root);
    let mut secrets = Vec::new();
    let server = read_server(&mut root);
    let agent = root.section("agent").and_then(Agent::read);
    let store = read_store(root.section("store"), &mut secrets);
    let docker = read_docker(root.section("docker"));
    let retention = read_retention(root.section("retention"));
    let registries = read_registries(&mut root, &mut secrets);
    let keys: Vec<Key> = root.sections("key").into_iter().filter_map(|section| Key::read(section, &mut secrets)).collect();
    let sockets = read_sockets(&mut root, server.as_ref(), &keys);
    let people = People::read(&mut root, &keys, &sockets);
    let oidc = read_policies(&mut root);
    let forges: Vec<Forge> = root.sections("forge").into_iter().filter_map(|section| Forge::read(section, &mut secrets)).collect();
    let dashboard = Dashboard::read(&mut root, server.as_ref(), &forges, &mut secrets);
    let services = read_services(&mut root, &docker, &mut secrets);
    let hosts = root.named("host").into_iter().filter_map(|(name, section)| Host::read(&name, section)).collect();
    let freezes = read_freezes(&mut root, &services);
    let datasets = read_datasets(&mut root, &docker, &mut secrets);
    check_together(&root, &keys, &services, &datasets);
    check_sources(&root, &forges, &services);
    let notifiers = read_notifiers(&mut root, &mut secrets, &services);
    let provisions = read_provisions(&mut root, &mut secrets, &Known { forges: &forges, keys: &keys, datasets: &datasets });
    check_scopes(&root, with_scopes(&keys, &sockets, &oidc).chain(dashboard.scopes()), &services, &datasets);
    let webhook_rules = read_webhooks(&mut root, &forges, &services, &datasets);
    let callers =
        Callers { server: server.as_ref(), keys: &keys, sockets: &sockets, oidc: &oidc, hooks: &webhook_rules, notifiers: &notifiers };
    check_approvals(&root, &people, &services, &callers);
    root.finish();
    let found = problems.take();
    let (true, Some(server)) = (found.is_empty(), server) else { return Err(found) };
    let mask = Arc::new(Mask::new(secrets.iter().map(Secret::reveal)));
    let datasets = completed(datasets, &mask, &server.data_dir);
    Ok(Config {
        file: PathBuf::new(),
        services: complete_services(services, &mask, &server.data_dir),
        server,
        agent,
        store,
        docker,
        retention,
        registries,
        keys,
        people,
        oidc,
        forges: forges.into_iter().map(Arc::new).collect(),
        dashboard,
        notifiers,
        provisions,
        webhook_rules,
        sockets,
        freezes,
        datasets,
        hosts,
        mask,
        written,
    })
}

fn read_sockets(root: &mut Section, server: Option<&Server>, keys: &[Key]) -> Vec<ScopedSocket> {
    let sockets: Vec<ScopedSocket> = root.sections("socket").into_iter().filter_map(ScopedSocket::read).collect();
    check_callers(root, server, keys, &sockets);
    sockets
}

fn read_datasets(root: &mut Section, docker: &Docker, secrets: &mut Vec<Secret>) -> Vec<Reload> {
    root.named("dataset").into_iter().filter_map(|(name, section)| Reload::read(&name, section, docker, secrets)).collect()
}

/// The datasets with what is known only when everything else is.
fn completed(datasets: Vec<Reload>, mask: &Arc<Mask>, data_dir: &Path) -> BTreeMap<DatasetName, Arc<Reload>> {
    let complete = |mut dataset: Reload| {
        dataset.data.mask = Arc::clone(mask);
        dataset.data.state = data_dir.join("datasets").join(dataset.data.name.as_str());
        (dataset.data.name.clone(), Arc::new(dataset))
    };
    datasets.into_iter().map(complete).collect()
}

fn check_version(root: &mut Section) {
    match root.whole("version", 0, 0..=i64::MAX) {
        1 => {}
        0 => root.problem("version", "the file must contain version = 1."),
        newer => root.problem(
            "version",
            format!(
                "the file has version = {newer}, but this tagalong supports only version 1; install a newer tagalong, or write version = 1."
            ),
        ),
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
    format!("line {line}: {}.", error.message())
}

fn read_store(from: Option<Section>, secrets: &mut Vec<Secret>) -> Store {
    const LEASE_S: f64 = 60.0;
    let Some(mut from) = from else { return Store { postgres: None, lease: Duration::from_secs_f64(LEASE_S) } };
    let postgres = from.secret("postgres_url_file", "postgres_url_env");
    if let Some(url) = &postgres {
        let parsed = url::Url::parse(url.reveal());
        match parsed {
            Ok(parsed) if matches!(parsed.scheme(), "postgres" | "postgresql") => {
                secrets.extend(parsed.password().map(|password| Secret::new(password.to_owned())));
            }
            _ => from.problem("postgres_url_file", "it must contain an address like postgres://user:password@host/database."),
        }
        secrets.push(url.clone());
    }
    let lease = from.seconds("lease_s", LEASE_S, 8.0..=3600.0);
    from.finish();
    Store { postgres, lease }
}

#[allow(clippy::disallowed_methods, reason = "config/ alone reads the environment")]
fn read_docker(from: Option<Section>) -> Docker {
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    let mut docker = Docker {
        program: "docker".to_owned(),
        path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        home,
        host: None,
        config_dir: None,
        wait: Duration::from_mins(3),
    };
    let Some(mut from) = from else { return docker };
    docker.program = from.text("program").unwrap_or(docker.program);
    docker.path = from.text("path").unwrap_or(docker.path);
    docker.host = from.text("host");
    docker.config_dir = from.path("config_dir");
    docker.wait = from.seconds("wait_s", 180.0, 1.0..=3600.0);
    from.finish();
    docker
}

fn read_retention(from: Option<Section>) -> Retention {
    let days = |days: u64| Duration::from_secs(days * DAY_S);
    let mut retention = Retention { journal: days(90), deliveries: days(7), looks: days(30) };
    let Some(mut from) = from else { return retention };
    retention.journal = days(from.whole("journal_days", 90, 1..=36_500) as u64);
    retention.deliveries = days(from.whole("deliveries_days", 7, 1..=365) as u64);
    retention.looks = days(from.whole("looks_days", 30, 2..=3650) as u64);
    from.finish();
    retention
}

/// The registries. Each stands there once, since one login counts for a host.
fn read_registries(root: &mut Section, secrets: &mut Vec<Secret>) -> Vec<Registry> {
    let all: Vec<Registry> = root.sections("registry").into_iter().filter_map(|section| read_registry(section, secrets)).collect();
    for (at, one) in all.iter().enumerate() {
        if all[..at].iter().any(|other| other.host == one.host) {
            let why = "one login counts for a host, so keep one of the two tables.";
            root.problem("registry", format!("two registries have the host {}: {why}", one.host));
        }
    }
    all
}

fn read_registry(mut from: Section, secrets: &mut Vec<Secret>) -> Option<Registry> {
    let missing = "every registry needs a host, which is the first part of its image names.";
    let host = from.needed("host", missing, |text| Ok::<_, String>(text.to_owned()));
    if from.has("user") != from.has_any(&["password_file", "password_env"]) {
        from.problem("user", "a login needs both user and password_file.");
    }
    let user = from.text("user");
    let password = from.secret_source("password_file", "password_env", secrets);
    let login = user.zip(password).map(|(user, password)| RegistryLogin { user, password });
    let plain_http = from.flag("plain_http", false);
    from.finish();
    Some(Registry { host: host?, login, plain_http })
}

/// A secret says who calls, so each is somebody's alone; and what is one byte over and over is none.
fn check_secrets(root: &Section, keys: &[Key], datasets: &[Reload]) {
    let key = |key: &Key| (format!("the key {}", key.id), key.proof.fingerprints(), key.proof.is_monotonous());
    let dataset = |dataset: &Reload| {
        let both = dataset.secret.as_ref()?.read_both().ok()?;
        let prints = both.iter().map(|secret| sha2::Sha256::digest(secret.reveal()).into()).collect();
        let is_monotonous = both.iter().any(|secret| is_monotonous(secret.reveal().as_bytes()));
        Some((format!("the reload secret of {}", dataset.data.name), prints, is_monotonous))
    };
    let all: Vec<(String, Vec<[u8; 32]>, bool)> = keys.iter().map(key).chain(datasets.iter().filter_map(dataset)).collect();
    for (at, (name, prints, is_monotonous)) in all.iter().enumerate() {
        if *is_monotonous {
            root.problem("key", format!("{name} repeats a single byte, so anybody can guess it; make a new one with `tagalong key new`."));
        }
        // Two datasets with one secret are told apart below, in words of their own.
        // And two keys of one id are a problem already.
        let same = |(other, others, _): &&(String, Vec<[u8; 32]>, bool)| other != name && others.iter().any(|print| prints.contains(print));
        let other = all[..at].iter().find(same);
        if let Some((other, ..)) = other.filter(|(other, ..)| !(other.starts_with("the reload") && name.starts_with("the reload"))) {
            root.problem(
                "key",
                format!("{other} and {name} have the same secret, so the caller would be ambiguous; give each its own secret."),
            );
        }
    }
}

/// Records name callers by their ids, and each socket needs a place of its own.
fn check_callers(root: &Section, server: Option<&Server>, keys: &[Key], sockets: &[ScopedSocket]) {
    for (at, key) in keys.iter().enumerate() {
        if keys[..at].iter().any(|earlier| earlier.id == key.id) {
            let why = "records name a key by its id, so each needs its own; while a secret is rotated, call the new one";
            root.problem("key", format!("two keys have the id {id}: {why} {id}-2, for instance.", id = key.id));
        }
    }
    for (at, socket) in sockets.iter().enumerate() {
        let id = &socket.key.id;
        if keys.iter().chain(sockets[..at].iter().map(|earlier| &earlier.key)).any(|earlier| earlier.id == *id) {
            root.problem(
                "socket",
                format!("the id {id} of a socket is used twice: records name keys and sockets by their ids, so each needs its own."),
            );
        }
        if let Some(fault) = server.and_then(|server| socket.fault(server, &root.folder, &sockets[..at])) {
            root.problem("socket", fault);
        }
    }
}

/// Every scope names something that there is.
/// Who has which scopes, with the table that says so.
fn with_scopes<'c>(
    keys: &'c [Key],
    sockets: &'c [ScopedSocket],
    oidc: &'c [OidcPolicy],
) -> impl Iterator<Item = (&'static str, &'c KeyId, &'c Vec<Scope>)> {
    let callers = keys.iter().map(|key| ("key", &key.id, &key.scopes));
    let callers = callers.chain(sockets.iter().map(|socket| ("socket", &socket.key.id, &socket.key.scopes)));
    callers.chain(oidc.iter().map(|policy| ("oidc", &policy.id, &policy.scopes)))
}

fn check_scopes<'c>(
    root: &Section,
    callers: impl Iterator<Item = (&'static str, &'c KeyId, &'c Vec<Scope>)>,
    services: &BTreeMap<ServiceName, Arc<Service>>,
    datasets: &[Reload],
) {
    for (table, id, scope) in callers.flat_map(|(table, id, scopes)| scopes.iter().map(move |scope| (table, id, scope))) {
        let is_dataset = |name: &DatasetName| datasets.iter().any(|dataset| dataset.data.name == *name);
        let (there, what, name) = match &scope.target {
            Target::Everything | Target::Services | Target::Datasets => continue,
            Target::Service(name) => (services.contains_key(name), "service", name.as_str()),
            Target::Dataset(name) => (is_dataset(name), "dataset", name.as_str()),
            Target::Named(name, dataset) => (services.contains_key(name) || is_dataset(dataset), "service", name.as_str()),
        };
        if !there {
            let who = match table {
                "oidc" => "policy",
                "login" => "login by the forge",
                table => table,
            };
            root.problem(table, format!("the {who} {id} has the scope {scope}, but there is no [{what}.{name}]."));
        }
    }
}

/// What no table can know alone.
fn check_together(root: &Section, keys: &[Key], services: &BTreeMap<ServiceName, Arc<Service>>, datasets: &[Reload]) {
    check_secrets(root, keys, datasets);
    let own: Vec<&str> = services.values().filter(|service| service.is_self).map(|service| service.name.as_str()).collect();
    if own.len() > 1 {
        root.problem("service", format!("{} all have self = true; tagalong runs in one stack.", own.join(" and ")));
    }
    for service in services.values().filter(|service| service.is_self && service.on_failure == OnFailure::Leave) {
        let why = "is not for the stack that tagalong runs in (self = true): nobody would be left to tell what to do; leave it out.";
        root.problem("service", format!("{}: on_failure = \"leave\" {why}", service.name));
    }
    for (at, dataset) in datasets.iter().enumerate() {
        let mine = &dataset.data;
        let earlier = &datasets[..at];
        if let Some(other) = earlier.iter().find(|other| other.data.dir == mine.dir) {
            root.problem(
                "dataset",
                format!("{} and {} both use the folder {}; each needs its own folder.", other.data.name, mine.name, mine.dir.display()),
            );
        }
        if let Some(other) = earlier.iter().find(|other| dataset.shares_secret(other)) {
            let why = "the secret tells which dataset a call is for, so each needs its own";
            root.problem("dataset", format!("{} and {} have the same reload secret; {why}.", other.data.name, mine.name));
        }
    }
    let mut seen: BTreeMap<(&Path, &str), &ServiceName> = BTreeMap::new();
    for (service, dir) in services.values().filter_map(|service| Some((service, service.stack.dir()?))) {
        for pin in service.stack.pins() {
            if let Some(other) = seen.insert((dir, pin.image.as_str()), &service.name)
                && other != &service.name
            {
                let why = format!("{other} and {} both pin {} in {}; only one service may pin it.", service.name, pin.image, dir.display());
                root.problem("service", why);
            }
        }
    }
}

/// Every source names a forge that there is and may be told something, and each place at a forge belongs to one service.
fn check_sources(root: &Section, forges: &[Forge], services: &BTreeMap<ServiceName, Arc<Service>>) {
    for (at, forge) in forges.iter().enumerate() {
        if forges[..at].iter().any(|earlier| earlier.id == forge.id) {
            root.problem("forge", format!("two forges have the id {}; services name a forge by its id, so each needs its own.", forge.id));
        }
    }
    let mut seen: BTreeMap<(&KeyId, String, &str), &ServiceName> = BTreeMap::new();
    for (service, source) in services.values().filter_map(|service| Some((service, service.source.as_ref()?))) {
        let name = &service.name;
        let problem = |key: &str, why: String| root.problem(&format!("service.{name}.source.{key}"), why);
        if let Some(required) = source.admission.checks.as_ref().filter(|required| required.wait > service.max_wait) {
            let why = "no order waits longer than that; make it shorter, or max_wait_s longer";
            let wait_s = required.wait.as_secs_f64();
            problem("checks_wait_s", format!("{wait_s} s is longer than max_wait_s = {}: {why}.", service.max_wait.as_secs_f64()));
        }
        let Some(forge) = forges.iter().find(|forge| forge.id == source.forge) else {
            problem("forge", format!("there is no [[forge]] with the id {}.", source.forge));
            continue;
        };
        if source.report && forge.login.is_none() {
            let why = "has no token, so it cannot be told what becomes of an order; set its token_file, or report = false here.";
            problem("forge", format!("the forge {} {why}", forge.id));
        }
        if source.admission.checks.is_some() && forge.login.is_none() {
            let why = "has no token, so nobody could ask it about checks; set its token_file, or leave require_checks out";
            problem("require_checks", format!("the forge {} {why}.", forge.id));
        }
        let place = (&source.forge, source.repository.as_str().to_ascii_lowercase(), source.environment.as_str());
        if let Some(other) = seen.insert(place, name).filter(|_| source.report) {
            let why = "a release of one would make the other one's look inactive; give each its own";
            problem("environment", format!("{other} has the environment {} in {} too: {why}.", source.environment, source.repository));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    /// One login counts for a host.
    #[test]
    fn a_registry_stands_there_once() {
        let with = |host: &str| {
            let table = |host: &str| format!("[[registry]]\nhost = \"{host}\"\nplain_http = true\n");
            let text = format!("version = 1\n[server]\n{}{}", table("one.example:5000"), table(host));
            check(&text, std::path::Path::new("/")).err().unwrap_or_default()
        };
        assert_eq!(with("one.example"), Vec::<String>::new());
        let problems = with("one.example:5000");
        assert!(problems.len() == 1 && problems[0].contains("two registries have the host one.example:5000"), "{problems:#?}");
    }
}
