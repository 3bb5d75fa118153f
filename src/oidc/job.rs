//! The job that a token was issued for: what an order takes from it, instead of from its body.

use serde_json::Value;

use crate::model::Issuer;
use crate::model::commit_text;
use crate::model::is_actor;
use crate::model::ref_text;
use crate::model::run_url_text;
use crate::oidc::token::Token;

/// The job of a forge that calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its repository, `OWNER/NAME`.
    pub repository: String,
    /// The commit that it runs for.
    pub commit: String,
    /// The git ref that it runs for.
    pub git_ref: String,
    /// The address of its run.
    pub run_url: String,
    /// The number of its run.
    pub run_number: i64,
    /// Who started it, where the token says so in a way that can be recorded.
    pub actor: Option<String>,
}

impl Job {
    /// The job that `token` says it was issued for by `issuer`.
    ///
    /// # Errors
    /// Each claim that is missing or not what it must be, and why.
    pub(super) fn of(token: &Token, issuer: &Issuer) -> Result<Self, Vec<(&'static str, String)>> {
        let mut wrong = Vec::new();
        let mut text = |name: &'static str, check: &dyn Fn(&str) -> bool, must_be: &str| {
            let given = token.claim(name);
            let text = given.and_then(Value::as_str).filter(|text| check(text)).map(str::to_owned);
            if text.is_none() {
                wrong.push((name, format!("{}; it must be {must_be}", claim_text(given))));
            }
            text.unwrap_or_default()
        };
        let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<i64>().is_ok();
        let repository = text("repository", &is_repository, "\"OWNER/NAME\"");
        let commit = text("sha", &|text| matches!(text.len(), 40 | 64) && commit_text(text).is_ok(), "the whole name of a commit");
        let git_ref = text("ref", &|text| text.starts_with("refs/") && ref_text(text).is_ok(), "a git ref like \"refs/heads/main\"");
        let run_id = text("run_id", &is_number, "a number in quotes");
        let run_number = text("run_number", &is_number, "a number in quotes").parse().unwrap_or_default();
        let run_url = issuer.run_url(&repository, &run_id, run_number);
        if wrong.is_empty() && run_url_text(&run_url).is_err() {
            wrong.push(("repository", format!("{run_url} is not an address")));
        }
        let actor = token.claim("actor").and_then(Value::as_str).filter(|text| is_actor(text)).map(str::to_owned);
        if wrong.is_empty() { Ok(Self { repository, commit, git_ref, run_url, run_number, actor }) } else { Err(wrong) }
    }
}

fn is_repository(text: &str) -> bool {
    let part_ok = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    text.len() <= 200 && text.split('/').count() == 2 && text.split('/').all(part_ok)
}

/// What a token says for a claim, short and in one line.
pub(super) fn claim_text(given: Option<&Value>) -> String {
    let Some(given) = given else { return "it is missing".to_owned() };
    let text = match given {
        Value::String(text) => format!("\"{}\"", text.escape_debug()),
        other => other.to_string().escape_debug().to_string(),
    };
    let short: String = text.chars().take(200).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("it is {}{dots}", text::without_controls(&short))
}
