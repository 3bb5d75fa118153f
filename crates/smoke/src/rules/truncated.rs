//! `truncated`.

use url::Url;

use crate::catalogue::TRUNCATED;
use crate::page::Asset;
use crate::redirect::excerpt;
use crate::report::Finding;

/// Of the page only so many bytes were looked at.
pub(crate) fn page(bytes: usize) -> Finding {
    TRUNCATED.finding(format!("Only the first {bytes} bytes of the page were checked."))
}

/// The page's elements stand too deep.
pub(crate) fn by_depth() -> Finding {
    let message = "The page nests its elements so deeply that only its first part was checked.";
    with_fix(message.to_owned(), "Find out why the page nests its elements thousands of levels deep.")
}

/// Of the sheet at `url`, linked by `link`, only so many bytes were looked at.
pub(crate) fn sheet(link: &Asset, url: &Url, bytes: usize) -> Finding {
    let message = format!("Only the first {bytes} bytes of the style sheet {} ({}) were checked.", excerpt(url.as_str()), link.location());
    let mut finding = with_fix(message, "Raise max_asset_kib in the plan so that the whole sheet is read.");
    link.mark(&mut finding);
    finding
}

/// The assets did not come in time.
pub(crate) fn by_time(message: String) -> Finding {
    with_fix(message, "Find out why they are so slow; if that is acceptable, raise assets_within_s or concurrency in the plan.")
}

/// There are too many assets.
pub(crate) fn by_number(message: String) -> Finding {
    with_fix(message, "Find out why the page requests so many.")
}

/// The browser had more to report than is kept.
pub(crate) fn browser() -> Finding {
    let message = "The page makes so many requests or errors that only the first of them are reported.";
    with_fix(message.to_owned(), "Fix what is reported first, and check again.")
}

fn with_fix(message: String, fix: &str) -> Finding {
    Finding { fix: fix.to_owned(), ..TRUNCATED.finding(message) }
}
