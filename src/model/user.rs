//! Names of people who log in.

use crate::model::KeyId;
use crate::model::word::WordError;
use crate::model::word::text_form;

/// How long the part before `@` may be; forges allow 40 at most.
const LONGEST: usize = 63;

/// Who logs in: `ada`, a user of this server, or `ada@github`, a user of the forge that the configuration calls `github`. The part before
/// `@` is `[a-z0-9_][a-z0-9_.-]{0,62}`; forges do not tell upper case from lower case either.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(String);

impl UserName {
    /// Takes `given` as a name.
    ///
    /// # Errors
    /// When it is not `NAME` or `NAME@FORGE`.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let allowed = "it starts with a-z, 0-9 or _ and has up to 63 of a-z, 0-9, _, . and -, and behind an @ the id of a forge";
        let error = || WordError::new("The user", given, allowed);
        let (login, forge) = given.split_once('@').map_or((given, None), |(login, forge)| (login, Some(forge)));
        let is_first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let is_login = login.len() <= LONGEST
            && login.bytes().next().is_some_and(is_first)
            && login.bytes().all(|b| is_first(b) || b == b'.' || b == b'-');
        let is_forge = forge.is_none_or(|forge| KeyId::parse(forge).is_ok());
        if is_login && is_forge { Ok(Self(given.to_owned())) } else { Err(error()) }
    }

    /// The user of a forge with this login there.
    ///
    /// # Errors
    /// When it is no login of a forge.
    pub fn at_forge(login: &str, forge: &KeyId) -> Result<Self, WordError> {
        Self::parse(&format!("{}@{forge}", login.to_ascii_lowercase()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The login at the forge that proved who this is; none: a user of this server.
    #[must_use]
    pub fn login_at_forge(&self) -> Option<&str> {
        self.0.split_once('@').map(|(login, _)| login)
    }
}
text_form!(UserName);

#[cfg(test)]
mod tests {
    use super::UserName;
    use crate::model::KeyId;

    #[test]
    fn a_user_of_a_forge_is_never_one_of_this_server() {
        for good in ["ada", "a", "0", "_x", "ada.l-b_1", "ada@github", &"a".repeat(63)] {
            assert_eq!(UserName::parse(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "@", "ada@", "@github", "Ada", "-ada", ".ada", "a b", "ada@a@b", "ada@Git", "ada\n", "é", &"a".repeat(64)] {
            assert!(UserName::parse(bad).is_err(), "{bad}");
        }
        let hub = KeyId::parse("github").expect("an id");
        let ada = UserName::at_forge("Ada-L", &hub).expect("a user");
        assert_eq!((ada.as_str(), ada.login_at_forge()), ("ada-l@github", Some("ada-l")));
        assert!(UserName::at_forge("ada@x", &hub).is_err() && UserName::at_forge("", &hub).is_err());
        assert_eq!(UserName::parse("ada").expect("a user").login_at_forge(), None);
    }
}
