//! [Webhooks of workflows in Microsoft Teams](https://support.microsoft.com/en-us/office/create-incoming-webhooks-with-workflows-for-microsoft-teams-8ae491c7-0394-4861-ba59-055e33f75498):
//! an [Adaptive Card](https://adaptivecards.io/explorer/RichTextBlock.html) of text runs, in which nothing is markup.

use serde_json::Value;
use serde_json::json;

use crate::config::NotifyAddress;
use crate::notify::Message;
use crate::notify::Piece;
use crate::notify::Tone;
use crate::notify::error::NotifyError;
use crate::notify::fit::Fit;
use crate::notify::fit::line;
use crate::notify::fit::plain;
use crate::notify::wire::Call;

/// A message has 28 KiB at most, its JSON among it.
const TEXT_BYTES: usize = 12_000;
const BLOCK_BYTES: usize = 120;

pub(super) fn call(url: &NotifyAddress, message: &Message) -> Result<Call, NotifyError> {
    let url = url.read().map_err(NotifyError::unreachable)?;
    let color = match message.tone {
        Tone::Bad => "attention",
        Tone::Careful => "warning",
        Tone::Good => "good",
    };
    let title = json!({ "type": "TextRun", "text": line(&message.title, 500), "weight": "bolder", "size": "medium", "color": color });
    let mut fit = Fit::new(TEXT_BYTES);
    let mut blocks = vec![block(&title)];
    for piece in &message.pieces {
        if !fit.has_room(BLOCK_BYTES) {
            break;
        }
        let words = fit.take(piece.words(), plain);
        blocks.push(block(&match piece {
            Piece::Text(_) => json!({ "type": "TextRun", "text": words }),
            Piece::Code(_) => json!({ "type": "TextRun", "text": words, "fontType": "monospace" }),
            Piece::Link(url) => {
                json!({ "type": "TextRun", "text": words, "selectAction": { "type": "Action.OpenUrl", "url": url.as_str() } })
            }
        }));
    }
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
    });
    let attachment = json!({ "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": card });
    Ok(Call::post(url, &json!({ "type": "message", "attachments": [attachment] })))
}

fn block(run: &Value) -> Value {
    json!({ "type": "RichTextBlock", "inlines": [run] })
}
