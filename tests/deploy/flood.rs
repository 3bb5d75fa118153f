//! Three thousand connections of strangers, of every kind, while it may have 1,024 files open: orders, the command line, a
//! deployment and its undoing go on beside them.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use tagalong::clock;
use tagalong::http::auth::sign;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;

use crate::world::Settings;
use crate::world::World;

const STRANGERS: usize = 3000;
const SECRET: [u8; 32] =
    [7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31];

/// What a stranger does with a connection.
#[derive(Debug, Clone, Copy)]
enum Kind {
    NoHead,
    SlowHead,
    SlowBody,
    NeverReads,
    /// With a read token of its own, so its proof holds.
    FollowsAndNeverReads,
    Garbage,
}

const KINDS: [Kind; 6] = [Kind::NoHead, Kind::SlowHead, Kind::SlowBody, Kind::NeverReads, Kind::FollowsAndNeverReads, Kind::Garbage];

#[derive(Default)]
struct Seen {
    made: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

/// Makes connections for ever, each when the one before was closed.
async fn stranger(kind: Kind, from: Ipv4Addr, to: SocketAddr, follow: Arc<String>, seen: Arc<Seen>) {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        // Ours must not be the memory that runs out.
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind((from, 0).into()).unwrap();
        if let Ok(mut stream) = socket.connect(to).await {
            seen.made.fetch_add(1, Ordering::SeqCst);
            let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
            seen.most_open.fetch_max(open, Ordering::SeqCst);
            torment(kind, &mut stream, &follow).await;
            seen.open.fetch_sub(1, Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Holds the connection until the server closes it.
async fn torment(kind: Kind, stream: &mut TcpStream, follow: &str) {
    let proof = format!("webhook-id: a\r\nwebhook-timestamp: {}\r\nwebhook-signature: v1,AAAA\r\n", clock::now_ms() / 1000);
    let (first, more) = match kind {
        Kind::NoHead => (String::new(), false),
        Kind::SlowHead => ("GET /api/v1/services HTTP/1.1\r\nx-slow: ".to_owned(), true),
        Kind::SlowBody => (format!("POST /api/v1/deployments HTTP/1.1\r\nhost: x\r\n{proof}content-length: 900\r\n\r\n"), true),
        Kind::NeverReads => ("GET /api/v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(16), false),
        Kind::FollowsAndNeverReads => (follow.to_owned(), false),
        Kind::Garbage => ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".repeat(20), true),
    };
    if stream.write_all(first.as_bytes()).await.is_err() {
        return;
    }
    let never_reads = matches!(kind, Kind::NeverReads | Kind::FollowsAndNeverReads);
    let mut one = [0];
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if more && stream.write_all(b"x").await.is_err() {
            return;
        }
        // A look that takes nothing out: anybody who never reads sees the end by its being reset alone.
        let seen = tokio::time::timeout(Duration::from_millis(1), stream.peek(&mut one)).await;
        match seen {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) if !never_reads && stream.read(&mut [0; 1024]).await.unwrap_or(0) == 0 => return,
            _ => {}
        }
    }
}

/// A call by somebody with a key, over a connection of its own.
async fn good(address: SocketAddr, path: &str, body: Option<&Value>) -> (u16, Duration) {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(10)).build().unwrap();
    let (id, now_s) = (format!("msg_{}", clock::new_id()), clock::now_ms() / 1000);
    let text = body.map_or_else(|| json!({ "call": format!("GET {path}") }).to_string(), Value::to_string);
    let url = format!("http://{address}{path}");
    let call = if body.is_some() { client.post(url).body(text.clone()) } else { client.get(url) };
    let call = call.header("webhook-id", &id).header("webhook-timestamp", now_s);
    let began = Instant::now();
    let answer = call.header("webhook-signature", sign(&SECRET, &id, now_s, text.as_bytes())).send().await;
    let answer = answer.unwrap_or_else(|error| panic!("{path} after {:?}: {error:?}", began.elapsed()));
    (answer.status().as_u16(), began.elapsed())
}

async fn flood(from: impl Fn(usize) -> Ipv4Addr) {
    let mut world = World::new(&Settings::default()).await;
    let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, SECRET);
    std::fs::write(world.path("ci.secret"), format!("whsec_{key}")).unwrap();
    world.reconfigure("[docker]", "max_followers = 1000\nfailed_attempts_per_min = 100000\n[[key]]\nid = \"ci\"\nsecret_file = \"ci.secret\"\nscopes = [\"deploy:web\", \"rollback:web\"]\n[docker]").await;
    world.reconfigure("listen = []", "listen = [\"127.0.0.1:0\"]").await;
    world.restart_with_open_files(1024).await;
    world.land("v1").await;
    let log = world.server().log();
    let address: SocketAddr = log.rsplit_once("addresses=[").unwrap().1.split(']').next().unwrap().parse().unwrap();
    // Something to follow: it waits where Docker is asked.
    world.arm("pull@v9", "hang");
    let (running, token) = world.server().deploy_with_token("v9").await;
    world.reached("pull@v9").await;
    let follow = Arc::new(format!(
        "GET /api/v1/deployments/{running}/log HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\nauthorization: Bearer {token}\r\n\r\n"
    ));
    let seen = Arc::new(Seen::default());
    let mut strangers = tokio::task::JoinSet::new();
    for at in 0..STRANGERS {
        strangers.spawn(stranger(KINDS[at % KINDS.len()], from(at), address, Arc::clone(&follow), Arc::clone(&seen)));
    }
    crate::support::until("the strangers are there", || seen.made.load(Ordering::SeqCst) >= STRANGERS).await;
    // Every call is answered. A busy machine makes them slow as well, never quick: the best of three rounds counts.
    let mut rounds = Vec::new();
    for round in 0..3 {
        let mut slowest = Duration::ZERO;
        for call in 0..20 {
            let (status, took) = good(address, "/api/v1/services/web", None).await;
            assert_eq!(status, 200, "round {round}, call {call}");
            slowest = slowest.max(took);
        }
        let (status, took) = good(address, "/api/v1/deployments", Some(&json!({"service": "web", "tag": "v2"}))).await;
        assert_eq!(status, 202);
        rounds.push(slowest.max(took));
        if slowest < Duration::from_secs(1) {
            break;
        }
    }
    let slowest = *rounds.iter().min().unwrap();
    // The command line, over the socket.
    let took = [(); 3].map(|()| {
        let began = Instant::now();
        let ran = Command::new(env!("CARGO_BIN_EXE_tagalong")).args(["status", "--socket"]).arg(world.path("s")).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        began.elapsed()
    });
    println!("the command line took {took:?}");
    assert!(took.iter().min().is_some_and(|least| *least < Duration::from_secs(2)));
    // The one that ran and the one that was ordered meanwhile land, and one that fails is undone.
    world.disarm("pull@v9");
    assert_eq!(world.server().outcome(&running).await["outcome"], "live");
    world.land("v3").await;
    world.arm("page@v4", "fail");
    let bad = world.server().deploy("v4").await;
    assert_eq!(world.server().outcome(&bad).await["outcome"], "rolled_back");
    assert!(world.running().contains("v3"), "{}", world.running());
    let (made, most) = (seen.made.load(Ordering::SeqCst), seen.most_open.load(Ordering::SeqCst));
    println!("{made} connections of strangers, {most} of them open to their knowledge; the slowest good call took {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(!world.server().log().contains("Too many open files"), "{}", world.server().log());
    strangers.shutdown().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_thousand_strangers_of_many_addresses_stop_nothing() {
    flood(|at| Ipv4Addr::new(127, 1 + (at / 250) as u8, 7, 1 + (at % 250) as u8)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_thousand_strangers_of_one_address_stop_nothing() {
    flood(|_| Ipv4Addr::new(127, 9, 9, 9)).await;
}
