//! [Webhooks of Discord](https://docs.discord.com/developers/resources/webhook#execute-webhook): one embed, whose text is Markdown, so that
//! everything that Markdown knows is escaped; and nobody is mentioned, whatever it says.

use serde_json::json;

use crate::clock;
use crate::config::NotifyAddress;
use crate::notify::Message;
use crate::notify::Piece;
use crate::notify::Tone;
use crate::notify::error::NotifyError;
use crate::notify::fit::Fit;
use crate::notify::wire::Call;

/// [Limits of an embed](https://docs.discord.com/developers/resources/message#embed-object-embed-limits), in characters.
const TITLE_BYTES: usize = 256;
const TEXT_BYTES: usize = 4096;

pub(super) fn call(url: &NotifyAddress, message: &Message) -> Result<Call, NotifyError> {
    let url = url.read().map_err(NotifyError::unreachable)?;
    let embed = json!({
        "title": Fit::new(TITLE_BYTES).take(&message.title, escape),
        "description": text(message),
        "color": match message.tone {
            Tone::Bad => 0x00d7_3a49,
            Tone::Careful => 0x00db_ab09,
            Tone::Good => 0x0028_a745,
        },
        "timestamp": clock::utc(message.at_ms),
    });
    Ok(Call::post(url, &json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } })))
}

fn text(message: &Message) -> String {
    let mut fit = Fit::new(TEXT_BYTES);
    let mut text = String::new();
    for piece in &message.pieces {
        if !fit.has_room(10) {
            break;
        }
        match piece {
            Piece::Text(words) => text += &fit.take(words, escape),
            Piece::Code(words) => text.extend(["```\n", &fit.take(words, code), "\n```"]),
            Piece::Link(url) => text.extend(["<", &fit.take(url.as_str(), code), ">"]),
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// A backslash takes its meaning from any character that is neither a letter nor a digit nor a space.
fn escape(c: char, out: &mut String) {
    if c.is_ascii_punctuation() && !matches!(c, '.' | ',' | ';' | '!' | '?' | '"' | '\'' | '%' | '/') {
        out.push('\\');
    }
    out.push(c);
}

/// What ends a block of code stands in none.
fn code(c: char, out: &mut String) {
    out.push(if c == '`' { '\u{2bc}' } else { c });
}
