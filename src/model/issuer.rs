//! Who issues the tokens of jobs: GitHub, a GitHub Enterprise Server, or a Forgejo.

use url::Url;

use crate::model::address::is_in_the_clear;

/// The public service of GitHub. Every repository of GitHub can have tokens of it.
const GITHUB: &str = "https://token.actions.githubusercontent.com";

/// Which kind of forge an issuer belongs to. They differ in how a run is addressed and in which claims there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forge {
    /// github.com, its data residencies and GitHub Enterprise Server.
    GitHub,
    /// Forgejo 15 or newer.
    Forgejo,
}

/// The issuer of tokens, as the claim `iss` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    text: String,
    url: Url,
}

impl Issuer {
    /// Takes `given` as an issuer.
    ///
    /// # Errors
    /// When it is no https address, or none of this host itself, or has more than a host and a path.
    pub fn parse(given: &str) -> Result<Self, String> {
        let error = |why: &str| format!("\"{}\" {why}; write {GITHUB} or https://FORGEJO/api/actions.", given.escape_default());
        let url = Url::parse(given).map_err(|_| error("is not an address"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(error("is not an https address"));
        }
        if is_in_the_clear(&url) {
            return Err(error("uses plain http, so anybody on the way could put their own keys in its place"));
        }
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if !is_plain || given.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(error("has more than a host and a path"));
        }
        Ok(Self { text: given.to_owned(), url })
    }

    /// As the claim `iss` has it, to the byte.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it describes itself.
    #[must_use]
    pub fn discovery(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.text.trim_end_matches('/'))
    }

    /// Whether it is a service of this host itself, over plain http.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// Whether its keys may be fetched from `url`: encrypted, or from this host if it is on this host itself.
    #[must_use]
    pub fn may_have_keys_at(&self, url: &Url) -> bool {
        url.scheme() == "https" || (self.is_here() && url.scheme() == "http" && !is_in_the_clear(url))
    }

    /// Which forge it belongs to.
    #[must_use]
    pub fn forge(&self) -> Forge {
        if self.forgejo().is_some() { Forge::Forgejo } else { Forge::GitHub }
    }

    /// The address of the Forgejo that it belongs to.
    fn forgejo(&self) -> Option<&str> {
        self.text.trim_end_matches('/').strip_suffix("/api/actions")
    }

    /// The address of its forge, without a `/` at its end.
    #[must_use]
    pub fn forge_url(&self) -> String {
        if let Some(forgejo) = self.forgejo() {
            return forgejo.to_owned();
        }
        let host = self.url.host_str().unwrap_or_default();
        let host = match host.strip_prefix("token.actions.") {
            Some("githubusercontent.com") => "github.com",
            Some(residency) => residency,
            None => host,
        };
        let port = self.url.port().map_or(String::new(), |port| format!(":{port}"));
        format!("{}://{host}{port}", self.url.scheme())
    }

    /// The address of a run: GitHub addresses it by its id, Forgejo by its number.
    #[must_use]
    pub fn run_url(&self, repository: &str, run_id: &str, run_number: i64) -> String {
        let run = match self.forge() {
            Forge::GitHub => run_id.to_owned(),
            Forge::Forgejo => run_number.to_string(),
        };
        format!("{}/{repository}/actions/runs/{run}", self.forge_url())
    }
}

impl std::fmt::Display for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Forge;
    use super::Issuer;

    #[test]
    fn a_run_is_addressed_as_its_forge_does() {
        for (issuer, forge, run) in [
            ("https://token.actions.githubusercontent.com", Forge::GitHub, "https://github.com/acme/web/actions/runs/7001"),
            ("https://token.actions.githubusercontent.com/acme", Forge::GitHub, "https://github.com/acme/web/actions/runs/7001"),
            ("https://token.actions.acme.ghe.com", Forge::GitHub, "https://acme.ghe.com/acme/web/actions/runs/7001"),
            ("https://ghes.example.com:8443/_services/token", Forge::GitHub, "https://ghes.example.com:8443/acme/web/actions/runs/7001"),
            ("https://git.example.com/api/actions", Forge::Forgejo, "https://git.example.com/acme/web/actions/runs/12"),
            ("https://example.com/forgejo/api/actions", Forge::Forgejo, "https://example.com/forgejo/acme/web/actions/runs/12"),
            ("http://127.0.0.1:3000/api/actions", Forge::Forgejo, "http://127.0.0.1:3000/acme/web/actions/runs/12"),
        ] {
            let issuer = Issuer::parse(issuer).expect("an issuer");
            assert_eq!((issuer.forge(), issuer.run_url("acme/web", "7001", 12)), (forge, run.to_owned()));
        }
    }

    #[test]
    fn only_what_nobody_on_the_way_can_replace_is_an_issuer() {
        for bad in [
            "",
            "token.actions.githubusercontent.com",
            "http://git.example.com/api/actions",
            "http://10.0.0.7/api/actions",
            "ftp://git.example.com",
            "file:///keys",
            "https://user:pass@git.example.com/api/actions",
            "https://git.example.com/api/actions?x=1",
            "https://git.example.com/api/actions#x",
            " https://git.example.com/api/actions",
            "https://git.example.com/api/\nactions",
        ] {
            assert!(Issuer::parse(bad).is_err(), "{bad:?}");
        }
        let (away, here) = (Issuer::parse("https://git.example.com").expect("one"), Issuer::parse("http://[::1]:3000").expect("one"));
        let keys = |url: &str| url::Url::parse(url).expect("an address");
        assert!(away.may_have_keys_at(&keys("https://git.example.com/keys")));
        assert!(!away.may_have_keys_at(&keys("http://127.0.0.1/keys")), "an issuer elsewhere must not choose a service of this host");
        assert!(here.may_have_keys_at(&keys("http://127.0.0.1/keys")));
        assert!(!here.may_have_keys_at(&keys("http://git.example.com/keys")));
        assert!(!here.may_have_keys_at(&keys("file:///keys")));
    }
}
