//! One service on several hosts: a control plane and an agent for each host, every one a process of its own with the world's stand-ins. The
//! lines are ssh, as the control plane believes; a stand-in for it starts `tagalong agent --stdio` of the host's world.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::cluster::Cluster;
use crate::cluster::Database;
use crate::support::Server;
use crate::support::host;
use crate::support::until;
use crate::world::Settings;
use crate::world::World;

/// The stand-in for ssh: the last argument is the configuration of the host.
const SSH: &str = "#!/bin/sh\nfor last; do :; done\nhome=$(dirname \"$last\")\n\
    [ -e \"$home/line.down\" ] && { echo 'No route to host' >&2; exit 255; }\necho $$ > \"$home/ssh.pid.new\"\n\
    mv \"$home/ssh.pid.new\" \"$home/ssh.pid\"\n\
    while [ \"$1\" != -- ]; do shift; done\nshift\n[ -d \"$home/wire\" ] && exec WIRE \"$home\" \"$@\"\nexec \"$@\"\n";

/// The names of the hosts, by their numbers.
pub(crate) const NAMES: [&str; 3] = ["micro", "macro", "third"];

/// A control plane and its hosts.
pub(crate) struct Fleet {
    pub(crate) hosts: Vec<World>,
    pub(crate) dir: tempfile::TempDir,
    control: Option<Server>,
}

impl Fleet {
    /// Of `many` hosts; `how` is what `[service.web]` says besides their names.
    pub(crate) async fn new(many: usize, how: &str, database: Database) -> Self {
        let mut hosts = vec![World::new(&Settings::default()).await];
        for _ in 1..many {
            let settings = Settings { registry: Some(hosts[0].registry()), ..Settings::default() };
            hosts.push(World::new(&settings).await);
        }
        let dir = tempfile::Builder::new().prefix("tagalong-").tempdir().expect("a folder");
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).expect("a folder");
        let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/wire.py");
        std::fs::write(bin.join("ssh"), SSH.replace("WIRE", &wire.display().to_string())).expect("a file");
        std::fs::set_permissions(bin.join("ssh"), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let names: Vec<String> = NAMES[..many].iter().map(|name| format!("\"{name}\"")).collect();
        let mut text = format!(
            "version = 1\n[server]\nlisten = []\nsocket = \"s\"\ndata_dir = \"data\"\nlog_level = \"info\"\n\
             [docker]\nprogram = \"/bin/false\"\npath = \"{}:/usr/bin:/bin\"\n[service.web]\nhosts = [{}]\n{how}",
            bin.display(),
            names.join(", ")
        );
        for (name, world) in NAMES.iter().zip(&hosts) {
            let _ = write!(
                text,
                "[host.{name}]\naddress = \"root@127.0.0.1\"\nhost_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx\"\nprogram = \"{}\"\nconfig = \"{}\"\n",
                env!("CARGO_BIN_EXE_tagalong"),
                world.path("tagalong.toml").display()
            );
        }
        if let Database::Postgres = database {
            std::fs::write(dir.path().join("postgres.url"), Cluster::new_database().await).expect("a file");
            text += "[store]\npostgres_url_file = \"postgres.url\"\nlease_s = 8\n";
        }
        std::fs::write(dir.path().join("tagalong.toml"), text).expect("a file");
        let mut fleet = Self { hosts, dir, control: None };
        fleet.start_control().await;
        fleet.are_there().await;
        fleet
    }

    /// One in which v1 is live on all hosts.
    pub(crate) async fn landed(many: usize, how: &str, database: Database) -> Self {
        let fleet = Self::new(many, how, database).await;
        fleet.land("v1").await;
        fleet
    }

    pub(crate) fn control(&self) -> &Server {
        self.control.as_ref().expect("the control plane runs")
    }

    pub(crate) async fn start_control(&mut self) {
        self.control = Some(Server::start(self.dir.path()).await);
    }

    fn kill_control(&mut self) {
        self.control.take().expect("it runs").kill();
    }

