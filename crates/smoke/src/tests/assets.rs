//! What a page asks for is fetched, and what comes is judged. Whether a single answer is one that browsers use is asked of
//! Chromium itself in `chromium_assets.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use text::Secret;

use crate::catalogue::RuleName;
use crate::plan::FetchPlan;
use crate::plan::SmokePlan;
use crate::report::Finding;
use crate::report::Report;
use crate::report::Severity;
use crate::tests::server::Authority;
use crate::tests::server::Server;
use crate::tests::server::Talk;
use crate::tests::server::http;
use crate::tests::server::look;
use crate::tests::server::page;
use crate::tests::server::rules;

const CSS: &str = "content-type: text/css";
const PNG: &str = "content-type: image/png";

/// A site of these files: path, header lines and body. What is not there is missing.
async fn site(html: &str, files: &[(&str, &[&str], &str)]) -> Server {
    let mut answers: BTreeMap<String, String> =
        files.iter().map(|(path, headers, body)| ((*path).to_owned(), http(200, headers, body))).collect();
    answers.insert("/".to_owned(), page(html));
    Server::https_of_two_origins(Box::new(move |_, head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        Some(answers.get(path).cloned().unwrap_or_else(|| http(404, &["content-type: text/plain"], "not here")))
    }))
    .await
}

fn fetching(server: &Server, change: impl FnOnce(&mut FetchPlan)) -> SmokePlan {
    let mut plan = server.fetching_plan();
    plan.fetch.as_mut().map(change);
    plan
}

fn asked(server: &Server) -> Vec<String> {
    let heads = server.heads.lock().unwrap();
    heads.iter().filter_map(|head| head.split(' ').nth(1).map(str::to_owned)).collect()
}

/// Rule, severity and place of each finding.
fn places(report: &Report) -> Vec<(&str, Severity, String)> {
    let place = |finding: &Finding| {
        let sheet = finding.sheet.as_deref().map_or(String::new(), |sheet| format!(" in {sheet}"));
        format!("{}{sheet}:{}", finding.element.as_deref().unwrap_or_default(), finding.line.unwrap_or_default())
    };
    report.findings.iter().map(|finding| (finding.rule.as_str(), finding.severity, place(finding))).collect()
}

#[tokio::test]
async fn sheets_are_followed_and_their_addresses_are_their_own() {
    let html = "<!doctype html>\n<link rel=stylesheet href=css/a.css>\n<p class=x>";
    let files: &[(&str, &[&str], &str)] = &[
        ("/css/a.css", &[CSS], "@import \"deep/b.css\";\n.x { background: url(a.png) }\n.y { background: url(never.png) }"),
        ("/css/deep/b.css", &[CSS], ".x {\n list-style: url(b.png);\n cursor: url(http://site.test/c.png), auto }"),
        ("/css/a.png", &[PNG], "png"),
    ];
    let server = site(html, files).await;
    let report = look(&server.fetching_plan(), None).await;
    assert_eq!(
        places(&report),
        [
            ("upgraded_asset", Severity::Error, "url() in https://site.test/css/deep/b.css:3".to_owned()),
            ("asset_status", Severity::Error, "url() in https://site.test/css/deep/b.css:2".to_owned()),
        ]
        .map(|place| place)
        .into_iter()
        .rev()
        .collect::<Vec<_>>()
    );
    assert_eq!(
        report.findings[0].message,
        "https://site.test/css/deep/b.png (url() in https://site.test/css/deep/b.css, line 2) answers 404."
    );
    assert_eq!((report.assets, report.fetched), (5, 4), "{:?}", asked(&server));
    assert!(!asked(&server).contains(&"/css/never.png".to_owned()), "no element has that class, and no script can give it");
}

