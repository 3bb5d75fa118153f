//! The dashboard: how long people stay logged in, and which users of which forges may log in.

use std::time::Duration;

use text::Secret;

use crate::config::Forge;
use crate::config::SecretSource;
use crate::config::Server;
use crate::config::key::read_scopes;
use crate::config::reader::Section;
use crate::model::KeyId;
use crate::model::Scope;
use crate::model::is_actor;

/// The dashboard.
#[derive(Debug, Clone)]
pub struct Dashboard {
    /// Whether there is one.
    pub is_enabled: bool,
    /// How long a session stays without being used.
    pub idle: Duration,
    /// How long a session stays at most.
    pub longest: Duration,
    /// The forges by which people may log in.
    pub logins: Vec<ForgeUsers>,
}

/// A forge by which people may log in (OAuth), and who of them.
#[derive(Debug, Clone)]
pub struct ForgeUsers {
    /// The forge, by our name for it.
    pub forge: KeyId,
    /// Under which id this server is registered there.
    pub client_id: String,
    /// Its secret, which is read for each login.
    pub client_secret: SecretSource,
    /// Who may log in; several may be about one person.
    pub allowed: Vec<Allowed>,
}

/// Some users of a forge, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Which.
    pub who: Member,
    /// What they may do.
    pub scopes: Vec<Scope>,
}

/// Which users of a forge are meant. Forges do not tell upper case from lower case in these, so all of it is in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// This user.
    User(String),
    /// Everybody in this team of this organisation.
    Team(String, String),
    /// Everybody in this organisation.
    Organisation(String),
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(login) => write!(f, "user:{login}"),
            Self::Team(organisation, team) => write!(f, "team:{organisation}/{team}"),
            Self::Organisation(name) => write!(f, "organisation:{name}"),
        }
    }
}

impl Dashboard {
    pub(super) fn read(root: &mut Section, server: Option<&Server>, forges: &[Forge], secrets: &mut Vec<Secret>) -> Self {
        const HOUR_S: f64 = 3600.0;
        let defaults = (12.0 * HOUR_S, 7.0 * 24.0 * HOUR_S);
        let Some(mut from) = root.section("dashboard") else {
            let span = Duration::from_secs_f64;
            return Self { is_enabled: true, idle: span(defaults.0), longest: span(defaults.1), logins: Vec::new() };
        };
        let is_enabled = from.flag("enabled", true);
        let idle = from.seconds("session_idle_s", defaults.0, 60.0..=2_592_000.0);
        let longest = from.seconds("session_max_s", defaults.1, 60.0..=7_776_000.0);
        let logins: Vec<ForgeUsers> = from.sections("login").into_iter().filter_map(|login| ForgeUsers::read(login, secrets)).collect();
        for (at, login) in logins.iter().enumerate() {
            if !forges.iter().any(|forge| forge.id == login.forge) {
                from.problem("login", format!("there is no [[forge]] with the id {}.", login.forge));
            }
            if logins[..at].iter().any(|earlier| earlier.forge == login.forge) {
                from.problem(
                    "login",
                    format!("the forge {} stands there twice; put everybody who may log in by it into one.", login.forge),
                );
            }
        }
        if !logins.is_empty() && server.is_some_and(|server| server.public_url.is_none()) {
            let why = "set server.public_url: the forge sends people back to that address, and to no other";
            from.problem("login", format!("nobody could log in by a forge; {why}."));
        }
        from.finish();
        Self { is_enabled, idle, longest, logins }
    }

    /// What those who log in by a forge may do, each with the table that says so and the forge.
    pub(super) fn scopes(&self) -> impl Iterator<Item = (&'static str, &KeyId, &Vec<Scope>)> {
        self.logins.iter().flat_map(|login| login.allowed.iter().map(move |allowed| ("login", &login.forge, &allowed.scopes)))
    }

    /// The forge of that id, if people may log in by it.
    #[must_use]
    pub fn login(&self, forge: &str) -> Option<&ForgeUsers> {
        self.logins.iter().find(|login| login.forge.as_str() == forge)
    }
}

impl ForgeUsers {
    fn read(mut from: Section, secrets: &mut Vec<Secret>) -> Option<Self> {
        let forge = from.needed("forge", "a login by a forge needs the id of a [[forge]].", KeyId::parse);
        let missing = "set client_id to what the forge shows for the OAuth application that you registered there.";
        let client_id = from.needed("client_id", missing, client_id);
        if !from.has_any(&["client_secret_file", "client_secret_env"]) {
            from.problem("client_secret_file", "an OAuth application needs its secret; put it into a file and name that here.");
        }
        let client_secret = from.secret_source("client_secret_file", "client_secret_env", secrets);
        let allowed: Vec<Allowed> = from.sections("allow").into_iter().filter_map(Allowed::read).collect();
        if allowed.is_empty() {
            from.problem("allow", "nobody may log in by this forge; add a table with user, team or organisation, and scopes.");
        }
        from.finish();
        Some(Self { forge: forge?, client_id: client_id?, client_secret: client_secret?, allowed })
    }

