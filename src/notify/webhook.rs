//! [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md): a program gets what
//! happened as data.

use serde_json::Value;
use serde_json::json;

use crate::clock;
use crate::config::NotifyAddress;
use crate::config::SecretSource;
use crate::config::signing_secrets;
use crate::model::webhook_signature;
use crate::notify::Message;
use crate::notify::error::NotifyError;
use crate::notify::fit::line;
use crate::notify::fit::lines;
use crate::notify::wire::Call;

/// Receivers are advised to take 20 KiB.
const TEXT_BYTES: usize = 8000;

pub(super) fn call(url: &NotifyAddress, secret: &SecretSource, message: &Message) -> Result<Call, NotifyError> {
    let url = url.read().map_err(NotifyError::unreachable)?;
    let secrets = signing_secrets(secret).map_err(NotifyError::unreachable)?;
    let mut data = message.data.clone();
    data.insert("title".to_owned(), Value::from(line(&message.title, 500)));
    data.insert("text".to_owned(), Value::from(lines(message, TEXT_BYTES)));
    let body = json!({ "type": message.kind, "timestamp": clock::utc(message.at_ms), "data": data });
    let call = Call::post(url, &body);
    let now_s = clock::now_ms() / 1000;
    let signatures: Vec<String> = secrets.iter().map(|secret| webhook_signature(secret, &message.id, now_s, call.body())).collect();
    let call = call.header("webhook-signature", &signatures.join(" "))?.header("webhook-timestamp", &now_s.to_string())?;
    call.header("webhook-id", &message.id)
}
