//! A host made of stand-ins: a stack with a web, a database and a worker, a registry, a public page, and a docker that
//! keeps what is up in a file. Each test has one of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tagalong::landing;

use crate::cluster::Cluster;
use crate::cluster::Database;
use crate::control::Control;
use crate::control::Over;
use crate::outside;
use crate::outside::Answer;
use crate::outside::Http;
use crate::outside::Request;
use crate::outside::Shelf;
use crate::support::Server;
use crate::support::host;
use crate::support::until;
use crate::support::until_some;

/// What the pin must leave alone, around the line that it owns.
pub(crate) const ENV: &str = "# kept\nCOLOUR=red\nWEB_TAG=v1\n\nLAST=x\n";
/// A password of the configuration that every hook gives away.
const SECRET: &str = "hunter2-and-some-more";

/// The configuration of a world.
#[derive(Clone)]
pub(crate) struct Settings {
    /// A step that gets a deadline of six seconds; the others have plenty of time.
    pub(crate) hurried: &'static str,
    /// Lines of `[service.web]`.
    pub(crate) service: String,
    /// Whether the page is looked at.
    pub(crate) is_smoked: bool,
    /// The folder it is made in; none: the system's.
    pub(crate) place: Option<PathBuf>,
    /// Where tagalong keeps its state.
    pub(crate) database: Database,
    /// What another world's registry holds, and its repository; none: it has one of its own.
    pub(crate) registry: Option<(Shelf, String)>,
    /// How orders come to it.
    pub(crate) over: Over,
}

impl Default for Settings {
    fn default() -> Self {
        let (registry, over) = (None, Over::Nothing);
        Self { hurried: "", service: String::new(), is_smoked: true, place: None, database: Database::Sqlite, registry, over }
    }
}

/// A world; it goes with this value.
pub(crate) struct World {
    dir: tempfile::TempDir,
    shelf: Shelf,
    registry: Option<Http>,
    repository: String,
    _page: Http,
    /// The address of its database, where that is no file.
    pub(crate) url: Option<String>,
    server: Option<Server>,
    control: Option<Control>,
}

impl World {
    /// A world in which nothing of the stack is up yet; tags v1 to v9 are pushed.
    pub(crate) async fn new(settings: &Settings) -> Self {
        let place = settings.place.clone().unwrap_or_else(std::env::temp_dir);
        let dir = tempfile::Builder::new().prefix("tagalong-").tempdir_in(place).expect("a folder");
        let root = dir.path();
        for folder in ["world/faults", "world/reached", "stack"] {
            std::fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        std::os::unix::fs::symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/docker"), root.join("docker")).expect("a link");
        let (shelf, shared) = settings.registry.clone().map_or_else(Default::default, |(shelf, repository)| (shelf, Some(repository)));
        let world = root.join("world");
        let registry = outside::registry(shelf.clone(), move |point| meet(&world, point));
        let world = root.join("world");
        let page = Http::serve(move |request| page(&world, request));
        let repository = shared.unwrap_or_else(|| format!("127.0.0.1:{}/acme/web", registry.port));
        let images =
            ["db", "worker"].map(|name| json!({"id": format!("sha256:{name}"), "digests": [], "tags": [format!("acme/{name}:1")]}));
        let state = json!({"project": "site", "containers": [], "images": images, "starts": 0});
        std::fs::write(root.join("world/state.json"), state.to_string()).expect("a file");
        let image = |image: &str| json!({"image": image, "environment": {"COLOUR": "${COLOUR}"}});
        let services =
            json!({"web": image(&format!("{repository}:${{WEB_TAG}}")), "db": image("acme/db:1"), "worker": image("acme/worker:1")});
        std::fs::write(root.join("stack/compose.yaml"), json!({"name": "site", "services": services}).to_string()).expect("a file");
        std::fs::write(root.join("stack/.env"), ENV).expect("a file");
        std::fs::write(root.join("page.password"), SECRET).expect("a file");
        let url = match settings.database {
            Database::Sqlite => None,
            Database::Postgres => Some(Cluster::new_database().await),
        };
        let mut text = config(root, &repository, page.port, settings);
        if let Some(url) = &url {
            std::fs::write(root.join("postgres.url"), url).expect("a file");
            text += "[store]\npostgres_url_file = \"postgres.url\"\n";
        }
        std::fs::write(root.join("tagalong.toml"), text).expect("a file");
        let mut world = Self { dir, shelf, registry: Some(registry), repository, _page: page, url, server: None, control: None };
        (1..=9).for_each(|number| world.push(&format!("v{number}"), &[]));
        world.start().await;
        world.get_a_control_plane(settings.over).await;
        world
    }

    async fn get_a_control_plane(&mut self, over: Over) {
        let config = self.path("tagalong.toml");
        self.control = match over {
            Over::Nothing => return,
            Over::Stdio => Some(Control::stdio(&config).await),
            Over::Dialled => Some(Control::dialled(&config).await),
        };
        if over == Over::Dialled {
            self.stop();
            self.start().await;
        }
        self.control.as_ref().expect("a control plane").sees_the_host().await;
    }

    /// Where orders are given and followed: the control plane, where there is one.
    pub(crate) fn desk(&self) -> &Server {
        self.control.as_ref().map_or_else(|| self.server(), |control| &control.server)
    }

    /// A world in which v1 has been landed and verified.
    pub(crate) async fn landed(settings: &Settings) -> Self {
        let world = Self::new(settings).await;
        world.land("v1").await;
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("the server runs")
    }

    /// Starts tagalong.
    pub(crate) async fn start(&mut self) {
        self.server = Some(Server::start(self.dir.path()).await);
        self.control.iter().for_each(Control::reaches_the_host);
    }

    /// Starts tagalong again, where it may have so many files open and no more.
    pub(crate) async fn restart_with_open_files(&mut self, limit: u32) {
        self.stop();
        self.server = Some(Server::start_with_open_files(self.dir.path(), limit).await);
    }

    /// Ends tagalong by SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.control.iter().for_each(Control::leaves_the_host);
        self.server.take().expect("the server runs").kill();
    }

