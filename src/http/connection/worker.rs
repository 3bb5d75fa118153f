//! A thread that serves connections. actix's applications cannot move to another thread, so each worker makes its own.

use std::cell::Cell;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use actix_http::HttpService;
use actix_http::KeepAlive;
use actix_http::Request;
use actix_http::Response;
use actix_http::body::BoxBody;
use actix_http::body::MessageBody;
use actix_service::Service;
use actix_service::ServiceFactory;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::task::LocalSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::http::connection::accept::Arrival;
use crate::http::connection::accept::Socket;
use crate::http::connection::wire::Connection;
use crate::http::connection::wire::Line;
use crate::http::connection::wire::Via;
use crate::http::connection::wire::Wire;

/// For the first head; a slower client is answered 408.
const FIRST_HEAD: Duration = Duration::from_secs(4);
/// How long a connection that is being closed may take.
const CLOSE: Duration = Duration::from_secs(1);
/// How much of an answer is kept in memory for each connection, besides what is written at once.
const BUFFERED_BYTES: usize = 8 << 10;
/// How long the server waits at its stop for calls that are being answered.
const STOP: Duration = Duration::from_secs(3);
/// How long a connection that has lost its place may still send an answer that is on its way.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often a connection without a deadline is looked at; this costs nothing.
const NOTHING_DUE: Duration = Duration::from_hours(1);

/// The connections that arrive at a worker.
pub(in crate::http) struct Arriving(UnboundedReceiver<Arrival>);

/// A thread that serves connections.
pub(in crate::http) struct Worker {
    /// Where connections are sent to.
    pub(in crate::http) arrivals: UnboundedSender<Arrival>,
    thread: std::thread::JoinHandle<()>,
}

impl Worker {
    /// Starts the thread. The thread ends when `work` ends, which is [`serve`] with an application that is made there.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub(in crate::http) fn start<F>(work: impl FnOnce(Arriving) -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()>,
    {
        let (arrivals, arriving) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || LocalSet::new().block_on(&runtime, work(Arriving(arriving)));
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(work)?;
        Ok(Self { arrivals, thread })
    }

    /// Waits until the thread has ended.
    pub(in crate::http) async fn ended(self) {
        drop(self.arrivals);
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("a thread that served connections panicked");
        }
    }
}