#[tokio::test]
async fn sheets_in_a_circle_and_without_end_come_to_an_end() {
    let html = "<link rel=stylesheet href=/a.css><link rel=stylesheet href=/self.css>";
    let files: &[(&str, &[&str], &str)] = &[
        ("/a.css", &[CSS], "@import '/b.css';"),
        ("/b.css", &[CSS], "@import '/a.css';"),
        ("/self.css", &[CSS], "@import '';@import '#x';@import 'self.css';"),
    ];
    let server = site(html, files).await;
    let report = look(&server.fetching_plan(), None).await;
    assert!(report.passed());
    let loops: Vec<_> = report.findings.iter().filter(|finding| finding.rule == "import_loop").collect();
    assert_eq!((loops.len(), report.fetched), (2, 3), "{report:?}");

    let endless = Server::https(Box::new(|_, head| {
        let number = head.split("/s").nth(1).and_then(|rest| rest.split(".css").next()?.parse::<u32>().ok());
        Some(
            number.map_or_else(|| page("<link rel=stylesheet href=/s0.css>"), |n| http(200, &[CSS], &format!("@import 's{}.css';", n + 1))),
        )
    }))
    .await;
    let report = look(&endless.fetching_plan(), None).await;
    assert_eq!((rules(&report), report.fetched), (vec!["import_loop"], 32));
    assert!(report.findings[0].message.contains("so deep"), "{report:?}");
}

#[tokio::test]
async fn each_address_is_asked_once_and_strangers_not_at_all() {
    let html = "<img src=/a.png><img src=/a.png#x><img srcset='/a.png 2x'><script src=//strange.test/x></script><script src=//strange.test/y></script>\
                <img src=data:,><link rel=icon href=/a.png><a href=/page>x</a><form action=/sent></form>";
    let server = site(html, &[("/a.png", &[PNG], "png")]).await;
    let report = look(&server.fetching_plan(), None).await;
    assert_eq!(places(&report), [("not_checked", Severity::Note, ":0".to_owned())], "{report:?}");
    assert_eq!(report.findings[0].message, "Assets on other hosts were not fetched: strange.test (2).");
    assert_eq!(asked(&server), ["/", "/a.png"]);
    assert_eq!(report.fetched, 1);
}

#[tokio::test]
async fn only_the_own_origin_sees_the_plan_s_secrets_and_the_page_s_cookies() {
    let server = Server::https_of_two_origins(Box::new(|_, head| {
        let port = head.split("port=").nth(1).and_then(|rest| rest.split(' ').next());
        let Some(port) = port.filter(|_| head.starts_with("GET /?")) else { return Some(http(200, &[PNG], "png")) };
        let html = format!("<img src=/own.png><img src=https://localhost:{port}/other.png>");
        Some(http(200, &["content-type: text/html", "set-cookie: visit=1"], &html))
    }))
    .await;
    let mut plan = server.fetching_plan();
    plan.url.set_query(Some(&format!("port={}", server.port)));
    plan.basic_auth = Some(("staging".to_owned(), Secret::new("hush".to_owned())));
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.fetched), (vec![], 2), "{report:?}");
    let heads = server.heads.lock().unwrap().iter().map(|head| head.to_lowercase()).collect::<Vec<_>>();
    let head = |path: &str| heads.iter().find(|head| head.starts_with(&format!("get {path} "))).unwrap();
    assert!(head("/own.png").contains("authorization: basic") && head("/own.png").contains("cookie: visit=1"));
    assert!(head("/own.png").contains(&format!("referer: https://site.test/?port={}\r\n", server.port)));
    assert!(!head("/other.png").contains("authorization") && !head("/other.png").contains("cookie"));
    assert!(head("/other.png").contains("referer: https://site.test/\r\n"));
}

