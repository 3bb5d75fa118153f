//! `release`: it was published.

use crate::model::HookEvent;
use crate::model::is_ref;
use crate::webhooks::fields::Fields;
use crate::webhooks::fields::quoted;
use crate::webhooks::notice::Notice;
use crate::webhooks::notice::Payload;
use crate::webhooks::notice::PayloadError;
use crate::webhooks::origin;

pub(super) fn read(body: Fields<'_>) -> Result<Payload, PayloadError> {
    let action = body.needed("action")?;
    if action != "published" {
        return Ok(Payload::Nothing(format!("the release was not published: the action is {}", quoted(action))));
    }
    let release = body.object("release")?.ok_or_else(|| crate::webhooks::fields::missing("release"))?;
    if release.flag("draft")? {
        return Ok(Payload::Nothing("the release is a draft".to_owned()));
    }
    let Some(repository) = origin::repository(body, "repository")? else {
        return Ok(Payload::Nothing("the payload names no repository".to_owned()));
    };
    let tag = release.needed("tag_name")?;
    let git_ref = format!("refs/tags/{tag}");
    if !is_ref(&git_ref) {
        return Err(PayloadError("In the payload, release.tag_name must be the name of a tag.".to_owned()));
    }
    let base = Notice::new(HookEvent::Release, repository, origin::sender(body)?);
    let notice = Notice { tag: Some(tag.to_owned()), git_ref: Some(git_ref), is_prerelease: release.flag("prerelease")?, ..base };
    Ok(Payload::Notice(Box::new(notice)))
}
