//! The story on Docker itself, with a real registry and real images. Every time the page from outside, the container's image
//! id, `.env` and the record agree, and the database and the worker beside it are never touched.
//!
//! What would hurt others on the same daemon (pruning its images, stopping it) is done to a second daemon of our own.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tagalong::landing;

use crate::files::files_that_come_from_git;
use crate::outside;
use crate::outside::Answer;
use crate::outside::Http;
use crate::support::Server;
use crate::support::host;
use crate::support::until;

/// The client of a daemon.
#[derive(Clone)]
pub(crate) struct Docker {
    pub(crate) host: Option<String>,
}

impl Docker {
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(args).stdin(Stdio::null());
        if let Some(host) = &self.host {
            command.env("DOCKER_HOST", host);
        }
        command
    }

    /// What it says; it must end well.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let ran = self.command(args).output().expect("docker runs");
        assert!(ran.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    /// What it says, for cleaning up: it may fail.
    pub(crate) fn tries(&self, args: &[&str]) -> String {
        self.command(args).output().map(|ran| String::from_utf8_lossy(&ran.stdout).trim().to_owned()).unwrap_or_default()
    }

    /// Takes away everything of a project, and every image whose name begins with one of `names`.
    fn remove(&self, project: &str, names: &[&str]) {
        let label = format!("label=com.docker.compose.project={project}");
        for (list, remove) in [("ps -aq", "rm -fv"), ("network ls -q", "network rm"), ("volume ls -q", "volume rm -f")] {
            let list: Vec<&str> = list.split(' ').chain(["--filter", &label]).collect();
            let ids = self.tries(&list);
            let remove: Vec<&str> = remove.split(' ').chain(ids.split_whitespace()).collect();
            if !ids.is_empty() {
                self.tries(&remove);
            }
        }
        let images = self.tries(&["images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"]);
        for line in images.lines().filter(|line| names.iter().any(|name| line.starts_with(name))) {
            let words: Vec<&str> = line.split(' ').collect();
            let [repository, tag, digest] = words[..] else { continue };
            for name in [format!("{repository}:{tag}"), format!("{repository}@{digest}")] {
                if !name.ends_with("<none>") {
                    self.tries(&["rmi", &name]);
                }
            }
        }
    }
}

/// A registry with the images of the tests; it goes with this value, and with it every name of an image in it.
pub(crate) struct Images {
    dir: tempfile::TempDir,
    pub(crate) port: String,
    /// Makes the tags of one run unlike those of another, so that images really have to come over the network.
    run: String,
}

impl Images {
    const SITES: [&str; 5] = ["one", "two", "three=unhealthy", "four=crash", "five"];

    pub(crate) fn make() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let place = dir.path().join("registry").display().to_string();
        let port = host(&rig("registry.sh"), &["up", "--dir", &place]);
        let images = Self { dir, port, run: std::process::id().to_string() };
        let sites: Vec<String> = Self::SITES.iter().map(|site| site.replacen('=', &format!("-{}=", images.run), 1)).collect();
        let named = |site: &String| if site.contains('=') { site.clone() } else { format!("{site}-{}", images.run) };
        let sites: Vec<String> = sites.iter().map(named).collect();
        let args: Vec<&str> = [images.port.as_str()].into_iter().chain(sites.iter().map(String::as_str)).collect();
        host(&rig("images.sh"), &args);
        let helper = format!("SITE_REPOSITORY=acme/helper exec {} {} helper-{}=nohealth", rig("images.sh"), images.port, images.run);
        host("sh", &["-c", &helper]);
        images.forget();
        images
    }

    /// Takes their names away from the host's daemon, so that each has to be pulled.
    fn forget(&self) {
        Docker { host: None }.remove("none", &[&format!("127.0.0.1:{}/", self.port)]);
    }

    pub(crate) fn tag(&self, name: &str) -> String {
        format!("{name}-{}", self.run)
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        self.forget();
        host(&rig("registry.sh"), &["down", "--dir", &self.dir.path().join("registry").display().to_string()]);
    }
}

fn rig(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig").join(name).display().to_string()
}

/// Something that can be told to wait, and says when it does.
#[derive(Default)]
struct Gate {
    is_shut: AtomicBool,
    was_met: AtomicBool,
}

