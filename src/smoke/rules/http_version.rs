//! `http_version`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// The page is served by another version of HTTP than the plan asks for.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "http_version",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "The page is served by another version of HTTP than the plan asks for.",
    fix: "Switch the version on in the proxy (for HTTP/2 by ALPN over TLS), or correct http_version in the plan.",
};