    /// What somebody who belongs to `member_of` (as [`Member`] is written) may do.
    #[must_use]
    pub fn scopes(&self, member_of: &[String]) -> Vec<Scope> {
        let mut scopes: Vec<Scope> = Vec::new();
        for allowed in self.allowed.iter().filter(|allowed| member_of.contains(&allowed.who.to_string())) {
            let new = allowed.scopes.iter().filter(|scope| !scopes.contains(scope)).cloned().collect::<Vec<_>>();
            scopes.extend(new);
        }
        scopes
    }
}

impl Allowed {
    fn read(mut from: Section) -> Option<Self> {
        let user = from.parsed("user", name).map(Member::User);
        let team = from.parsed("team", team);
        let organisation = from.parsed("organisation", name).map(Member::Organisation);
        let scopes = read_scopes(&mut from, "login");
        let mut named: Vec<Member> = [user, team, organisation].into_iter().flatten().collect();
        let who = named.pop();
        if who.is_none() || !named.is_empty() {
            from.problem("user", "name exactly one: user = \"ada\", team = \"acme/ops\" or organisation = \"acme\".");
        }
        from.finish();
        Some(Self { who: who?, scopes })
    }
}

fn client_id(text: &str) -> Result<String, &'static str> {
    let is_id = (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if is_id { Ok(text.to_owned()) } else { Err("it must be the client id that the forge shows, without spaces.") }
}

fn name(text: &str) -> Result<String, String> {
    if is_actor(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("\"{}\" is not the name of a user or an organisation at a forge.", text.escape_default()))
    }
}

fn team(text: &str) -> Result<Member, String> {
    let parts = text.split_once('/').map(|(organisation, team)| (name(organisation), name(team)));
    match parts {
        Some((Ok(organisation), Ok(team))) => Ok(Member::Team(organisation, team)),
        _ => Err(format!("\"{}\" is not a team; write ORGANISATION/TEAM, as in the address of its page.", text.escape_default())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    const LOGIN: &str = "[dashboard]\nsession_idle_s = 60\n[[dashboard.login]]\nforge = \"hub\"\nclient_id = \"Iv1.x\"\n\
        client_secret_file = \"oauth.secret\"\n[[dashboard.login.allow]]\nuser = \"Ada\"\nscopes = [\"read\"]\n\
        [[dashboard.login.allow]]\nteam = \"Acme/Ops\"\nscopes = [\"read\", \"deploy:web\"]\n";

    fn read(dashboard: &str, server: &str) -> Result<Config, Vec<String>> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("oauth.secret"), "0123456789abcdef\n").expect("a file");
        let text = format!(
            "version = 1\n[server]\nsocket = \"s\"\n{server}\n[[forge]]\nid = \"hub\"\nkind = \"github\"\n{dashboard}\n\
             [service.web]\ndir = \"web\"\nproject = \"web\"\nimage = \"example.com/web\"\nvariable = \"TAG\"\n"
        );
        Config::read(&text, Path::new("tagalong.toml"), folder.path()).map_err(|error| error.problems)
    }

    const PUBLIC: &str = "public_url = \"https://tagalong.example.com\"";

    #[test]
    fn what_somebody_may_do_follows_from_what_they_belong_to() {
        let config = read(LOGIN, PUBLIC).expect("it holds");
        let login = config.dashboard.login("hub").expect("a login");
        let scopes = |member_of: &[&str]| {
            let member_of: Vec<String> = member_of.iter().map(|one| (*one).to_owned()).collect();
            login.scopes(&member_of).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(scopes(&[]), Vec::<String>::new());
        assert_eq!(scopes(&["user:ada"]), ["read:*"]);
        assert_eq!(scopes(&["team:acme/ops", "user:ada"]), ["read:*", "deploy:web"]);
        assert_eq!(scopes(&["organisation:acme", "user:eve", "team:acme/dev"]), Vec::<String>::new());
        assert!(read("", "").expect("no table is needed").dashboard.is_enabled);
    }

    #[test]
    fn what_is_wrong_with_a_login_is_said_by_name() {
        for (from, to, part) in [
            ("forge = \"hub\"", "forge = \"lab\"", "dashboard.login: there is no [[forge]] with the id lab"),
            ("client_id = \"Iv1.x\"", "", "dashboard.login[0].client_id: set client_id"),
            ("client_secret_file = \"oauth.secret\"", "", "dashboard.login[0].client_secret_file: an OAuth application needs"),
            ("user = \"Ada\"", "user = \"Ada\"\norganisation = \"acme\"", "dashboard.login[0].allow[0].user: name exactly one"),
            ("user = \"Ada\"", "", "dashboard.login[0].allow[0].user: name exactly one"),
            ("\"Acme/Ops\"", "\"acme\"", "dashboard.login[0].allow[1].team: \"acme\" is not a team"),
            ("session_idle_s = 60", "session_idle_s = 1", "dashboard.session_idle_s: 1 is out of range"),
            ("deploy:web", "deploy:db", "has the scope deploy:db, but there is no [service.db]"),
        ] {
            let problems = read(&LOGIN.replacen(from, to, 1), PUBLIC).err().unwrap_or_default();
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:#?}");
        }
        let problems = read(LOGIN, "").err().unwrap_or_default();
        assert!(problems.iter().any(|problem| problem.contains("set server.public_url")), "{problems:#?}");
    }
}
