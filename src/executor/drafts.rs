//! The lines that an agent has sent, as they are stored here.

use text::Mask;

use crate::journal::clean;
use crate::line::SentLine;
use crate::model::AgentName;
use crate::model::LineDraft;
use crate::model::LineKind;

/// What stands, at a control plane, for what an agent says outside of its run.
pub(super) const ASIDE: i64 = -1;

/// The lines say which host of a rollout they are of, and none of them is the last of the deployment.
pub(super) fn on_host(host: &AgentName, drafts: &mut [LineDraft]) {
    for draft in drafts {
        draft.text = format!("{host}: {}", draft.text);
        draft.kind = if draft.kind == LineKind::Outcome { LineKind::Note } else { draft.kind };
    }
}

/// What drafts of lines, run by run, become of what an agent has sent. Whatever it sent, no line forges another.
pub(super) fn drafts(lines: Vec<SentLine>, mask: &Mask) -> Vec<(i64, Vec<LineDraft>)> {
    let mut runs: Vec<(i64, Vec<LineDraft>)> = Vec::new();
    for line in lines {
        let run = match line.run {
            0 => ASIDE,
            1 => 1,
            _ => continue,
        };
        let mut draft = line.into_draft();
        draft.text = clean(&mask.hide(&draft.text));
        match runs.last_mut() {
            Some((last, drafts)) if *last == run => drafts.push(draft),
            _ => runs.push((run, vec![draft])),
        }
    }
    runs
}
