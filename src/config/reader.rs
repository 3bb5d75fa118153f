//! Reads a TOML table key by key and collects every problem with its path, instead of stopping at the first.

use std::cell::RefCell;
use std::fmt::Display;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use text::Secret;
use text::nearest;

use crate::config::SecretSource;

/// Everything that is wrong, each a whole sentence that begins with the path of its key.
pub(super) type Problems = Rc<RefCell<Vec<String>>>;

/// One table of the file. Dropping it without [`Section::finish`] would let unknown keys pass, so every reader calls that.
pub(super) struct Section {
    path: String,
    table: toml::Table,
    known: Vec<&'static str>,
    problems: Problems,
    /// The folder of the configuration file.
    pub(super) folder: PathBuf,
}

impl Section {
    pub(super) fn root(table: toml::Table, folder: &Path, problems: &Problems) -> Self {
        Self { path: String::new(), table, known: Vec::new(), problems: Rc::clone(problems), folder: folder.to_owned() }
    }

    /// The full path of `key`.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes a problem with `key`.
    pub(super) fn problem(&self, key: &str, what: impl Display) {
        self.problems.borrow_mut().push(format!("{}: {what}", self.at(key)));
    }

    fn take(&mut self, key: &'static str) -> Option<toml::Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn typed<T>(&mut self, key: &'static str, wanted: &str, pick: impl Fn(&toml::Value) -> Option<T>) -> Option<T> {
        let value = self.take(key)?;
        let picked = pick(&value);
        if picked.is_none() {
            self.problem(key, format!("it must be {wanted}, not {}.", value.type_str()));
        }
        picked
    }

