//! Everything that compose makes a stack of, as fingerprints: where they are the same, so is what it makes.
//!
//! The pin itself is left out, since tagalong writes it. Where compose may read more than we know of, there are no fingerprints,
//! and it is asked again.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use sha2::Digest as _;
use sha2::Sha256;

use crate::engine::compose::dotenv::DotEnv;
use crate::engine::compose::files::is_ours;
use crate::engine::compose::ground::Ground;
use crate::engine::compose::mode::PinMode;
use crate::engine::compose::replace;
use crate::engine::compose::stack::Compose;
use crate::engine::error::EngineError;

type Fingerprint = [u8; 32];

/// What compose reads of a stack, at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inputs {
    /// Every file but `.env`, with its content where it is there.
    files: BTreeMap<PathBuf, Option<Fingerprint>>,
    /// What a person's own command reads, in order, without an override file of ours.
    by_hand: Vec<PathBuf>,
    dotenv: Fingerprint,
    /// The same with nothing behind the variables of the pins.
    dotenv_unpinned: Fingerprint,
}

impl Inputs {
    /// Whether compose makes of both the same stack, but for what is pinned in `mode`.
    pub(super) fn make_the_same(&self, other: &Self, mode: PinMode) -> bool {
        let is_same_dotenv = match mode {
            PinMode::Env => self.dotenv_unpinned == other.dotenv_unpinned,
            PinMode::Override => self.dotenv == other.dotenv,
        };
        is_same_dotenv && self.files == other.files && self.by_hand == other.by_hand
    }
}

impl Compose {
    /// The stack's inputs as they are now; none where compose may read what we do not know of.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn inputs_now(&self) -> Result<Option<Inputs>, EngineError> {
        self.inputs(&self.ground()?)
    }

    pub(super) fn inputs(&self, ground: &Ground) -> Result<Option<Inputs>, EngineError> {
        let are_others_named = ground.sources.is_computed || ground.dotenv.value("COMPOSE_ENV_FILES").is_some();
        let Some(unpinned) = self.without_pins(&ground.dotenv).filter(|_| !are_others_named) else { return Ok(None) };
        let mut files = BTreeMap::new();
        for file in ground.sources.files() {
            files.insert(file.to_owned(), fingerprint_of(file)?);
        }
        Ok(Some(Inputs {
            files,
            by_hand: ground.hand.own(&self.stack.dir),
            dotenv: fingerprint(ground.dotenv.bytes()),
            dotenv_unpinned: fingerprint(unpinned.bytes()),
        }))
    }

    fn without_pins(&self, dotenv: &DotEnv) -> Option<DotEnv> {
        let variables = self.stack.pins.iter().filter_map(|pin| pin.variable.as_deref());
        variables.into_iter().try_fold(dotenv.clone(), |dotenv, variable| dotenv.set(variable, "")).ok()
    }
}

/// A file's content, unless tagalong wrote it.
fn fingerprint_of(file: &Path) -> Result<Option<Fingerprint>, EngineError> {
    Ok(replace::read(file)?.filter(|bytes| !is_ours(bytes)).map(|bytes| fingerprint(&bytes)))
}

fn fingerprint(bytes: &[u8]) -> Fingerprint {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::engine::compose::inputs::Inputs;
    use crate::engine::compose::mode::PinMode;
    use crate::engine::compose::stack::tests::engine;

    const FILES: [(&str, &str); 7] = [
        (
            "compose.yaml",
            "include: [{path: sub/more.yaml, env_file: include.env}]\nservices:\n  web:\n    image: acme/web:${WEB_TAG}\n    env_file: [web.env, {path: later.env, required: false}]\n  base:\n    extends: {file: base.yaml, service: base}\n",
        ),
        ("sub/more.yaml", "services: {more: {image: acme/more:1}}\n"),
        ("base.yaml", "services: {base: {image: acme/base:1, label_file: labels}}\n"),
        ("web.env", "MODE=blue\n"),
        ("include.env", "A=1\n"),
        ("labels", "a=b\n"),
        (".env", "# ours\nCOLOUR=red\n"),
    ];

    fn write(dir: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.join(name), text).unwrap();
    }

    fn inputs(dir: &Path) -> Option<Inputs> {
        engine(&dir.display().to_string()).inputs_now().unwrap()
    }

    fn stack() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in FILES {
            write(dir.path(), name, text);
        }
        dir
    }

    #[test]
    fn the_pin_alone_makes_no_difference() {
        let dir = stack();
        let before = inputs(dir.path()).unwrap();
        for env in ["# ours\nCOLOUR=red\nWEB_TAG=new@sha256:00\n", "# ours\nCOLOUR=red\nWEB_TAG=other\n"] {
            write(dir.path(), ".env", env);
            let after = inputs(dir.path()).unwrap();
            assert!(before.make_the_same(&after, PinMode::Env), "{env}");
            // Where the pin is held otherwise, the variable is an edit like any other.
            assert!(!before.make_the_same(&after, PinMode::Override), "{env}");
        }
    }

    #[test]
    fn every_edit_makes_one() {
        let edits = FILES.iter().map(|(name, text)| (*name, format!("{text}# edited\n")));
        let others = ["later.env", "compose.override.yaml", "sub/.env"].map(|name| (name, "services: {}\n".to_owned()));
        for (name, text) in edits.chain(others) {
            let dir = stack();
            let before = inputs(dir.path()).unwrap();
            write(dir.path(), name, &text);
            let after = inputs(dir.path()).unwrap();
            assert!(!before.make_the_same(&after, PinMode::Env) && !before.make_the_same(&after, PinMode::Override), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_believed() {
        for (name, text) in [(".env", "COMPOSE_ENV_FILES=a.env\n"), ("compose.yaml", "services: {web: {env_file: '${NOWHERE_SET}.env'}}\n")]
        {
            let dir = stack();
            write(dir.path(), name, text);
            assert_eq!(inputs(dir.path()), None, "{text}");
        }
    }
}
