//! The proof of agents: a key that was enrolled, or a code that enrols one.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use tokio::io::DuplexStream;

use crate::api;
use crate::clock;
use crate::http::Shared;
use crate::http::auth::attempt::Attempt;
use crate::http::auth::same_origin::is_had_by_another_site;
use crate::http::error::ApiError;
use crate::http::refused::Check;
use crate::http::upgrade;
use crate::line::Binding;
use crate::line::OPENING_HEADER;
use crate::line::Opening;
use crate::line::SUBPROTOCOL;
use crate::line::Showing;
use crate::store::Agent;

const IN_THE_CLEAR: &str = "Agents are taken over https, loopback and unix sockets only; behind a proxy, list the proxy in trusted_proxies and \
let it send the headers that forwarded_headers names.";

/// How often it is written down that a copy of an agent came, ms.
const CLONE_EVERY_MS: i64 = 60_000;

/// An agent that opens a line with a key that counts. It has yet to prove that it does so now.
pub(in crate::http) struct Dialled {
    pub(in crate::http) agent: Agent,
    pub(in crate::http) opening: Opening,
    pub(in crate::http) binding: Binding,
    pub(in crate::http) answer: HttpResponse,
    pub(in crate::http) stream: DuplexStream,
    pub(in crate::http) from: Whence,
}

/// Where an agent calls from.
#[derive(Debug, Clone)]
pub(in crate::http) struct Whence {
    limit_key: String,
    address: Option<IpAddr>,
}

impl Whence {
    /// What it showed was wrong, which counts as a failed attempt.
    pub(in crate::http) fn failed(&self, shared: &Shared, check: Check) {
        if shared.refused.count(check) {
            shared.refused.note(check, None, self.address);
        }
        shared.metrics.refused_call();
        shared.store.count_failed(&self.limit_key);
    }

    fn of(attempt: &Attempt<'_>) -> Self {
        Self { limit_key: attempt.limit_key().to_owned(), address: attempt.origin.address() }
    }
}

/// What holds for every agent before anything of it is read.
fn may_try(attempt: &Attempt<'_>, check: Check) -> Result<(), ApiError> {
    if attempt.is_spent() {
        return Err(attempt.too_many());
    }
    if is_had_by_another_site(attempt) {
        return Err(attempt.showed_nothing(check));
    }
    if !attempt.origin.is_private() {
        attempt.refused(Check::InTheClear, || (Check::InTheClear, None));
        return Err(ApiError::forbidden(IN_THE_CLEAR));
    }
    Ok(())
}

impl Dialled {
    /// Whoever opens a line; refused here, before the upgrade, is whoever has no key that counts.
    ///
    /// # Errors
    /// 400 for what is no handshake of ours, 401 without a key that counts, 403 in the clear and for a copy of an agent, 429, 503.
    pub(super) async fn of(request: &HttpRequest, payload: Payload, shared: &Shared) -> Result<Self, ApiError> {
        let attempt = Attempt::of(request, shared)?;
        may_try(&attempt, Check::AgentKey)?;
        if !upgrade::offers(request, SUBPROTOCOL) {
            return Err(ApiError::bad_request(format!(
                "This server takes agents that speak {SUBPROTOCOL}, which the call does not offer; upgrade the older of the two."
            )));
        }
        let stranger = || {
            attempt.refused(Check::AgentKey, || (Check::AgentKey, None));
            attempt.fail();
            ApiError::unauthorized()
        };
        let opening = attempt.header(OPENING_HEADER).ok_or_else(|| attempt.showed_nothing(Check::AgentKey))?;
        let opening = Opening::of_header(opening).ok_or_else(stranger)?;
        let agent = shared.store.agent(&opening.name).await?.filter(|agent| agent.keys.contains(&opening.key)).ok_or_else(stranger)?;
        // What the database has forgotten is remembered beside it. That it cannot be read is shown with the agents.
        if shared.lines.memory.is_revoked(&agent).unwrap_or_default() {
            return Err(stranger());
        }
        if shared.config.now().dials(&agent.name) {
            return Err(ApiError::agent_is_a_host(&agent.name));
        }
        if agent.machine != opening.machine {
            attempt.refused(Check::AgentClone, || (Check::AgentClone, None));
            // Nothing was proven yet, so this must not be worth repeating.
            let is_new = agent.clone.as_ref().is_none_or(|(_, at_ms)| clock::now_ms() - at_ms > CLONE_EVERY_MS);
            if is_new {
                shared.store.agent_cloned(&agent.name, &format!("the machine {}", opening.machine)).await?;
            }
            return Err(ApiError::agent_clone(&agent.name));
        }
        if !shared.lines.presence.has_room() && shared.lines.presence.of(&agent.name).is_none() {
            return Err(ApiError::busy("No more agents can be connected (max_connections); try again."));
        }
        // Whoever has recorded an opening has no other, and the agent never sends the same one twice.
        if !shared.lines.presence.is_new(&agent.name, &opening.nonce) {
            return Err(stranger());
        }
        attempt.keep_place()?;
        let binding = request.conn_data::<Binding>().cloned().unwrap_or(Binding::Nothing);
        let (answer, stream) = upgrade::upgrade(request, payload, SUBPROTOCOL)?;
        Ok(Self { agent, opening, binding, answer, stream, from: Whence::of(&attempt) })
    }
}

/// A host that shows a code, and a new key that it has.
pub(in crate::http) struct Enrolling {
    pub(in crate::http) body: api::NewAgent,
    from: Whence,
}

impl Enrolling {
    /// Whoever wants to be enrolled and has signed that with the code that they name. Whether there is such a code, the store knows.
    ///
    /// # Errors
    /// 401 when a signature does not hold, 400, 403 in the clear, 408, 413, 429, 503.
    pub(super) async fn of(request: &HttpRequest, payload: Payload, shared: &Shared) -> Result<Self, ApiError> {
        let attempt = Attempt::of(request, shared)?;
        may_try(&attempt, Check::AgentCode)?;
        let body = attempt.body(payload, true).await?;
        attempt.keep_place()?;
        let from = Whence::of(&attempt);
        let wrong = || {
            from.failed(shared, Check::AgentCode);
            ApiError::unauthorized()
        };
        let body: api::NewAgent = serde_json::from_slice(&body.bytes).map_err(|_| wrong())?;
        let showing = Showing { code: &body.code, key: &body.key, machine: &body.machine, nonce: &body.nonce };
        if showing.holds(&body.by_code, &body.by_key) { Ok(Self { body, from }) } else { Err(wrong()) }
    }

    /// There is no such code, which counts as a failed attempt.
    pub(in crate::http) fn was_wrong(&self, shared: &Shared) {
        self.from.failed(shared, Check::AgentCode);
    }
}
