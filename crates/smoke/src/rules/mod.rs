//! The rules that judge, a file each by its name, and what a service's own levels make of findings.

pub(super) mod address_family;
pub(super) mod asset_cors;
pub(super) mod asset_empty;
pub(super) mod asset_integrity;
pub(super) mod asset_status;
pub(super) mod asset_type;
pub(super) mod body;
pub(super) mod body_size;
pub(super) mod content_encoding;
pub(super) mod header;
pub(super) mod http_version;
pub(super) mod import_loop;
pub(super) mod json;
pub(super) mod latency;
pub(super) mod malformed_page;
pub(super) mod redirect_elsewhere;
pub(super) mod status;
pub(super) mod truncated;
pub(super) mod upgraded_asset;

use crate::catalogue::RuleLevel;
use crate::catalogue::RuleName;
use crate::plan::RuleLevels;
use crate::report::Finding;

/// What the service's own levels leave of `findings`.
pub(super) fn settle(findings: Vec<Finding>, levels: &RuleLevels) -> Vec<Finding> {
    findings.into_iter().filter_map(|finding| settled(finding, levels)).collect()
}

/// `finding` as bad as the service takes it to be; none: its rule is off.
pub(super) fn settled(mut finding: Finding, levels: &RuleLevels) -> Option<Finding> {
    match level(&finding.rule, levels) {
        Some(None) => return None,
        Some(Some(severity)) => finding.severity = severity,
        None => {}
    }
    Some(finding)
}

/// Whether the service wants nothing of the rule of this name.
pub(super) fn is_off(name: &str, levels: &RuleLevels) -> bool {
    level(name, levels) == Some(None)
}

/// What the service says of the rule; none: nothing.
fn level(name: &str, levels: &RuleLevels) -> Option<RuleLevel> {
    levels.get(&RuleName::parse(name).ok()?).copied()
}
