//! Looking at the public page, before and after.

use std::time::Duration;

use smoke::Finding;
use smoke::Release;
use smoke::Report;
use smoke::Severity;
use smoke::SmokePlan;

use crate::config::KnownFindings;
use crate::config::Smoke;
use crate::landing::release::Leg;
use crate::landing::release::Way;
use crate::landing::site::Site;
use crate::landing::stop::Fault;
use crate::landing::stop::Stop;

/// Checks the running release once, so that an existing fault is not blamed on the new one.
/// `tag` is the release's, where its container tells.
pub(super) async fn look_before(site: &mut Site<'_>, tag: Option<String>) -> Option<Report> {
    let plan = site.service.smoke.clone()?.plan;
    // The page is requested as often as for the new release: otherwise a fault that shows only in some responses would look new.
    let once = SmokePlan { within: Duration::ZERO, certificate_within: Duration::ZERO, release: None, ..plan };
    let mut quiet = |_| {};
    let report = tokio::select! {
        report = smoke::check(&once, None, &mut quiet) => report,
        () = site.cancel.cancelled() => return None,
    };
    let errors = report.errors().count();
    if errors > 0 {
        site.record
            .journal
            .note(format!("the running release already fails the check, with {errors} finding{}", if errors == 1 { "" } else { "s" }));
    }
    Some(Report { release: tag, ..report })
}

/// Checks the page, and returns a warning for the operator, if any. Without a `[smoke]` table nothing is asked, and the
/// journal says so.
pub(super) async fn smoke(site: &mut Site<'_>, leg: &Leg<'_>) -> Result<Option<String>, Stop> {
    let Some(Smoke { plan, known_findings }) = site.service.smoke.clone() else {
        site.record.journal.note("the page is not checked, because the service has no [smoke] table");
        return Ok(None);
    };
    let step = leg.way.smoke();
    site.begin(step, &format!("check {}", plan.url)).await?;
    let release = wanted(site, leg);
    let journal = &mut site.record.journal;
    let mut say = |line: String| journal.note(line);
    let mut report = tokio::select! {
        report = smoke::check(&plan, release.as_ref(), &mut say) => report,
        () = site.cancel.cancelled() => return Err(Stop::Cancelled),
    };
    if let Some(before) = leg.baseline {
        report.mark_known(before);
    }
    say_findings(site, &report);
    site.record.keep_report(step, &report).await?;
    // A restored release had its old faults before: they are no reason not to restore it.
    judge(&report, known_findings == KnownFindings::Block && leg.way == Way::Landing)
}

/// The release that the page should show.
fn wanted(site: &Site<'_>, leg: &Leg<'_>) -> Option<Release> {
    // A restored release that was never verified has no known tag; the tag of the order is the one that failed.
    let ordered = Some(&site.order).filter(|_| leg.way == Way::Landing);
    let pinned = leg.images.first().and_then(|image| image.tag.clone());
    let tag = pinned.or_else(|| ordered.and_then(|order| order.tag.clone()))?;
    Some(Release { tag: tag.to_string(), commit: ordered.and_then(|order| order.commit.clone()) })
}

fn say_findings(site: &mut Site<'_>, report: &Report) {
    let journal = &mut site.record.journal;
    for finding in &report.findings {
        let old = report.newness(finding);
        let text = format!("{}: {}{old}. {}", finding.rule, finding.message.trim_end_matches('.'), finding.fix);
        match finding.severity {
            Severity::Error => journal.error(text),
            Severity::Warning => journal.warning(text),
            Severity::Note => journal.note(text),
        }
    }
    let certificate = report.certificate.as_ref().map_or(String::new(), |c| format!(", certificate {}", c.lasts()));
    let status = report.status.map_or("no answer".to_owned(), |status| format!("status {status}"));
    journal.note(format!("{status} after {} ms, {}{certificate}", report.duration_ms, report.counted()));
}

/// New faults undo the release. Faults of the page's content that were there before do so where `known_block`; else they
/// are warned of. A page that could not be reached before and cannot be reached now is neither the release's fault nor verified.
fn judge(report: &Report, known_block: bool) -> Result<Option<String>, Stop> {
    let new: Vec<&Finding> = report.errors().filter(|finding| decides(finding, known_block)).collect();
    if let Some(first) = new.first() {
        let more = if new.len() > 1 { format!(" (and {} more)", new.len() - 1) } else { String::new() };
        return Err(Fault::Page { rule: first.rule.clone(), message: first.message.clone(), more }.into());
    }
    if let Some(old) = report.errors().find(|finding| finding.element.is_none()) {
        return Err(Stop::OldFault(format!("{}: {} The page had this fault before the deployment.", old.rule, old.message)));
    }
    let old = report.errors().count();
    let warning = || format!("{old} finding{} that the previous release had too", if old == 1 { "" } else { "s" });
    Ok((old > 0).then(warning))
}

/// Whether an error undoes the release: it is new, or it is a known one of the page's content where those block.
fn decides(finding: &Finding, known_block: bool) -> bool {
    !finding.known || (known_block && finding.element.is_some())
}

#[cfg(test)]
mod tests {
    use smoke::Effect;
    use smoke::Finding;
    use smoke::Report;
    use smoke::Severity;

    use super::decides;

    #[test]
    fn what_is_known_decides_only_where_it_is_asked_to() {
        let mut report = Report { release: Some("v2".into()), ..Report::default() };
        let finding = Finding {
            rule: "blocked_asset".into(),
            severity: Severity::Error,
            message: "x".into(),
            effect: Effect::Blocked,
            fix: "y".into(),
            url: Some("http://a.test/a.css".into()),
            resolved: Some("http://a.test/a.css".into()),
            element: Some("link[href]".into()),
            line: Some(1),
            column: None,
            sheet: None,
            known: false,
        };
        report.findings = vec![finding];
        assert!(decides(&report.findings[0], false) && report.newness(&report.findings[0]).is_empty());
        let mut next = report.clone();
        next.mark_known(&report);
        assert_eq!(next.newness(&next.findings[0]), " (known: v2 had it too)");
        assert!(!decides(&next.findings[0], false) && decides(&next.findings[0], true));
        // A page that cannot be reached is nobody's content.
        next.findings[0].element = None;
        assert!(!decides(&next.findings[0], true));
        let nothing = Report { release: Some("v2".into()), ..Report::default() };
        next.mark_known(&nothing);
        assert_eq!(next.newness(&next.findings[0]), " (new since v2)");
    }
}
