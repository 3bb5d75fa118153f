//! A real server in a temporary folder, calls to it, and a look into its database from beside.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use sqlx::AnyPool;
use sqlx::AssertSqlSafe;
use sqlx::Row as _;
use tagalong::app::App;
use tagalong::clock;
use tagalong::config::Config;
use tagalong::http::auth;
use tagalong::landing;
use tagalong::model::ServiceName;

use crate::cluster::Cluster;
pub(crate) use crate::cluster::Database;

/// No wait of a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Makes of `async fn NAME(database: Database)` one test for each database.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::support::Database;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() { super::$name(Database::Sqlite).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() { super::$name(Database::Postgres).await }
        }
    )+ };
}

/// A key of the configuration, with its secret.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: &'static str,
    pub(crate) scopes: Vec<&'static str>,
    /// Further lines of its table.
    pub(crate) more: String,
    secret: [u8; 32],
    is_bearer: bool,
}

impl Key {
    pub(crate) fn signing(id: &'static str, scopes: &[&'static str]) -> Self {
        Self { id, scopes: scopes.to_vec(), more: String::new(), secret: clock::random_bytes(), is_bearer: false }
    }

    pub(crate) fn bearer(id: &'static str, scopes: &[&'static str]) -> Self {
        Self { is_bearer: true, ..Self::signing(id, scopes) }
    }

    pub(crate) fn with(self, more: &str) -> Self {
        Self { more: more.to_owned(), ..self }
    }

    /// What stands in the secret's file.
    pub(crate) fn text(&self) -> String {
        let text = STANDARD.encode(self.secret);
        if self.is_bearer { format!("tk-{text}") } else { format!("whsec_{text}") }
    }

    /// The headers that prove it for a call.
    pub(crate) fn proof(&self, id: &str, at_s: i64, body: &[u8]) -> Vec<(&'static str, String)> {
        if self.is_bearer {
            return vec![("authorization", format!("Bearer {}", self.text()))];
        }
        vec![
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", at_s.to_string()),
            ("webhook-signature", auth::sign(&self.secret, id, at_s, body)),
        ]
    }

    fn table(&self, dir: &Path) -> String {
        std::fs::write(dir.join(format!("{}.secret", self.id)), self.text()).unwrap();
        let name = if self.is_bearer { "token_file" } else { "secret_file" };
        format!("[[key]]\nid = \"{id}\"\n{name} = \"{id}.secret\"\nscopes = {:?}\n{}\n", self.scopes, self.more, id = self.id)
    }
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) database: Database,
    /// Further lines of `[server]`.
    pub(crate) server: String,
    /// Further tables.
    pub(crate) tables: String,
    /// Further files beside the configuration, and what stands in them.
    pub(crate) files: Vec<(&'static str, String)>,
    pub(crate) keys: Vec<Key>,
    pub(crate) services: Vec<&'static str>,
    /// Further lines of each service.
    pub(crate) service: String,
    pub(crate) socket: bool,
}

impl Plan {
    /// One signing key that may do everything, and two services.
    pub(crate) fn new(database: Database) -> Self {
        Self {
            database,
            server: "failed_attempts_per_min = 100000".into(),
            tables: String::new(),
            files: Vec::new(),
            keys: vec![Key::signing("ops", &["deploy:*", "rollback:*", "approve:*", "reload:*", "read"])],
            services: vec!["web", "db"],
            service: String::new(),
            socket: false,
        }
    }

    pub(crate) async fn start(self) -> Rig {
        let dir = folder();
        let url = match self.database {
            Database::Sqlite => None,
            Database::Postgres => Some(Cluster::new_database().await),
        };
        Rig::start(self, dir, "server", url).await
    }

    /// In this folder, where `server` becomes the data folder, and with this database.
    pub(crate) async fn start_in(self, dir: tempfile::TempDir, url: Option<String>) -> Rig {
        Rig::start(self, dir, "server", url).await
    }

