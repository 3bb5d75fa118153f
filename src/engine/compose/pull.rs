//! Getting images onto the host before anything stops.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use process::Cancel;
use process::Command;
use process::Stream;

use crate::engine::compose::project::Resolved;
use crate::engine::compose::project::Service;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::path_text;
use crate::engine::compose::up::Plan;
use crate::engine::error::EngineError;
use crate::model::ImageRef;

impl Compose {
    /// Pulls `reference` by its digest. `docker_config` is a folder with the credentials to use, where the host's own are
    /// not meant.
    ///
    /// # Errors
    /// When it is not there afterwards: the registry's words.
    pub async fn pull(
        &self,
        reference: &ImageRef,
        docker_config: Option<&Path>,
        deadline: Duration,
        cancel: &Cancel,
        mut each: impl FnMut(Stream, String),
    ) -> Result<(), EngineError> {
        let command = self.pull_command(reference, docker_config, deadline);
        let mut layers = Layers::default();
        let quieter = |stream: Stream, line: String| layers.progress(&line).into_iter().for_each(|line| each(stream, line));
        self.carry_out(&command, &format!("docker pull {}", reference.by_digest()), cancel, quieter).await
    }

    fn pull_command(&self, reference: &ImageRef, docker_config: Option<&Path>, deadline: Duration) -> Command {
        let mut command = self.docker_command(["pull".to_owned(), reference.by_digest()], deadline);
        if let Some(dir) = docker_config {
            command.env.insert("DOCKER_CONFIG".to_owned(), path_text(dir));
        }
        command
    }

    /// Pulls what `up` will start besides the pinned images and the host does not have, so that `up` needs no registry.
    /// Gives back the services whose images were pulled.
    ///
    /// # Errors
    /// When one cannot be pulled.
    pub async fn pull_missing(
        &self,
        resolved: &Resolved,
        deadline: Duration,
        cancel: &Cancel,
        mut each: impl FnMut(Stream, String),
    ) -> Result<Vec<String>, EngineError> {
        let others = |service: &&Service| service.active && service.pinned.is_none() && !service.builds;
        let others: Vec<(&str, &str)> = resolved.services.iter().filter(others).filter_map(named).collect();
        if self.are_known(&others.iter().map(|(_, image)| *image).collect(), cancel).await? {
            return Ok(Vec::new());
        }
        let plan = Plan::new(resolved, &self.containers(cancel).await?, self.mends);
        let wanted: Vec<(&str, &str)> = others.into_iter().filter(|(service, _)| plan.starts(service)).collect();
        let images: BTreeSet<&str> = wanted.iter().map(|(_, image)| *image).collect();
        let there = self.known(&images, cancel).await?;
        let missing: Vec<&str> = wanted.iter().filter(|(_, image)| !there.contains(*image)).map(|(service, _)| *service).collect();
        if !missing.is_empty() {
            let args: Vec<&str> = ["pull", "--quiet"].iter().chain(&missing).copied().collect();
            let command = self.compose_command(&self.files_with_ours(resolved).await?, &args, deadline);
            self.carry_out(&command, &format!("docker compose pull of {}", missing.join(", ")), cancel, &mut each).await?;
        }
        Ok(missing.into_iter().map(str::to_owned).collect())
    }
}

/// A service and its image, where that has a name.
fn named(service: &Service) -> Option<(&str, &str)> {
    Some((service.name.as_str(), service.image.as_deref()?))
}

/// What `docker pull` says about single layers, made into a count.
#[derive(Default)]
struct Layers {
    all: BTreeSet<String>,
    here: BTreeSet<String>,
}

impl Layers {
    /// The line to give on for `line`.
    fn progress(&mut self, line: &str) -> Option<String> {
        let Some((id, state)) = line.split_once(": ").filter(|(id, _)| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        else {
            return Some(line.to_owned());
        };
        self.all.insert(id.to_owned());
        let is_new = matches!(state, "Pull complete" | "Already exists") && self.here.insert(id.to_owned());
        is_new.then(|| format!("{} of {} layers are done", self.here.len(), self.all.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::engine::compose::pull::Layers;
    use crate::engine::compose::stack::QUESTION;
    use crate::engine::compose::stack::tests::engine;
    use crate::model::ImageRef;

    #[test]
    fn layers_become_a_count() {
        let mut layers = Layers::default();
        let said = "sha256:00: Pulling from acme/web\n0123456789ab: Pulling fs layer\nabcdef012345: Already exists\n0123456789ab: Download complete\n\
                    0123456789ab: Pull complete\n0123456789ab: Pull complete\nDigest: sha256:00";
        let lines: Vec<String> = said.lines().filter_map(|line| layers.progress(line)).collect();
        assert_eq!(lines, ["sha256:00: Pulling from acme/web", "1 of 2 layers are done", "2 of 2 layers are done", "Digest: sha256:00"]);
    }

    #[test]
    fn a_pull_names_the_content_and_its_own_credentials() {
        let digest = "0".repeat(64);
        let reference = ImageRef::parse(&format!("acme/web:1@sha256:{digest}")).unwrap();
        let command = engine("/srv/site").pull_command(&reference, Some(Path::new("/run/creds")), QUESTION);
        assert_eq!(command.command_line(), format!("docker pull acme/web@sha256:{digest}"));
        assert_eq!(command.env.get("DOCKER_CONFIG").map(String::as_str), Some("/run/creds"));
    }
}