    /// The control plane sees the service through all agents.
    pub(crate) async fn are_there(&self) {
        for _ in 0..1200 {
            let (status, service) = self.control().get("/api/v1/services/web").await;
            if status == 200 && service["blocked"].is_null() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the agents do not come: {}", self.control().log());
    }

    /// The service once it stands like that; its hosts are asked, and one may be busy.
    async fn stands(&self, word: &str) -> Value {
        let mut service = Value::Null;
        for _ in 0..1200 {
            service = self.control().get("/api/v1/services/web").await.1;
            if service["standing"]["word"] == word {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        service
    }

    /// The line to a host is down from now on.
    pub(crate) fn cut(&self, at: usize) {
        std::fs::write(self.hosts[at].path("line.down"), "").expect("a file");
        let pid = std::fs::read_to_string(self.hosts[at].path("ssh.pid")).expect("a pid");
        // It may have ended by itself just now.
        host("sh", &["-c", &format!("kill -KILL {} || true", pid.trim())]);
    }

    pub(crate) fn mend(&self, at: usize) {
        std::fs::remove_file(self.hosts[at].path("line.down")).expect("a file");
    }

    /// An agent's server is killed while it waits at `point`, and started again. Meanwhile no line to it is made: `agent --stdio` starts a
    /// server where none runs, and that would have the data folder.
    async fn restart_agent(&mut self, at: usize, point: &str) {
        std::fs::write(self.hosts[at].path("line.down"), "").expect("a file");
        self.hosts[at].kill();
        self.hosts[at].disarm(point);
        self.hosts[at].start().await;
        self.mend(at);
    }

    /// The control plane knows that an agent is away.
    pub(crate) async fn until_away(&self, name: &str) {
        let is_away = |log: String| {
            log.lines().rfind(|line| line.contains(name) && line.contains("an agent is")).is_some_and(|line| line.contains("away"))
        };
        until("the agent is away", || is_away(self.control().log())).await;
    }

    pub(crate) async fn land(&self, tag: &str) -> String {
        let id = self.control().deploy(tag).await;
        let ended = self.control().outcome(&id).await;
        assert_eq!((&ended["outcome"], &ended["warnings"]), (&json!("live"), &json!([])), "{ended}\n{}", self.control().journal(&id).await);
        id
    }

    pub(crate) async fn outcome(&self, id: &str) -> Value {
        self.control().outcome(id).await
    }

    /// What runs on each host.
    pub(crate) fn running(&self) -> Vec<String> {
        self.hosts.iter().map(World::running).collect()
    }

    /// Whether a rollback holds the service, on any host or here.
    pub(crate) async fn is_held(&self) -> bool {
        for world in &self.hosts {
            if world.hold().await.is_some() {
                return true;
            }
        }
        !self.control().get("/api/v1/services/web").await.1["held"].is_null()
    }

    /// The runs of a deployment: host, whether it goes back, and how it ended.
    pub(crate) async fn runs(&self, id: &str) -> Vec<(String, bool, String)> {
        let shown = self.control().show(id).await;
        let hosts = shown["hosts"].as_array().unwrap_or_else(|| panic!("no hosts in {shown}"));
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        hosts.iter().map(|run| (text(&run["host"]), run["goes_back"] == true, text(&run["ended"]["outcome"]))).collect()
    }

    /// What must hold at the end of each test: all has ended on every side, what runs is what is recorded, and each run is told once in the
    /// journal.
    pub(crate) async fn finish(self) {
        let (_, all) = self.control().get("/api/v1/deployments?limit=100").await;
        for one in all["deployments"].as_array().expect("a list") {
            assert_eq!(one["state"], "done", "{one}");
            let id = one["id"].as_str().expect("an id");
            let shown = self.control().show(id).await;
            let journal = self.control().journal(id).await;
            for run in shown["hosts"].as_array().into_iter().flatten().filter(|run| run["run"].is_number()) {
                assert_eq!(run["state"], "done", "{run}");
                let last = format!("{}: {}", run["host"].as_str().expect("a host"), run["summary"].as_str().expect("a summary"));
                let told = journal.lines().filter(|line| line.ends_with(&last) && !line.contains(" *** ")).count();
                let same = shown["hosts"].as_array().into_iter().flatten();
                let same = same.filter(|other| other["host"] == run["host"] && other["summary"] == run["summary"]).count();
                assert_eq!(told, same, "{last}: {journal}");
            }
        }
        let (_, service) = self.control().get("/api/v1/services/web").await;
        for (at, world) in self.hosts.iter().enumerate() {
            let recorded = &service["hosts"][at];
            assert_eq!(recorded["host"], NAMES[at], "{service}");
            let (_, there) = world.server().get("/api/v1/services/web").await;
            assert_eq!(there["standing"]["word"], "ok", "{there}");
            let last = &there["live"]["tag"];
            assert_eq!(json!(world.running()), *last, "{there}");
        }
        for world in self.hosts {
            world.finish_while_watched().await;
        }
    }

    /// Tells the control plane to stop a deployment.
    async fn cancel(&self, id: &str) {
        let (status, answer) = self.control().post(&format!("/api/v1/deployments/{id}/cancel"), json!({})).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The control plane is killed, and another one takes its place.
    pub(crate) async fn restart_control(&mut self) {
        self.kill_control();
        self.start_control().await;
    }
}

fn run(host: &str, goes_back: bool, ended: &str) -> (String, bool, String) {
    (host.to_owned(), goes_back, ended.to_owned())
}

#[tokio::test]
async fn a_release_goes_to_one_host_after_the_other() {
    let fleet = Fleet::new(2, "", Database::Sqlite).await;
    fleet.hosts[1].arm("up@v1", "hang");
    let id = fleet.control().deploy("v1").await;
    fleet.hosts[1].reached("up@v1").await;
    assert_eq!(fleet.runs(&id).await, [run("micro", false, "live"), run("macro", false, "-")]);
    assert_eq!(fleet.control().show(&id).await["state"], "running");
    fleet.hosts[1].disarm("up@v1");
    let ended = fleet.outcome(&id).await;
    assert_eq!((&ended["outcome"], &ended["verified"]), (&json!("live"), &json!(true)), "{ended}\n{}", fleet.control().journal(&id).await);
    assert_eq!(fleet.running(), ["v1", "v1"]);
    let journal = fleet.control().journal(&id).await;
    for line in ["micro: host 1 of 2", "micro: live: verified", "macro: host 2 of 2", "macro: live: verified"] {
        assert_eq!(journal.matches(line).count(), 1, "{line}: {journal}");
    }
    fleet.land("v2").await;
    let back = fleet.control().roll_back(json!("previous")).await;
    assert_eq!(fleet.outcome(&back).await["outcome"], "live", "{}", fleet.control().journal(&back).await);
    assert_eq!(fleet.running(), ["v1", "v1"]);
    assert!(fleet.is_held().await);
    let (status, answer) = fleet.control().post("/api/v1/services/web/resume", json!({})).await;
    assert_eq!(status, 200, "{answer}");
    assert!(!fleet.is_held().await);
    fleet.finish().await;
}

#[tokio::test]
async fn a_rollout_stops_at_the_first_host_that_does_not_hold_and_brings_the_others_back() {
    let fleet = Fleet::landed(3, "", Database::Sqlite).await;
    fleet.hosts[1].arm("page@v2", "fail");
    let id = fleet.control().deploy("v2").await;
    let ended = fleet.outcome(&id).await;
    assert_eq!(ended["outcome"], "rolled_back", "{ended}\n{}", fleet.control().journal(&id).await);
    let expected = [run("micro", false, "live"), run("macro", false, "rolled_back"), run("micro", true, "live"), run("third", false, "-")];
    assert_eq!(fleet.runs(&id).await, expected);
    assert_eq!(fleet.running(), ["v1", "v1", "v1"]);
    let why = ended["why"].as_str().expect("a reason");
    assert!(why.contains("macro: rolled back") && why.contains("brought back: micro") && why.contains("not begun on third"), "{why}");
    assert!(!fleet.is_held().await, "nothing is held for what a rollout takes back by itself");
    // What comes later is carried out everywhere.
    fleet.land("v3").await;
    assert_eq!(fleet.running(), ["v3", "v3", "v3"]);
    // The third was not come to: it never heard of it.
    assert_eq!(fleet.hosts[2].server().get(&format!("/api/v1/deployments/{id}")).await.0, 404);
    fleet.finish().await;
}

/// What is ordered while a rollout is at work waits for it, and is not refused for what brought a host back.
#[tokio::test]
async fn an_order_that_came_meanwhile_follows_on_every_host() {
    let fleet = Fleet::landed(2, "", Database::Sqlite).await;
    fleet.hosts[1].arm("page@v2", "hang");
    let first = fleet.control().deploy("v2").await;
    fleet.hosts[1].reached("page@v2").await;
    let second = fleet.control().deploy("v3").await;
    fleet.hosts[1].arm("page@v2", "fail");
    assert_eq!(fleet.outcome(&first).await["outcome"], "rolled_back");
    let ended = fleet.outcome(&second).await;
    assert_eq!(ended["outcome"], "live", "{ended}\n{}", fleet.control().journal(&second).await);
    assert_eq!(fleet.running(), ["v3", "v3"]);
    fleet.finish().await;
}

#[tokio::test]
async fn hosts_keep_a_release_where_that_is_asked_for_and_the_outcome_says_which() {
    let fleet = Fleet::landed(3, "on_partial = \"keep\"\n", Database::Sqlite).await;
    fleet.hosts[1].arm("page@v2", "fail");
    let id = fleet.control().deploy("v2").await;
    let ended = fleet.outcome(&id).await;
    assert_eq!(ended["outcome"], "needs_operator", "{ended}\n{}", fleet.control().journal(&id).await);
    let why = ended["why"].as_str().expect("a reason");
    for words in ["macro: rolled back", "the release is live on micro (on_partial = \"keep\")", "not begun on third"] {
        assert!(why.contains(words), "{words}: {why}");
    }
    assert_eq!(fleet.running(), ["v2", "v1", "v1"]);
    let service = fleet.stands("drift").await;
    assert_eq!(service["standing"]["word"], "drift", "{service}");
    let why = service["standing"]["why"].as_str().expect("a reason");
    assert!(why.contains("micro has v2, macro has v1, third has v1"), "{why}");
    assert_eq!(service["live"]["tag"], "v1", "what is not on all hosts is not live: {service}");
    // A retry takes all of them to it.
    fleet.hosts[1].disarm("page@v2");
    let (status, answer) = fleet.control().post("/api/v1/services/web/resume", json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let again = fleet.control().order(&format!("/api/v1/deployments/{id}/retry"), json!({})).await;
    assert_eq!(fleet.outcome(&again).await["outcome"], "live", "{}", fleet.control().journal(&again).await);
    assert_eq!(fleet.running(), ["v2", "v2", "v2"]);
    fleet.finish().await;
}

#[tokio::test]
async fn a_cancel_stops_a_rollout_and_what_it_has_done_is_taken_back() {
    let fleet = Fleet::landed(3, "", Database::Sqlite).await;
    fleet.hosts[1].arm("up@v2", "hang");
    let id = fleet.control().deploy("v2").await;
    fleet.hosts[1].reached("up@v2").await;
    fleet.cancel(&id).await;
    let ended = fleet.outcome(&id).await;
    assert_eq!(
        (&ended["outcome"], &ended["changed"], &ended["brought_back"]),
        (&json!("cancelled"), &json!(true), &json!(true)),
        "{ended}\n{}",
        fleet.control().journal(&id).await
    );
    assert_eq!(fleet.running(), ["v1", "v1", "v1"]);
    fleet.hosts[1].disarm("up@v2");
    fleet.finish().await;
}

/// A rollback takes over: it waits until what was done is taken back, and then goes to every host.
#[tokio::test]
async fn a_rollback_takes_over_from_a_rollout() {
    let fleet = Fleet::landed(2, "", Database::Sqlite).await;
    fleet.land("v2").await;
    fleet.hosts[1].arm("up@v3", "hang");
    let id = fleet.control().deploy("v3").await;
    fleet.hosts[1].reached("up@v3").await;
    let back = fleet.control().roll_back(json!({"tag": "v1"})).await;
    assert_eq!(fleet.outcome(&id).await["outcome"], "cancelled");
    let ended = fleet.outcome(&back).await;
    assert_eq!(ended["outcome"], "live", "{ended}\n{}", fleet.control().journal(&back).await);
    assert_eq!(fleet.running(), ["v1", "v1"]);
    assert!(fleet.is_held().await);
    fleet.hosts[1].disarm("up@v3");
    fleet.finish().await;
}

/// The first host is alone; then two at a time.
#[tokio::test]
async fn a_wave_goes_to_several_hosts_at_once_and_stops_with_its_last() {
    let fleet = Fleet::landed(3, "at_once = 2\n", Database::Sqlite).await;
    for at in [1, 2] {
        fleet.hosts[at].arm("up@v2", "hang");
    }
    let id = fleet.control().deploy("v2").await;
    for at in [1, 2] {
        fleet.hosts[at].reached("up@v2").await;
    }
    // One of the wave does not hold; the other holds and is brought back with the first.
    fleet.hosts[1].arm("up@v2", "fail");
    fleet.hosts[2].disarm("up@v2");
    let ended = fleet.outcome(&id).await;
    assert_eq!(ended["outcome"], "rolled_back", "{ended}\n{}", fleet.control().journal(&id).await);
    assert_eq!(fleet.running(), ["v1", "v1", "v1"]);
    assert_eq!(fleet.runs(&id).await.iter().filter(|(_, goes_back, ended)| *goes_back && ended == "live").count(), 2);
    fleet.finish().await;
}

#[tokio::test]
async fn a_dry_run_asks_every_host_and_changes_none() {
    let fleet = Fleet::landed(2, "", Database::Sqlite).await;
    let order = async |tag: &str| {
        let id = fleet.control().order("/api/v1/deployments", json!({"service": "web", "tag": tag, "dry_run": true})).await;
        fleet.outcome(&id).await
    };
    let fine = order("v2").await;
    assert_eq!(fine["outcome"], "dry_run", "{fine}");
    let would = fine["would_pin"].as_str().expect("a plan");
    assert!(would.contains("micro: ") && would.contains("macro: "), "{would}");
    let wrong = order("v99").await;
    assert_eq!((&wrong["outcome"], &wrong["guard"]), (&json!("refused"), &json!("not_found")), "{wrong}");
    let why = wrong["why"].as_str().expect("a reason");
    assert!(why.contains("micro: ") && why.contains("macro: "), "{why}");
    assert_eq!(fleet.running(), ["v1", "v1"]);
    fleet.finish().await;
}

/// Before the rollout, a host that is away is waited for; in the middle of it too, as long as `max_wait_s` says.
#[tokio::test]
async fn a_host_that_is_away_is_waited_for_and_then_counts_as_one_that_does_not_hold() {
    let fleet = Fleet::landed(2, "max_wait_s = 30\n", Database::Sqlite).await;
    fleet.cut(1);
    fleet.until_away("macro").await;
    let id = fleet.control().deploy("v2").await;
    let mut shown = fleet.control().show(&id).await;
    while shown["waits_for"] != "host" {
        assert_eq!(shown["state"], "waiting", "{shown}");
        shown = fleet.control().show(&id).await;
    }
    assert!(shown["waits_why"].as_str().is_some_and(|why| why.contains("the agent macro has been away for")), "{shown}");
    assert_eq!(fleet.running(), ["v1", "v1"]);
    fleet.mend(1);
    assert_eq!(fleet.outcome(&id).await["outcome"], "live");
    // It goes away while the first host is at work, and does not come back.
    fleet.hosts[0].arm("up@v3", "hang");
    let id = fleet.control().deploy("v3").await;
    fleet.hosts[0].reached("up@v3").await;
    fleet.cut(1);
    fleet.until_away("macro").await;
    fleet.hosts[0].disarm("up@v3");
    let ended = fleet.outcome(&id).await;
    assert_eq!(ended["outcome"], "rolled_back", "{ended}\n{}", fleet.control().journal(&id).await);
    assert!(ended["why"].as_str().is_some_and(|why| why.contains("away for") && why.contains("max_wait_s = 30")), "{ended}");
    assert_eq!(fleet.running(), ["v2", "v2"]);
    assert_eq!(fleet.hosts[1].server().get(&format!("/api/v1/deployments/{id}")).await.0, 404);
    fleet.mend(1);
    fleet.are_there().await;
    fleet.finish().await;
}

/// The control plane is killed at each point of a rollout; the next one goes on where it was.
async fn a_rollout_survives_its_control_plane(database: Database) {
    let mut fleet = Fleet::landed(2, "", database).await;
    // While it is at the first host, and at the second.
    for (at, tag) in [(0, "v2"), (1, "v3")] {
        let point = format!("up@{tag}");
        fleet.hosts[at].arm(&point, "hang");
        let id = fleet.control().deploy(tag).await;
        fleet.hosts[at].reached(&point).await;
        fleet.restart_control().await;
        fleet.hosts[at].disarm(&point);
        let ended = fleet.outcome(&id).await;
        assert_eq!(ended["outcome"], "live", "{at} {ended}\n{}", fleet.control().journal(&id).await);
        assert_eq!(fleet.runs(&id).await.len(), 2);
        assert_eq!(fleet.running(), [tag, tag]);
    }
    // Between two hosts: the first has ended while nobody was there to hear it.
    fleet.hosts[0].arm("up@v4", "hang");
    let id = fleet.control().deploy("v4").await;
    fleet.hosts[0].reached("up@v4").await;
    fleet.kill_control();
    fleet.hosts[0].disarm("up@v4");
    assert_eq!(fleet.hosts[0].server().outcome(&id).await["outcome"], "live");
    fleet.start_control().await;
    assert_eq!(fleet.outcome(&id).await["outcome"], "live", "{}", fleet.control().journal(&id).await);
    // While the first is brought back.
    fleet.hosts[1].arm("page@v5", "fail");
    fleet.hosts[0].arm("up@v4", "hang");
    fleet.hosts[0].forget("up@v4");
    let id = fleet.control().deploy("v5").await;
    fleet.hosts[0].reached("up@v4").await;
    fleet.restart_control().await;
    fleet.hosts[0].disarm("up@v4");
    let ended = fleet.outcome(&id).await;
    assert_eq!(ended["outcome"], "rolled_back", "{ended}\n{}", fleet.control().journal(&id).await);
    assert_eq!(fleet.runs(&id).await, [run("micro", false, "live"), run("macro", false, "rolled_back"), run("micro", true, "live")]);
    assert_eq!(fleet.running(), ["v4", "v4"]);
    fleet.hosts[1].disarm("page@v5");
    fleet.finish().await;
}

#[tokio::test]
async fn a_rollout_survives_its_control_plane_on_sqlite() {
    a_rollout_survives_its_control_plane(Database::Sqlite).await;
}

#[tokio::test]
async fn a_rollout_survives_its_control_plane_on_postgres() {
    a_rollout_survives_its_control_plane(Database::Postgres).await;
}

/// What runs is taken over on every host, is repaired on every host, and what somebody does on one of them alone is told.
#[tokio::test]
async fn adoption_repair_and_what_one_host_does_by_itself() {
    let fleet = Fleet::new(2, "", Database::Sqlite).await;
    for world in &fleet.hosts {
        world.land("v1").await;
    }
    let adopted = fleet.control().order("/api/v1/services/web/adopt", json!({})).await;
    let ended = fleet.outcome(&adopted).await;
    assert_eq!(ended["outcome"], "live", "{ended}\n{}", fleet.control().journal(&adopted).await);
    assert_eq!(fleet.runs(&adopted).await, [run("micro", false, "live"), run("macro", false, "live")]);
    fleet.hosts[1].end_web();
    let repaired = fleet.control().order("/api/v1/services/web/repair", json!({})).await;
    assert_eq!(fleet.outcome(&repaired).await["outcome"], "live", "{}", fleet.control().journal(&repaired).await);
    assert_eq!(fleet.hosts[1].containers()["web"]["state"], "running");
    // One host deploys by itself.
    fleet.hosts[1].land("v2").await;
    let service = fleet.stands("drift").await;
    assert!(service["standing"]["why"].as_str().is_some_and(|why| why.contains("micro has v1, macro has v2")), "{service}");
    assert_eq!(service["live"]["tag"], "v1", "{service}");
    // Both get what was live on all of them.
    let back = fleet.control().roll_back(json!("previous")).await;
    assert_eq!(fleet.outcome(&back).await["outcome"], "live", "{}", fleet.control().journal(&back).await);
    assert_eq!(fleet.running(), ["v1", "v1"]);
    fleet.finish().await;
}

/// An agent is killed while it lands the release, and while it is brought back.
#[tokio::test]
async fn an_agent_that_is_killed_goes_on_with_its_part() {
    let mut fleet = Fleet::landed(2, "", Database::Sqlite).await;
    for point in ["pull@v2", "up@v2"] {
        fleet.hosts[1].arm(point, "hang");
    }
    let id = fleet.control().deploy("v2").await;
    for point in ["pull@v2", "up@v2"] {
        fleet.hosts[1].reached(point).await;
        fleet.restart_agent(1, point).await;
    }
    assert_eq!(fleet.outcome(&id).await["outcome"], "live", "{}", fleet.control().journal(&id).await);
    fleet.hosts[1].arm("page@v3", "fail");
    fleet.hosts[0].arm("up@v2", "hang");
    let id = fleet.control().deploy("v3").await;
    fleet.hosts[0].reached("up@v2").await;
    fleet.restart_agent(0, "up@v2").await;
    assert_eq!(fleet.outcome(&id).await["outcome"], "rolled_back", "{}", fleet.control().journal(&id).await);
    assert_eq!(fleet.running(), ["v2", "v2"]);
    fleet.finish().await;
}

#[tokio::test]
async fn a_host_that_nobody_knows_and_one_that_is_not_named_are_said_by_name() {
    let fleet = Fleet::landed(2, "", Database::Sqlite).await;
    let file = fleet.dir.path().join("tagalong.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    let with = async |hosts: &str, words: &str| {
        std::fs::write(&file, text.replace("hosts = [\"micro\", \"macro\"]", hosts)).expect("a file");
        host("kill", &["-HUP", &fleet.control().pid().to_string()]);
        for _ in 0..2400 {
            let (_, agents) = fleet.control().get("/api/v1/agents").await;
            if agents["problems"].as_array().is_some_and(|all| all.iter().any(|one| one == words)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{words} is not said: {}", fleet.control().get("/api/v1/agents").await.1);
    };
    let unknown = "web has the host nobody, which is neither an enrolled agent nor a [host.nobody] of the configuration; run `tagalong agent token nobody` \
                   and enrol it, or correct hosts in [service.web].";
    with("hosts = [\"micro\", \"nobody\"]", unknown).await;
    let (status, answer) = fleet.control().post("/api/v1/deployments", json!({"service": "web", "tag": "v2"})).await;
    assert_eq!((status, &answer["code"], &answer["detail"]), (409, &json!("unknown_host"), &json!(unknown)), "{answer}");
    let second = "The service web of the agent macro is not taken, because it stands on the host of micro; give it another name there, or write \
                  hosts = [\"micro\", \"macro\"] in [service.web] here, if it is one service on all of them.";
    with("hosts = [\"micro\"]", second).await;
    std::fs::write(&file, &text).expect("a file");
    host("kill", &["-HUP", &fleet.control().pid().to_string()]);
    until("both are taken", || fleet.control().log().matches("the configuration was read again").count() >= 3).await;
    fleet.are_there().await;
    fleet.finish().await;
}
