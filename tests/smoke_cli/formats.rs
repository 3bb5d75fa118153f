//! Every form of the report, and that no page can forge anything in one.

use std::collections::BTreeMap;
use std::process::Output;

use quick_xml::events::Event;
use serde_json::Value;

use crate::site::GOOD;
use crate::site::Site;
use crate::site::err;
use crate::site::out;
use crate::site::run;

/// Addresses that try to break out of every format: terminal sequences, direction of writing, the ends of XML, Markdown, HTML,
/// mentions, and the commands of runners, of which GitHub's takes the second kind anywhere in a line.
const ATTACKS: [&str; 6] = [
    "\u{1b}[31m\u{9b}31m\u{202e}\u{7f}\u{fffe}\u{ffff}\u{0}",
    "]]>&\"<!--<failure message='forged'/>",
    "::error::forged",
    "##[error]forged",
    "<b>@team</b>`x`|x| **x** [x](https://evil.test) ![x](x) www.evil.test #1",
    "\n::error::forged\r\n##[stop-commands]forged\u{2028}::error::forged",
];

fn hostile() -> String {
    let scripts = ATTACKS.map(|attack| format!("<script src=\"http://a.test/{}\"></script>\n", attack.replace('"', "&quot;"))).concat();
    format!("<!doctype html><title>x</title>\n<link rel=stylesheet href='http://a.test/a.css'>\n{scripts}<img src='http://a.test/c.png'>")
}

/// Addresses come percent-encoded in part; what a script says comes as it is.
fn hostile_console() -> String {
    let attacks = serde_json::to_string(&ATTACKS).unwrap().replace("</", "<\\/");
    format!(
        "<!doctype html><title>x</title><script>for (const text of {attacks}) {{ console.error(text); setTimeout(() => {{ throw text }}) }}</script>"
    )
}

/// What a runner takes for a command: `::name …::` at the start of a line, or `##[name …]` anywhere (GitHub) in it.
fn commands(text: &str) -> Vec<&str> {
    let is_command = |line: &&str| line.trim_start().starts_with("::") || line.contains("##[");
    text.split(['\n', '\r']).filter(is_command).collect()
}

