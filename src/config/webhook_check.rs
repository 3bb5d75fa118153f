//! What no rule for webhooks can know alone: whether what it names is there, and whether it could ever come to anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Forge;
use crate::config::ForgeKind;
use crate::config::Reload;
use crate::config::Service;
use crate::config::WebhookAction;
use crate::config::WebhookRule;
use crate::config::key::is_monotonous;
use crate::config::reader::Section;
use crate::model::HookEvent;
use crate::model::ServiceName;

/// Secrets that stand in the documentation of forges, so that anybody knows them.
const EXAMPLES: [&str; 2] = ["It's a Secret to Everybody", "It's a Secret to Everybody."];

/// Every rule names what there is, and can match.
pub(super) fn check_webhooks(
    root: &Section,
    rules: &[WebhookRule],
    forges: &[Forge],
    services: &BTreeMap<ServiceName, Arc<Service>>,
    datasets: &[Reload],
) {
    check_webhook_secrets(root, forges);
    for (at, rule) in rules.iter().enumerate() {
        let problem = |key: &str, why: String| root.problem(&format!("{}.{key}", rule.path), why);
        match forges.iter().find(|forge| forge.id == rule.forge) {
            None => problem("forge", format!("there is no [[forge]] with the id {}.", rule.forge)),
            Some(forge) => check_forge(rule, forge, &problem),
        }
        match &rule.action {
            WebhookAction::Deploy(service, _) => match services.get(service) {
                None => problem("deploy", format!("there is no [service.{service}].")),
                Some(service) => check_service(rule, service, &problem),
            },
            WebhookAction::Reload(dataset) if datasets.iter().any(|one| one.data.name == *dataset) => {}
            WebhookAction::Reload(dataset) => problem("reload", format!("there is no [dataset.{dataset}].")),
        }
        if let Some(first) = rules[..at].iter().find(|first| first.covers(rule)) {
            let (kind, name) = rule.target();
            let why = format!(
                "the rule can never do anything, because {} before it matches all that it matches and does the same to the {kind} {name}; \
                 leave it out, or put it first.",
                first.path
            );
            problem("event", why);
        }
        if let Some(name) = services.values().find_map(|service| reports_there(rule, service)) {
            let why = format!(
                "tagalong itself creates deployments there for the service {name}, so each deployment would order the next one; name an \
                 environment of your own."
            );
            problem("environments", why);
        }
    }
}

fn check_forge(rule: &WebhookRule, forge: &Forge, problem: &impl Fn(&str, String)) {
    if forge.webhook_secret.is_none() {
        let why = "has no webhook_secret_file, so its webhooks cannot be verified and the rule can never match; set it there and at the forge";
        problem("forge", format!("the forge {} {why}.", forge.id));
    }
    if forge.kind == ForgeKind::GitHub {
        return;
    }
    if matches!(rule.event, HookEvent::Deployment | HookEvent::RepositoryDispatch) {
        problem("event", format!("only GitHub has the event {}, so the rule can never match.", rule.event));
    }
    if !rule.filters.labels.is_empty() {
        problem("labels", "only GitHub tells the labels of an image, so the rule can never match.".to_owned());
    }
}

fn check_service(rule: &WebhookRule, service: &Service, problem: &impl Fn(&str, String)) {
    let WebhookAction::Deploy(_, template) = &rule.action else { return };
    if let (Some(tag), Some(pattern)) = (template.fixed(), &service.tag_pattern)
        && !pattern.is_match(tag.as_str())
    {
        problem("tag", format!("the tag {tag} does not match tag_pattern of the service {}, so the order would always be refused.", service.name));
    }
    if let Some(source) = &service.source
        && (source.forge != rule.forge || source.repository != rule.repository)
    {
        let why = format!(
            "the service {} is built from {} of {}, so a commit of {} says nothing about it; correct the one or the other.",
            service.name, source.repository, source.forge, rule.repository
        );
        problem("repository", why);
    }
}

/// The service that is reported at an environment of the rule.
fn reports_there<'s>(rule: &WebhookRule, service: &'s Service) -> Option<&'s ServiceName> {
    let source = service.source.as_ref().filter(|source| source.report && source.forge == rule.forge)?;
    let is_there = source.repository == rule.repository && rule.filters.environments.contains(&source.environment);
    is_there.then_some(&service.name)
}

/// A secret that can be guessed is none, and one that two forges have does not say which of them calls.
fn check_webhook_secrets(root: &Section, forges: &[Forge]) {
    let mut seen: Vec<(&Forge, String)> = Vec::new();
    for forge in forges {
        let Some(Ok(secret)) = forge.webhook_secret.as_ref().map(crate::config::SecretSource::read) else { continue };
        for line in secret.reveal().lines() {
            let problem = |why: String| root.problem("forge", format!("the webhook secret of {} {why}", forge.id));
            if EXAMPLES.contains(&line) {
                problem("is an example from the documentation, so anybody knows it; make one with `openssl rand -hex 32`.".to_owned());
            }
            if is_monotonous(line.as_bytes()) {
                problem("repeats a single byte, so anybody can guess it; make one with `openssl rand -hex 32`.".to_owned());
            }
            if let Some((other, _)) = seen.iter().find(|(_, known)| known.as_str() == line) {
                problem(format!("is that of {} as well, so it would not say which of them calls; give each its own.", other.id));
            }
            seen.push((forge, line.to_owned()));
        }
    }
}
