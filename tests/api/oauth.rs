//! Logins by GitHub and Forgejo, against a server that plays the forge as its documentation describes it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;
use sha2::Digest as _;
use sha2::Sha256;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::browser::Browser;
use crate::support::Answer;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;

on_both!(github_says_who_it_is_and_what_they_belong_to, forgejo_says_who_it_is_and_what_they_belong_to);

const SECRET: &str = "canary-secret-of-the-oauth-application";
const TOKEN: &str = "gho_canary-token-of-a-person";
const PUBLIC: &str = "https://tagalong.example.com";

/// What the forge knows, and what it was asked.
#[derive(Default)]
struct State {
    login: String,
    /// Organisations, and `ORGANISATION/TEAM`.
    member_of: Vec<String>,
    /// Codes that were given out, each with its challenge and address.
    codes: BTreeMap<String, (String, String)>,
    asked: Vec<String>,
    is_down: bool,
}

#[derive(Clone)]
struct ForgeOfPeople {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl ForgeOfPeople {
    async fn start(login: &str, member_of: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let member_of = member_of.iter().map(|one| (*one).to_owned()).collect();
        let state = State { login: login.to_owned(), member_of, ..State::default() };
        let forge = Self { address: listener.local_addr().unwrap(), state: Arc::new(Mutex::new(state)) };
        let serving = forge.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let forge = serving.clone();
                tokio::spawn(async move { forge.serve(stream).await });
            }
        });
        forge
    }

    fn tables(&self, kind: &str) -> String {
        let address = self.address;
        let api = if kind == "github" { format!("api_url = \"http://{address}\"\n") } else { String::new() };
        format!(
            "[[forge]]\nid = \"hub\"\nkind = \"{kind}\"\nurl = \"http://{address}\"\n{api}\
             [[dashboard.login]]\nforge = \"hub\"\nclient_id = \"Iv1.client\"\nclient_secret_file = \"oauth.secret\"\n\
             [[dashboard.login.allow]]\nuser = \"Ada\"\nscopes = [\"read:web\"]\n\
             [[dashboard.login.allow]]\nteam = \"Acme/Ops\"\nscopes = [\"deploy:web\"]\n\
             [[dashboard.login.allow]]\norganisation = \"acme\"\nscopes = [\"read:db\"]\n"
        )
    }

    async fn rig(&self, kind: &str, database: Database) -> Rig {
        let mut plan = Plan::new(database);
        plan.server = format!("public_url = \"{PUBLIC}\"\ntrusted_proxies = [\"127.0.0.1\"]\nfailed_attempts_per_min = 100000");
        plan.tables = self.tables(kind);
        plan.files = vec![("oauth.secret", format!("{SECRET}\n"))];
        plan.start().await
    }

    /// What a person does at the forge: the address to which it sends the browser back, with a code.
    fn authorize(&self, location: &str) -> String {
        let there = url::Url::parse(location).unwrap();
        assert_eq!(
            (there.host_str(), there.port(), there.path()),
            (Some("127.0.0.1"), Some(self.address.port()), "/login/oauth/authorize")
        );
        let query: BTreeMap<String, String> = there.query_pairs().into_owned().collect();
        assert_eq!((query["client_id"].as_str(), query["response_type"].as_str()), ("Iv1.client", "code"));
        assert_eq!(query["code_challenge_method"], "S256");
        assert_eq!(query["redirect_uri"], format!("{PUBLIC}/login/hub/callback"));
        let mut state = self.state.lock().unwrap();
        let code = format!("canary-code-{}", state.codes.len());
        state.codes.insert(code.clone(), (query["code_challenge"].clone(), query["redirect_uri"].clone()));
        format!("/login/hub/callback?code={code}&state={}", query["state"])
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
                _ => return,
            }
            let text = String::from_utf8(bytes.clone()).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                break (head.to_owned(), body.to_owned());
            }
        };
        let (status, answer) = self.answer(&head, &body);
        let text = if answer.is_null() { String::new() } else { answer.to_string() };
        let said = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        let _ = stream.write_all(said.as_bytes()).await;
    }

    fn answer(&self, head: &str, body: &str) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        let mut words = head.lines().next().unwrap().split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        state.asked.push(format!("{method} {target}"));
        if state.is_down {
            return (502, Value::Null);
        }
        if (method, target) == ("POST", "/login/oauth/access_token") {
            return token(&mut state, head, body);
        }
        if !head.lines().any(|line| line.eq_ignore_ascii_case(&format!("authorization: Bearer {TOKEN}"))) {
            return (401, json!({ "message": "Bad credentials" }));
        }
        let path = target.strip_prefix("/api/v1").unwrap_or(target);
        let active =
            |is: bool| if is { (200, json!({ "state": "active", "role": "member" })) } else { (404, json!({ "message": "Not Found" })) };
        let is_in = |name: &str| state.member_of.iter().any(|one| one == name);
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["user"] => (200, json!({ "login": state.login, "id": 7 })),
            ["user", "memberships", "orgs", "pending"] => (200, json!({ "state": "pending" })),
            ["user", "memberships", "orgs", name] => active(is_in(name)),
            ["orgs", organisation, "teams", team, "memberships", _] => active(is_in(&format!("{organisation}/{team}"))),
            ["orgs", name, "members", login] => {
                assert_eq!(*login, state.login);
                if is_in(name) { (204, Value::Null) } else { (404, json!({ "message": "not found" })) }
            }
            ["user", list] if list.starts_with("teams?") => {
                let is_first = list.contains("page=1");
                let teams = state.member_of.iter().filter_map(|one| one.split_once('/')).filter(|_| is_first);
                (200, teams.map(|(name, team)| json!({ "name": team.to_uppercase(), "organization": { "username": name } })).collect())
            }
            _ => panic!("no forge has {method} {target}"),
        }
    }
}