impl Gate {
    fn shut(&self) {
        self.was_met.store(false, Ordering::SeqCst);
        self.is_shut.store(true, Ordering::SeqCst);
    }

    fn open(&self) {
        self.is_shut.store(false, Ordering::SeqCst);
    }

    fn pass(&self) {
        while self.is_shut.load(Ordering::SeqCst) {
            self.was_met.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    async fn met(&self) {
        until("somebody waits at the gate", || self.was_met.load(Ordering::SeqCst)).await;
    }
}

/// A stack on a daemon with a reverse proxy before it, and tagalong.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) docker: Docker,
    pub(crate) project: String,
    pub(crate) repository: String,
    page: Arc<Gate>,
    proxy: Option<Http>,
    pub(crate) server: Option<Server>,
}

static SITES: AtomicU32 = AtomicU32::new(0);

impl Site {
    /// `web` are more lines of the web service, as JSON.
    pub(crate) async fn make(images: &Images, docker: &Docker, registry: &str, web: Value) -> Self {
        let dir = tempfile::Builder::new().prefix("tagalong-").tempdir().expect("a folder");
        let number = SITES.fetch_add(1, Ordering::SeqCst);
        let project = format!("steps{}-{number}", images.run);
        let repository = format!("127.0.0.1:{registry}/acme/site");
        let mut service = json!({"image": format!("{repository}:${{SITE_TAG}}"), "restart": "unless-stopped"});
        service.as_object_mut().unwrap().extend(web.as_object().unwrap().clone());
        let helper = json!({"image": format!("127.0.0.1:{registry}/acme/helper:{}", images.tag("helper"))});
        // Compose reads JSON, since it is YAML.
        let compose = json!({"name": project, "services": {"web": service, "db": helper, "worker": helper}});
        std::fs::create_dir(dir.path().join("stack")).expect("a folder");
        std::fs::write(dir.path().join("stack/compose.yaml"), compose.to_string()).expect("a file");
        std::fs::write(dir.path().join("stack/.env"), "# kept\r\nSITE_TAG=none\r\nCOLOUR=red").expect("a file");
        let page = Arc::new(Gate::default());
        let (gate, asked, name) = (Arc::clone(&page), docker.clone(), format!("{project}-web-1"));
        let proxy = Http::serve(move |request| {
            if !request.is_watcher() {
                gate.pass();
            }
            let ip = asked.tries(&["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", &name]);
            outside::forward(&format!("{ip}:80"), request).unwrap_or_else(|error| Answer::text(502, error.to_string()))
        });
        let host = docker.host.as_ref().map_or(String::new(), |host| format!("host = \"{host}\""));
        let config = format!(
            "version = 1\n[server]\nlisten = []\nsocket = \"s\"\ndata_dir = \"data\"\n[docker]\n{host}\n[service.{project}]\ndir = \"stack\"\n\
             project = \"{project}\"\nimage = \"{repository}\"\nvariable = \"SITE_TAG\"\n[service.{project}.health]\nsettle_s = 1\n\
             [service.{project}.smoke]\nurl = \"http://127.0.0.1:{}/\"\nwithin_s = 10\n[service.{project}.smoke.release]\npath = \"/version\"\ntext = true\n",
            proxy.port
        );
        std::fs::write(dir.path().join("tagalong.toml"), config).expect("a file");
        let server = Some(Server::start(dir.path()).await);
        Self { dir, docker: docker.clone(), project, repository, page, proxy: Some(proxy), server }
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("the server runs")
    }

    pub(crate) async fn kill_and_start(&mut self) {
        self.server.take().expect("the server runs").kill();
        self.page.open();
        self.server = Some(Server::start(self.dir.path()).await);
    }

    pub(crate) async fn order(&self, tag: &str) -> String {
        self.server().order("/api/v1/deployments", json!({"service": self.project, "tag": tag})).await
    }

    pub(crate) async fn deploy(&self, tag: &str) -> Value {
        let id = self.order(tag).await;
        self.ended(&id).await
    }

    pub(crate) async fn roll_back(&self) -> Value {
        let id = self.server().order("/api/v1/rollbacks", json!({"service": self.project})).await;
        self.ended(&id).await
    }

