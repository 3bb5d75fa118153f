//! Whether and how a stack can be pinned, proven by what compose makes of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::config::PinChoice;
use crate::engine::compose::Compose;
use crate::engine::compose::QUESTION;
use crate::engine::compose::shown;
use crate::engine::dotenv::DotEnv;
use crate::engine::error::EngineError;
use crate::engine::fields::at;
use crate::engine::fields::items;
use crate::engine::fields::members;
use crate::engine::fields::text;
use crate::engine::files::HandFiles;
use crate::engine::files::LISTED;
use crate::engine::files::same;
use crate::engine::project::PinMode;
use crate::engine::project::Resolved;
use crate::engine::project::Use;
use crate::engine::project::repository;
use crate::engine::project::same_repository;
use crate::engine::project::services;
use crate::engine::proof::difference;
use crate::engine::proof::marker;
use crate::engine::proof::objection;
use crate::engine::proof::without_markers;
use crate::engine::redact::redacted;
use crate::engine::replace;
use crate::engine::sources::Sources;
use crate::process::Cancel;
use crate::process::Captured;
use crate::process::Command;
use crate::process::Ended;
use crate::process::capture;

/// The files of a stack as they are read before compose is called.
pub(super) struct Ground {
    pub(super) dotenv: DotEnv,
    pub(super) hand: HandFiles,
    /// The compose files that are a person's own, absolute.
    pub(super) files: Vec<PathBuf>,
    sources: Sources,
}

/// What compose made of the stack.
struct Runs {
    /// By hand: no project, no files named. None where a hand-run does not work, with what it said.
    hand: Result<Value, String>,
    /// As we call it, without an override file of ours, every profile on.
    ours: Value,
    notes: Vec<String>,
}

impl Compose {
    /// Reads the stack and proves how it can be pinned; nothing is changed. Two runs of compose in the usual case.
    /// `key` is what secrets in [`Resolved::config_with`] are fingerprinted with.
    ///
    /// # Errors
    /// [`EngineError::Stack`] when the stack cannot be pinned as configured, with what to change in it.
    pub async fn resolve(&self, key: &[u8], cancel: &Cancel) -> Result<Resolved, EngineError> {
        let ground = self.ground()?;
        let objection = match self.marked_runs(&ground, cancel).await? {
            Ok(runs) => return self.resolved(&ground, &runs, key, PinMode::Env, self.why_env()),
            Err(objection) => objection,
        };
        let why = match self.stack.mode {
            PinChoice::Env => return Err(self.not_env(&objection)),
            PinChoice::Override if ground.hand.ours(&self.stack.dir).is_none() => "the configuration asks for it".to_owned(),
            _ => objection,
        };
        let runs = self.runs(&ground, false, cancel).await?;
        self.resolved(&ground, &runs, key, PinMode::Override, why)
    }

    /// What compose makes of the stack with markers in place of the pins, or what speaks against mode `env`.
    async fn marked_runs(&self, ground: &Ground, cancel: &Cancel) -> Result<Result<Runs, String>, EngineError> {
        if let Some(known) = self.known_objection(ground) {
            return Ok(Err(known));
        }
        let runs = self.runs(ground, true, cancel).await?;
        Ok(self.seen_objection(&runs).map_or(Ok(runs), Err))
    }

    pub(super) fn ground(&self) -> Result<Ground, EngineError> {
        let dir = &self.stack.dir;
        let dotenv = self.dotenv()?;
        let hand = HandFiles::find(dir, &dotenv)?;
        let files: Vec<PathBuf> = match self.stack.files.as_slice() {
            [] => hand.own(dir),
            files => files.iter().map(|file| dir.join(file)).collect(),
        };
        if files.is_empty() {
            let words =
                format!("there is no compose file in {}: put compose.yaml there, or name the files in the service's stack", dir.display());
            return Err(EngineError::Stack(words));
        }
        let mut all = files.clone();
        all.extend(hand.own(dir).into_iter().filter(|file| !files.iter().any(|known| same(known, file))));
        let sources = Sources::read(&all, dir, &dotenv.values())?;
        Ok(Ground { dotenv, hand, files, sources })
    }

    pub(super) fn dotenv(&self) -> Result<DotEnv, EngineError> {
        let path = self.stack.dir.join(".env");
        let bytes = replace::read(&path)?.unwrap_or_default();
        DotEnv::parse(bytes).map_err(|why| EngineError::Stack(format!("{} cannot be read as compose reads it: {why}", path.display())))
    }

