//! What follows from what a look has seen, by facts alone.

use std::collections::BTreeSet;

use sha2::Digest as _;
use sha2::Sha256;
use smoke::Finding;
use smoke::Report;

use crate::api::Word;
use crate::config::LookTerms;
use crate::model::IncidentKind;
use crate::model::LookResult;
use crate::model::ServiceName;
use crate::orders::Fault;
use crate::orders::ReleaseSeen;
use crate::store::Found;
use crate::store::PageLook;
use crate::store::Seen;
use crate::watch::sight::PageSeen;
use crate::watch::sight::Sight;

/// The rules that say that a certificate runs out, or has.
const CERTIFICATE: [&str; 2] = ["certificate_days", "certificate_expired"];

/// What a look at a release, or at a service, has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    /// Nothing is wrong.
    Good,
    /// What is wrong.
    Bad(String),
    /// Why nothing can be said.
    Blind(String),
    /// Somebody has changed the stack by hand, so that what is seen is not the release's doing.
    ByHand(String),
}

impl Judged {
    pub(super) fn result(&self) -> LookResult {
        match self {
            Self::Good => LookResult::Good,
            Self::Bad(_) => LookResult::Bad,
            Self::Blind(_) | Self::ByHand(_) => LookResult::Blind,
        }
    }

    pub(super) fn why(&self) -> Option<&str> {
        match self {
            Self::Good => None,
            Self::Bad(why) | Self::Blind(why) | Self::ByHand(why) => Some(why),
        }
    }

    /// How many bad looks running there are, where there were `before`. One that saw nothing breaks their row.
    pub(super) fn bad(&self, before: i64) -> i64 {
        if matches!(self, Self::Bad(_)) { before + 1 } else { 0 }
    }
}

/// Whether the release holds: only what is new with it speaks against it.
pub(super) fn of_release(sight: &Sight) -> Judged {
    let page = match &sight.page {
        PageSeen::Unasked => Judged::Good,
        PageSeen::Blind(why) => Judged::Blind(why.clone()),
        PageSeen::Report(report) => of_page(report, true),
    };
    match &sight.stack {
        Ok(stack) => match &stack.release {
            ReleaseSeen::ByHand(why) => Judged::ByHand(why.clone()),
            ReleaseSeen::Bad(why) => Judged::Bad(why.clone()),
            ReleaseSeen::Good => page,
        },
        // A page that is wrong while Docker is away may be so because of that.
        Err(why) => Judged::Blind(why.clone()),
    }
}

/// Whether the service is as it should be.
pub(super) fn of_service(sight: &Sight) -> Judged {
    let page = match &sight.page {
        PageSeen::Unasked => Judged::Good,
        PageSeen::Blind(why) => Judged::Blind(why.clone()),
        PageSeen::Report(report) => of_page(report, false),
    };
    match &sight.stack {
        _ if matches!(page, Judged::Bad(_)) => page,
        Ok(stack) if !stack.faults.is_empty() => {
            Judged::Bad(stack.faults.iter().map(|fault| fault.why.as_str()).collect::<Vec<_>>().join(" "))
        }
        Ok(_) => page,
        Err(why) => Judged::Blind(why.clone()),
    }
}

/// A name that does not resolve is nothing that a release does.
fn of_page(report: &Report, only_new: bool) -> Judged {
    let counts = |finding: &&Finding| !only_new || (!finding.known && finding.rule != "dns");
    let errors: Vec<&Finding> = report.errors().filter(counts).collect();
    let Some(first) = errors.first() else { return Judged::Good };
    let more = if errors.len() > 1 { format!(" (and {} more)", errors.len() - 1) } else { String::new() };
    Judged::Bad(format!("{}: {}{more}", first.rule, first.message))
}

/// What is kept of the page for plots.
pub(super) fn for_plots(page: &PageSeen) -> Option<PageLook> {
    let PageSeen::Report(report) = page else { return None };
    let mut rules: Vec<String> = Vec::new();
    for finding in report.errors() {
        if !rules.contains(&finding.rule) {
            rules.push(finding.rule.clone());
        }
    }
    Some(PageLook { status: report.status, latency_ms: report.latency_ms, rules })
}

