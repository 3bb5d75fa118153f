//! From a token to who calls: taken apart, proven by the issuer's key, and only then judged.

use crate::config::OidcPolicy;
use crate::oidc::job::Job;
use crate::oidc::judge::Finding;
use crate::oidc::judge::Verdict;
use crate::oidc::judge::job_of;
use crate::oidc::judge::of_every_token;
use crate::oidc::keys::KeySets;
use crate::oidc::token::Fault;
use crate::oidc::token::Token;

/// Whether `given` is to be looked at as a token of a job: three parts, the first of which begins as every JSON object does in base64url.
#[must_use]
pub fn seems_to_be_one(given: &str) -> bool {
    given.starts_with("ey") && given.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// What was found out about a token.
#[derive(Debug)]
pub struct Looked {
    /// What it was issued for; none: a claim is missing.
    pub job: Option<Job>,
    /// What every token must hold to.
    pub findings: Vec<Finding>,
    /// What each policy says, in their order.
    pub verdicts: Vec<Verdict>,
}

impl Looked {
    /// What the policies say to `token` at `now_ms`, whoever signed it.
    #[must_use]
    pub fn at(policies: &[OidcPolicy], token: &Token, now_ms: i64) -> Self {
        let mut findings = of_every_token(token, now_ms);
        let of_issuer = policies.iter().find(|policy| token.is_of(policy.issuer.as_str()));
        let (job, wrong) = of_issuer.map_or_else(|| (None, Vec::new()), |policy| job_of(policy, token));
        findings.extend(wrong);
        Self { job, findings, verdicts: policies.iter().map(|policy| Verdict::of(policy, token)).collect() }
    }

    /// The place of the policy that accepts the token, and the job that calls.
    #[must_use]
    pub fn accepted(&self) -> Option<(usize, &Job)> {
        let job = self.job.as_ref().filter(|_| self.findings.iter().all(|finding| finding.holds))?;
        Some((self.verdicts.iter().position(Verdict::holds)?, job))
    }

    /// Why no policy accepts it, for the people of the job. Of policies for other repositories they are told nothing.
    #[must_use]
    pub fn refusal(&self) -> String {
        let failing = |findings: &[Finding]| {
            let texts: Vec<String> = findings.iter().filter(|finding| !finding.holds).map(ToString::to_string).collect();
            texts.join("; ")
        };
        let mut sentences = Vec::new();
        if self.findings.iter().any(|finding| !finding.holds) {
            sentences.push(format!("The token is not accepted: {}.", failing(&self.findings)));
        }
        let mine: Vec<&Verdict> = self.verdicts.iter().filter(|verdict| verdict.is_for_its_repository).collect();
        for verdict in mine.iter().filter(|verdict| !verdict.holds()) {
            sentences.push(format!("The policy {} does not accept it: {}.", verdict.policy, failing(&verdict.findings)));
        }
        if mine.is_empty() {
            sentences.push("No policy is for the repository of the token.".to_owned());
        }
        sentences.join(" ")
    }
}

/// Whether the issuer of `token`, which must be that of a policy, has signed it. The configuration is what decides who is asked for keys.
///
/// # Errors
/// [`Fault`].
pub async fn prove(sets: &KeySets, policies: &[OidcPolicy], token: &Token) -> Result<(), Fault> {
    let policy = policies.iter().find(|policy| token.is_of(policy.issuer.as_str())).ok_or(Fault::Issuer)?;
    sets.prove(&policy.issuer, policy.ca_file.as_deref(), token).await
}