    /// A deployment when it has ended, with its journal for a failing test.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        let mut ended = self.server().outcome(id).await;
        ended["journal"] = self.server().journal(id).await.lines().map(str::to_owned).collect();
        ended
    }

    /// The same for one that waits for a daemon to come up again.
    async fn ended_at_last(&self, id: &str) -> Value {
        let until = tokio::time::Instant::now() + Duration::from_mins(3);
        while self.server().show(id).await["state"] != "done" && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.ended(id).await
    }

    pub(crate) fn env(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stack/.env")).expect("a file")
    }

    /// Id, start time and image id of every container, by service.
    pub(crate) fn containers(&self) -> BTreeMap<String, String> {
        let label = format!("label=com.docker.compose.project={}", self.project);
        let ids = self.docker.says(&["ps", "-aq", "--no-trunc", "--filter", &label]);
        let format = r#"{{index .Config.Labels "com.docker.compose.service"}} {{.Id}} {{.State.StartedAt}} {{.Image}}"#;
        let args: Vec<&str> = ["inspect", "-f", format].into_iter().chain(ids.split_whitespace()).collect();
        let lines = if ids.is_empty() { String::new() } else { self.docker.says(&args) };
        lines.lines().filter_map(|line| line.split_once(' ')).map(|(service, rest)| (service.to_owned(), rest.to_owned())).collect()
    }

    pub(crate) fn neighbours(&self) -> Vec<(String, String)> {
        self.containers().into_iter().filter(|(service, _)| service != "web").collect()
    }

    /// The page, the container, `.env` and the record all say `tag`.
    pub(crate) async fn serves(&self, tag: &str) {
        let proxy = self.proxy.as_ref().expect("a proxy");
        let answer =
            reqwest::get(format!("http://127.0.0.1:{}/version", proxy.port)).await.expect("an answer").text().await.expect("a body");
        assert_eq!(answer.trim(), tag);
        let env = self.env();
        let pin =
            env.strip_prefix("# kept\r\nSITE_TAG=").and_then(|rest| rest.strip_suffix("\r\nCOLOUR=red")).expect("one line is changed");
        let (pinned, digest) = pin.split_once('@').expect("a tag and a digest");
        assert_eq!(pinned, tag);
        let id = self.docker.says(&["image", "inspect", "-f", "{{.Id}}", &format!("{}@{digest}", self.repository)]);
        assert!(self.containers()["web"].ends_with(&id), "{:?}", self.containers());
        let (_, shown) = self.server().get(&format!("/api/v1/services/{}", self.project)).await;
        assert_eq!(shown["live"]["images"], json!([format!("{}:{pin}", self.repository)]), "{shown}");
        assert_eq!((&shown["drift"], &shown["running"], &shown["blocked"]), (&Value::Null, &Value::Null, &Value::Null), "{shown}");
    }

