//! Authentication by the token of a job: the policy that accepts the token, and the fields that the body may only name as the token does.

use crate::clock;
use crate::config::OidcPolicy;
use crate::http::auth::attempt::Attempt;
use crate::http::error::ApiError;
use crate::http::refused::Check;
use crate::oidc::Fault;
use crate::oidc::Job;
use crate::oidc::Looked;
use crate::oidc::Token;
use crate::oidc::prove;

/// A job whose token was accepted.
#[derive(Debug)]
pub(super) struct JobCaller {
    /// The policy, which says what the job may do.
    pub(super) policy: OidcPolicy,
    /// The job, as its forge describes it.
    pub(super) job: Job,
    /// What distinguishes its token from every other one.
    pub(super) token_id: String,
}

impl JobCaller {
    /// The job that `token` was issued for, after the issuer's key has verified it and a policy has accepted it.
    ///
    /// # Errors
    /// The usual 401 if the token is not genuine; 403 with everything that is wrong if it is.
    pub(super) async fn of(attempt: &Attempt<'_>, token: &str) -> Result<Self, ApiError> {
        let policies = &attempt.config.oidc;
        let parsed = Token::parse(token);
        let proven = match &parsed {
            Ok(token) => prove(&attempt.shared.key_sets, policies, token).await,
            Err(fault) => Err(fault.clone()),
        };
        let token = match (parsed, proven) {
            (Ok(token), Ok(())) => token,
            (_, Err(fault)) | (Err(fault), _) => return Err(unproven(attempt, &fault)),
        };
        let looked = Looked::at(policies, &token, clock::now_ms());
        let Some((at, job)) = looked.accepted() else {
            attempt.refused(Check::JobClaims, || (Check::JobClaims, None));
            attempt.fail();
            return Err(ApiError::token_refused(looked.refusal()));
        };
        Ok(Self { policy: policies[at].clone(), job: job.clone(), token_id: token.digest() })
    }
}

fn unproven(attempt: &Attempt<'_>, fault: &Fault) -> ApiError {
    if attempt.is_spent() {
        return attempt.too_many();
    }
    let check = match fault {
        Fault::Form(_) | Fault::Issuer => Check::JobToken,
        Fault::Key { .. } | Fault::Busy(_) => Check::JobKey,
        Fault::Signature => Check::JobSignature,
    };
    attempt.refused(check, || (check, None));
    attempt.fail();
    ApiError::unauthorized()
}

/// Checks that `given`, the value in the body, is missing or the same as in the token.
///
/// # Errors
/// 403, which names both values.
pub(in crate::http) fn agrees(name: &str, given: Option<&str>, issued_for: &str) -> Result<(), ApiError> {
    let Some(given) = given.filter(|given| *given != issued_for) else { return Ok(()) };
    let given: String = given.chars().take(100).collect();
    Err(ApiError::token_refused(format!(
        "The body has the {name} \"{}\", but the token was issued for \"{issued_for}\"; leave {name} out, it is taken from the token.",
        given.escape_debug()
    )))
}
