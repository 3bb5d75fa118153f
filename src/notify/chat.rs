//! [Chats of Telegram](https://core.telegram.org/bots/api#sendmessage): text with HTML marks, in which a name behind an `@` mentions nobody.

use serde_json::json;
use url::Url;

use crate::config::SecretSource;
use crate::notify::Message;
use crate::notify::Piece;
use crate::notify::error::NotifyError;
use crate::notify::fit::Fit;
use crate::notify::fit::html;
use crate::notify::wire::Call;
use crate::notify::wire::below;
use crate::notify::wire::secret;

/// A text has 4096 characters at most.
const TEXT_BYTES: usize = 4000;

/// A chat, or a topic in it.
pub(super) struct Place<'p> {
    pub(super) chat: &'p str,
    pub(super) topic: Option<i64>,
}

pub(super) fn call(url: &Url, place: &Place<'_>, token: &SecretSource, message: &Message) -> Result<Call, NotifyError> {
    let url = below(url, &[&format!("bot{}", secret(token)?.reveal()), "sendMessage"]);
    let mut body = json!({
        "chat_id": place.chat,
        "text": text(message),
        "parse_mode": "HTML",
        "link_preview_options": { "is_disabled": true },
    });
    if let Some(topic) = place.topic {
        body["message_thread_id"] = topic.into();
    }
    Ok(Call::post(url, &body))
}

fn text(message: &Message) -> String {
    let mut fit = Fit::new(TEXT_BYTES);
    fit.has_room(7);
    let mut text = format!("<b>{}</b>", fit.take(&message.title, unnamed));
    for piece in &message.pieces {
        if !fit.has_room(20) {
            break;
        }
        match piece {
            Piece::Text(words) => text.extend(["\n", &fit.take(words, unnamed)]),
            Piece::Code(words) => text.extend(["\n<pre>", &fit.take(words, html), "</pre>"]),
            Piece::Link(url) => text.extend(["\n", &fit.take(url.as_str(), html)]),
        }
    }
    text
}

/// Telegram looks for names itself, whatever the marks say: behind a character that shows nothing it finds none.
fn unnamed(c: char, out: &mut String) {
    html(c, out);
    if c == '@' {
        out.push('\u{2060}');
    }
}