    /// What a person does in the stack's folder recreates nothing.
    pub(crate) fn bear_a_hand_run(&self) {
        let before = self.containers();
        let ran = self.docker.command(&["compose", "up", "-d"]).current_dir(self.dir.path().join("stack")).output().expect("it runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(before, self.containers());
    }

    pub(crate) async fn finish(self) {
        let stack = self.dir.path().join("stack");
        until("nothing holds the stack's lock", || landing::holders(&stack).is_empty()).await;
        let (_, all) = self.server().get("/api/v1/deployments?limit=100").await;
        assert!(all["deployments"].as_array().expect("a list").iter().all(|one| one["state"] == "done"), "{all}");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.page.open();
        drop(self.server.take());
        self.docker.remove(&self.project, &[&format!("tagalong.keep/{} ", self.project)]);
    }
}

pub(crate) fn is_outcome(ended: &Value, name: &str) {
    assert_eq!(ended["outcome"], name, "{ended:#}");
}

async fn landing_and_what_does_not_hold(images: Arc<Images>) {
    let site = Site::make(&images, &Docker { host: None }, &images.port, json!({})).await;
    let tag = |name: &str| images.tag(name);
    is_outcome(&site.deploy(&tag("one")).await, "live");
    site.serves(&tag("one")).await;
    let neighbours = site.neighbours();
    assert_eq!(neighbours.len(), 2);
    is_outcome(&site.deploy(&tag("two")).await, "live");
    site.serves(&tag("two")).await;
    site.bear_a_hand_run();
    for (bad, why) in [("three", "is unhealthy"), ("four", "is in a crash loop")] {
        let ended = site.deploy(&tag(bad)).await;
        is_outcome(&ended, "rolled_back");
        assert!(ended["why"].as_str().unwrap().contains(why), "{ended:#}");
        assert!(bad != "four" || ended["journal"].to_string().contains("cannot open the data folder"), "{ended:#}");
        site.serves(&tag("two")).await;
        site.bear_a_hand_run();
    }
    // Docker starts no container that somebody has paused.
    site.docker.says(&["pause", &format!("{}-web-1", site.project)]);
    is_outcome(&site.deploy(&tag("two")).await, "live");
    site.serves(&tag("two")).await;
    let (before, env) = (site.containers(), site.env());
    let missing = site.deploy("no-such-tag").await;
    assert_eq!((&missing["outcome"], &missing["guard"]), (&json!("refused"), &json!("not_found")), "{missing:#}");
    let digest = format!("sha256:{}", "0".repeat(64));
    let id = site.server().order("/api/v1/deployments", json!({"service": site.project, "tag": tag("one"), "digest": digest})).await;
    let wrong = site.ended(&id).await;
    assert_eq!((&wrong["outcome"], &wrong["guard"]), (&json!("refused"), &json!("digest_mismatch")), "{wrong:#}");
    assert_eq!((before, env), (site.containers(), site.env()));
    is_outcome(&site.roll_back().await, "live");
    site.serves(&tag("one")).await;
    site.bear_a_hand_run();
    assert_eq!(neighbours, site.neighbours());
    the_tags_of(&site, &images).await;
    site.finish().await;
}

/// After a rollback from two to one: what was verified stands first, then what only the registry has.
async fn the_tags_of(site: &Site, images: &Images) {
    let (status, all) = site.server().get(&format!("/api/v1/services/{}/tags", site.project)).await;
    assert_eq!((status, &all["registry_fault"], &all["has_more"]), (200, &Value::Null, &json!(false)), "{all:#}");
    let tags = all["tags"].as_array().unwrap();
    let names: Vec<&str> = tags.iter().map(|tag| tag["tag"].as_str().unwrap()).collect();
    assert_eq!(names[..2], [images.tag("one"), images.tag("two")], "{all:#}");
    let mut others = names[2..].to_vec();
    others.sort_unstable();
    assert_eq!(others, ["five", "four", "three"].map(|name| images.tag(name)), "{all:#}");
    for (at, tag) in tags.iter().enumerate() {
        let is_verified = tag["verified_by"].is_string() && tag["verified_ms"].is_i64();
        assert_eq!((is_verified, &tag["live"]), (at < 2, &json!(at == 0)), "{tag:#}");
        assert!(tag["in_registry"] == true && tag["moved"] == false && tag["digest"].is_string() && tag["built_ms"].is_i64(), "{tag:#}");
        assert!(tag["platforms"][0].as_str().unwrap().starts_with("linux/") && (at > 1 || tag["on_host"] == true), "{tag:#}");
    }
}

/// Releases that are verified and break afterwards, when this says so: two loses its page, five crashes again and again, and four takes more
/// memory than it may have. Each is gone back from by the order of its watch, and nothing beside it is touched.
async fn releases_that_break_after_they_are_live(images: Arc<Images>) {
    let start = "test -e /tmp/broken && exit 3; httpd -f -p 80 -h /www & breaks() { until test -e /switch/$1; do sleep 0.1; done; }; \
        case $(cat /www/version) in two-*) breaks two; rm /www/index.html ;; five-*) breaks five; touch /tmp/broken; exit 3 ;; \
        four-*) breaks four; exec tail /dev/zero ;; esac; wait";
    let switch = tempfile::tempdir().expect("a folder");
    let web = json!({
        "command": ["/bin/sh", "-c", start.replace('$', "$$")], "mem_limit": "32m", "memswap_limit": "32m",
        "volumes": [format!("{}:/switch:ro", switch.path().display())],
    });
    let mut site = Site::make(&images, &Docker { host: None }, &images.port, web).await;
    let file = site.dir.path().join("tagalong.toml");
    let config = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, format!("{config}[service.{}.watch]\nwatch_s = 300\nevery_s = 1\n", site.project)).expect("a file");
    site.kill_and_start().await;
    is_outcome(&site.deploy(&images.tag("one")).await, "live");
    let neighbours = site.neighbours();
    for (name, why) in [("two", "status"), ("five", "restart"), ("four", "")] {
        let landed = site.deploy(&images.tag(name)).await;
        is_outcome(&landed, "live");
        std::fs::write(switch.path().join(name), "").expect("a file");
        let began = tokio::time::Instant::now();
        let back = gone_back_from(&site, &landed).await;
        println!("{name} was gone back from {:?} after it broke: {}", began.elapsed(), back["reason"]);
        is_outcome(&back, "live");
        assert!(back["reason"].as_str().unwrap().contains(why), "{back:#}");
        site.serves(&images.tag("one")).await;
        assert_eq!(site.server().show(landed["id"].as_str().unwrap()).await["outcome"], "live");
        let (status, _) = site.server().post(&format!("/api/v1/services/{}/resume", site.project), json!({})).await;
        assert_eq!(status, 200);
    }
    assert_eq!(neighbours, site.neighbours());
    site.finish().await;
}

