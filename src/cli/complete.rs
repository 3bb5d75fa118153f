//! What shells complete while a person types: services, tags and deployments, as the server knows them, and datasets.
//!
//! The answer comes within a second or not at all, and what goes wrong is never said: a person is in the middle of a line.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::time::Duration;

use clap::Args as _;
use clap::FromArgMatches as _;
use clap_complete::CompletionCandidate;

use crate::api;
use crate::cli::client::Client;
use crate::cli::global::Global;

/// How long a person may have to wait behind the key that completes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Services that begin like `current`.
pub(crate) fn services(current: &OsStr) -> Vec<CompletionCandidate> {
    beginning_like(current, known().services)
}

/// Services and deployments that begin like `current`; with a service before it, its deployments.
pub(crate) fn deployments(current: &OsStr) -> Vec<CompletionCandidate> {
    let known = known();
    beginning_like(current, known.services.into_iter().chain(known.deployments.into_iter().map(|one| one.id.to_string())).collect())
}

/// Datasets of the configuration on this host that begin like `current`.
pub(crate) fn datasets(current: &OsStr) -> Vec<CompletionCandidate> {
    let all = global(&typed()).map(|global| configured(&global, "dataset")).unwrap_or_default();
    beginning_like(current, all)
}

/// Tags that the service on the line was ever asked to land, or that its registry has, and that begin like `current`.
pub(crate) fn tags(current: &OsStr) -> Vec<CompletionCandidate> {
    beginning_like(current, known().tags())
}

/// What one can go back to: the same tags, the same deployments, and the word for the release before.
pub(crate) fn ways_back(current: &OsStr) -> Vec<CompletionCandidate> {
    let known = known();
    let mut all = known.tags();
    all.insert("previous".to_owned());
    beginning_like(current, all)
}

fn beginning_like(current: &OsStr, all: BTreeSet<String>) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    all.into_iter().filter(|one| one.starts_with(current.as_ref())).map(CompletionCandidate::new).collect()
}

/// What the server and its configuration know.
#[derive(Default)]
struct Known {
    services: BTreeSet<String>,
    deployments: Vec<api::Deployment>,
    /// The tags that were verified, or that the registry has, of the service that was typed.
    listed: Vec<api::KnownTag>,
    /// The words that are typed already.
    typed: Vec<String>,
}

impl Known {
    /// The tags of the service that was typed, of all where none was.
    fn tags(&self) -> BTreeSet<String> {
        let service = self.typed.iter().find(|word| self.services.contains(*word));
        let is_meant = |one: &&api::Deployment| service.is_none_or(|service| one.service.as_str() == service);
        let ordered = self.deployments.iter().filter(is_meant).filter_map(|one| Some(one.tag.as_ref()?.to_string()));
        ordered.chain(self.listed.iter().map(|one| one.tag.to_string())).collect()
    }
}

/// Nothing where the server does not answer in time.
fn known() -> Known {
    let typed = typed();
    let Ok(global) = global(&typed) else { return Known::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.ok().map(|runtime| {
        let asked = runtime.block_on(ask(&global, &typed));
        // A name that is still being looked up must not keep the shell.
        runtime.shutdown_background();
        asked
    });
    Known { typed, ..answer.unwrap_or_default() }
}

/// The newest deployments, every service that is configured on this host or was ever deployed, and the tags of the one that was typed: as
/// far as the server, and the registry behind it, answer in time.
async fn ask(global: &Global, typed: &[String]) -> Known {
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut known = Known { services: configured(global, "service"), ..Known::default() };
    let Ok(client) = Client::new(global) else { return known };
    let page = client.get::<api::Deployments>("/api/v1/deployments?limit=200");
    if let Ok(Ok(page)) = tokio::time::timeout_at(until, page).await {
        known.services.extend(page.deployments.iter().map(|one| one.service.to_string()));
        known.deployments = page.deployments;
    }
    if let Some(service) = typed.iter().find(|word| known.services.contains(*word)) {
        let path = format!("/api/v1/services/{service}/tags");
        if let Ok(Ok(tags)) = tokio::time::timeout_at(until, client.get::<api::Tags>(&path)).await {
            known.listed = tags.tags;
        }
    }
    known
}

/// The names in a table of the configuration, as far as it can be read.
fn configured(global: &Global, what: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(&global.config).ok().filter(|_| global.is_here());
    let table: toml::Table = text.and_then(|text| text.parse().ok()).unwrap_or_default();
    let named = table.get(what).and_then(toml::Value::as_table);
    named.into_iter().flat_map(|named| named.keys().cloned()).collect()
}

/// The words of the line, which the shell's function gives behind `--`.
fn typed() -> Vec<String> {
    std::env::args().skip_while(|word| word != "--").skip(1).collect()
}

/// The options that say which server is meant, wherever they stand on the line.
fn global(typed: &[String]) -> Result<Global, clap::Error> {
    const NAMES: [&str; 4] = ["--config", "--socket", "--url", "--key-file"];
    let mut words = vec!["tagalong".to_owned()];
    let mut rest = typed.iter();
    while let Some(word) = rest.next() {
        if NAMES.contains(&word.as_str()) {
            words.push(word.clone());
            words.extend(rest.next().cloned());
        } else if word.split_once('=').is_some_and(|(name, _)| NAMES.contains(&name)) {
            words.push(word.clone());
        }
    }
    let matches = Global::augment_args(clap::Command::new("tagalong")).try_get_matches_from(words)?;
    Global::from_arg_matches(&matches)
}

#[cfg(test)]
mod tests {
    use super::global;

    #[test]
    fn the_server_is_the_one_that_the_line_names() {
        let line = ["tagalong", "deploy", "--url=https://a.example.com", "web", "--config", "/x.toml", "--force"].map(str::to_owned);
        let global = global(&line).expect("options");
        assert_eq!((global.url.as_deref(), global.config.to_str()), (Some("https://a.example.com"), Some("/x.toml")));
    }
}
