//! `upgraded_asset`.

use crate::assets::Flaw;
use crate::assets::Got;
use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;
use crate::rules::asset_redirect;

/// An https page asks for something over http that browsers ask for over https instead; it is missing if https does not serve it.
pub(crate) const RULE: Rule = Rule {
    name: "upgraded_asset",
    severity: Severity::Error,
    effect: Effect::Upgraded,
    wait: Wait::Confirm,
    meaning: "An https page asks for something over http that browsers ask for over https instead; it is missing if https does not serve it.",
    fix: "Write https:// instead of http://, or an address without scheme and host.",
};

/// Whether a redirect leads to http, from where browsers go on over https.
pub(crate) fn judge(got: &Got) -> Option<Flaw> {
    let http = got.upgraded.as_ref()?;
    let flaw = Flaw::of(&RULE, format!("is redirected to {http}, and a browser goes on over https")).mild();
    let flaw = flaw.or_in_a_set(&asset_redirect::RULE, format!("is redirected to {http}: the page is https and that is http"));
    Some(flaw.with_fix("Let the redirect lead to https: have the proxy send X-Forwarded-Proto and the app trust it."))
}
