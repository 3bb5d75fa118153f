//! JUnit XML: a test case for each rule, so that a report over time shows which one began to fail.

use quick_xml::Writer;
use quick_xml::events::BytesDecl;
use quick_xml::events::BytesEnd;
use quick_xml::events::BytesStart;
use quick_xml::events::BytesText;
use quick_xml::events::Event;
use smoke::Finding;
use smoke::Report;
use smoke::Severity;

use text::clean;

/// The report as one test suite. Warnings and notes are output of a test that passes.
pub(super) fn render(report: &Report) -> String {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    // Writing to memory does not fail.
    let _ = write(&mut writer, report);
    let text = String::from_utf8(writer.into_inner()).unwrap_or_default();
    // Inside texts and attributes alone can it stand, and there it reads back as it was; a runner would take it for a command.
    text.replace("##[", "#&#35;[")
}

/// What XML 1.0 can hold: not even as a number may these two stand in it.
fn legal(text: &str) -> String {
    clean(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

fn write(writer: &mut Writer<Vec<u8>>, report: &Report) -> std::io::Result<()> {
    let names: Vec<&str> = smoke::rules().iter().map(|rule| rule.name).collect();
    let count = |wanted: &str| names.iter().filter(|name| verdict(name, &of_rule(report, name)) == Some(wanted)).count().to_string();
    let failures = count("failure");
    let errors = count("error");
    let tests = names.len().to_string();
    let time = format!("{:.3}", report.duration_ms as f64 / 1000.0);
    let totals = [("tests", tests.as_str()), ("failures", &failures), ("errors", &errors), ("time", &time)];
    let url = legal(&report.url);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suites = BytesStart::new("testsuites").with_attributes([("name", "tagalong smoke")].into_iter().chain(totals));
    writer.write_event(Event::Start(suites))?;
    let suite = BytesStart::new("testsuite").with_attributes([("name", url.as_str())].into_iter().chain(totals));
    writer.write_event(Event::Start(suite))?;
    for name in names {
        case(writer, name, &of_rule(report, name))?;
    }
    writer.write_event(Event::End(BytesEnd::new("testsuite")))?;
    writer.write_event(Event::End(BytesEnd::new("testsuites")))
}

fn case(writer: &mut Writer<Vec<u8>>, name: &str, findings: &[&Finding]) -> std::io::Result<()> {
    let start = BytesStart::new("testcase").with_attributes([("classname", "smoke"), ("name", name)]);
    if findings.is_empty() {
        return writer.write_event(Event::Empty(start));
    }
    writer.write_event(Event::Start(start))?;
    let lines: Vec<String> = findings.iter().map(|finding| legal(&format!("{} {}", finding.message, finding.fix))).collect();
    let inner = if let Some(verdict) = verdict(name, findings) {
        let message = legal(&findings[0].message);
        BytesStart::new(verdict).with_attributes([("message", message.as_str()), ("type", name)]).into_owned()
    } else {
        BytesStart::new("system-out")
    };
    let end = inner.to_end().into_owned();
    writer.write_event(Event::Start(inner))?;
    writer.write_event(Event::Text(BytesText::new(&lines.join("\n"))))?;
    writer.write_event(Event::End(end))?;
    writer.write_event(Event::End(BytesEnd::new("testcase")))
}

fn of_rule<'a>(report: &'a Report, name: &str) -> Vec<&'a Finding> {
    report.findings.iter().filter(|finding| finding.rule == name).collect()
}

/// The element of a test that does not pass: `failure` is the page's fault, `error` means that it was not looked at.
fn verdict(name: &str, findings: &[&Finding]) -> Option<&'static str> {
    let fails = findings.iter().any(|finding| finding.severity == Severity::Error);
    fails.then(|| if smoke::is_own_fault(name) { "error" } else { "failure" })
}
