//! Every rule, with its meaning, what to do and how it is judged: one file each, by its name.

pub(super) mod address_family;
pub(super) mod asset_cors;
pub(super) mod asset_empty;
pub(super) mod asset_integrity;
pub(super) mod asset_redirect;
pub(super) mod asset_status;
pub(super) mod asset_type;
pub(super) mod asset_unreachable;
pub(super) mod bad_redirect;
pub(super) mod blocked_asset;
pub(super) mod body;
pub(super) mod body_size;
pub(super) mod browser_blocked;
pub(super) mod browser_console;
pub(super) mod browser_dialog;
pub(super) mod browser_exception;
pub(super) mod browser_failed;
pub(super) mod browser_request;
pub(super) mod browser_upgraded;
pub(super) mod certificate_days;
pub(super) mod certificate_expired;
pub(super) mod certificate_name;
pub(super) mod certificate_pending;
pub(super) mod certificate_untrusted;
pub(super) mod content_encoding;
pub(super) mod dns;
pub(super) mod header;
pub(super) mod http_version;
pub(super) mod import_loop;
pub(super) mod insecure_form;
pub(super) mod json;
pub(super) mod latency;
pub(super) mod malformed_page;
pub(super) mod not_checked;
pub(super) mod private_asset;
pub(super) mod redirect_elsewhere;
pub(super) mod redirect_loop;
pub(super) mod redirect_to_http;
pub(super) mod release;
pub(super) mod rescued_asset;
pub(super) mod setup;
pub(super) mod status;
pub(super) mod timeout;
pub(super) mod too_many_redirects;
pub(super) mod truncated;
pub(super) mod unreachable;
pub(super) mod upgraded_asset;

use crate::assets::Flaw;
use crate::assets::Got;
use crate::assets::Wanted;
use crate::name::RuleLevel;
use crate::name::RuleName;
use crate::plan::RuleLevels;
use crate::report::Effect;
use crate::report::Finding;
use crate::report::Severity;

/// How long a finding is waited for before it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It stands at once.
    No,
    /// Until a second look agrees: it may have been an old container that was still answering.
    Confirm,
    /// Until the plan's `within` is over.
    Page,
    /// Until the plan's `certificate_within` is over.
    Certificate,
}

/// A rule: the same name in code, tests, README and reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// How bad a finding of it is, unless the finding itself says less.
    pub severity: Severity,
    /// What a browser does.
    pub effect: Effect,
    /// How long it is waited for.
    pub wait: Wait,
    /// What it means, as one sentence.
    pub meaning: &'static str,
    /// What to change, as one sentence.
    pub fix: &'static str,
}

impl Rule {
    /// A finding of this rule that says `message`.
    pub(super) fn finding(&self, message: String) -> Finding {
        Finding {
            rule: self.name.to_owned(),
            severity: self.severity,
            message,
            effect: self.effect,
            fix: self.fix.to_owned(),
            url: None,
            resolved: None,
            element: None,
            line: None,
            column: None,
            sheet: None,
            known: false,
        }
    }
}

/// Every rule, in the order in which a look meets them.
#[must_use]
pub fn rules() -> &'static [Rule] {
    RULES
}

/// The rule of this name.
#[must_use]
pub fn explain(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

/// Whether a finding of the rule of this name says that the check, or its browser, could not look: no fault of the page.
#[must_use]
pub fn is_own_fault(name: &str) -> bool {
    matches!(name, "setup" | "browser_failed")
}

/// In the order in which a look meets them.
const RULES: &[Rule] = &[
    setup::RULE,
    dns::RULE,
    unreachable::RULE,
    timeout::RULE,
    certificate_pending::RULE,
    certificate_expired::RULE,
    certificate_name::RULE,
    certificate_untrusted::RULE,
    certificate_days::RULE,
    redirect_to_http::RULE,
    redirect_elsewhere::RULE,
    redirect_loop::RULE,
    too_many_redirects::RULE,
    bad_redirect::RULE,
    status::RULE,
    header::RULE,
    content_encoding::RULE,
    body::RULE,
    body_size::RULE,
    json::RULE,
    latency::RULE,
    http_version::RULE,
    address_family::RULE,
    release::RULE,
    blocked_asset::RULE,
    upgraded_asset::RULE,
    rescued_asset::RULE,
    private_asset::RULE,
    insecure_form::RULE,
    malformed_page::RULE,
    asset_unreachable::RULE,
    asset_redirect::RULE,
    asset_status::RULE,
    asset_empty::RULE,
    asset_type::RULE,
    asset_cors::RULE,
    asset_integrity::RULE,
    import_loop::RULE,
    browser_blocked::RULE,
    browser_upgraded::RULE,
    browser_request::RULE,
    browser_exception::RULE,
    browser_console::RULE,
    browser_dialog::RULE,
    browser_failed::RULE,
    not_checked::RULE,
    truncated::RULE,
];

/// What is wrong with something that came. A fault that explains the others stands alone.
pub(super) fn flaws(wanted: &Wanted, got: &Got) -> Vec<Flaw> {
    let alone = asset_status::judge(got)
        .or_else(|| content_encoding::broken(got))
        .or_else(|| asset_cors::judge(got))
        .or_else(|| asset_empty::judge(wanted, got));
    let content = if alone.is_some() { [alone, None] } else { [asset_type::judge(wanted, got), asset_integrity::judge(wanted, got)] };
    upgraded_asset::judge(got).into_iter().chain(content_encoding::unknown(got)).chain(content.into_iter().flatten()).collect()
}

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

#[cfg(test)]
mod tests {
    use super::RuleName;
    use super::explain;
    use super::rules;

    #[test]
    fn every_rule_has_its_own_name_and_whole_sentences() {
        for (index, rule) in rules().iter().enumerate() {
            assert!(rules().iter().skip(index + 1).all(|other| other.name != rule.name), "{}", rule.name);
            assert!(rule.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            for sentence in [rule.meaning, rule.fix] {
                assert!(sentence.starts_with(char::is_uppercase) && sentence.ends_with('.'), "{sentence}");
            }
            assert_eq!(explain(rule.name), Some(rule));
        }
        assert_eq!(explain("nothing"), None);
        let names: Vec<&str> = rules().iter().map(|rule| rule.name).collect();
        assert_eq!(names, RuleName::ALL, "plans know the names");
    }

    /// A file of its name for each, and none besides.
    #[test]
    fn every_rule_has_a_file_of_its_name() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules");
        let names =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned());
        let mut files: Vec<String> = names.filter(|name| name != "mod").collect();
        let mut wanted: Vec<&str> = rules().iter().map(|rule| rule.name).collect();
        files.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(files, wanted);
    }
}
