//! The page's headers: `Content-Security-Policy` and `Link`.

use url::Url;

/// Whether a policy (the value of one header or `<meta>`) has `upgrade-insecure-requests`.
pub(crate) fn upgrades_insecure_requests(policy: &str) -> bool {
    let directives = policy.split(',').flat_map(|one| one.split(';'));
    directives
        .filter_map(|directive| directive.split_ascii_whitespace().next())
        .any(|name| name.eq_ignore_ascii_case("upgrade-insecure-requests"))
}

/// Whether a policy lets `<base>` of the page at `page` lead to `base`.
///
/// CSP level 3, `base-uri`: without the directive everything is allowed; hosts are compared with their leading `*.`, schemes
/// and ports; a path is not looked at.
pub(super) fn allows_base(policy: &str, page: &Url, base: &Url) -> bool {
    let directives = policy.split(',').map(|one| {
        let words = |directive: &str| directive.split_ascii_whitespace().map(str::to_ascii_lowercase).collect::<Vec<_>>();
        one.split(';').map(words).find(|words| words.first().is_some_and(|name| name == "base-uri"))
    });
    directives.flatten().all(|words| words.iter().skip(1).any(|source| is_source_of(source, page, base)))
}

fn is_source_of(source: &str, page: &Url, url: &Url) -> bool {
    match source {
        "*" => matches!(url.scheme(), "http" | "https" | "ws" | "wss") || url.scheme() == page.scheme(),
        "'self'" => url.origin() == page.origin(),
        scheme if scheme.ends_with(':') => scheme.strip_suffix(':') == Some(url.scheme()),
        host => is_host_source_of(host, page, url),
    }
}

fn is_host_source_of(source: &str, page: &Url, url: &Url) -> bool {
    let (scheme, rest) = source.split_once("://").unwrap_or((page.scheme(), source));
    let place = rest.split('/').next().unwrap_or_default();
    let (host, port) = place.rsplit_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
    let is_scheme = scheme == url.scheme() || (scheme == "http" && url.scheme() == "https");
    let is_port = port.map_or_else(|| url.port().is_none(), |port| port == "*" || port.parse().ok() == url.port_or_known_default());
    let name = url.host_str().unwrap_or_default();
    let is_host = host.strip_prefix('*').map_or(name == host, |domain| name.ends_with(domain));
    is_scheme && is_port && is_host
}

/// One link of a `Link` header: its target and its parameters, names in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeaderLink {
    /// The address as written.
    pub(super) target: String,
    /// Names and values.
    params: Vec<(String, String)>,
}

impl HeaderLink {
    /// The first parameter of this name.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// The links of one header's value (RFC 8288). What is not well-formed ends the list.
pub(super) fn links(header: &str) -> Vec<HeaderLink> {
    let mut found = Vec::new();
    let mut rest = header;
    while let Some(open) = rest.trim_start_matches([' ', '\t', ',']).strip_prefix('<') {
        let Some((target, after)) = open.split_once('>') else { break };
        let (params, after) = params(after);
        found.push(HeaderLink { target: target.trim().to_owned(), params });
        rest = after;
    }
    found
}

/// The parameters up to the comma that ends this link, and what follows.
fn params(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        let Some(param) = rest.strip_prefix(';') else {
            return (found, rest);
        };
        let param = param.trim_start_matches([' ', '\t']);
        let end = param.find(['=', ';', ',']).unwrap_or(param.len());
        let (name, after) = param.split_at(end);
        let (value, after) = match after.strip_prefix('=') {
            Some(value) => param_value(value.trim_start_matches([' ', '\t'])),
            None => (String::new(), after),
        };
        found.push((name.trim().to_ascii_lowercase(), value));
        rest = after;
    }
}

fn param_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = text.split_at(text.find([';', ',']).unwrap_or(text.len()));
        return (value.trim().to_owned(), after);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::links;
    use super::upgrades_insecure_requests;

    #[test]
    fn the_directive_is_found_by_its_name() {
        for yes in ["upgrade-insecure-requests", "default-src 'self';  Upgrade-Insecure-Requests ", "a b, upgrade-insecure-requests; c"] {
            assert!(upgrades_insecure_requests(yes), "{yes}");
        }
        for no in ["", ";", "img-src upgrade-insecure-requests", "upgrade-insecure-requests-x", "block-all-mixed-content"] {
            assert!(!upgrades_insecure_requests(no), "{no}");
        }
    }

    #[test]
    fn links_keep_commas_in_targets_and_quotes() {
        let seen = links("<http://a/x,y>; rel=\"preload, x\"; AS = style , <b>;rel=next;crossorigin, <c>");
        let seen: Vec<_> = seen.iter().map(|link| (link.target.as_str(), link.param("rel"), link.param("as"))).collect();
        assert_eq!(seen, [("http://a/x,y", Some("preload, x"), Some("style")), ("b", Some("next"), None), ("c", None, None)]);
        for odd in ["", "<", "a", "<a", "<a>;", "<a>;=", "<a>;b=\"", "<a>;b=\"\\", "<a> b"] {
            let _ = links(odd);
        }
    }
}
