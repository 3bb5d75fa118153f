//! What operators do about agents, over the API and on the pages alike.

use text::Secret;

use crate::api;
use crate::clock;
use crate::http::Shared;
use crate::http::error::ApiError;
use crate::line::Cut;
use crate::line::EnrolmentCode;
use crate::model::AgentName;
use crate::model::Caller;
use crate::model::PublicKey;

/// How long a code is good, ms.
const CODE_LIFE_MS: i64 = 15 * 60 * 1000;

/// How every host stands that was enrolled or is dialled, and what a person should look at.
///
/// # Errors
/// When the database does not answer.
pub(in crate::http) async fn agents(shared: &Shared) -> Result<api::Agents, ApiError> {
    let lines = &shared.lines;
    let here = shared.deployer.agents();
    let known = shared.store.agents().await?;
    let mut problems = here.problems(&known);
    match lines.memory.lost(&known) {
        Ok(lost) => problems.extend(lost.iter().map(|one| {
            let name = &one.name;
            format!(
                "The database does not know the agent {name}, which was enrolled before: if that was its key {} and the database was lost, run \
                 `tagalong agent readmit {name}`.",
                fingerprints(&one.keys)
            )
        })),
        Err(error) => problems.push(error.to_string()),
    }
    problems.extend(known.iter().filter(|agent| lines.memory.is_revoked(agent).unwrap_or_default()).map(|agent| {
        let name = &agent.name;
        format!(
            "The agent {name} was revoked, and the database was put back from a time before that: it is refused. Run `tagalong agent revoke {name}`, so \
             that the database says so as well, or enrol its host anew."
        )
    }));
    let mut agents = lines.presence.views(&known);
    for agent in &mut agents {
        agent.version = here.seat_of(&agent.name).hello().map(|hello| hello.program.clone());
    }
    let uplink = lines.uplink.as_ref().map(|uplink| uplink.borrow().clone());
    Ok(api::Agents { agents, hosts: here.dialled(), uplink, problems })
}

/// Keys as people compare them.
pub(in crate::http) fn fingerprints(keys: &[PublicKey]) -> String {
    keys.iter().map(PublicKey::as_str).collect::<Vec<_>>().join(" or ")
}

/// A code that enrols the agent `name` once, and until when it is good (ms since 1970, UTC). Codes that were made for it before are void.
///
/// # Errors
/// 409 where a host that is dialled has the name; when the database does not answer, or there is no randomness.
pub(in crate::http) async fn new_code(shared: &Shared, name: &AgentName, by: &Caller) -> Result<(Secret, i64), ApiError> {
    if shared.config.now().dials(name) {
        return Err(ApiError::agent_is_a_host(name));
    }
    let until_ms = clock::now_ms() + CODE_LIFE_MS;
    let made = EnrolmentCode::new(shared.lines.keys.public());
    let (code, text) = made.ok_or_else(|| ApiError::busy("No code could be made; try again."))?;
    shared.store.keep_agent_code(code.public(), name, until_ms, &by.to_string()).await?;
    Ok((text, until_ms))
}

/// The agent's keys count no more, and its line is cut when this returns.
///
/// # Errors
/// 404 without such an agent; 409 where the configuration has it dialled, and nothing else lets it in; when the database does not answer.
pub(in crate::http) async fn revoke(shared: &Shared, name: &AgentName, by: &Caller) -> Result<(), ApiError> {
    let is_enrolled = shared.store.agent(name).await?.is_some_and(|agent| agent.revoked_ms.is_none());
    if !is_enrolled && shared.config.now().dials(name) {
        return Err(ApiError::host_is_dialled(name));
    }
    if !shared.store.revoke_agent(name, &by.to_string()).await? {
        return Err(ApiError::not_found(format!("There is no agent {name}; `tagalong agent list` lists them.")));
    }
    shared.deployer.agents().cut(name, Cut::Revoked);
    shared.deployer.agents().see_placements().await?;
    shared.lines.memory.keep(&shared.store).await;
    Ok(())
}
