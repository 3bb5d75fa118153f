//! Who calls and what they may do.

use serde::Deserialize;
use serde::Serialize;

use crate::model::KeyId;
use crate::model::ServiceName;
use crate::model::word::WordError;

/// What a scope lets its key do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Order a deployment; cancel and retry it.
    Deploy,
    /// Order a rollback; adopt and release a service.
    Rollback,
    /// Order a reload of data.
    Reload,
    /// Read everything.
    Read,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 4] = [Self::Deploy, Self::Rollback, Self::Reload, Self::Read];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Reload => "reload",
            Self::Read => "read",
        }
    }
}

/// What a scope is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Every service (written `*`, or left out after `read`).
    All,
    /// One service or dataset.
    One(ServiceName),
}

/// A verb and a target: `deploy:web`, `rollback:*`, `read`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// What may be done.
    pub verb: Verb,
    /// To what.
    pub target: Target,
}

impl Scope {
    /// Takes `given` as a scope.
    ///
    /// # Errors
    /// When the verb or the target is none of ours. `read` alone may leave the target out.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = || {
            WordError::new(
                "The scope",
                given,
                "it is deploy:SERVICE, rollback:SERVICE, reload:DATASET, read:SERVICE or read, with * for all",
            )
        };
        let (verb, target) = given.split_once(':').unwrap_or((given, ""));
        let verb = Verb::ALL.into_iter().find(|v| v.as_str() == verb).ok_or_else(error)?;
        let target = match target {
            "" if verb == Verb::Read && !given.contains(':') => Target::All,
            "*" => Target::All,
            name => Target::One(ServiceName::parse(name).map_err(|_| error())?),
        };
        Ok(Self { verb, target })
    }

    /// Whether this scope lets `verb` be done to `service`; `None` means to what belongs to no one service.
    /// Who may order a deployment or a rollback of a service may also read it.
    #[must_use]
    pub fn covers(&self, verb: Verb, service: Option<&ServiceName>) -> bool {
        let verb_ok = self.verb == verb || (verb == Verb::Read && matches!(self.verb, Verb::Deploy | Verb::Rollback));
        let target_ok = match (&self.target, service) {
            (Target::All, _) => true,
            (Target::One(mine), Some(asked)) => mine == asked,
            (Target::One(_), None) => false,
        };
        verb_ok && target_ok
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.target {
            Target::All => write!(f, "{}:*", self.verb.as_str()),
            Target::One(name) => write!(f, "{}:{name}", self.verb.as_str()),
        }
    }
}

/// Who an order comes from, as the record shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// A key of the configuration.
    Key(KeyId),
    /// Somebody on the host itself, over the unix socket, by user id.
    Local(u32),
    /// tagalong itself (recovery, adoption at start).
    Tagalong,
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Local(uid) => write!(f, "local:{uid}"),
            Self::Tagalong => f.write_str("tagalong"),
        }
    }
}

impl Caller {
    /// Reads the text form that [`Display`](std::fmt::Display) writes.
    ///
    /// # Errors
    /// When it is none of `key:ID`, `local:UID`, `tagalong`.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = || WordError::new("The caller", given, "it is key:ID, local:UID or tagalong");
        match given.split_once(':') {
            Some(("key", id)) => Ok(Self::Key(KeyId::parse(id)?)),
            Some(("local", uid)) => uid.parse().map(Self::Local).map_err(|_| error()),
            None if given == "tagalong" => Ok(Self::Tagalong),
            _ => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Caller;
    use super::Scope;
    use super::Verb;
    use crate::model::ServiceName;

    #[test]
    fn scopes_cover_their_verb_and_target_only() {
        let web = ServiceName::parse("web").ok();
        let db = ServiceName::parse("db").ok();
        let may = |scope: &str, verb, service: &Option<ServiceName>| Scope::parse(scope).is_ok_and(|s| s.covers(verb, service.as_ref()));
        assert!(may("deploy:web", Verb::Deploy, &web));
        assert!(may("deploy:web", Verb::Read, &web));
        assert!(!may("deploy:web", Verb::Rollback, &web));
        assert!(!may("deploy:web", Verb::Deploy, &db));
        assert!(!may("deploy:web", Verb::Read, &None));
        assert!(may("deploy:*", Verb::Deploy, &db));
        assert!(may("read", Verb::Read, &None));
        assert!(!may("read", Verb::Deploy, &web));
        for bad in ["", "deploy", "deploy:", "write:web", "read:", "deploy:We b"] {
            assert!(Scope::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn callers_read_back_what_they_write() {
        for text in ["key:ci", "local:0", "tagalong"] {
            assert_eq!(Caller::parse(text).map(|c| c.to_string()), Ok(text.to_owned()));
        }
        assert!(Caller::parse("key:").is_err());
    }
}
