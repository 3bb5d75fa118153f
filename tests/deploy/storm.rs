//! A storm on Docker itself: orders, and among them whatever can happen to a host. Tagalong, its children and the daemon are
//! killed or stopped, the registry goes away, disks are full, and somebody's hands are at the stack. After each round everything is whole
//! again, and what `design.md` promises is looked at:
//! every accepted order has ended exactly once, with its lines; no neighbour was touched; no line of `.env` and no lock is lost; what runs
//! is what is recorded, or is said to be otherwise.
//!
//! A few rounds in CI. By hand, for hours: `ROUNDS=500 SEED=7 make storm`. The seed is printed; it replays the dice, not the
//! machine's own timing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;
use rustix::process::Signal;
use serde_json::Value;
use serde_json::json;
use sqlx::Row as _;
use tagalong::landing;

use crate::cluster::Cluster;
use crate::cluster::Database;
use crate::dice::Dice;
use crate::dice::number;
use crate::disk::Disk;
use crate::outside;
use crate::outside::Answer;
use crate::outside::Http;
use crate::real::Daemon;
use crate::real::Images;
use crate::real::Site;
use crate::support::Server;
use crate::support::host;
use crate::support::until;

/// How many rounds there are unless `ROUNDS` says otherwise, and for how long another one is begun then.
const ROUNDS: u64 = 4;
const LONG_ENOUGH: Duration = Duration::from_secs(45);
/// Everything has ended so long after a round at the latest, or it never will.
const CALM: Duration = Duration::from_mins(4);
/// A pair's leases. What hangs for longer is taken over.
const LEASE_S: u64 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    Nothing,
    KillServer,
    KillChild,
    KillDaemon,
    KillAll,
    Freeze,
    RegistryAway,
    FullData,
    FullStack,
    FullDocker,
    HandStops,
    HandEdits,
}

const BLOWS: [Blow; 12] = [
    Blow::Nothing,
    Blow::KillServer,
    Blow::KillChild,
    Blow::KillDaemon,
    Blow::KillAll,
    Blow::Freeze,
    Blow::RegistryAway,
    Blow::FullData,
    Blow::FullStack,
    Blow::FullDocker,
    Blow::HandStops,
    Blow::HandEdits,
];

/// It ends in the order of its fields.
struct Storm {
    dice: Dice,
    servers: Vec<Server>,
    data_disk: Disk,
    stack_disk: Disk,
    /// The folder of each server's configuration.
    places: Vec<PathBuf>,
    site: Site,
    is_away: Arc<AtomicBool>,
    _registry: Http,
    daemon: Daemon,
    docker_disk: Disk,
    images: Images,
    url: Option<String>,
    accepted: Vec<String>,
    /// What hands have written into `.env`.
    edits: u64,
    blows: BTreeMap<Blow, u32>,
    _daemon_dir: tempfile::TempDir,
}

/// The registry as the daemon and tagalong see it, which may be away.
fn registry(port: &str, is_away: &Arc<AtomicBool>) -> Http {
    let (upstream, away) = (format!("127.0.0.1:{port}"), Arc::clone(is_away));
    Http::serve(move |request| {
        if away.load(Ordering::SeqCst) {
            return Answer::text(503, "away");
        }
        outside::forward(&upstream, request).unwrap_or_else(|error| Answer::text(502, error.to_string()))
    })
}