    /// What speaks against mode `env` before compose is asked.
    fn known_objection(&self, ground: &Ground) -> Option<String> {
        if let Some(ours) = ground.hand.ours(&self.stack.dir) {
            return Some(format!(
                "the stack is pinned by {} already (remove it, and its name in COMPOSE_FILE, for mode env)",
                ours.display()
            ));
        }
        if self.stack.mode == PinChoice::Override {
            return Some("the configuration asks for it".to_owned());
        }
        let mut seen = BTreeSet::new();
        for pin in &self.stack.pins {
            let Some(variable) = &pin.variable else { return Some(format!("no variable is configured for {}", pin.image)) };
            if !seen.insert(variable) {
                return Some(format!("the variable {variable} stands for two images"));
            }
            if let Some(reader) = ground.dotenv.read_too_early(variable).first() {
                return Some(format!("in .env {reader} uses {variable} above the line that sets it"));
            }
            let switches = |template: &&String| [":+", "+"].iter().any(|sign| template.contains(&format!("${{{variable}{sign}")));
            if let Some(template) = ground.sources.templates.iter().find(switches) {
                return Some(format!("{template} changes when {variable} gets its first value"));
            }
        }
        self.reads_dotenv(ground).then(|| "a service reads .env as its own env_file, so a variable there would recreate it".to_owned())
    }

    fn reads_dotenv(&self, ground: &Ground) -> bool {
        let dotenv = self.stack.dir.join(".env");
        ground.sources.env_files.iter().any(|file| same(file, &dotenv) || shown(file).contains('$'))
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
        runs.hand.as_ref().ok().and_then(|hand| marked(hand, 1).filter(|said| said.contains("reaches more")))
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
        format!("compose shows that {} in .env changes just the image", variables.join(" and "))
    }

    fn not_env(&self, objection: &str) -> EngineError {
        EngineError::Stack(format!(
            "the stack in {} cannot be pinned by a variable in .env: {objection}. Change that, or let the pin mode be \"auto\" or \"override\"",
            self.stack.dir.display()
        ))
    }

    async fn runs(&self, ground: &Ground, marked: bool, cancel: &Cancel) -> Result<Runs, EngineError> {
        let with_markers = |mut command: Command, run: u8| {
            let pins = self.stack.pins.iter().enumerate().filter(|_| marked);
            command.env.extend(pins.filter_map(|(index, pin)| Some((pin.variable.clone()?, marker(run, index)))));
            command
        };
        let hand = with_markers(self.hand_command(ground, &["config", "--format", "json"]), 1);
        let ours = |profiles: &[&str]| {
            let args: Vec<&str> = profiles.iter().copied().chain(["config", "--format", "json"]).collect();
            with_markers(self.compose_command(&ground.files, &args, QUESTION), 2)
        };
        let all = ours(&["--profile", "*"]);
        let (by_hand, mut by_us) = tokio::join!(capture(&hand, cancel), capture(&all, cancel));
        if matches!(by_us.ended, Ended::Exit(code) if code != 0) {
            // A service of a profile that nobody switches on may lack its files.
            by_us = capture(&ours(&[]), cancel).await;
        }
        let mut notes = notes(&by_hand.err);
        notes.extend(self::notes(&by_us.err).into_iter().filter(|note| !notes.contains(note)).collect::<Vec<_>>());
        let no_files = ground.hand.files.is_empty();
        let hand = if no_files { Err("no compose file is found".to_owned()) } else { self.hand_answer(by_hand)? };
        Ok(Runs { hand, ours: self.our_answer(&by_us)?, notes })
    }

    /// What a person would type in the folder. Where `.env` lists our override file already and it does not exist yet, the
    /// files are named without it.
    fn hand_command(&self, ground: &Ground, args: &[&str]) -> Command {
        let mut words = vec!["compose".to_owned()];
        let ours = ground.hand.ours(&self.stack.dir);
        if ours.is_some_and(|ours| !ours.exists()) {
            words.extend(ground.hand.own(&self.stack.dir).iter().flat_map(|file| ["-f".to_owned(), shown(file)]));
        }
        words.extend(args.iter().map(|arg| (*arg).to_owned()));
        self.docker_command(words, QUESTION)
    }

    fn hand_answer(&self, captured: Captured) -> Result<Result<Value, String>, EngineError> {
        match &captured.ended {
            Ended::Exit(0) => Ok(Ok(json(&captured.out)?)),
            Ended::Exit(_) => Ok(Err(captured.err)),
            ended => Err(EngineError::ended(&self.what(), &self.docker.program, ended, &captured.err)),
        }
    }

    fn our_answer(&self, captured: &Captured) -> Result<Value, EngineError> {
        match &captured.ended {
            Ended::Exit(0) => json(&captured.out),
            ended => match EngineError::ended(&self.what(), &self.docker.program, ended, &captured.err) {
                EngineError::Failed { why, .. } => {
                    Err(EngineError::Stack(format!("compose does not accept the stack in {}: {why}", self.stack.dir.display())))
                }
                other => Err(other),
            },
        }
    }

