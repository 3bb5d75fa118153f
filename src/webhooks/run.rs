//! `workflow_run` of GitHub and Gitea, and `action_run_success` of Forgejo: a workflow has succeeded.
//!
//! The run of a pull request is told to the repository that it was opened for, and anybody can open one from a fork: only runs that the
//! repository itself has started count.

use crate::config::ForgeKind;
use crate::model::HookEvent;
use crate::model::is_ref;
use crate::model::json_object;
use crate::model::run_url_text;
use crate::webhooks::fields::Fields;
use crate::webhooks::fields::missing;
use crate::webhooks::fields::quoted;
use crate::webhooks::notice::Notice;
use crate::webhooks::notice::Payload;
use crate::webhooks::notice::PayloadError;
use crate::webhooks::origin;

/// What may have started a run. Strangers can cause all others: a pull request, an issue, a comment, a star.
const STARTED_BY: [&str; 6] = ["push", "workflow_dispatch", "schedule", "repository_dispatch", "release", "create"];
const FROM_A_FORK: &str = "the run is one of a fork";

pub(super) fn read(kind: ForgeKind, body: Fields<'_>) -> Result<Payload, PayloadError> {
    let nothing = |why: String| Ok(Payload::Nothing(why));
    let action = body.needed("action")?;
    if action != "completed" {
        return nothing(format!("the run has not ended: the action is {}", quoted(action)));
    }
    let run = body.object("workflow_run")?.ok_or_else(|| missing("workflow_run"))?;
    let conclusion = run.text("conclusion")?.unwrap_or_default();
    if conclusion != "success" {
        return nothing(format!("the run did not succeed: its conclusion is {}", quoted(conclusion)));
    }
    let Some(repository) = origin::repository(body, "repository")? else {
        return nothing("the payload names no repository".to_owned());
    };
    if let Some(why) = started_by_others(run.needed("event")?) {
        return nothing(why);
    }
    let is_told = run.0.contains_key("head_repository");
    let is_own = match origin::repository(run, "head_repository")? {
        Some(head) if head.1.is_some() && repository.1.is_some() => head == repository,
        Some(head) => head.0 == repository.0,
        // GitHub says null for a fork that is gone. Gitea may say nothing, where the event tells enough.
        None => kind == ForgeKind::Gitea && !is_told,
    };
    if !is_own {
        return nothing(FROM_A_FORK.to_owned());
    }
    let Some(commit) = run.commit("head_sha")? else { return nothing("the run names no commit".to_owned()) };
    let actor = origin::login(run, &["triggering_actor", "trigger_actor", "actor"])?
        .map_or_else(|| origin::sender(body), |login| Ok(Some(login)))?;
    let file = run.first_text(&["path"])?.map_or_else(|| body.text("workflow/path"), |path| Ok(Some(path)))?;
    let names = [run.text("name")?, body.text("workflow/name")?].into_iter().flatten().map(str::to_owned);
    let git_ref = match ref_in(file) {
        Some(git_ref) => Some(git_ref),
        None => ref_of_head(run)?,
    };
    let notice = Notice {
        branch: branch_of(git_ref.as_deref()),
        git_ref,
        commit: Some(commit),
        workflow: names.chain(file.into_iter().flat_map(names_of_file)).collect(),
        run_url: run.text("html_url")?.and_then(|url| run_url_text(url).ok()),
        run_number: run.number("run_number")?,
        ..Notice::new(HookEvent::WorkflowRun, repository, actor)
    };
    Ok(Payload::Notice(Box::new(notice)))
}