#[tokio::test]
async fn what_visitors_do_not_miss_is_a_warning() {
    let html = "<script></script><link rel=preload as=image href=/1><link rel=prefetch href=/2><link rel=icon href=/3><link rel=manifest href=/4>\
                <style>.later { background: url(/5) } @font-face { font-family: f; src: url(/6.woff2), url(/never.ttf) } p { font: 12px f }\
                @font-face { font-family: unused; src: url(/8.woff2) }</style><p><video preload=none src=/7></video>";
    let server = site(html, &[]).await;
    let report = look(&server.fetching_plan(), None).await;
    let severities: Vec<_> = report.findings.iter().map(|finding| (finding.url.as_deref().unwrap(), finding.severity)).collect();
    let warned = ["/1", "/2", "/3", "/4", "/5", "/7", "/8.woff2"].map(|url| (url, Severity::Warning));
    assert_eq!(severities[0], ("/6.woff2", Severity::Error));
    assert_eq!(severities[1..].iter().copied().collect::<std::collections::BTreeSet<_>>(), warned.into_iter().collect(), "{report:?}");
}

#[tokio::test]
async fn a_host_that_is_asked_too_much_is_asked_more_slowly() {
    let refused = Arc::new(Mutex::new(0));
    let server = Server::https(Box::new(move |_, head| {
        if head.starts_with("GET / ") {
            return Some(page("<img src=/a><img src=/b>"));
        }
        let mut refused = refused.lock().unwrap();
        *refused += 1;
        Some(if *refused <= 2 { http(429, &["retry-after: 0"], "slowly") } else { http(200, &[PNG], "png") })
    }))
    .await;
    let report = look(&server.fetching_plan(), None).await;
    assert_eq!((rules(&report), report.fetched), (vec![], 2), "{report:?}");

    let server = Server::https(Box::new(|_, head| {
        Some(if head.starts_with("GET / ") { page("<img src=/a>") } else { http(429, &["retry-after: 0"], "slowly") })
    }))
    .await;
    let report = look(&server.fetching_plan(), None).await;
    assert_eq!((rules(&report), report.passed()), (vec!["asset_status"], true));
    assert!(report.findings[0].fix.contains("concurrency"), "{report:?}");
}

