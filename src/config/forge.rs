//! The forges that tagalong talks to: where their API is, and as whom.

use std::time::Duration;

use ring::signature::RsaKeyPair;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use text::Secret;
use url::Url;

use crate::config::SecretSource;
use crate::config::reader::Section;
use crate::model::KeyId;
use crate::model::is_in_the_clear;

/// A forge of the configuration.
#[derive(Debug, Clone)]
pub struct Forge {
    /// Our name for it.
    pub id: KeyId,
    /// What it is.
    pub kind: ForgeKind,
    /// Where people open it, without a `/` at its end.
    pub url: String,
    /// Where its API is, without a `/` at its end. It comes from here alone, never from a payload.
    pub api_url: String,
    /// As whom tagalong calls its API; none: not at all.
    pub login: Option<ForgeLogin>,
    /// How long after it has refused a result it is told once more.
    pub refused_retry: Duration,
    /// What its native webhooks are signed with.
    pub webhook_secret: Option<SecretSource>,
}

/// What a forge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgeKind {
    /// github.com, its data residencies and GitHub Enterprise Server.
    GitHub,
    /// Forgejo.
    Forgejo,
    /// Gitea.
    Gitea,
}

/// As whom a forge's API is called.
#[derive(Debug, Clone)]
pub enum ForgeLogin {
    /// As the owner of this token, which is read for each use.
    Token(SecretSource),
    /// As this GitHub App, installed on the repository.
    App {
        /// Its id.
        id: u64,
        /// Its private key (PEM), which is read for each use.
        key: SecretSource,
    },
}

/// The least that a secret of a webhook may have.
const SHORTEST_SECRET_BYTES: usize = 24;

impl Forge {
    pub(super) fn read(mut from: Section, secrets: &mut Vec<Secret>) -> Option<Self> {
        let id = from.needed("id", "every forge needs an id, by which services name it.", KeyId::parse);
        let kinds = [("github", ForgeKind::GitHub), ("forgejo", ForgeKind::Forgejo), ("gitea", ForgeKind::Gitea)];
        if !from.has("kind") {
            from.problem("kind", "every forge needs a kind: \"github\", \"forgejo\" or \"gitea\".");
        }
        let kind = from.choice("kind", &kinds);
        let missing = "every forge needs the address where people open it; write url = \"https://git.example.com\".";
        let url = match kind {
            ForgeKind::GitHub => from.parsed("url", address).or_else(|| address("https://github.com").ok()),
            ForgeKind::Forgejo | ForgeKind::Gitea => from.needed("url", missing, address),
        };
        let api_url = from.parsed("api_url", address).map(|url| bare(&url));
        let login = read_login(&mut from, kind, secrets);
        let webhook_secret = from.secret_source("webhook_secret_file", "webhook_secret_env", secrets);
        if let Some(Ok(secret)) = webhook_secret.as_ref().map(SecretSource::read)
            && secret.reveal().len() < SHORTEST_SECRET_BYTES
        {
            let why = "bytes; make one with `openssl rand -hex 32`.";
            from.problem("webhook_secret_file", format!("the secret is shorter than {SHORTEST_SECRET_BYTES} {why}"));
        }
        let refused_retry = from.seconds("refused_retry_s", 3600.0, 1.0..=86_400.0);
        from.finish();
        let url = url?;
        let api_url = api_url.unwrap_or_else(|| kind.api_of(&url));
        Some(Self { id: id?, kind, url: bare(&url), api_url, login, refused_retry, webhook_secret })
    }
}

impl ForgeKind {
    /// Where the API of the forge at `url` is, without a `/` at its end.
    #[must_use]
    pub fn api_of(self, url: &Url) -> String {
        let host = url.host_str().unwrap_or_default();
        match self {
            Self::GitHub if host == "github.com" || host.ends_with(".ghe.com") => format!("{}://api.{host}", url.scheme()),
            Self::GitHub => format!("{}/api/v3", bare(url)),
            Self::Forgejo | Self::Gitea => format!("{}/api/v1", bare(url)),
        }
    }
}