    /// Ends tagalong by SIGTERM.
    pub(crate) fn stop(&mut self) {
        self.control.iter().for_each(Control::leaves_the_host);
        self.server.take().expect("the server runs").stop();
    }

    /// The configuration gets `new` in place of `old`; tagalong is started again.
    pub(crate) async fn reconfigure(&mut self, old: &str, new: &str) {
        let file = self.path("tagalong.toml");
        let text = std::fs::read_to_string(&file).expect("a file");
        assert!(text.contains(old), "{text}");
        std::fs::write(&file, text.replace(old, new)).expect("a file");
        self.stop();
        self.start().await;
    }

    /// Pushes a tag with labels; one that is there already is moved when the labels differ.
    pub(crate) fn push(&mut self, tag: &str, labels: &[(&str, &str)]) {
        outside::push(&self.shelf, tag, labels);
        let known: BTreeMap<String, String> = self.shelf.lock().unwrap().iter().map(|(tag, it)| (tag.clone(), it.digest.clone())).collect();
        for file in ["world/registry.json", "world/all.json"] {
            self.replace(file, &json!(known).to_string());
        }
    }

    /// From now on nothing answers where the registry was.
    pub(crate) fn close_registry(&mut self) {
        self.registry = None;
        std::fs::remove_file(self.path("world/registry.json")).expect("a file");
    }

    pub(crate) fn digest(&self, tag: &str) -> String {
        self.shelf.lock().unwrap()[tag].digest.clone()
    }

    /// Lands a tag; it must become live without a warning.
    pub(crate) async fn land(&self, tag: &str) -> String {
        let id = self.desk().deploy(tag).await;
        let ended = self.desk().outcome(&id).await;
        assert_eq!((&ended["outcome"], &ended["warnings"]), (&json!("live"), &json!([])), "{ended}\n{}", self.desk().journal(&id).await);
        id
    }

