//! Short words from outside, each with one `parse`.

/// Why a word was refused. The text is a whole sentence and names what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {quoted} is not valid: {allowed}.")]
pub struct WordError {
    what: &'static str,
    quoted: String,
    allowed: &'static str,
}

impl WordError {
    /// An error about `given`, which is shown shortened and with control characters escaped.
    pub(crate) fn new(what: &'static str, given: &str, allowed: &'static str) -> Self {
        let short: String = given.chars().take(80).collect();
        let dots = if short.len() < given.len() { "…" } else { "" };
        let escaped: String = short.escape_default().collect();
        Self { what, quoted: format!("\"{escaped}\"{dots}"), allowed }
    }
}

/// Gives a one-string type its text form: `Display`, `FromStr`, serde and the schema all go through `parse`.
macro_rules! text_form {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::model::word::WordError;
            fn from_str(given: &str) -> Result<Self, Self::Err> {
                Self::parse(given)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let given = String::deserialize(from)?;
                Self::parse(&given).map_err(serde::de::Error::custom)
            }
        }
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                <String as utoipa::PartialSchema>::schema()
            }
        }
        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                std::borrow::Cow::Borrowed(stringify!($name))
            }
        }
    };
}
pub(crate) use text_form;

/// The name of a service in the configuration: `[a-z0-9][a-z0-9_-]{0,62}`.
///
/// It stands in file names, metrics and image tags, so it is kept to what all of them take.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(String);

impl ServiceName {
    /// Takes `given` as a name.
    ///
    /// # Errors
    /// When it is not `[a-z0-9][a-z0-9_-]{0,62}`.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        if is_name(given, 63) {
            Ok(Self(given.to_owned()))
        } else {
            Err(WordError::new("The service name", given, "it starts with a-z or 0-9 and has up to 63 of a-z, 0-9, _ and -"))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
text_form!(ServiceName);

/// The name of a key in the configuration: `[a-z0-9][a-z0-9_-]{0,62}`. It is no secret and stands in records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    /// Takes `given` as a key's name.
    ///
    /// # Errors
    /// When it is not `[a-z0-9][a-z0-9_-]{0,62}`.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        if is_name(given, 63) {
            Ok(Self(given.to_owned()))
        } else {
            Err(WordError::new("The key id", given, "it starts with a-z or 0-9 and has up to 63 of a-z, 0-9, _ and -"))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
text_form!(KeyId);

/// The name of an agent, which stands for its host: `[a-z0-9][a-z0-9_-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentName(String);

impl AgentName {
    /// Takes `given` as an agent's name.
    ///
    /// # Errors
    /// When it is not `[a-z0-9][a-z0-9_-]{0,62}`.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        if is_name(given, 63) {
            Ok(Self(given.to_owned()))
        } else {
            Err(WordError::new("The agent name", given, "it starts with a-z or 0-9 and has up to 63 of a-z, 0-9, _ and -"))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
text_form!(AgentName);

pub(super) fn is_name(given: &str, longest: usize) -> bool {
    let mut bytes = given.bytes();
    let first_ok = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    first_ok && given.len() <= longest && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::ServiceName;

    #[test]
    fn names_are_lower_case_words() {
        for good in ["web", "0", "web-2_b"] {
            assert_eq!(ServiceName::parse(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "-web", "Web", "we b", "wéb", "a/b", "..", &"x".repeat(64)] {
            assert!(ServiceName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_error_escapes_what_it_shows() {
        let error = ServiceName::parse("a\n\u{1b}[31m").map_err(|e| e.to_string());
        assert_eq!(
            error,
            Err("The service name \"a\\n\\u{1b}[31m\" is not valid: it starts with a-z or 0-9 and has up to 63 of a-z, 0-9, _ and -."
                .to_owned())
        );
    }
}
