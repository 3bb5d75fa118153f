//! Import maps: what a module's name stands for, by the HTML Standard
//! ([import maps](https://html.spec.whatwg.org/multipage/webappapis.html#import-maps)).

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use serde_json::Map;
use serde_json::Value;
use url::Url;

/// An address in a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As written.
    pub(super) written: String,
    /// What it stands for.
    pub(super) url: Url,
    /// The line of the page in which it stands.
    pub(super) line: u32,
}

/// Names and what they stand for; none: the name is taken and leads nowhere.
type Names = BTreeMap<String, Option<Entry>>;

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The address.
    pub(super) url: Url,
    /// The entry of a map that led there.
    pub(super) entry: Option<Entry>,
}

/// All maps of a document up to a place in it.
#[derive(Debug, Default)]
pub(super) struct ImportMap {
    imports: Names,
    scopes: BTreeMap<String, Names>,
    /// Names that were looked up already: a later map does not change what they stand for.
    settled: BTreeSet<String>,
}

impl ImportMap {
    /// Adds the map `text`, whose script begins in `line`. What was there before wins.
    pub(super) fn add(&mut self, text: &str, base: &Url, line: u32) {
        let Ok(Value::Object(map)) = serde_json::from_str(text) else { return };
        let none = Value::Object(Map::new());
        let (Value::Object(imports), Value::Object(scopes)) = (map.get("imports").unwrap_or(&none), map.get("scopes").unwrap_or(&none))
        else {
            return;
        };
        if !scopes.values().all(Value::is_object) {
            return;
        }
        let places = Places { base, lines: lines_of_strings(text, line) };
        for (scope, names) in scopes {
            if let (Ok(scope), Value::Object(names)) = (base.join(scope), names) {
                merge(self.scopes.entry(scope.into()).or_default(), places.names(names), &self.settled);
            }
        }
        merge(&mut self.imports, places.names(imports), &self.settled);
    }

    /// What `specifier` in a module at `base` leads to, if anything.
    pub(super) fn resolve(&mut self, specifier: &str, base: &Url) -> Option<Resolved> {
        let url = like_url(specifier, base);
        let name = url.as_ref().map_or(specifier, Url::as_str);
        let scopes = std::iter::once(base.as_str()).chain(folders(base.as_str())).filter_map(|scope| self.scopes.get(scope));
        let found = scopes.chain([&self.imports]).find_map(|names| look_up(names, name, url.as_ref()));
        let found = found.unwrap_or_else(|| url.clone().map(|url| Resolved { url, entry: None }));
        self.settled.insert(name.to_owned());
        found
    }
}

/// What `name` begins with up to each of its slashes, the longest first.
fn folders(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices('/').filter_map(|(at, _)| name.get(..=at))
}

/// The line of each string of a JSON text that begins in `line`. Of equal ones the first counts; one with escapes is not found.
fn lines_of_strings(text: &str, mut line: u32) -> HashMap<&str, u32> {
    let mut found = HashMap::new();
    let mut escaped = false;
    let mut begins = None;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\n' => line += 1,
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = true,
            b'"' => match begins.take() {
                None => begins = Some(at + 1),
                Some(begin) => {
                    found.entry(text.get(begin..at).unwrap_or_default()).or_insert(line);
                }
            },
            _ => {}
        }
    }
    found
}

/// None: no entry fits. The inner none: one fits, and leads nowhere.
#[expect(clippy::option_option, reason = "that a name is blocked is another answer than that it is not there")]
fn look_up(names: &Names, name: &str, url: Option<&Url>) -> Option<Option<Resolved>> {
    if let Some(entry) = names.get(name) {
        return Some(entry.clone().map(|entry| Resolved { url: entry.url.clone(), entry: Some(entry) }));
    }
    if url.is_some_and(|url| !is_special(url)) {
        return None;
    }
    let (prefix, entry) = folders(name).find_map(|prefix| names.get(prefix).map(|entry| (prefix, entry)))?;
    let Some(entry) = entry else { return Some(None) };
    let joined = entry.url.join(name.get(prefix.len()..).unwrap_or_default()).ok();
    let inside = joined.filter(|joined| joined.as_str().starts_with(entry.url.as_str()));
    Some(inside.map(|url| Resolved { url, entry: Some(entry.clone()) }))
}

