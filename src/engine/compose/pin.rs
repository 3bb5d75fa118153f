//! The pin: what `.env` or the override file says a stack's images are.

use std::path::Path;
use std::path::PathBuf;

use base64::Engine as _;
use process::Cancel;
use saphyr::LoadableYamlNode as _;
use saphyr::Yaml;
use serde::Deserialize;
use serde::Serialize;

use crate::engine::compose::dotenv::DotEnv;
use crate::engine::compose::fields::json;
use crate::engine::compose::fields::text;
use crate::engine::compose::files::FOUND;
use crate::engine::compose::files::HandFiles;
use crate::engine::compose::files::LISTED;
use crate::engine::compose::files::MARK;
use crate::engine::compose::files::is_ours;
use crate::engine::compose::files::listing;
use crate::engine::compose::files::same;
use crate::engine::compose::ground::Ground;
use crate::engine::compose::mode::PinMode;
use crate::engine::compose::project::Resolved;
use crate::engine::compose::project::repository;
use crate::engine::compose::project::same_repository;
use crate::engine::compose::replace;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::error::EngineError;
use crate::engine::right::Leave;
use crate::model::ImageRef;
use crate::model::Repository;

const BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD;
/// Every file that a pin can change, in the order in which they are brought back.
const FILES: [&str; 3] = [".env", LISTED, FOUND];

/// The exact bytes, before a pin, of every file that a pin can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinBytes(Vec<(&'static str, Option<Vec<u8>>)>);

#[derive(Serialize, Deserialize)]
struct SavedFile {
    file: String,
    bytes: Option<String>,
}

impl PinBytes {
    /// As text, for the store. It holds what `.env` holds: keep it where secrets are kept.
    #[must_use]
    pub fn to_text(&self) -> String {
        let saved = self
            .0
            .iter()
            .map(|(file, bytes)| SavedFile { file: (*file).to_owned(), bytes: bytes.as_ref().map(|bytes| BASE64.encode(bytes)) });
        // A list of texts always has a JSON form.
        serde_json::to_string(&saved.collect::<Vec<_>>()).unwrap_or_default()
    }

    /// Reads [`PinBytes::to_text`] back.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let saved: Vec<SavedFile> = serde_json::from_str(text).map_err(|error| format!("the saved pin cannot be read: {error}"))?;
        let file = |saved: SavedFile| {
            let name = FILES
                .iter()
                .find(|name| **name == saved.file)
                .ok_or_else(|| format!("the saved pin contains the unexpected file {}", saved.file))?;
            let bytes = saved
                .bytes
                .map(|bytes| BASE64.decode(bytes))
                .transpose()
                .map_err(|error| format!("the saved pin cannot be read: {error}"))?;
            Ok((*name, bytes))
        };
        saved.into_iter().map(file).collect::<Result<_, String>>().map(Self)
    }
}

/// The current value of one pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedNow {
    /// The image.
    pub image: Repository,
    /// What stands behind its name: `TAG@sha256:…` if tagalong wrote it; none: nothing is set.
    pub value: Option<String>,
}

impl PinnedNow {
    /// The exact image, when the pin says one.
    #[must_use]
    pub fn reference(&self) -> Option<ImageRef> {
        ImageRef::parse(&format!("{}:{}", self.image, self.value.as_ref()?)).ok()
    }
}

