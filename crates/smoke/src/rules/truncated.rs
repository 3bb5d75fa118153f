//! `truncated`.

use url::Url;

use crate::catalogue::TRUNCATED;
use crate::page::Asset;
use crate::redirect::excerpt;
use crate::report::Finding;

/// Of the page only so many bytes were looked at.
pub(crate) fn page(bytes: usize) -> Finding {
    TRUNCATED.finding(format!("Only the first {bytes} bytes of the page were looked at."))
}

/// The page's elements stand too deep.
pub(crate) fn by_depth() -> Finding {
    let message = "The page's elements stand so deep in one another that only its first part was looked at.";
    with_fix(message.to_owned(), "Look at why the page nests its elements thousands deep.")
}

/// Of the sheet at `url`, linked by `link`, only so many bytes were looked at.
pub(crate) fn sheet(link: &Asset, url: &Url, bytes: usize) -> Finding {
    let message =
        format!("Only the first {bytes} bytes of the style sheet {} ({}) were looked at.", excerpt(url.as_str()), link.location());
    let mut finding = with_fix(message, "Raise max_asset_kib in the plan so that the whole sheet is read.");
    link.mark(&mut finding);
    finding
}

/// The assets did not come in time.
pub(crate) fn by_time(message: String) -> Finding {
    with_fix(message, "Look at why they come so slowly; raise assets_within_s or concurrency in the plan when they may.")
}

/// There are too many assets.
pub(crate) fn by_number(message: String) -> Finding {
    with_fix(message, "Look at why the page asks for so many.")
}

/// The browser had more to report than is kept.
pub(crate) fn browser() -> Finding {
    let message = "The page asks for so much, or makes so many errors, that only the first of what the browser saw is told.";
    with_fix(message.to_owned(), "Mend what is told first, and look again.")
}

fn with_fix(message: String, fix: &str) -> Finding {
    Finding { fix: fix.to_owned(), ..TRUNCATED.finding(message) }
}
