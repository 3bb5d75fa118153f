//! Asks the app which commit it serves, until it is the new one or the time is over.

use std::time::Duration;

use process::Cancel;
use smoke::ReleaseCarrier;
use tokio::time::Instant;

use crate::clock::Backoff;
use crate::config::SecretSource;
use crate::config::Verify;
use crate::model::Commit;
use crate::model::CommitName;
use crate::reload::app::App;
use crate::reload::call;

/// The pauses between two questions.
const AGAIN: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
/// The time limit of one question.
const ONE_QUESTION: Duration = Duration::from_secs(10);
/// The time limit of the last one, however little time is left.
const SHORTEST_QUESTION: Duration = Duration::from_millis(100);
/// A shorter abbreviation is not reliable.
const SHORTEST_COMMIT: usize = 7;

impl App {
    /// When this returns without an error, the app says that it serves `wanted`, or a commit that contains it.
    ///
    /// # Errors
    /// One sentence: what the app says instead.
    pub(super) async fn serves(&self, wanted: &Commit, cancel: &Cancel) -> Result<(), String> {
        let Some(verify) = &self.plan.verify else { return Ok(()) };
        let until = Instant::now() + verify.within;
        let mut again = AGAIN;
        let mut before = None;
        loop {
            let deadline = until.saturating_duration_since(Instant::now()).clamp(SHORTEST_QUESTION, ONE_QUESTION);
            let begun = Instant::now();
            let asked = tokio::select! {
                asked = self.ask(verify, deadline) => asked,
                () = cancel.cancelled() => return Err("tagalong is shutting down.".to_owned()),
            };
            let why = match asked {
                Ok(said) if self.is_served(verify, &said, wanted, cancel).await => return Ok(()),
                Ok(said) => format!("{} shows {} instead of {wanted}", verify.url, call::masked_excerpt(&self.plan.data.mask, &said)),
                Err(why) => why,
            };
            // A question that was cut short says nothing of the app; what the app said before does.
            let is_cut_short = deadline < ONE_QUESTION && begun.elapsed() >= deadline;
            let why = if is_cut_short { before.take().unwrap_or(why) } else { why };
            if Instant::now() >= until {
                return Err(format!(
                    "The app did not serve the new data within {} s: {}.",
                    verify.within.as_secs_f64(),
                    why.trim_end_matches('.')
                ));
            }
            before = Some(why);
            tokio::time::sleep(again.fail().min(until.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// The app's answer at the configured place.
    async fn ask(&self, verify: &Verify, deadline: Duration) -> Result<String, String> {
        let request = self.http.get(verify.url.clone()).timeout(deadline).header("cache-control", "no-cache");
        let token = verify.credential.as_ref().map(SecretSource::read_both).transpose()?;
        let answer = call::send_with(request, token.as_ref()).await.map_err(|error| call::unanswered(&verify.url, &error, deadline))?;
        if !answer.status().is_success() {
            let status = answer.status().as_u16();
            return Err(format!("{} answers {status}{}", verify.url, call::sent(status, "verify.token", verify.credential.as_ref())));
        }
        match &verify.carried_by {
            ReleaseCarrier::Header(name) => {
                let value = answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
                value.ok_or_else(|| format!("the response of {} has no header {name}", verify.url))
            }
            ReleaseCarrier::Text => call::text_of(answer).await.map_err(|error| call::unanswered(&verify.url, &error, deadline)),
            ReleaseCarrier::Json(pointer) => {
                let text = call::text_of(answer).await.map_err(|error| call::unanswered(&verify.url, &error, deadline))?;
                let json: serde_json::Value = serde_json::from_str(&text).map_err(|_| {
                    let begin: String = text.chars().take(40).collect();
                    format!("the response of {} is not JSON; it begins with \"{}\"", verify.url, begin.escape_default())
                })?;
                let value = json.pointer(pointer).and_then(serde_json::Value::as_str).map(str::to_owned);
                value.ok_or_else(|| format!("the JSON of {} has no text at {pointer}", verify.url))
            }
        }
    }

    /// Whether `said` names `wanted`, or a commit that contains it: an app that commits may have moved on.
    async fn is_served(&self, verify: &Verify, said: &str, wanted: &Commit, cancel: &Cancel) -> bool {
        let words = |c: char| !c.is_ascii_hexdigit();
        let mut named = match verify.carried_by {
            ReleaseCarrier::Text => said.split(words).collect::<Vec<_>>(),
            ReleaseCarrier::Header(_) | ReleaseCarrier::Json(_) => vec![said.trim()],
        };
        named.retain(|word| word.len() >= SHORTEST_COMMIT);
        if named.iter().any(|word| wanted.as_str().starts_with(&word.to_ascii_lowercase())) {
            return true;
        }
        for newer in named.into_iter().filter_map(|word| Commit::parse(word).ok()) {
            if self.dataset.contains(&CommitName::from(wanted.clone()), &newer, cancel).await.unwrap_or(false) {
                return true;
            }
        }
        false
    }
}
