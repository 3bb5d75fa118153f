//! The stream under actix: what goes in and out is seen by the connection's [`Pace`].

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
use crate::model::KeyId;

/// How long a connection waits for a further call: of a caller who had proven one, and of a trusted proxy, which keeps its
/// connections for a minute or more and should be the one to close them.
const IDLE: Duration = api::IDLE_CONNECTION;
const IDLE_PROXY: Duration = Duration::from_mins(2);

/// How a connection came in; set when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) enum Via {
    /// A unix socket, opened by this user: the file's mode has let them.
    Socket {
        /// The user's id.
        uid: u32,
        /// The id of a further socket in the configuration; none: the server's own, whose callers may do everything.
        scoped: Option<Arc<KeyId>>,
    },
    /// TLS of our own.
    Tls,
    /// Plain TCP.
    Plain,
}

/// To anybody who sends a head that is too large.
const TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What is known of one connection.
#[derive(Debug)]
pub(in crate::http) struct Connection {
    pub(in crate::http) via: Via,
    pub(super) pace: Pace,
    head: Cell<Head>,
    /// None over the unix socket, which has places of its own.
    seat: Option<Seat>,
    is_proxy: bool,
    is_proven: Cell<bool>,
    is_closing: Cell<bool>,
    /// Whether the last answer came before the call's body was read: the library takes the rest of it from the line for a while, since
    /// a line that is closed with bytes unread is reset, and anybody who still sends would not read why (RFC 9112, section 9.6).
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

    /// The call is for this subscriber, as far as a trusted proxy knows.
    pub(in crate::http) fn is_for(&self, subscriber: &str) {
        if let Some(seat) = &self.seat {
            seat.is_for(subscriber);
        }
    }

    /// The call is read whole, and what is left to do is ours. False when the place was given away meanwhile: then nothing may be
    /// done for it.
    pub(in crate::http) fn serve(&self) -> bool {
        self.seat.as_ref().is_none_or(Seat::serve)
    }

    /// The call's proof holds.
    pub(in crate::http) fn prove(&self) {
        self.is_proven.set(true);
    }

    /// Whether the last answer said that the connection ends with it.
    pub(in crate::http) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    /// Whether a body that nobody reads is still being let go of.
    pub(super) fn lets_go(&self) -> bool {
        self.lets_go.get()
    }

    /// Notes what has come. False when it is more of a head than is taken.
    fn has_read(&self, come: &[u8]) -> bool {
        if self.pace.has_read() {
            self.head.set(Head::default());
        }
        // What comes behind the last answer is no head: it is the rest of a body, or nobody looks at it.
        if self.is_closing.get() || !self.pace.is_in_head() {
            return true;
        }
        let mut head = self.head.get();
        let is_bearable = head.take(come);
        self.head.set(head);
        is_bearable
    }

    /// Ends when the place was given to somebody else.
    pub(super) async fn given_away(&self) {
        match &self.seat {
            Some(seat) => seat.given_away().await,
            None => std::future::pending().await,
        }
    }
}

/// One call on a connection; over when dropped.
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

    /// Whether a further call may come on this connection once this one is answered, whose body `is_read` to its end: only where
    /// somebody has proven who they are, or is a proxy.
    pub(in crate::http) fn stays(&self, is_read: bool) -> bool {
        let Some(connection) = &self.connection else { return false };
        self.stays.set(is_read && (connection.is_proven.get() || connection.is_proxy));
        connection.is_closing.set(!self.stays.get());
        connection.lets_go.set(!is_read);
        self.stays.get()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.pace.call_ends();
            if let Some(seat) = &connection.seat {
                seat.answered(self.stays.get());
            }
        }
    }
}

/// What bytes come over.
pub(super) enum Line {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// A stream that keeps its connection's time.
pub(super) struct Wire {
    line: Line,
    pub(super) connection: Rc<Connection>,
}

impl Wire {
    pub(super) fn new(line: Line, connection: Rc<Connection>) -> Self {
        Self { line, connection }
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
            // Anybody who reads it knows why; the connection ends in any case.
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
