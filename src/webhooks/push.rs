//! `push`: a branch or a tag.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::HookEvent;
use crate::webhooks::fields::Fields;
use crate::webhooks::fields::is_nothing;
use crate::webhooks::fields::quoted;
use crate::webhooks::notice::Changes;
use crate::webhooks::notice::Notice;
use crate::webhooks::notice::Payload;
use crate::webhooks::notice::PayloadError;
use crate::webhooks::origin;

/// GitHub names no more commits of one push.
const MOST_COMMITS: usize = 2048;

pub(super) fn read(body: Fields<'_>) -> Result<Payload, PayloadError> {
    let git_ref = body.git_ref("ref")?;
    let after = body.commit("after")?;
    let Some(after) = after.filter(|_| !body.flag("deleted").unwrap_or(true)) else {
        return Ok(Payload::Nothing(format!("the push deletes {}", quoted(git_ref))));
    };
    let Some(repository) = origin::repository(body, "repository")? else {
        return Ok(Payload::Nothing("the payload names no repository".to_owned()));
    };
    let actor = match origin::login(body, &["sender", "pusher"])? {
        Some(login) => Some(login),
        None => body.text("pusher/name")?.map(|name| origin::named("pusher", name)).transpose()?,
    };
    let message = message(body, &after)?;
    let git_ref_text = git_ref.to_owned();
    let notice = if let Some(branch) = git_ref.strip_prefix("refs/heads/") {
        let changes = Some(changes(body)?);
        let base = Notice::new(HookEvent::Push, repository, actor);
        Notice { branch: Some(branch.to_owned()), commit: Some(after), git_ref: Some(git_ref_text), message, changes, ..base }
    } else if let Some(tag) = git_ref.strip_prefix("refs/tags/") {
        // `after` may be the object of an annotated tag.
        let head = if body.at("head_commit/id").is_some() { body.commit("head_commit/id")? } else { None };
        let base = Notice::new(HookEvent::Tag, repository, actor);
        Notice { tag: Some(tag.to_owned()), commit: head.or(Some(after)), git_ref: Some(git_ref_text), message, ..base }
    } else {
        return Ok(Payload::Nothing(format!("{} is neither a branch nor a tag", quoted(git_ref))));
    };
    Ok(Payload::Notice(Box::new(notice)))
}

/// The message of the pushed commit.
fn message(body: Fields<'_>, after: &str) -> Result<Option<String>, PayloadError> {
    if let Some(text) = body.text("head_commit/message")? {
        return Ok(Some(text.to_owned()));
    }
    let is_head = |commit: &&Value| commit.get("id").and_then(Value::as_str).is_some_and(|id| id.eq_ignore_ascii_case(after));
    let head = body.list("commits")?.and_then(|commits| commits.iter().find(is_head));
    Ok(head.and_then(|commit| commit.get("message")?.as_str()).map(str::to_owned))
}

/// The files that the commits of the push name. Where the list may lack some, it says so.
fn changes(body: Fields<'_>) -> Result<Changes, PayloadError> {
    let commits = body.list("commits")?.map_or(&[][..], Vec::as_slice);
    let mut paths = BTreeSet::new();
    let mut unnamed = false;
    for commit in commits {
        let commit =
            commit.as_object().map(Fields).ok_or_else(|| PayloadError("In the payload, commits must be a list of objects.".to_owned()))?;
        let lists = [commit.list("added")?, commit.list("removed")?, commit.list("modified")?];
        unnamed |= lists.iter().all(Option::is_none);
        for path in lists.into_iter().flatten().flatten() {
            paths.insert(
                path.as_str().ok_or_else(|| PayloadError("In the payload, a changed file must be a string.".to_owned()))?.to_owned(),
            );
        }
    }
    let total = body.number("total_commits")?.and_then(|total| usize::try_from(total).ok());
    let is_new = body.text("before")?.is_none_or(is_nothing);
    let incomplete = [
        (commits.is_empty(), "it names no commits"),
        (is_new, "the branch is new"),
        (body.flag("forced")?, "the push was forced"),
        (total.is_some_and(|total| total > commits.len()), "the forge names only the newest of its commits"),
        (commits.len() >= MOST_COMMITS, "the forge names only the newest of its commits"),
        (unnamed, "the forge names no files of some of its commits"),
    ];
    let incomplete = incomplete.into_iter().find_map(|(holds, why)| holds.then_some(why));
    Ok(Changes { paths: paths.into_iter().collect(), incomplete })
}