/// What is wrong with the service, as incidents: the worst first.
pub(super) fn incidents(service: &ServiceName, terms: &LookTerms, sight: &Sight) -> Seen {
    let mut seen = Seen::default();
    if let PageSeen::Report(report) = &sight.page {
        of_the_page(service, terms, report, &mut seen);
    }
    if let Ok(stack) = &sight.stack {
        seen.kinds.extend([IncidentKind::Container, IncidentKind::Drift]);
        let found = |fault: &Fault| {
            let kind = if fault.word == Word::Drift { IncidentKind::Drift } else { IncidentKind::Container };
            Found { kind, fault: format!("{} {}", kind.as_str(), fault.about), what: fault.why.clone(), mend: Some(stack.mend.clone()) }
        };
        seen.found.extend(stack.faults.iter().map(found));
    }
    // A page may have the same fault at several places.
    let mut known = BTreeSet::new();
    seen.found.retain(|found| known.insert(found.fault.clone()));
    // A release that was left for a person and holds again needs nobody any more.
    if of_service(sight) == Judged::Good {
        seen.kinds.push(IncidentKind::Watch);
    }
    seen
}

fn of_the_page(service: &ServiceName, terms: &LookTerms, report: &Report, seen: &mut Seen) {
    let status = Some(format!("tagalong status {service}"));
    seen.kinds.push(IncidentKind::Page);
    for finding in report.errors().filter(|finding| !CERTIFICATE.contains(&finding.rule.as_str())) {
        let what = format!("{}: {} {}", finding.rule, finding.message, finding.fix);
        seen.found.push(Found { kind: IncidentKind::Page, fault: fault_of(finding), what, mend: status.clone() });
    }
    let expired = report.errors().find(|finding| CERTIFICATE.contains(&finding.rule.as_str()));
    let runs_out = report.certificate.as_ref().filter(|one| one.days_left < terms.certificate_days);
    if report.certificate.is_some() {
        seen.kinds.push(IncidentKind::Certificate);
    }
    let runs_out = runs_out.map(|one| format!("The certificate of {} {}; it was issued by {}.", one.subject, one.lasts(), one.issuer));
    if let Some(what) = expired.map(|finding| finding.message.clone()).or(runs_out) {
        seen.found.push(Found { kind: IncidentKind::Certificate, fault: "certificate".to_owned(), what, mend: status });
    }
}

