//! What was found wrong with the page's assets, each fault once.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::plan::RuleLevels;
use crate::report::Finding;
use crate::report::Severity;
use crate::rules;

/// A report lists so many findings about assets; a page with more has one cause for them.
const MOST: usize = 200;

/// Rule, address and element: what agrees in these is one fault that stands in several places.
type Key = (String, Option<String>, Option<String>, bool);

/// What a tally came to.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    /// The findings, worst first and then by their place.
    pub(crate) findings: Vec<Finding>,
    /// How many more there were.
    pub(crate) omitted: u32,
}

/// Gathers findings, as bad as the service says. What it has switched off takes no place in the list.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    levels: &'a RuleLevels,
    found: Vec<(Finding, u32)>,
    places: HashMap<Key, usize>,
}

impl<'a> Tally<'a> {
    /// Nothing found yet.
    pub(crate) fn new(levels: &'a RuleLevels) -> Self {
        Self { levels, found: Vec::new(), places: HashMap::new() }
    }

    /// Takes a finding, or counts it when the same fault stands there already.
    pub(crate) fn add(&mut self, finding: Finding) {
        let Some(finding) = rules::settled(finding, self.levels) else { return };
        let key = (finding.rule.clone(), finding.resolved.clone(), finding.element.clone(), finding.severity == Severity::Error);
        let at = *self.places.entry(key).or_insert(self.found.len());
        match self.found.get_mut(at) {
            Some((_, times)) => *times += 1,
            None => self.found.push((finding, 1)),
        }
    }

    /// Puts them in order.
    pub(crate) fn finish(mut self) -> Sum {
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
        finding.message = format!("{} The page contains it {times} times.", finding.message);
    }
    finding
}
