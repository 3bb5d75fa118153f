//! Who calls and what they may do.

use serde::Deserialize;
use serde::Serialize;

use crate::model::AgentName;
use crate::model::DatasetName;
use crate::model::DeploymentId;
use crate::model::KeyId;
use crate::model::ServiceName;
use crate::model::UserName;
use crate::model::word::WordError;

/// What a scope lets its key do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Order a deployment; cancel and retry it.
    Deploy,
    /// Order a rollback; adopt and release a service.
    Rollback,
    /// Approve the orders of others.
    Approve,
    /// Order a reload of data.
    Reload,
    /// Read everything.
    Read,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] = [Self::Deploy, Self::Rollback, Self::Approve, Self::Reload, Self::Read];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Approve => "approve",
            Self::Reload => "reload",
            Self::Read => "read",
        }
    }
}

/// What a scope is about. A dataset is no service: anybody who may deploy the service `web` reads no dataset of that name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Every service and every dataset (`read`, `read:*`).
    Everything,
    /// Every service (`deploy:*`, `rollback:*`, `approve:*`), and what belongs to no one service.
    Services,
    /// One service.
    Service(ServiceName),
    /// Every dataset (`reload:*`).
    Datasets,
    /// One dataset.
    Dataset(DatasetName),
    /// The service and the dataset of one name (`read:NAME`).
    Named(ServiceName, DatasetName),
}

impl Target {
    /// Whether `asked` is part of this.
    fn has(&self, asked: &Self) -> bool {
        match (self, asked) {
            (Self::Everything, _)
            | (Self::Services, Self::Services | Self::Service(_))
            | (Self::Datasets, Self::Datasets | Self::Dataset(_)) => true,
            (Self::Service(mine) | Self::Named(mine, _), Self::Service(asked)) => mine == asked,
            (Self::Dataset(mine) | Self::Named(_, mine), Self::Dataset(asked)) => mine == asked,
            _ => false,
        }
    }
}

/// A verb and a target: `deploy:web`, `rollback:*`, `read`. Keys hold scopes, and what is asked for needs some.
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
    /// When the verb or the target is unknown. `read` alone may leave the target out.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = || {
            WordError::new(
                "The scope",
                given,
                "it is deploy:SERVICE, rollback:SERVICE, approve:SERVICE, reload:DATASET, read:SERVICE or read, with * for all",
            )
        };
        let (verb, name) = given.split_once(':').map_or((given, None), |(verb, name)| (verb, Some(name)));
        let verb = Verb::ALL.into_iter().find(|v| v.as_str() == verb).ok_or_else(error)?;
        let service = |name: &str| ServiceName::parse(name).map_err(|_| error());
        let dataset = |name: &str| DatasetName::parse(name).map_err(|_| error());
        let target = match (verb, name) {
            (Verb::Read, None | Some("*")) => Target::Everything,
            (Verb::Read, Some(name)) => Target::Named(service(name)?, dataset(name)?),
            (Verb::Deploy | Verb::Rollback | Verb::Approve, Some("*")) => Target::Services,
            (Verb::Deploy | Verb::Rollback | Verb::Approve, Some(name)) => Target::Service(service(name)?),
            (Verb::Reload, Some("*")) => Target::Datasets,
            (Verb::Reload, Some(name)) => Target::Dataset(dataset(name)?),
            (_, None) => return Err(error()),
        };
        Ok(Self { verb, target })
    }

    /// What needs `verb` on one service.
    #[must_use]
    pub fn on(verb: Verb, service: &ServiceName) -> Self {
        Self { verb, target: Target::Service(service.clone()) }
    }

    /// Whether anybody who holds this may do what needs `asked`.
    /// Who may order a deployment or a rollback of a service, or approve one, may also read it.
    #[must_use]
    pub fn covers(&self, asked: &Self) -> bool {
        let verb_ok =
            self.verb == asked.verb || (asked.verb == Verb::Read && matches!(self.verb, Verb::Deploy | Verb::Rollback | Verb::Approve));
        verb_ok && self.target.has(&asked.target)
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match &self.target {
            Target::Everything | Target::Services | Target::Datasets => "*",
            Target::Service(name) | Target::Named(name, _) => name.as_str(),
            Target::Dataset(name) => name.as_str(),
        };
        write!(f, "{}:{name}", self.verb.as_str())
    }
}

/// Who an order comes from, as the record shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// A key of the configuration.
    Key(KeyId),
    /// A job of a forge that showed its OIDC token, by the policy of the configuration that accepted it.
    Oidc(KeyId),
    /// A forge of the configuration, by a native webhook.
    Forge(KeyId),
    /// Somebody on the host itself, over the unix socket, by user id.
    Local(u32),
    /// Somebody who is logged in to the dashboard.
    User(UserName),
    /// tagalong itself (recovery, adoption at start).
    Tagalong,
    /// The watch over the release of this deployment, which did not hold.
    Watch(DeploymentId),
    /// Somebody whom another tagalong has let in: its control plane at an agent, an agent at its control plane.
    Of(Guest),
}

/// Somebody whom another tagalong has let in, and which one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guest {
    /// The caller there, in its text form. Of a newer version it may be one that this version does not know.
    who: String,
    /// The agent, or `control` at an agent.
    place: AgentName,
}

impl Guest {
    /// `who`, whom `place` has let in.
    ///
    /// # Errors
    /// When `who` is no caller's text form.
    pub fn parse(who: &str, place: AgentName) -> Result<Self, WordError> {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b":._@-".contains(&b);
        if who.is_empty() || who.len() > 200 || !who.bytes().all(is_word) {
            return Err(WordError::new("The caller", who, "it has up to 200 of a-z, A-Z, 0-9, :, ., _, @ and -"));
        }
        Ok(Self { who: who.to_owned(), place })
    }

