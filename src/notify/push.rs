//! Messages to phones over a server of one's own: [ntfy](https://docs.ntfy.sh/publish/#publish-as-json) and
//! [Gotify](https://gotify.net/api-docs#/message/createMessage). Both show plain text.

use serde_json::json;
use url::Url;

use crate::config::SecretSource;
use crate::notify::Message;
use crate::notify::Tone;
use crate::notify::error::NotifyError;
use crate::notify::fit::line;
use crate::notify::fit::lines;
use crate::notify::wire::Call;
use crate::notify::wire::below;
use crate::notify::wire::secret;

/// What is longer than 4096 bytes becomes a file at ntfy.
const NTFY_BYTES: usize = 4000;
const GOTIFY_BYTES: usize = 12_000;
const TITLE_BYTES: usize = 200;

pub(super) fn ntfy(url: &Url, topic: &str, token: Option<&SecretSource>, message: &Message) -> Result<Call, NotifyError> {
    let (priority, tag) = match message.tone {
        Tone::Bad => (4, "rotating_light"),
        Tone::Careful => (3, "warning"),
        Tone::Good => (3, "white_check_mark"),
    };
    let mut body = json!({
        "topic": topic,
        "title": line(&message.title, TITLE_BYTES),
        "message": lines(message, NTFY_BYTES),
        "priority": priority,
        "tags": [tag],
    });
    if let Some(link) = message.link() {
        body["click"] = link.as_str().into();
    }
    let call = Call::post(url.clone(), &body);
    match token {
        Some(token) => call.header("authorization", &format!("Bearer {}", secret(token)?.reveal())),
        None => Ok(call),
    }
}

pub(super) fn gotify(url: &Url, token: &SecretSource, message: &Message) -> Result<Call, NotifyError> {
    let priority = match message.tone {
        Tone::Bad => 8,
        Tone::Careful => 5,
        Tone::Good => 3,
    };
    let body = json!({
        "title": line(&message.title, TITLE_BYTES),
        "message": lines(message, GOTIFY_BYTES),
        "priority": priority,
        "extras": { "client::display": { "contentType": "text/plain" } },
    });
    Call::post(below(url, &["message"]), &body).header("x-gotify-key", secret(token)?.reveal())
}
