//! One value in the manifest of a Kubernetes Secret, replaced in its text: everything else stays as it is, byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use saphyr::LoadableYamlNode as _;
use saphyr::Yaml;

/// The kind of the documents that are looked into.
const KIND: &str = "Secret";

/// Where the value is in the text.
struct Place {
    range: std::ops::Range<usize>,
    /// Whether it is below `data`, where values are in base64.
    is_encoded: bool,
    quote: Option<char>,
}

/// `text` with `value` under the key `name` of `data` or `stringData`; none when it is there already.
///
/// # Errors
/// One sentence: no Secret in it has the key, several have, or its value is written in a way that is not replaced.
pub(super) fn with_value(text: &str, name: &str, value: &str) -> Result<Option<String>, String> {
    let before = values(text, name)?;
    if before.len() != 1 {
        let how = if before.is_empty() { "no Secret in it has" } else { "more than one place in it has" };
        return Err(format!("{how} the key {name} below data or stringData; write it once, with any value."));
    }
    if before[0] == value {
        return Ok(None);
    }
    let place = place_of_value(text, name)
        .ok_or_else(|| format!("the value of {name} is not on one line with its key, so it cannot be replaced."))?;
    let new = written(&place, value);
    let after = format!("{}{new}{}", &text[..place.range.start], &text[place.range.end..]);
    // What was replaced by its text is asked of a reader of YAML: that value, and no other.
    let is_right = values(&after, name).is_ok_and(|values| values.len() == 1 && values[0] == value)
        && values_but(text, name) == values_but(&after, name);
    if is_right {
        Ok(Some(after))
    } else {
        Err(format!("the value of {name} is written in a way that tagalong does not replace; put it in quotes."))
    }
}

fn documents(text: &str) -> Result<Vec<Yaml<'_>>, String> {
    Yaml::load_from_str(text).map_err(|error| format!("it is not valid YAML: {error}."))
}

/// The values of `name` in every Secret of the text, decoded.
fn values(text: &str, name: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for document in documents(text)?.iter().filter(|document| document["kind"].as_str() == Some(KIND)) {
        found.extend(in_table(document, "stringData", name));
        found.extend(in_table(document, "data", name).map(|encoded| {
            let bytes = STANDARD.decode(encoded.trim()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        }));
    }
    Ok(found)
}

fn in_table(document: &Yaml<'_>, table: &str, name: &str) -> Option<String> {
    let table = document.as_mapping_get(table)?;
    table.as_mapping_get(name).map(|value| value.as_str().unwrap_or_default().to_owned())
}

/// Everything in the text but what is called `name` below `data` and `stringData`.
fn values_but(text: &str, name: &str) -> Option<Vec<String>> {
    let mut shown = Vec::new();
    for document in &documents(text).ok()? {
        let Some(mapping) = document.as_mapping() else {
            shown.push(format!("{document:?}"));
            continue;
        };
        for (key, value) in mapping {
            let table = value.as_mapping().filter(|_| matches!(key.as_str(), Some("data" | "stringData")));
            shown.push(match table {
                Some(table) => format!("{key:?}: {:?}", table.iter().filter(|(key, _)| key.as_str() != Some(name)).collect::<Vec<_>>()),
                None => format!("{key:?}: {value:?}"),
            });
        }
    }
    Some(shown)
}

/// The one line of the text that has the value.
fn place_of_value(text: &str, name: &str) -> Option<Place> {
    let mut table: Option<(usize, bool)> = None;
    let mut at = 0;
    let mut found = None;
    let mut is_secret = is_secret_from(text);
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\r', '\n']);
        let bare = content.trim_start();
        let indent = content.len() - bare.len();
        if content == "---" || content.starts_with("--- ") {
            is_secret = is_secret_from(&text[at + line.len()..]);
            table = None;
        } else if !bare.is_empty() && !bare.starts_with('#') {
            if indent == 0 {
                table = match content.split('#').next().unwrap_or_default().trim_end() {
                    "data:" => Some((0, true)),
                    "stringData:" => Some((0, false)),
                    _ => None,
                };
            } else if let Some((_, is_encoded)) = table.filter(|_| is_secret)
                && let Some((range, quote)) = value_on(content, name)
            {
                found = Some(Place { range: at + range.start..at + range.end, is_encoded, quote });
            }
        }
        at += line.len();
    }
    found
}

