//! A control plane with many agents: how long they take to come back when it was killed and started again, how much memory it needs for them,
//! and how long orders for many of them take. The agents are the real dialler and the real frames in this process, over loopback; what they
//! land is nothing.
//!
//!     cargo build --bench agents && target/debug/deps/agents-… TAGALONG [AGENTS [SERVICES]]     default 300 and 5
//!
//! TAGALONG is the binary of the control plane: a release build, or the memory says nothing. Printed is each figure, its limit and the
//! ratio; it ends with status 1 when a limit is missed. The limits are those of 300 agents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench ends when something is wrong")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "it runs programs and says what it measured")]

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use serde_json::Value;
use serde_json::json;
use tagalong::agent::Dial;
use tagalong::clock;
use tagalong::config::Config;
use tagalong::config::Live;
use tagalong::line::Accepted;
use tagalong::line::AgentLine;
use tagalong::line::EnrolmentCode;
use tagalong::line::FromAgent;
use tagalong::line::FromControl;
use tagalong::line::Hello;
use tagalong::line::HostFacts;
use tagalong::line::Identity;
use tagalong::line::KeyPair;
use tagalong::line::Lines;
use tagalong::line::SentLine;
use tagalong::line::SentOrder;
use tagalong::line::ServiceSeen;
use tagalong::line::Showing;
use tagalong::line::VERSION;
use tagalong::line::machine_id;
use tagalong::line::nonce;
use tagalong::model::AgentName;
use tagalong::model::LineKind;
use tagalong::model::Repository;
use tagalong::model::ServiceName;
use tagalong::model::Step;

/// The limits for 300 agents.
const BACK: Duration = Duration::from_secs(10);
const MEMORY_MIB: f64 = 120.0;
/// How many deployments there are at a time, and how many lines each has.
const AT_A_TIME: usize = 100;
const LINES: i64 = 50;
/// No wait is longer.
const PATIENCE: Duration = Duration::from_mins(3);

/// The control plane.
struct Control {
    program: PathBuf,
    dir: PathBuf,
    port: u16,
    child: Child,
    http: reqwest::Client,
}

