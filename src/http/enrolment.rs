//! What operators do about agents, over the API and on the pages alike.

use text::Secret;

use crate::clock;
use crate::http::Shared;
use crate::http::error::ApiError;
use crate::line::Cut;
use crate::line::EnrolmentCode;
use crate::model::AgentName;
use crate::model::Caller;

/// How long a code is good, ms.
const CODE_LIFE_MS: i64 = 15 * 60 * 1000;

/// A code that enrols the agent `name` once, and until when it is good (ms since 1970, UTC). Codes that were made for it before are void.
///
/// # Errors
/// When the database does not answer, or there is no randomness.
pub(in crate::http) async fn new_code(shared: &Shared, name: &AgentName, by: &Caller) -> Result<(Secret, i64), ApiError> {
    let until_ms = clock::now_ms() + CODE_LIFE_MS;
    let made = EnrolmentCode::new(shared.lines.keys.public());
    let (code, text) = made.ok_or_else(|| ApiError::busy("No code could be made; try again."))?;
    shared.store.keep_agent_code(code.public(), name, until_ms, &by.to_string()).await?;
    Ok((text, until_ms))
}

/// The agent's keys count no more, and its line is cut when this returns.
///
/// # Errors
/// 404 without such an agent; when the database does not answer.
pub(in crate::http) async fn revoke(shared: &Shared, name: &AgentName, by: &Caller) -> Result<(), ApiError> {
    if !shared.store.revoke_agent(name, &by.to_string()).await? {
        return Err(ApiError::not_found(format!("There is no agent {name}; `tagalong agent list` lists them.")));
    }
    shared.lines.presence.cut(name, Cut::Revoked);
    Ok(())
}
