//! Looking at the public page, before and after.

use std::time::Duration;

use smoke::Finding;
use smoke::Release;
use smoke::Report;
use smoke::Severity;
use smoke::SmokePlan;

use crate::config::KnownFindings;
use crate::config::Smoke;
use crate::landing::run::Run;
use crate::landing::stop::Stop;
use crate::model::Step;
use crate::store::Facts;

impl Run<'_> {
    /// Looks at the running release once, so that a fault which it has already is not laid to the new one.
    /// `tag` is the release's, where its container tells.
    pub(super) async fn smoke_before(&mut self, tag: Option<String>) -> Option<Report> {
        let plan = self.service.smoke.clone()?.plan;
        // It is asked as often as the new release will be: a fault that shows in some answers only would else look new.
        let once = SmokePlan { within: Duration::ZERO, certificate_within: Duration::ZERO, release: None, ..plan };
        let mut quiet = |_| {};
        let report = tokio::select! {
            report = smoke::check(&once, None, &mut quiet) => report,
            () = self.cancel.cancelled() => return None,
        };
        let errors = report.errors().count();
        if errors > 0 {
            self.journal.note(format!("the running release has {errors} fault{} already", if errors == 1 { "" } else { "s" }));
        }
        Some(Report { release: tag, ..report })
    }

    /// Looks at the page. Without a `[smoke]` table nothing is asked, and the journal says so.
    pub(super) async fn smoke(&mut self, step: Step) -> Result<(), Stop> {
        let Some(Smoke { plan, known_findings }) = self.service.smoke.clone() else {
            self.journal.note("no page is looked at: the service has no [smoke] table");
            return Ok(());
        };
        self.begin(step, &format!("look at {}", plan.url)).await?;
        // What comes back without having been verified has no tag that we know; the order's is the one that did not hold.
        let ordered = self.order.tag.clone().filter(|_| !step.is_undo());
        let release = self.images.first().and_then(|image| image.tag.clone()).or(ordered);
        let release = release.map(|tag| Release { tag: tag.to_string(), commit: self.order.commit.clone().filter(|_| !step.is_undo()) });
        // What comes back had its old faults already: they are no reason to bring nothing back.
        let blocks = known_findings == KnownFindings::Block && !step.is_undo();
        let journal = &mut self.journal;
        let mut say = |line: String| journal.note(line);
        let mut report = tokio::select! {
            report = smoke::check(&plan, release.as_ref(), &mut say) => report,
            () = self.cancel.cancelled() => return Err(Stop::Cancelled),
        };
        if let Some(before) = &self.baseline {
            report.mark_known(before);
        }
        self.say_findings(&report);
        self.host.store.advance(&self.fence, step, &Facts { report: Some(report.clone()), ..Facts::default() }).await?;
        self.judge(&report, blocks)
    }

    fn say_findings(&mut self, report: &Report) {
        for finding in &report.findings {
            let old = report.newness(finding);
            let text = format!("{}: {}{old}. {}", finding.rule, finding.message.trim_end_matches('.'), finding.fix);
            match finding.severity {
                Severity::Error => self.journal.error(text),
                Severity::Warning => self.journal.warning(text),
                Severity::Note => self.journal.note(text),
            }
        }
        let certificate = report.certificate.as_ref().map_or(String::new(), |c| format!(", certificate {}", c.lasts()));
        let status = report.status.map_or("no answer".to_owned(), |status| format!("status {status}"));
        self.journal.note(format!("{status} after {} ms, {}{certificate}", report.duration_ms, report.counted()));
    }

    /// New faults undo the release. Faults of the page's content that were there before do so where `known_block`; else they
    /// are warned of. A page that could not be reached before and cannot be reached now is neither the release's fault nor verified.
    fn judge(&mut self, report: &Report, known_block: bool) -> Result<(), Stop> {
        let new: Vec<&Finding> = report.errors().filter(|finding| decides(finding, known_block)).collect();
        if !new.is_empty() {
            let more = if new.len() > 1 { format!(" (and {} more)", new.len() - 1) } else { String::new() };
            return Err(Stop::Fault(format!("{}: {}{more}", new[0].rule, new[0].message)));
        }
        if let Some(old) = report.errors().find(|finding| finding.element.is_none()) {
            return Err(Stop::OldFault(format!("{}: {} It was so before the deployment.", old.rule, old.message)));
        }
        let old = report.errors().count();
        if old > 0 {
            self.warnings.push(format!("{old} finding{} of the page that the release before had too", if old == 1 { "" } else { "s" }));
        }
        Ok(())
    }
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
        assert_eq!(next.newness(&next.findings[0]), " (known: v2 has it too)");
        assert!(!decides(&next.findings[0], false) && decides(&next.findings[0], true));
        // A page that cannot be reached is nobody's content.
        next.findings[0].element = None;
        assert!(!decides(&next.findings[0], true));
        let nothing = Report { release: Some("v2".into()), ..Report::default() };
        next.mark_known(&nothing);
        assert_eq!(next.newness(&next.findings[0]), " (new since v2)");
    }
}
