//! How long a connection lives: it stays for who has proven who they are, and for a trusted proxy; anybody who is slow is cut, with
//! the second head as with the first, and so is anybody who never reads the answer.

use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;
use tagalong::clock;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;

use crate::support::Database;
use crate::support::Key;
use crate::support::PATIENCE;
use crate::support::Plan;

/// A call of `path` by `key`, as it stands on the wire.
fn call(key: Option<&Key>, path: &str, more: &str) -> String {
    let (id, now_s) = (format!("msg_{}", clock::new_id()), clock::now_ms() / 1000);
    let signed = json!({ "call": format!("GET {path}") }).to_string();
    let proof = key.map_or(Vec::new(), |key| key.proof(&id, now_s, signed.as_bytes()));
    let proof = proof.iter().fold(String::new(), |all, (name, value)| all + &format!("{name}: {value}\r\n"));
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n{proof}{more}\r\n")
}

/// Reads one answer with a body of a known length; none at the end of the connection.
async fn answer(stream: &mut TcpStream) -> Option<(u16, bool)> {
    let mut bytes = Vec::new();
    loop {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut bytes)).await.expect("an answer or an end").unwrap_or(0);
        if read == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length").parse::<usize>().unwrap();
        if body.len() >= length {
            return Some((head.split(' ').nth(1).unwrap().parse().unwrap(), head.contains("connection: close")));
        }
    }
}

async fn ask(stream: &mut TcpStream, text: &str) -> Option<(u16, bool)> {
    stream.write_all(text.as_bytes()).await.ok()?;
    answer(stream).await
}

