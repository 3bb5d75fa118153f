//! The stream below actix: the connection's [`Pace`] sees everything that is read and written.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio_rustls::server::TlsStream;

use crate::api;
use crate::http::connection::head::Head;
use crate::http::connection::pace::Pace;
use crate::http::connection::seats::Seat;
use crate::line::Binding;
use crate::line::EXPORTER_LABEL;
use crate::model::KeyId;

/// How long a connection waits for another call: that of an authenticated caller, and that of a trusted proxy, which keeps its connections
/// for a minute or more and should be the one that closes them.
const IDLE: Duration = api::IDLE_CONNECTION;
const IDLE_PROXY: Duration = Duration::from_mins(2);

/// How a connection was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) enum Via {
    /// Over a unix socket, by a user whom the mode of its file allows to open it.
    Socket {
        /// The user's id.
        uid: u32,
        /// The id of the `[[socket]]` in the configuration; none: the server's own socket, whose callers may do everything.
        scoped: Option<Arc<KeyId>>,
    },
    /// Over TCP with this server's own TLS.
    Tls,
    /// Over TCP without TLS.
    Plain,
}

/// The answer to a head that is too large.
const TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The state of one connection.
#[derive(Debug)]
pub(in crate::http) struct Connection {
    pub(in crate::http) via: Via,
    pub(super) pace: Pace,
    head: Cell<Head>,
    /// None over a unix socket, whose connections are counted separately.
    seat: Option<Seat>,
    is_proxy: bool,
    is_proven: Cell<bool>,
    is_closing: Cell<bool>,
    /// Whether the last answer was made before the call's body was read. The rest of the body is then read and discarded for a while: the
    /// kernel resets a connection that is closed with unread bytes, and a client that is still sending would not see the answer (RFC 9112,
    /// section 9.6).
    lets_go: Cell<bool>,
}

impl Connection {
    pub(super) fn new(via: Via, seat: Option<Seat>, is_proxy: bool) -> Self {
        let pace = Pace::new(if is_proxy { IDLE_PROXY } else { IDLE });
        Self {
            via,
            pace,
            head: Cell::default(),
            seat,
            is_proxy,
            is_proven: Cell::default(),
            is_closing: Cell::default(),
            lets_go: Cell::default(),
        }
    }

    /// A trusted proxy names `subscriber` as the caller.
    pub(in crate::http) fn is_for(&self, subscriber: &str) {
        if let Some(seat) = &self.seat {
            seat.is_for(subscriber);
        }
    }

    /// The call was read completely and may be answered. Returns false if the connection's place was given away before: then nothing may be
    /// done for the call.
    pub(in crate::http) fn serve(&self) -> bool {
        self.seat.as_ref().is_none_or(Seat::serve)
    }

    /// The caller is authenticated.
    pub(in crate::http) fn prove(&self) {
        self.is_proven.set(true);
    }

    /// Whether the last answer announced that the connection is closed after it.
    pub(in crate::http) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    /// Whether the rest of an unread body is being discarded.
    pub(super) fn lets_go(&self) -> bool {
        self.lets_go.get()
    }

    /// Counts the bytes that have arrived. Returns false if the head is larger than is accepted.
    fn has_read(&self, come: &[u8]) -> bool {
        if self.pace.has_read() {
            self.head.set(Head::default());
        }
        // After the last answer no head follows: these bytes are the rest of a body, or nobody reads them.
        if self.is_closing.get() || !self.pace.is_in_head() {
            return true;
        }
        let mut head = self.head.get();
        let is_bearable = head.take(come);
        self.head.set(head);
        is_bearable
    }

    /// Returns when the place was given to another connection.
    pub(super) async fn given_away(&self) {
        match &self.seat {
            Some(seat) => seat.given_away().await,
            None => std::future::pending().await,
        }
    }
}

/// One call on a connection; it ends when this is dropped.
#[derive(Debug)]
pub(in crate::http) struct Turn {
    connection: Option<Rc<Connection>>,
    stays: Cell<bool>,
}

impl Turn {
    pub(in crate::http) fn begin(connection: Option<Rc<Connection>>) -> Self {
        if let Some(connection) = &connection {
            connection.pace.call_begins();
            connection.is_proven.set(false);
        }
        Self { connection, stays: Cell::new(false) }
    }

    /// Whether the connection is kept open for another call after this one, whose body was read to its end if `is_read`: only for an
    /// authenticated caller or a trusted proxy.
    pub(in crate::http) fn stays(&self, is_read: bool) -> bool {
        let Some(connection) = &self.connection else { return false };
        self.stays.set(is_read && (connection.is_proven.get() || connection.is_proxy));
        connection.is_closing.set(!self.stays.get());
        connection.lets_go.set(!is_read);
        self.stays.get()
    }

    /// The connection is upgraded: it belongs to this call from now on, and is closed with it.
    pub(in crate::http) fn is_upgraded(&self) {
        self.stays.set(false);
    }

    /// The connection is the line of an agent from now on, which may be slow.
    pub(in crate::http) fn becomes_line(&self) {
        self.is_upgraded();
        if let Some(connection) = &self.connection {
            connection.pace.becomes_line();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.pace.call_ends();
            if connection.pace.is_line() {
                connection.is_closing.set(true);
            }
            if let Some(seat) = &connection.seat {
                seat.answered(self.stays.get());
            }
        }
    }
}

/// The underlying stream.
pub(super) enum Line {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// A stream that tells its connection what is read and written.
pub(super) struct Wire {
    line: Line,
    pub(super) connection: Rc<Connection>,
}

impl Wire {
    pub(super) fn new(line: Line, connection: Rc<Connection>) -> Self {
        Self { line, connection }
    }

    /// What this server's TLS made of the connection.
    pub(super) fn binding(&self) -> Binding {
        let Line::Tls(line) = &self.line else { return Binding::Nothing };
        line.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None).map_or(Binding::Nothing, Binding::Exporter)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.line {
            Line::Tcp(line) => Pin::new(line).poll_read(context, buffer),
            Line::Tls(line) => Pin::new(line).poll_read(context, buffer),
            Line::Unix(line) => Pin::new(line).poll_read(context, buffer),
        };
        ready!(read)?;
        let come = &buffer.filled()[before..];
        if come.is_empty() || self.connection.has_read(come) {
            return Poll::Ready(Ok(()));
        }
        if !self.connection.pace.waits_to_write() {
            // The client may or may not read this answer; the connection is closed in any case.
            let _ = self.as_mut().poll_write(context, TOO_LARGE);
            let _ = self.poll_flush(context);
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the request headers are too large")))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = match &mut self.line {
            Line::Tcp(line) => Pin::new(line).poll_write(context, bytes),
            Line::Tls(line) => Pin::new(line).poll_write(context, bytes),
            Line::Unix(line) => Pin::new(line).poll_write(context, bytes),
        };
        match &wrote {
            Poll::Ready(Ok(count)) => self.connection.pace.has_written(*count),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.connection.pace.must_wait_to_write(),
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.line {
            Line::Tcp(line) => Pin::new(line).poll_flush(context),
            Line::Tls(line) => Pin::new(line).poll_flush(context),
            Line::Unix(line) => Pin::new(line).poll_flush(context),
        };
        match &flushed {
            Poll::Ready(_) => self.connection.pace.is_written(),
            Poll::Pending => self.connection.pace.must_wait_to_write(),
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Tcp(line) => Pin::new(line).poll_shutdown(context),
            Line::Tls(line) => Pin::new(line).poll_shutdown(context),
            Line::Unix(line) => Pin::new(line).poll_shutdown(context),
        }
    }
}
