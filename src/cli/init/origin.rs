//! The repository that CI runs in, from the git remote or as it is named.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use process::Cancel;
use process::Command;
use url::Url;

use crate::model::ForgeRepository;

/// A repository at a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// The forge's address, without a `/` at its end and without anybody's login.
    pub(super) forge: String,
    pub(super) owner: String,
    pub(super) name: String,
}

impl Origin {
    /// Takes an address of a repository, as git or a browser has it.
    pub(super) fn parse(given: &str) -> Option<Self> {
        let given = given.trim();
        if let Some((host, path)) = given.split_once(':').filter(|(host, rest)| !rest.starts_with("//") && !host.contains('/')) {
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            return Self::at(&format!("https://{host}"), path);
        }
        let url = Url::parse(given).ok()?;
        let host = url.host_str().filter(|host| !host.is_empty())?;
        // The port of ssh says nothing about the page; `ssh.github.com` is GitHub behind a firewall.
        let forge = match (url.scheme(), url.port()) {
            ("https" | "http", Some(port)) => format!("{}://{host}:{port}", url.scheme()),
            ("https" | "http", None) => format!("{}://{host}", url.scheme()),
            ("ssh" | "git+ssh", _) => format!("https://{}", if host == "ssh.github.com" { "github.com" } else { host }),
            _ => return None,
        };
        Self::at(&forge, url.path())
    }

    fn at(forge: &str, path: &str) -> Option<Self> {
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let (before, name) = path.rsplit_once('/')?;
        let (prefix, owner) = before.rsplit_once('/').map_or(("", before), |(prefix, owner)| (prefix, owner));
        ForgeRepository::parse(&format!("{owner}/{name}")).ok()?;
        let forge = if prefix.is_empty() { forge.to_owned() } else { format!("{forge}/{prefix}") };
        Some(Self { forge, owner: owner.to_owned(), name: name.to_owned() })
    }

    /// `OWNER/NAME`.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The address of its page.
    pub(super) fn page(&self) -> String {
        format!("{}/{}/{}", self.forge, self.owner, self.name)
    }
}

/// What git says about a folder.
#[derive(Debug, Default)]
pub(super) struct Clone {
    /// The folder that the clone begins in; none: the folder is in none.
    pub(super) root: Option<PathBuf>,
    /// Where the remote "origin" is.
    pub(super) remote: Option<String>,
    /// The branch that "origin" has as its default, or else the one that is checked out.
    pub(super) branch: Option<String>,
}

impl Clone {
    /// Asks git about `dir`; git is looked up in `path`. What git does not know is left open.
    pub(super) async fn of(dir: &Path, path: &str) -> Self {
        let Some(root) = git(dir, path, &["rev-parse", "--show-toplevel"]).await else { return Self::default() };
        let head = git(dir, path, &["symbolic-ref", "--short", "refs/remotes/origin/HEAD"]).await;
        let branch = match head.as_deref().and_then(|head| head.strip_prefix("origin/")) {
            Some(branch) => Some(branch.to_owned()),
            None => git(dir, path, &["symbolic-ref", "--short", "HEAD"]).await,
        };
        Self { root: Some(root.into()), remote: git(dir, path, &["remote", "get-url", "origin"]).await, branch }
    }
}

/// One line that git answers; none: it does not know.
async fn git(dir: &Path, path: &str, args: &[&str]) -> Option<String> {
    let folder = dir.display().to_string();
    // The stack's folder often belongs to the server's user; these questions run nothing that is configured there.
    let args = ["-c", "safe.directory=*", "-C", &folder].into_iter().chain(args.iter().copied());
    let command = Command {
        program: "git".to_owned(),
        args: args.map(str::to_owned).collect(),
        env: BTreeMap::from([("PATH".to_owned(), path.to_owned()), ("LANG".to_owned(), "C.UTF-8".to_owned())]),
        dir: Some("/".into()),
        deadline: Duration::from_secs(10),
        mask: Arc::default(),
        lock: None,
    };
    let line = process::capture(&command, &Cancel::default()).await.success().ok()?;
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::Origin;

    #[test]
    fn a_remote_is_read_in_every_spelling() {
        for (given, page) in [
            ("git@github.com:acme/web.git", "https://github.com/acme/web"),
            ("https://github.com/acme/web", "https://github.com/acme/web"),
            ("https://mona:ghp_token@github.com/acme/web.git", "https://github.com/acme/web"),
            ("ssh://git@git.example.com:2222/acme/web.js.git", "https://git.example.com/acme/web.js"),
            ("ssh://git@ssh.github.com:443/acme/web.git", "https://github.com/acme/web"),
            ("https://example.com:3000/forgejo/acme/web/", "https://example.com:3000/forgejo/acme/web"),
            ("http://127.0.0.1:3000/acme/web.git", "http://127.0.0.1:3000/acme/web"),
            ("forge.example.com:acme/web", "https://forge.example.com/acme/web"),
        ] {
            assert_eq!(Origin::parse(given).map(|origin| origin.page()).as_deref(), Some(page), "{given}");
        }
        for none in ["", "/srv/git/web.git", "../web.git", "file:///srv/git/web.git", "https://github.com/acme", "git@github.com:web.git"] {
            assert_eq!(Origin::parse(none), None, "{none}");
        }
    }
}
