//! One service on several hosts: a control plane and an agent for each host, every one a process of its own with the world's stand-ins. The
//! lines are ssh, as the control plane believes; a stand-in for it starts `tagalong agent --stdio` of the host's world.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::cluster::Cluster;
use crate::cluster::Database;
use crate::support::Server;
use crate::support::host;
use crate::world::Settings;
use crate::world::World;

/// The stand-in for ssh: the last argument is the configuration of the host.
const SSH: &str = "#!/bin/sh\nfor last; do :; done\nhome=$(dirname \"$last\")\n\
    [ -e \"$home/line.down\" ] && { echo 'No route to host' >&2; exit 255; }\necho $$ > \"$home/ssh.pid\"\n\
    while [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n";

/// The names of the hosts, by their numbers.
const NAMES: [&str; 3] = ["micro", "macro", "third"];

/// A control plane and its hosts.
struct Fleet {
    hosts: Vec<World>,
    dir: tempfile::TempDir,
    control: Option<Server>,
}

impl Fleet {
    /// Of `many` hosts; `how` is what `[service.web]` says besides their names.
    async fn new(many: usize, how: &str, database: Database) -> Self {
        let mut hosts = vec![World::new(&Settings::default()).await];
        for _ in 1..many {
            let settings = Settings { registry: Some(hosts[0].registry()), ..Settings::default() };
            hosts.push(World::new(&settings).await);
        }
        let dir = tempfile::Builder::new().prefix("tagalong-").tempdir().expect("a folder");
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).expect("a folder");
        std::fs::write(bin.join("ssh"), SSH).expect("a file");
        std::fs::set_permissions(bin.join("ssh"), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let names: Vec<String> = NAMES[..many].iter().map(|name| format!("\"{name}\"")).collect();
        let mut text = format!(
            "version = 1\n[server]\nlisten = []\nsocket = \"s\"\ndata_dir = \"data\"\nlog_level = \"info\"\n\
             [docker]\nprogram = \"/bin/false\"\npath = \"{}:/usr/bin:/bin\"\n[service.web]\nhosts = [{}]\n{how}",
            bin.display(),
            names.join(", ")
        );
        for (name, world) in NAMES.iter().zip(&hosts) {
            text += &format!(
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
    async fn landed(many: usize, how: &str, database: Database) -> Self {
        let fleet = Self::new(many, how, database).await;
        fleet.land("v1").await;
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn control(&self) -> &Server {
        self.control.as_ref().expect("the control plane runs")
    }

    async fn start_control(&mut self) {
        self.control = Some(Server::start(self.dir.path()).await);
    }

    fn kill_control(&mut self) {
        self.control.take().expect("it runs").kill();
    }

    /// The control plane sees the service through all agents.
    async fn are_there(&self) {
        for _ in 0..600 {
            let (status, service) = self.control().get("/api/v1/services/web").await;
            if status == 200 && service["blocked"].is_null() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the agents do not come: {}", self.control().log());
    }

    /// The line to a host is down from now on.
    fn cut(&self, at: usize) {
        std::fs::write(self.hosts[at].path("line.down"), "").expect("a file");
        let pid = std::fs::read_to_string(self.hosts[at].path("ssh.pid")).expect("a pid");
        host("kill", &["-KILL", pid.trim()]);
    }

    fn mend(&self, at: usize) {
        std::fs::remove_file(self.hosts[at].path("line.down")).expect("a file");
    }

    async fn land(&self, tag: &str) -> String {
        let id = self.control().deploy(tag).await;
        let ended = self.control().outcome(&id).await;
        assert_eq!((&ended["outcome"], &ended["warnings"]), (&json!("live"), &json!([])), "{ended}\n{}", self.control().journal(&id).await);
        id
    }

    async fn outcome(&self, id: &str) -> Value {
        self.control().outcome(id).await
    }

    /// What runs on each host.
    fn running(&self) -> Vec<String> {
        self.hosts.iter().map(World::running).collect()
    }

    /// Whether a rollback holds the service, on any host or here.
    async fn is_held(&self) -> bool {
        for world in &self.hosts {
            if world.hold().await.is_some() {
                return true;
            }
        }
        !self.control().get("/api/v1/services/web").await.1["held"].is_null()
    }

    /// The runs of a deployment: host, whether it goes back, and how it ended.
    async fn runs(&self, id: &str) -> Vec<(String, bool, String)> {
        let shown = self.control().show(id).await;
        let hosts = shown["hosts"].as_array().unwrap_or_else(|| panic!("no hosts in {shown}"));
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        hosts.iter().map(|run| (text(&run["host"]), run["goes_back"] == true, text(&run["ended"]["outcome"]))).collect()
    }

    /// What must hold at the end of each test: all has ended on every side, what runs is what is recorded, no host was told anything twice, and
    /// each run is told once in the journal.
    async fn finish(self) {
        let (_, all) = self.control().get("/api/v1/deployments?limit=100").await;
        for one in all["deployments"].as_array().expect("a list") {
            assert_eq!(one["state"], "done", "{one}");
            let id = one["id"].as_str().expect("an id");
            let journal = self.control().journal(id).await;
            for (host, goes_back, ended) in self.runs_if_any(id).await {
                assert_ne!(ended, "-", "{host} {goes_back}: {journal}");
            }
        }
        let (_, service) = self.control().get("/api/v1/services/web").await;
        for (at, world) in self.hosts.iter().enumerate() {
            let recorded = &service["hosts"][at];
            assert_eq!(recorded["host"], NAMES[at], "{service}");
            let (_, there) = world.server().get("/api/v1/services/web").await;
            assert_eq!(there["standing"]["word"], "ok", "{there}");
            if let Some(tag) = recorded["tag"].as_str() {
                assert_eq!(world.running(), tag, "{service}");
            }
        }
        for world in self.hosts {
            world.finish().await;
        }
    }

    async fn runs_if_any(&self, id: &str) -> Vec<(String, bool, String)> {
        if self.control().show(id).await["hosts"].is_array() { self.runs(id).await } else { Vec::new() }
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
    // What was ordered meanwhile is carried out, and so is what comes later.
    fleet.land("v3").await;
    assert_eq!(fleet.running(), ["v3", "v3", "v3"]);
    fleet.control.as_ref().expect("it runs");
    let runs = fleet.runs(&id).await;
    assert_eq!(runs.len(), 4);
    // The third was not come to; its run never begins.
    assert_eq!(fleet.hosts[2].server().get(&format!("/api/v1/deployments/{id}")).await.0, 404);
}