/// What makes a finding the same when it is seen again. Addresses are long, so it is a hash of them.
fn fault_of(finding: &Finding) -> String {
    let mut hash = Sha256::new();
    for part in [&finding.url, &finding.resolved, &finding.element] {
        hash.update(part.as_deref().unwrap_or_default());
        hash.update([0]);
    }
    format!("page {} {}", finding.rule, &text::hex(&hash.finalize())[..16])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use smoke::Certificate;
    use smoke::Effect;
    use smoke::Finding;
    use smoke::Report;
    use smoke::Severity;

    use super::Judged;
    use super::incidents;
    use super::of_release;
    use super::of_service;
    use crate::api::Word;
    use crate::config::LookTerms;
    use crate::model::IncidentKind;
    use crate::model::ServiceName;
    use crate::orders::Fault;
    use crate::orders::ReleaseSeen;
    use crate::orders::StackSeen;
    use crate::watch::sight::PageSeen;
    use crate::watch::sight::Sight;

    fn finding(rule: &str, address: &str, known: bool) -> Finding {
        Finding {
            rule: rule.into(),
            severity: Severity::Error,
            message: "It is wrong.".into(),
            effect: Effect::PageFails,
            fix: "Mend it.".into(),
            url: Some(address.into()),
            resolved: Some(address.into()),
            element: None,
            line: None,
            column: None,
            sheet: None,
            known,
        }
    }

    fn page(findings: Vec<Finding>) -> PageSeen {
        PageSeen::Report(Box::new(Report { findings, ..Report::default() }))
    }

    fn stack(release: ReleaseSeen, faults: Vec<Fault>) -> StackSeen {
        StackSeen { release, faults, mend: "tagalong repair web".into(), restarts: BTreeMap::new() }
    }

    #[test]
    fn only_what_is_new_and_was_seen_speaks_against_a_release() {
        let good = || Ok(stack(ReleaseSeen::Good, Vec::new()));
        let of = |page: PageSeen, stack: Result<StackSeen, String>| of_release(&Sight { page, stack });
        assert_eq!(of(page(Vec::new()), good()), Judged::Good);
        assert_eq!(of(PageSeen::Unasked, good()), Judged::Good);
        assert!(matches!(of(page(vec![finding("status", "a", false)]), good()), Judged::Bad(why) if why == "status: It is wrong."));
        assert_eq!(of(page(vec![finding("status", "a", true), finding("dns", "a", false)]), good()), Judged::Good);
        // Docker is away, and the page may be because of that.
        assert_eq!(of(page(vec![finding("status", "a", false)]), Err("away".into())), Judged::Blind("away".into()));
        assert_eq!(of(PageSeen::Blind("no way".into()), good()), Judged::Blind("no way".into()));
        let bad = || Ok(stack(ReleaseSeen::Bad("it ended".into()), Vec::new()));
        assert_eq!(of(PageSeen::Blind("no way".into()), bad()), Judged::Bad("it ended".into()));
        let by_hand = Ok(stack(ReleaseSeen::ByHand("paused".into()), Vec::new()));
        assert_eq!(of(page(vec![finding("status", "a", false)]), by_hand), Judged::ByHand("paused".into()));
        // Two in a row, and a look that saw nothing is none of them.
        assert_eq!([Judged::Bad(String::new()), Judged::Blind(String::new()), Judged::Good].map(|judged| judged.bad(1)), [2, 0, 0]);
    }

    #[test]
    fn each_fault_is_one_incident_and_what_was_not_seen_is_none() {
        let service = ServiceName::parse("web").expect("a name");
        let terms = LookTerms { every: std::time::Duration::from_mins(5), certificate_days: 14 };
        let certificate = Certificate { subject: "a.test".into(), issuer: "x".into(), days_left: 9 };
        let findings = vec![finding("asset_status", "a", true), finding("asset_status", "b", false), finding("asset_status", "a", false)];
        let report = Report { findings, certificate: Some(certificate), ..Report::default() };
        let faults = vec![
            Fault { word: Word::Down, about: "web-1".into(), why: "It has ended.".into() },
            Fault { word: Word::Drift, about: "web-1".into(), why: "It is another image.".into() },
        ];
        let sight = Sight { page: PageSeen::Report(Box::new(report)), stack: Ok(stack(ReleaseSeen::Good, faults)) };
        let seen = incidents(&service, &terms, &sight);
        let mut names: Vec<&str> = seen.found.iter().map(|found| found.fault.as_str()).collect();
        assert_eq!(names.split_off(2), ["certificate", "container web-1", "drift web-1"]);
        // An old fault of the page is one nevertheless, and the same one at two places is one.
        assert!(names[0] != names[1], "{names:?}");
        assert!(!seen.kinds.contains(&IncidentKind::Watch) && matches!(of_service(&sight), Judged::Bad(_)));
        let blind = Sight { page: PageSeen::Blind(String::new()), stack: Err(String::new()) };
        assert_eq!(incidents(&service, &terms, &blind), crate::store::Seen::default());
        let expired = Report { findings: vec![finding("certificate_expired", "a", false)], ..Report::default() };
        let seen = incidents(&service, &terms, &Sight { page: PageSeen::Report(Box::new(expired)), stack: Err(String::new()) });
        assert_eq!(seen.found.iter().map(|found| found.kind).collect::<Vec<_>>(), [IncidentKind::Certificate]);
    }
}
