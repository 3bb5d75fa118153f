//! JUnit XML: a test case for each rule, so that a report over time shows which one began to fail.

use quick_xml::Writer;
use quick_xml::events::BytesDecl;
use quick_xml::events::BytesEnd;
use quick_xml::events::BytesStart;
use quick_xml::events::BytesText;
use quick_xml::events::Event;

use crate::journal::clean;
use crate::model::Finding;
use crate::model::Report;
use crate::model::Severity;
use crate::smoke;

/// The report as one test suite. Warnings and notes are output of a test that passes.
pub(super) fn render(report: &Report) -> String {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    // Writing to memory does not fail.
    let _ = write(&mut writer, report);
    String::from_utf8(writer.into_inner()).unwrap_or_default() + "\n"
}

fn write(writer: &mut Writer<Vec<u8>>, report: &Report) -> std::io::Result<()> {
    let names: Vec<&str> = smoke::rules().iter().map(|rule| rule.name).collect();
    let failures = names.iter().filter(|name| fails(&of_rule(report, name))).count().to_string();
    let (tests, time) = (names.len().to_string(), format!("{:.3}", report.duration_ms as f64 / 1000.0));
    let totals = [("tests", tests.as_str()), ("failures", &failures), ("errors", "0"), ("time", &time)];
    let url = clean(&report.url);
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
    let lines: Vec<String> = findings.iter().map(|finding| clean(&format!("{} {}", finding.message, finding.fix))).collect();
    let inner = if fails(findings) {
        let message = clean(&findings[0].message);
        BytesStart::new("failure").with_attributes([("message", message.as_str()), ("type", name)]).into_owned()
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

fn fails(findings: &[&Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}
