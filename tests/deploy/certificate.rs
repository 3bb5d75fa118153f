//! A certificate that runs out: a real one, of a real authority, which the page is served with.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use jiff::ToSpan as _;
use serde_json::Value;
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::world::Settings;
use crate::world::World;

/// An authority of the test.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// What serves a certificate that ends in so many days.
    fn ends_in(&self, days: i32) -> TlsAcceptor {
        let end = jiff::Zoned::now().checked_add(days.days()).expect("a day");
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        params.not_after = rcgen::date_time_ymd(end.year().into(), end.month().unsigned_abs(), end.day().unsigned_abs());
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).expect("a certificate");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A proxy in front of the page on `page`, with the certificate that `shown` has at that moment; its port.
async fn proxy(page: u16, shown: Arc<Mutex<TlsAcceptor>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = shown.lock().unwrap().clone();
            tokio::spawn(async move {
                if let (Ok(mut outer), Ok(mut inner)) = (acceptor.accept(stream).await, TcpStream::connect(("127.0.0.1", page)).await) {
                    let _ = copy_bidirectional(&mut outer, &mut inner).await;
                }
            });
        }
    });
    port
}

/// The open incidents about the certificate, when there are so many.
async fn incidents(world: &World, many: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let shown = world.server().get("/api/v1/services/web").await.1;
        let all: Vec<Value> = shown["incidents"].as_array().cloned().unwrap_or_default();
        let found: Vec<Value> = all.into_iter().filter(|one| one["kind"] == "certificate").collect();
        if found.len() == many {
            return found;
        }
        assert!(began.elapsed() < Duration::from_mins(2), "{shown:#}\n{}", world.server().log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_runs_out_is_an_incident_until_it_is_renewed() {
    let authority = Authority::new();
    let mut world = World::landed(&Settings::default()).await;
    let config = std::fs::read_to_string(world.path("tagalong.toml")).expect("a file");
    let plain = regex::Regex::new("url = \"http://127.0.0.1:([0-9]+)/\"").expect("a pattern").captures(&config).expect("the page");
    let shown = Arc::new(Mutex::new(authority.ends_in(60)));
    let port = proxy(plain[1].parse().expect("a port"), Arc::clone(&shown)).await;
    std::fs::write(world.path("ca.pem"), &authority.pem).expect("a file");
    let looks = "[service.web.watch.looks]\nevery_s = 1\n[service.web.deadlines]";
    world.reconfigure("[service.web.deadlines]", looks).await;
    world.reconfigure(&plain[0], &format!("url = \"https://127.0.0.1:{port}/\"\nca_file = \"ca.pem\"")).await;
    let looks = async || world.server().get("/api/v1/services/web").await.1["schedule"]["looks"].as_i64().unwrap_or_default();
    let began = Instant::now();
    while looks().await < 2 {
        assert!(began.elapsed() < Duration::from_mins(2), "{}", world.server().log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    incidents(&world, 0).await;
    // The renewal was missed: five days are left of what is to be fourteen.
    *shown.lock().unwrap() = authority.ends_in(5);
    let opened = incidents(&world, 1).await.remove(0);
    assert!(opened["what"].as_str().is_some_and(|what| what.starts_with("The certificate of ")), "{opened:#}");
    *shown.lock().unwrap() = authority.ends_in(60);
    incidents(&world, 0).await;
    let (_, all) = world.server().get("/api/v1/incidents?all=true").await;
    let all: Vec<&Value> = all["incidents"].as_array().expect("a list").iter().filter(|one| one["kind"] == "certificate").collect();
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_ne!(all[0]["closed_ms"], json!(null), "{all:#?}");
    world.finish().await;
}
