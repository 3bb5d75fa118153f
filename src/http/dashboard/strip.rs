//! The last outcomes of a service as a strip of marks, the newest at the right.

use crate::http::dashboard::words::Pill;
use crate::http::dashboard::words::Tone;
use crate::store::Glance;

/// How many marks a strip has.
pub(super) const MOST: i64 = 20;

/// Marks, the oldest first, and what they say to those who do not see them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Strip {
    pub(super) marks: Vec<&'static str>,
    pub(super) said: String,
}

impl Strip {
    /// Of deployments that come newest first.
    pub(super) fn of(newest_first: &[Glance]) -> Self {
        let pills: Vec<(Pill, &str)> = newest_first.iter().map(|one| (pill(one), one.state.as_str())).collect();
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for (pill, _) in &pills {
            match counts.iter_mut().find(|(word, _)| *word == pill.word) {
                Some((_, count)) => *count += 1,
                None => counts.push((&pill.word, 1)),
            }
        }
        let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
        let said = format!("The last {}: {}", pills.len(), counts.join(", "));
        Self { marks: pills.iter().rev().map(|(pill, state)| mark(pill.tone, state)).collect(), said }
    }
}

fn pill(one: &Glance) -> Pill {
    match &one.outcome {
        Some(outcome) => Pill::ended(one.kind, outcome),
        None if one.state == "running" => Pill::new(Tone::Busy, "running"),
        None => Pill::new(Tone::Wait, "waiting"),
    }
}

fn mark(tone: Tone, state: &str) -> &'static str {
    match (tone, state) {
        (_, "running") => "r",
        (_, "waiting") => "w",
        (Tone::Good, _) => "g",
        (Tone::Warn, _) => "u",
        (Tone::Bad, _) => "b",
        (Tone::Busy | Tone::Wait | Tone::Still, _) => "s",
    }
}

#[cfg(test)]
mod tests {
    use super::Strip;
    use crate::model::DeploymentId;
    use crate::model::OrderKind;
    use crate::store::Glance;

    #[test]
    fn a_strip_ends_with_the_newest_and_can_be_heard() {
        let of = |state: &str, outcome: Option<&str>| Glance {
            id: DeploymentId::from_parts(1, 2),
            kind: OrderKind::Deploy,
            state: state.into(),
            outcome: outcome.map(str::to_owned),
        };
        let all = [
            of("running", None),
            of("done", Some("live")),
            of("done", Some("broken")),
            of("done", Some("live")),
            of("done", Some("refused")),
        ];
        let strip = Strip::of(&all);
        assert_eq!(strip.marks, ["s", "g", "b", "g", "r"]);
        assert_eq!(strip.said, "The last 5: 1 running, 2 live, 1 broken, 1 refused");
    }
}
