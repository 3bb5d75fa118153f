//! What is written about the rules is made from their catalogue, and is not behind it.
//!
//! After a change of the catalogue `WRITE_DOCUMENTS=1 cargo test --test smoke_cli documents` writes them again.

use std::fmt::Write as _;
use std::path::Path;

use smoke::rules;
use tagalong::config::Smoke;

/// The rows below the head of the table in the reference.
fn reference() -> String {
    rules().iter().fold(String::new(), |mut rows, rule| {
        let _ = writeln!(rows, "| `{}` | {} | {} | {} |", rule.name, rule.severity.as_str(), rule.effect.in_words(), rule.meaning);
        rows
    })
}

/// The keys of the configuration's table, as comments.
fn levels() -> String {
    rules().iter().fold(String::new(), |mut keys, rule| {
        let _ = writeln!(keys, "# {} = \"{}\"", rule.name, rule.severity.as_str());
        keys
    })
}

/// What stands in `name` between the line `after` and the next empty line, or the end, is `wanted`.
fn is_written(name: &str, after: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = text.find(&format!("\n{after}\n")).unwrap_or_else(|| panic!("{name} has no line {after}")) + after.len() + 2;
    let end = text[begin..].find("\n\n").map_or(text.len(), |at| begin + at + 1);
    if text[begin..end] == *wanted {
        return;
    }
    assert!(
        std::env::var_os("WRITE_DOCUMENTS").is_some(),
        "{name} is behind the catalogue of rules: WRITE_DOCUMENTS=1 cargo test --test smoke_cli documents"
    );
    std::fs::write(&path, format!("{}{wanted}{}", &text[..begin], &text[end..])).unwrap();
}

#[test]
fn the_reference_is_made_from_the_catalogue() {
    is_written("docs/smoke.md", "|---|---|---|---|", &reference());
}

#[test]
fn the_annotated_configuration_is_made_from_the_catalogue() {
    let after = "# A fault that keeps the page from being seen remains an error when nothing else is one: an unseen page does not pass.";
    is_written("config/tagalong.toml", after, &levels());
    let table = toml::from_str(&format!("url = \"https://site.test/\"\n[rules]\n{}", levels().replace("# ", ""))).unwrap();
    let read = Smoke::from_table(table, Path::new("/")).unwrap().plan.rules;
    assert!(read.iter().all(|(name, level)| *level == Some(name.rule().severity)), "{read:?}");
    assert_eq!(read.len(), rules().len());
}

#[test]
fn what_is_written_about_the_policy_is_made_from_its_catalogue() {
    let rows = policy::rules().iter().fold(String::new(), |mut rows, rule| {
        let _ = writeln!(rows, "| `{}` | {} | {} |", rule.name, rule.finds, rule.fix);
        rows
    });
    is_written("docs/guards.md", "| rule | what it finds | what to change |\n|---|---|---|", &rows);
    let keys = policy::rules().iter().fold(String::new(), |mut keys, rule| {
        let _ = writeln!(keys, "# {} = \"note\"", rule.name);
        keys
    });
    let after = "# A refusal names what to change; for a forced order with a reason it becomes a warning.";
    is_written("config/tagalong.toml", after, &keys);
}
