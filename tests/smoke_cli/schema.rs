//! The JSON Schema that the program prints, and real reports beside it.

use serde_json::Value;
use serde_json::json;

use crate::site::Site;
use crate::site::err;
use crate::site::out;
use crate::site::run;

/// Keywords that say something and bind nothing.
const SILENT: [&str; 7] = ["$schema", "$defs", "title", "description", "format", "default", "examples"];

/// What is wrong with `value` by `schema`, a part of `root`. A keyword that is not known here ends the test: it would not be looked at.
fn problems(value: &Value, schema: &Value, root: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (keyword, says) in schema.as_object().unwrap_or_else(|| panic!("{at}: {schema} is no schema")) {
        match keyword.as_str() {
            "$ref" => {
                let pointer = says.as_str().unwrap().strip_prefix('#').unwrap();
                found.extend(problems(value, root.pointer(pointer).unwrap_or_else(|| panic!("{pointer} leads nowhere")), root, at));
            }
            "type" => {
                let names: Vec<&str> = says
                    .as_array()
                    .map_or_else(|| vec![says.as_str().unwrap()], |all| all.iter().map(|one| one.as_str().unwrap()).collect());
                if !names.iter().any(|name| is_a(value, name)) {
                    found.push(format!("{at} is no {}", names.join(" or ")));
                }
            }
            "enum" if !says.as_array().unwrap().contains(value) => found.push(format!("{at} is none of {says}")),
            "minimum" if value.as_f64().is_some_and(|number| number < says.as_f64().unwrap()) => {
                found.push(format!("{at} is below {says}"));
            }
            "required" if value.is_object() => {
                let missing = says.as_array().unwrap().iter().filter(|key| value.get(key.as_str().unwrap()).is_none());
                found.extend(missing.map(|key| format!("{at} has no {key}")));
            }
            "properties" => {
                for (key, part) in says.as_object().unwrap() {
                    found.extend(value.get(key).map(|value| problems(value, part, root, &format!("{at}/{key}"))).unwrap_or_default());
                }
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(problems(item, says, root, &format!("{at}/{number}")));
                }
            }
            "oneOf" => {
                let fits = says.as_array().unwrap().iter().filter(|part| problems(value, part, root, at).is_empty());
                let fits = fits.count();
                if fits != 1 {
                    found.push(format!("{at} fits {fits} of {says}"));
                }
            }
            "enum" | "minimum" | "required" => {}
            silent => assert!(SILENT.contains(&silent), "{at}: {silent} is not looked at"),
        }
    }
    found
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is no type of ours"),
    }
}

#[test]
fn a_report_is_what_its_schema_says() {
    let printed = run(&["smoke", "--json-schema"], &[]);
    assert_eq!(printed.status.code(), Some(0), "{}", err(&printed));
    let schema: Value = serde_json::from_str(&out(&printed)).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(!out(&printed).contains("components/schemas"), "{schema:#}");
    let site = Site::new("<!doctype html><title>x</title><link rel=stylesheet href=http://a.test/a.css>");
    let looked = site.look(&["--format", "json", "--no-fetch-assets"]);
    let good: Value = serde_json::from_str(&out(&looked)).unwrap();
    assert!(good["certificate"].is_object() && good["findings"][0]["line"].is_u64(), "{good:#}");
    assert_eq!(problems(&good, &schema, &schema, ""), [""; 0]);
    // Every key that is printed is a key of the schema.
    for (object, part) in
        [(&good, &schema), (&good["findings"][0], &schema["$defs"]["Finding"]), (&good["certificate"], &schema["$defs"]["Certificate"])]
    {
        let known = part["properties"].as_object().unwrap();
        assert!(object.as_object().unwrap().keys().all(|key| known.contains_key(key)), "{object:#}");
    }
    let wrong: [(&str, Value, &str); 6] = [
        ("/url", Value::Null, "/url is no string"),
        ("/attempts", json!("1"), "/attempts is no integer"),
        ("/attempts", json!(-1), "/attempts is below 0"),
        ("/findings", json!({}), "/findings is no array"),
        ("/findings/0/severity", json!("bad"), "/findings/0/severity is none of"),
        ("/certificate", json!(7), "/certificate fits 0 of"),
    ];
    for (at, value, said) in wrong {
        let mut report = good.clone();
        *report.pointer_mut(at).unwrap() = value;
        let problems = problems(&report, &schema, &schema, "");
        assert!(problems.iter().any(|problem| problem.starts_with(said)), "{said}: {problems:?}");
    }
    for (at, key) in [("", "url"), ("", "findings"), ("/findings/0", "rule"), ("/certificate", "days_left")] {
        let mut report = good.clone();
        report.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(key);
        assert!(!problems(&report, &schema, &schema, "").is_empty(), "{at}/{key} may not be missing");
    }
}