impl Control {
    async fn start(program: &Path, dir: &Path, port: u16) -> Self {
        let socket = dir.join("s");
        let _ = std::fs::remove_file(&socket);
        let log = std::fs::File::options().create(true).append(true).open(dir.join("serve.log")).unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(dir.join("tagalong.toml")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap();
        let http = reqwest::Client::builder().unix_socket(socket.clone()).build().unwrap();
        let control = Self { program: program.to_owned(), dir: dir.to_owned(), port, child, http };
        until("the control plane answers", async || control.get("/readyz").await.is_some()).await;
        control
    }

    async fn killed_and_started(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Self::start(&self.program, &self.dir, self.port).await
    }

    async fn get(&self, path: &str) -> Option<Value> {
        self.http.get(format!("http://tagalong{path}")).send().await.ok()?.json().await.ok()
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.http.post(format!("http://tagalong{path}")).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// `VmRSS` or `VmHWM` in MiB.
    fn memory(&self, which: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(which)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// Seconds of a core that it has used.
    fn used(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Keeps what a host keeps, enrolled at the control plane.
async fn enrol(control: &Control, name: &str, dir: &Path) {
    let (_, made) = control.post(&format!("/api/v1/agents/{name}/code"), &json!({})).await;
    let code = EnrolmentCode::parse(made["code"].as_str().unwrap_or_else(|| panic!("{made}"))).unwrap();
    let keys = KeyPair::new().unwrap();
    let (machine, number) = (machine_id(), nonce());
    let showing = Showing { code: code.public(), key: keys.public(), machine: &machine, nonce: &number };
    let body = json!({
        "code": code.public(), "key": keys.public(), "machine": machine, "nonce": number,
        "by_code": showing.prove_code(&code), "by_key": showing.prove_key(&keys),
    });
    let (status, enrolled) = control.post("/api/v1/agents/enrol", &body).await;
    assert_eq!(status, 200, "{enrolled}");
    let enrolled: tagalong::api::Enrolled = serde_json::from_value(enrolled).unwrap();
    Identity { name: Some(enrolled.name), keys, next: None, control: Some(enrolled.control) }.write(dir).unwrap();
}

fn dial(dir: &Path, name: &str, port: u16) -> Dial {
    let text = format!(
        "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\ndata_dir = \"{}\"\n[agent]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}\"\n",
        dir.display()
    );
    let config = Config::read(&text, &dir.join("agent.toml"), dir).unwrap();
    let to = config.agent.clone().unwrap();
    Dial::new(Live::new(config), &to).0
}

/// What an agent says of an order that it has carried out.
fn carried_out(order: &SentOrder) -> [FromAgent; 3] {
    let id = order.deployment.clone();
    let line = |seq| SentLine {
        position: seq,
        run: 1,
        seq,
        at_ms: clock::now_ms(),
        step: Step::Pull.into(),
        kind: LineKind::Output,
        text: format!("line {seq} of a program that has something to say, as long as such lines are"),
    };
    let now_ms = clock::now_ms();
    let ended = json!({
        "kind": "ended", "order": order, "created_ms": now_ms, "outcome": { "outcome": "live", "warnings": [] }, "step": "smoke",
        "started_ms": now_ms, "ended_ms": now_ms,
    });
    [
        FromAgent::Accepted(Accepted { deployment: id.clone() }),
        FromAgent::Lines(Lines { deployment: id, lines: (1..=LINES).map(line).collect() }),
        serde_json::from_value(ended).unwrap(),
    ]
}

/// The far end of one line: it has these services, and carries out what comes at once.
async fn serve(line: AgentLine, services: Vec<ServiceSeen>, welcomed: Arc<AtomicUsize>) {
    let AgentLine { to, mut from } = line;
    let hello = Hello {
        version: VERSION,
        program: "bench".to_owned(),
        host: HostFacts { now_ms: clock::now_ms(), ..HostFacts::default() },
        services,
        datasets: Vec::new(),
        journals: Vec::new(),
    };
    let _ = to.send(FromAgent::Hello(hello)).await;
    while let Some(frame) = from.recv().await {
        match frame {
            FromControl::Welcome(_) => drop(welcomed.fetch_add(1, Ordering::SeqCst)),
            FromControl::Order(order) => {
                for frame in carried_out(&order) {
                    let _ = to.send(frame).await;
                }
            }
            _ => {}
        }
    }
}

fn services(agent: usize, many: usize) -> Vec<ServiceSeen> {
    let seen = |number| ServiceSeen {
        name: ServiceName::parse(&format!("app-{agent}-{number}")).unwrap(),
        images: vec![Repository::parse(&format!("registry.example.com/acme/app-{number}")).unwrap()],
        address: Some(format!("https://app-{number}.example.com/")),
        live: Vec::new(),
    };
    (0..many).map(seen).collect()
}

/// Orders one deployment for each of the first agents at once. Gives how long it took until all had ended.
async fn deployed(control: &Control, many: usize) -> Duration {
    let began = Instant::now();
    let orders = (0..many).map(|agent| async move {
        let (status, answer) = control.post("/api/v1/deployments", &json!({ "service": format!("app-{agent}-0"), "tag": "v1" })).await;
        assert_eq!(status, 202, "{answer}");
    });
    futures_util::future::join_all(orders).await;
    let mut ended = BTreeMap::new();
    until("all deployments have ended", async || {
        let all = control.get(&format!("/api/v1/deployments?limit={many}")).await.unwrap_or_default();
        ended =
            all["deployments"].as_array().into_iter().flatten().map(|one| (one["id"].to_string(), one["outcome"].to_string())).collect();
        ended.len() == many && ended.values().all(|outcome| outcome == "\"live\"")
    })
    .await;
    began.elapsed()
}

/// Prints a figure beside its limit, and returns whether it is missed.
fn told(what: &str, figure: f64, limit: f64, unit: &str) -> bool {
    println!("{what}: {figure:.2} {unit}, limit {limit} {unit}, ratio {:.2}", figure / limit);
    figure > limit
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let program = std::fs::canonicalize(args.first().expect("the binary of the control plane")).unwrap();
    let number = |at: usize, or: usize| args.get(at).map_or(or, |arg| arg.parse().unwrap());
    let (agents, each) = (number(1, 300), number(2, 5));
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let most = 4 * agents + 100;
    let text = format!(
        "version = 1\n[server]\nlisten = [\"127.0.0.1:{port}\"]\nsocket = \"s\"\ndata_dir = \"data\"\nlog_level = \"warn\"\nmax_running = {AT_A_TIME}\n\
         max_connections = {most}\nmax_connections_per_address = {most}\n[docker]\nprogram = \"/bin/false\"\n"
    );
    std::fs::write(dir.path().join("tagalong.toml"), text).unwrap();
    let control = Control::start(&program, dir.path(), port).await;
    let stop = Cancel::default();
    let welcomed = Arc::new(AtomicUsize::new(0));
    for agent in 0..agents {
        let name = AgentName::parse(&format!("host-{agent}")).unwrap();
        let home = dir.path().join(name.as_str());
        std::fs::create_dir(&home).unwrap();
        enrol(&control, name.as_str(), &home).await;
        let (own, welcomed) = (services(agent, each), Arc::clone(&welcomed));
        let dial = dial(&home, name.as_str(), port);
        tokio::spawn(dial.keep(move |line| serve(line, own.clone(), Arc::clone(&welcomed)), stop.clone()));
    }
    let all_are_there = || welcomed.load(Ordering::SeqCst) >= agents;
    until("all agents are there", async || all_are_there()).await;
    println!("{agents} agents of {each} services each; the control plane has {:.1} MiB", control.memory("VmRSS"));
    welcomed.store(0, Ordering::SeqCst);
    let control = control.killed_and_started().await;
    let began = Instant::now();
    until("all agents are back", async || all_are_there()).await;
    let back = began.elapsed().as_secs_f64();
    let mut is_missed = told("all agents are back after the restart", back, BACK.as_secs_f64(), "s");
    let many = AT_A_TIME.min(agents);
    println!("{many} deployments at a time, of {LINES} lines each: {:.2} s", deployed(&control, many).await.as_secs_f64());
    let used = control.used();
    tokio::time::sleep(Duration::from_secs(30)).await;
    println!("idle, the control plane used {:.2} % of a core", (control.used() - used) / 30.0 * 100.0);
    is_missed |= told("its memory at its highest", control.memory("VmHWM"), MEMORY_MIB, "MiB");
    println!("load of the machine: {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    stop.cancel();
    std::process::exit(i32::from(is_missed));
}
