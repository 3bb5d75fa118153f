//! The token of a job as a proof: it names the policy that accepts it, and what the job may only say as its forge does.

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
    /// What it may do.
    pub(super) policy: OidcPolicy,
    /// What its forge says of it.
    pub(super) job: Job,
    /// What tells its token from every other one.
    pub(super) token_id: String,
}

impl JobCaller {
    /// The job that `token` was issued for, once its issuer's key has proven it and a policy has accepted it.
    ///
    /// # Errors
    /// The one 401 where nothing is proven; 403 with all that is wrong for those who have a token of the issuer.
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

/// Whether `given`, what the body says, is what the token says, or left out.
///
/// # Errors
/// 403, with both.
pub(in crate::http) fn agrees(name: &str, given: Option<&str>, issued_for: &str) -> Result<(), ApiError> {
    let Some(given) = given.filter(|given| *given != issued_for) else { return Ok(()) };
    let given: String = given.chars().take(100).collect();
    Err(ApiError::token_refused(format!(
        "The body has the {name} \"{}\", but the token was issued for \"{issued_for}\"; leave {name} out, it is taken from the token.",
        given.escape_debug()
    )))
}
