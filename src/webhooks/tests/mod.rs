//! Payloads as the forges send them, cut down to what is read and a little beside it, and what the rules make of them.

use serde_json::Value;
use serde_json::json;

use super::Act;
use super::Payload;
use super::judge;
use super::read;
use crate::api::NewDeployment;
use crate::config::ForgeKind;
use crate::config::WebhookAction;
use crate::config::WebhookFilters;
use crate::config::WebhookRule;
use crate::model::ForgeRepository;
use crate::model::Glob;
use crate::model::HookEvent;
use crate::model::KeyId;
use crate::model::ServiceName;
use crate::model::TagTemplate;

const BEFORE: &str = "1111111111111111111111111111111111111111";
const COMMIT: &str = "2222222222222222222222222222222222222222";
const ZEROS: &str = "0000000000000000000000000000000000000000";

fn rule(event: HookEvent, tag: &str, filters: WebhookFilters) -> WebhookRule {
    WebhookRule {
        path: "hook[0]".to_owned(),
        forge: KeyId::parse("forge").unwrap(),
        repository: ForgeRepository::parse("acme/web").unwrap(),
        repository_id: None,
        event,
        filters,
        skip_markers: vec!["[skip ci]".to_owned(), "skip-checks: true".to_owned()],
        action: WebhookAction::Deploy(ServiceName::parse("web").unwrap(), TagTemplate::parse(tag, event).unwrap()),
    }
}

