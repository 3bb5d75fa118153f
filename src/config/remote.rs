//! Where a repository is, which branch of it is followed, and how git gets at it.

use text::Secret;

use crate::config::Confine;
use crate::config::DatasetLogin;
use crate::config::Docker;
use crate::config::Git;
use crate::config::reader::Section;
use crate::model::is_in_the_clear;
use crate::model::is_ref;

/// An address without a credential: it stands in logs and in process lists.
pub(super) fn remote(text: &str) -> Result<String, String> {
    let secret = url::Url::parse(text).is_ok_and(|url| url.password().is_some());
    match text {
        "" => Err("it needs the address of the repository.".to_owned()),
        _ if secret => Err("an address must not contain a credential; set user and password_file instead.".to_owned()),
        _ if text.starts_with('-') || text.contains(char::is_control) || names_a_program(text) => {
            Err(format!("\"{}\" is not the address of a repository.", text.escape_default()))
        }
        _ => Ok(text.to_owned()),
    }
}

/// `HELPER::ADDRESS` runs a program of that name ([gitremote-helpers](https://git-scm.com/docs/gitremote-helpers)).
fn names_a_program(text: &str) -> bool {
    text.split_once("::").is_some_and(|(helper, _)| helper.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
}

/// The name of a branch, with or without `refs/heads/` in front.
pub(super) fn branch(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix("refs/heads/").unwrap_or(text);
    if is_ref(bare) { Ok(bare.to_owned()) } else { Err(format!("\"{}\" is not a branch name.", text.escape_default())) }
}

pub(super) fn read_git(from: &mut Section, docker: &Docker) -> Git {
    let program = from.text("git").unwrap_or_else(|| "git".to_owned());
    let words = [("where_possible", Confine::WherePossible), ("always", Confine::Always), ("never", Confine::Never)];
    Git { program, path: docker.path.clone(), home: docker.home.clone(), confine: from.choice("confine", &words) }
}

pub(super) fn read_login(from: &mut Section, secrets: &mut Vec<Secret>) -> Option<DatasetLogin> {
    let user = from.text("user");
    let secret_file = from.path("password_file");
    let file = secret_file.as_ref()?;
    match std::fs::read_to_string(file) {
        Ok(text) => secrets.push(Secret::new(text.trim_end().to_owned())),
        Err(error) => from.problem("password_file", format!("{} cannot be read: {error}.", file.display())),
    }
    Some(DatasetLogin { user: user.unwrap_or_else(|| "git".to_owned()), secret_file: secret_file? })
}

/// Whether a secret may travel unencrypted to other hosts, as the table says. Where it would and may not, to one of `urls`, that
/// is a problem.
pub(super) fn read_plain_http(from: &mut Section, urls: &[url::Url], secret: &str, instead: &str) -> bool {
    let plain_http = from.flag("plain_http", false);
    if let Some(url) = urls.iter().find(|url| is_in_the_clear(url)).filter(|_| !plain_http) {
        from.problem(
            "plain_http",
            format!(
                "{url} uses plain http, so anybody who sees the traffic could use the {secret}: {instead}, or \
        set plain_http = true if you trust every machine on the way."
            ),
        );
    }
    plain_http
}