/// Serves connections with `app`, until every sender of arrivals is dropped, `stopping` is true, and the calls are answered or the time for
/// them is over.
pub(in crate::http) async fn serve<S, B>(app: S, mut arriving: Arriving, stopping: watch::Receiver<bool>)
where
    S: ServiceFactory<Request, Config = ()> + 'static,
    S::Future: 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: std::fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    B: MessageBody + 'static,
{
    let stop = stopping.clone();
    let http = HttpService::build()
        .client_request_timeout(FIRST_HEAD)
        .client_disconnect_timeout(CLOSE)
        // `Pace` decides when an idle connection is closed.
        .keep_alive(KeepAlive::Os)
        // A follower that has closed its side is gone: its place must not stay taken until the next line is written.
        .h1_allow_half_closed(false)
        .h1_write_buffer_size(BUFFERED_BYTES)
        .graceful_shutdown_signal(move || stopped(stop.clone()))
        .on_connect_ext(|wire: &Wire, data| {
            data.insert(wire.connection.via.clone());
            data.insert(Rc::clone(&wire.connection));
            data.insert(wire.binding());
        })
        .h1(app);
    let Ok(service) = http.new_service(()).await else { return };
    let service = Rc::new(service);
    let mut open = JoinSet::new();
    while let Some(arrival) = arriving.0.recv().await {
        while open.try_join_next().is_some() {}
        let service = Rc::clone(&service);
        open.spawn_local(async move {
            // How one connection ends matters to no other.
            let _ = hold(arrival, |wire, peer| service.call((wire, peer))).await;
        });
    }
    stopped(stopping).await;
    let _ = tokio::time::timeout(STOP, async { while open.join_next().await.is_some() {} }).await;
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // A sender that was dropped also means stop.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Serves one connection until it ends or is closed.
async fn hold<F, E>(arrival: Arrival, call: impl FnOnce(Wire, Option<SocketAddr>) -> F) -> io::Result<()>
where
    F: Future<Output = Result<(), E>>,
{
    let Arrival { socket, seat, is_proxy, descriptor, waiting } = arrival;
    let via = match &socket {
        Socket::Tcp(_, _, None) => Via::Plain,
        Socket::Tcp(_, _, Some(_)) => Via::Tls,
        // If the kernel cannot name the peer, it gets the uid of `nobody`: the file's mode has let it in nevertheless.
        Socket::Unix(stream, scoped) => {
            let uid = rustix::net::sockopt::socket_peercred(stream).map_or(65534, |peer| peer.uid.as_raw());
            Via::Socket { uid, scoped: scoped.clone() }
        }
    };
    let connection = Rc::new(Connection::new(via, seat, is_proxy));
    let served = async {
        let (line, peer) = open(socket).await?;
        // Errors of single connections are not logged, because strangers could fill the log with them.
        let _ = call(Wire::new(line, Rc::clone(&connection)), peer).await;
        Ok(())
    };
    let ended = until_cut(&connection, served, Some(waiting)).await;
    drop(descriptor);
    ended
}

/// The stream, after the TLS handshake if there is one.
async fn open(socket: Socket) -> io::Result<(Line, Option<SocketAddr>)> {
    match socket {
        Socket::Unix(stream, _) => {
            stream.set_nonblocking(true)?;
            Ok((Line::Unix(tokio::net::UnixStream::from_std(stream)?), None))
        }
        Socket::Tcp(stream, peer, tls) => {
            stream.set_nonblocking(true)?;
            // Answers are written as a whole; on a connection that is kept open, the last part must not wait for an acknowledgement.
            stream.set_nodelay(true)?;
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let line = match tls {
                None => Line::Tcp(stream),
                Some(tls) => Line::Tls(Box::new(TlsAcceptor::from(tls).accept(stream).await?)),
            };
            Ok((line, Some(peer)))
        }
    }
}

/// Polls `served` until it ends, a time limit is exceeded, or the place was given away. Dropping `served` closes the connection.
async fn until_cut<T>(
    connection: &Connection,
    served: impl Future<Output = io::Result<T>>,
    mut waiting: Option<OwnedSemaphorePermit>,
) -> io::Result<()> {
    let mut served = pin!(served);
    let mut given_away = pin!(connection.given_away());
    let mut alarm = pin!(tokio::time::sleep(NOTHING_DUE));
    let leave_by: Cell<Option<Instant>> = Cell::new(None);
    poll_fn(|context| {
        let polled = served.as_mut().poll(context);
        // The worker has polled this connection, so another one may be accepted.
        waiting.take();
        if let Poll::Ready(ended) = polled {
            return Poll::Ready(ended.map(|_| ()));
        }
        if connection.is_closing() && connection.pace.has_more_calls() && !connection.pace.waits_to_write() {
            // The answer was sent, and nothing after it is read as a call; the rest of a body is discarded for a while.
            if !connection.lets_go() {
                return Poll::Ready(Ok(()));
            }
            if leave_by.get().is_none() {
                leave_by.set(Some(Instant::now() + CLOSE));
            }
        }
        if leave_by.get().is_none() && given_away.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            leave_by.set(Some(if connection.pace.waits_to_write() { now + LAST_WORDS } else { now }));
        }
        let due = connection.pace.cut_at().into_iter().chain(leave_by.get()).min();
        // The timer is only ever set earlier: each call moves the deadline later, and setting a timer costs time, so a later deadline is
        // looked at when the timer fires.
        if let Some(due) = due.filter(|due| *due < alarm.deadline()) {
            alarm.as_mut().reset(due);
        }
        while alarm.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            if due.is_some_and(|due| due <= now) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            alarm.as_mut().reset(due.unwrap_or(now + NOTHING_DUE));
        }
        Poll::Pending
    })
    .await
}
