//! What the policy of the service finds in its stack, before anything changes.

use std::collections::BTreeMap;

use policy::Finding;
use policy::Level;
use policy::RuleName;

use crate::engine::Resolved;
use crate::landing::site::Site;
use crate::landing::stop::Stop;
use crate::model::Guard;
use crate::model::OrderKind;

/// Says what the rules find in the stack, and refuses it where a rule of the level `refuse` finds something. What ran before may always
/// come back.
pub(super) fn judge(site: &mut Site<'_>, resolved: &Resolved) -> Result<(), Stop> {
    if site.order.kind != OrderKind::Deploy {
        return Ok(());
    }
    let is_overruled = site.order.is_of_the_host() && site.order.overruling_reason().is_some();
    let mut against = Vec::new();
    for (rule, (level, text)) in by_rule(&resolved.judged(&site.service.policy)) {
        let text = format!("policy {}: {text}", rule.rule().name);
        match level {
            Level::Off => {}
            Level::Note => site.record.journal.note(text),
            Level::Refuse if !is_overruled => against.push(format!("{text} {}", rule.rule().fix)),
            Level::Warn | Level::Refuse => site.record.journal.warning(format!("{text} {}", rule.rule().fix)),
        }
    }
    if against.is_empty() {
        return Ok(());
    }
    let how = if site.order.force && site.order.is_of_the_host() {
        "or give a reason beside --force"
    } else {
        "or force the order with a reason on the host itself"
    };
    let service = &site.service.name;
    Err(Stop::refused(Guard::Policy, format!("The stack of {service} breaks its policy. {} Change that, {how}.", against.join(" "))))
}

/// The findings of each rule in one text.
fn by_rule(findings: &[Finding]) -> BTreeMap<RuleName, (Level, String)> {
    let mut all: BTreeMap<RuleName, (Level, String)> = BTreeMap::new();
    for Finding { rule, level, message } in findings {
        let (_, text) = all.entry(*rule).or_insert_with(|| (*level, String::new()));
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(message);
    }
    all
}
