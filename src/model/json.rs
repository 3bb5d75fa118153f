//! JSON in which no name stands twice. Two readers of such a text need not see the same value, so none is taken for either.
//!
//! What is read so comes from outside, so it is bounded: in depth by `serde_json`, and in names here.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error as _;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::Map;
use serde_json::Value;

/// How many names one object may have: a hundred times what any that we read has.
const MOST_NAMES: usize = 10_000;
const TWICE: &str = "has a name twice";
const TOO_MANY: &str = "has more than 10000 names in one object";

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Read).map(Self)
    }
}

struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(value)) = from.next_element()? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            let Strict(value) = from.next_value()?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
            if map.len() > MOST_NAMES {
                return Err(A::Error::custom(TOO_MANY));
            }
        }
        Ok(map.into())
    }
}

/// The object in `bytes`.
///
/// # Errors
/// What is wrong, without a word of the text: it is no JSON object, or at any depth has a name twice or very many names.
pub fn json_object(bytes: &[u8]) -> Result<Map<String, Value>, &'static str> {
    match serde_json::from_slice(bytes) {
        Ok(Strict(Value::Object(map))) => Ok(map),
        Ok(_) => Err("is not a JSON object"),
        Err(error) => {
            let text = error.to_string();
            Err([TWICE, TOO_MANY].into_iter().find(|why| text.starts_with(why)).unwrap_or("is not JSON"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::json_object;

    #[test]
    fn a_name_stands_once_at_every_depth() {
        assert!(json_object(br#"{"a":1,"b":[{"a":1},{"a":-2.5}],"c":{"a":null,"b":true}}"#).is_ok());
        for (text, why) in [
            (r#"{"a":1,"a":1}"#, "has a name twice"),
            (r#"{"a":1,"\u0061":2}"#, "has a name twice"),
            (r#"{"b":[{"a":1,"a":2}]}"#, "has a name twice"),
            (r#"{"b":{"a":1,"a":2}}"#, "has a name twice"),
            ("[]", "is not a JSON object"),
            ("\"a\"", "is not a JSON object"),
            ("", "is not JSON"),
            (r#"{"a":1} {}"#, "is not JSON"),
            (r#"{"a":"\ud800"}"#, "is not JSON"),
        ] {
            assert_eq!(json_object(text.as_bytes()).err(), Some(why), "{text}");
        }
        assert_eq!(json_object(b"{\"a\":\"\xff\"}").err(), Some("is not JSON"));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(json_object(deep.as_bytes()).err(), Some("is not JSON"));
        let many: Vec<String> = (0..1_000_000).map(|name| format!("\"{name}\":0")).collect();
        assert_eq!(
            json_object(format!("{{\"a\":{{{}}}}}", many.join(",")).as_bytes()).err(),
            Some("has more than 10000 names in one object")
        );
    }
}
