//! The files of a stack, read before compose is called.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use crate::config::PinChoice;
use crate::engine::compose::dotenv::DotEnv;
use crate::engine::compose::files::HandFiles;
use crate::engine::compose::files::same;
use crate::engine::compose::replace;
use crate::engine::compose::sources::Sources;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::path_text;
use crate::engine::error::EngineError;

/// Variables that docker, compose or other programs interpret themselves.
const TAKEN: [&str; 4] = ["PATH", "HOME", "LANG", "PWD"];

/// The files of a stack as they are read before compose is called.
pub(super) struct Ground {
    pub(super) dotenv: DotEnv,
    pub(super) hand: HandFiles,
    /// The compose files that are a person's own, absolute.
    pub(super) files: Vec<PathBuf>,
    pub(super) sources: Sources,
}

impl Ground {
    /// Whether a person's bare `docker compose` in the folder reads the stack's files and no others.
    pub(super) fn is_read_by_hand(&self, dir: &Path) -> bool {
        let own = self.hand.own(dir);
        own.len() == self.files.len() && own.iter().zip(&self.files).all(|(one, other)| same(one, other))
    }
}

impl Compose {
    /// Reads the stack's files, and refuses what compose would fetch.
    pub(super) fn ground(&self) -> Result<Ground, EngineError> {
        let dir = &self.stack.dir;
        let dotenv = self.dotenv()?;
        let hand = HandFiles::find(dir, &dotenv)?;
        let files: Vec<PathBuf> = match self.stack.files.as_slice() {
            [] => hand.own(dir),
            files => files.iter().map(|file| dir.join(file)).collect(),
        };
        if files.is_empty() {
            let words = format!(
                "there is no compose file in {}: put compose.yaml there, or set files in the service's configuration",
                dir.display()
            );
            return Err(EngineError::Stack(words));
        }
        let mut all = files.clone();
        all.extend(hand.own(dir).into_iter().filter(|file| !files.iter().any(|known| same(known, file))));
        let sources = Sources::read(&all, dir, &dotenv.values())?;
        Ok(Ground { dotenv, hand, files, sources })
    }

    /// The stack's `.env`; an empty one where there is none.
    pub(super) fn dotenv(&self) -> Result<DotEnv, EngineError> {
        let path = self.stack.dir.join(".env");
        let bytes = replace::read(&path)?.unwrap_or_default();
        DotEnv::parse(bytes).map_err(|why| EngineError::Stack(format!("compose would not be able to read {}: {why}", path.display())))
    }

    /// Why mode `env` is impossible, as far as can be told without compose.
    pub(super) fn known_objection(&self, ground: &Ground) -> Option<String> {
        if let Some(ours) = ground.hand.ours(&self.stack.dir) {
            return Some(format!(
                "the stack is already pinned by {} (for mode env, remove this file and its name from COMPOSE_FILE)",
                ours.display()
            ));
        }
        if self.stack.mode == PinChoice::Override {
            return Some("the configuration says so".to_owned());
        }
        let mut seen = BTreeSet::new();
        for pin in &self.stack.pins {
            let Some(variable) = &pin.variable else { return Some(format!("no variable is configured for {}", pin.image)) };
            if TAKEN.contains(&variable.as_str()) || ["COMPOSE_", "DOCKER_"].iter().any(|start| variable.starts_with(start)) {
                return Some(format!("the variable {variable} is reserved by compose"));
            }
            if !seen.insert(variable) {
                return Some(format!("the variable {variable} is used for two images"));
            }
            if let Some(reader) = ground.dotenv.read_too_early(variable).first() {
                return Some(format!("in .env, {reader} uses {variable} before the line that sets it"));
            }
            let switches = |template: &&String| [":+", "+"].iter().any(|sign| template.contains(&format!("${{{variable}{sign}")));
            if let Some(template) = ground.sources.templates.iter().find(switches) {
                return Some(format!("{template} changes when {variable} is set for the first time"));
            }
        }
        self.reads_dotenv(ground)
            .then(|| "a service uses .env as its env_file, so a new variable there would recreate that service".to_owned())
    }

    /// Whether a service has the content of `.env` as its environment or labels.
    pub(super) fn reads_dotenv(&self, ground: &Ground) -> bool {
        let dotenv = self.stack.dir.join(".env");
        ground.sources.env_files.iter().any(|file| same(file, &dotenv) || path_text(file).contains('$'))
    }
}
