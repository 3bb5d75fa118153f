//! The DevTools protocol: calls and their answers, with the events between them. Each message is JSON and ends with a zero
//! byte, as Chromium's `--remote-debugging-pipe` wants it.

use std::collections::VecDeque;

use process::Channel;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::browser::fault::Fault;

/// A screenshot of a large page is one message.
const LARGEST_MESSAGE_BYTES: usize = 64 << 20;

/// A dialog that a page opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialog {
    /// `alert`, `confirm`, `prompt` or `beforeunload`.
    pub(crate) kind: String,
    /// What it says.
    pub(crate) says: String,
}

/// This many dialogs are kept.
const MOST_DIALOGS: usize = 20;

/// A conversation with a browser. When it is dropped, the browser ends by itself.
pub(crate) struct Cdp {
    channel: Channel,
    /// What was read and not taken yet: less than a message, or several.
    pending: Vec<u8>,
    last_id: u64,
    /// Events that came while an answer was waited for, oldest first.
    waiting: VecDeque<Value>,
    dialogs: Vec<Dialog>,
}

impl Cdp {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel, pending: Vec::new(), last_id: 0, waiting: VecDeque::new(), dialogs: Vec::new() }
    }

    /// Calls `method` and gives its result. Events that come first are kept for [`Cdp::event`].
    pub(super) async fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Result<Value, Fault> {
        let id = self.send(session, method, params).await?;
        loop {
            let message = self.receive().await?;
            if message["id"].as_u64() != Some(id) {
                self.keep(message);
                continue;
            }
            if let Some(why) = message["error"]["message"].as_str() {
                return Err(Fault(format!("The browser rejected the call {method}: {why}.")));
            }
            return Ok(message["result"].clone());
        }
    }

    /// Calls `method` without waiting for what comes of it.
    pub(super) async fn tell(&mut self, session: Option<&str>, method: &str, params: Value) -> Result<(), Fault> {
        self.send(session, method, params).await.map(|_| ())
    }

    /// The next event. Nothing is lost when the future is dropped before it comes.
    pub(super) async fn event(&mut self) -> Result<Value, Fault> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(event);
        }
        loop {
            let message = self.receive().await?;
            if message["method"].is_string() {
                return Ok(message);
            }
        }
    }

    /// The dialogs that were opened so far.
    pub(super) fn take_dialogs(&mut self) -> Vec<Dialog> {
        std::mem::take(&mut self.dialogs)
    }

    /// A page stands still while its dialog is open, and so does every call: it is closed at once, whatever is waited for. A
    /// page that asks whether it may be left is left, and every other question is answered as by a visitor who closes it.
    async fn close_dialog(&mut self, opening: &Value) -> Result<(), Fault> {
        let params = &opening["params"];
        let text = |name: &str| params[name].as_str().unwrap_or_default().to_owned();
        let dialog = Dialog { kind: text("type"), says: text("message") };
        let accept = matches!(dialog.kind.as_str(), "alert" | "beforeunload");
        if self.dialogs.len() < MOST_DIALOGS && !self.dialogs.contains(&dialog) {
            self.dialogs.push(dialog);
        }
        let session = opening["sessionId"].as_str().map(str::to_owned);
        self.tell(session.as_deref(), "Page.handleJavaScriptDialog", json!({ "accept": accept })).await
    }

    fn keep(&mut self, message: Value) {
        if message["method"].is_string() {
            self.waiting.push_back(message);
        }
    }

    async fn send(&mut self, session: Option<&str>, method: &str, params: Value) -> Result<u64, Fault> {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let bytes = [message.to_string().as_bytes(), b"\0"].concat();
        self.channel.to.write_all(&bytes).await.map_err(|_| gone())?;
        Ok(self.last_id)
    }

    async fn receive(&mut self) -> Result<Value, Fault> {
        loop {
            let message = self.next_message().await?;
            if message["method"] != "Page.javascriptDialogOpening" {
                return Ok(message);
            }
            self.close_dialog(&message).await?;
        }
    }

    async fn next_message(&mut self) -> Result<Value, Fault> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = self.pending[looked_at..].iter().position(|byte| *byte == 0) {
                let rest = self.pending.split_off(looked_at + end + 1);
                let message = std::mem::replace(&mut self.pending, rest);
                return serde_json::from_slice(&message[..message.len() - 1])
                    .map_err(|error| Fault(format!("The browser sent something that is not the DevTools protocol: {error}.")));
            }
            looked_at = self.pending.len();
            if looked_at > LARGEST_MESSAGE_BYTES {
                return Err(Fault("The browser sent a message that is too long.".to_owned()));
            }
            self.pending.reserve(64 << 10);
            let read = self.channel.from.read_buf(&mut self.pending).await;
            if read.map_err(|error| Fault(format!("Reading from the browser failed: {error}.")))? == 0 {
                return Err(gone());
            }
        }
    }
}

fn gone() -> Fault {
    Fault("The browser exited before the check was finished.".to_owned())
}
