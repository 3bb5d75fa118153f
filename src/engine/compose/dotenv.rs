//! An `.env` file as compose reads it, and edits of it that leave every other byte alone.

use std::collections::BTreeMap;
use std::ops::Range;

/// An `.env` file, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DotEnv {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: String,
    /// Where the value stands, without its quotes; none where the line is only a name, which takes the value from outside.
    at: Option<Range<usize>>,
    quote: Option<u8>,
}

impl DotEnv {
    /// Reads `bytes` the way compose 2.40 does.
    ///
    /// # Errors
    /// What stands in the way, with its line, where compose would refuse the file too.
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let mut at = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let mut entries = Vec::new();
        while let Some(start) = statement(&bytes, at) {
            let (entry, next) = entry(&bytes, start).map_err(|why| format!("line {}: {why}", line_of(&bytes, start)))?;
            entries.push(entry);
            at = next;
        }
        Ok(Self { bytes, entries })
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The value of `key` as compose reads it: the last one wins, variables in it are replaced.
    pub(super) fn value(&self, key: &str) -> Option<String> {
        self.values().remove(key)
    }

    /// All values, variables in them replaced by values that stand above them.
    pub(super) fn values(&self) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        for entry in &self.entries {
            if let Some(value) = self.read(entry, &values) {
                values.insert(entry.key.clone(), value);
            }
        }
        values
    }

    /// The names whose values mention the variable `name` above the place where it gets its value: they would not follow it.
    pub(super) fn read_too_early(&self, name: &str) -> Vec<&str> {
        let set_at = self.entries.iter().rposition(|entry| entry.key == name && entry.at.is_some()).unwrap_or(self.entries.len());
        let mentions = |entry: &&Entry| entry.quote != Some(b'\'') && mentions(&self.raw(entry), name);
        self.entries[..set_at].iter().filter(mentions).map(|entry| entry.key.as_str()).collect()
    }

    /// The file with `key` set to `value`: in place where it has a value already (the last, which counts), else in a new
    /// last line.
    ///
    /// # Errors
    /// When the file would not read back as meant.
    pub(super) fn set(&self, key: &str, value: &str) -> Result<Self, String> {
        let changed = match self.entries.iter().rev().find(|entry| entry.key == key) {
            Some(Entry { at: Some(at), quote, .. }) => {
                let new = if quote.is_none() { as_unquoted(value) } else { escaped(value, *quote) };
                let mut bytes = self.bytes.clone();
                bytes.splice(at.clone(), new.into_bytes());
                bytes
            }
            _ => self.with_line(key, value),
        };
        let changed = Self::parse(changed)?;
        let mut before = self.raw_values();
        let mut after = changed.raw_values();
        before.retain(|(name, _)| name != key);
        after.retain(|(name, _)| name != key);
        if changed.value(key).as_deref() == Some(value) && before == after {
            Ok(changed)
        } else {
            Err(format!("{key} cannot be set without changing another line: put {key}= on a line of its own"))
        }
    }

    fn with_line(&self, key: &str, value: &str) -> Vec<u8> {
        let first_end = self.bytes.iter().position(|byte| *byte == b'\n');
        let crlf = first_end.is_some_and(|at| at > 0 && self.bytes[at - 1] == b'\r');
        let end = if crlf { "\r\n" } else { "\n" };
        let mut bytes = self.bytes.clone();
        if !bytes.is_empty() && !bytes.ends_with(b"\n") && bytes != b"\xef\xbb\xbf" {
            bytes.extend_from_slice(end.as_bytes());
        }
        bytes.extend_from_slice(format!("{key}={}{end}", as_unquoted(value)).as_bytes());
        bytes
    }

    fn raw(&self, entry: &Entry) -> String {
        let at = entry.at.clone().unwrap_or_default();
        String::from_utf8_lossy(&self.bytes[at]).into_owned()
    }

    fn raw_values(&self) -> Vec<(String, Option<String>)> {
        self.entries.iter().map(|entry| (entry.key.clone(), entry.at.as_ref().map(|_| self.raw(entry)))).collect()
    }

    fn read(&self, entry: &Entry, above: &BTreeMap<String, String>) -> Option<String> {
        entry.at.as_ref()?;
        let raw = self.raw(entry);
        Some(match entry.quote {
            Some(b'\'') => raw.replace("\\'", "'"),
            Some(_) => expand(&unescape(&raw), above),
            None => expand(&raw, above),
        })
    }
}

/// Where the next statement begins.
fn statement(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += bytes.get(at..)?.iter().position(|byte| !is_space(*byte) && *byte != b'\n')?;
        if bytes[at] != b'#' {
            return Some(at);
        }
        at += bytes[at..].iter().position(|byte| *byte == b'\n')?;
    }
}

