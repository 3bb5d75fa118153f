//! Further unix sockets, for programs on this host that may do some things and not everything.

use std::path::Path;
use std::path::PathBuf;

use crate::config::Key;
use crate::config::KeyProof;
use crate::config::Server;
use crate::config::key::RefPattern;
use crate::config::key::read_scopes;
use crate::config::reader::Section;
use crate::model::KeyId;

/// A unix socket whose callers may do what its scopes say.
#[derive(Debug, Clone)]
pub struct ScopedSocket {
    /// Where it is.
    pub path: PathBuf,
    /// The group that may open it beside its owner, by number.
    pub gid: Option<u32>,
    /// Who its callers are in records, and what they may do.
    pub key: Key,
}

impl ScopedSocket {
    pub(super) fn read(mut from: Section) -> Option<Self> {
        let id = from.needed("id", "every socket needs an id, which appears in records and messages.", KeyId::parse);
        let path = from.path("path");
        if path.is_none() {
            from.problem("path", "every socket needs a path; write path = \"/run/tagalong/runner/tagalong.sock\".");
        }
        let gid = u32::try_from(from.whole("gid", -1, -1..=i64::from(u32::MAX))).ok();
        let scopes = read_scopes(&mut from, "socket");
        let refs = from.list("refs", RefPattern::parse);
        from.finish();
        let key = Key { id: id?, proof: KeyProof::Socket, file: None, scopes, refs, not_before_ms: None, not_after_ms: None };
        Some(Self { path: path?, gid, key })
    }

    /// What is wrong with it beside the `earlier` ones, the places of `server` and the configuration in `config`. Its folder is given to
    /// those who may call, often as a mount of a container, so that nothing else of ours may be in it or below it.
    pub(super) fn fault(&self, server: &Server, config: &Path, earlier: &[Self]) -> Option<String> {
        let path = self.path.display();
        if earlier.iter().any(|other| other.path == self.path) {
            return Some(format!("two sockets have the path {path}; each needs its own."));
        }
        let is_given = |place: &Path| place.starts_with(self.folder());
        let mut others = server.socket.iter().chain(earlier.iter().map(|other| &other.path)).map(PathBuf::as_path);
        let is_with_others = others.any(is_given) || earlier.iter().any(|other| self.path.starts_with(other.folder()));
        if is_with_others || is_given(&server.data_dir) || is_given(config) || self.path.starts_with(&server.data_dir) {
            return Some(format!(
                "{path} must be in a folder of its own, without another socket, the configuration or server.data_dir in it or below it: \
                 anybody who gets that folder, as a mount in a container, would get those too."
            ));
        }
        None
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }
}
