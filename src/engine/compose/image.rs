//! Images that are on the host.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use process::Cancel;
use process::Ended;
use process::capture;
use serde_json::Value;

use crate::engine::compose::fields::at;
use crate::engine::compose::fields::items;
use crate::engine::compose::fields::json;
use crate::engine::compose::fields::members;
use crate::engine::compose::fields::text;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::error::EngineError;

/// An image on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalImage {
    /// Its id, `sha256:…`: what containers made from it carry.
    pub id: String,
    /// Its tags, `REPOSITORY:TAG`.
    pub tags: Vec<String>,
    /// The digests it is known by, `REPOSITORY@sha256:…`.
    pub repo_digests: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its platform, `linux/amd64` or `linux/arm/v7`.
    pub platform: String,
    /// Its size on the disk.
    pub size_bytes: u64,
    /// Whether it has a health check of its own.
    pub has_healthcheck: bool,
}

impl Compose {
    /// The image that `name` (a reference or an id) names on this host; none where it is not here.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub async fn image(&self, name: &str, cancel: &Cancel) -> Result<Option<LocalImage>, EngineError> {
        let command = self.docker_command(["image", "inspect", "--format", "{{json .}}", name], QUESTION);
        let mut turn = self.turn();
        loop {
            let captured = capture(&command, cancel).await;
            let done = match captured.ended {
                Ended::Exit(0) => Ok(Some(local(&json(captured.out.trim())?))),
                Ended::Exit(_) if captured.err.contains("No such image") => Ok(None),
                ended => Err(EngineError::ended(&format!("looking for the image {name}"), &command.program, &ended, &captured.err)),
            };
            if !self.again(&mut turn, &done, cancel).await? {
                return done;
            }
        }
    }

    /// Whether all of `names` are on this host, by one question.
    pub(super) async fn are_known(&self, names: &BTreeSet<&str>, cancel: &Cancel) -> Result<bool, EngineError> {
        if names.is_empty() {
            return Ok(true);
        }
        let args = ["image", "inspect", "--format", "{{.Id}}"].into_iter().chain(names.iter().copied());
        match self.ask(&self.docker_command(args, QUESTION), "looking for images", cancel).await {
            Ok(_) => Ok(true),
            Err(EngineError::Failed { why, .. }) if why.contains("No such image") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Which of `names` are on this host.
    pub(super) async fn known<'a>(&self, names: &BTreeSet<&'a str>, cancel: &Cancel) -> Result<BTreeSet<&'a str>, EngineError> {
        let mut known = BTreeSet::new();
        for name in names {
            if self.image(name, cancel).await?.is_some() {
                known.insert(*name);
            }
        }
        Ok(known)
    }
}

fn local(value: &Value) -> LocalImage {
    let texts = |path: &[&str]| items(value, path).filter_map(Value::as_str).map(str::to_owned).collect();
    let labels =
        members(value, &["Config", "Labels"]).map(|(name, value)| (name.to_owned(), value.as_str().unwrap_or_default().to_owned()));
    let platform = ["Os", "Architecture", "Variant"].map(|key| text(value, &[key]));
    let test = items(value, &["Config", "Healthcheck", "Test"]).next().and_then(Value::as_str);
    LocalImage {
        id: text(value, &["Id"]).to_owned(),
        tags: texts(&["RepoTags"]),
        repo_digests: texts(&["RepoDigests"]),
        labels: labels.collect(),
        platform: platform.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"),
        size_bytes: at(value, &["Size"]).and_then(Value::as_u64).unwrap_or_default(),
        has_healthcheck: test.is_some_and(|test| test != "NONE"),
    }
}
