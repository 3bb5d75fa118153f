//! Whether and how a stack can be pinned, proven by what compose makes of it.

use std::collections::BTreeSet;
use std::path::Path;

use process::Cancel;
use serde_json::Value;

use crate::config::PinChoice;
use crate::engine::compose::fields::items;
use crate::engine::compose::fields::members;
use crate::engine::compose::fields::text;
use crate::engine::compose::files::listing;
use crate::engine::compose::files::same;
use crate::engine::compose::ground::Ground;
use crate::engine::compose::mode::PinMode;
use crate::engine::compose::project::Resolved;
use crate::engine::compose::project::Use;
use crate::engine::compose::project::devices;
use crate::engine::compose::project::repository;
use crate::engine::compose::project::same_repository;
use crate::engine::compose::project::services;
use crate::engine::compose::proof::difference;
use crate::engine::compose::proof::is_used;
use crate::engine::compose::proof::marker;
use crate::engine::compose::proof::objection;
use crate::engine::compose::proof::without_markers;
use crate::engine::compose::redact::redacted;
use crate::engine::compose::runs::Runs;
use crate::engine::compose::stack::Compose;
use crate::engine::error::EngineError;

impl Compose {
    /// Reads the stack and proves how it can be pinned; nothing is changed. Two runs of compose in the usual case.
    /// `key` is what secrets in [`Resolved::config_with`] are fingerprinted with.
    ///
    /// # Errors
    /// [`EngineError::Stack`] when the stack cannot be pinned as configured, with what to change in it.
    pub async fn resolve(&self, key: &[u8], cancel: &Cancel) -> Result<Resolved, EngineError> {
        let (ground, before) = self
            .on_disk(|engine| {
                let ground = engine.ground()?;
                engine.refuse_files_elsewhere(&ground)?;
                let inputs = engine.inputs(&ground)?;
                Ok((ground, inputs))
            })
            .await?;
        let mut resolved = self.resolve_on(&ground, key, cancel).await?;
        // Edited while compose read it, it may be neither the one nor the other.
        let after = self.on_disk(Self::inputs_now).await.ok().flatten();
        resolved.inputs = before.filter(|before| Some(before) == after.as_ref());
        Ok(resolved)
    }

    /// Files that a repository brings must not make compose read the host's own: it would show what stands there.
    fn refuse_files_elsewhere(&self, ground: &Ground) -> Result<(), EngineError> {
        if self.below.is_none() {
            return Ok(());
        }
        let why = "so nobody can tell that it stays in the stack's folder; write its name out in the repository";
        if ground.sources.is_computed {
            return Err(EngineError::Stack(format!("the compose files name a file that is read by a variable, {why}")));
        }
        let Some(file) = ground.sources.elsewhere(&self.stack.dir, &self.stack.files) else { return Ok(()) };
        Err(EngineError::Stack(format!(
            "the compose files read {}, which is outside of the stack's folder; a stack whose files come from git reads only files in its folder",
            file.display()
        )))
    }

    async fn resolve_on(&self, ground: &Ground, key: &[u8], cancel: &Cancel) -> Result<Resolved, EngineError> {
        let objection = match self.marked_runs(ground, cancel).await? {
            Ok(runs) => return self.resolved(ground, &runs, key, PinMode::Env, self.why_env()),
            Err(objection) => objection,
        };
        let why = match self.stack.mode {
            PinChoice::Env => return Err(self.not_env(&objection)),
            PinChoice::Override if ground.hand.ours(&self.stack.dir).is_none() => "the configuration says so".to_owned(),
            _ => objection,
        };
        let runs = self.runs(ground, false, cancel).await?;
        self.resolved(ground, &runs, key, PinMode::Override, why)
    }

    /// What compose makes of the stack with markers in place of the pins, or what speaks against mode `env`.
    async fn marked_runs(&self, ground: &Ground, cancel: &Cancel) -> Result<Result<Runs, String>, EngineError> {
        if let Some(known) = self.known_objection(ground) {
            return Ok(Err(known));
        }
        let runs = self.runs(ground, true, cancel).await?;
        self.refuse_unused_variable(&runs.ours)?;
        Ok(self.seen_objection(&runs).map_or(Ok(runs), Err))
    }

    /// A variable that the compose files do not use is a slip of the pen: whoever names one means to pin by it.
    fn refuse_unused_variable(&self, config: &Value) -> Result<(), EngineError> {
        for (index, pin) in self.stack.pins.iter().enumerate() {
            let Some(variable) = pin.variable.as_ref().filter(|_| !is_used(config, &marker(2, index))) else { continue };
            let mut services = members(config, &["services"]).map(|(name, service)| (name, text(service, &["image"])));
            // An image that nobody uses is said elsewhere.
            let Some((name, image)) = services.find(|(_, image)| same_repository(repository(image), pin.image.as_str())) else { continue };
            return Err(EngineError::Stack(format!(
                "the compose files in {} do not use the variable {variable}: the image of {name} is {image}. Write the image as {}:${{{variable}}}, \
                 name the variable that the compose files use, or leave `variable` out, and an override file pins the image",
                self.stack.dir.display(),
                pin.image
            )));
        }
        Ok(())
    }

    /// What compose's own answers say against mode `env`.
    fn seen_objection(&self, runs: &Runs) -> Option<String> {
        let marked = |config: &Value, run: u8| {
            let mut pins = self.stack.pins.iter().enumerate();
            pins.find_map(|(index, pin)| objection(config, pin, &marker(run, index)))
        };
        if let Some(said) = marked(&runs.ours, 2) {
            return Some(said);
        }
        if self.holds_dotenv(&runs.ours) {
            return Some("the file .env is mounted into a service, as a volume, config or secret".to_owned());
        }
        runs.hand.as_ref().ok().and_then(|hand| marked(hand, 1).filter(|said| said.contains("changes more")))
    }