impl Compose {
    /// The current pins, in the stack's order.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn current(&self) -> Result<Vec<PinnedNow>, EngineError> {
        self.on_disk(Self::read_current).await
    }

    fn read_current(&self) -> Result<Vec<PinnedNow>, EngineError> {
        let dotenv = self.dotenv()?;
        let ours = HandFiles::find(&self.stack.dir, &dotenv)?.ours(&self.stack.dir);
        let images = ours.map(|ours| images_in(&ours)).transpose()?.unwrap_or_default();
        let now = |image: &Repository, variable: Option<&String>| {
            let written = images.iter().map(|(_, image)| image).find(|written| same_repository(repository(written), image.as_str()));
            let value = written.map(|written| written.trim_start_matches(repository(written)).trim_start_matches(':').to_owned());
            PinnedNow { image: image.clone(), value: value.or_else(|| variable.and_then(|name| dotenv.value(name))) }
        };
        Ok(self.stack.pins.iter().map(|pin| now(&pin.image, pin.variable.as_ref())).collect())
    }

    /// The exact bytes of every file that a pin can change.
    ///
    /// # Errors
    /// When one is there and cannot be read.
    pub async fn snapshot(&self) -> Result<PinBytes, EngineError> {
        self.on_disk(Self::read_pin_bytes).await
    }

    fn read_pin_bytes(&self) -> Result<PinBytes, EngineError> {
        let mut saved = Vec::new();
        for name in FILES {
            let bytes = replace::read(&self.stack.dir.join(name))?;
            // An override file of a person's own is never changed.
            if name == ".env" || bytes.as_deref().is_none_or(is_ours) {
                saved.push((name, bytes));
            }
        }
        Ok(PinBytes(saved))
    }

    /// Brings back the bytes of [`Compose::snapshot`]; a file that was not there goes, if it is one that tagalong wrote.
    /// Doing it twice is no fault.
    ///
    /// # Errors
    /// When a file cannot be written; those before it have their old bytes.
    pub async fn restore(&self, bytes: &PinBytes) -> Result<(), EngineError> {
        let bytes = bytes.clone();
        let leave = self.leave().await?;
        self.on_disk(move |engine| engine.write_pin_bytes(&leave, &bytes)).await
    }

    fn write_pin_bytes(&self, leave: &Leave, bytes: &PinBytes) -> Result<(), EngineError> {
        for (name, old) in &bytes.0 {
            let path = self.stack.dir.join(name);
            match (old, replace::read(&path)?) {
                (Some(old), now) if now.as_ref() != Some(old) => replace::replace(leave, &path, old, 0o600)?,
                (None, Some(now)) if *name == ".env" || is_ours(&now) => replace::remove(leave, &path)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes the pin of `refs` back where `before` had another: the files get the bytes of [`Compose::snapshot`], or, where
    /// somebody has edited them since, only what the pin had changed in them. Doing it twice is no fault.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub async fn unpin(&self, before: &PinBytes, refs: &[ImageRef]) -> Result<(), EngineError> {
        let before = before.clone();
        let refs = refs.to_vec();
        let leave = self.leave().await?;
        self.on_disk(move |engine| engine.write_unpinned(&leave, &before, &refs)).await
    }

    fn write_unpinned(&self, leave: &Leave, before: &PinBytes, refs: &[ImageRef]) -> Result<(), EngineError> {
        let path = self.stack.dir.join(".env");
        let wrong = |why: String| EngineError::Stack(format!("{}: {why}", path.display()));
        let old = before.0.iter().find(|(name, _)| *name == ".env").and_then(|(_, bytes)| bytes.clone()).unwrap_or_default();
        let old = DotEnv::parse(old).map_err(wrong)?;
        let mut now = self.dotenv()?;
        let mut pinned = old.clone();
        let mut keys: Vec<(String, String)> = Vec::new();
        for pin in &self.stack.pins {
            let reference = refs.iter().find(|reference| same_repository(reference.repository.as_str(), pin.image.as_str()));
            keys.extend(reference.zip(pin.variable.clone()).map(|(reference, variable)| (variable, reference.pin())));
        }
        keys.extend(now.value("COMPOSE_FILE").filter(|value| value.contains(LISTED)).map(|value| ("COMPOSE_FILE".to_owned(), value)));
        let ours: Vec<_> =
            keys.into_iter().filter(|(key, value)| now.value(key).as_ref() == Some(value) && old.value(key) != now.value(key)).collect();
        for (key, value) in &ours {
            pinned = pinned.set(key, value).map_err(wrong)?;
        }
        if pinned.bytes() == now.bytes() {
            return self.write_pin_bytes(leave, before);
        }
        for (key, _) in &ours {
            // Compose takes an empty value for one that is not set.
            now = now.set(key, &old.value(key).unwrap_or_default()).map_err(wrong)?;
        }
        replace::replace(leave, &path, now.bytes(), 0o600)?;
        let others = before.0.iter().filter(|(name, _)| *name != ".env").cloned().collect();
        self.write_pin_bytes(leave, &PinBytes(others))
    }

    /// Writes `refs`, one for each image that changes; the others stay as they are. Take a [`Compose::snapshot`] first.
    ///
    /// # Errors
    /// When a file cannot be written: its old bytes are still there.
    pub async fn pin(&self, resolved: &Resolved, refs: &[ImageRef]) -> Result<(), EngineError> {
        let resolved = resolved.clone();
        let refs = refs.to_vec();
        let leave = self.leave().await?;
        self.on_disk(move |engine| engine.write_pin(&leave, &resolved, &refs)).await
    }

    fn write_pin(&self, leave: &Leave, resolved: &Resolved, refs: &[ImageRef]) -> Result<(), EngineError> {
        let ground = self.ground()?;
        match resolved.mode {
            PinMode::Env => self.pin_in_env(leave, &ground, refs),
            PinMode::Override => self.pin_in_override(leave, &ground, resolved, refs),
        }
    }

    fn pin_in_env(&self, leave: &Leave, ground: &Ground, refs: &[ImageRef]) -> Result<(), EngineError> {
        let path = self.stack.dir.join(".env");
        let mut dotenv = ground.dotenv.clone();
        for pin in &self.stack.pins {
            let reference = refs.iter().find(|reference| same_repository(reference.repository.as_str(), pin.image.as_str()));
            if let (Some(reference), Some(variable)) = (reference, &pin.variable) {
                dotenv = dotenv.set(variable, &reference.pin()).map_err(|why| EngineError::Stack(format!("{}: {why}", path.display())))?;
            }
        }
        if dotenv.bytes() == ground.dotenv.bytes() { Ok(()) } else { replace::replace(leave, &path, dotenv.bytes(), 0o600) }
    }

    fn pin_in_override(&self, leave: &Leave, ground: &Ground, resolved: &Resolved, refs: &[ImageRef]) -> Result<(), EngineError> {
        let place = self.where_it_stands(ground, resolved.keeps_dotenv)?;
        let old = if ground.hand.ours(&self.stack.dir).is_some() { images_in(&place.file)? } else { Vec::new() };
        let mut text = format!("{MARK}\nservices:\n");
        for service in &resolved.services {
            let Some(used) = service.pinned.and_then(|index| resolved.uses.get(index)) else { continue };
            let new = refs.iter().find(|reference| same_repository(reference.repository.as_str(), used.pin.image.as_str()));
            let image = match new {
                Some(reference) => Some(format!("{}:{}", used.pin.image, reference.pin())),
                None => old.iter().find(|(name, _)| *name == service.name).map(|(_, image)| image.clone()),
            };
            if let Some(image) = image {
                text.extend(["  \"", service.name.as_str(), "\":\n    image: \"", image.as_str(), "\"\n"]);
            }
        }
        replace::replace(leave, &place.file, text.as_bytes(), 0o644)?;
        // Only now is it named: a crash in between leaves a file that nobody reads.
        match place.compose_file {
            Some(value) => {
                let path = self.stack.dir.join(".env");
                let dotenv =
                    ground.dotenv.set("COMPOSE_FILE", &value).map_err(|why| EngineError::Stack(format!("{}: {why}", path.display())))?;
                replace::replace(leave, &path, dotenv.bytes(), 0o600)
            }
            None => Ok(()),
        }
    }

    /// Where the override file stands, and what `COMPOSE_FILE` becomes if it has to name it first.
    pub(super) fn where_it_stands(&self, ground: &Ground, keeps_dotenv: bool) -> Result<Place, EngineError> {
        let dir = &self.stack.dir;
        let hand = &ground.hand;
        if let Some(file) = hand.ours(dir) {
            return Ok(Place { file, compose_file: None });
        }
        let listed = dir.join(LISTED);
        let value = match &hand.variable {
            Some(value) => format!("{value}{}{LISTED}", hand.separator),
            None => format!("{}{}{LISTED}", listing(dir, &ground.files, &hand.separator), hand.separator),
        };
        if !keeps_dotenv {
            return Ok(Place { file: listed, compose_file: Some(value) });
        }
        let found_alone = hand.variable.is_none() && hand.files.len() == 1;
        if found_alone && ground.files.len() == 1 && same(&hand.files[0], &ground.files[0]) {
            return Ok(Place { file: dir.join(FOUND), compose_file: None });
        }
        Err(EngineError::Stack(format!(
            "a service of the stack uses the content of .env (by env_file or a mount), so tagalong does not change that file: add the \
            line COMPOSE_FILE={value} to {} yourself (this recreates that service once)",
            dir.join(".env").display()
        )))
    }

    /// Checks with compose, called as by hand in the folder, that it would run `refs`.
    ///
    /// # Errors
    /// [`EngineError::Stack`] when it is not; [`Compose::restore`] then.
    pub async fn prove(&self, resolved: &Resolved, refs: &[ImageRef], cancel: &Cancel) -> Result<(), EngineError> {
        let by_hand = self.docker_command(["compose", "config", "--format", "json"], QUESTION);
        let ours = self.compose_command(&self.files_with_ours(resolved).await?, &["config", "--format", "json"], QUESTION);
        let what = "asking compose which images it would run";
        let config = json(&self.ask(if resolved.by_hand { &by_hand } else { &ours }, what, cancel).await?)?;
        for used in &resolved.uses {
            let Some(reference) = refs.iter().find(|reference| same_repository(reference.repository.as_str(), used.pin.image.as_str()))
            else {
                continue;
            };
            for service in used.services.iter().filter(|name| resolved.service(name).is_some_and(|service| service.active)) {
                let image = text(&config, &["services", service, "image"]);
                let is_ours =
                    same_repository(repository(image), reference.repository.as_str()) && image.ends_with(&format!(":{}", reference.pin()));
                if !is_ours {
                    let words = format!("the pin has no effect: compose would run {image} for {service} instead of {reference}");
                    return Err(EngineError::Stack(words));
                }
            }
        }
        Ok(())
    }

    /// The stack's files, and our override file where a hand-run reads it too.
    pub(super) async fn files_with_ours(&self, resolved: &Resolved) -> Result<Vec<PathBuf>, EngineError> {
        let files = resolved.files.clone();
        self.on_disk(move |engine| {
            let ours = HandFiles::find(&engine.stack.dir, &engine.dotenv()?)?.ours(&engine.stack.dir);
            Ok(files.into_iter().chain(ours.filter(|ours| ours.exists())).collect())
        })
        .await
    }
}

/// Where an override file goes.
pub(super) struct Place {
    file: PathBuf,
    compose_file: Option<String>,
}

/// The services and images of an override file of ours.
fn images_in(path: &Path) -> Result<Vec<(String, String)>, EngineError> {
    let text = String::from_utf8_lossy(&replace::read(path)?.unwrap_or_default()).into_owned();
    let documents = Yaml::load_from_str(&text)
        .map_err(|error| EngineError::Stack(format!("{} is not in the form that tagalong writes ({error}): remove it", path.display())))?;
    let services = documents.first().and_then(|document| document.as_mapping_get("services")).and_then(Yaml::as_mapping);
    let image =
        |(name, service): (&Yaml<'_>, &Yaml<'_>)| Some((name.as_str()?.to_owned(), service.as_mapping_get("image")?.as_str()?.to_owned()));
    Ok(services.into_iter().flatten().filter_map(image).collect())
}
