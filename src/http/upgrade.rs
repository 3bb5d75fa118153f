//! A call that becomes a WebSocket: its body and its answer are the two directions of one byte stream.
//!
//! What comes is not read by the library that answers the call: that one waits for a whole frame before it looks how long it may be.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use actix_http::ws::handshake;
use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::body::BodySize;
use actix_web::body::MessageBody;
use actix_web::dev::Payload;
use actix_web::http::header::SEC_WEBSOCKET_PROTOCOL;
use actix_web::web::Bytes;
use actix_web::web::BytesMut;
use futures_util::StreamExt as _;
use tokio::io::AsyncRead;
use tokio::io::AsyncWriteExt as _;
use tokio::io::DuplexStream;
use tokio::io::ReadBuf;
use tokio::io::ReadHalf;
use tokio::io::WriteHalf;
use tokio::task::JoinHandle;

use crate::http::error::ApiError;

/// How much waits in either direction.
const BUFFER_BYTES: usize = 16 << 10;

/// Whether the call offers to speak `protocol`.
pub(super) fn offers(request: &HttpRequest, protocol: &str) -> bool {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    offered.flat_map(|value| value.split(',')).any(|one| one.trim() == protocol)
}

/// The answer that upgrades the connection to speak `protocol`, and the stream of bytes that it becomes. The connection ends when the stream
/// is dropped, and the stream when the connection does.
///
/// # Errors
/// 400 when the call is no WebSocket handshake.
pub(super) fn upgrade(request: &HttpRequest, payload: Payload, protocol: &'static str) -> Result<(HttpResponse, DuplexStream), ApiError> {
    let mut answer =
        handshake(request.head()).map_err(|error| ApiError::bad_request(format!("This is no handshake of a WebSocket: {error}.")))?;
    answer.insert_header((SEC_WEBSOCKET_PROTOCOL, protocol));
    let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
    let (out, into) = tokio::io::split(ours);
    let feeding = tokio::task::spawn_local(feed(payload, into));
    let answer = answer.message_body(Outgoing { out, feeding }).map_err(|_| ApiError::busy("The connection could not be upgraded."))?;
    Ok((HttpResponse::from(answer.map_into_boxed_body()), theirs))
}

/// What comes goes into the stream.
async fn feed(mut payload: Payload, mut into: WriteHalf<DuplexStream>) {
    while let Some(Ok(chunk)) = payload.next().await {
        if into.write_all(&chunk).await.is_err() {
            return;
        }
    }
    let _ = into.shutdown().await;
}

/// What the stream gives is the answer's body.
struct Outgoing {
    out: ReadHalf<DuplexStream>,
    feeding: JoinHandle<()>,
}

impl MessageBody for Outgoing {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let mut buffer = BytesMut::zeroed(BUFFER_BYTES / 4);
        let mut read = ReadBuf::new(&mut buffer);
        match Pin::new(&mut self.out).poll_read(context, &mut read) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Ok(())) => {
                let length = read.filled().len();
                buffer.truncate(length);
                Poll::Ready((length > 0).then(|| Ok(buffer.freeze())))
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // It holds the other half of the stream, and may wait for bytes that never come.
        self.feeding.abort();
    }
}