impl Storm {
    async fn rising(dice: Dice, database: Database) -> Self {
        let images = Images::make();
        let daemon_dir = tempfile::tempdir().expect("a folder");
        let docker_disk = Disk::over(&daemon_dir.path().join("data"), "700m");
        let daemon = Daemon::start(daemon_dir.path(), false).await;
        let is_away = Arc::new(AtomicBool::new(false));
        let registry = registry(&images.port, &is_away);
        // The old container takes a moment to end, so that something is met half-way.
        let slow = json!({"stop_signal": "SIGTERM", "stop_grace_period": "1s"});
        let mut site = Site::make(&images, &daemon.docker, &registry.port.to_string(), slow).await;
        site.server.take().expect("a server").stop();
        let root = site.dir.path().to_owned();
        let (data_disk, stack_disk) = (Disk::over(&root.join("data"), "24m"), Disk::over(&root.join("stack"), "2m"));
        let url = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(Cluster::new_database().await),
        };
        let places = if url.is_some() { vec![root.clone(), root.join("other")] } else { vec![root.clone()] };
        configure(&places, url.as_deref());
        let mut servers = Vec::new();
        for place in &places {
            servers.push(Server::start(place).await);
        }
        let (accepted, blows) = (Vec::new(), BTreeMap::new());
        Self {
            dice,
            data_disk,
            stack_disk,
            docker_disk,
            servers,
            places,
            site,
            is_away,
            _registry: registry,
            daemon,
            images,
            url,
            accepted,
            edits: 0,
            blows,
            _daemon_dir: daemon_dir,
        }
    }

    /// Orders something at one of the servers. One that does not answer may have accepted it all the same.
    async fn order(&mut self) {
        let at = self.dice.roll(self.servers.len() as u64) as usize;
        let service = self.site.project.clone();
        let (path, body) = if self.dice.roll(5) == 0 {
            ("/api/v1/rollbacks", json!({"service": service}))
        } else {
            let tag = self.dice.one_of(&["one", "two", "five", "one", "two", "three", "four"]);
            ("/api/v1/deployments", json!({"service": service, "tag": self.images.tag(tag), "force": true}))
        };
        if let Some((202, answer)) = self.servers[at].try_post(path, body).await {
            self.accepted.push(answer["id"].as_str().expect("an id").to_owned());
        }
    }

    async fn strike(&mut self, blow: Blow) {
        *self.blows.entry(blow).or_default() += 1;
        let victim = self.dice.roll(self.servers.len() as u64) as usize;
        match blow {
            Blow::Nothing => {}
            Blow::KillServer => self.servers[victim].kill_now(),
            Blow::KillChild => self.kill_a_child(),
            Blow::KillDaemon => self.daemon.kill(),
            Blow::KillAll => {
                self.daemon.kill();
                self.servers.iter_mut().for_each(Server::kill_now);
            }
            Blow::Freeze => {
                self.servers[victim].freeze();
                // Half of them for longer than a lease lasts.
                self.dice.pause(if self.url.is_some() { LEASE_S * 2000 } else { 1000 }).await;
            }
            Blow::RegistryAway => self.is_away.store(true, Ordering::SeqCst),
            Blow::FullData => self.data_disk.fill(),
            Blow::FullStack => self.stack_disk.fill(),
            Blow::FullDocker => self.docker_disk.fill(),
            Blow::HandStops => drop(self.site.docker.tries(&["stop", "-t", "1", &format!("{}-web-1", self.site.project)])),
            Blow::HandEdits => self.edit(),
        }
        self.dice.pause(2500).await;
    }

    fn kill_a_child(&mut self) {
        let servers: Vec<i32> = self.servers.iter().map(|server| server.pid() as i32).collect();
        let children = landing::holders(&self.site.dir.path().join("stack"));
        let children: Vec<i32> = children.into_iter().map(|one| one.pid).filter(|pid| !servers.contains(pid)).collect();
        if !children.is_empty()
            && let Some(child) = Pid::from_raw(self.dice.one_of(&children))
        {
            // It may have ended by now.
            let _ = rustix::process::kill_process(child, Signal::KILL);
        }
    }

    /// Somebody adds a line to `.env`, as an editor does: a new file in place of the old.
    fn edit(&mut self) {
        self.edits += 1;
        let (file, fresh) = (self.site.dir.path().join("stack/.env"), self.site.dir.path().join("stack/.env.hand"));
        let text = self.site.env() + &format!("\r\nHAND{}=x", self.edits);
        std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &file)).expect("a file");
    }

    /// Everything that was taken away is there again.
    async fn calm(&mut self) {
        self.is_away.store(false, Ordering::SeqCst);
        [&self.data_disk, &self.stack_disk, &self.docker_disk].into_iter().for_each(Disk::empty);
        if self.daemon.has_ended() {
            self.daemon.start_again().await;
        }
        for (server, place) in self.servers.iter_mut().zip(&self.places) {
            if let Some(pid) = server.stopped() {
                host("kill", &["-CONT", &pid.to_string()]);
            }
            if server.has_ended() {
                *server = Server::start(place).await;
            }
        }
    }

    async fn round(&mut self, round: u64) {
        let (ids, lives) = (self.ids(), self.site.neighbours());
        self.order().await;
        self.dice.pause(4000).await;
        let blow = self.dice.one_of(&BLOWS);
        println!("round {round}: {blow:?}");
        self.strike(blow).await;
        if self.dice.roll(3) == 0 {
            self.order().await;
        }
        self.calm().await;
        self.all_have_ended().await;
        // Docker's own end takes containers down with it.
        if !matches!(blow, Blow::KillDaemon | Blow::KillAll) && !lives.is_empty() {
            assert_eq!(lives, self.site.neighbours(), "a neighbour was touched");
        }
        assert!(ids.is_empty() || ids == self.ids(), "a neighbour is another one");
        self.nothing_is_lost().await;
        self.what_runs_is_told().await;
    }

    /// The container of each neighbour.
    fn ids(&self) -> Vec<String> {
        let all = self.site.neighbours();
        all.into_iter().map(|(service, life)| format!("{service} {}", life.split(' ').next().unwrap_or_default())).collect()
    }

    async fn all_have_ended(&self) {
        let began = Instant::now();
        loop {
            let mut unfinished = Vec::new();
            if let Some((200, all)) = self.servers[0].try_get("/api/v1/deployments?limit=100").await {
                unfinished = all["deployments"].as_array().expect("a list").iter().filter(|one| one["state"] != "done").cloned().collect();
                if unfinished.is_empty() {
                    break;
                }
            }
            assert!(began.elapsed() < CALM, "these do not end: {unfinished:#?}\n{}", self.servers[0].log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let stack = self.site.dir.path().join("stack");
        until("nothing holds the stack's lock", || landing::holders(&stack).is_empty()).await;
    }

    async fn database(&self) -> sqlx::AnyConnection {
        use sqlx::Connection as _;
        sqlx::any::install_default_drivers();
        let file = format!("sqlite://{}", self.site.dir.path().join("data/tagalong.db").display());
        sqlx::AnyConnection::connect(self.url.as_ref().unwrap_or(&file)).await.expect("the database")
    }

    /// Every accepted order is there and has ended exactly once, no line is missing, and `.env` has all its lines.
    async fn nothing_is_lost(&self) {
        let mut database = self.database().await;
        for id in &self.accepted {
            let sql = "SELECT d.state, d.last_position, COUNT(*) AS lines, MIN(l.position) AS first, MAX(l.position) AS last,
                       COUNT(CASE WHEN l.kind = 'outcome' THEN 1 END) AS outcomes, MAX(CASE WHEN l.kind = 'outcome' THEN l.position END) AS told
                       FROM deployments AS d LEFT JOIN lines AS l ON l.deployment = d.id WHERE d.id = $1 GROUP BY d.state, d.last_position";
            let row = sqlx::query(sql).bind(id).fetch_optional(&mut database).await.expect("an answer");
            let row = row.unwrap_or_else(|| panic!("{id} was accepted and is lost"));
            let number = |column: &str| row.get::<Option<i64>, _>(column).unwrap_or_default();
            let lines = number("lines");
            assert_eq!((row.get::<String, _>("state").as_str(), number("outcomes")), ("done", 1), "{id}");
            assert_eq!((number("first"), number("last"), number("last_position"), number("told")), (1, lines, lines, lines), "{id}");
        }
        let env = self.site.env();
        let (pins, others): (Vec<&str>, Vec<&str>) = env.split("\r\n").partition(|line| line.starts_with("SITE_TAG="));
        let hands = (1..=self.edits).map(|edit| format!("HAND{edit}=x"));
        let wanted: Vec<String> = ["# kept".to_owned(), "COLOUR=red".to_owned()].into_iter().chain(hands).collect();
        assert_eq!((pins.len(), others), (1, wanted.iter().map(String::as_str).collect()), "{env:?}");
    }

    /// Pin, container and record agree, where the last change ended well; else its outcome says that they may not.
    async fn what_runs_is_told(&self) {
        let sql =
            "SELECT d.outcome FROM runs AS r JOIN deployments AS d ON d.id = r.deployment WHERE r.changed = 1 ORDER BY d.id DESC LIMIT 1";
        let last = sqlx::query(sql).fetch_optional(&mut self.database().await).await.expect("an answer");
        let last: Value = last.map_or(Value::Null, |row| serde_json::from_str(&row.get::<String, _>("outcome")).expect("JSON"));
        let ended_well = last["brought_back"] == true || ["live", "rolled_back"].iter().any(|good| last["outcome"] == *good);
        if !ended_well {
            return;
        }
        let shown = loop {
            if let Some((200, shown)) = self.servers[0].try_get(&format!("/api/v1/services/{}", self.site.project)).await {
                break shown;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!((&shown["drift"], &shown["running"]), (&Value::Null, &Value::Null), "{last}: {shown:#}");
        let env = self.site.env();
        let pin = env.split("\r\n").find_map(|line| line.strip_prefix("SITE_TAG=")).expect("a pin");
        let digest = pin.split_once('@').expect("a digest").1;
        let id = self.site.docker.says(&["image", "inspect", "-f", "{{.Id}}", &format!("{}@{digest}", self.site.repository)]);
        assert!(self.site.containers()["web"].ends_with(&id), "{:?}\n{env}\n{shown:#}", self.site.containers());
        let named: Value = json!([format!("{}:{pin}", self.site.repository)]);
        assert_eq!(shown["live"]["images"], named, "{shown:#}");
    }
}

/// Every server over the same stack, each with a data folder of its own.
fn configure(places: &[PathBuf], url: Option<&str>) {
    let root = &places[0];
    let mut text = std::fs::read_to_string(root.join("tagalong.toml")).expect("a file");
    text = text.replace("dir = \"stack\"", &format!("dir = \"{}\"", root.join("stack").display()));
    if let Some(url) = url {
        std::fs::write(root.join("postgres.url"), url).expect("a file");
        let file = root.join("postgres.url");
        text.extend([format!("[store]\nlease_s = {LEASE_S}\npostgres_url_file = \"{}\"\n", file.display())]);
    }
    for place in places {
        std::fs::create_dir_all(place).expect("a folder");
        std::fs::write(place.join("tagalong.toml"), &text).expect("a file");
    }
}

async fn storm(database: Database) {
    let (dice, seed) = Dice::seeded_by("SEED");
    let asked = number("ROUNDS");
    println!("storm on {database:?}: SEED={seed} ROUNDS={}", asked.unwrap_or(ROUNDS));
    let mut storm = Storm::rising(dice, database).await;
    let (began, mut rounds) = (Instant::now(), 0);
    while rounds < asked.unwrap_or(ROUNDS) && (asked.is_some() || began.elapsed() < LONG_ENOUGH) {
        rounds += 1;
        storm.round(rounds).await;
    }
    println!(
        "storm on {database:?}: SEED={seed}, {rounds} rounds in {} s, {} orders accepted, {:?}",
        began.elapsed().as_secs(),
        storm.accepted.len(),
        storm.blows
    );
    assert!(!storm.accepted.is_empty(), "nothing was accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_keeps_its_promises() {
    storm(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_keep_their_promises() {
    storm(Database::Postgres).await;
}