    /// The caller there.
    #[must_use]
    pub fn who(&self) -> &str {
        &self.who
    }

    /// Where that is.
    #[must_use]
    pub fn place(&self) -> &AgentName {
        &self.place
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Oidc(id) => write!(f, "oidc:{id}"),
            Self::Forge(id) => write!(f, "forge:{id}"),
            Self::Local(uid) => write!(f, "local:{uid}"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Tagalong => f.write_str("tagalong"),
            Self::Watch(id) => write!(f, "watch:{id}"),
            Self::Of(guest) => write!(f, "{} on {}", guest.who, guest.place),
        }
    }
}

impl Caller {
    /// Reads the text form that [`Display`](std::fmt::Display) writes.
    ///
    /// # Errors
    /// When it is none of `key:ID`, `oidc:ID`, `forge:ID`, `local:UID`, `user:NAME`, `watch:ID`, `tagalong`, or one of these with ` on PLACE`.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = || WordError::new("The caller", given, "it is key:ID, oidc:ID, forge:ID, local:UID, user:NAME, watch:ID or tagalong");
        if let Some((who, place)) = given.rsplit_once(" on ") {
            return Guest::parse(who, AgentName::parse(place)?).map(Self::Of);
        }
        match given.split_once(':') {
            Some(("key", id)) => Ok(Self::Key(KeyId::parse(id)?)),
            Some(("oidc", id)) => Ok(Self::Oidc(KeyId::parse(id)?)),
            Some(("forge", id)) => Ok(Self::Forge(KeyId::parse(id)?)),
            Some(("user", name)) => UserName::parse(name).map(Self::User),
            Some(("watch", id)) => DeploymentId::parse(id).map(Self::Watch),
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
    use super::Target;
    use super::Verb;
    use crate::model::DatasetName;
    use crate::model::ServiceName;

    #[test]
    fn scopes_cover_their_verb_and_target_only() {
        let service = |name: &str| Target::Service(ServiceName::parse(name).expect("a name"));
        let dataset = |name: &str| Target::Dataset(DatasetName::parse(name).expect("a name"));
        let (web, db) = (service("web"), service("db"));
        let may =
            |scope: &str, verb, target: &Target| Scope::parse(scope).expect("a scope").covers(&Scope { verb, target: target.clone() });
        assert!(may("deploy:web", Verb::Deploy, &web));
        assert!(may("deploy:web", Verb::Read, &web));
        assert!(!may("deploy:web", Verb::Rollback, &web));
        assert!(!may("deploy:web", Verb::Deploy, &db));
        assert!(!may("deploy:web", Verb::Read, &Target::Services));
        // To order and to approve are two things.
        assert!(may("approve:web", Verb::Approve, &web) && may("approve:*", Verb::Read, &db));
        for scope in ["deploy:*", "rollback:*", "read", "approve:db"] {
            assert!(!may(scope, Verb::Approve, &web), "{scope}");
        }
        assert!(!may("approve:*", Verb::Deploy, &web) && !may("approve:*", Verb::Rollback, &web));
        assert!(may("deploy:*", Verb::Deploy, &db));
        assert!(may("deploy:*", Verb::Read, &Target::Services));
        assert!(!may("read", Verb::Deploy, &web));
        // A dataset is no service, whatever it is called.
        for (scope, verb, target, expected) in [
            ("deploy:web", Verb::Read, dataset("web"), false),
            ("deploy:*", Verb::Read, dataset("web"), false),
            ("rollback:*", Verb::Read, Target::Datasets, false),
            ("reload:web", Verb::Reload, dataset("web"), true),
            ("reload:web", Verb::Reload, dataset("db"), false),
            ("reload:*", Verb::Reload, dataset("db"), true),
            ("reload:*", Verb::Read, dataset("db"), false),
            ("read:web", Verb::Read, dataset("web"), true),
            ("read:web", Verb::Read, web.clone(), true),
            ("read:web", Verb::Read, dataset("db"), false),
            ("read:web", Verb::Read, Target::Services, false),
            ("read:web", Verb::Read, Target::Datasets, false),
        ] {
            assert_eq!(may(scope, verb, &target), expected, "{scope} {verb:?} {target:?}");
        }
        for everything in [&web, &dataset("web"), &Target::Services, &Target::Datasets] {
            assert!(may("read", Verb::Read, everything) && may("read:*", Verb::Read, everything));
        }
        for bad in ["", "deploy", "deploy:", "write:web", "read:", "deploy:We b", "reload", "reload:", "reload:We b"] {
            assert!(Scope::parse(bad).is_err(), "{bad}");
        }
        for text in ["deploy:web", "rollback:*", "approve:web", "reload:web", "reload:*", "read:web", "read:*"] {
            assert_eq!(Scope::parse(text).map(|scope| scope.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn callers_read_back_what_they_write() {
        for text in [
            "key:ci",
            "oidc:web-main",
            "forge:github",
            "local:0",
            "user:ada",
            "user:ada@github",
            "watch:01000000000000000000000001",
            "tagalong",
            "local:0 on micro",
            "user:ada@github on control",
        ] {
            assert_eq!(Caller::parse(text).map(|c| c.to_string()), Ok(text.to_owned()));
        }
        for bad in ["key:", " on micro", "key:ci on ", "key:ci on We b", "a b on micro", "key:ci on a on b", "key:ci@micro"] {
            assert!(Caller::parse(bad).is_err(), "{bad}");
        }
    }
}
