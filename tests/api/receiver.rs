//! Services that take messages, as small as they can be, over real HTTP on loopback. Each call is checked against what the service's own
//! documentation says: method, path, content type, fields that are needed and fields that there are, and their lengths. What breaks them is
//! noted as a fault and refused.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// A call that came in.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) body: Value,
}

impl Called {
    pub(crate) fn header(&self, name: &str) -> &str {
        let of = |line: &&str| line.split_once(": ").is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.lines().find(of).and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value)
    }
}

/// What came in, and what is answered.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) calls: Vec<Called>,
    /// What no documentation has.
    pub(crate) wrong: Vec<String>,
    /// What is answered in place of success: status, a header, a body; nothing is kept then.
    pub(crate) fault: Option<(u16, String, String)>,
    /// How often that was answered.
    pub(crate) met: usize,
    /// Refuse what contains this.
    pub(crate) poison: Option<&'static str>,
}

/// The services, all behind one address.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self { port: listener.local_addr().unwrap().port(), seen: Arc::default() };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = serving.clone();
                tokio::spawn(async move { receiver.serve(stream).await });
            }
        });
        receiver
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(crate) fn set_fault(&self, status: u16, header: &str, body: &str) {
        let mut seen = self.seen();
        seen.fault = Some((status, header.to_owned(), body.to_owned()));
        seen.met = 0;
    }

    /// The calls so far, all of which were in order.
    pub(crate) fn calls(&self) -> Vec<Called> {
        let seen = self.seen();
        assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
        seen.calls.clone()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, length) = loop {
            let mut chunk = [0; 8192];
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
                _ => return,
            }
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length =
                head.lines().filter_map(|line| line.split_once(": ")).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length: usize = length.map_or(0, |(_, length)| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                bytes.drain(..end + 4);
                break (head, length);
            }
        };
        bytes.truncate(length);
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        let called = Called { path, head, bytes, body };
        let (status, header, said) = self.answer(called);
        let line = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let answer = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{line}content-length: {}\r\n\r\n{said}", said.len());
        let _ = stream.write_all(answer.as_bytes()).await;
    }

    fn answer(&self, called: Called) -> (u16, String, String) {
        let mut seen = self.seen();
        if let Some(fault) = seen.fault.clone() {
            seen.met += 1;
            return fault;
        }
        if seen.poison.is_some_and(|poison| String::from_utf8_lossy(&called.bytes).contains(poison)) {
            return (400, String::new(), "invalid_payload".to_owned());
        }
        match check(&called) {
            Ok((status, said)) => {
                seen.calls.push(called);
                (status, String::new(), said)
            }
            Err(why) => {
                seen.wrong.push(format!("{why}: {} {}", called.head, String::from_utf8_lossy(&called.bytes)));
                (400, String::new(), why)
            }
        }
    }
}

fn ensure(holds: bool, why: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

/// A text of 1 to `most` characters.
fn text<'v>(value: &'v Value, name: &str, most: usize) -> Result<&'v str, String> {
    let text = value[name].as_str().ok_or_else(|| format!("{name} is no text"))?;
    ensure((1..=most).contains(&text.chars().count()), &format!("{name} has {} characters", text.chars().count()))?;
    ensure(!text.contains(['\r', '\0', '\u{1b}', '\u{202e}']), &format!("{name} has control characters"))?;
    Ok(text)
}

/// No other fields than these.
fn only(value: &Value, names: &[&str]) -> Result<(), String> {
    let odd = value.as_object().ok_or("not an object")?.keys().find(|key| !names.contains(&key.as_str()));
    odd.map_or(Ok(()), |key| Err(format!("there is no field {key}")))
}

