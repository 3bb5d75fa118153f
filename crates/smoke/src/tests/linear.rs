//! The time of a scan grows with the page and no faster.
//!
//! It is the thread's own processor time, the best of several runs: what else the machine does hardly counts.

use std::time::Duration;

use rustix::time::ClockId;
use rustix::time::clock_gettime;
use url::Url;

use crate::page::PageHeaders;
use crate::page::scan;

/// Four times the page may take so many times as long. By the square it would be sixteen.
const MOST: f64 = 9.0;
const RUNS: usize = 5;

fn now() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
}

fn took(html: &str, headers: &PageHeaders) -> Duration {
    let page = Url::parse("https://site.test/dir/page").unwrap();
    let run = || {
        let began = now();
        assert!(!scan(html, &page, headers).incomplete, "{} bytes took too long", html.len());
        now().saturating_sub(began)
    };
    (0..RUNS).map(|_| run()).min().unwrap()
}

fn is_linear(what: &str, size: usize, headers: &PageHeaders, page: impl Fn(usize) -> String) {
    let (small, large) = (took(&page(size), headers), took(&page(4 * size), headers));
    let times = large.as_secs_f64() / small.as_secs_f64().max(0.000_2);
    println!("{what}: {small:?}, four times as much {large:?}: {times:.1} times");
    assert!(times <= MOST, "{what}: four times as much took {times:.1} times as long ({small:?}, {large:?})");
}

fn numbered(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect()
}

#[test]
fn four_times_the_page_takes_no_more_than_its_share() {
    let headers = PageHeaders::default();
    let is_linear = |what: &str, size: usize, page: &dyn Fn(usize) -> String| is_linear(what, size, &headers, page);
    is_linear("elements side by side", 2_000, &|n| "<p class=a><img src=http://x.test/a>\n".repeat(n));
    is_linear("elements on one line", 2_000, &|n| "<p class=a><img src=http://x.test/a>".repeat(n));
    is_linear("candidates of one srcset", 5_000, &|n| format!("<img srcset='{}'>", "a 1x, ".repeat(n)));
    is_linear("@media in @media", 500, &|n| format!("<style>{}p{{background:url(a)}}", "@media all{".repeat(n)));
    is_linear("rules in rules", 500, &|n| format!("<style>{}background:url(a)", "p{".repeat(n)));
    is_linear("rules", 2_000, &|n| format!("<p><style>{}</style>", "p{background:url(a)}".repeat(n)));
    is_linear("declarations of one rule", 2_000, &|n| format!("<p><style>p{{{}}}</style>", "background:url(a);".repeat(n)));
    is_linear("custom properties", 2_000, &|n| {
        let properties = numbered(n, |k| format!("--a{k}:url(a{k});b:var(--a{k});"));
        format!("<p style='{properties}'>")
    });
    is_linear("comments that do not close", 5_000, &|n| format!("<style>{}", "/* url(a) ".repeat(n)));
    is_linear("comments of HTML that do not close", 5_000, &|n| "<!-- <img src=a>".repeat(n));
    is_linear("base elements", 2_000, &|n| "<base href=http://x.test/><img src=a>".repeat(n));
    is_linear("a list of selectors", 5_000, &|n| format!("<p class=a><style>.a{}{{background:url(a)}}", ",.b > c:hover".repeat(n)));
    is_linear("style elements", 2_000, &|n| "<style>p{background:url(a)}</style>".repeat(n));
    is_linear("data: in data:", 1_000, &|n| format!("<style>@import 'data:text/css,{}'", "@import \"data:text/css,".repeat(n)));
    is_linear("frames side by side", 500, &|n| "<iframe srcdoc='<img src=a>'></iframe>".repeat(n));
    is_linear("functions in functions", 500, &|n| format!("<p style='background:{}'>", "x(".repeat(n)));
    is_linear("fallback below objects", 2_000, &|n| format!("<object data=a>{}", "<embed src=b>".repeat(n)));
    is_linear("sources of one picture", 2_000, &|n| format!("<picture>{}<img>", "<source srcset=a>".repeat(n)));
    is_linear("sources without an image", 2_000, &|n| format!("<picture>{}", "<source srcset=a>".repeat(n)));
    is_linear("imports of one module", 2_000, &|n| format!("<script type=module>{}</script>", "import 'http://x.test/a';\n".repeat(n)));
    is_linear("entries of one import map", 1_000, &|n| {
        let entries = numbered(n, |k| format!("\"a{k}\":\"/a{k}\","));
        let imports = numbered(n, |k| format!("import 'a{k}';"));
        format!("<script type=importmap>{{\"imports\":{{{entries}\"a\":\"/a\"}}}}</script><script type=module>{imports}</script>")
    });
    is_linear("folders of one import map", 500, &|n| {
        let entries = numbered(n, |k| format!("\"a{k}/\":\"/a{k}/\","));
        let imports = numbered(n, |k| format!("import 'b{k}/c';"));
        format!("<script type=importmap>{{\"imports\":{{{entries}\"a\":\"/a\"}}}}</script><script type=module>{imports}</script>")
    });
}

#[test]
fn four_times_the_xhtml_takes_no_more_than_its_share() {
    let headers = PageHeaders { is_xhtml: true, ..PageHeaders::default() };
    let root = |inner: String| format!("<html xmlns='http://www.w3.org/1999/xhtml'>{inner}</html>");
    let is_linear = |what: &str, size: usize, page: &dyn Fn(usize) -> String| is_linear(what, size, &headers, page);
    is_linear("elements side by side", 2_000, &|n| root("<p><img src='http://x.test/a'/></p>\n".repeat(n)));
    is_linear("elements in elements", 500, &|n| root(format!("{}{}", "<p>".repeat(n), "</p>".repeat(n))));
    is_linear("attributes of one element", 2_000, &|n| {
        let attributes = numbered(n, |k| format!(" a{k}=''"));
        root(format!("<p{attributes}/>"))
    });
}
