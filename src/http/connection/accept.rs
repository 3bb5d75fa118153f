//! Takes connections and gives each to a worker. How many descriptors they take is bounded here, whatever becomes of them later.

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

/// Connections that were told to leave and have not yet: they hold a descriptor, and no place.
const LEAVING: usize = 64;
/// Connections that were taken and not looked at yet. More wait in the kernel, where they cannot push anybody out: who has a
/// place loses it by being slow, not by our being so.
const UNSEEN: usize = 16;
/// How soon a place is looked for again.
const RETRY: Duration = Duration::from_millis(5);
/// How long nothing is taken when the machine has no descriptor or memory left.
const BREATH: Duration = Duration::from_millis(100);

/// A connection that was taken.
pub(in crate::http) struct Arrival {
    pub(super) socket: Socket,
    pub(super) seat: Option<Seat>,
    pub(super) is_proxy: bool,
    /// Its descriptor, as far as the bound is concerned; given back when the connection is closed.
    pub(super) descriptor: OwnedSemaphorePermit,
    /// Until its worker has looked at it.
    pub(super) waiting: OwnedSemaphorePermit,
}

pub(super) enum Socket {
    Tcp(TcpStream, SocketAddr, Option<Arc<ServerConfig>>),
    /// With the id of a further socket in the configuration.
    Unix(UnixStream, Option<Arc<KeyId>>),
}

/// Where connections go: to each worker in turn.
pub(in crate::http) type Arrivals = Vec<UnboundedSender<Arrival>>;

/// One place that is listened on.
pub(in crate::http) enum Door {
    /// TCP.
    Tcp {
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        seats: Arc<Seats>,
        /// Shared by every TCP door: [`Door::descriptors`] of the places there are.
        descriptors: Arc<Semaphore>,
        /// Whether an address is a trusted proxy's, as the configuration is now.
        is_proxy: Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>,
    },
    /// A unix socket. Anybody who opens it is believed to be whom it is for, so all that is bounded is how many there are.
    Unix {
        listener: UnixListener,
        /// The id of a further socket in the configuration; none: the server's own.
        scoped: Option<Arc<KeyId>>,
        descriptors: Arc<Semaphore>,
    },
}

impl Door {
    /// The descriptors that so many places can take.
    pub(in crate::http) fn descriptors(places: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(places + LEAVING))
    }

    /// Takes connections for as long as it is polled.
    ///
    /// # Errors
    /// When the listener cannot be waited on.
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

/// A place, as soon as there is one: where all are held by calls that are being answered, the next of them to end gives it.
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
        // Nobody closes it.
        Err(_) => std::future::pending().await,
    }
}

/// A worker that has ended takes nothing more; the server is stopping then.
fn give(worker: Option<&UnboundedSender<Arrival>>, arrival: Arrival) {
    if let Some(worker) = worker {
        let _ = worker.send(arrival);
    }
}

/// The connection; none when it was gone again, or when none could be taken just now.
async fn taken<S>(accepted: io::Result<S>) -> Option<S> {
    match accepted {
        Ok(stream) => Some(stream),
        Err(error) => {
            // A connection that broke off is its own affair; a lack of descriptors or memory is ours.
            if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted) {
                tracing::warn!(%error, "connections cannot be accepted at the moment");
                tokio::time::sleep(BREATH).await;
            }
            None
        }
    }
}