    /// Whether the file `.env` itself is mounted somewhere: replacing it would leave the old one in the container.
    fn holds_dotenv(&self, config: &Value) -> bool {
        let dotenv = self.stack.dir.join(".env");
        let is_it = |path: &str| !path.is_empty() && same(Path::new(path), &dotenv);
        let files = ["configs", "secrets"].map(|section| members(config, &[section]).any(|(_, value)| is_it(text(value, &["file"]))));
        let mounted = |service: &Value| items(service, &["volumes"]).any(|volume| is_it(text(volume, &["source"])));
        files.contains(&true) || members(config, &["services"]).any(|(_, service)| mounted(service))
    }

    fn why_env(&self) -> String {
        let variables: Vec<&str> = self.stack.pins.iter().filter_map(|pin| pin.variable.as_deref()).collect();
        format!("compose confirms that {} in .env changes only the image", variables.join(" and "))
    }

    fn not_env(&self, objection: &str) -> EngineError {
        EngineError::Stack(format!(
            "the stack in {} cannot be pinned by a variable in .env: {objection}. Change that, or set pin to \"auto\" or \"override\"",
            self.stack.dir.display()
        ))
    }

    fn resolved(&self, ground: &Ground, runs: &Runs, key: &[u8], mode: PinMode, why_mode: String) -> Result<Resolved, EngineError> {
        let pins = self.stack.pins.len();
        let ours = without_markers(&runs.ours, 2, pins);
        let hand = runs.hand.as_ref().map(|hand| without_markers(hand, 1, pins));
        let mut services = services(&ours, &runs.active);
        let mut uses = Vec::new();
        for (index, pin) in self.stack.pins.iter().enumerate() {
            let is_used =
                |image: &Option<String>| image.as_deref().is_some_and(|image| same_repository(repository(image), pin.image.as_str()));
            let mut found = Vec::new();
            for service in services.iter_mut().filter(|service| is_used(&service.image)) {
                service.pinned = Some(index);
                found.push(service.name.clone());
            }
            if found.is_empty() {
                return Err(self.unused(pin.image.as_str(), &ours));
            }
            uses.push(Use { pin: pin.clone(), services: found });
        }
        if !services.iter().any(|service| service.active && service.pinned.is_some()) {
            return Err(EngineError::Stack(format!(
                "in the stack in {}, no active service uses the pinned image: add COMPOSE_PROFILES with its profile to .env",
                self.stack.dir.display()
            )));
        }
        let keeps_dotenv = self.reads_dotenv(ground) || self.holds_dotenv(&ours);
        if mode == PinMode::Override {
            self.where_it_stands(ground, keeps_dotenv)?;
        }
        let pinned = uses.iter().flat_map(|used| used.services.clone()).collect();
        let mut warnings = self.hand_warnings(ground, hand.as_ref().map_err(|said| said.as_str()), &ours, &pinned, mode);
        let by_hand = warnings.is_empty();
        warnings.extend(runs.notes.iter().cloned());
        Ok(Resolved {
            mode,
            why_mode,
            uses,
            services,
            warnings,
            by_hand,
            keeps_dotenv,
            config: redacted(&ours, key),
            devices: devices(&ours),
            files: ground.files.clone(),
            also: BTreeSet::new(),
            anew: BTreeSet::new(),
            inputs: None,
        })
    }

    fn unused(&self, image: &str, config: &Value) -> EngineError {
        let images: BTreeSet<&str> = members(config, &["services"]).map(|(_, service)| repository(text(service, &["image"]))).collect();
        let images: Vec<&str> = images.into_iter().filter(|image| !image.is_empty()).collect();
        EngineError::Stack(format!(
            "no service of the stack in {} uses the image {image}; its images are {}: set image to one of them, as the compose file \
            writes it",
            self.stack.dir.display(),
            if images.is_empty() { "none".to_owned() } else { images.join(", ") }
        ))
    }

    /// What a person's own `docker compose up -d` in the folder would do otherwise than we do.
    fn hand_warnings(
        &self,
        ground: &Ground,
        hand: Result<&Value, &str>,
        ours: &Value,
        pinned: &BTreeSet<String>,
        mode: PinMode,
    ) -> Vec<String> {
        let dir = &self.stack.dir;
        let mut warnings = Vec::new();
        let name = hand.ok().map_or("", |hand| text(hand, &["name"]));
        if hand.is_ok() && name != self.stack.project {
            warnings.push(format!(
                "docker compose, run by hand in {}, uses the project name {name} instead of {project}: add COMPOSE_PROJECT_NAME={project} \
                to .env",
                dir.display(),
                project = self.stack.project
            ));
        }
        let is_same = ground.is_read_by_hand(dir);
        let will_list = mode == PinMode::Override && ground.hand.variable.is_none();
        if !is_same && !will_list {
            let line = listing(dir, &ground.files, &ground.hand.separator);
            warnings.push(format!(
                "docker compose, run by hand in {}, reads other files than the stack has: add COMPOSE_FILE={line} to .env",
                dir.display()
            ));
        } else if let Err(said) = hand
            && !will_list
        {
            warnings.push(format!("docker compose, run by hand in {}, does not work: {said}", dir.display()));
        }
        if let (true, Ok(hand)) = (warnings.is_empty() && is_same, hand)
            && let Some(path) = difference(hand, ours, pinned)
        {
            warnings.push(format!(
                "docker compose, run by hand in {}, resolves {path} differently from docker compose --project-directory",
                dir.display()
            ));
        }
        warnings
    }
}
