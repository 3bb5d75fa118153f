//! `repository_dispatch`: somebody who may write to the repository has called GitHub, with words of their own.

use crate::model::Commit;
use crate::model::HookEvent;
use crate::model::is_ref;
use crate::webhooks::fields::Fields;
use crate::webhooks::notice::Notice;
use crate::webhooks::notice::Payload;
use crate::webhooks::notice::PayloadError;
use crate::webhooks::origin;

pub(super) fn read(body: Fields<'_>) -> Result<Payload, PayloadError> {
    let kind = body.needed("action")?;
    let Some(repository) = origin::repository(body, "repository")? else {
        return Ok(Payload::Nothing("the payload names no repository".to_owned()));
    };
    // Free words: what is none of ours is left alone.
    let given = |name: &str| body.at(&format!("client_payload/{name}")).and_then(serde_json::Value::as_str);
    let branch = body.text("branch")?.filter(|branch| is_ref(branch));
    let notice = Notice {
        kind: Some(kind.to_owned()),
        tag: given("tag").filter(|tag| !tag.is_empty()).map(str::to_owned),
        commit: given("sha").and_then(|sha| Commit::parse(sha).ok()).map(|commit| commit.to_string()),
        git_ref: branch.map(|branch| format!("refs/heads/{branch}")),
        branch: branch.map(str::to_owned),
        ..Notice::new(HookEvent::RepositoryDispatch, repository, origin::sender(body)?)
    };
    Ok(Payload::Notice(Box::new(notice)))
}
