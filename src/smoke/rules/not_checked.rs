//! `not_checked`.

use url::Url;

use crate::model::Effect;
use crate::model::Finding;
use crate::model::Severity;

use crate::smoke::page::Asset;
use crate::smoke::redirect::shown;
use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// A part of the page was not looked at.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "not_checked",
    severity: Severity::Note,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "A part of the page was not looked at.",
    fix: "Nothing need be changed; look at that part yourself.",
};

/// The sheet at `url`, linked by `link`, came compressed.
pub(in crate::smoke) fn packed_sheet(link: &Asset, url: &Url) -> Finding {
    let (url, place) = (shown(url.as_str()), link.place());
    let mut finding =
        RULE.finding(format!("The style sheet {url} ({place}) came packed, although nobody asked for that, and was not read."));
    finding.severity = Severity::Note;
    "Let the server pack answers only for those who send Accept-Encoding.".clone_into(&mut finding.fix);
    link.mark(&mut finding);
    finding
}
