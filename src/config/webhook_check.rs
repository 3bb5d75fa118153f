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

/// The rules, each of which names what there is, and can match.
pub(super) fn read_webhooks(
    root: &mut Section,
    forges: &[Forge],
    services: &BTreeMap<ServiceName, Arc<Service>>,
    datasets: &[Reload],
) -> Vec<WebhookRule> {
    let rules: Vec<WebhookRule> = root.sections("hook").into_iter().filter_map(WebhookRule::read).collect();
    check_webhooks(root, &rules, forges, services, datasets);
    rules
}

fn check_webhooks(
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
        let why =
            "has no webhook_secret_file, so its webhooks cannot be verified and the rule can never match; set it there and at the forge";
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
        problem(
            "tag",
            format!("the tag {tag} does not match tag_pattern of the service {}, so the order would always be refused.", service.name),
        );
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

#[cfg(test)]
mod tests {
    use crate::config::check::check;

    const FORGE: &str = r#"
        version = 1
        [server]
        [[forge]]
        id = "github"
        kind = "github"
        webhook_secret_file = "hook.secret"
        [[forge]]
        id = "codeberg"
        kind = "forgejo"
        url = "https://codeberg.example"
        webhook_secret_file = "other.secret"
        [[forge]]
        id = "silent"
        kind = "gitea"
        url = "https://gitea.example"
        [service.web]
        dir = "/srv/web"
        project = "web"
        image = "registry.example.com/acme/web"
        variable = "TAG"
        tag_pattern = "[0-9a-f]{40}"
        [dataset.content]
        dir = "/srv/content"
        remote = "https://git.example.com/acme/content.git"
    "#;
    const RULE: &str = r#"
        [[hook]]
        forge = "github"
        repository = "acme/web"
        event = "push"
        branches = ["main"]
        deploy = "web"
        tag = "{sha}"
    "#;

    fn problems_of(rules: &str) -> Vec<String> {
        problems_with(rules, "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210")
    }

    fn problems_with(rules: &str, secret: &str, other: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("hook.secret"), secret).expect("a secret");
        std::fs::write(folder.path().join("other.secret"), other).expect("a secret");
        check(&format!("{FORGE}{rules}"), folder.path()).err().unwrap_or_default()
    }

    #[test]
    fn a_rule_that_can_never_match_or_says_too_little_is_refused_by_name() {
        assert_eq!(problems_of(RULE), Vec::<String>::new());
        for (from, to, part) in [
            ("forge = \"github\"", "", "hook[0].forge: a rule needs the id of the [[forge]]"),
            ("forge = \"github\"", "forge = \"other\"", "hook[0].forge: there is no [[forge]] with the id other"),
            ("forge = \"github\"", "forge = \"silent\"", "hook[0].forge: the forge silent has no webhook_secret_file"),
            ("repository = \"acme/web\"", "", "hook[0].repository: a rule needs the repository"),
            ("acme/web", "acme", "hook[0].repository: The repository \"acme\" is not valid"),
            ("event = \"push\"", "", "hook[0].event: a rule needs an event: push, tag,"),
            ("\"push\"", "\"pull_request\"", "hook[0].event: \"pull_request\" is not one of push, tag,"),
            ("branches = [\"main\"]", "", "hook[0].branches: a push of any branch would count"),
            ("[\"main\"]", "[]", "hook[0].branches: the list is empty"),
            ("\"main\"", "\"refs/heads/main\"", "hook[0].branches: \"refs/heads/main\" is a whole ref; write \"main\""),
            ("\"main\"", "\"!main\"", "hook[0].branches: \"!main\" begins with !"),
            ("\"push\"", "\"tag\"", "hook[0].branches: the event tag has no branch, so the rule can never match"),
            ("\"push\"", "\"release\"", "hook[0].tag: {sha} is not known of the event release"),
            ("deploy =", "tags = [\"v*\"]\ndeploy =", "hook[0].tags: the event push has no tag of its own, so the rule can never match"),
            ("deploy =", "labels = { a = \"b\" }\ndeploy =", "hook[0].labels: the event push has no label"),
            ("deploy =", "workflows = [\"ci.yml\"]\ndeploy =", "hook[0].workflows: the event push has no workflow"),
            ("deploy =", "paths = [\"/src\"]\ndeploy =", "hook[0].paths: \"/src\" never matches"),
            ("deploy =", "skip_markers = [\"\"]\ndeploy =", "hook[0].skip_markers: every commit message has an empty marker"),
            ("deploy =", "branch = [\"x\"]\ndeploy =", "hook[0].branch: unknown key; did you mean branches?"),
            ("\"{sha}\"", "\"{ref}\"", "hook[0].tag: {ref} is not known of the event push, so no tag can be made of it; it has {sha}"),
            ("\"{sha}\"", "\"{tag}\"", "hook[0].tag: {tag} is not known of the event push"),
            ("\"{sha}\"", "\"a b\"", "hook[0].tag: \"a b\" can never be the tag of an image"),
            ("\"{sha}\"", "\"latest\"", "hook[0].tag: the tag latest does not match tag_pattern of the service web"),
            ("tag = \"{sha}\"", "", "hook[0].tag: a rule that deploys needs the tag"),
            ("deploy = \"web\"", "deploy = \"none\"", "hook[0].deploy: there is no [service.none]"),
            ("deploy = \"web\"", "", "hook[0].deploy: a rule does one thing"),
            ("deploy = \"web\"", "deploy = \"web\"\nreload = \"content\"", "hook[0].deploy: a rule does one thing"),
            ("deploy = \"web\"", "reload = \"content\"", "hook[0].tag: a reload has no tag"),
            ("deploy = \"web\"\n        tag = \"{sha}\"", "reload = \"none\"", "hook[0].reload: there is no [dataset.none]"),
        ] {
            assert!(RULE.contains(from), "{from}");
            let problems = problems_of(&RULE.replacen(from, to, 1));
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:#?}");
        }
    }

    #[test]
    fn what_an_event_needs_and_what_a_forge_never_sends_is_said() {
        let rule = |forge: &str, event: &str, more: &str| {
            format!(
                "[[hook]]\nforge = \"{forge}\"\nrepository = \"acme/web\"\nevent = \"{event}\"\ndeploy = \"web\"\ntag = \"{{tag}}\"\n{more}\n"
            )
        };
        let sha = |rule: String| rule.replace("{tag}", "{sha}");
        let none: Option<&str> = None;
        for (rule, part) in [
            (rule("github", "release", ""), none),
            (rule("github", "tag", "tags = [\"v*\"]"), none),
            (rule("github", "package", "packages = [\"web\"]\nlabels = { a = \"b\" }"), none),
            (rule("github", "repository_dispatch", "types = [\"deploy\"]"), none),
            (sha(rule("github", "workflow_run", "branches = [\"main\"]\nworkflows = [\"build.yml\"]")), none),
            (sha(rule("codeberg", "workflow_run", "branches = [\"main\"]\nworkflows = [\"build.yml\"]")), none),
            (sha(rule("github", "deployment", "environments = [\"production\"]")), none),
            (rule("github", "package", ""), Some("hook[0].packages: any image of the repository would count")),
            (rule("github", "repository_dispatch", ""), Some("hook[0].types: any call of repository_dispatch would count")),
            (
                sha(rule("github", "workflow_run", "branches = [\"main\"]")),
                Some("hook[0].workflows: any workflow that succeeds would count"),
            ),
            (sha(rule("github", "deployment", "")), Some("hook[0].environments: a deployment to any environment would count")),
            (sha(rule("codeberg", "deployment", "environments = [\"x\"]")), Some("hook[0].event: only GitHub has the event deployment")),
            (
                rule("codeberg", "repository_dispatch", "types = [\"x\"]"),
                Some("hook[0].event: only GitHub has the event repository_dispatch"),
            ),
            (
                rule("codeberg", "package", "packages = [\"web\"]\nlabels = { a = \"b\" }"),
                Some("hook[0].labels: only GitHub tells the labels"),
            ),
        ] {
            let problems = problems_of(&rule);
            match part {
                None => assert_eq!(problems, Vec::<String>::new(), "{rule}"),
                Some(part) => assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:#?}"),
            }
        }
    }

    #[test]
    fn a_rule_behind_one_that_does_the_same_is_refused_by_name() {
        let part = "hook[1].event: the rule can never do anything, because hook[0] before it";
        let all = RULE.replace("\"main\"", "\"**\"");
        for second in [RULE.to_owned(), RULE.replace("branches", "actors = [\"ada\"]\nbranches"), RULE.replace("{sha}", "{short_sha}")] {
            for first in [RULE, &all] {
                let problems = problems_of(&format!("{first}{second}"));
                assert!(problems.len() == 1 && problems[0].contains(part), "{problems:#?}");
            }
        }
        for second in [
            RULE.replace("\"main\"", "\"next\""),
            RULE.replace("acme/web", "acme/api"),
            RULE.replace("deploy = \"web\"\n        tag = \"{sha}\"", "reload = \"content\""),
            RULE.replace("github", "codeberg"),
        ] {
            assert_eq!(problems_of(&format!("{RULE}{second}")), Vec::<String>::new(), "{second}");
        }
        assert_eq!(problems_of(&format!("{}{RULE}", RULE.replace("branches", "paths = [\"src/**\"]\nbranches"))), Vec::<String>::new());
    }

    #[test]
    fn a_rule_is_about_the_repository_that_the_service_is_built_from() {
        let source = "[service.web.source]\nforge = \"github\"\nrepository = \"acme/web\"\nreport = false\n";
        assert_eq!(problems_of(&format!("{source}{RULE}")), Vec::<String>::new());
        let problems = problems_of(&format!("{source}{}", RULE.replace("acme/web", "acme/api")));
        assert!(problems[0].contains("hook[0].repository: the service web is built from acme/web of github"), "{problems:#?}");
    }

    #[test]
    fn a_secret_that_anybody_knows_or_two_forges_have_is_refused_by_name_and_never_shown() {
        let good = "0123456789abcdef0123456789abcdef";
        for (secret, other, part) in [
            ("It's a Secret to Everybody", good, "the webhook secret of github is an example from the documentation"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", good, "the webhook secret of github repeats a single byte"),
            (good, good, "the webhook secret of codeberg is that of github as well"),
            ("short", good, "the secret is shorter than 24"),
            ("", good, "the secret is empty"),
        ] {
            let problems = problems_with(RULE, secret, other);
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:#?}");
            assert!(secret.is_empty() || problems.iter().all(|problem| !problem.contains(secret) || secret == "short"), "{problems:#?}");
        }
        let rotated = format!("{good}\n{}\n", good.replace('0', "f"));
        assert_eq!(problems_with(RULE, &rotated, "fedcba9876543210fedcba9876543210"), Vec::<String>::new());
    }
}
