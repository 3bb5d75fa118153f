//! Accepts connections and gives each one to a worker. The number of file descriptors that connections use is limited here.

use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

use crate::http::connection::seats::Seat;
use crate::http::connection::seats::Seats;
use crate::model::KeyId;

/// Connections that were told to close but are not closed yet: each still uses a descriptor, but no longer a place.
const LEAVING: usize = 64;
/// How many accepted connections may wait for their worker. Further ones wait in the kernel, where they cannot displace a connection that
/// has a place: a connection loses its place because it is slow itself, never because this server is.
const UNSEEN: usize = 16;
/// How soon a place is looked for again.
const RETRY: Duration = Duration::from_millis(5);
/// How long no connection is accepted after the machine ran out of descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);

/// A connection that was accepted.
pub(in crate::http) struct Arrival {
    pub(super) socket: Socket,
    pub(super) seat: Option<Seat>,
    pub(super) is_proxy: bool,
    /// The permit for its descriptor, returned when the connection is closed.
    pub(super) descriptor: OwnedSemaphorePermit,
    /// Held until the worker has polled the connection for the first time.
    pub(super) waiting: OwnedSemaphorePermit,
}

pub(super) enum Socket {
    Tcp(TcpStream, SocketAddr, Option<Arc<ServerConfig>>),
    /// With the id of the `[[socket]]` in the configuration; none: the server's own socket.
    Unix(UnixStream, Option<Arc<KeyId>>),
}

/// Where connections are sent: to each worker in turn.
pub(in crate::http) type Arrivals = Vec<UnboundedSender<Arrival>>;

/// A listener that accepts connections.
pub(in crate::http) enum Door {
    /// TCP.
    Tcp {
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        seats: Arc<Seats>,
        /// The permits of [`Door::descriptors`], shared by all TCP listeners.
        descriptors: Arc<Semaphore>,
        /// Whether an address belongs to a trusted proxy, by the configuration that is now in effect.
        is_proxy: Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>,
    },
    /// A unix socket. Whoever can open it counts as the caller that it is meant for, so only the number of connections is limited.
    Unix {
        listener: UnixListener,
        /// The id of the `[[socket]]` in the configuration; none: the server's own socket.
        scoped: Option<Arc<KeyId>>,
        descriptors: Arc<Semaphore>,
    },
}

impl Door {
    /// The permits for the descriptors that `places` connections use, and for those that are still closing.
    pub(in crate::http) fn descriptors(places: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(places + LEAVING))
    }

    /// Accepts connections for as long as it is polled.
    ///
    /// # Errors
    /// When the listener cannot be polled.
    pub(in crate::http) async fn serve(self, arrivals: Arrivals) -> io::Result<()> {
        match self {
            Self::Tcp { listener, tls, seats, descriptors, is_proxy } => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let mut workers = arrivals.iter().cycle();
                let unseen = Arc::new(Semaphore::new(UNSEEN));
                loop {
                    let descriptor = permit(&descriptors).await;
                    let waiting = permit(&unseen).await;
                    let Some((stream, peer)) = taken(listener.accept().await).await else { continue };
                    let (Ok(stream), is_proxy) = (stream.into_std(), is_proxy(peer)) else { continue };
                    let seat = take_seat(&seats, peer, is_proxy).await;
                    let socket = Socket::Tcp(stream, peer, tls.clone());
                    give(workers.next(), Arrival { socket, seat, is_proxy, descriptor, waiting });
                }
            }
            Self::Unix { listener, scoped, descriptors } => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                let mut workers = arrivals.iter().cycle();
                let unseen = Arc::new(Semaphore::new(UNSEEN));
                loop {
                    let descriptor = permit(&descriptors).await;
                    let waiting = permit(&unseen).await;
                    let Some((stream, _)) = taken(listener.accept().await).await else { continue };
                    let Ok(stream) = stream.into_std() else { continue };
                    let socket = Socket::Unix(stream, scoped.clone());
                    give(workers.next(), Arrival { socket, seat: None, is_proxy: false, descriptor, waiting });
                }
            }
        }
    }
}

/// A place, as soon as one is free. If calls that are being answered hold all places, the first call that ends makes one free.
async fn take_seat(seats: &Arc<Seats>, peer: SocketAddr, is_proxy: bool) -> Option<Seat> {
    loop {
        match seats.take(peer.ip(), is_proxy) {
            None => tokio::time::sleep(RETRY).await,
            taken => return taken,
        }
    }
}

async fn permit(descriptors: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    match Arc::clone(descriptors).acquire_owned().await {
        Ok(permit) => permit,
        // The semaphore is never closed.
        Err(_) => std::future::pending().await,
    }
}

/// A worker ends only when the server is stopping; the connection is dropped then.
fn give(worker: Option<&UnboundedSender<Arrival>>, arrival: Arrival) {
    if let Some(worker) = worker {
        let _ = worker.send(arrival);
    }
}

/// The connection; none if the client was already gone, or if no connection can be accepted at the moment.
async fn taken<S>(accepted: io::Result<S>) -> Option<S> {
    match accepted {
        Ok(stream) => Some(stream),
        Err(error) => {
            // A connection that the client broke off concerns nobody else; a lack of descriptors or memory concerns this server.
            if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted) {
                tracing::warn!(%error, "connections cannot be accepted at the moment");
                tokio::time::sleep(BREATH).await;
            }
            None
        }
    }
}