/// The rollback that the watch over `landed` has ordered, when it has ended.
async fn gone_back_from(site: &Site, landed: &Value) -> Value {
    let caller = json!(format!("watch:{}", landed["id"].as_str().unwrap()));
    let until = tokio::time::Instant::now() + Duration::from_mins(2);
    loop {
        let (_, all) = site.server().get("/api/v1/deployments?limit=5").await;
        if let Some(back) = all["deployments"].as_array().unwrap().iter().find(|one| one["caller"] == caller) {
            return site.ended(back["id"].as_str().unwrap()).await;
        }
        let service = site.server().get(&format!("/api/v1/services/{}", site.project)).await.1;
        assert!(tokio::time::Instant::now() < until, "nothing goes back: {service:#}\n{}", site.server().log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The old container takes its time to end, so compose can be met at its work.
async fn killed_during_up(images: Arc<Images>) {
    let slow = json!({"stop_signal": "SIGTERM", "stop_grace_period": "4s"});
    let mut site = Site::make(&images, &Docker { host: None }, &images.port, slow).await;
    is_outcome(&site.deploy(&images.tag("one")).await, "live");
    let neighbours = site.neighbours();
    let id = site.order(&images.tag("two")).await;
    let stack = site.dir.path().join("stack");
    let is_up = |holder: &landing::Holder| holder.command.contains("compose") && cmdline(holder.pid).contains(" up -d ");
    until("compose is at work", || landing::holders(&stack).iter().any(is_up)).await;
    assert_eq!(site.server().show(&id).await["step"], "up");
    site.kill_and_start().await;
    is_outcome(&site.ended(&id).await, "live");
    site.serves(&images.tag("two")).await;
    site.bear_a_hand_run();
    assert_eq!(neighbours, site.neighbours());
    site.finish().await;
}

fn cmdline(pid: i32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

async fn killed_during_smoke(images: Arc<Images>) {
    let mut site = Site::make(&images, &Docker { host: None }, &images.port, json!({})).await;
    is_outcome(&site.deploy(&images.tag("one")).await, "live");
    let neighbours = site.neighbours();
    let id = site.order(&images.tag("two")).await;
    let two = images.tag("two");
    // The next look at the page behind the pin is the smoke check: to ask for more would let it slip through.
    until("two is pinned", || site.env().contains(&two)).await;
    site.page.shut();
    site.page.met().await;
    assert_eq!(site.server().show(&id).await["step"], "smoke");
    site.kill_and_start().await;
    is_outcome(&site.ended(&id).await, "live");
    site.serves(&two).await;
    assert_eq!(neighbours, site.neighbours());
    site.finish().await;
}

/// A daemon of our own: its images may be pruned and it may be stopped without hurting anybody.
pub(crate) struct Daemon {
    dir: PathBuf,
    process: Child,
    pub(crate) docker: Docker,
    number: u32,
    /// Whether containers go on while it is away.
    keeps: bool,
}

/// The bridge of such a daemon; names of interfaces are short.
fn bridge(number: u32) -> String {
    format!("tagalong-test{number}")
}

/// Makes the bridge of a new daemon and gives its number. Tests of other processes make theirs at the same time, so the first is
/// taken that can be made.
fn make_bridge() -> u32 {
    let is_made = |number: &u32| {
        let made = Command::new("ip").args(["link", "add", &bridge(*number), "type", "bridge"]).stderr(Stdio::null()).status();
        made.is_ok_and(|made| made.success())
    };
    let number = (0..150).find(is_made).expect("a bridge");
    host("ip", &["addr", "add", &format!("10.213.{}.1/24", 77 + number), "dev", &bridge(number)]);
    number
}

impl Daemon {
    pub(crate) async fn start(dir: &Path, keeps: bool) -> Self {
        let docker = Docker { host: Some(format!("unix://{}", dir.join("s").display())) };
        let number = make_bridge();
        let mut daemon = Self { dir: dir.to_owned(), process: Self::spawn(dir, number, keeps), docker, number, keeps };
        daemon.answers().await;
        daemon
    }

    fn spawn(dir: &Path, number: u32, keeps: bool) -> Child {
        let log = File::options().create(true).append(true).open(dir.join("log")).expect("a log");
        let at = |name: &str| dir.join(name).display().to_string();
        // With "none" a daemon removes docker0, which is another's; a bridge of its own leaves that alone.
        let bridge = bridge(number);
        Command::new("dockerd")
            .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid"), "-H", &format!("unix://{}", at("s"))])
            // None of the host's network rules are its own.
            .args(keeps.then_some("--live-restore"))
            .args(["--bridge", &bridge, "--iptables=false", "--ip-masq=false", "--log-level=warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd starts")
    }

    /// Waits until it answers. One that ends instead is started again: after a kill that is its way now and then.
    async fn answers(&mut self) {
        const PATIENCE: Duration = Duration::from_mins(2);
        let began = std::time::Instant::now();
        while !self.docker.command(&["info"]).output().is_ok_and(|ran| ran.status.success()) {
            if self.has_ended() {
                self.process = Self::spawn(&self.dir, self.number, self.keeps);
            }
            let log = || std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "dockerd does not answer: {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn start_again(&mut self) {
        self.process = Self::spawn(&self.dir, self.number, self.keeps);
        self.answers().await;
    }

    /// As an out-of-memory killer ends it; the containerd that it has started ends with it.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it lives until now");
        self.process.wait().expect("a child");
        // Where nobody reaps them, or their numbers are taken again, the next dockerd would take them for ones that live.
        for file in ["exec/containerd/containerd.pid", "pid"] {
            let _ = std::fs::remove_file(self.dir.join(file));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|ended| ended.is_some())
    }

    pub(crate) fn stop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            host("kill", &["-TERM", &self.process.id().to_string()]);
            let _ = self.process.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let containers = self.docker.tries(&["ps", "-aq"]);
        for container in containers.split_whitespace() {
            self.docker.tries(&["rm", "-f", container]);
        }
        self.stop();
        let _ = Command::new("ip").args(["link", "del", &bridge(self.number)]).status();
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let ours = self.dir.display().to_string();
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|mount| mount.starts_with(&ours)) {
            let _ = Command::new("umount").args(["--lazy", mount]).status();
        }
    }
}

/// A host without a network: no registry answers, and the images come by `docker load`.
async fn images_that_were_loaded(images: Arc<Images>) {
    let docker = Docker { host: None };
    // Nothing listens on port 1.
    let mut site = Site::make(&images, &docker, "1", json!({})).await;
    let names = ["six", "seven"].map(|tag| format!("{}:{}", site.repository, images.tag(tag)));
    let helper = format!("127.0.0.1:1/acme/helper:helper-{}", images.run);
    for (name, from) in [&names[0], &names[1], &helper].into_iter().zip(["site:one", "site:two", "helper:helper"]) {
        let from = format!("127.0.0.1:{}/acme/{from}-{}", images.port, images.run);
        docker.says(&["pull", "-q", &from]);
        docker.says(&["tag", &from, name]);
        // As it would come over a cable: the names that a registry knows are not in it.
        let archive = site.dir.path().join("image.tar").display().to_string();
        docker.says(&["save", "-o", &archive, name]);
        docker.says(&["rmi", name]);
        docker.says(&["load", "-q", "-i", &archive]);
    }
    let ids = names.clone().map(|name| docker.says(&["image", "inspect", "-f", "{{.Id}}", &name]));
    let not_allowed = site.deploy(&images.tag("six")).await;
    is_outcome(&not_allowed, "failed");
    assert!(not_allowed["why"].as_str().unwrap().contains("set loaded_images = true"), "{not_allowed:#}");

    let file = site.dir.path().join("tagalong.toml");
    let config = std::fs::read_to_string(&file).expect("a file").replace("variable =", "loaded_images = true\nvariable =");
    // The page shows the tag that it was built with, not the one that it was loaded under.
    let release = config.find(&format!("[service.{}.smoke.release]", site.project)).expect("a table");
    std::fs::write(&file, &config[..release]).expect("a file");
    site.kill_and_start().await;
    let missing = site.deploy(&images.tag("eight")).await;
    is_outcome(&missing, "failed");
    assert!(missing["why"].as_str().unwrap().contains("load it with `docker load`"), "{missing:#}");
    let runs = |site: &Site, id: &str| assert!(site.containers()["web"].ends_with(id), "{:?}", site.containers());
    for (tag, id) in ["six", "seven"].iter().zip(&ids) {
        let ended = site.deploy(&images.tag(tag)).await;
        is_outcome(&ended, "live");
        assert!(ended["images"][0].as_str().unwrap().ends_with(&format!("@loaded:{id}")), "{ended:#}");
        runs(&site, id);
        assert!(site.env().contains(&format!("SITE_TAG={}\r\n", images.tag(tag))), "{}", site.env());
        site.bear_a_hand_run();
    }
    // The old tag is loaded again with other content: the rollback brings back what was verified.
    docker.says(&["tag", &names[1], &names[0]]);
    // Other tests build images at the same time, and need what they have made so far.
    let ours = format!("label=org.opencontainers.image.version={}", images.tag("one"));
    docker.says(&["image", "prune", "-f", "--filter", &ours]);
    is_outcome(&site.roll_back().await, "live");
    runs(&site, &ids[0]);
    site.bear_a_hand_run();
    let (_, shown) = site.server().get(&format!("/api/v1/services/{}", site.project)).await;
    assert_eq!(shown["drift"], Value::Null, "{shown}");
    let keep = format!("tagalong.keep/{} ", site.project);
    site.finish().await;
    docker.remove("none", &["127.0.0.1:1/acme/", &keep]);
}

async fn a_daemon_that_is_pruned_and_stopped(images: Arc<Images>) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut daemon = Daemon::start(dir.path(), true).await;
    let docker = daemon.docker.clone();
    let (gate, upstream) = (Arc::new(Gate::default()), format!("127.0.0.1:{}", images.port));
    let blobs = Arc::clone(&gate);
    // The registry as this daemon sees it: layers can be held back, and it can be away.
    let registry = Http::serve(move |request| {
        if request.path.contains("/blobs/") && request.header("user-agent").iter().any(|agent| agent.starts_with("docker/")) {
            blobs.pass();
        }
        outside::forward(&upstream, request).unwrap_or_else(|error| Answer::text(502, error.to_string()))
    });
    let site = Site::make(&images, &docker, &registry.port.to_string(), json!({})).await;
    is_outcome(&site.deploy(&images.tag("one")).await, "live");
    is_outcome(&site.deploy(&images.tag("two")).await, "live");
    site.serves(&images.tag("two")).await;
    let neighbours = site.neighbours();

    // dockerd is stopped during the pull of a third release.
    let (before, env) = (site.containers(), site.env());
    gate.shut();
    let id = site.order(&images.tag("five")).await;
    gate.met().await;
    assert_eq!(site.server().show(&id).await["step"], "pull");
    daemon.stop();
    gate.open();
    daemon.start_again().await;
    let ended = site.ended(&id).await;
    is_outcome(&ended, "live");
    assert!(ended["journal"].to_string().contains("Docker "), "{ended:#}");
    assert_ne!((before, env), (site.containers(), site.env()));
    site.serves(&images.tag("five")).await;

    // Somebody else prunes the images, and the registry is gone; two is on the host nevertheless.
    docker.says(&["image", "prune", "-f"]);
    drop(registry);
    is_outcome(&site.roll_back().await, "live");
    site.serves(&images.tag("two")).await;
    site.bear_a_hand_run();
    assert_eq!(neighbours, site.neighbours());
    site.finish().await;
    drop(daemon);
}

/// Ends when compose has begun to replace a container: before that it may not have spoken to the daemon, and a short outage is none
/// for it.
async fn compose_is_at_work(site: &Site, stack: &Path, id: &str) {
    let is_up = |holder: &landing::Holder| cmdline(holder.pid).contains(" up -d ");
    until("compose is at work", || landing::holders(stack).iter().any(is_up)).await;
    while !site.server().journal_so_far(id).await.contains("  Recreate") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ends when the deployment is at `step`.
async fn is_at(site: &Site, id: &str, step: &str) {
    loop {
        let shown = site.server().show(id).await;
        if shown["step"] == step {
            return;
        }
        assert_ne!(shown["state"], "done", "it was never seen at {step}: {shown:#}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Docker is killed or stopped in the middle of up, health, smoke and the undo, and containers go with it: the deployment waits
/// for it and goes on, and no half-replaced container is left.
async fn a_daemon_that_is_killed_in_the_middle(images: Arc<Images>) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut daemon = Daemon::start(dir.path(), false).await;
    let docker = daemon.docker.clone();
    // The old container takes its time to end, so compose can be met at its work.
    let slow = json!({"stop_signal": "SIGTERM", "stop_grace_period": "4s"});
    let site = Site::make(&images, &docker, &images.port, slow).await;
    let tag = |name: &str| images.tag(name);
    is_outcome(&site.deploy(&tag("one")).await, "live");
    let stack = site.dir.path().join("stack");
    let cases = [
        ("up", "two", "live", "two"),
        ("health", "one", "live", "one"),
        ("smoke", "two", "live", "two"),
        ("undo", "three", "rolled_back", "two"),
    ];
    for (number, (step, name, outcome, serves)) in cases.into_iter().enumerate() {
        if step == "smoke" {
            site.page.shut();
        }
        let id = site.order(&tag(name)).await;
        match step {
            "up" => compose_is_at_work(&site, &stack, &id).await,
            "smoke" => {
                // The page is looked at once before, as it is.
                site.page.met().await;
                site.page.open();
                let new = tag(name);
                until("it is pinned", || site.env().contains(&new)).await;
                site.page.shut();
                site.page.met().await;
            }
            "undo" => is_at(&site, &id, "undo_up").await,
            step => is_at(&site, &id, step).await,
        }
        if number % 2 == 0 {
            daemon.kill();
        } else {
            daemon.stop();
        }
        site.page.open();
        daemon.start_again().await;
        let ended = site.ended_at_last(&id).await;
        is_outcome(&ended, outcome);
        assert!(ended["journal"].to_string().contains("Docker "), "{step}: {ended:#}");
        site.serves(&tag(serves)).await;
        let names = docker.says(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]);
        assert!(!names.contains("_steps") && !names.contains("Dead") && !names.contains("Removal"), "{step}: {names}");
    }
    site.finish().await;
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_on_docker_itself() {
    let images = Arc::new(Images::make());
    let mut cases = tokio::task::JoinSet::new();
    let room = Arc::new(tokio::sync::Semaphore::new(2));
    macro_rules! case {
        ($($case:ident)*) => {$({
            let (images, room) = (Arc::clone(&images), Arc::clone(&room));
            cases.spawn(async move {
                let _room = room.acquire_owned().await;
                (stringify!($case), tokio::spawn($case(images)).await)
            });
        })*};
    }
    case!(landing_and_what_does_not_hold killed_during_up killed_during_smoke a_daemon_that_is_pruned_and_stopped a_daemon_that_is_killed_in_the_middle images_that_were_loaded releases_that_break_after_they_are_live files_that_come_from_git);
    let ended = cases.join_all().await;
    println!(
        "on Docker: {}",
        ended.iter().map(|(case, ended)| format!("{case} {}", u8::from(ended.is_ok()))).collect::<Vec<_>>().join(", ")
    );
    let faults: Vec<String> = ended.into_iter().filter_map(|(case, ended)| Some(format!("{case}: {}", ended.err()?))).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
