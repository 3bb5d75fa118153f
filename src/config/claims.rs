//! The claims that a policy wants of a token: by name, by type and to the letter.

use crate::config::reader::Section;
use crate::model::Forge;

/// A claim, and the values that it may have.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedClaim {
    /// Its name.
    pub name: String,
    /// It is one of these.
    pub one_of: Vec<ClaimValue>,
}

/// A value that a claim must have: of this type, and equal.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimValue {
    /// A string.
    Text(String),
    /// A whole number.
    Number(i64),
    /// true or false.
    Flag(bool),
}

/// Claims that every token has and that are checked for every policy, with the key or the check that does it.
const CHECKED: [(&str, &str); 6] = [
    ("iss", "the key issuer of the policy is compared with it"),
    ("aud", "the key audience of the policy is compared with it"),
    ("exp", "the times of a token are checked for every policy"),
    ("nbf", "the times of a token are checked for every policy"),
    ("iat", "the times of a token are checked for every policy"),
    ("jti", "it is another one in each token"),
];

/// The claims of Forgejo and of GitHub, each of which is a string.
const FORGEJO: [&str; 18] = [
    "actor",
    "actor_id",
    "base_ref",
    "event_name",
    "head_ref",
    "ref",
    "ref_protected",
    "ref_type",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "run_attempt",
    "run_id",
    "run_number",
    "sha",
    "workflow",
    "workflow_ref",
];

/// The claims that only GitHub has, each of which is a string.
const ONLY_GITHUB: [&str; 8] = [
    "enterprise",
    "environment",
    "environment_node_id",
    "job_workflow_ref",
    "job_workflow_sha",
    "repository_visibility",
    "runner_environment",
    "workflow_sha",
];

impl ClaimValue {
    fn of(value: &toml::Value) -> Option<Self> {
        match value {
            toml::Value::String(text) => Some(Self::Text(text.clone())),
            toml::Value::Integer(number) => Some(Self::Number(*number)),
            toml::Value::Boolean(flag) => Some(Self::Flag(*flag)),
            _ => None,
        }
    }

    /// Whether `given` is this value, and of its type.
    fn is(&self, given: &serde_json::Value) -> bool {
        match self {
            Self::Text(text) => given.as_str() == Some(text),
            Self::Number(number) => given.as_i64() == Some(*number),
            Self::Flag(flag) => given.as_bool() == Some(*flag),
        }
    }
}

impl std::fmt::Display for ClaimValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "\"{}\"", text.escape_debug()),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

impl std::fmt::Display for WantedClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let values: Vec<String> = self.one_of.iter().map(ToString::to_string).collect();
        write!(f, "{} = {}", self.name, values.join(" or "))
    }
}

impl WantedClaim {
    /// Whether a token that says `given` says what is wanted.
    #[must_use]
    pub fn is(&self, given: &serde_json::Value) -> bool {
        self.one_of.iter().any(|value| value.is(given))
    }

    /// The values that are texts.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.one_of.iter().filter_map(|value| match value {
            ClaimValue::Text(text) => Some(text.as_str()),
            ClaimValue::Number(_) | ClaimValue::Flag(_) => None,
        })
    }

    /// Whether it allows all that `other` allows.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.one_of.iter().all(|value| self.one_of.contains(value))
    }

    /// Why no token of `forge` has this claim with one of the values.
    pub(super) fn never(&self, forge: Forge) -> Option<String> {
        let name = self.name.as_str();
        if let Some((_, why)) = CHECKED.iter().find(|(checked, _)| *checked == name) {
            return Some(format!("{name} cannot be wanted here ({why})"));
        }
        if forge == Forge::Forgejo && ONLY_GITHUB.contains(&name) {
            return Some(format!("tokens of Forgejo have no claim {name}"));
        }
        if !FORGEJO.contains(&name) && !ONLY_GITHUB.contains(&name) {
            return None;
        }
        if let Some(value) = self.one_of.iter().find(|value| !matches!(value, ClaimValue::Text(_))) {
            return Some(format!("{name} is a string in every token of a forge, not {value}; put it in quotes"));
        }
        let wrong = self.texts().find_map(|text| Some((text, is_never(name, text)?)));
        wrong.map(|(text, why)| format!("{name} is never \"{}\": {why}", text.escape_debug()))
    }
}

/// Why the claim of that name is never `text`.
fn is_never(name: &str, text: &str) -> Option<&'static str> {
    let is_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match name {
        "event_name" if text.starts_with("pull_request") => Some("a job of a pull request is never accepted, since anybody can open one"),
        "head_ref" | "base_ref" if !text.is_empty() => Some("only a job of a pull request has one, and none is accepted"),
        "repository_id" | "repository_owner_id" | "actor_id" | "run_id" | "run_number" | "run_attempt" if !is_digits => {
            Some("it is a number in quotes")
        }
        "ref" if !text.starts_with("refs/") => Some("it begins with refs/heads/ or refs/tags/"),
        "ref" if text.contains('*') => Some("a claim is matched to the letter; write the pattern into refs"),
        "ref" if text.starts_with("refs/pull/") => Some("a job of a pull request is never accepted, since anybody can open one"),
        "ref_type" if !matches!(text, "branch" | "tag") => Some("it is \"branch\" or \"tag\""),
        "ref_protected" if !matches!(text, "true" | "false") => Some("it is \"true\" or \"false\""),
        "repository" if text.split('/').filter(|part| !part.is_empty()).count() != 2 => Some("it is OWNER/NAME"),
        "sha" if !matches!(text.len(), 40 | 64) => Some("it is the whole name of a commit"),
        _ if text.is_empty() && !matches!(name, "head_ref" | "base_ref") => Some("it is not empty"),
        _ => None,
    }
}

/// The claims of `from`, each with one value or a list of them.
pub(super) fn read_claims(from: &mut Section) -> Vec<WantedClaim> {
    let mut claims = Vec::new();
    for (name, value) in from.values_by_name("claims") {
        if name == "sub" {
            let why = "sub cannot be wanted: forges build it from other claims, in more than one form; name those claims instead.";
            from.problem("claims", why);
            continue;
        }
        let values = value.as_array().map_or_else(|| vec![ClaimValue::of(&value)], |list| list.iter().map(ClaimValue::of).collect());
        match values.into_iter().collect::<Option<Vec<ClaimValue>>>() {
            Some(one_of) if !one_of.is_empty() => claims.push(WantedClaim { name, one_of }),
            Some(_) => from.problem("claims", format!("{name} has no value, so the policy can never accept a token.")),
            None => from.problem("claims", format!("{name} must be a string, a whole number, true or false, or a list of them.")),
        }
    }
    claims
}