    /// Writes the configuration of the server whose data folder is `name`, and returns its path.
    pub(crate) fn write(&self, dir: &Path, name: &str, url: Option<&str>) -> PathBuf {
        let socket = if self.socket { dir.join(format!("{name}.sock")).display().to_string() } else { String::new() };
        // A test that says itself where to listen is left alone.
        let listen = if self.server.contains("listen =") { "" } else { "listen = [\"127.0.0.1:0\"]" };
        let data = dir.join(name).display().to_string();
        let mut text = format!("version = 1\n[server]\n{listen}\nsocket = {socket:?}\ndata_dir = {data:?}\n{}\n", self.server);
        if let Some(url) = url {
            std::fs::write(dir.join("postgres.url"), url).unwrap();
            text += "[store]\npostgres_url_file = \"postgres.url\"\n";
        }
        let _ = writeln!(text, "[docker]\nprogram = {:?}\n{}", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/docker.sh"), self.tables);
        for (name, content) in &self.files {
            std::fs::write(dir.join(name), content).unwrap();
        }
        text.extend(self.keys.iter().map(|key| key.table(dir)));
        for service in &self.services {
            let stack = dir.join(service);
            std::fs::create_dir_all(&stack).unwrap();
            // Nothing listens there, so an order ends where the registry would be asked.
            let stack = stack.display();
            let _ =
                writeln!(text, "[service.{service}]\ndir = \"{stack}\"\nproject = \"{service}\"\nimage = \"127.0.0.1:1/acme/{service}\"");
            let _ = writeln!(text, "variable = \"TAG\"\n{}", self.service);
        }
        let file = dir.join(format!("{name}.toml"));
        std::fs::write(&file, text).unwrap();
        file
    }
}

/// A running server.
pub(crate) struct Rig {
    pub(crate) plan: Plan,
    pub(crate) config_file: PathBuf,
    pub(crate) url: Option<String>,
    pub(crate) http: reqwest::Client,
    dir: Arc<tempfile::TempDir>,
    name: &'static str,
    app: Option<App>,
}

impl Rig {
    async fn start(plan: Plan, dir: tempfile::TempDir, name: &'static str, url: Option<String>) -> Self {
        let config_file = plan.write(dir.path(), name, url.as_deref());
        let config = Config::load(&config_file).unwrap();
        let app = App::start(config).await.unwrap();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { plan, config_file, url, http, dir: Arc::new(dir), name, app: Some(app) }
    }

    pub(crate) fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir().join(self.name)
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.app().addresses()[0]
    }

    pub(crate) fn key(&self) -> &Key {
        &self.plan.keys[0]
    }

    /// Another server on the same PostgreSQL database and the same stacks.
    pub(crate) async fn beside(&self) -> Rig {
        let file = self.plan.write(self.dir(), "other", self.url.as_deref());
        let app = App::start(Config::load(&file).unwrap()).await.unwrap();
        Rig {
            plan: self.plan.clone(),
            config_file: file,
            url: self.url.clone(),
            http: self.http.clone(),
            dir: Arc::clone(&self.dir),
            name: "other",
            app: Some(app),
        }
    }

    /// Stops the server and starts it again over the same folder and database.
    pub(crate) async fn restart(&mut self) {
        self.app.take().unwrap().stop().await;
        // Another test's program may have been started just now; until it is what it will be, it holds our lock as well.
        let again = until("the data folder's lock", async || match App::start(Config::load(&self.config_file).unwrap()).await {
            Err(error) if error.to_string().contains("is in use by another tagalong") => None,
            started => Some(started),
        });
        self.app = Some(again.await.unwrap());
    }

    /// Stops the server, whatever it is at.
    /// Two releases have landed, and from now on these tables count as well.
    pub(crate) async fn landed_before(mut self, tables: &str) -> Self {
        self.record_releases(2).await;
        let text = std::fs::read_to_string(&self.config_file).unwrap();
        std::fs::write(&self.config_file, format!("{text}\n{tables}")).unwrap();
        self.restart().await;
        self
    }

    pub(crate) async fn stop(mut self) {
        self.app.take().unwrap().stop().await;
    }

    /// Orders of `service` stop where the daemon is asked, until the gate is dropped.
    pub(crate) fn gate(&self, service: &str) -> Gate {
        let file = File::create(self.dir().join(service).join("gate")).unwrap();
        file.lock().unwrap();
        Gate(file)
    }

    /// Where the database is.
    pub(crate) fn database_url(&self) -> String {
        self.url.clone().unwrap_or_else(|| format!("sqlite://{}", self.data_dir().join(tagalong::store::SQLITE_FILE).display()))
    }

    /// The database, by a connection of our own.
    pub(crate) async fn database(&self) -> AnyPool {
        sqlx::pool::PoolOptions::new().max_connections(1).connect(&self.database_url()).await.unwrap()
    }

