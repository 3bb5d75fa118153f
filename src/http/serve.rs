//! Binding and serving.

use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use actix_web::App;
use actix_web::HttpServer;
use actix_web::dev::ServerHandle;
use actix_web::dev::Service as _;
use actix_web::http::KeepAlive;
use actix_web::web;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

use crate::config::Server;
use crate::http::Shared;
use crate::http::auth::Via;
use crate::http::routes;
use crate::http::unread::Unread;

/// What the kernel keeps of a connection that is not read: actix takes all of it at once, for every connection.
const RECEIVE_BYTES: usize = 16 << 10;

/// How many connections may wait to be taken.
const WAITING_CONNECTIONS: i32 = 1024;

/// A server that is bound; it serves until it is stopped.
pub struct Listening {
    /// The TCP addresses, with the ports that port 0 became.
    pub addresses: Vec<SocketAddr>,
    /// Stops it.
    pub handle: ServerHandle,
    /// Ends when it has stopped.
    pub ended: tokio::task::JoinHandle<std::io::Result<()>>,
    socket: Option<PathBuf>,
}

impl Listening {
    /// Stops taking calls; those that are being answered get a few seconds.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        if let Some(socket) = &self.socket {
            // Somebody else may have removed it.
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// Binds everything that `config` names, first; then serves.
///
/// # Errors
/// When an address or the socket cannot be bound, or the TLS files do not read; the text names which.
pub async fn serve(config: &Server, shared: web::Data<Shared>) -> std::io::Result<Listening> {
    let listeners = config.listen.iter().map(bind).collect::<std::io::Result<Vec<_>>>()?;
    let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let app = move || {
        App::new()
            .app_data(shared.clone())
            .wrap_fn(|mut request, service| {
                let unread = Unread::of(&mut request);
                let shared = request.app_data::<web::Data<Shared>>().cloned();
                let answer = service.call(request);
                async move {
                    let mut answer = answer.await?;
                    let route = answer.request().match_pattern().unwrap_or_else(|| "unknown".to_owned());
                    if let Some(shared) = shared {
                        shared.deployer.metrics().request(&route, answer.status().as_u16());
                    }
                    let headers = answer.headers_mut();
                    headers.insert(
                        actix_web::http::header::X_CONTENT_TYPE_OPTIONS,
                        actix_web::http::header::HeaderValue::from_static("nosniff"),
                    );
                    Ok(answer.map_body(|_, body| unread.behind(body)))
                }
            })
            .configure(routes::configure)
            .default_service(web::to(routes::unknown))
    };
    let mut server = HttpServer::new(app)
        .workers(2)
        .max_connections(2048)
        .client_request_timeout(Duration::from_secs(4))
        .client_disconnect_timeout(Duration::from_secs(1))
        // The time for a request's head counts for the first one of a connection only, so there is no second one.
        .keep_alive(KeepAlive::Disabled)
        // A follower that has gone is gone: its place must not wait for the next line.
        .h1_allow_half_closed(false)
        .shutdown_timeout(3)
        .disable_signals()
        .on_connect(|connection, data| {
            data.insert(via(connection));
        });
    let tls = config.tls.as_ref().map(|(chain, key)| tls_config(chain, key)).transpose()?;
    for listener in listeners {
        server = match &tls {
            Some(tls) => server.listen_rustls_0_23(listener, tls.clone())?,
            None => server.listen(listener)?,
        };
    }
    if let Some(socket) = &config.socket {
        server = server.listen_uds(bind_socket(socket, config.socket_gid)?)?;
    }
    let running = server.run();
    let handle = running.handle();
    Ok(Listening { addresses, handle, ended: tokio::spawn(running), socket: config.socket.clone() })
}

fn bind(address: &SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| named(&format!("{address} cannot be listened on"), &error))?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, RECEIVE_BYTES)?;
    // The library's own 128 overflow in a burst, and whoever comes then waits a second for the next try.
    rustix::net::listen(&listener, WAITING_CONNECTIONS)?;
    Ok(listener)
}

/// How a connection came in.
fn via(connection: &dyn std::any::Any) -> Via {
    if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::UnixStream>() {
        // A peer that cannot be named gets the id of nobody; it has come past the file's mode all the same.
        return Via::Socket { uid: stream.peer_cred().map_or(65534, |peer| peer.uid()) };
    }
    if connection.is::<actix_web::rt::net::TcpStream>() { Via::Plain } else { Via::Tls }
}

/// The socket, for its owner and the configured group only. A stale file of a killed server is replaced.
fn bind_socket(path: &Path, gid: Option<u32>) -> std::io::Result<std::os::unix::net::UnixListener> {
    let fault = |error: std::io::Error| named(&format!("the socket {} cannot be made", path.display()), &error);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(fault)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fault(error)),
        _ => {}
    }
    // Made under a name of its own with its final mode, then put in place: at no time may others open it.
    let first = path.with_extension("new");
    let _ = std::fs::remove_file(&first);
    let listener = std::os::unix::net::UnixListener::bind(&first).map_err(fault)?;
    std::fs::set_permissions(&first, std::fs::Permissions::from_mode(if gid.is_some() { 0o660 } else { 0o600 })).map_err(fault)?;
    if gid.is_some() {
        std::os::unix::fs::chown(&first, None, gid).map_err(fault)?;
    }
    std::fs::rename(&first, path).map_err(fault)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
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