fn misleads(text: &str) -> bool {
    text.chars().any(|c| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{2028}'))
}

/// Every format of one look, printed as well as written.
fn all(site: &Site, args: &[&str]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for format in ["human", "json", "junit", "github", "forgejo", "markdown"] {
        let file = site.path(format);
        let written = format!("{format}={}", file.display());
        let printed = site.look(&[&["--format", format, "--output", &written], args].concat());
        assert_eq!(printed.status.code(), Some(3), "{format}: {}{}", out(&printed), err(&printed));
        assert!(commands(&err(&printed)).is_empty() && !misleads(&err(&printed)), "{}", err(&printed));
        let file = std::fs::read_to_string(file).unwrap();
        assert!(!file.is_empty() && file.ends_with('\n'), "{format}");
        all.insert(format!("{format} printed"), out(&printed));
        all.insert(format!("{format} in a file"), file);
    }
    all
}

fn forges_nothing(all: &BTreeMap<String, String>, findings: usize) {
    for (format, text) in all {
        assert!(!misleads(text), "{format}: {text:?}");
        let commands = commands(text);
        if format.starts_with("github") || format.starts_with("forgejo") {
            let ours =
                commands.iter().filter(|line| line.starts_with("::error title=smoke%3A ") || line.starts_with("::warning title=smoke%3A "));
            assert_eq!((ours.count(), commands.len()), (findings, findings), "{format}: {text}");
            assert_eq!(text.lines().count(), findings + 1, "{format}: {text}");
        } else {
            assert!(commands.is_empty(), "{format}: {commands:?}");
        }
        if format.starts_with("markdown") {
            markdown_is_whole(text, findings);
        }
        if format.starts_with("junit") {
            junit_is_whole(text);
        }
        if format.starts_with("json") {
            let report: Value = serde_json::from_str(text).unwrap();
            assert_eq!(report["findings"].as_array().unwrap().len(), findings, "{text}");
        }
    }
}

/// A table of five cells a line whose text is text: no element, link, picture, code or mention.
fn markdown_is_whole(text: &str, findings: usize) {
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| error |") || line.starts_with("| warning |")).collect();
    assert_eq!(rows.len(), findings, "{text}");
    for row in rows {
        let bare: String = row.replace("\\\\", "").split("\\|").collect();
        assert_eq!(bare.matches('|').count(), 5, "{row}");
        let unescaped = |mark: char| row.match_indices(mark).any(|(at, _)| !row[..at].ends_with('\\'));
        assert!(!['`', '*', '[', ']', '<', '>'].into_iter().any(unescaped), "{row}");
        for forged in ["@team", "http://", "https://", "www.evil", "#1"] {
            assert!(!row.contains(forged), "{forged} in {row}");
        }
    }
}

/// Element, parent, attributes that it must have and may have.
const FORM: [(&str, &str, &[&str], &[&str]); 6] = [
    ("testsuites", "", &[], &["name", "tests", "failures", "errors", "time"]),
    ("testsuite", "testsuites", &["name", "tests"], &["failures", "errors", "time"]),
    ("testcase", "testsuite", &["name", "classname"], &[]),
    ("failure", "testcase", &["message", "type"], &[]),
    ("error", "testcase", &["message", "type"], &[]),
    ("system-out", "testcase", &[], &[]),
];

/// The common JUnit form: which elements stand where, which attributes they may and must have, and that the counts agree.
fn junit_is_whole(xml: &str) {
    assert!(!xml.contains(['\u{fffe}', '\u{ffff}']), "XML has no such characters");
    let (mut open, mut counts, mut suite) = (Vec::<String>::new(), BTreeMap::<String, usize>::new(), BTreeMap::new());
    let mut reader = quick_xml::Reader::from_str(xml);
    reader.config_mut().enable_all_checks(true);
    loop {
        let event = reader.read_event().unwrap_or_else(|error| panic!("{error}: {xml}"));
        let (tag, is_empty) = match event {
            Event::Eof => break,
            Event::End(_) => {
                open.pop().unwrap();
                continue;
            }
            Event::Start(tag) => (tag, false),
            Event::Empty(tag) => (tag, true),
            _ => continue,
        };
        let name = tag.name().as_ref().to_owned();
        let (_, parent, needed, allowed) = FORM.iter().find(|(known, ..)| *known == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(open.last().map_or("", String::as_str), *parent, "{name}");
        let attributes: BTreeMap<String, String> = tag
            .attributes()
            .map(|attribute| attribute.unwrap())
            .map(|attribute| (attribute.key.as_ref().to_owned(), attribute.value.to_string()))
            .collect();
        assert!(needed.iter().all(|key| attributes.contains_key(*key)), "{name}: {attributes:?}");
        assert!(attributes.keys().all(|key| needed.contains(&key.as_str()) || allowed.contains(&key.as_str())), "{name}: {attributes:?}");
        if name == "testsuite" {
            suite = attributes;
        }
        *counts.entry(name.clone()).or_default() += 1;
        if !is_empty {
            open.push(name);
        }
    }
    assert!(open.is_empty());
    for (what, element) in [("tests", "testcase"), ("failures", "failure"), ("errors", "error")] {
        assert_eq!(suite[what], counts.get(element).copied().unwrap_or(0).to_string(), "{what}: {xml}");
    }
    assert_eq!(suite["tests"], smoke::rules().len().to_string());
}

#[test]
fn a_page_forges_nothing_in_any_format() {
    let site = Site::new(hostile());
    let all = all(&site, &[]);
    let findings = serde_json::from_str::<Value>(&all["json printed"]).unwrap()["findings"].as_array().unwrap().len();
    assert!(findings >= 3 + ATTACKS.len() - 1, "{findings}");
    forges_nothing(&all, findings);
}

#[test]
fn what_scripts_say_forges_nothing_either() {
    let site = Site::new(hostile_console());
    let all = all(&site, &["--browser", "--no-assets"]);
    let report: Value = serde_json::from_str(&all["json printed"]).unwrap();
    let messages: Vec<&str> = report["findings"].as_array().unwrap().iter().map(|finding| finding["message"].as_str().unwrap()).collect();
    // JSON reads back as what the page said.
    assert!(messages.iter().any(|message| message.contains("##[error]forged")), "{messages:?}");
    assert!(messages.iter().any(|message| message.contains("::error::forged")), "{messages:?}");
    forges_nothing(&all, messages.len());
}

fn look_with(site: &Site, args: &[&str], env: &[(&str, &str)]) -> Output {
    let (page, ca) = (format!("https://localhost:{}/", site.port), site.path("ca.pem").display().to_string());
    run(&[&["smoke", &page, "--ca-file", &ca, "--within-s", "0"], args].concat(), env)
}

#[test]
fn the_summary_goes_where_the_runner_wants_it() {
    let site = Site::new(hostile());
    let file = |name: &str| site.path(name).display().to_string();
    let written = format!("markdown={}", file("m.md"));
    let read = |name: &str| std::fs::read_to_string(site.path(name)).unwrap_or_default();
    std::fs::write(site.path("github.md"), "what stood there\n").unwrap();
    look_with(&site, &["--format", "github", "--output", &written], &[("GITHUB_STEP_SUMMARY", &file("github.md"))]);
    // Times differ from look to look, the table does not.
    let table = |text: &str| text.lines().filter(|line| line.starts_with('|')).map(str::to_owned).collect::<Vec<_>>();
    assert!(read("github.md").starts_with("what stood there\n### "), "{}", read("github.md"));
    assert_eq!(table(&read("github.md")), table(&read("m.md")));
    look_with(&site, &["--output", &format!("forgejo={}", file("f.txt"))], &[("FORGEJO_STEP_SUMMARY", &file("forgejo.md"))]);
    assert_eq!(table(&read("forgejo.md")), table(&read("m.md")));
    look_with(&site, &[], &[("GITHUB_STEP_SUMMARY", &file("none.md"))]);
    assert!(!site.path("none.md").exists(), "it was not asked for");
    let lost = look_with(&site, &["--format", "github"], &[("GITHUB_STEP_SUMMARY", "/none/s.md")]);
    assert!(lost.status.code() == Some(1) && err(&lost).contains("The step summary could not be written"), "{}", err(&lost));
}

#[test]
fn annotations_stand_at_the_lines_of_the_source() {
    let site = Site::new(hostile());
    let looked = site.look(&["--format", "github", "--source", "web/a,b:c%\n.html"]);
    let said = out(&looked);
    assert!(said.contains("::error file=web/a%2Cb%3Ac%25\\u{a}.html,line=2,col=28,title=smoke%3A blocked_asset::"), "{said}");
    assert!(!out(&site.look(&["--format", "github"])).contains("file="));
}

#[test]
fn people_read_what_is_wrong_by_rule() {
    let site = Site::new(
        "<!doctype html><title>x</title><link rel=stylesheet href=http://a.test/a.css><script src=http://a.test/b.js></script><img src=http://a.test/c.png>",
    );
    let said = out(&site.look(&[]));
    let lines: Vec<&str> = said.lines().collect();
    let at = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} is not in {said}"));
    let blocked = at("  ✗ blocked_asset (2): browsers do not load it");
    assert!(lines[blocked + 1].contains("http://a.test/a.css") && lines[blocked + 2].contains("http://a.test/b.js"), "{said}");
    assert!(lines[blocked + 3].starts_with("      → Write https:// instead of http://"), "{said}");
    assert!(at("  ✗ upgraded_asset: browsers request it over https instead") > blocked);
    assert_eq!(*lines.last().unwrap(), "✗ the page does not pass: 3 errors");
}

/// With a terminal there are colours, no line is wider than it, and `NO_COLOR` is heard. `script` makes one.
#[test]
fn a_terminal_gets_colours_and_its_width() {
    let site = Site::new("<!doctype html><title>x</title><link rel=stylesheet href=http://a.test/a.css>");
    let ca = site.path("ca.pem").display().to_string();
    let command =
        format!("stty cols 60; exec {} smoke https://localhost:{}/ --ca-file {ca} --within-s 0", env!("CARGO_BIN_EXE_tagalong"), site.port);
    let on_a_terminal = |env: &[(&str, &str)]| {
        let mut script = std::process::Command::new("script");
        script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).env_clear();
        script.envs([("PATH", "/usr/bin:/bin"), ("TERM", "xterm"), ("SHELL", "/bin/sh")]).envs(env.iter().copied());
        let looked = script.stdin(std::process::Stdio::null()).output().unwrap();
        assert_eq!(looked.status.code(), Some(3), "{}{}", out(&looked), err(&looked));
        out(&looked)
    };
    let coloured = on_a_terminal(&[]);
    assert!(coloured.contains("\u{1b}[31m✗ blocked_asset\u{1b}[0m"), "{coloured:?}");
    let plain = on_a_terminal(&[("NO_COLOR", "1")]);
    assert!(!plain.contains("\u{1b}[3"), "{plain:?}");
    // Progress is drawn over: what stands in the end is behind the last time that the line was cleared.
    let lines = plain.lines().map(|line| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default());
    let report: Vec<String> = lines.map(|line| line.replace("\u{1b}[2K", "")).collect();
    let drawn = plain.split(['\r', '\n']).map(|line| line.replace("\u{1b}[2K", "").chars().count()).max();
    assert!(drawn < Some(61) && report[0].starts_with("https://localhost"), "{plain:?}");
    assert!(report.len() > 6 && report.iter().all(|line| line.chars().count() <= 60), "{report:#?}");
}

