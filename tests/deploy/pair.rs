//! Two servers over one PostgreSQL database, one Docker and one stack's folder, one of which hangs or is cut off: the other goes on
//! in time, and the first one starts nothing more, whenever it comes back.

use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;
use sqlx::Row as _;

use crate::cluster::Database;
use crate::support::Server;
use crate::support::host;
use crate::support::until;
use crate::world::Settings;
use crate::world::World;

/// The shortest that may be configured.
const LEASE: Duration = Duration::from_secs(8);
/// A take-over comes at most so long after the end of the lease, on a busy machine too.
const SLACK: Duration = Duration::from_secs(20);

/// A world whose runs are taken over after [`LEASE`], with v1 landed.
async fn world() -> World {
    let mut world = World::landed(&Settings { database: Database::Postgres, ..Settings::default() }).await;
    world.reconfigure("[store]\n", &format!("[store]\nlease_s = {}\n", LEASE.as_secs())).await;
    world
}

/// Another server over the same stack and the same database.
pub(crate) async fn beside(world: &World) -> Server {
    let dir = world.path("other");
    std::fs::create_dir(&dir).expect("a folder");
    let at = |name: &str| format!("\"{}\"", world.path(name).display());
    let text = std::fs::read_to_string(world.path("tagalong.toml")).expect("a file");
    let text = text.replace("dir = \"stack\"", &format!("dir = {}", at("stack")));
    let text = text.replace("\"page.password\"", &at("page.password")).replace("\"postgres.url\"", &at("direct.url"));
    std::fs::write(dir.join("tagalong.toml"), text).expect("a file");
    std::fs::write(world.path("direct.url"), world.url.as_ref().expect("PostgreSQL")).expect("a file");
    Server::start(&dir).await
}

/// Who carries `id` out, by the folder of its data.
async fn executor(world: &World, id: &str) -> String {
    let sql = "SELECT executor FROM runs WHERE deployment = $1";
    let row = sqlx::query(sql).bind(id).fetch_one(&mut world.database().await).await.expect("an answer");
    row.get::<Option<String>, _>("executor").unwrap_or_default()
}

fn id_in(data: &Path) -> String {
    std::fs::read_to_string(data.join("executor-id")).expect("a file").trim().to_owned()
}

/// Waits until the second server has taken `id` over; how long after `began` that was.
async fn taken_over(world: &World, id: &str, began: Instant) -> Duration {
    let second = id_in(&world.path("other/data"));
    while executor(world, id).await != second {
        assert!(began.elapsed() < LEASE + SLACK, "{id} is not taken over in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

/// What the server of this process id has asked of docker, but for looks, since the record was begun.
fn acts_of(world: &World, server: u32) -> Vec<String> {
    let acts = ["compose up", "compose pull", "pull", "tag", "rmi", "rename", "rm", "stop", "hook"];
    let calls = std::fs::read_to_string(world.path("world/calls")).expect("the record");
    let own = calls.lines().filter_map(|line| line.strip_prefix(&format!("{server} ")));
    own.filter(|call| acts.iter().any(|act| call.starts_with(act))).map(str::to_owned).collect()
}

fn begin_record(world: &World) {
    std::fs::write(world.path("world/calls"), "").expect("a file");
}

/// The process that waits at a point of the stand-in.
fn who_met(world: &World, point: &str) -> String {
    std::fs::read_to_string(world.path("world/reached").join(point)).unwrap_or_default()
}

fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// v2 is being brought up by the first server, which hangs there; gives its id and the process id of its `up`.
async fn up_under_way(world: &World) -> (String, String) {
    world.arm("up@v2", "hang");
    let id = world.server().deploy("v2").await;
    world.reached("up@v2").await;
    (id, who_met(world, "up@v2"))
}

/// What must hold when the first server is back: it does nothing about `id`, both answer, and the next order is carried out.
async fn goes_on_together(world: &World, second: &Server, id: &str) {
    let ended = second.outcome(id).await;
    assert_eq!((ended["outcome"].as_str(), world.running().as_str()), (Some("live"), "v2"), "{ended}\n{}", second.log());
    assert_eq!(world.env(), world.env_of("v2"));
    begin_record(world);
    let before = world.containers();
    if let Some(pid) = world.server().stopped() {
        host("kill", &["-CONT", &pid.to_string()]);
    }
    // Longer than a round of the queue and a renewal take.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(acts_of(world, world.server().pid()), Vec::<String>::new(), "{}", world.server().log());
    assert_eq!(before, world.containers());
    assert_eq!(world.server().outcome(id).await, ended);
    let next = world.server().deploy("v3").await;
    let ended = second.outcome(&next).await;
    assert_eq!((ended["outcome"].as_str(), world.running().as_str()), (Some("live"), "v3"), "{ended}");
    let (_, all) = second.get("/api/v1/deployments?limit=100").await;
    for one in all["deployments"].as_array().expect("a list") {
        let journal = second.journal(one["id"].as_str().expect("an id")).await;
        assert_eq!(one["state"], "done", "{one}\n{journal}");
    }
}

/// It is stopped with its lock held and a program at work; the other ends that program, and the lock is one no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_taken_over_and_starts_nothing_when_it_goes_on() {
    let world = world().await;
    let (id, up) = up_under_way(&world).await;
    let began = Instant::now();
    world.server().freeze();
    let second = beside(&world).await;
    world.forget("up@v2");
    println!("taken over {:?} after the stop, with a lease of {LEASE:?}", taken_over(&world, &id, began).await);
    world.reached("up@v2").await;
    assert_ne!(who_met(&world, "up@v2"), up);
    assert!(!lives(&up), "two bring it up at once");
    world.disarm("up@v2");
    goes_on_together(&world, &second, &id).await;
    world.finish().await;
}

/// A line to PostgreSQL that can be cut: nothing gets through, and nobody is told.
struct Line {
    dir: tempfile::TempDir,
    is_cut: Arc<AtomicBool>,
}

impl Line {
    fn to(socket: PathBuf) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).expect("a socket");
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = UnixStream::connect(&socket) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    let cut = Arc::clone(&cut);
                    std::thread::spawn(move || carry(from, to, &cut));
                }
            }
        });
        Self { dir, is_cut }
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