/// Forgejo tells a run of its own in other words.
pub(super) fn read_forgejo(body: Fields<'_>) -> Result<Payload, PayloadError> {
    let nothing = |why: String| Ok(Payload::Nothing(why));
    match body.needed("action")? {
        "success" => {}
        "recover" => return nothing("the same run is told as action_run_success as well".to_owned()),
        other => return nothing(format!("the run did not succeed: the action is {}", quoted(other))),
    }
    let run = body.object("run")?.ok_or_else(|| missing("run"))?;
    let status = run.text("status")?.unwrap_or("success");
    if status != "success" {
        return nothing(format!("the run did not succeed: its status is {}", quoted(status)));
    }
    let of_run = origin::repository(run, "repository")?;
    let Some(repository) = of_run.map_or_else(|| origin::repository(body, "repository"), |found| Ok(Some(found)))? else {
        return nothing("the payload names no repository".to_owned());
    };
    let events = [run.text("event")?, run.text("trigger_event")?];
    if events.iter().all(Option::is_none) {
        return Err(missing("run.event"));
    }
    if let Some(why) = events.into_iter().flatten().find_map(started_by_others) {
        return nothing(why);
    }
    if run.flag("is_fork_pull_request")? {
        return nothing(FROM_A_FORK.to_owned());
    }
    let Some(commit) = run.commit("commit_sha")? else { return nothing("the run names no commit".to_owned()) };
    let actor = origin::login(run, &["trigger_user"])?.map_or_else(|| origin::sender(body), |login| Ok(Some(login)))?;
    let git_ref = ref_of_forgejo(run)?;
    let notice = Notice {
        branch: branch_of(git_ref.as_deref()),
        git_ref,
        commit: Some(commit),
        workflow: run.text("workflow_id")?.into_iter().flat_map(names_of_file).collect(),
        run_url: run.text("html_url")?.and_then(|url| run_url_text(url).ok()),
        run_number: run.number("index_in_repo")?,
        ..Notice::new(HookEvent::WorkflowRun, repository, actor)
    };
    Ok(Payload::Notice(Box::new(notice)))
}

fn branch_of(git_ref: Option<&str>) -> Option<String> {
    git_ref?.strip_prefix("refs/heads/").map(str::to_owned)
}

/// The ref behind the path of a workflow, as Gitea has it: `build.yml@refs/heads/main`.
fn ref_in(file: Option<&str>) -> Option<String> {
    let (_, git_ref) = file?.split_once('@')?;
    (git_ref.starts_with("refs/") && is_ref(git_ref)).then(|| git_ref.to_owned())
}

/// The ref of a run, where only its short name is told: that of a tag for a release and whatever else is created, and else, as far as
/// can be known, that of a branch.
fn ref_of_head(run: Fields<'_>) -> Result<Option<String>, PayloadError> {
    let folder = if matches!(run.text("event")?, Some("release" | "create")) { "tags" } else { "heads" };
    Ok(run.text("head_branch")?.filter(|name| is_ref(name)).map(|name| format!("refs/{folder}/{name}")))
}

/// The ref of a run of Forgejo, from the event that started it: `prettyref` has the same word for a branch and for a tag. A schedule runs for a
/// branch.
fn ref_of_forgejo(run: Fields<'_>) -> Result<Option<String>, PayloadError> {
    let event = run.text("event_payload")?.and_then(|text| json_object(text.as_bytes()).ok());
    let told = event.as_ref().and_then(|event| Fields(event).git_ref("ref").ok()).map(str::to_owned);
    let is_scheduled = run.text("event")? == Some("schedule");
    let scheduled = || Ok(run.text("prettyref")?.filter(|name| is_ref(name) && is_scheduled).map(|name| format!("refs/heads/{name}")));
    told.map_or_else(scheduled, |git_ref| Ok(Some(git_ref)))
}

fn started_by_others(event: &str) -> Option<String> {
    (!STARTED_BY.contains(&event)).then(|| format!("the run was started by {}, which others can cause", quoted(event)))
}

/// `.github/workflows/build.yml@refs/heads/main` is known as that without the ref, and as `build.yml`.
fn names_of_file(path: &str) -> Vec<String> {
    let path = path.split('@').next().unwrap_or(path);
    let short = path.rsplit('/').next().unwrap_or(path);
    vec![path.to_owned(), short.to_owned()]
}
