//! The JSON Schema of a report, for those who read it with a program.

use serde_json::Map;
use serde_json::Value;
use utoipa::PartialSchema as _;
use utoipa::ToSchema as _;

use smoke::Report;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Where an OpenAPI file has its schemas.
const COMPONENTS: &str = "#/components/schemas/";

/// The schema (JSON Schema 2020-12) of what `--format json` prints: the same as in the server's OpenAPI file, with all its parts
/// in `$defs`. Further keys may come, so it allows them.
pub(super) fn of_report() -> Value {
    let mut parts = Vec::new();
    Report::schemas(&mut parts);
    let parts: Map<String, Value> = parts.into_iter().map(|(name, schema)| (name, own(json(&schema)))).collect();
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), DIALECT.into());
    schema.insert("title".to_owned(), "The report of tagalong smoke".into());
    if let Value::Object(report) = own(json(&Report::schema())) {
        schema.extend(report);
    }
    schema.insert("$defs".to_owned(), Value::Object(parts));
    Value::Object(schema)
}

fn json(schema: &impl serde::Serialize) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}

/// With references into this document instead of into an OpenAPI file.
fn own(schema: Value) -> Value {
    match schema {
        Value::Object(keys) => Value::Object(keys.into_iter().map(|(key, value)| own_key(key, value)).collect()),
        Value::Array(items) => Value::Array(items.into_iter().map(own).collect()),
        other => other,
    }
}

fn own_key(key: String, value: Value) -> (String, Value) {
    let name = value.as_str().and_then(|to| to.strip_prefix(COMPONENTS)).filter(|_| key == "$ref").map(str::to_owned);
    let value = name.map_or_else(|| own(value), |name| Value::String(format!("#/$defs/{name}")));
    (key, value)
}
