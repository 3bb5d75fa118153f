//! Whether a credential may be sent to an address.

use std::net::IpAddr;

/// Whether anybody between here and `url` could read what is sent: it is plain http, and leads to another host.
#[must_use]
pub fn is_in_the_clear(url: &url::Url) -> bool {
    let is_here = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        // RFC 6761, section 6.3: these names lead to this host, or nowhere.
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    };
    url.scheme() != "https" && !is_here
}

#[cfg(test)]
mod tests {
    use super::is_in_the_clear;

    #[test]
    fn only_https_and_this_host_itself_are_safe_for_a_bearer_token() {
        for (address, clear) in [
            ("https://example.com", false),
            ("http://example.com", true),
            ("http://10.0.0.7:8787", true),
            ("http://127.0.0.1:8787", false),
            ("http://127.1", false),
            ("http://[::1]", false),
            ("http://[::ffff:127.0.0.1]", false),
            ("http://[fe80::1]", true),
            ("http://localhost:80", false),
            ("http://LOCALHOST.", false),
            ("http://a.localhost", false),
            ("http://localhost.example.com", true),
            ("http://0.0.0.0", true),
        ] {
            assert_eq!(is_in_the_clear(&url::Url::parse(address).expect("an address")), clear, "{address}");
        }
    }
}
