//! `deployment`: somebody has created one at GitHub.

use serde_json::Value;

use crate::model::HookEvent;
use crate::webhooks::fields::Fields;
use crate::webhooks::fields::missing;
use crate::webhooks::fields::quoted;
use crate::webhooks::notice::Notice;
use crate::webhooks::notice::Payload;
use crate::webhooks::notice::PayloadError;
use crate::webhooks::origin;

pub(super) fn read(body: Fields<'_>) -> Result<Payload, PayloadError> {
    let nothing = |why: String| Ok(Payload::Nothing(why));
    let action = body.text("action")?.unwrap_or("created");
    if action != "created" {
        return nothing(format!("the deployment was not created: the action is {}", quoted(action)));
    }
    let deployment = body.object("deployment")?.ok_or_else(|| missing("deployment"))?;
    let environment = deployment.needed("environment")?;
    // Our own results are deployments there as well: each would order the next one.
    let is_ours = deployment.at("payload").is_some_and(is_ours);
    if is_ours || environment.starts_with("tagalong/") {
        return nothing("tagalong itself has created the deployment".to_owned());
    }
    let task = deployment.text("task")?.unwrap_or("deploy");
    if task != "deploy" {
        return nothing(format!("the task of the deployment is {}, not deploy", quoted(task)));
    }
    let Some(repository) = origin::repository(body, "repository")? else {
        return nothing("the payload names no repository".to_owned());
    };
    let Some(commit) = deployment.commit("sha")? else { return nothing("the deployment names no commit".to_owned()) };
    let actor = origin::login(deployment, &["creator"])?.map_or_else(|| origin::sender(body), |login| Ok(Some(login)))?;
    let notice = Notice {
        commit: Some(commit),
        // A short name may be a branch, a tag or a commit.
        git_ref: deployment.git_ref("ref").ok().map(str::to_owned),
        environment: Some(environment.to_owned()),
        ..Notice::new(HookEvent::Deployment, repository, actor)
    };
    Ok(Payload::Notice(Box::new(notice)))
}

/// Whether the free part of a deployment is what we write there. GitHub gives it back as an object or as its text.
fn is_ours(payload: &Value) -> bool {
    match payload {
        Value::Object(map) => map.contains_key("tagalong"),
        Value::String(text) => text.contains("\"tagalong\""),
        _ => false,
    }
}
