//! What an order must show of the repository that its service is built from: the ref, who is behind it, the checks of its commit.

use std::time::Duration;

use crate::config::RefPattern;
use crate::config::reader::Section;
use crate::model::is_actor;

/// Which orders to deploy a service are admitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// The refs that may be landed; empty: any.
    pub refs: Vec<RefPattern>,
    /// Who may be behind an order, by their names at the forge; empty: anybody.
    pub actors: Vec<String>,
    /// The checks that a commit must have.
    pub checks: Option<RequiredChecks>,
}

/// The checks that a commit must have before it is landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredChecks {
    /// Which ones.
    pub which: WhichChecks,
    /// How long they are waited for.
    pub wait: Duration,
    /// Whether a forge that cannot be asked is waited for as well; otherwise the order is refused.
    pub waits_for_forge: bool,
}

/// Which checks a commit must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichChecks {
    /// Those of these names.
    Named(Vec<String>),
    /// Those that the protection of the order's branch requires.
    Protected,
}

/// What stands for the checks of the branch protection.
const PROTECTED: &str = "protected";

impl Admission {
    pub(super) fn read(from: &mut Section) -> Self {
        // Before they are read, after which nobody can tell an empty list from none.
        for key in ["refs", "actors"] {
            if from.is_empty_list(key) {
                from.problem(key, "an empty list would refuse every order; name what is allowed, or leave the key out to allow all.");
            }
        }
        let refs = from.list("refs", RefPattern::parse);
        let actors = from.list("actors", actor);
        let is_wanted = from.has("require_checks");
        let which = read_which(from);
        if !is_wanted && from.has_any(&["checks_wait_s", "checks_unreachable"]) {
            from.problem("require_checks", "it is missing, so checks_wait_s and checks_unreachable mean nothing.");
        }
        let wait = from.seconds("checks_wait_s", 900.0, 0.0..=604_800.0);
        let waits_for_forge = from.choice("checks_unreachable", &[("refuse", false), ("wait", true)]);
        Self { refs, actors, checks: which.map(|which| RequiredChecks { which, wait, waits_for_forge }) }
    }
}

fn read_which(from: &mut Section) -> Option<WhichChecks> {
    const HINT: &str = "write require_checks = [\"test\"], or require_checks = \"protected\" for what the branch protection requires";
    let problem = |from: &Section, why: &str| from.problem("require_checks", format!("{why}; {HINT}."));
    let value = from.value("require_checks")?;
    if let Some(word) = value.as_str() {
        if word != PROTECTED {
            problem(from, &format!("\"{}\" is not a list of checks", word.escape_default()));
        }
        return (word == PROTECTED).then_some(WhichChecks::Protected);
    }
    let names: Option<Vec<String>> = value.as_array().and_then(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    let Some(names) = names else {
        problem(from, "it must be a list of strings or \"protected\"");
        return None;
    };
    if names.is_empty() {
        problem(from, "an empty list requires nothing");
    }
    for (at, name) in names.iter().enumerate() {
        if name.trim() != name || name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
            problem(from, &format!("\"{}\" is not the name of a check", name.escape_default()));
        } else if name.starts_with("tagalong/") {
            problem(from, &format!("{name} is the status that tagalong itself reports, so an order would wait for itself"));
        } else if names[..at].contains(name) {
            problem(from, &format!("{name} is named twice"));
        }
    }
    Some(WhichChecks::Named(names))
}

/// The name of a user or an App at a forge.
fn actor(text: &str) -> Result<String, String> {
    if is_actor(text) { Ok(text.to_owned()) } else { Err(format!("\"{}\" is not the name of a user at a forge.", text.escape_default())) }
}