    pub(crate) async fn count(&self, what: &'static str) -> i64 {
        let pool = self.database().await;
        let count = sqlx::query(what).fetch_one(&pool).await.unwrap().try_get(0).unwrap();
        pool.close().await;
        count
    }

    pub(crate) async fn execute(&self, statement: &'static str) -> u64 {
        let pool = self.database().await;
        let done = sqlx::query(statement).execute(&pool).await.unwrap().rows_affected();
        pool.close().await;
        done
    }

    /// How many rows each table has that a call may write.
    pub(crate) async fn rows(&self) -> Vec<i64> {
        vec![
            self.count("SELECT COUNT(*) FROM deployments").await,
            self.count("SELECT COUNT(*) FROM lines").await,
            self.count("SELECT COUNT(*) FROM deliveries").await,
            self.count("SELECT COUNT(*) FROM holds").await,
            self.count("SELECT COUNT(*) FROM audit").await,
        ]
    }

    /// Orders a tag and returns the deployment.
    pub(crate) async fn order(&self, service: &str, tag: &str) -> String {
        let answer = Call::post("/api/v1/deployments", &json!({ "service": service, "tag": tag })).by(self.key()).send(self).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Orders a tag and waits until it is being carried out and has said so; the gate of the service must be closed.
    pub(crate) async fn order_running(&self, service: &str, tag: &str) -> String {
        let id = self.order(service, tag).await;
        self.until(&id, |shown| shown["state"] == "running" && shown["step"] == "resolve").await;
        let store = &self.app().shared().store;
        until("its first lines", async || (store.last_position(&id.parse().unwrap()).await.unwrap() == 3).then_some(())).await;
        id
    }

    /// Records that the tags 1, 2, … of `web` have landed one after the other. Returns their deployments; the last one is live.
    pub(crate) async fn record_releases(&self, many: usize) -> Vec<String> {
        let order = self.order("web", "0").await;
        self.ended(&order).await;
        let pool = self.database().await;
        let ids: Vec<String> = (1..=many).map(|n| format!("010000000000000000000000{n:02}")).collect();
        for (n, id) in (1..).zip(&ids) {
            let columns = "service, state, caller, force, dry_run, last_position, created_ms, ended_ms";
            let deployment = format!(
                "INSERT INTO deployments (id, tag, outcome, outcome_name, kind, {columns})
                 SELECT '{id}', '{n}', '{{\"outcome\":\"live\",\"warnings\":[]}}', 'live', 'deploy', {columns} FROM deployments WHERE id = '{order}'"
            );
            let digest = format!("{n:x}").repeat(64);
            let columns = "run, service, host, state, step, barrier, attempts, fence";
            let run = format!(
                "INSERT INTO runs (deployment, verified, changed, images, {columns})
                 SELECT '{id}', 1, 1, '[\"127.0.0.1:1/acme/web:{n}@sha256:{digest}\"]', {columns} FROM runs WHERE deployment = '{order}'"
            );
            for statement in [deployment, run] {
                assert_eq!(sqlx::query(AssertSqlSafe(statement)).execute(&pool).await.unwrap().rows_affected(), 1);
            }
        }
        pool.close().await;
        ids
    }

    /// Records that the first run of `service` has landed the tag `tag`.
    pub(crate) async fn record_landed(&self, service: &str, tag: &str) {
        let digest = "a".repeat(64);
        let statement = format!(
            "UPDATE runs SET verified = 1, images = '[\"127.0.0.1:1/acme/{service}:{tag}@sha256:{digest}\"]'
             WHERE deployment = (SELECT MIN(deployment) FROM runs WHERE service = '{service}')"
        );
        let pool = self.database().await;
        assert_eq!(sqlx::query(AssertSqlSafe(statement)).execute(&pool).await.unwrap().rows_affected(), 1);
        pool.close().await;
    }

    pub(crate) async fn show(&self, id: &str) -> Value {
        Call::get(&format!("/api/v1/deployments/{id}")).by(self.key()).send(self).await.json()
    }

    /// Waits until the deployment is as wanted.
    pub(crate) async fn until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&format!("deployment {id}"), async || Some(self.show(id).await).filter(&wanted)).await
    }

    pub(crate) async fn ended(&self, id: &str) -> Value {
        self.until(id, |shown| shown["state"] == "done").await
    }

    /// A signed action: its body names the call.
    pub(crate) async fn act(&self, key: &Key, path: &str) -> Answer {
        Call::post(path, &json!({ "call": format!("POST {path}") })).by(key).send(self).await
    }

    /// Waits until all orders have ended, checks what must hold after every test, and stops the server.
    pub(crate) async fn finish(self) {
        let store = self.app().shared().store.clone();
        until("the end of all orders", async || (store.counts().await.unwrap() == (0, 0)).then_some(())).await;
        assert_eq!(self.count("SELECT COUNT(*) FROM deployments WHERE outcome IS NULL OR ended_ms IS NULL").await, 0);
        for service in &self.plan.services {
            // A killed program may need a moment until it is gone, and holds the lock until then.
            let stack = self.dir().join(service);
            until("the lock of the stack is free", async || landing::holders(&stack).is_empty().then_some(())).await;
            ServiceName::parse(service).unwrap();
        }
        let pool = self.database().await;
        let texts = "SELECT text FROM lines UNION ALL SELECT outcome FROM deployments UNION ALL SELECT detail FROM audit";
        for row in sqlx::query(texts).fetch_all(&pool).await.unwrap() {
            let text: String = row.try_get(0).unwrap();
            assert!(!self.plan.keys.iter().any(|key| text.contains(&key.text())), "a secret: {text}");
            assert!(!text.contains(['\n', '\r', '\u{1b}']), "more than a line: {text:?}");
        }
        pool.close().await;
        self.stop().await;
    }
}