/// The exchange of a code: everything must be right, and a code is good once.
fn token(state: &mut State, head: &str, body: &str) -> (u16, Value) {
    assert!(head.to_lowercase().contains("accept: application/json"), "{head}");
    let fields: BTreeMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let known = state.codes.remove(&fields["code"]);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&fields["code_verifier"]));
    let is_right = fields["client_id"] == "Iv1.client" && fields["client_secret"] == SECRET && fields["grant_type"] == "authorization_code";
    if is_right && known == Some((challenge, fields["redirect_uri"].clone())) {
        (200, json!({ "access_token": TOKEN, "token_type": "bearer", "scope": "read:org" }))
    } else {
        (200, json!({ "error": "bad_verification_code", "error_description": "The code passed is incorrect or expired." }))
    }
}

/// Begins a login and goes to the forge: the address to which it sends the browser back.
async fn begun(browser: &Browser<'_>, forge: &ForgeOfPeople, next: &str) -> String {
    let leads = browser.post("/login/hub", &[("next", next)]).await;
    assert_eq!(leads.status, 303, "{leads:?}");
    forge.authorize(leads.header("location"))
}

async fn logged_in(browser: &Browser<'_>, forge: &ForgeOfPeople) -> Answer {
    let back = begun(browser, forge, "/sessions").await;
    browser.get(&back).await
}

async fn says_who_it_is(kind: &str, database: Database) {
    let forge = ForgeOfPeople::start("Ada", &["acme", "acme/ops"]).await;
    let rig = forge.rig(kind, database).await;
    let browser = Browser::behind_proxy(&rig, "192.0.2.7");
    let page = browser.get("/login").await;
    let policy = page.header("content-security-policy");
    assert!(
        page.text.contains("action=\"/login/hub\"") && policy.contains(&format!("form-action 'self' http://{};", forge.address)),
        "{policy}"
    );
    let into = logged_in(&browser, &forge).await;
    assert_eq!((into.status, into.header("location")), (303, "/sessions"), "{into:?}");
    assert_eq!(browser.cookies.borrow().keys().collect::<Vec<_>>(), ["__Host-tagalong"]);
    let page = browser.get("/sessions").await.text;
    for part in ["ada@hub", "read:web", "deploy:web", "read:db"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // What the configuration says now is what counts, whatever it said at the login.
    let text = std::fs::read_to_string(&rig.config_file).unwrap();
    std::fs::write(&rig.config_file, text.replace("\"Acme/Ops\"", "\"acme/dev\"")).unwrap();
    rig.app().read_again(&rig.config_file);
    let page = browser.get("/sessions").await.text;
    assert!(page.contains("read:web") && !page.contains("deploy:web"), "{page}");
    std::fs::write(
        &rig.config_file,
        text.replace("user = \"Ada\"", "user = \"eve\"").replace("\"Acme/Ops\"", "\"a/b\"").replace("\"acme\"", "\"c\""),
    )
    .unwrap();
    rig.app().read_again(&rig.config_file);
    assert!(!browser.is_in().await, "nothing is left that they may do");
    let again = logged_in(&browser, &forge).await;
    assert!(again.status == 403 && again.text.contains("not among those"), "{again:?}");
    std::fs::write(&rig.config_file, text).unwrap();
    rig.app().read_again(&rig.config_file);
    // Somebody who belongs to nothing that is named; and one whose team has the same name elsewhere.
    for (login, member_of, scopes) in [("eve", vec!["other", "other/ops"], None), ("bob", vec!["acme"], Some("read:db"))] {
        *forge.state.lock().unwrap() =
            State { login: login.to_owned(), member_of: member_of.into_iter().map(str::to_owned).collect(), ..State::default() };
        let other = Browser::behind_proxy(&rig, "192.0.2.8");
        let into = logged_in(&other, &forge).await;
        assert_eq!(into.status, if scopes.is_some() { 303 } else { 403 }, "{into:?}");
        if let Some(scopes) = scopes {
            let page = other.get("/sessions").await.text;
            assert!(page.contains(scopes) && !page.contains("deploy:web"), "{page}");
        }
    }
    // A local user of that name is somebody else; and no token or secret was kept.
    assert_eq!(rig.count("SELECT COUNT(*) FROM users").await, 0);
    for entry in std::fs::read_dir(rig.data_dir()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"canary"), "{}", entry.path().display());
    }
    rig.finish().await;
}

