//! A service on several hosts, as `tagalong status` shows it.

use crate::api;
use crate::api::Word;
use crate::cli::output::Tone;

/// A line for each host: what it has, and how it stands there.
pub(crate) fn lines(service: &api::Service) -> Vec<(Tone, String)> {
    service.hosts.iter().map(line).collect()
}

fn line(host: &api::ServiceHost) -> (Tone, String) {
    let word = host.standing.word;
    let tag = host.tag.as_ref().map_or("no release", |tag| tag.as_str());
    let why = host.standing.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    (tone(word), format!("{} has {tag}, {}{why}", host.host, word.as_str()))
}

/// How a word is told.
pub(crate) fn tone(word: Word) -> Tone {
    match word {
        Word::Ok => Tone::Good,
        Word::Empty | Word::Deploying => Tone::Careful,
        _ => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::lines;
    use crate::api;

    #[test]
    fn each_host_says_what_it_has_and_how_it_stands() {
        let host = |name: &str, standing: serde_json::Value, tag: Option<&str>| json!({"host": name, "standing": standing, "tag": tag});
        let hosts = [
            host("micro", json!({"word": "ok"}), Some("v2")),
            host("macro", json!({"word": "unknown", "why": "the agent macro has been away for 40 s."}), None),
        ];
        let service: api::Service = serde_json::from_value(json!({
            "name": "web", "standing": {"word": "unknown"}, "pinned": [], "containers": [], "rollback_candidates": [], "hosts": hosts,
        }))
        .unwrap();
        let said: Vec<String> = lines(&service).into_iter().map(|(_, line)| line).collect();
        assert_eq!(said, ["micro has v2, ok", "macro has no release, unknown: the agent macro has been away for 40 s."]);
    }
}
