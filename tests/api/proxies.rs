//! Behind real proxies, as people set them up: a client that names itself, in every header there is for it, is still counted as
//! who it is, and is private only when it came over https. Needs traefik, caddy and nginx (`tests/rig/install.sh proxy nginx`).

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;

use tagalong::clock;

use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Key;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::until;

/// How many failed attempts an address has.
const LIMIT: usize = 4;
const HTTP: u16 = 18_080;
const HTTPS: u16 = 18_443;

/// A proxy at an address of loopback that nobody else has; it ends with this value.
struct Proxy {
    child: Child,
    at: Ipv4Addr,
    _dir: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Starts `program` with what `write` puts into a folder beside a certificate, and waits until it answers.
    #[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
    async fn start(program: &str, server: SocketAddr, write: impl Fn(&Path, Ipv4Addr, SocketAddr) -> Vec<String>) -> Self {
        static NUMBER: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        let at = Ipv4Addr::new(127, high, low, 100 + NUMBER.fetch_add(1, Ordering::SeqCst));
        let dir = tempfile::tempdir().unwrap();
        let certified = rcgen::generate_simple_self_signed(["tagalong.test".to_owned()]).unwrap();
        std::fs::write(dir.path().join("server.pem"), certified.cert.pem()).unwrap();
        std::fs::write(dir.path().join("server.key"), certified.signing_key.serialize_pem()).unwrap();
        let args = write(dir.path(), at, server);
        let rig = std::env::var("TAGALONG_RIG").unwrap_or_else(|_| format!("{}/.cache/tagalong-rig", std::env::var("HOME").unwrap()));
        let path = format!("{rig}/bin:{}:/usr/sbin", std::env::var("PATH").unwrap());
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command.args(args).current_dir(dir.path()).env("PATH", path).env("XDG_DATA_HOME", dir.path()).env("XDG_CONFIG_HOME", dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; run tests/rig/install.sh proxy nginx"));
        let proxy = Self { child, at, _dir: dir };
        until(program, async || {
            let both = [proxy.get(false, Ipv4Addr::LOCALHOST).await, proxy.get(true, Ipv4Addr::LOCALHOST).await];
            both.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status() == 200)).then_some(())
        })
        .await;
        proxy
    }

    async fn get(&self, https: bool, from: Ipv4Addr) -> reqwest::Result<reqwest::Response> {
        Call::get("/healthz").try_open(&client(self.at, from), &base(https)).await
    }

    /// A call through it, from this address.
    async fn send(&self, https: bool, from: Ipv4Addr, call: Call) -> Answer {
        Answer::of(call.try_open(&client(self.at, from), &base(https)).await.unwrap()).await
    }
}

fn base(https: bool) -> String {
    if https { format!("https://tagalong.test:{HTTPS}") } else { format!("http://tagalong.test:{HTTP}") }
}

fn client(proxy: Ipv4Addr, from: Ipv4Addr) -> reqwest::Client {
    let builder = reqwest::Client::builder().local_address(IpAddr::V4(from)).tls_danger_accept_invalid_certs(true).no_proxy();
    builder.resolve("tagalong.test", (proxy, 0).into()).build().unwrap()
}

fn nginx(dir: &Path, at: Ipv4Addr, server: SocketAddr, headers: &str) -> Vec<String> {
    let dir = dir.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {dir}/{name};")).join(" ");
    let text = format!(
        "user root; daemon off; pid {dir}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; {temp}\n\
         server {{ listen {at}:{HTTP}; listen {at}:{HTTPS} ssl; ssl_certificate {dir}/server.pem; ssl_certificate_key {dir}/server.key;\n\
         location / {{ proxy_pass http://{server}; {headers} }} }} }}\n"
    );
    std::fs::write(Path::new(&dir.to_string()).join("nginx.conf"), text).unwrap();
    ["-e", "stderr", "-c", &format!("{dir}/nginx.conf")].map(str::to_owned).to_vec()
}

fn traefik(dir: &Path, at: Ipv4Addr, server: SocketAddr) -> Vec<String> {
    let router = |name: &str, tls: &str| format!("    {name}: {{rule: 'PathPrefix(`/`)', entryPoints: [{name}], service: it{tls}}}\n");
    let text = format!(
        "tls:\n  certificates: [{{certFile: {0}/server.pem, keyFile: {0}/server.key}}]\nhttp:\n  routers:\n{1}{2}  services:\n    it: \
         {{loadBalancer: {{servers: [{{url: 'http://{server}'}}]}}}}\n",
        dir.display(),
        router("plain", ""),
        router("secure", ", tls: {}")
    );
    std::fs::write(dir.join("dynamic.yml"), text).unwrap();
    vec![
        format!("--entrypoints.plain.address={at}:{HTTP}"),
        format!("--entrypoints.secure.address={at}:{HTTPS}"),
        format!("--providers.file.filename={}/dynamic.yml", dir.display()),
        "--global.checknewversion=false".to_owned(),
        "--global.sendanonymoususage=false".to_owned(),
    ]
}

fn caddy(dir: &Path, at: Ipv4Addr, server: SocketAddr) -> Vec<String> {
    let text = format!(
        "{{\n admin off\n auto_https off\n}}\nhttp://:{HTTP} {{\n bind {at}\n reverse_proxy {server}\n}}\nhttps://tagalong.test:{HTTPS} {{\n bind {at}\n \
         tls {0}/server.pem {0}/server.key\n reverse_proxy {server}\n}}\n",
        dir.display()
    );
    std::fs::write(dir.join("Caddyfile"), text).unwrap();
    ["run", "--config", "Caddyfile"].map(str::to_owned).to_vec()
}

