//! What was found wrong with the page's assets, each fault once.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::model::Finding;
use crate::model::Severity;

/// A report lists so many findings about assets; a page with more has one cause for them.
const MOST: usize = 200;

/// Rule, address and element: what agrees in these is one fault that stands in several places.
type Key = (String, Option<String>, Option<String>, bool);

/// What a tally came to.
#[derive(Debug, Default)]
pub(in crate::smoke) struct Sum {
    /// The findings, worst first and then by their place.
    pub(in crate::smoke) findings: Vec<Finding>,
    /// How many more there were.
    pub(in crate::smoke) omitted: u32,
}

/// Gathers findings.
#[derive(Debug, Default)]
pub(in crate::smoke) struct Tally {
    found: Vec<(Finding, u32)>,
    places: HashMap<Key, usize>,
}

impl Tally {
    /// Takes a finding, or counts it when the same fault stands there already.
    pub(in crate::smoke) fn add(&mut self, finding: Finding) {
        let key = (finding.rule.clone(), finding.resolved.clone(), finding.element.clone(), finding.severity == Severity::Error);
        let at = *self.places.entry(key).or_insert(self.found.len());
        match self.found.get_mut(at) {
            Some((_, times)) => *times += 1,
            None => self.found.push((finding, 1)),
        }
    }

    /// Puts them in order.
    pub(in crate::smoke) fn finish(mut self) -> Sum {
        self.found.sort_by(|(a, _), (b, _)| {
            let rank = |finding: &Finding| (Reverse(finding.severity), finding.sheet.is_some());
            let place = |finding: &Finding| (finding.line, finding.column);
            rank(a).cmp(&rank(b)).then_with(|| a.sheet.cmp(&b.sheet)).then_with(|| place(a).cmp(&place(b)))
        });
        let omitted = self.found.len().saturating_sub(MOST) as u32;
        let findings = self.found.into_iter().take(MOST).map(|(finding, times)| repeated(finding, times)).collect();
        Sum { findings, omitted }
    }
}

fn repeated(mut finding: Finding, times: u32) -> Finding {
    if times > 1 {
        finding.message = format!("{} It stands there {times} times.", finding.message);
    }
    finding
}
