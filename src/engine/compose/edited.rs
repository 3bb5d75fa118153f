//! Whether a stack was edited since it was resolved: somebody may edit its files at any moment.

use std::collections::BTreeMap;

use process::Cancel;
use serde_json::Value;

use crate::engine::compose::mode::PinMode;
use crate::engine::compose::project::Resolved;
use crate::engine::compose::project::same_repository;
use crate::engine::compose::proof::leaves;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::path_text;
use crate::engine::error::EngineError;
use crate::model::ImageRef;

/// This many changes are named; the rest is counted.
const NAMED: usize = 4;

impl Compose {
    /// What of the stack is not as `resolved` has it any more, with `refs` pinned, as words for people; none: it is unchanged.
    /// An edit counts wherever it was made: a compose file, one that is included or extended, `.env`, an `env_file`. Where any of
    /// them has changed compose is asked once more what it makes of them. `key` is the one that `resolved` was made with.
    ///
    /// # Errors
    /// When compose cannot be asked. What it does not accept any more is a change.
    pub async fn edited(&self, resolved: &Resolved, refs: &[ImageRef], key: &[u8], cancel: &Cancel) -> Result<Option<String>, EngineError> {
        let mut changes = Vec::new();
        if !self.is_of_the_same(resolved).await {
            match self.resolve(key, cancel).await {
                Ok(now) => changes = resolved.changes(&now),
                Err(EngineError::Stack(why)) => return Ok(Some(why)),
                Err(error) => return Err(error),
            }
        }
        for pinned in self.current().await? {
            let wanted = refs.iter().find(|wanted| same_repository(wanted.repository.as_str(), pinned.image.as_str()));
            if let Some(wanted) = wanted.filter(|wanted| pinned.value.as_deref() != Some(wanted.pin().as_str())) {
                let value = pinned.value.unwrap_or_else(|| "nothing".to_owned());
                changes.push(format!("{} is pinned to {value}, not to {}", pinned.image, wanted.pin()));
            }
        }
        Ok(listed(&changes))
    }

    /// Whether everything that compose made `resolved` of is as it was then, but for the pin.
    async fn is_of_the_same(&self, resolved: &Resolved) -> bool {
        let Some(inputs) = &resolved.inputs else { return false };
        let now = self.on_disk(Self::inputs_now).await;
        now.is_ok_and(|now| now.is_some_and(|now| inputs.make_the_same(&now, resolved.mode)))
    }
}

impl Resolved {
    /// What is not as it was in `stored`, a text of [`Resolved::config_with`] over the same `refs`; none: nothing, as far as that
    /// text can tell.
    #[must_use]
    pub fn changed_since(&self, stored: &str, refs: &[ImageRef]) -> Option<String> {
        let texts = [stored, &self.config_with(refs)].map(serde_json::from_str::<Value>);
        let [Ok(then), Ok(now)] = texts else { return None };
        listed(&differences(&then, &now))
    }

    fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.files != now.files {
            let files: Vec<String> = now.files.iter().map(|file| path_text(file)).collect();
            changes.push(format!("its compose files are now {}", files.join(", ")));
        }
        for service in &now.services {
            let before = self.service(&service.name);
            if before.is_some_and(|before| before.active != service.active) {
                let word = if service.active { "switched on" } else { "switched off" };
                changes.push(format!("the service {} was {word} by its profile", service.name));
            }
        }
        changes.extend(differences(&self.config, &now.config));
        if changes.is_empty() && self.mode != now.mode {
            let word = if now.mode == PinMode::Env { "can" } else { "cannot" };
            changes.push(format!("the image {word} now be pinned by a variable"));
        }
        changes
    }
}

/// The paths at which two configurations differ.
fn differences(one: &Value, other: &Value) -> Vec<String> {
    let flat = |value: &Value| {
        let mut all = BTreeMap::new();
        leaves(value, "", &mut |path, leaf| drop(all.insert(path.to_owned(), leaf.to_owned())));
        all
    };
    let one = flat(one);
    let other = flat(other);
    let mut paths: Vec<&String> = one.iter().filter(|(path, leaf)| other.get(*path) != Some(leaf)).map(|(path, _)| path).collect();
    paths.extend(other.keys().filter(|path| !one.contains_key(*path)));
    paths.sort();
    paths.into_iter().cloned().collect()
}

fn listed(changes: &[String]) -> Option<String> {
    let named = changes.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = changes.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!changes.is_empty()).then(|| format!("{named}{more}"))
}
