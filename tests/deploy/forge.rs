//! A forge as small as it can be: deployments and commit statuses of GitHub, or the statuses of Forgejo, as their API descriptions have
//! them (api.github.com.yaml and Forgejo's swagger.v1.json). A call that these do not describe is noted as a fault and refused.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature;
use serde_json::Value;
use serde_json::json;
use tagalong::clock;

const TOKEN: &str = "ghp_0123456789abcdefghij";
/// The tokens of the installation begin so, and end with their number.
const INSTALLATION_TOKEN: &str = "ghs_0123456789abcdefghij";
const APP: u64 = 4711;
/// What names no commit.
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// What goes wrong with every call.
#[derive(Clone, PartialEq)]
pub(crate) enum Fault {
    Nothing,
    /// It is answered so: status, a header, what it says.
    Says(u16, &'static str, &'static str),
    /// It is not answered, and does nothing, until this is over.
    Hangs,
    /// A POST whose path ends so does what it should, and is never answered.
    Swallows(&'static str),
}

/// What was asked, and what is shown by now.
pub(crate) struct Shown {
    pub(crate) fault: Fault,
    /// How often the fault was met, and when first.
    pub(crate) met: usize,
    /// Calls that no API description has.
    pub(crate) wrong: Vec<String>,
    /// When calls came, since the fault is what it is.
    pub(crate) calls: Vec<Instant>,
    /// The deployments, each with its statuses.
    pub(crate) deployments: Vec<Value>,
    /// The statuses of all commits, in their order, with `sha`.
    pub(crate) statuses: Vec<Value>,
    /// Whether the owner of the token may write to the repository.
    pub(crate) may_push: bool,
    /// The tokens of the installation.
    pub(crate) tokens: Tokens,
}

/// The tokens that the App was given. Each second one is valid for so short a time that it may be shown only once.
#[derive(Default)]
pub(crate) struct Tokens {
    /// How many there are.
    pub(crate) given: usize,
    /// How often the newest was shown.
    shown: usize,
    /// Those up to this one were withdrawn.
    withdrawn: usize,
    /// How often one of these was shown.
    pub(crate) refused: usize,
}

impl Tokens {
    fn give(&mut self) -> Value {
        self.given += 1;
        self.shown = 0;
        let life_ms = if self.is_short() { 4 * 60_000 } else { 3_600_000 };
        let until = clock::utc(clock::now_ms() + life_ms);
        json!({"token": format!("{INSTALLATION_TOKEN}{}", self.given), "expires_at": until, "permissions": {}})
    }

    fn is_short(&self) -> bool {
        self.given % 2 == 1
    }

    /// Whether what is shown counts still.
    fn accepts(&mut self, authorization: &str) -> Result<bool, String> {
        if authorization != format!("Bearer {INSTALLATION_TOKEN}{}", self.given) {
            return Err(format!("authorization: {authorization}"));
        }
        if self.given <= self.withdrawn {
            self.refused += 1;
            return Ok(false);
        }
        self.shown += 1;
        if self.is_short() && self.shown > 1 {
            return Err("a token that ends soon is shown again".to_owned());
        }
        Ok(true)
    }

    /// From now on what was given so far is not accepted.
    pub(crate) fn withdraw(&mut self) {
        self.withdrawn = self.given;
    }
}

/// The forge; it ends with the process.
pub(crate) struct Forge {
    kind: &'static str,
    port: u16,
    dir: tempfile::TempDir,
    is_app: bool,
    shown: Arc<Mutex<Shown>>,
}

struct Asked {
    method: String,
    path: String,
    query: BTreeSet<String>,
    head: Vec<String>,
    body: Value,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        let of = |line: &'_ String| line.split_once(": ").is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.iter().find(|line| of(line)).and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value)
    }
}

impl Forge {
    pub(crate) fn github() -> Self {
        Self::serve("github", false)
    }

