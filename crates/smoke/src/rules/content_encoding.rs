//! `content_encoding`.

use crate::assets::Flaw;
use crate::assets::Got;
use crate::client::Answer;
use crate::client::Packing;
use crate::redirect::shown;
use crate::report::Effect;
use crate::report::Finding;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The content is not packed as its Content-Encoding says, or by a word that no browser knows.
pub(crate) const RULE: Rule = Rule {
    name: "content_encoding",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Confirm,
    meaning: "The content is not packed as its Content-Encoding says, or by a word that no browser knows.",
    fix: "Let the app or the proxy send a Content-Encoding that is true: gzip, br, zstd, deflate, or none.",
};

/// Whether `answer` can be unpacked as it says.
pub(crate) fn judge(answer: &Answer) -> Option<Finding> {
    match &answer.packing {
        Packing::Good => None,
        Packing::Broken(why) => Some(RULE.finding(format!("The body cannot be unpacked: it {}.", shown(why)))),
        Packing::Unknown(word) => Some(Finding {
            severity: Severity::Warning,
            effect: Effect::Nothing,
            ..RULE.finding(format!("The Content-Encoding \"{}\" is none that browsers know; they take the body as it stands.", shown(word)))
        }),
    }
}

/// Something that the page asks for cannot be unpacked.
pub(crate) fn broken(got: &Got) -> Option<Flaw> {
    let Packing::Broken(why) = &got.packing else { return None };
    Some(Flaw::of(&RULE, format!("cannot be unpacked: it {}", shown(why))))
}

/// Something that the page asks for names a packing that no browser knows.
pub(crate) fn unknown(got: &Got) -> Option<Flaw> {
    let Packing::Unknown(word) = &got.packing else { return None };
    Some(Flaw::of(&RULE, format!("has the Content-Encoding \"{}\", which no browser knows", shown(word))).mild())
}