fn entry(bytes: &[u8], start: usize) -> Result<(Entry, usize), String> {
    let mut from = start;
    if bytes[from..].starts_with(b"export") && bytes.get(from + 6).is_some_and(|byte| is_space(*byte)) {
        from += 6 + bytes[from + 6..].iter().take_while(|byte| is_space(**byte)).count();
    }
    let end = bytes[from..].iter().position(|byte| matches!(byte, b'=' | b':' | b'\n')).map_or(bytes.len(), |at| from + at);
    let key = String::from_utf8_lossy(&bytes[from..end]).trim_end().to_owned();
    if let Some(bad) = key.chars().find(|c| !(c.is_alphanumeric() || "_.-[]".contains(*c) || c.is_whitespace())) {
        return Err(format!("unexpected character {bad:?} in the name of a variable"));
    }
    if key.contains(char::is_whitespace) {
        return Err("the name of a variable has a space in it".to_owned());
    }
    if end == bytes.len() || bytes[end] == b'\n' {
        return Ok((Entry { key, at: None, quote: None }, end));
    }
    let gap = bytes[end + 1..].iter().enumerate().take_while(|(i, byte)| is_gap(bytes, end + 1 + i, **byte)).count();
    let at = end + 1 + gap;
    if let Some(quote @ (b'"' | b'\'')) = bytes.get(at) {
        let close = closing(bytes, at + 1, *quote).ok_or("a quoted value is not closed")?;
        return Ok((Entry { key, at: Some(at + 1..close), quote: Some(*quote) }, close + 1));
    }
    let line = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| at + n);
    let value = &bytes[at..line];
    let value = value.windows(2).position(|two| two == b" #").map_or(value, |cut| &value[..cut]);
    let blank = value.iter().rev().take_while(|byte| is_space(**byte)).count();
    Ok((Entry { key, at: Some(at..at + value.len() - blank), quote: None }, line))
}

/// White space between `=` and the value; the CR of an empty value's line end is not part of it.
fn is_gap(bytes: &[u8], at: usize, byte: u8) -> bool {
    is_space(byte) && !(byte == b'\r' && matches!(bytes.get(at + 1), None | Some(b'\n')))
}

fn closing(bytes: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if *byte == quote => return Some(at),
            _ => {}
        }
    }
    None
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x0b | 0x0c | b'\r' | b' ')
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    bytes[..at].split(|byte| *byte == b'\n').count()
}

/// `value` as the text behind `=`: as it is where that reads back, else in single quotes.
fn as_unquoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-@:/,;+~=%".contains(&byte);
    if value.bytes().all(plain) { value.to_owned() } else { format!("'{}'", escaped(value, Some(b'\''))) }
}

fn escaped(value: &str, quote: Option<u8>) -> String {
    match quote {
        Some(b'\'') => value.replace('\'', "\\'"),
        _ => value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"),
    }
}

fn unescape(raw: &str) -> String {
    let mut text = String::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                Some('$') => text.push_str("$$"),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            (c, false) => text.push(c),
        }
    }
    text
}

/// `text` with `$NAME`, `${NAME}`, `${NAME:-…}`, `${NAME-…}`, `${NAME:+…}` and `${NAME+…}` replaced; `$$` is `$`.
pub(super) fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(behind) = behind.strip_prefix('$') {
            out.push('$');
            rest = behind;
        } else if let Some((inner, behind)) = behind.strip_prefix('{').and_then(|behind| split_brace(behind)) {
            out.push_str(&braced(inner, values));
            rest = behind;
        } else {
            let name = name_length(behind);
            out.push_str(if name == 0 { "$" } else { values.get(&behind[..name]).map_or("", String::as_str) });
            rest = &behind[name..];
        }
    }
    out + rest
}

fn braced(inner: &str, values: &BTreeMap<String, String>) -> String {
    let (name, operator) = inner.split_at(name_length(inner));
    let value = values.get(name).map(String::as_str);
    let filled = value.filter(|value| !value.is_empty());
    match (operator.as_bytes(), value) {
        ([b':', b'-', ..], _) => filled.map_or_else(|| expand(&operator[2..], values), str::to_owned),
        ([b'-', ..], value) => value.map_or_else(|| expand(&operator[1..], values), str::to_owned),
        ([b':', b'+', ..], _) => filled.map_or_else(String::new, |_| expand(&operator[2..], values)),
        ([b'+', ..], value) => value.map_or_else(String::new, |_| expand(&operator[1..], values)),
        _ => value.unwrap_or_default().to_owned(),
    }
}