fn carry(mut from: UnixStream, mut to: UnixStream, is_cut: &AtomicBool) {
    let mut bytes = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        while is_cut.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// It cannot renew its lease: it ends its run with all that it has started before the other may begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_cut_off_ends_its_run_before_another_takes_it_over() {
    let mut world = world().await;
    let url = world.url.clone().expect("PostgreSQL");
    let (name, socket) = url.split_once("?host=").expect("a socket's folder");
    let line = Line::to(Path::new(socket).join(".s.PGSQL.5432"));
    std::fs::write(world.path("postgres.url"), format!("{name}?host={}", line.dir.path().display())).expect("a file");
    world.stop();
    world.start().await;
    let (id, up) = up_under_way(&world).await;
    let second = beside(&world).await;
    line.cut();
    let began = Instant::now();
    until("the run has ended itself", || !lives(&up)).await;
    let own_end = began.elapsed();
    world.forget("up@v2");
    let taken = taken_over(&world, &id, began).await;
    println!("cut off, its run ended itself after {own_end:?} and was taken over after {taken:?}, with a lease of {LEASE:?}");
    assert!(own_end < LEASE && own_end < taken, "{}", world.server().log());
    world.disarm("up@v2");
    let ended = second.outcome(&id).await;
    assert_eq!(ended["outcome"], "live", "{ended}\n{}", second.log());
    line.mend();
    goes_on_together(&world, &second, &id).await;
    world.finish().await;
}

/// How many wait for a lock in the database.
async fn waiting_for_a_lock(connection: &mut sqlx::AnyConnection) -> i64 {
    let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::query(sql).fetch_one(connection).await.expect("an answer").get(0)
}

/// It is stopped in the middle of an acceptance, with the lock that all acceptances need: the other answers 202 all the same, and
/// carries out what was left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_within_a_transaction_holds_nobody_up() {
    let world = world().await;
    let (id, _) = up_under_way(&world).await;
    let waiting = world.server().deploy("v3").await;
    let (mut session, mut look) = (world.database().await, world.database().await);
    for statement in ["BEGIN", "SELECT id FROM deployments WHERE state = 'waiting' FOR UPDATE"] {
        sqlx::query(statement).execute(&mut session).await.expect("the row");
    }
    let second = beside(&world).await;
    let accept = async {
        // Its answer never comes, or comes when it goes on.
        let asked = world.server().post("/api/v1/deployments", json!({"service": "web", "tag": "v4"}));
        let _ = tokio::time::timeout(Duration::from_secs(1), asked).await;
    };
    let stop = async {
        while waiting_for_a_lock(&mut look).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.server().freeze();
    };
    futures_util::future::join(accept, stop).await;
    let began = Instant::now();
    sqlx::query("ROLLBACK").execute(&mut session).await.expect("an answer");
    world.disarm("up@v2");
    let (status, answer) = second.post("/api/v1/deployments", json!({"service": "web", "tag": "v5"})).await;
    println!("an order at the other server was accepted {:?} after the stop", began.elapsed());
    assert_eq!((status, &answer["superseded"]), (202, &json!(waiting)), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(16), "{:?}", began.elapsed());
    println!("taken over {:?} after the stop", taken_over(&world, &id, began).await);
    assert_eq!(second.outcome(&id).await["outcome"], "live", "{}", second.log());
    let last = answer["id"].as_str().expect("an id");
    assert_eq!(second.outcome(last).await["outcome"], "live", "{}", second.log());
    assert_eq!(world.running(), "v5");
    if let Some(pid) = world.server().stopped() {
        host("kill", &["-CONT", &pid.to_string()]);
    }
    world.finish().await;
}

/// Somebody's session holds rows of one deployment: every other order is accepted, and what is free is carried out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_somebody_holds_hold_up_nothing_else() {
    let world = world().await;
    let (id, _) = up_under_way(&world).await;
    let mut session = world.database().await;
    for statement in [
        "BEGIN",
        "SELECT name FROM meta WHERE name IN ('queue', 'audit') FOR UPDATE",
        "SELECT deployment FROM runs WHERE state = 'running' FOR UPDATE",
        "SELECT id FROM deployments WHERE state = 'running' FOR UPDATE",
    ] {
        sqlx::query(statement).execute(&mut session).await.expect("the row");
    }
    let second = beside(&world).await;
    let began = Instant::now();
    for tag in 3..=9 {
        for server in [world.server(), &second] {
            let (status, answer) = server.post("/api/v1/deployments", json!({"service": "web", "tag": format!("v{tag}")})).await;
            assert_eq!(status, 202, "{answer}");
        }
    }
    println!("14 orders accepted in {:?} while a session holds the running deployment", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    sqlx::query("ROLLBACK").execute(&mut session).await.expect("an answer");
    world.disarm("up@v2");
    assert_eq!(second.outcome(&id).await["outcome"], "live", "{}\n{}", world.server().log(), second.log());
    let (_, all) = second.get("/api/v1/deployments?limit=100").await;
    let newest = all["deployments"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(second.outcome(&newest).await["outcome"], "live", "{}", second.log());
    world.finish().await;
}