/// Whether the document that the text begins with is a Secret.
fn is_secret_from(text: &str) -> bool {
    let lines = text.lines().take_while(|line| *line != "---" && !line.starts_with("--- "));
    let mut kinds = lines.filter_map(|line| line.strip_prefix("kind:"));
    kinds.next().is_some_and(|kind| kind.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']) == KIND)
}

/// Where the value is on a line `name: value`, and in which quotes.
fn value_on(line: &str, name: &str) -> Option<(std::ops::Range<usize>, Option<char>)> {
    let bare = line.trim_start();
    let keys = [name.to_owned(), format!("\"{name}\""), format!("'{name}'")];
    let rest = keys.iter().find_map(|key| bare.strip_prefix(key.as_str())?.strip_prefix(':'))?;
    let start = line.len() - rest.trim_start().len();
    let value = &line[start..];
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let length = match quote {
        Some(quote) => value[1..].find(quote)? + 2,
        None if value.starts_with(['|', '>', '&', '*', '!', '{', '[']) => return None,
        None => value.find(" #").unwrap_or(value.len()).min(value.len()),
    };
    let value = value[..length].trim_end();
    Some((start..start + value.len(), quote))
}

/// The value as it is written there.
fn written(place: &Place, value: &str) -> String {
    let value = if place.is_encoded { STANDARD.encode(value) } else { value.to_owned() };
    let is_plain =
        value.starts_with(|c: char| c.is_ascii_alphabetic()) && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+/=.-".contains(&b));
    match place.quote {
        // What looks like a number or a truth is in quotes, so that it stays a text.
        None if is_plain && (place.is_encoded || value.len() > 5) => value,
        Some('\'') if !value.contains(['\'', '\n', '\r']) => format!("'{value}'"),
        _ => serde_json::Value::from(value).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::with_value;

    const MANIFEST: &str = "# ours\r\napiVersion: v1\nkind: ConfigMap\ndata:\n  token: b3RoZXI=\n---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: \
    content # token: x\n  labels: {token: \"no\"}\ntype: Opaque\ndata:\n  # the token\n  token:   b2xk   # rotated\n  other: 'eA=='\n";

    #[test]
    fn only_the_value_is_replaced() {
        let after = with_value(MANIFEST, "token", "a new secret").expect("it holds").expect("it changes");
        assert_eq!(after, MANIFEST.replace("b2xk", "YSBuZXcgc2VjcmV0"));
        assert_eq!(with_value(&after, "token", "a new secret"), Ok(None));
        for (written, value, wanted) in [
            ("\"old\"", "whsec_x=", "\"whsec_x=\""),
            ("'old'", "whsec_x=", "'whsec_x='"),
            ("'old'", "it's", "\"it's\""),
            ("old", "whsec_x=", "whsec_x="),
            ("old", "12345678", "\"12345678\""),
            ("old", "a: b # c", "\"a: b # c\""),
            ("old", "a\nb\n", "\"a\\nb\\n\""),
            ("", "tagalong_x", " tagalong_x"),
        ] {
            let text = format!("kind: \"Secret\"\nstringData:\n    a.b-c: x\n    token:{written}\n    z: old\n");
            let text = if written.is_empty() { text } else { text.replace(&format!("token:{written}"), &format!("token: {written}")) };
            let wanted =
                if written.is_empty() { text.replace("token:", &format!("token:{wanted}")) } else { text.replacen(written, wanted, 1) };
            match with_value(&text, "token", value) {
                Ok(after) => assert_eq!(after.as_deref(), Some(wanted.as_str())),
                Err(why) => assert!(written.is_empty(), "{written} {value}: {why}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_said() {
        for (text, part) in [
            ("kind: Secret\ndata:\n  other: eA==\n", "no Secret in it has the key token"),
            ("kind: ConfigMap\ndata:\n  token: x\n", "no Secret in it has the key token"),
            ("kind: Secret\ndata:\n  token: eA==\nstringData:\n  token: x\n", "more than one place"),
            ("kind: Secret\nstringData:\n  token: |\n    old\n", "is not on one line with its key"),
            ("kind: Secret\nstringData: {token: old}\n", "is not on one line with its key"),
            ("kind: Secret\n\tdata: [", "it is not valid YAML"),
        ] {
            let why = with_value(text, "token", "new").expect_err("it is refused");
            assert!(why.contains(part), "{why}");
        }
    }
}
