//! Any bytes in: an answer out, and no panic.

use proptest::prelude::*;
use url::Url;

use crate::page::PageHeaders;
use crate::page::decode;
use crate::page::scan;

/// Pieces that mean something to the parsers, so that their odd mixtures are met.
const PIECES: [&str; 48] = [
    "<",
    ">",
    "</",
    "/>",
    "<!--",
    "-->",
    "<img src=",
    "<link rel=stylesheet href=",
    "<style>",
    "</style>",
    "<template shadowrootmode=open>",
    "</template>",
    "<table>",
    "<tr><td>",
    "</table>",
    "<svg>",
    "</svg>",
    "<math>",
    "<select>",
    "<option>",
    "<selectedcontent>",
    "<p>",
    "<b>",
    "</b>",
    "<a>",
    "<form>",
    "<frameset>",
    "<iframe srcdoc='",
    "<base href=",
    "srcset='a 1x, ",
    "http://x/",
    "data:text/css,",
    "data:text/html;base64,",
    "'",
    "\"",
    "@import ",
    "url(",
    ")",
    "{",
    "}",
    ";",
    "image-set(",
    "@font-face{src:",
    "&amp;",
    "\\",
    "\0",
    "é",
    "<meta http-equiv=content-security-policy content=",
];

fn look(bytes: &[u8], content_type: Option<&str>) {
    let page = Url::parse("https://site.test/").unwrap();
    let headers = PageHeaders { links: vec![String::from_utf8_lossy(bytes).into_owned()], ..PageHeaders::default() };
    let scan = scan(&decode(bytes, content_type), &page, &headers);
    let _ = crate::mixed::judge(&scan, &page, &crate::plan::RuleLevels::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2000), charset in proptest::option::of("[a-z0-9;=\" -]{0,30}")) {
        look(&bytes, charset.map(|charset| format!("text/html;charset={charset}")).as_deref());
    }

    #[test]
    fn pieces(indexes in proptest::collection::vec(0..PIECES.len(), 0..200)) {
        let html: String = indexes.into_iter().map(|index| PIECES[index]).collect();
        look(html.as_bytes(), Some("text/html"));
    }
}

#[test]
fn deep_pages_end() {
    for piece in [
        "<div>",
        "<b>",
        "<svg>",
        "<table><td>",
        "<template>",
        "<iframe srcdoc='",
        "<p style='a(b(c[d{'>",
        "<div><template shadowrootmode=open>",
    ] {
        look(piece.repeat(4000).as_bytes(), Some("text/html"));
    }
    look(format!("<style>{}", "a{".repeat(50_000)).as_bytes(), Some("text/html"));
    look(format!("<style>{}", "@media all{".repeat(5_000)).as_bytes(), Some("text/html"));
    look(format!("<p style='{}'>", "x(".repeat(50_000)).as_bytes(), Some("text/html"));
}
