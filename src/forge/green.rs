//! What counts as green: the checks that a commit must have against those that its forge knows of. Nothing here asks anybody.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use regex::Regex;

use crate::model::ServiceName;

/// How many checks are named in one sentence, and how long the name of one may be there.
const MOST_NAMED: usize = 10;
const LONGEST_NAME: usize = 100;

/// A check that a commit must have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Required {
    /// Its name: that of a check run, or the context of a commit status.
    pub name: String,
    /// Whether the name is a pattern, every match of which must be green.
    pub is_pattern: bool,
    /// The App that alone may report it; none: anybody.
    pub app: Option<u64>,
}

impl Required {
    /// A check of that name, whoever reports it.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), is_pattern: false, app: None }
    }

    /// What matches `pattern`, as Forgejo and Gitea have it in branch protections.
    #[must_use]
    pub fn pattern(pattern: &str) -> Self {
        Self { is_pattern: true, ..Self::named(pattern) }
    }
}

/// How a check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Light {
    /// It is done, and the commit may be used.
    Green,
    /// It is not done yet.
    Pending,
    /// It is done, and the commit may not be used.
    Red,
}

impl Light {
    /// Of a check run of GitHub. Only what GitHub counts as passed is green, and a word that nobody knows is red.
    #[must_use]
    pub fn of_run(status: &str, conclusion: Option<&str>) -> Self {
        match (status, conclusion) {
            ("completed", Some("success" | "neutral" | "skipped")) => Self::Green,
            ("queued" | "in_progress" | "waiting" | "requested" | "pending", _) => Self::Pending,
            _ => Self::Red,
        }
    }

    /// Of a commit status, of any forge. Newer ones of Gitea and Forgejo say `skipped` of a job that was not wanted.
    #[must_use]
    pub fn of_status(state: &str) -> Self {
        match state {
            "success" | "skipped" => Self::Green,
            "pending" => Self::Pending,
            _ => Self::Red,
        }
    }
}

/// What the forge says of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name, or its context.
    pub name: String,
    /// The check suite, the number in it and the App of a check run; none: it is a commit status.
    pub run: Option<(u64, u64)>,
    /// Later ones have a higher number.
    pub number: u64,
    /// How it stands.
    pub light: Light,
}

/// How the required checks of a commit stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks {
    /// Those that are green.
    pub green: BTreeSet<String>,
    /// Those that are not done.
    pub pending: BTreeSet<String>,
    /// Those that nobody has reported.
    pub missing: BTreeSet<String>,
    /// Those that are red.
    pub red: BTreeSet<String>,
    /// Those that were left out, since tagalong itself reports them.
    pub own: BTreeSet<String>,
}

impl Checks {
    /// How `required` stands by what was `seen`. Of what was reported again the newest counts: of check runs that of the newest suite,
    /// for each App by itself.
    #[must_use]
    pub fn of(required: &[Required], seen: &[Seen]) -> Self {
        let newest = newest(seen);
        let mut checks = Self::default();
        for one in required {
            if is_own(&one.name) {
                checks.own.insert(one.name.clone());
                continue;
            }
            let pattern = one.is_pattern.then(|| pattern(&one.name)).flatten();
            let is_it = |seen: &&&Seen| {
                let by_name = pattern.as_ref().map_or_else(|| seen.name == one.name, |pattern| pattern.is_match(&seen.name));
                by_name && one.app.is_none_or(|app| seen.run.is_some_and(|(_, by)| by == app))
            };
            let found: Vec<&&Seen> = newest.iter().filter(is_it).collect();
            if found.is_empty() {
                checks.missing.insert(one.name.clone());
            }
            for seen in found {
                let lights = match seen.light {
                    Light::Green => &mut checks.green,
                    Light::Pending => &mut checks.pending,
                    Light::Red => &mut checks.red,
                };
                lights.insert(seen.name.clone());
            }
        }
        checks
    }

    /// Whether all of them are there and green. Nothing at all is not.
    #[must_use]
    pub fn are_green(&self) -> bool {
        self.pending.is_empty() && self.missing.is_empty() && self.red.is_empty() && !self.green.is_empty()
    }

    /// What stands in the way, by name: `lint is red, unit is pending and e2e is missing`.
    #[must_use]
    pub fn in_the_way(&self) -> String {
        let lights = [(&self.red, "red"), (&self.pending, "pending"), (&self.missing, "missing")];
        let parts: Vec<String> = lights.into_iter().filter(|(names, _)| !names.is_empty()).map(|(names, word)| said(names, word)).collect();
        parts.join("; ")
    }
}

/// `a and b are red`.
fn said(names: &BTreeSet<String>, word: &str) -> String {
    format!("{} {} {word}", listed(names), if names.len() == 1 { "is" } else { "are" })
}

/// A few names as a list. They are somebody else's words, so they are shown without what could mislead.
#[must_use]
pub fn listed(names: &BTreeSet<String>) -> String {
    let short = |name: &String| text::without_controls(&name.chars().take(LONGEST_NAME).collect::<String>()).to_string();
    let shown: Vec<String> = names.iter().take(MOST_NAMED).map(short).collect();
    match names.len().saturating_sub(MOST_NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Whether tagalong itself reports the check of that name: whoever waited for it would wait for ever.
#[must_use]
pub fn is_own(name: &str) -> bool {
    name.strip_prefix("tagalong/").is_some_and(|service| service == "*" || ServiceName::parse(service).is_ok())
}

/// Of each name, kind and App the newest, without our own.
fn newest(seen: &[Seen]) -> Vec<&Seen> {
    let mut newest: BTreeMap<(&str, Option<u64>), &Seen> = BTreeMap::new();
    for one in seen.iter().filter(|one| !is_own(&one.name)) {
        let order = |seen: &Seen| (seen.run.map(|(suite, _)| suite), seen.number);
        let kept = newest.entry((&one.name, one.run.map(|(_, app)| app))).or_insert(one);
        if order(one) > order(kept) {
            *kept = one;
        }
    }
    newest.into_values().collect()
}

/// A pattern of Forgejo and Gitea: `*` and `?` stand for anything, `/` included, `[a-z]` and `[!a]` for one of a set, `{a,b}` for one of
/// a few, and `\` takes the next letter as it is. None: it is no pattern, and so it is a name.
fn pattern(glob: &str) -> Option<Regex> {
    let mut regex = String::from("(?s)^");
    let mut letters = glob.chars();
    let mut depth = 0;
    while let Some(letter) = letters.next() {
        match letter {
            '*' => regex += ".*",
            '?' => regex.push('.'),
            '{' => (depth, regex) = (depth + 1, regex + "(?:"),
            '}' if depth > 0 => (depth, regex) = (depth - 1, regex + ")"),
            ',' if depth > 0 => regex.push('|'),
            '[' => {
                let set: String = letters.by_ref().take_while(|letter| *letter != ']').collect();
                let (not, set) = set.strip_prefix('!').map_or(("", set.as_str()), |set| ("^", set));
                regex += &format!("[{not}{}]", set.replace('\\', r"\\").replace('[', r"\[").replace('^', r"\^").replace("&&", r"&\&"));
            }
            '\\' => regex += &regex::escape(&letters.next()?.to_string()),
            other => regex += &regex::escape(&other.to_string()),
        }
    }
    Regex::new(&(regex + "$")).ok()
}