    /// What a person types in the stack's folder.
    pub(crate) fn by_hand(&self, args: &[&str]) {
        let ran = std::process::Command::new(self.path("docker")).args(args).current_dir(self.path("stack")).output().expect("it runs");
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    /// What its registry holds and its repository, for another world.
    pub(crate) fn registry(&self) -> (Shelf, String) {
        (self.shelf.clone(), self.repository.clone())
    }

    /// The name of a tag as an image.
    pub(crate) fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.repository)
    }

    /// Tells a point to "fail" or to "hang"; whatever waits there follows at once.
    pub(crate) fn arm(&self, point: &str, how: &str) {
        let file = self.path("world/faults").join(point);
        let fresh = self.path("world").join("fresh");
        std::fs::write(&fresh, how).expect("a file");
        std::fs::rename(&fresh, &file).expect("a file");
    }

    /// Whatever waits at the point goes on.
    pub(crate) fn disarm(&self, point: &str) {
        let _ = std::fs::remove_file(self.path("world/faults").join(point));
    }

    pub(crate) fn was_met(&self, point: &str) -> bool {
        self.path("world/reached").join(point).exists()
    }

    /// As if nobody had met the point's fault yet.
    pub(crate) fn forget(&self, point: &str) {
        let _ = std::fs::remove_file(self.path("world/reached").join(point));
    }

    /// Waits until somebody has met the point's fault.
    pub(crate) async fn reached(&self, point: &str) {
        until(&format!("{point} is reached"), || self.was_met(point)).await;
    }

    /// Docker is away, and who was listening to its events or waited at a point has lost the line, as it happens with a real daemon
    /// before that is back.
    pub(crate) async fn loses_docker(&self) {
        self.forget("events");
        self.arm("daemon", "fail");
        self.reached("events").await;
        until("whoever waited has lost the line", || !self.waits_at_a_point()).await;
    }

    /// Whether a docker that has met a fault is still there.
    fn waits_at_a_point(&self) -> bool {
        let docker = self.path("docker").display().to_string();
        let is_there = |process: &str| {
            std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&docker))
        };
        let points = std::fs::read_dir(self.path("world/reached")).expect("a folder");
        // Reading the compose files needs no daemon.
        points
            .flatten()
            .filter(|point| point.file_name() != "config")
            .any(|point| std::fs::read_to_string(point.path()).is_ok_and(|process| is_there(process.trim())))
    }

    /// The image of `tag`, which is there, goes from the host, as if nothing used it.
    pub(crate) fn prune(&self, tag: &str) {
        let digest = self.digest(tag);
        self.change(|state| {
            let images = state["images"].as_array_mut().expect("a list");
            let before = images.len();
            images.retain(|image| !image.to_string().contains(&digest));
            assert_eq!(images.len(), before - 1, "{images:?}");
        });
    }

    /// What a file of the stand-ins holds from now on: whoever reads it meanwhile finds the old text or the new one, and no half.
    fn replace(&self, name: &str, text: &str) {
        let fresh = self.path("world/replaced");
        std::fs::write(&fresh, text).expect("a file");
        std::fs::rename(fresh, self.path(name)).expect("a file");
    }

    /// Changes what is up and which images are there, while no stand-in does.
    pub(crate) fn change(&self, how: impl FnOnce(&mut Value)) {
        let lock = File::options().create(true).append(true).open(self.path("world/lock")).expect("a file");
        lock.lock().expect("the lock");
        let mut state = self.state();
        how(&mut state);
        self.replace("world/state.json", &state.to_string());
    }

    /// Every container with its id, start time and image id, by service.
    pub(crate) fn containers(&self) -> BTreeMap<String, Value> {
        let state = self.state();
        let all = state["containers"].as_array().expect("a list").clone();
        all.into_iter().map(|one| (one["service"].as_str().unwrap_or_default().to_owned(), one)).collect()
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.path("world/state.json")).expect("a file")).expect("JSON")
    }

    /// The tag whose content the web container runs; "nothing" where there is none.
    pub(crate) fn running(&self) -> String {
        // Both of one look: a stand-in may be changing them.
        let state = self.state();
        let containers = state["containers"].as_array().expect("a list");
        let Some(web) = containers.iter().rfind(|one| one["service"] == "web") else { return "nothing".to_owned() };
        let images = state["images"].as_array().expect("a list");
        let image = images.iter().find(|image| image["id"] == web["image_id"]).expect("its image");
        let shelf = self.shelf.lock().unwrap();
        let is_it = |digest: &str| image["digests"].to_string().contains(digest);
        shelf.iter().find(|(_, pushed)| is_it(&pushed.digest)).map_or_else(|| "unknown".to_owned(), |(tag, _)| tag.clone())
    }

    pub(crate) fn env(&self) -> String {
        std::fs::read_to_string(self.path("stack/.env")).expect("a file")
    }

    /// As Docker leaves a container that it has ended with itself, where nothing says that it is to be started again.
    pub(crate) fn end_web(&self) {
        self.change(|state| {
            for one in state["containers"].as_array_mut().expect("a list") {
                if one["service"] == "web" {
                    one["state"] = json!("exited");
                }
            }
        });
    }

    /// As Docker leaves a network now and then, when its disk was full while a container of that name stopped.
    pub(crate) fn leave_endpoint(&self, name: &str) {
        self.change(|state| state["endpoints"] = json!([name]));
    }

    /// `.env` as it is when `tag` is pinned.
    pub(crate) fn env_of(&self, tag: &str) -> String {
        ENV.replace("WEB_TAG=v1", &format!("WEB_TAG={tag}@{}", self.digest(tag)))
    }

    /// From now on anybody who reads the compose file waits.
    pub(crate) fn block_files(&self) {
        let (file, aside) = (self.path("stack/compose.yaml"), self.path("compose.aside"));
        std::fs::rename(&file, aside).expect("a file");
        rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a pipe");
    }

    /// Waits until somebody waits for the compose file. It goes on by [`World::unblock_files`].
    pub(crate) async fn files_are_read(&self) -> File {
        const NONBLOCK: i32 = 0o4000;
        let file = self.path("stack/compose.yaml");
        // A pipe without a reader does not open for writing.
        until_some("the compose file is read", || File::options().write(true).custom_flags(NONBLOCK).open(&file).ok()).await
    }

    /// The compose file is there again, also for who waits at `pipe`.
    pub(crate) fn unblock_files(&self, pipe: Option<File>) {
        let (file, aside) = (self.path("stack/compose.yaml"), self.path("compose.aside"));
        let text = std::fs::read(&aside).expect("a file");
        std::fs::rename(aside, file).expect("a file");
        if let Some(mut pipe) = pipe {
            pipe.write_all(&text).expect("a reader");
        }
    }

    pub(crate) async fn database(&self) -> sqlx::AnyConnection {
        use sqlx::Connection as _;
        sqlx::any::install_default_drivers();
        let file = format!("sqlite://{}", self.path("data/tagalong.db").display());
        sqlx::AnyConnection::connect(self.url.as_ref().unwrap_or(&file)).await.expect("the database")
    }

    /// Who holds the service, since when and until when, as it is stored.
    pub(crate) async fn hold(&self) -> Option<(String, i64, Option<i64>)> {
        use sqlx::Row as _;
        let sql = "SELECT deployment, since_ms, until_ms FROM holds WHERE service = 'web'";
        let row = sqlx::query(sql).fetch_optional(&mut self.database().await).await.expect("an answer")?;
        Some((row.get("deployment"), row.get("since_ms"), row.get("until_ms")))
    }

    /// Nobody can write to the database until the answer is dropped.
    pub(crate) async fn lock_database(&self) -> sqlx::AnyConnection {
        let mut connection = self.database().await;
        let statements = match self.url {
            None => ["PRAGMA busy_timeout = 20000", "BEGIN IMMEDIATE"],
            Some(_) => ["BEGIN", "LOCK TABLE deployments, runs IN EXCLUSIVE MODE"],
        };
        for statement in statements {
            sqlx::query(statement).execute(&mut connection).await.expect("the lock");
        }
        connection
    }

    /// What must hold when every test ends: nothing runs or waits any more, nothing holds the stack's lock, nothing that
    /// was started still lives, and no secret stands in a journal.
    pub(crate) async fn finish(self) {
        let watched = self.control.is_some();
        self.finish_but_for(if watched { EVENTS } else { "" }).await;
    }

    /// The same where a control plane has asked what runs: who listens to Docker's events for that goes on for a while.
    pub(crate) async fn finish_while_watched(self) {
        self.finish_but_for(EVENTS).await;
    }

    async fn finish_but_for(self, going_on: &str) {
        let stack = self.path("stack");
        until("nothing holds the stack's lock", || landing::holders(&stack).is_empty()).await;
        let (_, all) = self.server().get("/api/v1/deployments?limit=100").await;
        for one in all["deployments"].as_array().expect("a list") {
            assert_eq!(one["state"], "done", "{one}");
            let journal = self.server().journal(one["id"].as_str().expect("an id")).await;
            assert!(!journal.contains(SECRET), "{journal}");
        }
        let log = self.server().log();
        assert!(log.contains("DEBUG") && !log.contains(SECRET), "{log}");
        let ours = self.path("docker").display().to_string();
        let may_go_on = |command: &str| !going_on.is_empty() && command.contains(going_on);
        let is_left = || commands().into_iter().find(|command| command.contains(&ours) && !may_go_on(command));
        until("every program has ended", || is_left().is_none()).await;
        assert!(!self.server().log().contains(SECRET));
    }
}