#[tokio::test]
async fn no_more_are_under_way_than_the_plan_says() {
    let mut html = String::new();
    for number in 0..60 {
        let _ = write!(html, "<img src=/{number}.png>");
    }
    let open = Arc::new(Mutex::new((0, 0)));
    let seen = Arc::clone(&open);
    let server = Server::https(Box::new(move |_, head| {
        if head.starts_with("GET / ") {
            return Some(page(&html));
        }
        let mut counts = open.lock().unwrap();
        counts.0 += 1;
        drop(counts);
        // Long enough for others to come meanwhile, if they would.
        std::thread::sleep(Duration::from_millis(2));
        let mut counts = open.lock().unwrap();
        counts.1 = counts.1.max(counts.0);
        counts.0 -= 1;
        Some(http(200, &[PNG], "png"))
    }))
    .await;
    let report = look(&fetching(&server, |fetch| fetch.concurrency = 3), None).await;
    assert_eq!((rules(&report), report.fetched), (vec![], 60));
    assert!(seen.lock().unwrap().1 <= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn what_does_not_come_is_waited_for_only_so_long() {
    let server = Server::https(Box::new(|_, head| {
        if head.starts_with("GET / ") {
            return Some(page("<img src=/hangs><img src=/closes><img src=/short>"));
        }
        if head.starts_with("GET /hangs ") {
            // A promise without content, kept open by the server's own patience.
            std::thread::sleep(Duration::from_secs(8));
        }
        head.starts_with("GET /short ").then(|| "HTTP/1.1 200 X\r\ncontent-type: image/png\r\ncontent-length: 100\r\n\r\nshort".to_owned())
    }))
    .await;
    let mut plan = server.fetching_plan();
    plan.timeout = Duration::from_secs(5);
    let report = look(&plan, None).await;
    let messages: Vec<_> = report.findings.iter().map(|finding| (finding.rule.as_str(), finding.message.as_str())).collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(messages.iter().all(|(rule, _)| *rule == "asset_unreachable"), "{messages:?}");
    let says = |path: &str, what: &str| messages.iter().any(|(_, message)| message.contains(path) && message.contains(what));
    assert!(says("/short ", "breaks off after 5 bytes") && says("/closes ", "failed to load"), "{messages:?}");
    assert!(says("/hangs ", "did not arrive within 5000 ms"), "{messages:?}");

    let server = Server::https(Box::new(|_, head| {
        if !head.starts_with("GET / ") {
            std::thread::sleep(Duration::from_millis(300));
        }
        Some(page("<img src=/a><img src=/b>"))
    }))
    .await;
    let plan = fetching(&server, |fetch| fetch.within = Duration::from_millis(100));
    let report = look(&SmokePlan { timeout: Duration::from_mins(1), ..plan }, None).await;
    assert!(rules(&report).iter().all(|rule| matches!(*rule, "truncated" | "asset_unreachable")), "{report:?}");
    assert!(!report.findings.is_empty());
}

#[tokio::test]
async fn a_large_sheet_is_read_as_far_as_the_plan_says() {
    let sheet = format!("p {{ background: url(/first.png) }}\n{}\np {{ list-style: url(/last.png) }}", "/* much ado */".repeat(20_000));
    let files: &[(&str, &[&str], &str)] = &[("/a.css", &[CSS], &sheet), ("/first.png", &[PNG], "png"), ("/last.png", &[PNG], "png")];
    let server = site("<!doctype html><link rel=stylesheet href=/a.css><p>", files).await;
    let report = look(&server.fetching_plan(), None).await;
    assert_eq!((rules(&report), report.fetched), (vec![], 3));
    let report = look(&fetching(&server, |fetch| fetch.max_bytes = 1000), None).await;
    assert_eq!((rules(&report), report.fetched), (vec!["truncated"], 2));
    assert!(report.findings[0].fix.contains("max_asset_kib"));
}

#[tokio::test]
async fn what_is_used_by_name_is_found_across_sheets_and_in_their_encoding() {
    let html = "<!doctype html><link rel=stylesheet href=/a.css><link rel=stylesheet href=/b.css><p>";
    let files: &[(&str, &[&str], &str)] = &[
        ("/a.css", &[CSS], "p { background: var(--logo) }"),
        ("/b.css", &[CSS], ":root { --logo: url(logo.png); --other: url(other.png) }"),
    ];
    let server = site(html, files).await;
    let report = look(&server.fetching_plan(), None).await;
    assert_eq!((rules(&report), report.fetched), (vec!["asset_status"], 3), "{report:?}");
    assert_eq!(report.findings[0].resolved.as_deref(), Some("https://site.test/logo.png"));

    let policy = "content-security-policy: upgrade-insecure-requests";
    let server = Server::https(Box::new(move |_, head| {
        Some(match head.split(' ').nth(1).unwrap_or_default() {
            "/" => http(200, &["content-type: text/html", policy], "<!doctype html><link rel=stylesheet href=http://site.test/a.css><p>"),
            "/a.css" => http(200, &[CSS], "p { background: url(http://site.test/missing.png) }"),
            _ => http(404, &[], "no"),
        })
    }))
    .await;
    let report = look(&server.fetching_plan(), None).await;
    let rescued: Vec<_> = report.findings.iter().map(|finding| (finding.rule.as_str(), finding.severity)).collect();
    let warned = ("rescued_asset", Severity::Warning);
    assert_eq!(rescued, [("asset_status", Severity::Error), warned, warned], "the policy of the page holds in its sheets: {report:?}");
}

#[tokio::test]
async fn a_page_that_differs_each_time_has_its_assets_asked_once() {
    let server = Server::https(Box::new(|number, head| {
        Some(match head.split(' ').nth(1).unwrap_or_default() {
            "/" => page(&format!(
                "<!doctype html><meta name=token content={number}><link rel=stylesheet href=/a.css><p><img src=/only-{number}.png>"
            )),
            "/a.css" => {
                http(200, &[CSS], "p { background: url(/missing.png); font: 1em f } @font-face { font-family: f; src: url(/f.woff2) }")
            }
            path if path.starts_with("/only") => http(200, &[PNG], "png"),
            _ => http(404, &[], "no"),
        })
    }))
    .await;
    let mut plan = server.fetching_plan();
    plan.samples = 3;
    // Warnings alone, so that the page is sampled further.
    plan.rules.insert(RuleName::parse("asset_status").unwrap(), Some(Severity::Warning));
    let report = look(&plan, None).await;
    let messages: Vec<&str> = report.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages.iter().all(|message| message.ends_with("answers 404.")), "seen in every answer: {messages:?}");
    let asked = asked(&server);
    let times = |path: &str| asked.iter().filter(|one| *one == path).count();
    assert_eq!((times("/"), times("/a.css"), times("/missing.png"), times("/f.woff2")), (3, 1, 1, 1), "{asked:?}");
    assert_eq!(asked.iter().filter(|path| path.starts_with("/only")).count(), 3, "{asked:?}");
}

#[tokio::test]
async fn what_comes_packed_is_judged_by_its_content() {
    let html = "<!doctype html><link rel=stylesheet href=/a.css><p><link rel=stylesheet href=/b.css><script src=/c.js></script>";
    let gzip = |head: &str, content: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(content.as_bytes()).unwrap();
        let body = packed.finish().unwrap();
        let head =
            format!("HTTP/1.1 200 X\r\n{head}\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        [head.into_bytes(), body].concat()
    };
    let (authority, html) = (Authority::new("Test Authority"), html.to_owned());
    let talk = Talk::Tls(Arc::new(authority.leaf(&["site.test"], |_| {})));
    let script = move |_, head: &str| {
        Some(match head.split(' ').nth(1).unwrap_or_default() {
            "/" => gzip("content-type: text/html", &html),
            "/a.css" => gzip(CSS, "p { background: url(/missing.png) }"),
            "/b.css" => http(200, &[CSS, "content-encoding: gzip"], "p { background: url(/never.png) }").into_bytes(),
            "/c.js" => gzip("content-type: text/html", "<!doctype html><p>Nothing is here"),
            _ => http(404, &[], "no").into_bytes(),
        })
    };
    let server = Server::start_with_bytes(&authority, move |_| talk.clone(), Box::new(script)).await;
    let report = look(&server.fetching_plan(), None).await;
    let mut seen: Vec<_> = report.findings.iter().map(|finding| (finding.rule.as_str(), finding.url.as_deref().unwrap())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("asset_status", "/missing.png"), ("asset_type", "/c.js"), ("content_encoding", "/b.css")], "{report:?}");
    assert!(server.heads.lock().unwrap().iter().all(|head| head.contains("accept-encoding: identity\r\n")));
}

