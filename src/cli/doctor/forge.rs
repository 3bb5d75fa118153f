//! The forges: whether they answer, and let tagalong do what it is configured for.

use std::collections::BTreeSet;

use crate::cli::doctor::Doctor;
use crate::config::Config;
use crate::config::Source;
use crate::forge::Forge;
use crate::oidc;

/// Each forge about each repository that it is told results of, and each issuer about its keys.
pub(super) async fn see_forges(doctor: &mut Doctor, config: &Config) {
    for service in config.services.values() {
        if let Some(source) = service.source.as_ref().filter(|source| source.report) {
            doctor.see(&format!("{}: forge {}", service.name, source.forge), may_report(config, source).await);
        }
    }
    let mut seen = BTreeSet::new();
    for policy in config.oidc.iter().filter(|policy| seen.insert(policy.issuer.as_str())) {
        let issuer = &policy.issuer;
        let keys = oidc::fetch_keys(issuer, policy.ca_file.as_deref()).await;
        let seen = keys
            .map(|keys| format!("the issuer's key set has {} keys", keys.len()))
            .map_err(|why| format!("{why}; its tokens are refused."));
        doctor.see(&format!("oidc: {issuer}"), seen);
    }
}

async fn may_report(config: &Config, source: &Source) -> Result<String, String> {
    let repository = &source.repository;
    let plan = config.forge(&source.forge).ok_or_else(|| format!("there is no [[forge]] with the id {}", source.forge))?;
    let forge = Forge::new(plan).map_err(|error| error.to_string())?;
    forge.may_report(repository).await.map_err(|error| format!("results cannot be shown on commits of {repository}: {error}"))?;
    Ok(format!("results can be shown on commits of {repository} at {}", plan.url))
}