async fn github_says_who_it_is_and_what_they_belong_to(database: Database) {
    says_who_it_is("github", database).await;
}

async fn forgejo_says_who_it_is_and_what_they_belong_to(database: Database) {
    says_who_it_is("forgejo", database).await;
}

/// What one browser has begun, no other one ends, and nothing ends twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_by_a_forge_ends_where_it_began() {
    let forge = ForgeOfPeople::start("ada", &[]).await;
    let rig = forge.rig("github", Database::Sqlite).await;
    let browser = || Browser::behind_proxy(&rig, "192.0.2.7");
    let asked = || forge.state.lock().unwrap().asked.len();
    // A code of the attacker's in the victim's browser (login CSRF), with and without a login of the victim's own under way.
    let attacker = browser();
    let back = begun(&attacker, &forge, "/").await;
    let victim = browser();
    assert_eq!(victim.get(&back).await.status, 400);
    begun(&victim, &forge, "/").await;
    let before = asked();
    assert_eq!(victim.get(&back).await.status, 400);
    // The state of another login, an empty one, none; another forge; an issuer that is not this one.
    let own = begun(&victim, &forge, "/").await;
    let code = own.split("code=").nth(1).unwrap().split('&').next().unwrap();
    for wrong in [
        format!("/login/hub/callback?code={code}"),
        format!("/login/hub/callback?code={code}&state="),
        format!("{own}x"),
        own.replace("/hub/", "/lab/"),
        format!("{own}&iss=https%3A%2F%2Fevil.example"),
        "/login/hub/callback?error=access_denied".to_owned(),
    ] {
        let answer = victim.get(&wrong).await;
        assert!((400..=404).contains(&answer.status), "{wrong}: {answer:?}");
        assert!(!victim.is_in().await);
    }
    assert_eq!(asked(), before, "the forge was not even asked");
    let good = format!("{own}&iss=http%3A%2F%2F{}", forge.address);
    assert_eq!(victim.get(&good).await.status, 303);
    assert!(victim.is_in().await);
    assert_eq!(victim.get(&good).await.status, 400, "the login is over");
    // A code that the forge does not take, a forge that is down, and an address that leads elsewhere.
    let late = browser();
    let back = begun(&late, &forge, "//evil.example").await;
    forge.state.lock().unwrap().codes.clear();
    let answer = late.get(&back).await;
    assert!(answer.status == 403 && answer.text.contains("did not confirm"), "{answer:?}");
    let back = begun(&late, &forge, "//evil.example").await;
    forge.state.lock().unwrap().is_down = true;
    assert_eq!(late.get(&back).await.status, 503);
    forge.state.lock().unwrap().is_down = false;
    let into = late.get(&back).await;
    assert_eq!((into.status, into.header("location")), (303, "/"));
    // A forged cookie begins nothing.
    let forger = browser();
    forger.cookies.borrow_mut().insert("__Host-tagalong-login".to_owned(), "v.s.hub.9999999999999.Lw.x".to_owned());
    assert_eq!(forger.get("/login/hub/callback?code=x&state=s").await.status, 400);
    assert_eq!(forger.post("/login/lab", &[]).await.status, 404);
    rig.finish().await;
}