/// A temporary folder, in memory where there is such a place: the tests are about what is stored, not about how quick the
/// disk of a busy machine is.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Holds orders back while it lives.
pub(crate) struct Gate(#[allow(dead_code, reason = "its lock is what counts")] File);

/// Waits until `look` finds something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A call before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
    key: Option<Key>,
    id: String,
    off_s: i64,
    signed: Option<Vec<u8>>,
}

impl Call {
    pub(crate) fn new(method: Method, path: &str, body: Vec<u8>) -> Self {
        let id = format!("msg_{}", clock::new_id());
        Self { method, path: path.to_owned(), body, headers: Vec::new(), key: None, id, off_s: 0, signed: None }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new(Method::GET, path, Vec::new())
    }

    pub(crate) fn post(path: &str, body: &Value) -> Self {
        Self::new(Method::POST, path, body.to_string().into_bytes())
    }

    /// Proven by `key`.
    pub(crate) fn by(self, key: &Key) -> Self {
        Self { key: Some(key.clone()), ..self }
    }

    /// With this delivery id.
    pub(crate) fn id(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    /// Signed as if this were what is sent.
    pub(crate) fn signed_as(self, signed: &str) -> Self {
        Self { signed: Some(signed.as_bytes().to_vec()), ..self }
    }

    /// Signed at a time that is so many seconds off.
    pub(crate) fn off(self, off_s: i64) -> Self {
        Self { off_s, ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn path_end(mut self, end: &str) -> Self {
        self.path += end;
        self
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) async fn open(self, rig: &Rig) -> reqwest::Response {
        self.try_open(&rig.http, &format!("http://{}", rig.address())).await.unwrap()
    }

    pub(crate) async fn try_open(self, http: &reqwest::Client, base: &str) -> reqwest::Result<reqwest::Response> {
        // What reads has no body, and is signed as the call that it is.
        let call = json!({ "call": format!("{} {}", self.method, self.path) }).to_string().into_bytes();
        let reads = matches!(self.method, Method::GET | Method::HEAD);
        let signed = self.signed.as_ref().unwrap_or(if reads { &call } else { &self.body });
        let proof: Vec<_> = self.key.iter().flat_map(|key| key.proof(&self.id, clock::now_ms() / 1000 + self.off_s, signed)).collect();
        let mut request = http.request(self.method, format!("{base}{}", self.path));
        for (name, value) in proof.into_iter().chain(self.headers) {
            request = request.header(name, value);
        }
        request.body(self.body).send().await
    }

    pub(crate) async fn send(self, rig: &Rig) -> Answer {
        Answer::of(self.open(rig).await).await
    }
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The status and, of a problem, its code.
    pub(crate) fn code(&self) -> (u16, String) {
        let code = serde_json::from_str::<Value>(&self.text).unwrap_or_default()["code"].as_str().unwrap_or_default().to_owned();
        (self.status, code)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Asserts the status and code of an answer.
#[track_caller]
pub(crate) fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.code(), (status, code.to_owned()), "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
}
