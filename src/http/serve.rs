//! Binding and serving.

use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use actix_http::ConnectionType;
use actix_service::IntoServiceFactory as _;
use actix_service::ServiceFactoryExt as _;
use actix_service::map_config;
use actix_web::App;
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use actix_web::dev::Service as _;
use actix_web::dev::ServiceFactory;
use actix_web::dev::ServiceRequest;
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Server;
use crate::http::Capacity;
use crate::http::Shared;
use crate::http::auth;
use crate::http::connection;
use crate::http::connection::Arrivals;
use crate::http::connection::Connection;
use crate::http::connection::Door;
use crate::http::connection::Seats;
use crate::http::connection::Turn;
use crate::http::connection::Worker;
use crate::http::routes;
use crate::http::unread::Unread;

/// How many bytes the kernel buffers of a connection that is not read (it doubles this). actix reads what is there into buffers of its own,
/// for every connection; orders are small, and a large body only needs a few more round trips.
const RECEIVE_BYTES: usize = 4 << 10;

/// How many bytes of an unread answer the kernel buffers for each connection.
const SEND_BYTES: usize = 64 << 10;

/// How many connections may wait in the kernel until they are accepted.
const WAITING_CONNECTIONS: i32 = 1024;

/// Threads that serve connections.
const WORKERS: usize = 2;

/// A server that is bound; it serves until it is stopped.
pub struct Listening {
    /// The TCP addresses, with the ports that port 0 became.
    pub addresses: Vec<SocketAddr>,
    doors: Vec<JoinHandle<std::io::Result<()>>>,
    workers: Vec<Worker>,
    stopping: watch::Sender<bool>,
    sockets: Vec<(PathBuf, FileId)>,
}

/// The file that a path led to: device and inode.
type FileId = (u64, u64);

impl Listening {
    /// Stops taking calls; those that are being answered get a few seconds.
    pub async fn stop(self) {
        for door in self.doors {
            door.abort();
            // It holds the workers' ends until it is gone.
            let _ = door.await;
        }
        self.stopping.send_replace(true);
        for worker in self.workers {
            worker.ended().await;
        }
        for (socket, mine) in &self.sockets {
            if file_id(socket).is_ok_and(|there| there == *mine) {
                // Somebody else may have removed the socket meanwhile.
                let _ = std::fs::remove_file(socket);
            }
        }
    }
}

/// Binds everything that `config` names, first; then serves, with as many connections as `capacity` says.
///
/// # Errors
/// When an address or the socket cannot be bound, or the TLS files cannot be read; the text names which.
pub async fn serve(config: &Server, capacity: Capacity, shared: web::Data<Shared>) -> std::io::Result<Listening> {
    let listeners = config.listen.iter().map(bind).collect::<std::io::Result<Vec<_>>>()?;
    let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let tls = config.tls.as_ref().map(|(chain, key)| tls_config(chain, key)).transpose()?.map(Arc::new);
    let seats = Seats::new(capacity);
    let descriptors = Door::descriptors(capacity.connections);
    let live = shared.config.clone();
    let is_proxy: Arc<dyn Fn(SocketAddr) -> bool + Send + Sync> =
        Arc::new(move |peer| auth::is_trusted(&live.now().server, peer.ip().to_canonical()));
    let mut doors: Vec<Door> = listeners
        .into_iter()
        .map(|listener| {
            let seats = Arc::clone(&seats);
            let descriptors = Arc::clone(&descriptors);
            Door::Tcp { listener, tls: tls.clone(), seats, descriptors, is_proxy: Arc::clone(&is_proxy) }
        })
        .collect();
    let further = shared.config.now().sockets.clone();
    let mut sockets = Vec::new();
    // Each socket has places of its own, so that callers of a further socket cannot use up the operator's.
    let own = config.socket.iter().map(|socket| (socket, config.socket_gid, None));
    for (path, gid, scoped) in own.chain(further.iter().map(|socket| (&socket.path, socket.gid, Some(Arc::new(socket.key.id.clone()))))) {
        let listener = bind_socket(path, gid)?;
        sockets.push((path.clone(), file_id(path)?));
        doors.push(Door::Unix { listener, scoped, descriptors: Door::descriptors((capacity.over_socket / (1 + further.len())).max(4)) });
    }
    let (stopping, stops) = watch::channel(false);
    let worker = |_| {
        let shared = shared.clone();
        let stops = stops.clone();
        Worker::start(move |arriving| {
            let app = map_config(app(shared).into_factory().map_err(|error: Error| error.error_response()), |()| AppConfig::default());
            connection::serve(app, arriving, stops)
        })
    };
    let workers = (0..WORKERS).map(worker).collect::<std::io::Result<Vec<_>>>()?;
    let arrivals = || -> Arrivals { workers.iter().map(|worker| worker.arrivals.clone()).collect() };
    let doors = doors.into_iter().map(|door| tokio::spawn(door.serve(arrivals()))).collect();
    Ok(Listening { addresses, doors, workers, stopping, sockets })
}

