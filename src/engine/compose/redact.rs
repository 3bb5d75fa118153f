//! A resolved configuration without its secrets.

use hmac::Hmac;
use hmac::KeyInit as _;
use hmac::Mac as _;
use serde_json::Map;
use serde_json::Value;
use sha2::Sha256;

/// Below these keys every value is replaced.
const SECRET: [&str; 13] = [
    "environment",
    "args",
    "content",
    "driver_opts",
    "options",
    "command",
    "entrypoint",
    "test",
    "post_start",
    "pre_stop",
    "labels",
    "annotations",
    "additional_contexts",
];

/// `config` with every value that may carry a secret (environment, labels, build arguments, contents, driver options, command
/// lines) replaced by `hmac:` and 16 hex digits of its HMAC-SHA256 under `key`: equal values stay equal, and that is all
/// that can be seen. Extension fields (`x-…`), from which such values are often copied, are left out.
pub(super) fn redacted(config: &Value, key: &[u8]) -> Value {
    walk(config, key, 0, false)
}

/// `depth` tells the names of services, configs and the like (depth 2), which people choose, from keys.
fn walk(value: &Value, key: &[u8], depth: usize, secret: bool) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| secret || depth == 1 || !name.starts_with("x-"));
            let secret = |name: &str| secret || (depth >= 2 && SECRET.contains(&name));
            let walked = kept.map(|(name, value)| (name.clone(), walk(value, key, depth + 1, secret(name))));
            Value::Object(walked.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| walk(item, key, depth + 1, secret)).collect()),
        Value::Null => Value::Null,
        other if secret => Value::String(fingerprint(other, key)),
        other => other.clone(),
    }
}

fn fingerprint(value: &Value, key: &[u8]) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return "hmac:".to_owned() };
    mac.update(text.as_bytes());
    let bytes: [u8; 32] = mac.finalize().into_bytes().into();
    let number = bytes[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("hmac:{number:016x}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::engine::compose::redact::redacted;

    #[test]
    fn values_that_may_be_secret_become_fingerprints() {
        let config = json!({
            "x-common": {"environment": {"PASS": "hunter2"}},
            "configs": {"a": {"content": "hunter2"}},
            "services": {"environment": {"image": "acme/web:1", "environment": {"PASS": "hunter2", "N": 2, "E": null},
                "build": {"context": ".", "args": {"TOKEN": "hunter2"}}, "command": ["serve", "--pass", "hunter2"],
                "labels": {"a": "b"}, "logging": {"driver": "splunk", "options": {"splunk-token": "hunter2"}}}},
        });
        let one = redacted(&config, b"key").to_string();
        assert!(!one.contains("hunter2"), "{one}");
        for kept in ["\"context\":\".\"", "\"labels\":{\"a\":\"hmac:", "\"E\":null", "PASS"] {
            assert!(one.contains(kept), "{kept} in {one}");
        }
        assert_eq!(one, redacted(&config, b"key").to_string());
        assert_ne!(one, redacted(&config, b"other").to_string());
    }
}