pub(super) fn split_brace(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some((&text[..at], &text[at + 1..])),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

pub(super) fn name_length(text: &str) -> usize {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first { text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count() } else { 0 }
}

/// Whether `text` mentions the variable `name`, as `$NAME` or `${NAME…`.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    let after = |rest: &str| rest.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'));
    text.match_indices('$').any(|(at, _)| after(&text[at + 1..]) || text[at + 1..].strip_prefix('{').is_some_and(after))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use process::Cancel;
    use process::Command;
    use process::capture;
    use proptest::prelude::*;

    use crate::engine::compose::dotenv::DotEnv;
    use crate::engine::compose::dotenv::expand;
    use crate::engine::compose::dotenv::mentions;

    const PIN: &str = "1f0c9e2@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn set(text: &str) -> String {
        let changed = DotEnv::parse(text.into()).unwrap().set("T", "new").unwrap();
        String::from_utf8(changed.bytes().to_vec()).unwrap()
    }

    #[test]
    fn only_the_value_changes() {
        for (before, after) in [
            ("", "T=new\n"),
            ("A=1", "A=1\nT=new\n"),
            ("A=1\r\n", "A=1\r\nT=new\r\n"),
            ("\u{feff}", "\u{feff}T=new\n"),
            ("\u{feff}T=1\nA=2", "\u{feff}T=new\nA=2"),
            ("T=1", "T=new"),
            ("T=\r\nA=1\r\n", "T=new\r\nA=1\r\n"),
            ("T=", "T=new"),
            ("T= # note\n", "T= new\n"),
            ("  export\tT = 1.0 # note\r\n", "  export\tT = new # note\r\n"),
            ("T='1'#note", "T='new'#note"),
            ("T=\"a\nb\" # note\n", "T=\"new\" # note\n"),
            ("T=1\nT=2\n#T=3\n", "T=1\nT=new\n#T=3\n"),
            ("TT=1\nA=T=2\n", "TT=1\nA=T=2\nT=new\n"),
            ("T: 1\n", "T: new\n"),
            ("T\n", "T\nT=new\n"),
            ("A=\"x\nT=not this\n\"\n", "A=\"x\nT=not this\n\"\nT=new\n"),
        ] {
            assert_eq!(set(before), after, "{before:?}");
        }
    }

    #[test]
    fn what_compose_refuses_is_refused_with_its_line() {
        for (text, said) in [("A=1\nB C=2\n", "line 2: "), ("A=1\n\n'x'=2", "line 3: "), ("A=\"x", "line 1: a quoted value is not closed")]
        {
            let error = DotEnv::parse(text.into()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn values_with_odd_characters_are_quoted() {
        for value in ["a b", "a'b", "a\"b", "$a", "a#b", "a\\b", "ä", ""] {
            for before in ["", "T=1\n", "T='1'\n", "T=\"1\"\n"] {
                let changed = DotEnv::parse(before.into()).unwrap().set("T", value);
                assert_eq!(changed.map(|changed| changed.value("T")), Ok(Some(value.to_owned())), "{before:?} {value:?}");
            }
        }
    }

    #[test]
    fn variables_are_replaced_as_compose_does() {
        let values = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("E".to_owned(), String::new())]);
        let text = "$A ${A} $$A ${E:-x} ${E-x} ${N-${A}} ${N:-y} ${A:+z} ${E:+z} ${E+z} ${N} $ $1";
        assert_eq!(expand(text, &values), "1 1 $A x  1 y z  z  $ $1");
        assert!(["$T", "${T}", "x${T:-1}y", "$T-x"].iter().all(|text| mentions(text, "T")));
        assert!(["T", "$TT", "${TT}", "$ T", "$A_T"].iter().all(|text| !mentions(text, "T")));
    }

    #[test]
    fn a_value_above_its_variable_does_not_follow_it() {
        let early = |text: &str| DotEnv::parse(text.into()).unwrap().read_too_early("T").join(" ");
        assert_eq!(early("A=x:${T}\nT=1\n"), "A");
        assert_eq!(early("T=0\nA=x:$T\nT=1\n"), "A");
        assert_eq!(early("T=1\nA=x:$T\nB='$T'\n"), "");
        assert_eq!(early("A=x:$T\nB='$T'\n"), "A");
    }

    fn line() -> impl Strategy<Value = String> {
        let name = prop_oneof![Just("T"), Just("A"), Just("LONG_NAME"), Just("dotted.name"), Just("B2")];
        let plain = prop_oneof![Just(""), Just("1"), Just("a b"), Just("a#b"), Just("x # note"), Just("ä ö"), Just("${A}"), Just("x=y:z")];
        let quoted = prop_oneof![
            Just("'x'"),
            Just("\"x\""),
            Just("\"a\\\"b\""),
            Just("'a\nT=no'"),
            Just("\"\"  # note"),
            Just("'$A'"),
            Just("\"${A:-q}\"")
        ];
        let odd = prop_oneof![
            Just(r#""a\nb""#),
            Just(r#""\$A""#),
            Just(r#""a\\b""#),
            Just(r"'a\'b'"),
            Just(r#""$$A""#),
            Just(r"a\nb"),
            Just(r"$$A"),
            Just("$A-$B2")
        ];
        let value = prop_oneof![odd.prop_map(str::to_owned), plain.prop_map(str::to_owned), quoted.prop_map(str::to_owned)];
        let sign = prop_oneof![Just("="), Just(" = "), Just("="), Just(": ")];
        let start = prop_oneof![Just(""), Just("export "), Just("  "), Just("\t")];
        let entry = (start, name, sign, value).prop_map(|(start, name, sign, value)| format!("{start}{name}{sign}{value}"));
        prop_oneof![4 => entry, 1 => Just("# T=comment".to_owned()), 1 => Just(String::new()), 1 => Just("   ".to_owned())]
    }

    fn file() -> impl Strategy<Value = String> {
        let end = prop_oneof![Just("\n"), Just("\r\n")];
        (proptest::bool::ANY, proptest::collection::vec(line(), 0..9), end, proptest::bool::ANY).prop_map(|(mark, lines, end, last)| {
            let text = lines.join("\n").replace('\n', end);
            format!("{}{text}{}", if mark { "\u{feff}" } else { "" }, if last { end } else { "" })
        })
    }

    proptest! {
        #[test]
        fn setting_touches_one_place(text in file()) {
            let before = DotEnv::parse(text.clone().into_bytes()).unwrap();
            let after = before.set("T", PIN).unwrap();
            prop_assert_eq!(after.value("T"), Some(PIN.to_owned()));
            // What is not the value is a beginning and an end of the old bytes.
            let (old, new) = (before.bytes(), after.bytes());
            let head = old.iter().zip(new).take_while(|(one, other)| one == other).count();
            let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(one, other)| one == other).count();
            let inserted = String::from_utf8_lossy(&new[head..new.len() - tail]).into_owned();
            prop_assert!(PIN.contains(inserted.trim()) || inserted.trim() == format!("T={PIN}"), "{inserted:?}");
            let removed = String::from_utf8_lossy(&old[head..old.len() - tail]).into_owned();
            prop_assert!(!removed.contains("A=") && !removed.contains("LONG"), "{removed:?}");
            // A second pin in the same place, and the first again: the same bytes.
            let again = after.set("T", "other").unwrap().set("T", PIN).unwrap();
            prop_assert_eq!(again.bytes(), after.bytes());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::sample::select(b"T=AB\n\r \"'\\#$:{}\xef\xbb\xbf\xff.-".to_vec()), 0..40)) {
            if let Ok(before) = DotEnv::parse(bytes)
                && let Ok(after) = before.set("T", PIN)
            {
                prop_assert_eq!(after.value("T"), Some(PIN.to_owned()));
            }
        }
    }

    /// What compose itself reads in `text`.
    fn as_compose_reads(dir: &std::path::Path, text: &str) -> BTreeMap<String, String> {
        std::fs::write(dir.join("compose.yaml"), "services: {a: {image: a, environment: [T, A, LONG_NAME, B2]}}").unwrap();
        std::fs::write(dir.join(".env"), text).unwrap();
        let command = Command {
            program: "docker".into(),
            args: ["compose", "config", "--format", "json"].map(str::to_owned).into(),
            env: BTreeMap::from([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()), ("HOME".into(), "/root".into())]),
            dir: Some(dir.into()),
            deadline: Duration::from_mins(1),
            mask: Arc::default(),
            lock: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let out = runtime.block_on(capture(&command, &Cancel::default())).success().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let config: serde_json::Value = serde_json::from_str(&out).unwrap();
        let values = config["services"]["a"]["environment"].as_object().cloned().unwrap_or_default();
        // `config` writes a dollar sign as two.
        let text = |value: &serde_json::Value| value.as_str().map(|value| value.replace("$$", "$"));
        values.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
    }

    /// Our reading against the real one, also after an edit.
    #[test]
    fn compose_reads_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mut runner =
            proptest::test_runner::TestRunner::new(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() });
        let result = runner.run(&file(), |text| {
            let ours = DotEnv::parse(text.into_bytes()).unwrap().set("T", PIN).unwrap();
            let theirs = as_compose_reads(dir.path(), std::str::from_utf8(ours.bytes()).unwrap());
            let mut values = ours.values();
            values.remove("dotted.name");
            prop_assert_eq!(values, theirs);
            Ok(())
        });
        result.unwrap();
    }
}