#[test]
fn a_check_that_could_not_be_made_is_an_error_and_no_failure() {
    let site = Site::new(GOOD);
    let looked = site.look(&["--browser", "--browser-program", "/none", "--format", "junit"]);
    let xml = out(&looked);
    assert_eq!(looked.status.code(), Some(1), "{xml}");
    junit_is_whole(&xml);
    assert!(xml.contains("failures=\"0\" errors=\"1\"") && xml.contains("<error message=\"There is no browser at /none.\""), "{xml}");
}

/// The reference names every rule, and every key that a report can have.
#[test]
fn the_reference_is_complete() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/smoke.md")).unwrap();
    for rule in smoke::rules() {
        let severity = format!("{:?}", rule.severity).to_lowercase();
        let row = text.lines().find(|line| line.starts_with(&format!("| `{}` | {severity} | ", rule.name)));
        assert!(row.is_some_and(|row| row.ends_with(&format!(" | {} |", rule.meaning))), "{} in docs/smoke.md: {row:?}", rule.name);
    }
    let full = serde_json::json!({
        "url": "x", "final_url": "x", "status": 200, "attempts": 1, "duration_ms": 1, "latency_ms": 1, "assets": 1, "fetched": 1, "omitted": 0, "release": "x", "since": "x",
        "certificate": { "subject": "x", "issuer": "x", "days_left": 1 },
        "findings": [{ "rule": "x", "severity": "error", "message": "x", "effect": "blocked", "fix": "x", "url": "x", "resolved": "x",
            "element": "x", "line": 1, "column": 1, "sheet": "x", "known": false }],
    });
    // It reads and writes back whole, so these are the keys that there are.
    let report: smoke::Report = serde_json::from_value(full.clone()).unwrap();
    assert_eq!(serde_json::to_value(&report).unwrap(), full);
    let keys =
        [&full, &full["certificate"], &full["findings"][0]].map(|object| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>());
    for key in keys.concat() {
        assert!(text.contains(&format!("| `{key}` |")), "{key} is not in docs/smoke.md");
    }
}
