//! `package` and `registry_package`: an image was published. GitHub and Forgejo tell it in different words.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::Commit;
use crate::model::HookEvent;
use crate::webhooks::fields::Fields;
use crate::webhooks::fields::missing;
use crate::webhooks::fields::quoted;
use crate::webhooks::notice::Notice;
use crate::webhooks::notice::Payload;
use crate::webhooks::notice::PayloadError;
use crate::webhooks::origin;

/// The label by which an image names the commit that it was built from.
const REVISION: &str = "org.opencontainers.image.revision";

pub(super) fn read(body: Fields<'_>) -> Result<Payload, PayloadError> {
    let nothing = |why: String| Ok(Payload::Nothing(why));
    let action = body.needed("action")?;
    // "published" of GitHub, "created" of Forgejo and Gitea.
    if !matches!(action, "published" | "created") {
        return nothing(format!("the package was not published: the action is {}", quoted(action)));
    }
    let package = match body.object("package")? {
        Some(package) => package,
        None => body.object("registry_package")?.ok_or_else(|| missing("package"))?,
    };
    let kinds = [package.text("package_type")?, package.text("ecosystem")?, package.text("type")?];
    let is_image = |kind: &&str| kind.eq_ignore_ascii_case("container") || kind.eq_ignore_ascii_case("docker");
    if !kinds.iter().flatten().any(is_image) {
        return nothing(format!(
            "the package is not a container image but {}",
            quoted(kinds.into_iter().flatten().next().unwrap_or("of no type"))
        ));
    }
    let of_body = origin::repository(body, "repository")?;
    let Some(repository) = of_body.map_or_else(|| origin::repository(package, "repository"), |found| Ok(Some(found)))? else {
        return nothing("the package belongs to no repository; link it to one in its settings at the forge".to_owned());
    };
    // GitHub's version is a digest, with the tag beside it; that of Forgejo and Gitea is the tag, or a digest where there is none.
    let tag = match package.text("package_version/container_metadata/tag/name")? {
        Some(tag) => Some(tag),
        None => package.text("version")?.filter(|version| !version.contains(':')),
    };
    let name = package.needed("name")?;
    let Some(tag) = tag else {
        return nothing(format!("this version of the package {} has no tag", quoted(name)));
    };
    let labels = labels(package)?;
    let commit = labels.get(REVISION).and_then(|revision| Commit::parse(revision).ok()).map(|commit| commit.to_string());
    let base = Notice::new(HookEvent::Package, repository, origin::sender(body)?);
    Ok(Payload::Notice(Box::new(Notice { tag: Some(tag.to_owned()), package: Some(name.to_owned()), commit, labels, ..base })))
}

fn labels(package: Fields<'_>) -> Result<BTreeMap<String, String>, PayloadError> {
    let labels = package.object("package_version/container_metadata/labels/all_labels")?;
    let texts = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    Ok(labels.map(|labels| labels.0.iter().filter_map(texts).collect()).unwrap_or_default())
}
