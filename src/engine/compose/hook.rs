//! Commands of hooks, as values.

use std::collections::BTreeMap;
use std::time::Duration;

use process::Cancel;
use process::Command;
use process::Ended;
use process::Stream;

use crate::engine::compose::project::Resolved;
use crate::engine::compose::stack::Compose;
use crate::engine::error::EngineError;

/// Where a hook runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookPlace {
    /// On this host, in the stack's folder.
    Host,
    /// In a running container of this service.
    Exec(String),
    /// In a new container of this image, which goes afterwards.
    Run(String),
}

impl Compose {
    /// The command of a hook: `argv` at `place`, with `env` (what the hook should know: service, tag, …) set there.
    ///
    /// # Errors
    /// When the stack's files cannot be read.
    pub async fn hook(
        &self,
        resolved: &Resolved,
        place: &HookPlace,
        argv: &[String],
        env: &BTreeMap<String, String>,
        deadline: Duration,
    ) -> Result<Command, EngineError> {
        Ok(match place {
            HookPlace::Host => {
                let mut command = self.docker_command(argv.iter().skip(1).cloned(), deadline);
                command.program = argv.first().cloned().unwrap_or_default();
                command.env.retain(|name, _| !name.starts_with("COMPOSE_"));
                command.env.extend(env.clone());
                command
            }
            HookPlace::Exec(service) => {
                let mut words: Vec<String> = vec!["exec".to_owned(), "-T".to_owned()];
                words.extend(given(env));
                words.push(service.clone());
                words.extend(argv.iter().cloned());
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.compose_command(&self.files_with_ours(resolved).await?, &words, deadline)
            }
            HookPlace::Run(image) => {
                let mut words = vec!["run".to_owned(), "--rm".to_owned(), "--init".to_owned()];
                words.extend(given(env));
                words.push(image.clone());
                words.extend(argv.iter().cloned());
                self.docker_command(words, deadline)
            }
        })
    }

    /// Carries out the command of a hook: it may do anything.
    ///
    /// # Errors
    /// When nothing more may be done on the host; nothing was started then.
    pub async fn run_hook(&self, command: &Command, cancel: &Cancel, each: impl FnMut(Stream, String)) -> Result<Ended, EngineError> {
        self.leave().await?.still_holds()?;
        Ok(process::run(command, cancel, each).await)
    }
}

fn given(env: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    env.iter().flat_map(|(name, value)| ["-e".to_owned(), format!("{name}={value}")])
}