    /// GitHub, which knows us as an App.
    pub(crate) fn github_for_an_app() -> Self {
        Self::serve("github", true)
    }

    pub(crate) fn forgejo() -> Self {
        Self::serve("forgejo", false)
    }

    fn serve(kind: &'static str, is_app: bool) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("token"), TOKEN).expect("a file");
        let der = is_app.then(|| app_key(&dir.path().join("app.pem")));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shown = Shown {
            fault: Fault::Nothing,
            met: 0,
            wrong: Vec::new(),
            calls: Vec::new(),
            deployments: Vec::new(),
            statuses: Vec::new(),
            may_push: true,
            tokens: Tokens::default(),
        };
        let shown = Arc::new(Mutex::new(shown));
        let mine = Arc::clone(&shown);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shown, der) = (Arc::clone(&mine), der.clone());
                std::thread::spawn(move || talk(&stream, kind, der.as_deref(), &shown));
            }
        });
        Self { kind, port, dir, is_app, shown }
    }

    /// What stands in the configuration, behind the keys of the service.
    pub(crate) fn config(&self) -> String {
        let dir = self.dir.path().display();
        let login =
            if self.is_app { format!("app_id = {APP}\napp_key_file = \"{dir}/app.pem\"") } else { format!("token_file = \"{dir}/token\"") };
        let url = format!("http://127.0.0.1:{}", self.port);
        format!(
            "[service.web.source]\nforge = \"mine\"\nrepository = \"acme/web\"\n[[forge]]\nid = \"mine\"\nkind = \"{}\"\nurl = \"{url}\"\n{login}\n",
            self.kind
        )
    }

    pub(crate) fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap()
    }

    pub(crate) fn set(&self, fault: Fault) {
        let mut shown = self.shown();
        shown.fault = fault;
        shown.met = 0;
        shown.calls.clear();
    }

    /// The states that the deployments of a commit have had, each with its task, in their order.
    pub(crate) fn deployments_of(&self, sha: &str) -> Vec<(String, Vec<String>)> {
        let shown = self.shown();
        let of = shown.deployments.iter().filter(|one| one["sha"] == sha);
        let states = |one: &Value| one["statuses"].as_array().unwrap().iter().map(|status| text(&status["state"])).collect();
        of.map(|one| (text(&one["task"]), states(one))).collect()
    }

    /// The states that a commit has had, in their order.
    pub(crate) fn statuses_of(&self, sha: &str) -> Vec<String> {
        self.shown().statuses.iter().filter(|one| one["sha"] == sha).map(|one| text(&one["state"])).collect()
    }

    /// Nothing stands twice, and every call was one that the forge describes.
    pub(crate) fn is_in_order(&self) {
        let shown = self.shown();
        assert!(shown.wrong.is_empty(), "{:#?}", shown.wrong);
        let mut seen = BTreeSet::new();
        for one in &shown.deployments {
            assert!(seen.insert(one["payload"].to_string()), "twice: {one}");
            for status in one["statuses"].as_array().unwrap() {
                assert!(seen.insert(format!("{} {} {}", one["id"], status["state"], status["description"])), "twice: {one}");
            }
        }
        for one in &shown.statuses {
            assert!(seen.insert(format!("{} {} {}", one["sha"], one["state"], one["description"])), "twice: {one}");
        }
    }
}

