//! `[service.NAME.stack]`: the repository that the stack's files come from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use text::Secret;

use crate::config::Access;
use crate::config::Docker;
use crate::config::RefPattern;
use crate::config::reader::Section;
use crate::config::remote::read_git;
use crate::config::remote::read_login;
use crate::config::remote::read_plain_http;
use crate::config::remote::remote;
use crate::model::wrong_path;

/// The repository that a stack's files come from.
#[derive(Debug, Clone)]
pub struct StackSource {
    /// How git gets at it.
    pub access: Access,
    /// The folder in the repository; empty: all of it.
    pub path: String,
    /// The refs whose commits may be landed: at least one.
    pub refs: Vec<RefPattern>,
    /// How long asking and fetching may take.
    pub fetch_deadline: Duration,
    /// A folder of our own for what was fetched. Made when it is not there.
    pub state: PathBuf,
}

impl StackSource {
    /// `allowed` are the refs of the service's source, which count where the table names none of its own.
    pub(super) fn read(mut from: Section, allowed: &[RefPattern], docker: &Docker, secrets: &mut Vec<Secret>) -> Self {
        let kind = |text: &str| if text == "git" { Ok(()) } else { Err(format!("\"{}\" is not git.", text.escape_default())) };
        from.needed("from", "say where the stack's files come from: from = \"git\". Leave the table out if people keep them.", kind);
        let remote = from.needed("remote", "the stack's files need the address of their repository.", remote);
        let login = read_login(&mut from, secrets);
        let url = remote.as_ref().and_then(|remote| url::Url::parse(remote).ok());
        let over_http = url.filter(|url| url.scheme() == "http" && login.is_some());
        read_plain_http(&mut from, over_http.as_slice(), "password", "use https or ssh");
        let refs = from.list("refs", RefPattern::parse);
        let refs = if refs.is_empty() { allowed.to_vec() } else { refs };
        if refs.is_empty() {
            let why = "name the refs whose commits may bring files: refs = [\"refs/heads/main\"], here or in the service's source.";
            from.problem("refs", why);
        }
        let access = Access {
            git: read_git(&mut from, docker),
            remote: remote.unwrap_or_default(),
            ssh_key_file: from.path("ssh_key_file"),
            ssh_known_hosts_file: from.path("ssh_known_hosts_file"),
            login,
            committer_name: "tagalong".to_owned(),
            committer_email: "tagalong@localhost".to_owned(),
            local_deadline: Duration::from_mins(2),
            mask: Arc::default(),
        };
        let source = Self {
            access,
            path: from.parsed("path", folder).unwrap_or_default(),
            refs,
            fetch_deadline: from.seconds("fetch_s", 120.0, 1.0..=86_400.0),
            // Known when the server's section is read too.
            state: PathBuf::new(),
        };
        from.finish();
        source
    }

    /// Whether a commit of `git_ref` may be landed.
    #[must_use]
    pub fn allows(&self, git_ref: &str) -> bool {
        self.refs.iter().any(|pattern| pattern.matches(git_ref))
    }
}

/// A folder of the repository, as git writes it.
fn folder(text: &str) -> Result<String, String> {
    let bare = text.trim_start_matches("./").trim_matches('/');
    if bare.is_empty() || bare == "." {
        return Ok(String::new());
    }
    wrong_path(bare)
        .map_or_else(|| Ok(bare.to_owned()), |why| Err(format!("\"{}\" is no folder of a repository: {why}.", text.escape_default())))
}