impl ForgeLogin {
    /// The private key of an App: `pem` is PKCS #1, as GitHub makes it, or PKCS #8.
    ///
    /// # Errors
    /// One sentence, without a word of the key.
    pub fn app_key(pem: &Secret) -> Result<RsaKeyPair, String> {
        let der = PrivateKeyDer::from_pem_slice(pem.reveal().as_bytes());
        let pair = match der.as_ref().map_err(|_| "it is not a private key in PEM form; download it from the settings of the App.")? {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err("it is not an RSA key; download the private key from the settings of the App.".to_owned()),
        };
        pair.map_err(|why| format!("it is not an RSA key that can be used ({why}); download it from the settings of the App."))
    }
}

fn read_login(from: &mut Section, kind: ForgeKind, secrets: &mut Vec<Secret>) -> Option<ForgeLogin> {
    let has_token = from.has_any(&["token_file", "token_env"]);
    let has_key = from.has_any(&["app_key_file", "app_key_env"]);
    let token = from.secret_source("token_file", "token_env", secrets);
    let key = from.secret_source("app_key_file", "app_key_env", secrets);
    let app = u64::try_from(from.whole("app_id", 0, 1..=i64::MAX)).ok().filter(|id| *id > 0);
    if app.is_some() != has_key {
        from.problem("app_id", "an App needs both app_id and app_key_file.");
    }
    if has_token && has_key {
        from.problem("token_file", "set either a token or an App, not both.");
    }
    if has_key && kind != ForgeKind::GitHub {
        from.problem("app_id", "only GitHub has Apps; set token_file instead.");
    }
    if let Some(Ok(token)) = token.as_ref().map(SecretSource::read)
        && !token.reveal().bytes().all(|b| b.is_ascii_graphic())
    {
        from.problem("token_file", "it must contain a token and nothing else, but it has spaces, line ends or other characters.");
    }
    if let Some(Err(why)) = key.as_ref().and_then(|key| key.read().ok()).map(|pem| ForgeLogin::app_key(&pem)) {
        from.problem("app_key_file", why);
    }
    token.map(ForgeLogin::Token).or_else(|| Some(ForgeLogin::App { id: app?, key: key? }))
}

