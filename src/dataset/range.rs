//! Which commits are our own.

use crate::model::Commit;

/// Which commits are our own: in `local`, and neither in `remote` nor in what the remote had once and no longer has.
#[derive(Debug, Clone)]
pub(super) struct Own<'a> {
    pub(super) local: &'a Commit,
    pub(super) remote: &'a Commit,
    pub(super) gone: &'a [Commit],
}

impl Own<'_> {
    /// As arguments of `rev-list`.
    pub(super) fn range(&self) -> Vec<String> {
        let mut args = vec![self.local.to_string(), format!("^{}", self.remote)];
        args.extend(self.gone.iter().map(|gone| format!("^{gone}")));
        args
    }
}
