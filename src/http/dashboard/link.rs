//! Addresses of pages.

/// `path` with the fields of `query` that have a value.
pub(super) fn address(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let mut fields = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in query.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
        fields.append_pair(name, value);
    }
    let fields = fields.finish();
    if fields.is_empty() { path.to_owned() } else { format!("{path}?{fields}") }
}

/// `given` if a browser may follow it from a page: an address of the web.
pub(super) fn of_the_web(given: Option<&str>) -> Option<String> {
    given.filter(|given| given.starts_with("https://") || given.starts_with("http://")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::address;
    use super::of_the_web;

    #[test]
    fn values_stay_within_their_fields() {
        assert_eq!(address("/", &[("q", None)]), "/");
        assert_eq!(address("/", &[("q", Some("a&b=c d")), ("x", None), ("y", Some("ü"))]), "/?q=a%26b%3Dc+d&y=%C3%BC");
    }

    #[test]
    fn only_addresses_of_the_web_become_links() {
        assert_eq!(of_the_web(Some("https://x/1")).as_deref(), Some("https://x/1"));
        for bad in ["javascript:alert(1)", "data:text/html,x", " https://x", "/x", ""] {
            assert_eq!(of_the_web(Some(bad)), None, "{bad}");
        }
    }
}