#[tokio::test]
async fn what_a_host_says_that_is_asked_too_much_is_no_style_sheet() {
    let busy = http(429, &[CSS, "retry-after: 0"], "p{background:url(/never.png)}");
    let server = Server::https(Box::new(move |_, head| {
        Some(if head.starts_with("GET /a.css") { busy.clone() } else { page("<link rel=stylesheet href=/a.css><p>") })
    }))
    .await;
    let report = look(&server.fetching_plan(), None).await;
    assert_eq!((rules(&report), report.assets), (vec!["asset_status"], 1), "{report:?}");
    assert!(report.passed());
}

#[tokio::test]
async fn a_picture_that_only_counts_is_no_fault() {
    let server =
        Server::https(Box::new(|_, head| Some(if head.starts_with("GET /count") { http(204, &[], "") } else { page("<img src=/count>") })))
            .await;
    let report = look(&server.fetching_plan(), None).await;
    assert_eq!((rules(&report), report.passed()), (vec!["asset_empty"], true), "{report:?}");
}

/// A camera's pictures come for as long as somebody looks.
#[tokio::test]
async fn what_never_ends_is_looked_at_and_left() {
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let camera =
        "HTTP/1.1 200 OK\r\ncontent-type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\ncontent-type: image/jpeg\r\n\r\n\u{1}";
    let serving = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let is_camera = head[..read].starts_with(b"GET /camera");
            let answer = if is_camera { camera.to_owned() } else { page("<img src=/camera>") };
            stream.write_all(answer.as_bytes()).await.unwrap();
            // The camera goes on; the page is over.
            open.extend(is_camera.then_some(stream));
        }
    });
    let server = Server::https(Box::new(|_, _| None)).await;
    let plan = SmokePlan {
        url: url::Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap(),
        timeout: Duration::from_mins(1),
        connect_to: None,
        ..server.fetching_plan()
    };
    let report = look(&plan, None).await;
    serving.abort();
    assert_eq!((rules(&report), report.fetched), (vec![], 1), "{report:?}");
}