/// All routes, and what applies to every answer: it is counted, no browser guesses its type, and the connection is kept open only for an
/// authenticated caller or a proxy, and only if the call's body was read to its end.
fn app(
    shared: web::Data<Shared>,
) -> App<impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<impl MessageBody>, Error = Error, InitError = ()>> {
    App::new()
        .app_data(shared)
        .wrap_fn(|mut request, service| {
            let connection = request.conn_data::<Rc<Connection>>().cloned();
            let is_over = connection.as_ref().is_some_and(|connection| connection.is_closing());
            let turn = Turn::begin(connection);
            let unread = Unread::of(&mut request);
            let shared = request.app_data::<web::Data<Shared>>().cloned();
            // Calls that were sent after one that ends the connection are not read.
            let answer = if is_over { None } else { Some(service.call(request)) };
            async move {
                let Some(answer) = answer else { return std::future::pending().await };
                let mut answer = answer.await?;
                let route = answer.request().match_pattern().unwrap_or_else(|| "unknown".to_owned());
                if let Some(shared) = shared {
                    shared.metrics.request(&route, answer.status().as_u16());
                }
                if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                    if route == "/ws/agent" { turn.becomes_line() } else { turn.is_upgraded() }
                } else if !turn.stays(unread.is_read()) {
                    answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
                }
                answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
                Ok(answer.map_body(|_, body| unread.behind(body, turn)))
            }
        })
        .configure(routes::configure)
        .default_service(web::to(routes::unknown))
}

fn bind(address: &SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => "stop the program that uses it, or change server.listen",
            _ => "change server.listen",
        };
        std::io::Error::new(error.kind(), format!("tagalong cannot listen on {address} ({error}): {advice}"))
    })?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, RECEIVE_BYTES)?;
    rustix::net::sockopt::set_socket_send_buffer_size(&listener, SEND_BYTES)?;
    // The library's default of 128 overflows in a burst, and then a new client waits a second before it tries again.
    rustix::net::listen(&listener, WAITING_CONNECTIONS)?;
    Ok(listener)
}

fn file_id(path: &Path) -> std::io::Result<FileId> {
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

/// The socket, for its owner and the configured group only. A stale file of a killed server is replaced.
fn bind_socket(path: &Path, gid: Option<u32>) -> std::io::Result<std::os::unix::net::UnixListener> {
    let fault = |error: std::io::Error| named(&format!("the socket {} could not be created", path.display()), &error);
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        std::fs::create_dir_all(folder).map_err(fault)?;
        if gid.is_some() {
            std::os::unix::fs::chown(folder, None, gid).map_err(fault)?;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o750)).map_err(fault)?;
        }
    }
    if UnixStream::connect(path).is_ok() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::AddrInUse,
            format!(
                "another server is using the socket {}: stop it, or give this one a different path (server.socket, or path in [[socket]])",
                path.display()
            ),
        ));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fault(error)),
        _ => {}
    }
    // The socket is created under a temporary name, gets its final mode, and is then moved into place, so that others can open it at no
    // time.
    let first = path.with_extension("new");
    let _ = std::fs::remove_file(&first);
    let listener = std::os::unix::net::UnixListener::bind(&first).map_err(fault)?;
    admit(&first, gid).map_err(fault)?;
    std::fs::rename(&first, path).map_err(fault)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Lets the owner of the socket at `path` open it, and the group `gid`. Others may write in its folder, a container that mounts it say,
/// and put a link in its place: what is changed is a socket that is in that very place.
fn admit(path: &Path, gid: Option<u32>) -> std::io::Result<()> {
    let node = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&node)?.st_mode) != FileType::Socket {
        return Err(std::io::Error::other("somebody has put something else in its place"));
    }
    let node = format!("/proc/self/fd/{}", node.as_raw_fd());
    std::fs::set_permissions(&node, std::fs::Permissions::from_mode(if gid.is_some() { 0o660 } else { 0o600 }))?;
    if gid.is_some() {
        std::os::unix::fs::chown(&node, None, gid)?;
    }
    Ok(())
}

fn tls_config(chain: &Path, key: &Path) -> std::io::Result<rustls::ServerConfig> {
    let fault = |file: &Path, why: String| std::io::Error::other(format!("{} cannot be used for TLS: {why}", file.display()));
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(chain)
        .map_err(|error| fault(chain, error.to_string()))?
        .collect::<Result<_, _>>()
        .map_err(|error| fault(chain, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, error.to_string()))?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(|error| fault(key, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn named(what: &str, error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::admit;

    #[test]
    fn a_link_that_is_put_in_the_place_of_a_socket_leads_nowhere() {
        let dir = tempfile::tempdir().expect("a folder");
        let (socket, link, file) = (dir.path().join("new"), dir.path().join("link"), dir.path().join("file"));
        let mode = |path: &std::path::Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).expect("its mode");
        std::fs::write(&file, "x").expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("its mode");
        for target in [&socket, &file] {
            std::os::unix::fs::symlink(target, &link).expect("a link");
            assert!(admit(&link, None).is_err());
            std::fs::remove_file(&link).expect("gone");
        }
        assert!(admit(&file, None).is_err());
        assert_eq!((mode(&socket), mode(&file)), (0o777, 0o644));
        admit(&socket, None).expect("its mode");
        assert_eq!(mode(&socket), 0o600);
        admit(&socket, Some(rustix::process::getegid().as_raw())).expect("its mode and group");
        assert_eq!(mode(&socket), 0o660);
    }
}