/// What stands in the command line of who listens to Docker's events.
const EVENTS: &str = " events ";

/// The command lines of all processes.
fn commands() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter_map(|one| std::fs::read(one.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .collect()
}

/// Whether `point` of the world is told to fail; waits there while it is told to hang.
fn meet(world: &Path, point: &str) -> bool {
    let fault = || std::fs::read_to_string(world.join("faults").join(point)).unwrap_or_default();
    if !fault().is_empty() {
        let _ = std::fs::write(world.join("reached").join(point), "");
    }
    let docker_is_away = || world.join("faults/daemon").exists() && point.starts_with("page");
    while fault() == "hang" {
        if docker_is_away() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    fault() == "fail"
}

/// The public page: what it shows follows what is up.
fn page(world: &Path, request: &Request) -> Answer {
    let notice = |point: &str| {
        if request.is_watcher() {
            let _ = std::fs::write(world.join("reached").join(point), "");
        }
    };
    let text = std::fs::read_to_string(world.join("state.json")).unwrap_or_default();
    let state: Value = serde_json::from_str(&text).unwrap_or_default();
    let web = state["containers"].as_array().into_iter().flatten().find(|one| one["service"] == "web");
    let image = web.and_then(|web| web["image"].as_str());
    let Some(tag) = image.and_then(|image| image.split('@').next()?.rsplit(':').next()) else {
        notice("away");
        return Answer::text(503, "nothing is up");
    };
    if request.path == "/version" {
        return Answer::text(200, tag);
    }
    notice("back");
    let is_up = web.is_some_and(|web| web["state"] == "running");
    if !is_up || (!request.is_watcher() && meet(world, &format!("page@{tag}"))) {
        return Answer::text(500, "<h1>it broke</h1>");
    }
    // Longer than the least that a plan can read of a page.
    Answer::text(200, format!("<!doctype html><title>site</title><h1>{tag}</h1><!-- {} -->", "x".repeat(2000)))
}

fn config(root: &Path, repository: &str, page: u16, settings: &Settings) -> String {
    let limit = |step: &str, plenty: &str| if settings.hurried == step { "6".to_owned() } else { plenty.to_owned() };
    let docker = root.join("docker");
    let mut text = format!(
        r#"version = 1
[server]
listen = []
socket = "s"
data_dir = "data"
log_level = "debug"
[docker]
program = "{docker}"
wait_s = 25
[service.web]
dir = "stack"
files = ["compose.yaml"]
project = "site"
image = "{repository}"
variable = "WEB_TAG"
{service}
[service.web.deadlines]
resolve_s = {resolve}
preflight_s = {preflight}
pull_s = {pull}
up_s = {up}
[service.web.health]
deadline_s = {health}
"#,
        docker = docker.display(),
        service = settings.service,
        resolve = limit("resolve", "30"),
        preflight = limit("preflight", "30"),
        pull = limit("pull", "120"),
        up = limit("up", "30"),
        health = limit("health", "30"),
    );
    for hook in ["before", "after", "undo"] {
        let deadline = limit(hook, "30");
        let _ = write!(
            text,
            "[service.web.{hook}]\nargv = [\"{}\", \"hook\", \"{hook}\", \"{SECRET}\"]\ndeadline_s = {deadline}\n",
            docker.display()
        );
    }
    if settings.is_smoked {
        let timeout = if settings.hurried == "smoke" { "6" } else { "30" };
        let _ = write!(
            text,
            "[service.web.smoke]\nurl = \"http://127.0.0.1:{page}/\"\nwithin_s = 0.2\ntimeout_s = {timeout}\nuser = \"staging\"\n\
             password_file = \"page.password\"\n[service.web.smoke.release]\npath = \"/version\"\ntext = true\n"
        );
    }
    text
}

/// Makes a file that not even root can replace, until this is dropped.
pub(crate) struct Immutable(PathBuf);

impl Immutable {
    pub(crate) fn make(file: PathBuf) -> Self {
        host("chattr", &["+i", &file.display().to_string()]);
        Self(file)
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        host("chattr", &["-i", &self.0.display().to_string()]);
    }
}
