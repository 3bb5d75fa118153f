//! The rules in what is written about them.

use smoke::Severity;
use smoke::explain;
use smoke::rules;
use tagalong::config::Smoke;

fn file(name: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn word(severity: Severity) -> String {
    serde_json::to_value(severity).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn the_reference_names_every_rule_with_its_level_and_meaning() {
    let reference = file("docs/smoke.md");
    let rows: Vec<&str> = reference.split("\n## Rules\n").nth(1).unwrap().lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(rows.len(), rules().len());
    for (row, rule) in rows.iter().zip(rules()) {
        assert!(row.starts_with(&format!("| `{}` | {} | ", rule.name, word(rule.severity))), "{row}");
        assert!(row.ends_with(&format!(" | {} |", rule.meaning)), "{row}");
    }
}

#[test]
fn the_annotated_configuration_names_every_rule_with_its_level() {
    let config = file("config/tagalong.toml");
    let (_, table) = config.split_once("\n# [service.web.smoke.rules]").unwrap();
    let table = table.split("\n\n").next().unwrap();
    let keys: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| line.contains(" = \"")).collect();
    let wanted: Vec<String> = rules().iter().map(|rule| format!("{} = \"{}\"", rule.name, word(rule.severity))).collect();
    assert_eq!(keys, wanted);
    let plan = Smoke::from_table(
        toml::from_str(&format!("url = \"https://site.test/\"\n[rules]\n{}", keys.join("\n"))).unwrap(),
        std::path::Path::new("/"),
    );
    let levels = plan.unwrap().plan.rules;
    assert!(levels.iter().all(|(name, level)| *level == explain(name.as_str()).map(|rule| rule.severity)), "{levels:?}");
    assert_eq!(levels.len(), rules().len());
}
