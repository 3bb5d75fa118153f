//! A forge that knows the checks of commits: GitHub's API, and that of Forgejo and Gitea, as far as checks are asked about. It looks at
//! each request as their API descriptions have it, and answers page by page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use serde_json::Value;
use serde_json::json;
use tagalong::clock;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

pub(crate) const TOKEN: &str = "ghp-0123456789abcdef0123456789abcdef";
/// A commit of `main`, another one, and one that only a fork has.
pub(crate) const COMMIT: &str = "1f0c9e2a7d4105b3c8e6f9012345678901234567";
pub(crate) const OTHER: &str = "2a0c9e2a7d4105b3c8e6f9012345678901234567";
pub(crate) const OF_A_FORK: &str = "3b0c9e2a7d4105b3c8e6f9012345678901234567";

/// How the forge answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manner {
    Well,
    /// Not at all, as long as anybody waits.
    Silent,
    Status(u16),
    /// No more calls for so many seconds.
    Limited(i64),
    Garbage,
    Huge,
    /// JSON that its API does not describe.
    Odd,
}

pub(crate) struct Forge {
    pub(crate) url: String,
    pub(crate) kind: &'static str,
    shared: Arc<Shared>,
}

struct Shared {
    kind: &'static str,
    manner: Mutex<Manner>,
    /// Check runs and commit statuses, by commit.
    runs: Mutex<BTreeMap<String, Vec<Value>>>,
    statuses: Mutex<BTreeMap<String, Vec<Value>>>,
    /// What the branch `main` requires: its protection, and the rules.
    branch: Mutex<Value>,
    rules: Mutex<Vec<Value>>,
    /// How often it was asked about the checks of a commit, and for anything.
    asked: AtomicUsize,
    called: AtomicUsize,
    /// What no forge would take.
    wrong: Mutex<Vec<String>>,
}

/// A request, as far as it matters.
struct Request {
    path: String,
    query: BTreeMap<String, String>,
}

