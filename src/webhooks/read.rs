//! From the bytes of a payload to what it tells.

use crate::config::ForgeKind;
use crate::model::json_object;
use crate::webhooks::deployment;
use crate::webhooks::dispatch;
use crate::webhooks::fields::Fields;
use crate::webhooks::fields::quoted;
use crate::webhooks::notice::Payload;
use crate::webhooks::notice::PayloadError;
use crate::webhooks::package;
use crate::webhooks::push;
use crate::webhooks::release;
use crate::webhooks::run;

/// What the payload `bytes` of the event that the forge names `event` tells.
///
/// # Errors
/// When it is no JSON object, or none of that event.
pub fn read(kind: ForgeKind, event: &str, bytes: &[u8]) -> Result<Payload, PayloadError> {
    let map = json_object(bytes).map_err(|why| PayloadError(format!("The payload {why}.")))?;
    let body = Fields(&map);
    match event {
        "ping" => Ok(Payload::Ping),
        "push" => push::read(body),
        "release" => release::read(body),
        "package" | "registry_package" => package::read(body),
        "workflow_run" => run::read(kind, body),
        "action_run_success" | "action_run_failure" | "action_run_recover" => run::read_forgejo(body),
        "deployment" => deployment::read(body),
        "repository_dispatch" => dispatch::read(body),
        "create" => Ok(Payload::Nothing("a new branch or tag is told by the event push as well".to_owned())),
        "delete" => Ok(Payload::Nothing("a branch or tag was deleted".to_owned())),
        other => Ok(Payload::Nothing(format!("no rule can be for the event {}", quoted(other)))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::json;

    use super::read;
    use crate::config::ForgeKind;
    use crate::webhooks::Payload;

    const EVENTS: [&str; 9] = [
        "push",
        "release",
        "package",
        "registry_package",
        "workflow_run",
        "action_run_success",
        "deployment",
        "repository_dispatch",
        "ping",
    ];
    const KINDS: [ForgeKind; 2] = [ForgeKind::GitHub, ForgeKind::Gitea];

    fn everywhere(bytes: &[u8]) {
        for event in EVENTS {
            for kind in KINDS {
                let _ = read(kind, event, bytes);
            }
        }
    }

    #[test]
    fn what_is_no_payload_is_refused_and_nothing_more() {
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        for bad in [&b""[..], b"[]", b"null", b"{", b"{\"a\":\"\xff\"}", b"{\"a\":\"\\ud800\"}", b"{\"ref\":1,\"ref\":2}", deep.as_bytes()]
        {
            for event in EVENTS {
                assert!(read(ForgeKind::GitHub, event, bad).is_err(), "{event} {:?}", String::from_utf8_lossy(&bad[..bad.len().min(40)]));
            }
        }
    }

    /// Every field of payloads that are right, made into something else.
    #[test]
    fn any_value_in_any_place_does_no_harm() {
        let all = json!({
            "ref": "refs/heads/main", "before": "1".repeat(40), "after": "2".repeat(40), "action": "published",
            "commits": [{ "id": "2".repeat(40), "message": "x", "added": ["a"], "removed": null, "modified": [] }],
            "head_commit": { "id": "2".repeat(40), "message": "x" },
            "repository": { "id": 7, "full_name": "acme/web" }, "sender": { "login": "ada" }, "pusher": { "name": "ada" },
            "release": { "tag_name": "v1", "draft": false, "prerelease": false },
            "package": { "name": "web", "type": "container", "version": "1" },
            "workflow_run": { "head_sha": "2".repeat(40), "conclusion": "success", "event": "push", "head_repository": { "id": 7, "full_name": "acme/web" } },
            "run": { "commit_sha": "2".repeat(40), "status": "success", "event": "push", "event_payload": "{}", "repository": { "full_name": "acme/web" } },
            "deployment": { "sha": "2".repeat(40), "environment": "production", "task": "deploy" },
            "client_payload": { "tag": "v1" }, "branch": "main"
        });
        let mut places = Vec::new();
        walk(&all, String::new(), &mut places);
        for place in &places {
            for odd in [
                json!(null),
                json!(true),
                json!(-1),
                json!(1.5),
                json!(""),
                json!("\u{202e}"),
                json!([]),
                json!([[]]),
                json!({}),
                json!({ "a": 1 }),
            ] {
                let mut changed = all.clone();
                *changed.pointer_mut(place).unwrap() = odd;
                everywhere(changed.to_string().as_bytes());
            }
        }
        assert!(places.len() > 40, "{places:?}");
    }

    fn walk(value: &Value, place: String, places: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(name, value)| walk(value, format!("{place}/{name}"), places)),
            Value::Array(list) => list.iter().enumerate().for_each(|(at, value)| walk(value, format!("{place}/{at}"), places)),
            _ => {}
        }
        places.push(place);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            everywhere(&bytes);
        }

        #[test]
        fn any_words_do_no_harm(git_ref in ".*", message in ".*", commit in "[0-9a-fA-F]{0,64}") {
            let body = json!({ "ref": git_ref, "after": commit, "head_commit": { "id": commit, "message": message }, "repository": { "full_name": message } });
            everywhere(body.to_string().as_bytes());
        }
    }

    #[test]
    fn what_nobody_asks_about_is_passed_over() {
        assert_eq!(read(ForgeKind::GitHub, "ping", br#"{"zen":"x","hook_id":1}"#), Ok(Payload::Ping));
        for event in ["pull_request", "issues", "star", "", "\u{202e}", "create", "delete"] {
            assert!(matches!(read(ForgeKind::Gitea, event, b"{}"), Ok(Payload::Nothing(_))), "{event}");
        }
    }
}