/// An address to which a credential may be sent.
fn address(text: &str) -> Result<Url, String> {
    let error = |why: &str| format!("\"{}\" {why}; write it like https://git.example.com.", text.escape_default());
    let url = Url::parse(text).map_err(|_| error("is not an address"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(error("is not an https address"));
    }
    if is_in_the_clear(&url) {
        return Err(error("uses plain http, so anybody on the way could read the token"));
    }
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if is_plain { Ok(url) } else { Err(error("has more than a host and a path")) }
}

fn bare(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::check::check;

    const FORGE: &str = r#"
        [[forge]]
        id = "github"
        kind = "github"
        token_file = "forge.token"
    "#;
    const SOURCE: &str = r#"
        [service.web]
        dir = "/srv/web"
        project = "web"
        image = "registry.example.com/acme/web"
        [service.web.source]
        forge = "github"
        repository = "acme/web"
    "#;

    fn read(tables: &str) -> Result<Config, Vec<String>> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("forge.token", "ghp_0123456789\n"),
            ("empty.token", "\n"),
            ("two.token", "ghp_1\nghp_2\n"),
            ("hook.secret", "0123456789abcdef01234567\n"),
            ("short.secret", "0123456789abcdef0123456\n"),
            ("app.pem", "no key\n"),
        ] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        check(&format!("version = 1\n[server]\n{tables}"), folder.path())
    }

    #[test]
    fn the_address_of_the_api_follows_from_the_address() {
        for (kind, url, api_url) in [
            ("github", "https://github.com", "https://api.github.com"),
            ("github", "https://acme.ghe.com/", "https://api.acme.ghe.com"),
            ("github", "https://ghes.example.com:8443", "https://ghes.example.com:8443/api/v3"),
            ("forgejo", "https://git.example.com/forge/", "https://git.example.com/forge/api/v1"),
            ("gitea", "http://127.0.0.1:3000", "http://127.0.0.1:3000/api/v1"),
        ] {
            let forge = FORGE.replace("kind = \"github\"", &format!("kind = \"{kind}\"\nurl = \"{url}\""));
            assert_eq!(read(&forge).expect("no problem").forges[0].api_url, api_url);
        }
        let config = read(&format!("{FORGE}api_url = \"https://api.example.com/v3/\"\n{SOURCE}")).expect("no problem");
        assert_eq!(config.forges[0].api_url, "https://api.example.com/v3");
        let service = config.services.values().next().and_then(|service| service.source.as_ref()).expect("a source");
        assert_eq!((service.repository.as_str(), service.environment.as_str(), service.report), ("acme/web", "tagalong/web", true));
    }

    #[test]
    fn what_is_wrong_with_a_forge_is_said_by_name() {
        for (from, to, part) in [
            ("id = \"github\"", "", "forge[0].id: every forge needs an id"),
            ("kind = \"github\"", "", "forge[0].kind: every forge needs a kind"),
            ("kind = \"github\"", "kind = \"gitlab\"", "forge[0].kind: \"gitlab\" is not one of github, forgejo, gitea"),
            ("kind = \"github\"", "kind = \"forgejo\"", "forge[0].url: every forge needs the address"),
            ("kind", "url = \"http://git.example.com\"\nkind", "forge[0].url: \"http://git.example.com\" uses plain http"),
            ("kind", "url = \"https://me:pw@git.example.com\"\nkind", "has more than a host and a path"),
            ("kind", "api_url = \"ftp://git.example.com\"\nkind", "forge[0].api_url: \"ftp://git.example.com\" is not an https address"),
            ("forge.token", "none.token", "none.token does not exist"),
            ("forge.token", "empty.token", "forge[0].token_file: the secret is empty"),
            ("forge.token", "two.token", "forge[0].token_file: it must contain a token and nothing else"),
            ("kind", "app_id = 7\nkind", "forge[0].app_id: an App needs both app_id and app_key_file"),
            ("kind", "app_id = 7\napp_key_file = \"app.pem\"\nkind", "forge[0].token_file: set either a token or an App"),
            ("kind", "app_id = 7\napp_key_file = \"app.pem\"\nkind", "forge[0].app_key_file: it is not a private key in PEM form"),
            ("kind", "webhook_secret_file = \"short.secret\"\nkind", "forge[0].webhook_secret_file: the secret is shorter than 24 bytes"),
            ("kind", "tokn_file = \"x\"\nkind", "forge[0].tokn_file: unknown key; did you mean token_file?"),
        ] {
            let problems = read(&FORGE.replacen(from, to, 1)).err().unwrap_or_default();
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:#?}");
        }
        assert!(read(&FORGE.replace("kind", "webhook_secret_file = \"hook.secret\"\nkind")).is_ok());
        let problems = read(&format!("{FORGE}{FORGE}")).err().unwrap_or_default();
        assert!(problems.len() == 1 && problems[0].contains("two forges have the id github"), "{problems:#?}");
    }

    #[test]
    fn what_is_wrong_with_a_source_is_said_by_name() {
        let without_login = FORGE.replace("token_file = \"forge.token\"", "");
        for (forge, from, to, part) in [
            (FORGE, "forge = \"github\"", "", "service.web.source.forge: a source needs the id of a [[forge]]"),
            (FORGE, "forge = \"github\"", "forge = \"git\"", "service.web.source.forge: there is no [[forge]] with the id git"),
            (FORGE, "repository = \"acme/web\"", "", "service.web.source.repository: a source needs the repository"),
            (FORGE, "\"acme/web\"", "\"acme\"", "service.web.source.repository: The repository \"acme\" is not valid"),
            (FORGE, "repository", "environment = \"\"\nrepository", "service.web.source.environment: it must be the name"),
            (&without_login, "x", "x", "service.web.source.forge: the forge github has no token"),
        ] {
            let problems = read(&format!("{forge}{}", SOURCE.replacen(from, to, 1))).err().unwrap_or_default();
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:#?}");
        }
        assert!(read(&format!("{without_login}{SOURCE}report = false\n")).is_ok());
        let second = SOURCE.replace("[service.web", "[service.api").replace("/srv/web", "/srv/api");
        let shared = format!("{FORGE}{SOURCE}environment = \"production\"\n{second}environment = \"production\"\n");
        let problems = read(&shared).err().unwrap_or_default();
        assert!(problems.len() == 1 && problems[0].contains("the environment production in acme/web too"), "{problems:#?}");
    }
}
