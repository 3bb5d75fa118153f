//! What policies say to a token: claim by claim, each by itself, so that all that is wrong is told at once.

use serde_json::Value;

use crate::config::OidcPolicy;
use crate::config::RefPattern;
use crate::model::KeyId;
use crate::oidc::job::Job;
use crate::oidc::job::claim_text;
use crate::oidc::token::Token;

/// How far the clocks of the issuer and of this host may be apart, seconds.
const SKEW_S: i64 = 60;
/// The longest that a token may be valid, seconds. What is remembered of one is kept for a day at least.
const LONGEST_LIFE_S: i64 = 12 * 3600;

/// One claim, and whether it is as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The claim.
    pub claim: String,
    /// Whether it is as it must be.
    pub holds: bool,
    /// What it is, and what it must be.
    pub why: String,
}

impl Finding {
    fn new(claim: &str, holds: bool, why: String) -> Self {
        Self { claim: claim.to_owned(), holds, why }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.claim, self.why)
    }
}

/// What one policy says.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The policy.
    pub policy: KeyId,
    /// Whether it is for the issuer and the repository of the token, whose people may be told all of it.
    pub is_for_its_repository: bool,
    /// Claim by claim.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether all of it holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.holds)
    }

    /// What `policy` says to `token`.
    pub(super) fn of(policy: &OidcPolicy, token: &Token) -> Self {
        let mut findings = vec![
            equal("iss", token.claim("iss"), policy.issuer.as_str(), token.is_of(policy.issuer.as_str())),
            equal("aud", token.claim("aud"), &policy.audience, is_for(token.claim("aud"), &policy.audience)),
        ];
        for wanted in &policy.claims {
            let given = token.claim(&wanted.name);
            let holds = given.is_some_and(|given| wanted.is(given));
            let must_be: Vec<String> = wanted.one_of.iter().map(ToString::to_string).collect();
            let why = if holds { claim_text(given) } else { format!("{}, but must be {}", claim_text(given), must_be.join(" or ")) };
            findings.push(Finding::new(&wanted.name, holds, why));
        }
        if !policy.refs.is_empty() {
            let given = token.claim("ref");
            let holds = given.and_then(Value::as_str).is_some_and(|git_ref| policy.is_for(git_ref));
            let patterns: Vec<&str> = policy.refs.iter().map(RefPattern::as_str).collect();
            let why = format!("{}, {} refs = {}", claim_text(given), if holds { "as" } else { "which is not in" }, patterns.join(", "));
            findings.push(Finding::new("ref", holds, why));
        }
        let names = ["iss", "repository", "repository_id"];
        let is_for_its_repository = findings.iter().filter(|one| names.contains(&one.claim.as_str())).all(|one| one.holds);
        Self { policy: policy.id.clone(), is_for_its_repository, findings }
    }
}

fn equal(claim: &str, given: Option<&Value>, wanted: &str, holds: bool) -> Finding {
    let why = if holds { claim_text(given) } else { format!("{}, but must be \"{}\"", claim_text(given), wanted.escape_debug()) };
    Finding::new(claim, holds, why)
}

/// Whether a token is for `audience`, and for nobody else.
fn is_for(given: Option<&Value>, audience: &str) -> bool {
    match given {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(all)) => matches!(&all[..], [Value::String(one)] if one == audience),
        _ => false,
    }
}

/// What every token must hold to, whatever policies say: it is valid now, and not of a pull request.
pub(super) fn of_every_token(token: &Token, now_ms: i64) -> Vec<Finding> {
    let mut findings = times(token, now_ms.div_euclid(1000));
    for (name, begins) in [("event_name", "pull_request"), ("ref", "refs/pull/")] {
        let given = token.claim(name);
        if given.and_then(Value::as_str).is_some_and(|text| text.starts_with(begins)) {
            findings.push(Finding::new(name, false, format!("{}; a job of a pull request is never accepted", claim_text(given))));
        }
    }
    for name in ["head_ref", "base_ref"] {
        let given = token.claim(name).filter(|given| !given.is_null() && given.as_str() != Some(""));
        if given.is_some() {
            findings.push(Finding::new(
                name,
                false,
                format!("{}; only a job of a pull request has one, and none is accepted", claim_text(given)),
            ));
        }
    }
    findings
}

fn times(token: &Token, now_s: i64) -> Vec<Finding> {
    let number = |name: &str| token.claim(name).and_then(Value::as_i64).filter(|number| *number > 0);
    let wrong = |name: &str| {
        Finding::new(name, false, format!("{}; it must be a whole number of seconds since 1970", claim_text(token.claim(name))))
    };
    let mut findings = Vec::new();
    let Some(ends_s) = number("exp") else {
        findings.push(wrong("exp"));
        return findings;
    };
    let left_s = ends_s.saturating_sub(now_s);
    let why =
        if left_s > 0 { format!("the token is valid for another {left_s} s") } else { format!("the token expired {} s ago", -left_s) };
    findings.push(Finding::new("exp", left_s > -SKEW_S, why));
    for name in ["iat", "nbf"] {
        match number(name) {
            None if name == "nbf" && token.claim("nbf").is_none() => {}
            None => findings.push(wrong(name)),
            Some(from_s) => {
                let ahead_s = from_s.saturating_sub(now_s);
                let side = if ahead_s > 0 { "ahead of" } else { "behind" };
                let why = format!(
                    "it is {} s {side} this host's clock{}",
                    ahead_s.unsigned_abs(),
                    if ahead_s > SKEW_S { "; check both clocks" } else { "" }
                );
                findings.push(Finding::new(name, ahead_s <= SKEW_S, why));
            }
        }
    }
    if let Some(from_s) = number("iat") {
        let life_s = ends_s.saturating_sub(from_s);
        if !(1..=LONGEST_LIFE_S).contains(&life_s) {
            let why = format!("the token is valid for {life_s} s; it may be {LONGEST_LIFE_S} s at most");
            findings.push(Finding::new("exp", false, why));
        }
    }
    findings
}

/// The job of the token, and what is wrong with it.
pub(super) fn job_of(policy: &OidcPolicy, token: &Token) -> (Option<Job>, Vec<Finding>) {
    match Job::of(token, &policy.issuer) {
        Ok(job) => (Some(job), Vec::new()),
        Err(wrong) => (None, wrong.into_iter().map(|(claim, why)| Finding::new(claim, false, why)).collect()),
    }
}