    /// A value whose type is free.
    pub(super) fn value(&mut self, key: &'static str) -> Option<toml::Value> {
        self.take(key)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.typed(key, "a string in quotes", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.typed(key, "true or false", toml::Value::as_bool).unwrap_or(default)
    }

    /// A flag that may be this word instead, which is none.
    pub(super) fn flag_or(&mut self, key: &'static str, word: &str, default: bool) -> Option<bool> {
        let wanted = format!("true, false or \"{word}\"");
        let pick = |value: &toml::Value| value.as_bool().map(Some).or_else(|| (value.as_str() == Some(word)).then_some(None));
        self.typed(key, &wanted, pick).unwrap_or(Some(default))
    }

    pub(super) fn whole(&mut self, key: &'static str, default: i64, range: std::ops::RangeInclusive<i64>) -> i64 {
        let Some(number) = self.typed(key, "a whole number", toml::Value::as_integer) else { return default };
        if range.contains(&number) {
            return number;
        }
        self.problem(key, format!("{number} is out of range: it must be {} to {}.", range.start(), range.end()));
        default
    }

    /// A duration in seconds; fractions are allowed.
    pub(super) fn seconds(&mut self, key: &'static str, default: f64, range: std::ops::RangeInclusive<f64>) -> Duration {
        let number = |value: &toml::Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let given = self.typed(key, "a number of seconds", number).unwrap_or(default);
        if range.contains(&given) {
            return Duration::from_secs_f64(given);
        }
        self.problem(key, format!("{given} is out of range: it must be {} to {} seconds.", range.start(), range.end()));
        Duration::from_secs_f64(default)
    }

    /// Whether one of the keys is there.
    pub(super) fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.has(key))
    }

    /// Whether the key is there, as long as nobody has read it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key is there, with a list that has nothing in it.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        self.table.get(key).and_then(toml::Value::as_array).is_some_and(Vec::is_empty)
    }

    /// A text that `parse` takes.
    pub(super) fn parsed<T, E: Display>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).map_err(|error| self.problem(key, error)).ok()
    }

    /// A text that must be there and that `parse` takes.
    pub(super) fn needed<T, E: Display>(&mut self, key: &'static str, missing: &str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            self.problem(key, missing);
            return None;
        }
        self.parsed(key, parse)
    }

    /// One of a few words; the first is the default.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> T {
        let Some(text) = self.text(key) else { return choices[0].1 };
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.problem(key, format!("\"{}\" is not one of {}.", text.escape_default(), words.join(", ")));
        }
        found.map_or(choices[0].1, |(_, choice)| *choice)
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.typed(key, "a list of strings", |value| {
            value.as_array().and_then(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect())
        })
    }

    /// A list whose every member `parse` takes; the ones it does not are problems.
    pub(super) fn list<T, E: Display>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        let texts = self.texts(key).unwrap_or_default();
        texts.iter().filter_map(|text| parse(text).map_err(|error| self.problem(key, error)).ok()).collect()
    }

    /// A path; a relative one is taken from the folder of the configuration file.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let text = self.text(key)?;
        Some(self.folder.join(text))
    }

    /// The file that `key` names, as long as nobody has read it.
    pub(super) fn file(&self, key: &str) -> Option<PathBuf> {
        self.table.get(key).and_then(toml::Value::as_str).map(|text| self.folder.join(text))
    }

    /// A secret, named by a file (`KEY_file`) or a variable of the environment (`KEY_env`), never written here.
    #[allow(clippy::disallowed_methods, reason = "config/ alone reads the environment")]
    pub(super) fn secret(&mut self, file_key: &'static str, env_key: &'static str) -> Option<Secret> {
        let file = self.path(file_key);
        let env = self.text(env_key);
        let text = match (file, env) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                self.problem(file_key, format!("set either this or {env_key}, not both."));
                return None;
            }
            (Some(file), None) => std::fs::read_to_string(&file).map_err(|error| self.problem(file_key, unreadable(&file, &error))).ok()?,
            (None, Some(name)) => {
                std::env::var(&name).map_err(|_| self.problem(env_key, format!("the environment variable {name} is not set."))).ok()?
            }
        };
        Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// A secret that is read again for each use; what it is now must read, and is added to `secrets`.
    pub(super) fn secret_source(
        &mut self,
        file_key: &'static str,
        env_key: &'static str,
        secrets: &mut Vec<Secret>,
    ) -> Option<SecretSource> {
        let file = self.file(file_key);
        let now = self.secret(file_key, env_key)?;
        if now.reveal().is_empty() {
            self.problem(if file.is_some() { file_key } else { env_key }, "the secret is empty.");
            return None;
        }
        // While it is rotated there are two, one a line.
        secrets.extend(now.reveal().lines().map(|line| Secret::new(line.to_owned())));
        secrets.push(now.clone());
        Some(file.map_or(SecretSource::Env(now), SecretSource::File))
    }

    pub(super) fn section(&mut self, key: &'static str) -> Option<Self> {
        let table = self.typed(key, "a table", |value| value.as_table().cloned())?;
        Some(self.child(self.at(key), table))
    }

    /// The tables of `[[key]]`, with their place in the list as path.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let tables = self.typed(key, "a list of tables", |value| {
            value.as_array().and_then(|list| list.iter().map(|item| item.as_table().cloned()).collect::<Option<Vec<_>>>())
        });
        let tables = tables.unwrap_or_default();
        tables.into_iter().enumerate().map(|(at, table)| self.child(format!("{}[{at}]", self.at(key)), table)).collect()
    }

    /// The tables of `[key.NAME]`, by name.
    pub(super) fn named(&mut self, key: &'static str) -> Vec<(String, Self)> {
        let Some(all) = self.typed(key, "a table of named tables", |value| value.as_table().cloned()) else { return Vec::new() };
        let mut named = Vec::new();
        for (name, value) in all {
            match value {
                toml::Value::Table(table) => named.push((name.clone(), self.child(format!("{}.{name}", self.at(key)), table))),
                other => self.problem(key, format!("{name} must be a table, not {}.", other.type_str())),
            }
        }
        named
    }

    /// Every key and its text, for tables whose keys are free.
    pub(super) fn texts_by_name(&mut self, key: &'static str) -> Vec<(String, String)> {
        let Some(all) = self.typed(key, "a table of strings", |value| value.as_table().cloned()) else { return Vec::new() };
        let mut texts = Vec::new();
        for (name, value) in all {
            match value.as_str() {
                Some(text) => texts.push((name, text.to_owned())),
                None => self.problem(key, format!("{name} must be a string in quotes, not {}.", value.type_str())),
            }
        }
        texts
    }

    /// Every key and its value, for tables whose keys and types are free.
    pub(super) fn values_by_name(&mut self, key: &'static str) -> Vec<(String, toml::Value)> {
        self.typed(key, "a table", |value| value.as_table().cloned()).into_iter().flatten().collect()
    }

    /// Every key and its number of seconds, for tables whose keys are free.
    pub(super) fn seconds_by_name(&mut self, key: &'static str) -> Vec<(String, Duration)> {
        let Some(all) = self.typed(key, "a table of seconds", |value| value.as_table().cloned()) else { return Vec::new() };
        let mut seconds = Vec::new();
        for (name, value) in all {
            match value.as_integer().filter(|whole| (1..=86_400).contains(whole)) {
                Some(whole) => seconds.push((name, Duration::from_secs(whole as u64))),
                None => self.problem(key, format!("{name} must be a whole number of seconds, 1 to 86400.")),
            }
        }
        seconds
    }

    fn child(&self, path: String, table: toml::Table) -> Self {
        Self { path, table, known: Vec::new(), problems: Rc::clone(&self.problems), folder: self.folder.clone() }
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let near = meant(&self.known, key);
            let hint = near.map_or_else(|| format!("the keys here are {}", self.known.join(", ")), |near| format!("did you mean {near}?"));
            self.problem(key, format!("unknown key; {hint}"));
        }
    }
}