#[tokio::test]
async fn framed_documents_of_the_own_origin_are_judged_like_the_page() {
    let html = "<!doctype html><link rel=stylesheet href=/s.css><iframe src=/frame></iframe><iframe sandbox src=/boxed></iframe><b>";
    let page = "content-type: text/html";
    let files: &[(&str, &[&str], &str)] = &[
        ("/s.css", &[CSS], "b { background: url(/page.png) } i { background: url(/inner.png) }"),
        ("/page.png", &[PNG], "png"),
        (
            "/frame",
            &[page],
            "<!doctype html>\n<link rel=stylesheet href=/s.css><i><script src=http://x.test/a></script><iframe src=/deep></iframe>",
        ),
        ("/deep", &[page], "<!doctype html><img src=/gone.png><iframe src=/frame></iframe>"),
        ("/boxed", &[page], "<!doctype html><script src=http://x.test/b></script><noscript><img src=/without.png></noscript>"),
    ];
    let server = site(html, files).await;
    let report = look(&server.fetching_plan(), None).await;
    let mut seen: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.rule.as_str(), finding.url.as_deref().unwrap_or_default(), finding.sheet.as_deref().unwrap_or_default()))
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            ("asset_status", "/gone.png", "https://site.test/deep"),
            ("asset_status", "/inner.png", "https://site.test/s.css"),
            ("asset_status", "/without.png", "https://site.test/boxed"),
            ("blocked_asset", "http://x.test/a", "https://site.test/frame"),
        ],
        "{report:#?}"
    );
    let blocked = report.findings.iter().find(|finding| finding.rule == "blocked_asset").unwrap();
    assert!(blocked.message.contains("(script[src] in https://site.test/frame, line 2)"), "{}", blocked.message);
    let plan = SmokePlan { samples: 3, ..server.fetching_plan() };
    assert!(
        look(&plan, None).await.findings.iter().all(|finding| !finding.message.contains("answers.")),
        "each answer has the same frames"
    );
}

#[tokio::test]
async fn frames_come_to_an_end_and_those_of_others_are_noted() {
    let server = Server::https(Box::new(|_, head| {
        let number = head.split("/f").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
        let mut html = String::from("<!doctype html>");
        match number {
            None => (0..20).for_each(|n| {
                let _ = write!(html, "<iframe src=/f{n}></iframe>");
            }),
            Some(n) => {
                let _ = write!(html, "<iframe src=/f{}></iframe>", n + 100);
            }
        }
        Some(page(&html))
    }))
    .await;
    let report = look(&server.fetching_plan(), None).await;
    assert_eq!(rules(&report), ["truncated"], "{report:#?}");
    assert!(report.findings[0].message.contains("frames more than"), "{report:#?}");

    let server = Server::https_of_two_origins(Box::new(|_, head| {
        let port = head.split("port=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("1").to_owned();
        Some(if head.starts_with("GET /?") {
            page(&format!("<iframe src=https://localhost:{port}/other></iframe>"))
        } else {
            page("<img src=/gone>")
        })
    }))
    .await;
    let mut plan = server.fetching_plan();
    plan.url.set_query(Some(&format!("port={}", server.port)));
    let report = look(&plan, None).await;
    assert_eq!((rules(&report), report.fetched), (vec!["not_checked"], 1), "{report:#?}");
    assert!(report.findings[0].message.contains("Frames from other origins"), "{report:#?}");
}