/// What a client may say of itself and of its way.
fn forged(call: Call, whom: &str) -> Call {
    call.header("x-forwarded-for", whom)
        .header("x-forwarded-proto", "https")
        .header("forwarded", format!("for={whom};proto=https"))
        .header("x-real-ip", whom)
        .header("x-forwarded-host", "tagalong.test")
        .header("x-forwarded-port", "443")
        .header("x-forwarded-ssl", "on")
}

async fn behind(kind: &str, program: &str, write: impl Fn(&Path, Ipv4Addr, SocketAddr) -> Vec<String>) {
    let mut plan = Plan::new(Database::Sqlite);
    plan.server = format!("failed_attempts_per_min = {LIMIT}\ntrusted_proxies = [\"127.0.0.1\"]\nforwarded_headers = {kind:?}");
    plan.keys.push(Key::bearer("robot", &["read"]));
    let rig = plan.start().await;
    let proxy = Proxy::start(program, rig.address(), write).await;
    privacy(&rig, &proxy).await;
    limits(&rig, &proxy).await;
    drop(proxy);
    rig.finish().await;
}

async fn privacy(rig: &Rig, proxy: &Proxy) {
    let robot = &rig.plan.keys[1];
    let from = Ipv4Addr::new(127, 4, 4, 4);
    let read = || Call::get("/api/v1/services").by(robot);
    for whom in ["127.0.0.1", "unknown", "\"", "::1", ""] {
        assert_eq!(proxy.send(true, from, read()).await.status, 200);
        assert_eq!(proxy.send(true, from, forged(read(), whom)).await.status, 200, "{whom}");
        assert_eq!(proxy.send(false, from, read()).await.status, 403);
        assert_eq!(proxy.send(false, from, forged(read(), whom)).await.status, 403, "{whom}");
    }
    // A signature needs no privacy.
    assert_eq!(proxy.send(false, from, forged(Call::get("/api/v1/services").by(rig.key()), "::1")).await.status, 200);
}

async fn limits(rig: &Rig, proxy: &Proxy) {
    let mut turn = 0;
    until("a whole minute", async || {
        turn += 1;
        let minute = clock::now_ms() / 60_000;
        let (guesser, victim) = (Ipv4Addr::new(127, 5, turn, 5), Ipv4Addr::new(127, 5, turn, 6));
        let good = || Call::get("/api/v1/services").by(rig.key());
        let wrong = Key::bearer("robot", &[]);
        let mut seen = Vec::new();
        for n in 0..LIMIT {
            // As somebody else each time, and as the one who is to be kept out.
            let whom = if n == 0 { victim.to_string() } else { format!("203.0.113.{n}, {victim}") };
            seen.push(proxy.send(n % 2 == 0, guesser, forged(Call::get("/api/v1/services").by(&wrong), &whom)).await.status);
        }
        for whom in ["203.0.113.99".to_owned(), victim.to_string(), "unknown".to_owned()] {
            seen.push(proxy.send(true, guesser, forged(good().by(&rig.plan.keys[1]), &whom)).await.status);
        }
        seen.push(proxy.send(true, victim, good()).await.status);
        seen.push(proxy.send(false, victim, forged(good(), &guesser.to_string())).await.status);
        // And the proxy's own address is nobody's.
        seen.push(good().send(rig).await.status);
        (clock::now_ms() / 60_000 == minute).then(|| {
            assert_eq!(seen, [vec![401; LIMIT], vec![429; 3], vec![200; 3]].concat());
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_traefik_a_client_is_who_it_is() {
    behind("x-forwarded", "traefik", traefik).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_caddy_a_client_is_who_it_is() {
    behind("x-forwarded", "caddy", caddy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_a_client_is_who_it_is() {
    let headers = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;";
    behind("x-forwarded", "nginx", |dir, at, server| nginx(dir, at, server, headers)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_with_the_standard_header_a_client_is_who_it_is() {
    let headers = "proxy_set_header Forwarded \"for=$remote_addr;proto=$scheme\";";
    behind("forwarded", "nginx", |dir, at, server| nginx(dir, at, server, headers)).await;
}

/// A proxy on the same host that nobody has told the server of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_not_trusted_makes_no_call_private() {
    let mut plan = Plan::new(Database::Sqlite);
    plan.keys.push(Key::bearer("robot", &["read"]));
    let rig = plan.start().await;
    let read = || Call::get("/api/v1/services").by(&rig.plan.keys[1]);
    assert_eq!(read().send(&rig).await.status, 200);
    // As it comes, and as most people set it up: neither adds a header.
    let bare = |dir: &Path, at: Ipv4Addr, server: SocketAddr| nginx(dir, at, server, "");
    let named = |dir: &Path, at: Ipv4Addr, server: SocketAddr| {
        nginx(dir, at, server, "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;")
    };
    for (program, write) in
        [("traefik", traefik as fn(&Path, Ipv4Addr, SocketAddr) -> Vec<String>), ("caddy", caddy), ("nginx", bare), ("nginx", named)]
    {
        let proxy = Proxy::start(program, rig.address(), write).await;
        for https in [true, false] {
            assert_eq!(proxy.send(https, Ipv4Addr::LOCALHOST, read()).await.status, 403, "{program}");
        }
    }
    rig.finish().await;
}