/// Why the file of a secret cannot be read, and what to type.
fn unreadable(file: &Path, error: &std::io::Error) -> String {
    let file = file.display();
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!(
                "{file} does not exist; write the secret into it (`tagalong key new ID --out {file}` makes one for a [[key]]), or correct the path."
            )
        }
        std::io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            format!("the user {user} may not read {file}; give it to the user that tagalong runs as: `chown USER {file}`.")
        }
        _ => format!("{file} cannot be read: {error}."),
    }
}

/// The known key that `key` is most likely a slip of, or the beginning of.
fn meant(known: &[&'static str], key: &str) -> Option<&'static str> {
    let is_unit = |end: &str| matches!(end, "_s" | "_kib" | "_days" | "_file" | "_env" | "_per_min");
    let without_unit = || known.iter().copied().find(|known| known.strip_prefix(key).is_some_and(is_unit));
    nearest(known.iter().copied(), key).or_else(without_unit)
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn only_what_is_near_is_suggested_and_the_nearest_of_it() {
        let known =
            ["url", "dir", "keep", "files", "up_s", "pull_s", "user", "fetch_s", "interval_s", "variable", "token_file", "password_file"];
        for (key, wanted) in [
            ("varable", Some("variable")),
            ("varibles", Some("variable")),
            ("interval", Some("interval_s")),
            ("token", Some("token_file")),
            ("password", Some("password_file")),
            ("file", Some("files")),
            ("ulr", None),
            ("pulls", Some("pull_s")),
            ("pul_s", Some("pull_s")),
            // Not near: anybody who wrote them meant something else.
            ("id", None),
            ("up", Some("up_s")),
            ("x", None),
            ("", None),
            ("env", None),
            ("kept", None),
            ("deep", Some("keep")),
            ("fire", None),
            ("timeout", None),
            ("use", Some("user")),
            ("branch", None),
        ] {
            assert_eq!(meant(&known, key), wanted, "{key}");
        }
    }
}