impl Drop for Forge {
    /// What was wrong with the calls explains what is missing.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(shown) = self.shown.lock()
        {
            println!("{:#?}", shown.wrong);
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Writes the private key of an App as GitHub gives it, and gives the public one.
fn app_key(file: &Path) -> Vec<u8> {
    let file = file.display().to_string();
    for args in [
        vec!["genrsa", "-traditional", "-out", &file, "2048"],
        vec!["rsa", "-in", &file, "-RSAPublicKey_out", "-out", &(file.clone() + ".pub")],
    ] {
        assert!(Command::new("openssl").args(&args).output().expect("openssl").status.success(), "{args:?}");
    }
    let pem = std::fs::read_to_string(file + ".pub").expect("a file");
    STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).expect("base64")
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
    let mut asked = Asked { method, path: path.to_owned(), query, head, body: Value::Null };
    let mut body = vec![0; asked.header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    asked.body = serde_json::from_slice(&body).unwrap_or_default();
    Some(asked)
}

fn talk(mut stream: &TcpStream, kind: &str, app: Option<&[u8]>, shown: &Mutex<Shown>) {
    let Some(asked) = read(stream) else { return };
    shown.lock().unwrap().calls.push(Instant::now());
    let mut header = "x-nothing: 1".to_owned();
    let (status, body) = loop {
        let mut shown = shown.lock().unwrap();
        match shown.fault.clone() {
            Fault::Says(status, said_header, said) => {
                shown.met += 1;
                said_header.clone_into(&mut header);
                break (status, json!({"message": said, "documentation_url": "https://docs.github.com/rest"}));
            }
            Fault::Hangs => shown.met = shown.met.max(1),
            Fault::Swallows(end) if asked.method == "POST" && asked.path.ends_with(end) => {
                if shown.met == 0 {
                    answer(&mut shown, kind, app, &asked);
                }
                shown.met += 1;
                drop(shown);
                // It never answers: it goes when nobody waits any more.
                let _ = stream.read(&mut [0; 1]);
                return;
            }
            Fault::Nothing | Fault::Swallows(_) => break answer(&mut shown, kind, app, &asked),
        }
        drop(shown);
        std::thread::sleep(Duration::from_millis(10));
    };
    let body = body.to_string();
    let mut head = format!("HTTP/1.1 {status} .\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\n");
    let _ = write!(head, "{header}\r\ncontent-length: {}\r\n\r\n", body.len());
    // Anybody who asked may have gone meanwhile.
    let _ = stream.write_all((head + &body).as_bytes());
}

/// What the API answers.
fn answer(shown: &mut Shown, kind: &str, app: Option<&[u8]>, asked: &Asked) -> (u16, Value) {
    let (status, body) = described(shown, kind, app, asked).unwrap_or_else(|why| {
        shown.wrong.push(format!("{} {} {}: {why}", asked.method, asked.path, asked.body));
        (422, json!({"message": why}))
    });
    (status, body)
}

fn described(shown: &mut Shown, kind: &str, app: Option<&[u8]>, asked: &Asked) -> Result<(u16, Value), String> {
    let base = if kind == "github" { "/api/v3" } else { "/api/v1" };
    let path = asked.path.strip_prefix(base).ok_or("the path of another API")?;
    headers(kind, asked)?;
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let is_own = path.starts_with("/app/") || path.ends_with("/installation");
    let authorization = asked.header("authorization");
    match (kind, app) {
        ("github", Some(key)) if is_own => own_token(key, authorization)?,
        ("github", Some(_)) => {
            if !shown.tokens.accepts(authorization)? {
                return Ok((401, json!({"message": "Bad credentials"})));
            }
        }
        ("github", None) if authorization == format!("Bearer {TOKEN}") => {}
        ("forgejo", None) if authorization == format!("token {TOKEN}") => {}
        _ => return Err(format!("authorization: {authorization}")),
    }
    match (asked.method.as_str(), &parts[..]) {
        ("GET", ["repos", "acme", "web", "installation"]) => Ok((200, json!({"id": 7, "app_id": APP}))),
        ("POST", ["app", "installations", "7", "access_tokens"]) => {
            fields(&asked.body, &[("repositories", "names")], &[])?;
            Ok((201, shown.tokens.give()))
        }
        ("GET", ["repos", "acme", "web", "commits", sha, "statuses"]) if kind == "github" => {
            query(asked, &["per_page=100"])?;
            Ok((200, newest_first(statuses(shown, sha, "state"))))
        }
        ("GET", ["repos", "acme", "web", "statuses", sha]) if kind == "forgejo" => {
            query(asked, &["limit=50", "sort=recentupdate"])?;
            Ok((200, newest_first(statuses(shown, sha, "status"))))
        }
        // What the owner of the token may do is looked at first, and then whether there is such a commit.
        ("POST", ["repos", "acme", "web", "statuses", NO_COMMIT]) if kind == "github" => {
            fields(&asked.body, &[("state", "status")], &[("context", "text")])?;
            Ok((422, json!({"message": format!("No commit found for SHA: {NO_COMMIT}")})))
        }
        ("POST", ["repos", "acme", "web", "deployments"]) if kind == "github" && asked.body["ref"] == NO_COMMIT => {
            fields(&asked.body, &[("ref", "text")], &[("auto_merge", "flag"), ("required_contexts", "names")])?;
            Ok((422, json!({"message": format!("No ref found for: {NO_COMMIT}")})))
        }
        ("GET", ["repos", "acme", "web"]) if kind == "forgejo" => {
            Ok((200, json!({"full_name": "acme/web", "permissions": {"admin": false, "push": shown.may_push, "pull": true}})))
        }
        ("POST", ["repos", "acme", "web", "statuses", sha]) => {
            fields(&asked.body, &[("state", "status")], &[("context", "text"), ("description", "text"), ("target_url", "url")])?;
            let mut status = asked.body.clone();
            status["sha"] = json!(sha);
            shown.statuses.push(status);
            let all = statuses(shown, sha, if kind == "github" { "state" } else { "status" });
            Ok((201, all.last().cloned().unwrap_or_default()))
        }
        (_, ["repos", "acme", "web", "deployments", rest @ ..]) if kind == "github" => deployments(shown, asked, rest),
        _ => Err("no such route".to_owned()),
    }
}

fn deployments(shown: &mut Shown, asked: &Asked, rest: &[&str]) -> Result<(u16, Value), String> {
    let at = |number: &str| {
        shown.deployments.iter().position(|one| number.parse().is_ok_and(|number: u64| one["id"] == number)).ok_or("no such deployment")
    };
    match (asked.method.as_str(), rest) {
        ("GET", []) => {
            let sha = asked.query.iter().find_map(|pair| pair.strip_prefix("sha=")).ok_or("no sha")?.to_owned();
            query(asked, &["environment=tagalong%2Fweb", "per_page=100", &format!("sha={sha}")])?;
            let of = shown.deployments.iter().filter(|one| one["sha"] == sha).cloned().collect();
            Ok((200, newest_first(of)))
        }
        ("POST", []) => {
            let optional = [("task", "text"), ("auto_merge", "flag"), ("required_contexts", "names"), ("payload", "object")];
            fields(&asked.body, &[("ref", "text")], &[&optional[..], &[("environment", "text"), ("description", "text")]].concat())?;
            let mut made = asked.body.clone();
            made["id"] = json!(shown.deployments.len() + 1);
            made["sha"] = made["ref"].clone();
            made["statuses"] = json!([]);
            let is_asked = made["auto_merge"] == false && made["required_contexts"] == json!([]) && made["environment"] == "tagalong/web";
            shown.deployments.push(made.clone());
            if is_asked { Ok((201, made)) } else { Err("it would be merged or wait for contexts".to_owned()) }
        }
        ("GET", [number, "statuses"]) => {
            query(asked, &["per_page=100"])?;
            let at = at(number)?;
            Ok((200, newest_first(shown.deployments[at]["statuses"].as_array().cloned().unwrap_or_default())))
        }
        ("POST", [number, "statuses"]) => {
            let optional = [("description", "text"), ("log_url", "url"), ("environment_url", "url"), ("auto_inactive", "flag")];
            fields(&asked.body, &[("state", "deployment status")], &optional)?;
            let at = at(number)?;
            shown.deployments[at]["statuses"].as_array_mut().ok_or("no list")?.push(asked.body.clone());
            if asked.body["auto_inactive"] == false { Ok((201, asked.body.clone())) } else { Err("others become inactive".to_owned()) }
        }
        _ => Err("no such route".to_owned()),
    }
}

fn newest_first(mut all: Vec<Value>) -> Value {
    all.reverse();
    Value::from(all)
}

/// The statuses of a commit, whose state a reply has under `name`.
fn statuses(shown: &Shown, sha: &str, name: &str) -> Vec<Value> {
    let of = shown.statuses.iter().filter(|one| one["sha"] == sha);
    of.map(|one| json!({name: one["state"], "context": one["context"], "description": one["description"]})).collect()
}

fn headers(kind: &str, asked: &Asked) -> Result<(), String> {
    let is_right = match kind {
        "github" => asked.header("accept") == "application/vnd.github+json" && asked.header("x-github-api-version") == "2022-11-28",
        _ => true,
    };
    let is_right = is_right && asked.head.iter().filter(|line| line.to_ascii_lowercase().starts_with("user-agent:")).count() == 1;
    let has_json = asked.method == "GET" || asked.header("content-type") == "application/json";
    if is_right && has_json && asked.header("user-agent").starts_with("tagalong/") { Ok(()) } else { Err(format!("{:?}", asked.head)) }
}

fn query(asked: &Asked, wanted: &[&str]) -> Result<(), String> {
    let given: Vec<&str> = asked.query.iter().map(String::as_str).collect();
    if given == wanted { Ok(()) } else { Err(format!("{given:?}")) }
}

/// Every needed field is there, and each has its type; there are no others.
fn fields(body: &Value, needed: &[(&str, &str)], optional: &[(&str, &str)]) -> Result<(), String> {
    let object = body.as_object().ok_or("no object")?;
    if let Some((missing, _)) = needed.iter().find(|(name, _)| !object.contains_key(*name)) {
        return Err(format!("{missing} is missing"));
    }
    for (name, value) in object {
        let known = needed.iter().chain(optional).find(|(known, _)| known == name).ok_or_else(|| format!("{name} is unknown"))?;
        let text = value.as_str();
        let is_it = match known.1 {
            "text" => text.is_some_and(|text| text.chars().count() <= 140),
            "url" => text.is_some_and(|text| text.starts_with("http")),
            "flag" => value.is_boolean(),
            "object" => value.is_object(),
            "names" => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
            "status" => text.is_some_and(|text| ["pending", "success", "failure", "error"].contains(&text)),
            _ => text.is_some_and(|text| ["queued", "in_progress", "success", "failure", "error", "inactive"].contains(&text)),
        };
        if !is_it {
            return Err(format!("{name} is {value}"));
        }
    }
    Ok(())
}

/// Whether it is the token that an App makes for itself: signed with its key, and valid for ten minutes at most.
fn own_token(key: &[u8], authorization: &str) -> Result<(), String> {
    let token = authorization.strip_prefix("Bearer ").ok_or("no bearer")?;
    let (signed, proof) = token.rsplit_once('.').ok_or("no token")?;
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|error| error.to_string());
    let json = |part: &str| serde_json::from_slice::<Value>(&bytes(part)?).map_err(|error| error.to_string());
    let public = signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, key);
    public.verify(signed.as_bytes(), &bytes(proof)?).map_err(|_| "the signature is wrong")?;
    let (head, claims) = signed.split_once('.').ok_or("no claims")?;
    let (head, claims, now_s) = (json(head)?, json(claims)?, clock::now_ms() / 1000);
    let number = |name: &str| claims[name].as_i64().unwrap_or_default();
    let is_in_time = number("iat") <= now_s && number("exp") > now_s && number("exp") <= now_s + 600;
    let is_it = head["alg"] == "RS256" && claims["iss"].as_str() == Some(&APP.to_string()) && is_in_time;
    if is_it { Ok(()) } else { Err(format!("{head} {claims}")) }
}
