//! [Incoming webhooks of Slack](https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks): blocks of plain text and of
//! elements, in which nothing is markup.

use serde_json::Value;
use serde_json::json;

use crate::config::NotifyAddress;
use crate::notify::Message;
use crate::notify::Piece;
use crate::notify::error::NotifyError;
use crate::notify::fit::Fit;
use crate::notify::fit::line;
use crate::notify::wire::Call;

/// A header has 150 characters at most, a text 3000, a message 50 blocks.
const TITLE_BYTES: usize = 150;
const TEXT_BYTES: usize = 3000;
const MOST_BLOCKS: usize = 50;

pub(super) fn call(url: &NotifyAddress, message: &Message) -> Result<Call, NotifyError> {
    let url = url.read().map_err(NotifyError::unreachable)?;
    let header = json!({ "type": "header", "text": plain_text(&line(&message.title, TITLE_BYTES)) });
    let pieces = message.pieces.iter().filter(|piece| !piece.words().trim().is_empty()).take(MOST_BLOCKS - 1).map(block);
    let blocks: Vec<Value> = std::iter::once(header).chain(pieces).collect();
    // For notifications of the desktop, where blocks are not shown.
    let fallback = Fit::new(TEXT_BYTES).take(&message.title, escape);
    Ok(Call::post(url, &json!({ "text": fallback, "mrkdwn": false, "unfurl_links": false, "unfurl_media": false, "blocks": blocks })))
}

fn plain_text(words: &str) -> Value {
    json!({ "type": "plain_text", "text": words, "emoji": false })
}

fn block(piece: &Piece) -> Value {
    let words = line(piece.words(), TEXT_BYTES);
    match piece {
        Piece::Text(_) => json!({ "type": "section", "text": plain_text(&words) }),
        Piece::Code(_) => rich(&json!({ "type": "rich_text_preformatted", "elements": [{ "type": "text", "text": words }] })),
        Piece::Link(url) => rich(&json!({ "type": "rich_text_section", "elements": [{ "type": "link", "url": url.as_str() }] })),
    }
}

fn rich(element: &Value) -> Value {
    json!({ "type": "rich_text", "elements": [element] })
}

/// The [three characters](https://docs.slack.dev/messaging/formatting-message-text) by which links and mentions begin.
fn escape(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        c => out.push(c),
    }
}
