//! A control plane and an agent: two processes over a line, the world's stand-ins at the agent's side. The line is ssh, as the control
//! plane believes; a stand-in for it starts `tagalong agent --stdio` of the world.

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use serde_json::Value;
use serde_json::json;

use crate::control::Over;
use crate::control::write_stdio;
use crate::support::Server;
use crate::support::host;
use crate::support::until;
use crate::world::Settings;
use crate::world::World;

/// A world whose tagalong is an agent, and its control plane.
pub(crate) struct Fleet {
    pub(crate) world: World,
    dir: tempfile::TempDir,
    control: Option<Server>,
    /// How often the agent had come when both sides were looked at last.
    came: AtomicUsize,
}

impl Fleet {
    pub(crate) async fn new(settings: &Settings, service: &str) -> Self {
        let world = World::new(settings).await;
        let dir = tempfile::Builder::new().prefix("tagalong-").tempdir().expect("a folder");
        write_stdio(dir.path(), &world.path("tagalong.toml"), service);
        let mut fleet = Self { world, dir, control: None, came: AtomicUsize::new(0) };
        fleet.start_control().await;
        fleet.is_there().await;
        fleet
    }

    /// One in which v1 has been landed by the agent.
    pub(crate) async fn landed() -> Self {
        let fleet = Self::new(&Settings::default(), "").await;
        fleet.land("v1").await;
        fleet
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn control(&self) -> &Server {
        self.control.as_ref().expect("the control plane runs")
    }

    pub(crate) async fn start_control(&mut self) {
        self.control = Some(Server::start(self.dir.path()).await);
    }

    pub(crate) fn kill_control(&mut self) {
        self.control.take().expect("it runs").kill();
    }

    /// Ends the agent's server by SIGKILL. No new line is made until [`Fleet::start_agent`]: `agent --stdio` starts a server where none runs,
    /// and that would have the data folder by then.
    pub(crate) fn kill_agent(&mut self) {
        std::fs::write(self.path("down"), "").expect("a file");
        self.world.kill();
    }

    /// The same by SIGTERM.
    pub(crate) fn stop_agent(&mut self) {
        std::fs::write(self.path("down"), "").expect("a file");
        self.world.stop();
    }

    pub(crate) async fn start_agent(&mut self) {
        self.world.start().await;
        self.mend();
    }

    /// The control plane sees the service through its agent.
    pub(crate) async fn is_there(&self) {
        for _ in 0..1200 {
            let (status, service) = self.control().get("/api/v1/services/web").await;
            if status == 200 && service["blocked"].is_null() {
                self.came.store(self.times_here(), Ordering::Relaxed);
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("the agent does not come: {}\n{}", self.control().log(), self.world.server().log());
    }

    /// How often the agent has come.
    fn times_here(&self) -> usize {
        self.control().log().matches("an agent is there").count()
    }

    /// The same after one side was away: by a line that was not there before, since the control plane may not have seen yet that the older
    /// one has ended.
    pub(crate) async fn is_there_again(&self) {
        let before = self.came.load(Ordering::Relaxed);
        until("the agent comes again", || self.times_here() > before).await;
        self.is_there().await;
    }

    /// What happens from now on to frames at this point, as `wire.py` says.
    pub(crate) fn at_wire(&self, point: &str, what: &str) {
        let fresh = self.path("wire/.fresh");
        std::fs::write(&fresh, what).expect("a file");
        std::fs::rename(fresh, self.path("wire").join(point)).expect("a file");
    }

    /// Nothing happens there any more.
    pub(crate) fn leave_wire(&self, point: &str) {
        let _ = std::fs::remove_file(self.path("wire").join(point));
        let _ = std::fs::remove_file(self.path("met").join(point));
    }

    /// Waits until it has happened.
    pub(crate) async fn met(&self, point: &str) {
        until(&format!("{point} is met"), || self.path("met").join(point).exists()).await;
    }

    /// The line is down from now on.
    pub(crate) fn cut(&self) {
        std::fs::write(self.path("down"), "").expect("a file");
        let pid = std::fs::read_to_string(self.path("ssh.pid")).expect("a pid");
        // It may have ended by itself just now.
        host("sh", &["-c", &format!("kill -KILL {} || true", pid.trim())]);
    }

    pub(crate) fn mend(&self) {
        std::fs::remove_file(self.path("down")).expect("a file");
    }

    pub(crate) async fn land(&self, tag: &str) -> String {
        let id = self.control().deploy(tag).await;
        let ended = self.control().outcome(&id).await;
        assert_eq!((&ended["outcome"], &ended["warnings"]), (&json!("live"), &json!([])), "{ended}\n{}", self.control().journal(&id).await);
        id
    }

    /// The outcome that both sides have, whose journals are the same line by line.
    pub(crate) async fn agreed(&self, id: &str) -> Value {
        let there = self.control().outcome(id).await;
        let here = self.world.server().outcome(id).await;
        for key in ["outcome", "why", "images", "verified", "ran_before", "tag", "guard"] {
            assert_eq!(there[key], here[key], "{key}: {there} {here}");
        }
        let mut own = Vec::new();
        let mut copied = Vec::new();
        for _ in 0..3000 {
            // Lines may follow an outcome.
            own = self.lines(&self.world.path("data/tagalong.db"), id, "run = 1").await;
            copied = self.lines(&self.path("data/tagalong.db"), id, "run = 1").await;
            if copied == own {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(copied, own);
        self.came.store(self.times_here(), Ordering::Relaxed);
        there
    }

    /// Number, step, kind and text of the lines, as they were stored one after the other.
    async fn lines(&self, file: &std::path::Path, id: &str, which: &str) -> Vec<(i64, String, String, String)> {
        use sqlx::Connection as _;
        use sqlx::Row as _;
        sqlx::any::install_default_drivers();
        let mut database = sqlx::AnyConnection::connect(&format!("sqlite://{}", file.display())).await.expect("the database");
        let sql = format!("SELECT seq, step, kind, text FROM lines WHERE deployment = '{id}' AND {which} ORDER BY position");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut database).await.expect("an answer");
        let mut last = 0;
        let line = |row: &sqlx::any::AnyRow| {
            let seq: i64 = row.get("seq");
            assert!(seq > last, "{seq} comes behind {last}");
            last = seq;
            (seq, row.get("step"), row.get("kind"), row.get("text"))
        };
        rows.iter().map(line).collect()
    }

    pub(crate) async fn finish(self) {
        let (_, all) = self.control().get("/api/v1/deployments?limit=100").await;
        for one in all["deployments"].as_array().expect("a list") {
            assert_eq!(one["state"], "done", "{one}");
        }
        self.world.finish_while_watched().await;
    }
}

#[tokio::test]
async fn an_agent_lands_what_its_control_plane_orders_and_both_tell_the_same() {
    let fleet = Fleet::new(&Settings::default(), "").await;
    let id = fleet.land("v1").await;
    fleet.agreed(&id).await;
    assert_eq!(fleet.world.running(), "v1");
    let here = fleet.world.server().show(&id).await;
    assert_eq!(here["caller"], "local:0 on control");
    let (_, service) = fleet.control().get("/api/v1/services/web").await;
    assert_eq!((&service["standing"]["word"], service["containers"].as_array().map(Vec::len)), (&json!("ok"), Some(3)), "{service}");
    let second = fleet.land("v2").await;
    fleet.agreed(&second).await;
    let back = fleet.control().roll_back(json!("previous")).await;
    assert_eq!(fleet.agreed(&back).await["outcome"], "live");
    assert_eq!((fleet.world.running(), fleet.world.env()), ("v1".to_owned(), fleet.world.env_of("v1")));
    fleet.finish().await;
}

#[tokio::test]
async fn a_release_that_fails_is_undone_and_a_cancel_reaches_the_host() {
    let fleet = Fleet::landed().await;
    fleet.world.arm("page@v2", "fail");
    let id = fleet.control().deploy("v2").await;
    assert_eq!(fleet.agreed(&id).await["outcome"], "rolled_back");
    assert_eq!(fleet.world.running(), "v1");
    fleet.world.arm("up@v3", "hang");
    let id = fleet.control().deploy("v3").await;
    fleet.world.reached("up@v3").await;
    let (status, answer) = fleet.control().post(&format!("/api/v1/deployments/{id}/cancel"), json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let ended = fleet.control().outcome(&id).await;
    assert_eq!(
        (&ended["outcome"], &ended["changed"], &ended["brought_back"]),
        (&json!("cancelled"), &json!(true), &json!(true)),
        "{ended}"
    );
    assert_eq!(fleet.world.running(), "v1");
    fleet.world.disarm("up@v3");
    fleet.finish().await;
}

#[tokio::test]
async fn what_an_agent_has_accepted_it_finishes_alone_and_tells_afterwards() {
    let mut fleet = Fleet::landed().await;
    // The line is down while it goes on.
    fleet.world.arm("up@v2", "hang");
    let id = fleet.control().deploy("v2").await;
    fleet.world.reached("up@v2").await;
    fleet.cut();
    fleet.world.disarm("up@v2");
    assert_eq!(fleet.world.server().outcome(&id).await["outcome"], "live");
    assert_eq!(fleet.control().show(&id).await["state"], "running");
    fleet.mend();
    assert_eq!(fleet.agreed(&id).await["outcome"], "live");
    // The control plane is killed while it goes on.
    fleet.world.arm("up@v3", "hang");
    let id = fleet.control().deploy("v3").await;
    fleet.world.reached("up@v3").await;
    fleet.kill_control();
    fleet.world.disarm("up@v3");
    assert_eq!(fleet.world.server().outcome(&id).await["outcome"], "live");
    fleet.start_control().await;
    assert_eq!(fleet.agreed(&id).await["outcome"], "live");
    fleet.finish().await;
}

/// The process that serves with a world's data folder.
async fn served_by(world: &World) -> Option<i32> {
    let line = tokio::net::UnixStream::connect(world.path("data/line.sock")).await.ok()?;
    line.peer_cred().ok()?.pid()
}

#[tokio::test]
async fn a_host_without_a_server_gets_one_that_goes_on_when_ssh_is_cut() {
    let mut fleet = Fleet::landed().await;
    fleet.cut();
    fleet.world.stop();
    fleet.mend();
    until("the agent is away", || fleet.control().log().contains("an agent is away")).await;
    fleet.is_there().await;
    let apart = served_by(&fleet.world).await.expect("a server");
    fleet.world.arm("up@v2", "hang");
    let id = fleet.control().deploy("v2").await;
    fleet.world.reached("up@v2").await;
    fleet.cut();
    fleet.world.disarm("up@v2");
    until("it is landed without a line", || fleet.world.running() == "v2").await;
    assert_eq!(fleet.control().show(&id).await["state"], "running");
    fleet.mend();
    // The next dial finds the very process, which then has an operator's server in its place.
    assert_eq!(fleet.control().outcome(&id).await["outcome"], "live", "{}", fleet.control().journal(&id).await);
    assert_eq!(served_by(&fleet.world).await, Some(apart));
    fleet.cut();
    assert!(process::end(apart, std::time::Duration::from_mins(1)).await.expect("it is ours"));
    fleet.world.start().await;
    fleet.mend();
    fleet.agreed(&id).await;
    fleet.finish().await;
}

#[tokio::test]
async fn a_server_that_nobody_needs_ends_by_itself() {
    let mut world = World::new(&Settings::default()).await;
    world.stop();
    let began = std::time::Instant::now();
    let config = world.path("tagalong.toml").display().to_string();
    host(env!("CARGO_BIN_EXE_tagalong"), &["agent", "--apart", "--leave-after", "2", "--config", &config]);
    assert!(began.elapsed() >= std::time::Duration::from_secs(2), "{:?}", began.elapsed());
    // A server that stays takes the place of one that somebody needs, and goes on with its work.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tagalong"));
    let log = std::fs::File::create(world.path("apart.log")).expect("a file");
    command.args(["agent", "--apart", "--leave-after", "600", "--config", &config]).stderr(log);
    let mut apart = command.spawn().expect("it starts");
    until("it serves", || std::fs::read_to_string(world.path("apart.log")).is_ok_and(|log| log.contains("serving"))).await;
    world.start().await;
    assert!(apart.wait().expect("it ends").success());
    world.land("v1").await;
    world.finish().await;
}

#[tokio::test]
async fn an_order_for_an_agent_that_is_away_waits_for_it() {
    let fleet = Fleet::landed().await;
    fleet.cut();
    until("the agent is away", || fleet.control().log().contains("an agent is away")).await;
    let id = fleet.control().deploy("v2").await;
    let mut shown = fleet.control().show(&id).await;
    while shown["waits_for"] != "host" {
        assert_eq!(shown["state"], "waiting", "{shown}");
        shown = fleet.control().show(&id).await;
    }
    assert!(shown["waits_why"].as_str().is_some_and(|why| why.contains("the agent micro has been away for")), "{shown}");
    let (_, service) = fleet.control().get("/api/v1/services/web").await;
    assert!(service["blocked"].as_str().is_some_and(|why| why.contains("the agent micro has been away for")), "{service}");
    fleet.mend();
    assert_eq!(fleet.agreed(&id).await["outcome"], "live");
    fleet.finish().await;
}

#[tokio::test]
async fn an_agent_that_is_killed_at_a_step_goes_on_and_its_lines_stay_in_order() {
    for (point, tag) in [("pull@v2", "v2"), ("up@v3", "v3"), ("page@v4", "v4")] {
        let mut fleet = Fleet::landed().await;
        fleet.world.arm(point, "hang");
        let id = fleet.control().deploy(tag).await;
        fleet.world.reached(point).await;
        fleet.kill_agent();
        fleet.world.disarm(point);
        fleet.start_agent().await;
        assert_eq!(fleet.agreed(&id).await["outcome"], "live", "{point}");
        assert_eq!(fleet.world.running(), tag);
        fleet.finish().await;
    }
}

#[tokio::test]
async fn what_the_hosts_own_configuration_does_not_allow_is_refused_there() {
    let settings = Settings { service: "tag_pattern = \"v[0-9]+\"\n".into(), ..Settings::default() };
    let fleet = Fleet::new(&settings, "").await;
    fleet.land("v1").await;
    let id = fleet.control().deploy("latest").await;
    let ended = fleet.control().outcome(&id).await;
    assert_eq!((&ended["outcome"], &ended["guard"]), (&json!("refused"), &json!("tag_pattern")), "{ended}");
    assert_eq!(fleet.world.server().get(&format!("/api/v1/deployments/{id}")).await.0, 404);
    fleet.finish().await;
}

#[tokio::test]
async fn what_somebody_orders_on_the_host_itself_is_told_with_its_lines() {
    let fleet = Fleet::landed().await;
    let id = fleet.world.land("v2").await;
    until_known(&fleet, &id).await;
    let told = fleet.agreed(&id).await;
    assert_eq!(told["caller"], "local:0 on micro");
    let back = fleet.world.server().roll_back(json!("previous")).await;
    fleet.world.server().outcome(&back).await;
    until_known(&fleet, &back).await;
    fleet.agreed(&back).await;
    // The hold of that rollback is known, and ends on both sides.
    let (status, _) = fleet.control().post("/api/v1/deployments", json!({"service": "web", "tag": "v3"})).await;
    assert_eq!(status, 422);
    let (status, answer) = fleet.control().post("/api/v1/services/web/resume", json!({})).await;
    assert_eq!(status, 200, "{answer}");
    fleet.land("v3").await;
    fleet.finish().await;
}

pub(crate) async fn until_known(fleet: &Fleet, id: &str) {
    for _ in 0..6000 {
        if fleet.control().get(&format!("/api/v1/deployments/{id}")).await.0 == 200 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the control plane is not told of {id}: {}\n{}", fleet.control().log(), fleet.world.server().log());
}

#[tokio::test]
async fn an_agent_that_dials_lands_what_is_ordered_and_comes_back_after_it_was_killed() {
    let mut world = World::new(&Settings { over: Over::Dialled, ..Settings::default() }).await;
    let first = world.desk().deploy("v1").await;
    assert_eq!(world.desk().outcome(&first).await["outcome"], "live", "{}", world.desk().journal(&first).await);
    world.arm("up@v2", "hang");
    let id = world.desk().deploy("v2").await;
    world.reached("up@v2").await;
    world.kill();
    world.disarm("up@v2");
    world.start().await;
    assert_eq!(world.desk().outcome(&id).await["outcome"], "live", "{}", world.desk().journal(&id).await);
    assert_eq!(world.running(), "v2");
    world.finish().await;
}
