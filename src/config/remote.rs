//! Where a dataset's repository is, and which branch of it is followed.

use crate::model::is_ref;

/// An address without a credential: it stands in logs and in process lists.
pub(super) fn remote(text: &str) -> Result<String, String> {
    let secret = url::Url::parse(text).is_ok_and(|url| url.password().is_some());
    match text {
        "" => Err("every dataset needs the address of its repository.".to_owned()),
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
