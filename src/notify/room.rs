//! [Rooms of Matrix](https://spec.matrix.org/v1.15/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid): a message that is put
//! twice under its transaction's id is there once.

use serde_json::json;
use url::Url;

use crate::config::SecretSource;
use crate::notify::Message;
use crate::notify::Piece;
use crate::notify::error::NotifyError;
use crate::notify::fit::Fit;
use crate::notify::fit::html;
use crate::notify::fit::line;
use crate::notify::fit::lines;
use crate::notify::wire::Call;
use crate::notify::wire::below;
use crate::notify::wire::secret;

/// An event has 65,536 bytes at most; the text stands in it twice.
const TEXT_BYTES: usize = 12_000;

pub(super) fn call(url: &Url, room: &str, token: &SecretSource, message: &Message) -> Result<Call, NotifyError> {
    let url = below(url, &["_matrix", "client", "v3", "rooms", room, "send", "m.room.message", &message.id]);
    let title = line(&message.title, 500);
    let body = json!({
        "msgtype": "m.text",
        "body": format!("{title}\n{}", lines(message, TEXT_BYTES)),
        "format": "org.matrix.custom.html",
        "formatted_body": formatted(message),
        // Who says whom a message mentions mentions nobody by its words.
        "m.mentions": {},
    });
    Call::post(url, &body).put().header("authorization", &format!("Bearer {}", secret(token)?.reveal()))
}

fn formatted(message: &Message) -> String {
    let mut fit = Fit::new(TEXT_BYTES);
    let mut text = format!("<strong>{}</strong>", Fit::new(1000).take(&message.title, html));
    for piece in &message.pieces {
        if !fit.has_room(30) {
            break;
        }
        match piece {
            Piece::Text(words) => text.extend(["<br>", &fit.take(words, html)]),
            Piece::Code(words) => text.extend(["<pre><code>", &fit.take(words, html), "</code></pre>"]),
            Piece::Link(url) => {
                let address = fit.take(url.as_str(), html);
                text.extend(["<br><a href=\"", &address, "\">", &address, "</a>"]);
            }
        }
    }
    text
}