impl Forge {
    pub(crate) async fn start(kind: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            kind,
            manner: Mutex::new(Manner::Well),
            runs: Mutex::default(),
            statuses: Mutex::default(),
            branch: Mutex::new(json!({})),
            rules: Mutex::default(),
            asked: AtomicUsize::new(0),
            called: AtomicUsize::new(0),
            wrong: Mutex::default(),
        });
        let server = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&server)));
            }
        });
        Self { url, kind, shared }
    }

    /// Its table in the configuration; the token stands in the file `forge.token`.
    pub(crate) fn table(&self) -> String {
        let Self { url, kind, .. } = self;
        let api = if *kind == "github" { format!("api_url = {url:?}\n") } else { String::new() };
        format!("[[forge]]\nid = \"hub\"\nkind = {kind:?}\nurl = {url:?}\n{api}token_file = \"forge.token\"\n")
    }

    pub(crate) fn behaves(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// These are the check runs of `commit`: name, suite, App, and the conclusion, or `running`.
    pub(crate) fn has_runs(&self, commit: &str, runs: &[(&str, u64, u64, &str)]) {
        let run = |(at, (name, suite, app, conclusion)): (usize, &(&str, u64, u64, &str))| {
            let is_running = *conclusion == "running";
            json!({
                "id": at + 1, "name": name, "head_sha": commit, "status": if is_running { "in_progress" } else { "completed" },
                "conclusion": if is_running { Value::Null } else { json!(conclusion) },
                "app": { "id": app, "slug": "app" }, "check_suite": { "id": suite },
            })
        };
        let runs = runs.iter().enumerate().map(run).collect();
        self.shared.runs.lock().unwrap().insert(commit.to_owned(), runs);
    }

    /// These are the commit statuses of `commit`, the oldest first.
    pub(crate) fn has_statuses(&self, commit: &str, statuses: &[(&str, &str)]) {
        let key = if self.kind == "github" { "state" } else { "status" };
        let status =
            |(at, (context, state)): (usize, &(&str, &str))| json!({ "id": at + 1, "context": context, key: state, "target_url": "" });
        let statuses = statuses.iter().enumerate().map(status).collect();
        self.shared.statuses.lock().unwrap().insert(commit.to_owned(), statuses);
    }

    /// What the protection of `main` says.
    pub(crate) fn protects(&self, branch: Value, rules: Vec<Value>) {
        *self.shared.branch.lock().unwrap() = branch;
        *self.shared.rules.lock().unwrap() = rules;
    }

    /// How often it was asked about the checks of a commit.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// How often it was called at all.
    pub(crate) fn called(&self) -> usize {
        self.shared.called.load(Ordering::SeqCst)
    }

    /// Every request was one that a forge takes.
    #[track_caller]
    pub(crate) fn assert_well_asked(&self) {
        assert_eq!(*self.shared.wrong.lock().unwrap(), Vec::<String>::new());
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    shared.called.fetch_add(1, Ordering::SeqCst);
    let head = String::from_utf8(head).unwrap();
    let request = shared.read(&head);
    let manner = shared.manner.lock().unwrap().clone();
    let (status, more, text) = match manner {
        Manner::Silent => {
            // Until whoever asks goes away.
            let _ = stream.read(&mut [0]).await;
            return;
        }
        Manner::Status(status) => (status, String::new(), r#"{"message":"No."}"#.to_owned()),
        Manner::Limited(seconds) => {
            let reset = clock::now_ms() / 1000 + seconds;
            let more = format!("x-ratelimit-remaining: 0\r\nx-ratelimit-reset: {reset}\r\n");
            (403, more, r#"{"message":"API rate limit exceeded"}"#.to_owned())
        }
        Manner::Garbage => (200, String::new(), "<html>".to_owned()),
        Manner::Huge => (200, String::new(), format!("[\"{}\"]", "x".repeat(9 << 20))),
        Manner::Odd => (200, String::new(), r#"{"state":"success","conclusion":"success"}"#.to_owned()),
        Manner::Well => match request.and_then(|request| shared.answer(&request)) {
            Some((body, link)) => (200, link, body.to_string()),
            None => (404, String::new(), r#"{"message":"Not Found"}"#.to_owned()),
        },
    };
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

impl Shared {
    fn is_github(&self) -> bool {
        self.kind == "github"
    }

    fn complain(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// The request behind `head`; none: it is not one that this forge has.
    fn read(&self, head: &str) -> Option<Request> {
        let headers: BTreeMap<String, &str> =
            head.lines().filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        let wanted = if self.is_github() { format!("Bearer {TOKEN}") } else { format!("token {TOKEN}") };
        let has = |name: &str| headers.get(name).copied().unwrap_or_default();
        if has("authorization") != wanted || has("user-agent").is_empty() {
            self.complain(format!("authorization or user-agent: {head}"));
        }
        let mut line = head.lines().next()?.split(' ');
        if line.next()? != "GET" {
            self.complain(format!("asking changes nothing: {head}"));
        }
        let (path, query) = line.next().map(|path| path.split_once('?').unwrap_or((path, "")))?;
        let path = path.strip_prefix(if self.is_github() { "" } else { "/api/v1" })?;
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Some(Request { path: path.to_owned(), query })
    }

    /// Body and further headers; none: there is no such thing.
    fn answer(&self, request: &Request) -> Option<(Value, String)> {
        let path = request.path.strip_prefix("/repos/acme/web")?;
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (self.is_github(), &parts[..]) {
            (_, [""]) => Some((json!({ "full_name": "acme/web", "default_branch": "main" }), String::new())),
            (true, ["commits", name]) | (false, ["git", "commits", name]) => {
                let mut found = [COMMIT, OTHER, OF_A_FORK].into_iter().filter(|commit| commit.starts_with(name));
                Some((json!({ "sha": found.next()? }), String::new()))
            }
            (_, ["compare", both]) => Some((self.compared(both)?, String::new())),
            (_, ["branches", "main"]) => Some((self.branch.lock().unwrap().clone(), String::new())),
            (true, ["rules", "branches", "main"]) => {
                let (rules, link) = self.page(request, "per_page", self.rules.lock().unwrap().clone());
                Some((json!(rules), link))
            }
            (true, ["commits", commit, "check-runs"]) => {
                self.asked.fetch_add(usize::from(request.query.get("page").is_none_or(|page| page == "1")), Ordering::SeqCst);
                let all = self.runs.lock().unwrap().get(*commit).cloned().unwrap_or_default();
                let total = all.len();
                let (runs, link) = self.page(request, "per_page", all);
                Some((json!({ "total_count": total, "check_runs": runs }), link))
            }
            (true, ["commits", commit, "status"]) => {
                let all = self.statuses.lock().unwrap().get(*commit).cloned().unwrap_or_default();
                let total = all.len();
                let (statuses, link) = self.page(request, "per_page", all);
                Some((json!({ "state": "pending", "total_count": total, "statuses": statuses, "sha": commit }), link))
            }
            (false, ["commits", commit, "statuses"]) => {
                self.asked.fetch_add(usize::from(request.query.get("page").is_none_or(|page| page == "1")), Ordering::SeqCst);
                let mut all = self.statuses.lock().unwrap().get(*commit).cloned().unwrap_or_default();
                all.reverse();
                let (statuses, link) = self.page(request, "limit", all);
                Some((json!(statuses), link))
            }
            _ => {
                self.complain(format!("no such path: {}", request.path));
                None
            }
        }
    }

    /// Whether a commit is on the branch `main` or the tag `v1`.
    fn compared(&self, both: &str) -> Option<Value> {
        let (base, commit) = both.split_once("...")?;
        let is_on_it = [COMMIT, OTHER].contains(&commit);
        if !["main", "v1"].contains(&base) || !(is_on_it || commit == OF_A_FORK) {
            return None;
        }
        if !self.is_github() {
            return Some(json!({ "total_commits": u8::from(!is_on_it), "commits": [], "files": [] }));
        }
        let status = if is_on_it { "behind" } else { "diverged" };
        Some(json!({ "status": status, "ahead_by": u8::from(!is_on_it), "total_commits": 0 }))
    }

    /// A page of `all`, and the header that says whether it goes on.
    fn page(&self, request: &Request, size: &str, all: Vec<Value>) -> (Vec<Value>, String) {
        let number = |name: &str, default: usize| request.query.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        let (most, page) = (if self.is_github() { 100 } else { 50 }, number("page", 1).max(1));
        let size = number(size, 30).min(most);
        let goes_on = all.len() > page * size;
        let link =
            if goes_on { format!("link: <http://forge{}?page={}>; rel=\"next\"\r\n", request.path, page + 1) } else { String::new() };
        (all.into_iter().skip((page - 1) * size).take(size).collect(), link)
    }
}