/// What the service behind the path answers; or what is wrong with the call.
fn check(called: &Called) -> Result<(u16, String), String> {
    let method = called.head.split(' ').next().unwrap_or_default();
    ensure(called.header("content-type").starts_with("application/json"), "the content type is not JSON")?;
    ensure(called.body.is_object(), "the body is no JSON object")?;
    let path = called.path.as_str();
    let wanted = if path.starts_with("/_matrix/") { "PUT" } else { "POST" };
    ensure(method == wanted, "the method is another")?;
    let ok = |status: u16, said: &str| Ok((status, said.to_owned()));
    match path {
        "/hook" => webhook(called).and(ok(200, "{}")),
        "/services/T0/B0/slack0123456789token" => slack(&called.body).and(ok(200, "ok")),
        "/api/webhooks/1/discord0123456789token" => discord(&called.body).and(ok(204, "")),
        "/teams/workflow?sig=teams0123456789token" => teams(called).and(ok(202, "")),
        "/bot12:telegramtoken/sendMessage" => telegram(&called.body).and(ok(200, r#"{"ok":true,"result":{}}"#)),
        "/ntfy" => ntfy(called).and(ok(200, "{}")),
        "/gotify/message" => gotify(called).and(ok(200, r#"{"id":1}"#)),
        path if path.starts_with("/_matrix/client/v3/rooms/") => matrix(called).and(ok(200, r#"{"event_id":"$1"}"#)),
        _ => Err("there is no such path".to_owned()),
    }
}

/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>; signatures are checked by the test.
fn webhook(called: &Called) -> Result<(), String> {
    let body = &called.body;
    only(body, &["type", "timestamp", "data"])?;
    text(body, "type", 100)?;
    text(body, "timestamp", 40)?.parse::<jiff::Timestamp>().map_err(|error| error.to_string())?;
    ensure(body["data"].is_object() && called.bytes.len() <= 20_480, "data")?;
    let id = called.header("webhook-id");
    ensure(!id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'), "webhook-id")
}

/// <https://docs.slack.dev/reference/block-kit/blocks>
fn slack(body: &Value) -> Result<(), String> {
    only(body, &["text", "mrkdwn", "unfurl_links", "unfurl_media", "blocks"])?;
    let fallback = text(body, "text", 4000)?;
    ensure(!fallback.contains('<'), "a mention or link in the fallback")?;
    let blocks = body["blocks"].as_array().ok_or("blocks")?;
    ensure((1..=50).contains(&blocks.len()), "there are more than 50 blocks")?;
    for block in blocks {
        match block["type"].as_str() {
            Some(kind @ ("header" | "section")) => {
                only(block, &["type", "text"])?;
                only(&block["text"], &["type", "text", "emoji"])?;
                ensure(block["text"]["type"] == "plain_text", "the text has markup")?;
                text(&block["text"], "text", if kind == "header" { 150 } else { 3000 })?;
            }
            Some("rich_text") => {
                only(block, &["type", "elements"])?;
                for element in block["elements"].as_array().ok_or("elements")? {
                    ensure(matches!(element["type"].as_str(), Some("rich_text_preformatted" | "rich_text_section")), "an element")?;
                    for inner in element["elements"].as_array().ok_or("elements")? {
                        match inner["type"].as_str() {
                            Some("text") => text(inner, "text", 3000).map(drop)?,
                            Some("link") => ensure(text(inner, "url", 3000)?.starts_with("http"), "a link")?,
                            _ => return Err("an element that nobody meant".to_owned()),
                        }
                    }
                }
            }
            other => return Err(format!("there is no block {other:?}")),
        }
    }
    Ok(())
}

/// <https://docs.discord.com/developers/resources/webhook#execute-webhook>
fn discord(body: &Value) -> Result<(), String> {
    only(body, &["embeds", "allowed_mentions"])?;
    ensure(body["allowed_mentions"] == json!({ "parse": [] }), "mentions are allowed")?;
    let embeds = body["embeds"].as_array().ok_or("embeds")?;
    ensure((1..=10).contains(&embeds.len()), "embeds")?;
    let mut all = 0;
    for embed in embeds {
        only(embed, &["title", "description", "color", "timestamp"])?;
        all += text(embed, "title", 256)?.chars().count() + text(embed, "description", 4096)?.chars().count();
        ensure(embed["color"].as_u64().is_some_and(|color| color <= 0x00ff_ffff), "color")?;
        text(embed, "timestamp", 40)?.parse::<jiff::Timestamp>().map_err(|error| error.to_string())?;
    }
    ensure(all <= 6000, "more than 6000 characters")
}

/// <https://adaptivecards.io/explorer/RichTextBlock.html>, in the envelope of a workflow's webhook.
fn teams(called: &Called) -> Result<(), String> {
    let body = &called.body;
    ensure(called.bytes.len() <= 28 << 10, "larger than 28 KiB")?;
    only(body, &["type", "attachments"])?;
    ensure(body["type"] == "message", "type")?;
    for attachment in body["attachments"].as_array().ok_or("attachments")? {
        only(attachment, &["contentType", "contentUrl", "content"])?;
        ensure(attachment["contentType"] == "application/vnd.microsoft.card.adaptive", "contentType")?;
        let card = &attachment["content"];
        only(card, &["$schema", "type", "version", "body"])?;
        ensure(card["type"] == "AdaptiveCard" && card["version"] == "1.4", "the card")?;
        for block in card["body"].as_array().ok_or("body")? {
            only(block, &["type", "inlines"])?;
            // A TextBlock would read Markdown.
            ensure(block["type"] == "RichTextBlock", "a block with markup")?;
            for run in block["inlines"].as_array().ok_or("inlines")? {
                only(run, &["type", "text", "weight", "size", "color", "fontType", "selectAction"])?;
                ensure(run["type"] == "TextRun", "a run")?;
                text(run, "text", 28_000)?;
            }
        }
    }
    Ok(())
}

/// <https://core.telegram.org/bots/api#sendmessage>; with HTML it takes a few marks alone.
fn telegram(body: &Value) -> Result<(), String> {
    only(body, &["chat_id", "text", "parse_mode", "link_preview_options", "message_thread_id"])?;
    ensure(body["chat_id"] == "-100200" && body["message_thread_id"] == 7, "the chat")?;
    ensure(body["parse_mode"] == "HTML" && body["link_preview_options"]["is_disabled"] == true, "the mode")?;
    let words = body["text"].as_str().ok_or("text")?;
    ensure(!words.is_empty() && words.encode_utf16().count() <= 4096, "the length of the text")?;
    let bare = marks(words, &["b", "pre"])?;
    let named = bare.char_indices().any(|(at, c)| c == '@' && bare[at + 1..].starts_with(|c: char| c.is_ascii_alphanumeric()));
    ensure(!named, "somebody is mentioned")
}

/// The text without its marks, which are these alone, each closed before another opens.
fn marks(words: &str, known: &[&str]) -> Result<String, String> {
    let mut bare = String::new();
    let mut open: Option<&str> = None;
    for (at, part) in words.split('<').enumerate() {
        if at == 0 {
            bare += part;
            continue;
        }
        let (mark, rest) = part.split_once('>').ok_or("a mark that does not end")?;
        match (open, mark.strip_prefix('/')) {
            (Some(opened), Some(closed)) if opened == closed => open = None,
            (None, None) if known.contains(&mark) => open = Some(mark),
            _ => return Err(format!("the mark <{mark}>")),
        }
        // A command is shown as it is written.
        if open != Some("pre") {
            bare += rest;
        }
    }
    ensure(open.is_none(), "a mark that is open")?;
    Ok(bare)
}

/// <https://docs.ntfy.sh/publish/#publish-as-json>
fn ntfy(called: &Called) -> Result<(), String> {
    let body = &called.body;
    only(body, &["topic", "message", "title", "tags", "priority", "click"])?;
    ensure(called.header("authorization") == "Bearer ntfytoken", "the token")?;
    ensure(body["topic"] == "ops" && body["priority"].as_u64().is_some_and(|priority| (1..=5).contains(&priority)), "topic or priority")?;
    text(body, "title", 250)?;
    ensure(text(body, "message", 4096)?.len() <= 4096, "the message would become a file")?;
    ensure(body["tags"].as_array().is_some_and(|tags| tags.iter().all(Value::is_string)), "tags")
}

/// <https://gotify.net/api-docs#/message/createMessage>
fn gotify(called: &Called) -> Result<(), String> {
    let body = &called.body;
    only(body, &["title", "message", "priority", "extras"])?;
    ensure(called.header("x-gotify-key") == "gotifytoken", "the token")?;
    text(body, "title", 500)?;
    text(body, "message", 20_000)?;
    ensure(
        body["priority"].is_u64() && body["extras"] == json!({ "client::display": { "contentType": "text/plain" } }),
        "priority or extras",
    )
}

/// <https://spec.matrix.org/v1.15/client-server-api/#mroommessage-msgtypes>
fn matrix(called: &Called) -> Result<(), String> {
    let body = &called.body;
    ensure(called.header("authorization") == "Bearer matrixtoken", "the token")?;
    let rest = called.path.strip_prefix("/_matrix/client/v3/rooms/!abc:example.com/send/m.room.message/");
    let rest = rest.or_else(|| called.path.strip_prefix("/_matrix/client/v3/rooms/!abc%3Aexample.com/send/m.room.message/"));
    ensure(rest.is_some_and(|id| !id.is_empty() && !id.contains('/')), "the room or the transaction")?;
    only(body, &["msgtype", "body", "format", "formatted_body", "m.mentions"])?;
    ensure(body["msgtype"] == "m.text" && body["format"] == "org.matrix.custom.html" && body["m.mentions"] == json!({}), "the message")?;
    text(body, "body", 30_000)?;
    ensure(called.bytes.len() < 60_000, "the event is too large")?;
    let html = body["formatted_body"].as_str().ok_or("formatted_body")?;
    let html = html.replace("<br>", "\n").replace("<pre><code>", "<pre>").replace("</code></pre>", "</pre>");
    let link = regex::Regex::new(r#"<a href="https?://[^"<>\s]*">[^<>]*</a>"#).unwrap();
    marks(&link.replace_all(&html, ""), &["strong", "pre"]).map(drop)
}
