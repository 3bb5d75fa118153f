//! Rules that a resolved compose configuration keeps or breaks: what its containers may do to their host, and what they lack.
//!
//! [`judge`] is a pure function over the JSON that `docker compose config` writes. The rules stand in `catalogue.rs`, one entry each; how
//! each judges stands in `each.rs`.

mod catalogue;
mod each;
mod name;
mod policy;
mod service;
mod stack;

pub use catalogue::{Rule, rules};
pub use name::RuleName;
pub use policy::{Level, Policy};
pub use stack::Stack;

use crate::service::Service;

/// What a rule has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: RuleName,
    /// What becomes of it.
    pub level: Level,
    /// What was found, as one sentence that begins with the service.
    pub message: String,
}

/// Everything that the rules find in a stack, in their order.
#[must_use]
pub fn judge(stack: &Stack<'_>, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in RuleName::all() {
        let level = policy.level(rule);
        if level == Level::Off {
            continue;
        }
        for name in stack.active {
            let Some(service) = Service::of(stack, name) else { continue };
            let found = (rule.rule().judge)(&service, policy);
            findings.extend(found.into_iter().map(|what| Finding { rule, level, message: format!("{name} {what}.") }));
        }
    }
    findings
}

#[cfg(test)]
mod tests;
