//! The DevTools protocol: calls and their answers, with the events between them.

use std::collections::VecDeque;

use futures_util::SinkExt as _;
use futures_util::StreamExt as _;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::smoke::browser::Fault;

/// A screenshot of a large page is one message.
const LARGEST_MESSAGE_BYTES: usize = 64 << 20;

/// A connection to a browser.
pub(super) struct Cdp {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last_id: u64,
    /// Events that came while an answer was waited for, oldest first.
    waiting: VecDeque<Value>,
}

impl Cdp {
    pub(super) async fn connect(address: &str) -> Result<Self, Fault> {
        let config = WebSocketConfig::default().max_message_size(Some(LARGEST_MESSAGE_BYTES)).max_frame_size(Some(LARGEST_MESSAGE_BYTES));
        let (socket, _) = tokio_tungstenite::connect_async_with_config(address, Some(config), true)
            .await
            .map_err(|error| Fault(format!("The browser takes no DevTools connection: {error}.")))?;
        Ok(Self { socket, last_id: 0, waiting: VecDeque::new() })
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
                return Err(Fault(format!("The browser refuses {method}: {why}.")));
            }
            return Ok(message["result"].clone());
        }
    }

    /// Calls `method` without waiting for what comes of it.
    pub(super) async fn tell(&mut self, session: Option<&str>, method: &str, params: Value) -> Result<(), Fault> {
        self.send(session, method, params).await.map(|_| ())
    }

    /// The next event.
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
        self.socket.send(Message::text(message.to_string())).await.map_err(|error| gone(&error))?;
        Ok(self.last_id)
    }

    async fn receive(&mut self) -> Result<Value, Fault> {
        while let Some(message) = self.socket.next().await {
            if let Message::Text(text) = message.map_err(|error| gone(&error))? {
                return serde_json::from_str(&text).map_err(|error| Fault(format!("The browser does not speak as it should: {error}.")));
            }
        }
        Err(Fault("The browser ended before it was done.".to_owned()))
    }
}

fn gone(error: &tokio_tungstenite::tungstenite::Error) -> Fault {
    Fault(format!("The browser ended before it was done: {error}."))
}
