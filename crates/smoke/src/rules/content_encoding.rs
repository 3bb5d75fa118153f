//! `content_encoding`.

use crate::assets::Flaw;
use crate::assets::Got;
use crate::catalogue::CONTENT_ENCODING;
use crate::client::Answer;
use crate::client::Packing;
use crate::redirect::excerpt;
use crate::report::Effect;
use crate::report::Finding;
use crate::report::Severity;

/// Whether `answer` can be unpacked as it says.
pub(crate) fn judge(answer: &Answer) -> Option<Finding> {
    match &answer.packing {
        Packing::Good => None,
        Packing::Broken(why) => Some(CONTENT_ENCODING.finding(format!("The body cannot be decompressed: it {}.", excerpt(why)))),
        Packing::Unknown(word) => Some(Finding {
            severity: Severity::Warning,
            effect: Effect::Nothing,
            ..CONTENT_ENCODING
                .finding(format!("Browsers do not know the Content-Encoding \"{}\"; they use the body as it is.", excerpt(word)))
        }),
    }
}

/// Something that the page asks for cannot be unpacked.
pub(crate) fn broken(got: &Got) -> Option<Flaw> {
    let Packing::Broken(why) = &got.packing else { return None };
    Some(Flaw::of(&CONTENT_ENCODING, format!("cannot be decompressed: it {}", excerpt(why))))
}

/// Something that the page asks for names a packing that no browser knows.
pub(crate) fn unknown(got: &Got) -> Option<Flaw> {
    let Packing::Unknown(word) = &got.packing else { return None };
    Some(Flaw::of(&CONTENT_ENCODING, format!("has the Content-Encoding \"{}\", which no browser knows", excerpt(word))).mild())
}
