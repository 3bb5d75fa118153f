//! Whether two repository addresses mean the same repository, as far as their text shows.

use std::path::Path;

/// The default ports of schemes.
const USUAL_PORTS: [&str; 5] = ["22", "80", "443", "9418", ""];

/// Whether `a` and `b` lead to the same repository, by any protocol, with any user, and with or without `.git`. Paths are
/// relative to `here`.
pub(super) fn is_same(a: &str, b: &str, here: &Path) -> bool {
    plain(a, here) == plain(b, here)
}

/// Only host and path, in one notation.
fn plain(address: &str, here: &Path) -> String {
    let address = address.trim();
    let place = match address.split_once("://") {
        Some(("file", path)) => local(path.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(path), here),
        Some((_, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            remote(host, path)
        }
        None => match address.split_once(':') {
            // In scp's notation: host:path.
            Some((host, path)) if !host.contains('/') => remote(host, path.trim_start_matches('/')),
            _ => local(address, here),
        },
    };
    let bare = |text: &str| text.trim_end_matches('/').to_owned();
    let place = bare(&place);
    let place = place.strip_suffix("/.git").or_else(|| place.strip_suffix(".git")).unwrap_or(&place);
    bare(place)
}

fn remote(host: &str, path: &str) -> String {
    let host = host.rsplit('@').next().unwrap_or(host).to_ascii_lowercase();
    let host = match host.rsplit_once(':') {
        Some((name, port)) if USUAL_PORTS.contains(&port) => name.to_owned(),
        _ => host,
    };
    format!("{host}/{}", path.trim_start_matches('/'))
}

fn local(path: &str, here: &Path) -> String {
    let path = here.join(path);
    let dotted = path.with_file_name(format!("{}.git", path.file_name().unwrap_or_default().to_string_lossy()));
    // git uses x.git for x if only x.git exists.
    let found = path.canonicalize().or_else(|_| dotted.canonicalize()).unwrap_or(path);
    found.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::is_same;

    #[test]
    fn one_repository_has_many_addresses() {
        let same = |a, b| is_same(a, b, Path::new("/here"));
        for other in [
            "https://git.example.com/acme/content",
            "https://user:secret@git.example.com/acme/content.git/",
            "ssh://git@git.example.com:22/acme/content.git",
            "git@git.example.com:acme/content.git",
            "git@GIT.example.com:/acme/content",
        ] {
            assert!(same("https://git.example.com/acme/content.git", other), "{other}");
        }
        for other in [
            "https://git.example.com/acme/contents.git",
            "https://git.example.com:8443/acme/content.git",
            "https://example.com/acme/content.git",
            "/acme/content.git",
        ] {
            assert!(!same("https://git.example.com/acme/content.git", other), "{other}");
        }
        for other in ["/srv/x.git/", "/srv/x", "file://localhost/srv/x.git", "../srv/x.git"] {
            assert!(same("file:///srv/x.git", other) || other.starts_with(".."), "{other}");
        }
    }
}