    fn what(&self) -> String {
        format!("docker compose config of {}", self.stack.project)
    }

    fn resolved(&self, ground: &Ground, runs: &Runs, key: &[u8], mode: PinMode, why_mode: String) -> Result<Resolved, EngineError> {
        let pins = self.stack.pins.len();
        let ours = without_markers(&runs.ours, 2, pins);
        let hand = runs.hand.as_ref().map(|hand| without_markers(hand, 1, pins));
        let names = |config: &Value| members(config, &["services"]).map(|(name, _)| name.to_owned()).collect::<BTreeSet<_>>();
        let active = hand.as_ref().map_or_else(|_| names(&without_profiles(&ours)), names);
        let mut services = services(&ours, &active);
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
                "no service that uses the pinned image is active in the stack in {}: add COMPOSE_PROFILES to .env with the profile it is in",
                self.stack.dir.display()
            )));
        }
        let keeps_dotenv = self.reads_dotenv(ground) || self.holds_dotenv(&ours);
        if mode == PinMode::Override {
            self.place(ground, keeps_dotenv)?;
        }
        let pinned = uses.iter().flat_map(|used| used.services.clone()).collect();
        let mut warnings = self.hand_warnings(ground, hand.as_ref().map_err(|said| said.as_str()), &ours, &pinned, mode);
        warnings.extend(runs.notes.iter().cloned());
        Ok(Resolved { mode, why_mode, uses, services, warnings, keeps_dotenv, config: redacted(&ours, key), files: ground.files.clone() })
    }

    fn unused(&self, image: &str, config: &Value) -> EngineError {
        let images: BTreeSet<&str> = members(config, &["services"]).map(|(_, service)| repository(text(service, &["image"]))).collect();
        let images: Vec<&str> = images.into_iter().filter(|image| !image.is_empty()).collect();
        EngineError::Stack(format!(
            "no service of the stack in {} uses the image {image}; its images are {}: name one of them, as the compose file writes it",
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
        let (dir, own) = (&self.stack.dir, ground.hand.own(&self.stack.dir));
        let mut warnings = Vec::new();
        let name = hand.ok().map_or("", |hand| text(hand, &["name"]));
        if hand.is_ok() && name != self.stack.project {
            warnings.push(format!(
                "a bare docker compose in {} means the project {name}, not {project}: add COMPOSE_PROJECT_NAME={project} to .env",
                dir.display(),
                project = self.stack.project
            ));
        }
        let is_same = own.len() == ground.files.len() && own.iter().zip(&ground.files).all(|(one, other)| same(one, other));
        let will_list = mode == PinMode::Override && ground.hand.variable.is_none();
        if !is_same && !will_list {
            let line = listing(dir, &ground.files, &ground.hand.separator);
            warnings.push(format!(
                "a bare docker compose in {} reads other files than the stack has: add COMPOSE_FILE={line} to .env",
                dir.display()
            ));
        } else if let Err(said) = hand
            && !will_list
        {
            warnings.push(format!("a bare docker compose in {} does not work: {said}", dir.display()));
        }
        if let (true, Ok(hand)) = (warnings.is_empty() && is_same, hand)
            && let Some(path) = difference(hand, ours, pinned)
        {
            warnings.push(format!(
                "a bare docker compose in {} resolves {path} otherwise than docker compose --project-directory does",
                dir.display()
            ));
        }
        warnings
    }
}

/// The services that are in no profile: the active ones, where a hand-run cannot be asked.
fn without_profiles(ours: &Value) -> Value {
    let mut active = ours.clone();
    if let Some(services) = active.get_mut("services").and_then(Value::as_object_mut) {
        services.retain(|_, service| at(service, &["profiles"]).is_none());
    }
    active
}

/// Files as `COMPOSE_FILE` lists them: relative where they are below the folder.
pub(super) fn listing(dir: &Path, files: &[PathBuf], separator: &str) -> String {
    let files: Vec<String> = files.iter().map(|file| shown(file.strip_prefix(dir).unwrap_or(file))).collect();
    files.join(separator)
}

pub(super) fn json(text: &str) -> Result<Value, EngineError> {
    serde_json::from_str(text).map_err(|error| EngineError::Failed { what: "reading what docker wrote".to_owned(), why: error.to_string() })
}

/// The warnings of compose, without time and level.
fn notes(said: &str) -> Vec<String> {
    let mut notes = Vec::new();
    for part in said.split("; ").filter(|part| part.contains("level=warning")) {
        let Some((_, message)) = part.split_once("msg=\"") else { continue };
        let note = message.trim_end_matches('"').replace("\\\"", "\"");
        let is_about_us = note.contains(LISTED) || note.contains("attribute `version` is obsolete");
        if !is_about_us && !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}
