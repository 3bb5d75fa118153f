//! A small app over a dataset: every word of its files in an index in memory, built again and swapped whole on each reload.
//!
//! ```sh
//! cargo run --example searchable -- --data /srv/data/current --listen 127.0.0.1:8080
//! curl '127.0.0.1:8080/search?q=word'      # the files that hold it, and the commit they are of
//! curl 127.0.0.1:8080/version              # {"commit":"…"}: what tagalong's `verify` asks
//! curl -X POST 127.0.0.1:8080/reload       # what tagalong's `on_change` calls; SIGHUP does the same
//! ```
//!
//! Where a file is not UTF-8 the build fails, and the old index is served on.

#![allow(clippy::print_stderr, reason = "an example speaks to its terminal")]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use actix_web::App;
use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::HttpServer;
use actix_web::web;
use clap::Parser;
use hot::Hot;
use hot::HotError;
use hot::Reloaded;
use serde_json::json;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

#[derive(Debug, Parser)]
struct Args {
    /// The symlink of published worktrees, or the checkout itself
    #[arg(long)]
    data: PathBuf,
    /// Where it listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: std::net::SocketAddr,
    /// Its port is written here once it listens
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// A file with the token that a reload must show; read again for each call
    #[arg(long)]
    token_file: Option<PathBuf>,
}

/// Which files hold a word.
#[derive(Debug, Default)]
struct Index {
    files: usize,
    words: BTreeMap<String, BTreeSet<String>>,
}

impl Index {
    /// Reads every file below `dir`.
    fn build(dir: &Path) -> std::io::Result<Self> {
        let mut index = Self::default();
        index.read(dir, dir)?;
        Ok(index)
    }

    fn read(&mut self, root: &Path, dir: &Path) -> std::io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let kind = std::fs::symlink_metadata(&path)?;
            if kind.is_dir() && !path.ends_with(".git") {
                self.read(root, &path)?;
            } else if kind.is_file() && !path.ends_with(".git") {
                let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                let text = std::fs::read_to_string(&path).map_err(|error| std::io::Error::new(error.kind(), format!("{name}: {error}")))?;
                self.files += 1;
                for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                    self.words.entry(word.to_lowercase()).or_default().insert(name.clone());
                }
            }
        }
        Ok(())
    }
}

struct Site {
    hot: Hot<Index, std::io::Error>,
    token_file: Option<PathBuf>,
    /// How often something new was put in place.
    loads: AtomicU64,
}

impl Site {
    /// Builds what is published now and serves it from then on.
    fn reload(&self) -> Result<Reloaded, HotError<std::io::Error>> {
        let done = self.hot.reload()?;
        self.loads.fetch_add(u64::from(done.rebuilt), Ordering::SeqCst);
        Ok(done)
    }
}

async fn search(site: web::Data<Site>, query: web::Query<BTreeMap<String, String>>) -> HttpResponse {
    let loaded = site.hot.current();
    let word = query.get("q").map(|word| word.to_lowercase()).unwrap_or_default();
    let found = loaded.state.words.get(&word).cloned().unwrap_or_default();
    HttpResponse::Ok().json(json!({ "commit": loaded.commit, "files": found }))
}

async fn version(site: web::Data<Site>) -> HttpResponse {
    let loaded = site.hot.current();
    HttpResponse::Ok().json(json!({ "commit": loaded.commit, "files": loaded.state.files, "loads": site.loads.load(Ordering::SeqCst) }))
}

async fn reload(site: web::Data<Site>, request: HttpRequest) -> HttpResponse {
    if let Some(file) = &site.token_file {
        let right = std::fs::read_to_string(file).map(|token| format!("Bearer {}", token.trim_end())).unwrap_or_default();
        let shown = request.headers().get("authorization").map(|value| value.as_bytes().to_vec()).unwrap_or_default();
        if right.len() < 20 || !bool::from(subtle::ConstantTimeEq::ct_eq(right.as_bytes(), shown.as_slice())) {
            return HttpResponse::Unauthorized().json(json!({ "error": "The call shows no token that holds." }));
        }
    }
    // A build may take long, and the threads that answer must not wait for it.
    match web::block(move || site.reload()).await {
        Ok(Ok(done)) => HttpResponse::Ok().json(json!({ "commit": done.to, "rebuilt": done.rebuilt })),
        Ok(Err(error)) => HttpResponse::InternalServerError().json(json!({ "error": error.to_string() })),
        Err(error) => HttpResponse::InternalServerError().json(json!({ "error": error.to_string() })),
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let hot = Hot::open(&args.data, Index::build).map_err(std::io::Error::other)?;
    let site = web::Data::new(Site { hot, token_file: args.token_file, loads: AtomicU64::new(0) });
    let on_signal = site.clone();
    let mut hangup = signal(SignalKind::hangup())?;
    actix_web::rt::spawn(async move {
        while hangup.recv().await.is_some() {
            let site = on_signal.clone();
            match web::block(move || site.reload()).await {
                Ok(Ok(done)) => eprintln!("serving {}", done.to),
                Ok(Err(error)) => eprintln!("{error}"),
                Err(error) => eprintln!("{error}"),
            }
        }
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(site.clone())
            .route("/search", web::get().to(search))
            .route("/version", web::get().to(version))
            .route("/reload", web::post().to(reload))
    })
    .workers(2)
    .shutdown_timeout(2)
    .bind(args.listen)?;
    if let Some(file) = &args.port_file {
        let port = server.addrs().first().map_or(0, std::net::SocketAddr::port);
        // Anybody who waits for the file must find a whole number in it.
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, port.to_string())?;
        std::fs::rename(fresh, file)?;
    }
    server.run().await
}
