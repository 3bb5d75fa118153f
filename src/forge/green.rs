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
        let parts: Vec<String> =
            lights.into_iter().filter(|(names, _)| !names.is_empty()).map(|(names, word)| list_of(names, word)).collect();
        parts.join("; ")
    }
}

/// `a and b are red`.
fn list_of(names: &BTreeSet<String>, word: &str) -> String {
    format!("{} {} {word}", listed(names), if names.len() == 1 { "is" } else { "are" })
}

/// A few names as a list. They are somebody else's words, so they are shown without what could mislead.
#[must_use]
pub fn listed(names: &BTreeSet<String>) -> String {
    let short = |name: &String| text::without_controls(&name.chars().take(LONGEST_NAME).collect::<String>());
    let shown: Vec<String> = names.iter().take(MOST_NAMED).map(short).collect();
    match names.len().saturating_sub(MOST_NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Whether tagalong itself reports the check of that name: whoever waited for it would wait for ever.
fn is_own(name: &str) -> bool {
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
                let set = set.replace('\\', r"\\").replace('[', r"\[").replace('^', r"\^").replace("&&", r"&\&");
                regex.extend(["[", not, &set, "]"]);
            }
            '\\' => regex += &regex::escape(&letters.next()?.to_string()),
            other => regex += &regex::escape(&other.to_string()),
        }
    }
    Regex::new(&(regex + "$")).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Checks;
    use super::Light;
    use super::Required;
    use super::Seen;
    use super::listed;
    use super::pattern;

    fn status(name: &str, number: u64, state: &str) -> Seen {
        Seen { name: name.into(), run: None, number, light: Light::of_status(state) }
    }

    /// A check run of the suite and the App of these numbers.
    fn run(name: &str, (suite, app): (u64, u64), number: u64, conclusion: &str) -> Seen {
        let (status, conclusion) = if conclusion == "running" { ("in_progress", None) } else { ("completed", Some(conclusion)) };
        Seen { name: name.into(), run: Some((suite, app)), number, light: Light::of_run(status, conclusion) }
    }

    #[test]
    fn only_what_github_counts_as_passed_is_green() {
        for (status, conclusion, light) in [
            ("completed", Some("success"), Light::Green),
            ("completed", Some("neutral"), Light::Green),
            ("completed", Some("skipped"), Light::Green),
            ("completed", Some("failure"), Light::Red),
            ("completed", Some("cancelled"), Light::Red),
            ("completed", Some("timed_out"), Light::Red),
            ("completed", Some("action_required"), Light::Red),
            ("completed", Some("stale"), Light::Red),
            ("completed", Some("startup_failure"), Light::Red),
            ("completed", Some("SUCCESS"), Light::Red),
            ("completed", None, Light::Red),
            ("done", Some("success"), Light::Red),
            ("", Some("success"), Light::Red),
            ("queued", None, Light::Pending),
            ("in_progress", Some("success"), Light::Pending),
            ("waiting", None, Light::Pending),
            ("requested", None, Light::Pending),
            ("pending", None, Light::Pending),
        ] {
            assert_eq!(Light::of_run(status, conclusion), light, "{status} {conclusion:?}");
        }
        for (state, light) in [
            ("success", Light::Green),
            ("skipped", Light::Green),
            ("pending", Light::Pending),
            ("failure", Light::Red),
            ("error", Light::Red),
            ("warning", Light::Red),
            ("", Light::Red),
            ("Success", Light::Red),
        ] {
            assert_eq!(Light::of_status(state), light, "{state}");
        }
    }

    /// What is required of `test`, by what was seen: the light in words.
    #[test]
    fn the_newest_of_each_kind_counts_and_all_kinds_must_be_green() {
        let app = |app: u64| Required { app: Some(app), ..Required::named("test") };
        let any = Required::named("test");
        for (required, seen, said) in [
            (&any, vec![], "test is missing"),
            (&any, vec![run("tests", (1, 1), 1, "success"), run("Test", (1, 1), 1, "success")], "test is missing"),
            (&any, vec![run("test", (1, 1), 1, "success")], ""),
            // The newest suite, and the newest run in it.
            (&any, vec![run("test", (2, 1), 3, "success"), run("test", (1, 1), 9, "failure")], ""),
            (&any, vec![run("test", (1, 1), 9, "success"), run("test", (2, 1), 3, "failure")], "test is red"),
            (&any, vec![run("test", (2, 1), 3, "running"), run("test", (1, 1), 9, "success")], "test is pending"),
            (&any, vec![run("test", (1, 1), 2, "failure"), run("test", (1, 1), 1, "success")], "test is red"),
            // A check run and a status of one name, and two Apps: all of them.
            (&any, vec![run("test", (1, 1), 1, "success"), status("test", 1, "failure")], "test is red"),
            (&any, vec![run("test", (9, 1), 1, "success"), run("test", (1, 2), 1, "failure")], "test is red"),
            (&any, vec![status("test", 2, "success"), status("test", 1, "failure")], ""),
            (&any, vec![status("test", 1, "success"), status("test", 2, "pending")], "test is pending"),
            // Of one App only.
            (&app(7), vec![run("test", (1, 8), 1, "success"), status("test", 1, "success")], "test is missing"),
            (&app(7), vec![run("test", (1, 7), 1, "success"), run("test", (2, 8), 2, "failure")], ""),
        ] {
            let checks = Checks::of(std::slice::from_ref(required), &seen);
            assert_eq!(checks.in_the_way(), said, "{required:?} {seen:?}");
            assert_eq!(checks.are_green(), said.is_empty(), "{required:?} {seen:?}");
        }
    }

    #[test]
    fn our_own_status_is_left_out_and_nothing_at_all_is_not_green() {
        let own = Required::named("tagalong/web");
        let seen = [status("tagalong/web", 1, "pending"), status("test", 1, "success")];
        let both = Checks::of(&[own.clone(), Required::named("test")], &seen);
        assert!(both.are_green() && both.own.contains("tagalong/web"), "{both:?}");
        for required in [&[own][..], &[]] {
            let checks = Checks::of(required, &seen);
            assert!(!checks.are_green() && checks.in_the_way().is_empty(), "{checks:?}");
        }
        // A pattern that means everything does not mean ours.
        assert!(Checks::of(&[Required::pattern("*")], &seen).are_green());
        assert_eq!(Checks::of(&[Required::pattern("*")], &seen[..1]).in_the_way(), "* is missing");
    }

    #[test]
    fn every_match_of_a_pattern_must_be_green() {
        let required = [Required::pattern("ci / * (push)")];
        let seen = |last: &str| [status("ci / a (push)", 1, "success"), status("ci / b/c (push)", 2, last), status("x", 3, "failure")];
        assert!(Checks::of(&required, &seen("success")).are_green());
        assert_eq!(Checks::of(&required, &seen("failure")).in_the_way(), "ci / b/c (push) is red");
        for (glob, matches, others) in [
            ("a*", &["a", "a/b", "ab"][..], &["ba", ""][..]),
            ("a?c", &["abc", "a/c"], &["ac", "abbc"]),
            ("{unit,e2e} [0-9]", &["unit 1", "e2e 9"], &["unit", "unit x", "{unit,e2e} 1"]),
            ("[!a]", &["b"], &["a"]),
            (r"a\*", &["a*"], &["ab"]),
            ("a.b", &["a.b"], &["axb"]),
            ("a|b", &["a|b"], &["a", "b"]),
            ("(push)", &["(push)"], &["push"]),
        ] {
            let pattern = pattern(glob).expect("a pattern");
            assert!(matches.iter().all(|text| pattern.is_match(text)), "{glob}");
            assert!(!others.iter().any(|text| pattern.is_match(text)), "{glob}");
        }
        // What is none is a name.
        assert!(pattern("[").is_none() && pattern("{a").is_none());
        assert!(Checks::of(&[Required::pattern("{a")], &[status("{a", 1, "success")]).are_green());
    }

    #[test]
    fn what_is_in_the_way_is_named_in_few_words() {
        let required: Vec<Required> = ["lint", "unit", "e2e"].map(Required::named).to_vec();
        let seen = [status("lint", 1, "failure"), status("unit", 1, "pending")];
        assert_eq!(Checks::of(&required, &seen).in_the_way(), "lint is red; unit is pending; e2e is missing");
        let many: BTreeSet<String> = (10..40).map(|number| number.to_string()).collect();
        assert_eq!(listed(&many), "10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 20 more");
        let bad = BTreeSet::from([format!("a\u{1b}[2J\n{}", "x".repeat(1000))]);
        assert!(listed(&bad).len() <= 110 && !listed(&bad).contains(['\n', '\u{1b}']), "{}", listed(&bad));
    }
}