fn is_special(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https" | "ws" | "wss" | "ftp" | "file")
}

/// A name that is an address; any other is bare.
fn like_url(specifier: &str, base: &Url) -> Option<Url> {
    let is_relative = ["/", "./", "../"].iter().any(|begin| specifier.starts_with(begin));
    if is_relative { base.join(specifier).ok() } else { Url::parse(specifier).ok() }
}

fn merge(into: &mut Names, new: Names, settled: &BTreeSet<String>) {
    for (key, entry) in new {
        let mut behind = settled.range(key.clone()..);
        let is_settled = behind.next().is_some_and(|name| *name == key || (key.ends_with('/') && name.starts_with(&key)));
        if !is_settled {
            into.entry(key).or_insert(entry);
        }
    }
}

/// Where a map's strings stand, and what its addresses are relative to.
struct Places<'a> {
    base: &'a Url,
    lines: HashMap<&'a str, u32>,
}

impl Places<'_> {
    fn names(&self, map: &Map<String, Value>) -> Names {
        let named = map.iter().filter(|(key, _)| !key.is_empty()).map(|(key, address)| {
            let name = like_url(key, self.base).map_or_else(|| key.clone(), String::from);
            let entry = address.as_str().and_then(|written| self.entry(written));
            // A folder stands for a folder.
            (name, entry.filter(|entry| !key.ends_with('/') || entry.url.as_str().ends_with('/')))
        });
        named.collect()
    }

    fn entry(&self, written: &str) -> Option<Entry> {
        let url = like_url(written, self.base)?;
        Some(Entry { written: written.to_owned(), url, line: self.lines.get(written).copied().unwrap_or(1) })
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::ImportMap;

    #[test]
    fn names_are_resolved_as_the_standard_says() {
        let page = Url::parse("https://site.test/dir/page").unwrap();
        let mut map = ImportMap::default();
        map.add(
            r#"{"imports": {"a": "/a.js", "b/": "http://b.test/c/", "b/d/": "/d/", "no": null, "half/": "/x", "./own.js": "e.js", "https://far.test/": "./far/"},
                "scopes": {"/dir/": {"a": "http://s.test/a.js"}, "/other/": {"a": "/o.js"}}}"#,
            &page,
            1,
        );
        let table = [
            ("a", Some("http://s.test/a.js")),
            ("b/x/y.js", Some("http://b.test/c/x/y.js")),
            ("b/d/x.js", Some("https://site.test/d/x.js")),
            ("b/../../out.js", None),
            ("no", None),
            ("half/x", None),
            ("./own.js", None),
            ("./free.js", Some("https://site.test/dir/free.js")),
            ("https://far.test/f.js", Some("https://site.test/dir/far/f.js")),
            ("http://else.test/", Some("http://else.test/")),
            ("bare", None),
            ("data:text/javascript,", Some("data:text/javascript,")),
        ];
        for (name, wanted) in table {
            assert_eq!(map.resolve(name, &page).map(|resolved| resolved.url.to_string()).as_deref(), wanted, "{name}");
        }
        map.add(r#"{"imports": {"bare": "/late.js", "new": "\n/n.js", "a": "/b.js"}}"#, &page, 1);
        assert_eq!(map.resolve("bare", &page), None);
        map.add("{\"imports\": {\n\"more\": \"http://m.test/\"}}", &page, 5);
        assert_eq!(map.resolve("more", &page).unwrap().entry.unwrap().line, 6);
    }

    #[test]
    fn a_map_that_is_none_changes_nothing() {
        let page = Url::parse("https://site.test/").unwrap();
        for text in ["", "[]", "{", r#"{"imports": []}"#, r#"{"imports": {"a": "/a"}, "scopes": {"/": 1}}"#] {
            let mut map = ImportMap::default();
            map.add(text, &page, 1);
            assert_eq!(map.resolve("a", &page), None, "{text}");
        }
    }
}
