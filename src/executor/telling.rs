//! How much agents may tell of what nobody here is at. What is too much now is not acknowledged, so an agent says it again: a long history
//! comes across slowly, and whole. Nothing else of the agent waits for it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use crate::line::FromAgent;
use crate::model::AgentName;

/// How many deployments an agent may tell of at once, and how long until it may tell of one more.
const MOST_DEPLOYMENTS: f64 = 2000.0;
const PER_DEPLOYMENT: Duration = Duration::from_secs(1);
/// How much it may say of them at once, with their lines, and how much more in an hour (bytes).
const MOST_BYTES: f64 = 134_217_728.0;
const BYTES_PER_HOUR: f64 = 67_108_864.0;
const HOUR: Duration = Duration::from_hours(1);

/// What an agent may still tell.
#[derive(Debug)]
struct Left {
    deployments: f64,
    bytes: f64,
    at: Instant,
    /// Whether something had to wait, and it has not caught up since.
    waits: bool,
}

/// What each agent may still tell.
#[derive(Debug, Default)]
pub(super) struct Telling(Mutex<HashMap<AgentName, Left>>);

impl Telling {
    /// Whether `frame` of `agent` is taken now. One that is not is to be ignored.
    pub(super) fn takes(&self, agent: &AgentName, frame: &FromAgent) -> bool {
        self.takes_at(agent, frame, Instant::now())
    }

    fn takes_at(&self, agent: &AgentName, frame: &FromAgent, now: Instant) -> bool {
        let (deployments, bytes) = match frame {
            FromAgent::Ended(ended) => (1.0, serde_json::to_vec(ended).map_or(0, |text| text.len())),
            FromAgent::Lines(lines) => (0.0, lines.lines.iter().map(|line| line.text.len() + 100).sum()),
            _ => return true,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.entry(agent.clone()).or_insert(Left { deployments: MOST_DEPLOYMENTS, bytes: MOST_BYTES, at: now, waits: false });
        let passed_s = now.duration_since(left.at).as_secs_f64();
        left.at = now;
        left.deployments = (left.deployments + passed_s / PER_DEPLOYMENT.as_secs_f64()).min(MOST_DEPLOYMENTS);
        left.bytes = (left.bytes + passed_s * BYTES_PER_HOUR / HOUR.as_secs_f64()).min(MOST_BYTES);
        // Whatever its size, one more is taken while anything is left.
        if left.deployments < deployments || left.bytes <= 0.0 {
            if !left.waits {
                tracing::warn!(agent = %agent, "an agent tells more of past deployments than is taken at once; the rest follows slowly");
            }
            left.waits = true;
            return false;
        }
        left.deployments -= deployments;
        left.bytes -= bytes as f64;
        left.waits &= left.deployments < MOST_DEPLOYMENTS / 2.0 || left.bytes < MOST_BYTES / 2.0;
        true
    }

    /// The agents that have told more than is taken at once, as sentences.
    pub(super) fn problems(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting: Vec<&AgentName> = all.iter().filter(|(_, left)| left.waits).map(|(agent, _)| agent).collect();
        waiting.sort();
        let why = "which takes one more each second, and 64 MiB an hour; if its host has no such history, look at that host";
        waiting
            .iter()
            .map(|agent| format!("The agent {agent} tells more of past deployments than is taken at once by this server, {why}."))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Telling;
    use crate::clock;
    use crate::line::FromAgent;
    use crate::model::AgentName;

    fn frame(kind: &str, text: &str) -> FromAgent {
        let ended = serde_json::json!({
            "kind": "ended", "order": { "deployment": clock::new_id(), "order": "deploy", "service": "web", "caller": "local:0" },
            "created_ms": 1, "ended_ms": 1, "step": "up", "outcome": { "outcome": "failed", "why": text },
        });
        let line = serde_json::json!({ "position": 1, "run": 1, "seq": 1, "at_ms": 1, "step": "up", "line": "output", "text": text });
        let lines = serde_json::json!({ "kind": "lines", "deployment": clock::new_id(), "lines": [line] });
        serde_json::from_value(if kind == "ended" { ended } else { lines }).unwrap()
    }

    #[test]
    fn a_long_history_comes_slowly_and_whole_and_nobody_else_waits_for_it() {
        let telling = Telling::default();
        let begin = Instant::now();
        let one = frame("ended", "");
        let takes = |name: &str, frame: &FromAgent, after_s: u64| {
            telling.takes_at(&AgentName::parse(name).unwrap(), frame, begin + Duration::from_secs(after_s))
        };
        let taken = (0..3000).filter(|_| takes("a", &one, 0)).count();
        assert_eq!(taken, 2000);
        assert!(telling.problems()[0].starts_with("The agent a tells more"), "{:?}", telling.problems());
        assert!(takes("b", &one, 0) && takes("a", &frame("lines", "x"), 0));
        // A thousand more come across in a thousand seconds.
        let later = (1..=1000).filter(|second| takes("a", &one, *second)).count();
        assert_eq!(later, 1000);
        assert!(!takes("a", &one, 1000));
        // At rest it is forgotten.
        assert!(takes("a", &one, 10_000) && telling.problems().is_empty());
    }

    #[test]
    fn what_is_told_is_counted_by_its_size_as_well() {
        let telling = Telling::default();
        let now = Instant::now();
        let name = AgentName::parse("a").unwrap();
        let big = frame("lines", &"x".repeat(4 << 20));
        let taken = (0..100).filter(|_| telling.takes_at(&name, &big, now)).count();
        assert_eq!(taken, 32);
        assert!(!telling.takes_at(&name, &frame("ended", ""), now));
        let taken = (0..100).filter(|_| telling.takes_at(&name, &big, now + Duration::from_hours(1))).count();
        assert_eq!(taken, 16);
    }
}