/// Sends `more` a byte a second; how long the server bears it.
async fn dribble(stream: &mut TcpStream, more: &str) -> Duration {
    let began = Instant::now();
    for byte in more.as_bytes().iter().cycle() {
        let mut rest = [0; 4096];
        tokio::select! {
            read = stream.read(&mut rest) => if read.unwrap_or(0) == 0 { break },
            () = tokio::time::sleep(Duration::from_secs(1)) => if stream.write_all(&[*byte]).await.is_err() { break },
        }
        assert!(began.elapsed() < PATIENCE, "it is borne for ever");
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_stays_for_who_has_proven_who_they_are() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let path = "/api/v1/services";
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&mut stream, &call(Some(rig.key()), path, "")).await, Some((200, false)));
    }
    // One that fails ends it, whatever was proven before.
    assert_eq!(ask(&mut stream, &call(None, path, "")).await, Some((401, true)));
    assert_eq!(answer(&mut stream).await, None);
    for (path, status) in [("/healthz", 200), ("/api/v1/openapi.json", 200), ("/nothing", 404), (path, 401)] {
        let mut stream = TcpStream::connect(rig.address()).await.unwrap();
        // What stands behind it in the same breath is not even looked at.
        let twice = call(None, path, "") + &call(None, path, "");
        assert_eq!(ask(&mut stream, &twice).await, Some((status, true)), "{path}");
        assert_eq!(answer(&mut stream).await, None, "{path}");
    }
    let asked = rig.app().shared().metrics.text();
    let openapi = asked.lines().find(|line| line.contains("openapi.json") && line.contains("_total")).unwrap_or_default().to_owned();
    assert!(openapi.ends_with(" 1"), "{openapi}: {asked}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_second_head_is_cut_as_the_first_is() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let good = call(Some(rig.key()), "/api/v1/services", "");
    let connect = async || TcpStream::connect(rig.address()).await.unwrap();
    let (mut after, mut with, mut first) = (connect().await, connect().await, connect().await);
    assert_eq!(ask(&mut after, &good).await, Some((200, false)));
    // Its beginning comes with the call before it.
    assert_eq!(ask(&mut with, &format!("{good}GET /healthz HTTP/1.1\r\nx-slow: ")).await, Some((200, false)));
    let slow = "GET /healthz HTTP/1.1\r\nx-slow: ";
    let took = tokio::join!(dribble(&mut after, slow), dribble(&mut with, "xx"), dribble(&mut first, slow));
    println!("cut after {took:?}");
    for took in [took.0, took.1, took.2] {
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxys_connection_stays_whatever_its_callers_show() {
    let mut plan = Plan::new(Database::Sqlite);
    plan.server += "\ntrusted_proxies = [\"127.0.0.1\"]";
    let rig = plan.start().await;
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    let from = |client: u8| format!("x-forwarded-for: 192.0.2.{client}\r\nx-forwarded-proto: https\r\n");
    for client in 0..3 {
        assert_eq!(ask(&mut stream, &call(None, "/api/v1/services", &from(client))).await, Some((401, false)));
        assert_eq!(ask(&mut stream, &call(Some(rig.key()), "/api/v1/services", &from(client))).await, Some((200, false)));
        assert_eq!(ask(&mut stream, &call(None, "/healthz", &from(client))).await, Some((200, false)));
    }
    // What is left of a body would be taken for the next call.
    let unread = format!("POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n{}\r\n", from(1));
    assert_eq!(ask(&mut stream, &unread).await.map(|(_, closes)| closes), Some(true));
    rig.finish().await;
}

/// A client with hardly any room for what it is sent, that never reads it.
async fn deaf(address: SocketAddr, text: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_reads_ends_in_time_and_one_that_is_read_slowly_does_not() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let id = rig.order("web", "1").await;
    rig.ended(&id).await;
    // Far more than the kernel keeps for anybody.
    rig.execute(
        "INSERT INTO lines (deployment, run, seq, position, at_ms, step, kind, text) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
         SELECT (SELECT id FROM deployments LIMIT 1), 0, i, 1000 + i, 0, 'pull', 'output', printf('%0200d', i) FROM n",
    )
    .await;
    let path = format!("/api/v1/deployments/{id}/log");
    let began = Instant::now();
    let deaf = deaf(rig.address(), &call(Some(rig.key()), &path, "")).await;
    let port = deaf.local_addr().unwrap().port();
    let mut slow = TcpStream::connect(rig.address()).await.unwrap();
    slow.write_all(call(Some(rig.key()), &path, "").as_bytes()).await.unwrap();
    let mut rest = vec![0; 40_000];
    let mut cut = None;
    // Some 200 kB a second: far from quick, and never cut.
    let mut got = 0;
    while got < 4_000_000 || cut.is_none() {
        assert!(began.elapsed() < PATIENCE, "who never reads is borne for ever");
        got += tokio::time::timeout(PATIENCE, slow.read(&mut rest)).await.unwrap().unwrap();
        if cut.is_none() && !is_connected(port) {
            cut = Some(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{got} bytes were read slowly in {:?}; who never read was cut after {cut:?}", began.elapsed());
    let cut = cut.expect("it is borne for ever");
    assert!((Duration::from_secs(10)..Duration::from_secs(25)).contains(&cut));
    rig.finish().await;
}

/// Whether this process still has its end of the connection of a client at `port`: the kernel keeps what the client will not take.
fn is_connected(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // The far end is the server's, whose state is 01 as long as it has not closed.
    let far = format!(":{port:04X}");
    table
        .lines()
        .filter_map(|line| line.split_whitespace().skip(2).take(2).collect::<Vec<_>>().try_into().ok())
        .any(|[to, state]: [&str; 2]| to.ends_with(&far) && state == "01")
}

/// A head is read again with each byte of it that comes, so it is bounded; a body that comes in the same breath is not counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_is_bounded() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let pour = async |first: &str, piece: &str, pieces: usize| {
        let socket = TcpSocket::new_v4().unwrap();
        // What the kernel keeps for us says nothing of what the server takes.
        socket.set_send_buffer_size(16 << 10).unwrap();
        let mut stream = socket.connect(rig.address()).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        let mut sent = 0;
        let mut answer = Vec::new();
        while sent < pieces {
            let (mut from, mut to) = stream.split();
            tokio::select! {
                biased;
                read = from.read_buf(&mut answer) => if read.unwrap_or(0) == 0 || !answer.is_empty() { break },
                wrote = to.write_all(piece.as_bytes()) => if wrote.is_err() { break } else { sent += 1 },
            }
        }
        // A reset is an end as well.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection stays open");
        (sent, String::from_utf8_lossy(&answer).into_owned())
    };
    for first in ["GET /healthz HTTP/1.1\r\nx: ", "GET /", "GET /healthz HTTP/1.1\r\nhost: x\r\n", "\r\n\r\nGET /healthz HTTP/1.1\r\nx: "] {
        let piece = if first.ends_with("x\r\n") { "x: y\r\n".repeat(20) } else { "x".repeat(120) };
        let (sent, answer) = pour(first, &piece, 100_000).await;
        // What the kernel takes for the server counts as well, six megabytes at most as it is set up.
        assert!(sent * piece.len() < 8 << 20, "{} bytes were taken", sent * piece.len());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    // The second and third head of a connection are bounded like the first.
    let large = format!("x: {}\r\n", "y".repeat(15_000));
    let mut good = TcpStream::connect(rig.address()).await.unwrap();
    assert_eq!(ask(&mut good, &call(Some(rig.key()), "/api/v1/services", &large)).await, Some((200, false)));
    assert_eq!(ask(&mut good, &call(Some(rig.key()), "/api/v1/services", &large)).await, Some((200, false)));
    let larger = format!("x: {}\r\n", "y".repeat(17_000));
    let ended = ask(&mut good, &call(Some(rig.key()), "/api/v1/services", &larger)).await;
    assert!(matches!(ended, None | Some((431, true))), "{ended:?}");
    rig.finish().await;
}