fn globs(patterns: &[&str]) -> Vec<Glob> {
    patterns.iter().map(|pattern| Glob::parse(pattern).unwrap()).collect()
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What one rule makes of a payload, or why nothing.
fn outcome(rule: &WebhookRule, kind: ForgeKind, event: &str, body: &Value) -> Result<NewDeployment, String> {
    match read(kind, event, body.to_string().as_bytes()).map_err(|error| format!("400: {error}"))? {
        Payload::Ping => Err("ping".to_owned()),
        Payload::Nothing(why) => Err(why),
        Payload::Notice(notice) => match judge([rule], &notice).remove(0).outcome? {
            Act::Deploy(ask) => Ok(*ask),
            Act::Reload { .. } => panic!("no rule here reloads"),
        },
    }
}

fn with(body: &Value, place: &str, value: Value) -> Value {
    let mut body = body.clone();
    if let Some(there) = body.pointer_mut(place) {
        *there = value;
    } else {
        let (parent, name) = place.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
    }
    body
}

fn without(body: &Value, place: &str) -> Value {
    let mut body = body.clone();
    let (parent, name) = place.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    body
}

/// Each changed payload, and a part of why nothing is made of it; none: it becomes an order all the same.
fn table(rule: &WebhookRule, kind: ForgeKind, event: &str, rows: &[(Value, Option<&str>)]) {
    for (body, part) in rows {
        match (outcome(rule, kind, event, body), part) {
            (Ok(_), None) => {}
            (Err(why), Some(part)) if why.contains(part) => {}
            (found, part) => panic!("{part:?}: {found:?} of {body:#}"),
        }
    }
}

/// A push of GitHub.
fn push_github() -> Value {
    json!({
        "ref": "refs/heads/main", "before": BEFORE, "after": COMMIT, "created": false, "deleted": false, "forced": false, "base_ref": null,
        "compare": "https://github.com/acme/web/compare/111...222",
        "commits": [{
            "id": COMMIT, "tree_id": BEFORE, "distinct": true, "message": "Fix it", "timestamp": "2026-11-22T07:00:00+01:00",
            "author": { "name": "Ada", "email": null, "username": "ada" }, "added": [], "removed": [], "modified": ["src/main.rs"]
        }],
        "head_commit": { "id": COMMIT, "message": "Fix it", "added": [], "removed": [], "modified": ["src/main.rs"] },
        "repository": { "id": 7001, "name": "web", "full_name": "acme/web", "fork": false, "owner": { "name": "acme", "login": "acme" }, "pushed_at": 1_795_000_000 },
        "pusher": { "name": "ada", "email": null }, "sender": { "login": "ada", "id": 1 }, "organization": { "login": "acme" }
    })
}

/// A push of Forgejo or Gitea.
fn push_forgejo() -> Value {
    json!({
        "ref": "refs/heads/main", "before": BEFORE, "after": COMMIT, "compare_url": "https://git.example.com/acme/web/compare/1...2",
        "commits": [{
            "id": COMMIT, "message": "Fix it\n", "url": "https://git.example.com/acme/web/commit/2", "author": { "name": "Ada", "email": "", "username": "ada" },
            "verification": null, "timestamp": "2026-11-22T07:00:00+01:00", "added": null, "removed": null, "modified": ["src/main.rs"]
        }],
        "total_commits": 1,
        "head_commit": { "id": COMMIT, "message": "Fix it\n", "added": null, "removed": null, "modified": ["src/main.rs"] },
        "repository": { "id": 12, "owner": { "id": 3, "login": "acme", "username": "acme" }, "name": "web", "full_name": "acme/web", "fork": false },
        "pusher": { "id": 1, "login": "ada", "username": "ada", "email": "ada@noreply.example" }, "sender": { "id": 1, "login": "ada", "username": "ada" }
    })
}

#[test]
fn a_push_of_every_forge_becomes_the_same_order() {
    let rule =
        rule(HookEvent::Push, "{sha}", WebhookFilters { branches: globs(&["main"]), actors: texts(&["Ada"]), ..WebhookFilters::default() });
    for (kind, body) in [(ForgeKind::GitHub, push_github()), (ForgeKind::Forgejo, push_forgejo()), (ForgeKind::Gitea, push_forgejo())] {
        let ask = outcome(&rule, kind, "push", &body).unwrap();
        assert_eq!((ask.tag.as_str(), ask.commit.as_deref(), ask.git_ref.as_deref()), (COMMIT, Some(COMMIT), Some("refs/heads/main")));
        assert_eq!(ask.reason.as_deref(), Some("push of \"refs/heads/main\" in acme/web by \"ada\" (hook[0])"));
        assert!(!ask.force && !ask.dry_run && ask.digest.is_none());
        table(
            &rule,
            kind,
            "push",
            &[
                (with(&body, "/head_commit", json!(null)), None),
                (with(&body, "/commits", json!(null)), None),
                (without(&body, "/commits"), None),
                (without(&body, "/pusher"), None),
                (without(&body, "/sender"), None),
                (with(&without(&body, "/sender"), "/pusher", json!({ "name": "ada" })), None),
                (with(&without(&body, "/sender"), "/pusher", json!({ "name": "eve" })), Some("\"eve\" is not one of actors")),
                (without(&without(&body, "/sender"), "/pusher"), Some("the delivery does not say which it is")),
                (with(&body, "/sender/login", json!("ada\nroot")), Some("400: In the payload, sender must be an account of the forge.")),
                (
                    with(&without(&body, "/sender"), "/pusher", json!({ "name": "$(id)" })),
                    Some("400: In the payload, pusher must be an account"),
                ),
                (with(&body, "/unknown", json!({ "x": [1, null] })), None),
                (with(&body, "/repository/id", json!(null)), None),
                (with(&body, "/ref", json!("refs/heads/next")), Some("\"next\" is not one of branches (main)")),
                (with(&body, "/ref", json!("refs/heads/Main")), Some("\"Main\" is not one of branches")),
                (with(&body, "/ref", json!("refs/tags/main")), Some("it is for push, and this is tag")),
                (with(&body, "/ref", json!("refs/notes/main")), Some("neither a branch nor a tag")),
                (with(&body, "/deleted", json!(true)), Some("the push deletes \"refs/heads/main\"")),
                (with(&body, "/after", json!(ZEROS)), Some("the push deletes")),
                (without(&body, "/repository"), Some("names no repository")),
                (with(&body, "/repository", json!(null)), Some("names no repository")),
                (
                    with(&body, "/repository/full_name", json!("eve/web")),
                    Some("it is for the repository acme/web, and this is \"eve/web\""),
                ),
                (with(&body, "/repository/full_name", json!("Acme/web")), Some("it is for the repository acme/web")),
                (with(&body, "/repository/full_name", json!("acme/web/x")), Some("it is for the repository acme/web")),
                (with(&body, "/head_commit/message", json!("Fix it [skip ci]")), Some("has the marker \"[skip ci]\"")),
                (with(&body, "/head_commit/message", json!("Fix it\n\n\nskip-checks:true")), Some("has the marker \"skip-checks: true\"")),
                (without(&body, "/ref"), Some("400: The payload has no ref.")),
                (with(&body, "/ref", json!("main")), Some("400: In the payload, ref must be a git ref")),
                (with(&body, "/ref", json!("refs/heads/$(id) x")), Some("400: In the payload, ref must be a git ref")),
                (with(&body, "/ref", json!(["refs/heads/main"])), Some("400: In the payload, ref must be a string.")),
                (with(&body, "/after", json!("HEAD")), Some("400: In the payload, after must be the whole name of a commit")),
                (with(&body, "/after", json!(null)), Some("400: The payload has no after.")),
                (with(&body, "/deleted", json!("false")), Some("the push deletes")),
                (with(&body, "/repository", json!("acme/web")), Some("400: In the payload, repository must be an object.")),
                (with(&body, "/repository/full_name", json!(7)), Some("400: In the payload, full_name must be a string.")),
            ],
        );
    }
    // Only the message of the head counts, wherever it stands.
    let body = without(&with(&push_github(), "/commits/0/message", json!("[skip ci]")), "/head_commit");
    table(&rule, ForgeKind::GitHub, "push", &[(body, Some("has the marker"))]);
}

#[test]
fn a_repository_is_known_by_its_id_where_the_rule_has_one() {
    let rule = WebhookRule { repository_id: Some(7001), ..rule(HookEvent::Push, "{sha}", WebhookFilters::default()) };
    table(
        &rule,
        ForgeKind::GitHub,
        "push",
        &[
            (push_github(), None),
            (with(&push_github(), "/repository/id", json!(7002)), Some("its repository_id is 7001, and the delivery's is 7002")),
            (without(&push_github(), "/repository/id"), Some("the delivery's is none")),
            (with(&push_github(), "/repository/id", json!("7001")), Some("400: In the payload, id must be a whole number.")),
        ],
    );
}

#[test]
fn changed_files_are_filtered_and_a_list_that_may_lack_some_matches() {
    let filters = WebhookFilters { paths: globs(&["src/**"]), paths_ignore: globs(&["src/doc/**"]), ..WebhookFilters::default() };
    let rule = rule(HookEvent::Push, "{sha}", filters);
    let body = push_github();
    let files = |added: &[&str], removed: &[&str]| {
        with(&with(&with(&body, "/commits/0/modified", json!([])), "/commits/0/added", json!(added)), "/commits/0/removed", json!(removed))
    };
    let none = Some("none of the 1 changed files counts");
    table(
        &rule,
        ForgeKind::GitHub,
        "push",
        &[
            (body.clone(), None),
            (files(&["src/a"], &[]), None),
            (files(&[], &["src/a"]), None),
            (files(&["README.md"], &[]), none),
            (files(&["src/doc/a.md"], &[]), none),
            (files(&["src/doc/a.md", "src/a"], &[]), None),
            // Whether one of them counts is not known.
            (with(&files(&["README.md"], &[]), "/before", json!(ZEROS)), None),
            (with(&files(&["README.md"], &[]), "/forced", json!(true)), None),
            (with(&files(&["README.md"], &[]), "/total_commits", json!(2)), None),
            (with(&files(&["README.md"], &[]), "/total_commits", json!(1)), none),
            (with(&files(&["README.md"], &[]), "/commits", json!([])), None),
            (with(&files(&["README.md"], &[]), "/commits", json!(vec![json!({ "added": ["README.md"] }); 2048])), None),
            (with(&files(&["README.md"], &[]), "/commits", json!(vec![json!({ "added": ["README.md"] }); 2047])), none),
            (with(&body, "/commits/0", json!({ "id": COMMIT, "added": null, "removed": null, "modified": null })), None),
            (with(&files(&["README.md"], &[]), "/commits/0/modified", json!(null)), none),
            (with(&body, "/commits/0/added", json!([7])), Some("400: In the payload, a changed file must be a string.")),
            (with(&body, "/commits", json!([7])), Some("400: In the payload, commits must be a list of objects.")),
        ],
    );
    let Payload::Notice(notice) =
        read(ForgeKind::GitHub, "push", with(&files(&["README.md"], &[]), "/forced", json!(true)).to_string().as_bytes()).unwrap()
    else {
        panic!("it is a push")
    };
    assert_eq!(
        judge([&rule], &notice)[0].note.as_deref(),
        Some("no changed file is known to count, but the list may lack some: the push was forced")
    );
}

#[test]
fn a_tag_is_its_commit_and_not_its_object() {
    let rule = rule(HookEvent::Tag, "{version}", WebhookFilters { tags: globs(&["v*"]), ..WebhookFilters::default() });
    let body = with(&with(&push_github(), "/ref", json!("refs/tags/v1.2.3")), "/after", json!("3".repeat(40)));
    let ask = outcome(&rule, ForgeKind::GitHub, "push", &body).unwrap();
    assert_eq!((ask.tag.as_str(), ask.commit.as_deref(), ask.git_ref.as_deref()), ("1.2.3", Some(COMMIT), Some("refs/tags/v1.2.3")));
    table(
        &rule,
        ForgeKind::GitHub,
        "push",
        &[
            (with(&body, "/ref", json!("refs/tags/1.2.3")), Some("\"1.2.3\" is not one of tags (v*)")),
            (with(&body, "/ref", json!("refs/tags/v1+2")), Some("no tag can be made of the delivery")),
            (with(&body, "/deleted", json!(true)), Some("the push deletes")),
            (with(&body, "/head_commit/message", json!("[skip ci]")), Some("has the marker")),
        ],
    );
    table(&rule, ForgeKind::Forgejo, "create", &[(json!({ "ref": "v1.2.3", "ref_type": "tag" }), Some("told by the event push as well"))]);
    table(&rule, ForgeKind::Forgejo, "delete", &[(json!({ "ref": "v1.2.3", "ref_type": "tag" }), Some("was deleted"))]);
}

#[test]
fn only_a_published_release_counts() {
    let rule = rule(HookEvent::Release, "{tag}", WebhookFilters::default());
    let body = json!({
        "action": "published",
        "release": { "id": 1, "tag_name": "v2", "target_commitish": "main", "name": null, "draft": false, "prerelease": false, "author": { "login": "ada" }, "assets": [] },
        "repository": { "id": 7001, "full_name": "acme/web" }, "sender": { "login": "ada" }
    });
    let ask = outcome(&rule, ForgeKind::Forgejo, "release", &body).unwrap();
    assert_eq!((ask.tag.as_str(), ask.commit, ask.git_ref.as_deref()), ("v2", None, Some("refs/tags/v2")));
    table(
        &rule,
        ForgeKind::GitHub,
        "release",
        &[
            (with(&body, "/action", json!("created")), Some("the action is \"created\"")),
            (with(&body, "/action", json!("updated")), Some("the action is \"updated\"")),
            (with(&body, "/action", json!("deleted")), Some("the action is \"deleted\"")),
            (with(&body, "/release/draft", json!(true)), Some("is a draft")),
            (with(&body, "/release/prerelease", json!(true)), Some("it is a pre-release")),
            (with(&body, "/release/tag_name", json!("--x y")), Some("400")),
            (with(&body, "/release/tag_name", json!("")), Some("400: The payload has no tag_name.")),
            (without(&body, "/release"), Some("400: The payload has no release.")),
            (without(&body, "/action"), Some("400: The payload has no action.")),
            (without(&body, "/repository"), Some("names no repository")),
        ],
    );
    let rule = WebhookRule { filters: WebhookFilters { prereleases: true, ..WebhookFilters::default() }, ..rule };
    table(&rule, ForgeKind::GitHub, "release", &[(with(&body, "/release/prerelease", json!(true)), None)]);
}

fn digest() -> String {
    format!("sha256:{}", "a".repeat(64))
}

/// An image in the registry of GitHub, told under this name.
fn package_github(name: &str) -> Value {
    let labels = json!({ "description": "", "all_labels": { "org.opencontainers.image.revision": COMMIT, "stage": "live", "odd": 7 } });
    let tag = json!({ "name": "main-7", "digest": digest() });
    json!({
        "action": "published",
        (name): {
            "id": 10, "name": "web", "namespace": "acme", "ecosystem": "CONTAINER", "package_type": "CONTAINER",
            "package_version": { "id": 11, "version": digest(), "container_metadata": { "tag": tag, "labels": labels } }
        },
        "repository": { "id": 7001, "full_name": "acme/web" }, "sender": { "login": "ada" }
    })
}

/// An image in the registry of Forgejo or Gitea.
fn package_forgejo() -> Value {
    json!({
        "action": "created",
        "package": {
            "id": 3, "owner": { "login": "acme" }, "repository": { "id": 7001, "full_name": "acme/web" }, "creator": { "login": "ada" },
            "type": "container", "name": "web", "version": "main-7"
        },
        "organization": { "login": "acme" }, "sender": { "login": "ada" }
    })
}

#[test]
fn an_image_is_told_in_the_words_of_each_forge() {
    let filters = WebhookFilters { packages: texts(&["web"]), tags: globs(&["main-*"]), ..WebhookFilters::default() };
    let mut rule = rule(HookEvent::Package, "{tag}", filters);
    let of_forgejo = package_forgejo();
    for (kind, event, body, commit) in [
        (ForgeKind::GitHub, "package", package_github("package"), Some(COMMIT)),
        (ForgeKind::GitHub, "registry_package", package_github("registry_package"), Some(COMMIT)),
        (ForgeKind::Forgejo, "package", of_forgejo.clone(), None),
        (ForgeKind::Gitea, "package", of_forgejo.clone(), None),
    ] {
        let ask = outcome(&rule, kind, event, &body).unwrap();
        assert_eq!((ask.tag.as_str(), ask.commit.as_deref()), ("main-7", commit), "{body:#}");
    }
    let body = package_github("package");
    let version = "/package/package_version";
    table(
        &rule,
        ForgeKind::GitHub,
        "package",
        &[
            (with(&body, "/action", json!("updated")), Some("the action is \"updated\"")),
            (
                with(&with(&body, "/package/package_type", json!("npm")), "/package/ecosystem", json!("npm")),
                Some("the package is not a container image but \"npm\""),
            ),
            (with(&body, "/package/package_type", json!("docker")), None),
            (with(&body, &format!("{version}/container_metadata/tag/name"), json!("")), Some("has no tag")),
            (with(&body, &format!("{version}/container_metadata/tag/name"), json!("other")), Some("\"other\" is not one of tags")),
            (with(&body, &format!("{version}/container_metadata/tag"), json!(null)), Some("has no tag")),
            (with(&body, version, json!(null)), Some("has no tag")),
            (with(&body, "/package/name", json!("worker")), Some("\"worker\" is not one of packages")),
            (with(&body, "/repository", json!(null)), Some("belongs to no repository")),
            (without(&body, "/package"), Some("400: The payload has no package.")),
        ],
    );
    table(
        &rule,
        ForgeKind::Forgejo,
        "package",
        &[
            (with(&of_forgejo, "/action", json!("deleted")), Some("the action is \"deleted\"")),
            (with(&of_forgejo, "/package/type", json!("maven")), Some("not a container image but \"maven\"")),
            (with(&of_forgejo, "/package/version", json!(digest())), Some("has no tag")),
            (with(&of_forgejo, "/package/repository", json!(null)), Some("belongs to no repository")),
        ],
    );
    rule.filters.labels.insert("stage".to_owned(), "live".to_owned());
    table(
        &rule,
        ForgeKind::GitHub,
        "package",
        &[
            (body.clone(), None),
            (
                with(&body, &format!("{version}/container_metadata/labels/all_labels/stage"), json!("test")),
                Some("the label stage of the image is \"test\", not \"live\""),
            ),
            (without(&body, &format!("{version}/container_metadata/labels")), Some("the label stage of the image is missing")),
        ],
    );
}

const RUN_URL: &str = "https://github.com/acme/web/actions/runs/9";

/// A run of GitHub or Gitea.
fn run_github() -> Value {
    json!({
        "action": "completed",
        "workflow_run": {
            "id": 9, "name": "Build", "head_branch": "main", "head_sha": COMMIT, "path": ".github/workflows/build.yml", "run_number": 17, "event": "push",
            "status": "completed", "conclusion": "success", "html_url": RUN_URL, "pull_requests": [], "actor": { "login": "ada" },
            "triggering_actor": { "login": "ada" }, "head_repository": { "id": 7001, "full_name": "acme/web" }, "repository": { "id": 7001, "full_name": "acme/web" }
        },
        "workflow": { "id": 1, "name": "Build", "path": ".github/workflows/build.yml" },
        "repository": { "id": 7001, "full_name": "acme/web" }, "sender": { "login": "ada" }
    })
}

#[test]
fn only_a_run_that_the_repository_itself_started_and_that_succeeded_counts() {
    let filters = WebhookFilters { branches: globs(&["main"]), workflows: texts(&["build.yml"]), ..WebhookFilters::default() };
    let rule = rule(HookEvent::WorkflowRun, "{short_sha}-{run_number}", filters);
    let body = run_github();
    let ask = outcome(&rule, ForgeKind::GitHub, "workflow_run", &body).unwrap();
    assert_eq!((ask.tag.as_str(), ask.commit.as_deref(), ask.git_ref.as_deref()), ("2222222-17", Some(COMMIT), Some("refs/heads/main")));
    assert_eq!((ask.run_number, ask.run_url.as_deref()), (Some(17), Some(RUN_URL)));
    let run = |name: &str, value: Value| with(&body, &format!("/workflow_run/{name}"), value);
    let fork = json!({ "id": 666, "full_name": "eve/web" });
    table(
        &rule,
        ForgeKind::GitHub,
        "workflow_run",
        &[
            (with(&body, "/action", json!("requested")), Some("the run has not ended: the action is \"requested\"")),
            (with(&body, "/action", json!("in_progress")), Some("the run has not ended")),
            (run("conclusion", json!("failure")), Some("its conclusion is \"failure\"")),
            (run("conclusion", json!("cancelled")), Some("its conclusion is \"cancelled\"")),
            (run("conclusion", json!(null)), Some("the run did not succeed")),
            (run("event", json!("pull_request")), Some("started by \"pull_request\", which others can cause")),
            (run("event", json!("pull_request_target")), Some("which others can cause")),
            (run("event", json!("issue_comment")), Some("which others can cause")),
            (run("event", json!("workflow_run")), Some("which others can cause")),
            (run("event", json!("schedule")), None),
            (run("event", json!("workflow_dispatch")), None),
            (run("head_repository", fork.clone()), Some("the run is one of a fork")),
            (run("head_repository", json!({ "id": 666, "full_name": "acme/web" })), Some("the run is one of a fork")),
            (run("head_repository", json!(null)), Some("the run is one of a fork")),
            (without(&body, "/workflow_run/head_repository"), Some("the run is one of a fork")),
            (run("head_branch", json!("next")), Some("\"next\" is not one of branches")),
            (run("head_branch", json!(null)), Some("the delivery does not say which it is")),
            (run("head_sha", json!(ZEROS)), Some("names no commit")),
            (run("head_sha", json!("main")), Some("400")),
            (run("path", json!(".github/workflows/test.yml")), Some("is not one of workflows (build.yml)")),
            (run("path", json!(".github/workflows/build.yml@refs/heads/main")), None),
            (run("pull_requests", json!([{ "number": 7 }])), None),
            (run("triggering_actor", json!(null)), None),
            (without(&body, "/workflow"), None),
            (without(&body, "/workflow_run"), Some("400: The payload has no workflow_run.")),
            (run("run_number", json!(null)), Some("does not say what {run_number} is")),
            (run("run_number", json!("17")), Some("400: In the payload, run_number must be a whole number.")),
        ],
    );
    // Gitea says the ref behind the path, and does not always name where the head is.
    let tag = run("path", json!("build.yml@refs/tags/main"));
    assert!(outcome(&rule, ForgeKind::Gitea, "workflow_run", &run("path", json!("build.yml@refs/heads/main"))).is_ok());
    table(
        &rule,
        ForgeKind::Gitea,
        "workflow_run",
        &[
            (tag, Some("the delivery does not say which it is")),
            (without(&body, "/workflow_run/head_repository"), None),
            (run("head_repository", json!(null)), Some("the run is one of a fork")),
            (run("head_repository", fork), Some("the run is one of a fork")),
        ],
    );
}

#[test]
fn a_run_of_forgejo_is_told_in_its_own_words() {
    let filters = WebhookFilters {
        branches: globs(&["main"]),
        workflows: texts(&["build.yml"]),
        actors: texts(&["ada"]),
        ..WebhookFilters::default()
    };
    let rule = rule(HookEvent::WorkflowRun, "{sha}", filters);
    let body = json!({
        "action": "success",
        "run": {
            "id": 5, "title": "Fix it", "repository": { "id": 12, "full_name": "acme/web" }, "workflow_id": "build.yml", "index_in_repo": 17,
            "trigger_user": { "login": "ada", "username": "ada" }, "prettyref": "main", "is_ref_deleted": false, "commit_sha": COMMIT,
            "is_fork_pull_request": false, "event": "push", "event_payload": push_forgejo().to_string(), "trigger_event": "push", "status": "success",
            "html_url": "https://git.example.com/acme/web/actions/runs/17"
        },
        "last_run": null, "prior_status": "running"
    });
    let ask = outcome(&rule, ForgeKind::Forgejo, "action_run_success", &body).unwrap();
    assert_eq!((ask.tag.as_str(), ask.run_number, ask.git_ref.as_deref()), (COMMIT, Some(17), Some("refs/heads/main")));
    let run = |name: &str, value: Value| with(&body, &format!("/run/{name}"), value);
    table(
        &rule,
        ForgeKind::Forgejo,
        "action_run_success",
        &[
            (with(&body, "/action", json!("failure")), Some("the action is \"failure\"")),
            (with(&body, "/action", json!("recover")), Some("told as action_run_success as well")),
            (run("status", json!("failure")), Some("its status is \"failure\"")),
            (run("is_fork_pull_request", json!(true)), Some("the run is one of a fork")),
            (run("event", json!("pull_request")), Some("which others can cause")),
            (run("trigger_event", json!("pull_request_target")), Some("which others can cause")),
            (without(&without(&body, "/run/event"), "/run/trigger_event"), Some("400: The payload has no run.event.")),
            // A tag that is called as the branch is.
            (
                run("event_payload", json!(with(&push_forgejo(), "/ref", json!("refs/tags/main")).to_string())),
                Some("does not say which it is"),
            ),
            (run("event_payload", json!("no json")), Some("does not say which it is")),
            (with(&with(&run("event_payload", json!("")), "/run/event", json!("schedule")), "/run/trigger_event", json!("schedule")), None),
            (run("trigger_user", json!({ "username": "eve" })), Some("\"eve\" is not one of actors")),
            (run("commit_sha", json!(ZEROS)), Some("names no commit")),
            (run("repository", json!(null)), Some("names no repository")),
            (without(&body, "/run"), Some("400: The payload has no run.")),
        ],
    );
}

#[test]
fn a_deployment_of_our_own_orders_no_other_one() {
    let rule = rule(HookEvent::Deployment, "{sha}", WebhookFilters { environments: texts(&["production"]), ..WebhookFilters::default() });
    let body = json!({
        "action": "created",
        "deployment": { "id": 1, "sha": COMMIT, "ref": "main", "task": "deploy", "environment": "production", "payload": {}, "creator": { "login": "ada" }, "description": null },
        "workflow": null, "workflow_run": null, "repository": { "id": 7001, "full_name": "acme/web" }, "sender": { "login": "ada" }
    });
    assert_eq!(outcome(&rule, ForgeKind::GitHub, "deployment", &body).unwrap().git_ref, None, "a short name may be anything");
    let deployment = |name: &str, value: Value| with(&body, &format!("/deployment/{name}"), value);
    table(
        &rule,
        ForgeKind::GitHub,
        "deployment",
        &[
            (without(&body, "/action"), None),
            (deployment("payload", json!("")), None),
            (deployment("environment", json!("staging")), Some("\"staging\" is not one of environments")),
            (deployment("environment", json!("tagalong/web")), Some("tagalong itself has created the deployment")),
            (deployment("payload", json!({ "tagalong": "01X" })), Some("tagalong itself has created the deployment")),
            (deployment("payload", json!("{\"tagalong\":\"01X\"}")), Some("tagalong itself has created the deployment")),
            (deployment("task", json!("rollback")), Some("the task of the deployment is \"rollback\"")),
            (deployment("sha", json!(ZEROS)), Some("names no commit")),
            (without(&body, "/deployment"), Some("400: The payload has no deployment.")),
        ],
    );
}

#[test]
fn a_call_of_repository_dispatch_says_a_tag_and_nothing_of_the_image() {
    let filters =
        WebhookFilters { types: texts(&["deploy"]), branches: globs(&["main"]), actors: texts(&["ada"]), ..WebhookFilters::default() };
    let rule = rule(HookEvent::RepositoryDispatch, "{tag}", filters);
    let body = json!({
        "action": "deploy", "branch": "main", "client_payload": { "tag": "v7", "image": "evil.example/x", "sha": COMMIT.to_uppercase() },
        "repository": { "id": 7001, "full_name": "acme/web" }, "sender": { "login": "ada" }, "installation": { "id": 2 }
    });
    let ask = outcome(&rule, ForgeKind::GitHub, "repository_dispatch", &body).unwrap();
    assert_eq!((ask.tag.as_str(), ask.commit.as_deref(), ask.git_ref.as_deref()), ("v7", Some(COMMIT), Some("refs/heads/main")));
    table(
        &rule,
        ForgeKind::GitHub,
        "repository_dispatch",
        &[
            (with(&body, "/action", json!("other")), Some("\"other\" is not one of types")),
            (with(&body, "/branch", json!("next")), Some("\"next\" is not one of branches")),
            (with(&body, "/sender/login", json!("eve")), Some("\"eve\" is not one of actors")),
            (with(&body, "/client_payload", json!(null)), Some("does not say what {tag} is")),
            (with(&body, "/client_payload/tag", json!("$(id)")), Some("no tag can be made of the delivery")),
            (with(&body, "/client_payload/tag", json!({ "a": 1 })), Some("does not say what {tag} is")),
            (with(&body, "/client_payload/sha", json!("main")), None),
            (without(&body, "/action"), Some("400: The payload has no action.")),
        ],
    );
}

#[test]
fn the_first_rule_that_matches_decides_for_its_service() {
    let narrow = rule(HookEvent::Push, "live-{sha}", WebhookFilters { branches: globs(&["main"]), ..WebhookFilters::default() });
    let wide = WebhookRule {
        path: "hook[1]".to_owned(),
        ..rule(HookEvent::Push, "{sha}", WebhookFilters { branches: globs(&["**"]), ..WebhookFilters::default() })
    };
    let Payload::Notice(notice) = read(ForgeKind::GitHub, "push", push_github().to_string().as_bytes()).unwrap() else {
        panic!("it is a push")
    };
    let verdicts = judge([&narrow, &wide], &notice);
    assert!(matches!(&verdicts[0].outcome, Ok(Act::Deploy(ask)) if ask.tag.as_str().starts_with("live-")));
    assert_eq!(verdicts[1].outcome.as_ref().unwrap_err(), "hook[0] before it decides for web already");
}
