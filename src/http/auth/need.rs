//! What a call needs: for a route, as the OpenAPI document shows it, and for one call, as it was read.

use crate::model::OrderKind;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::Target;
use crate::model::Verb;

/// What a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: the answer is public.
    Open,
    /// Nothing: a file that pages are made with, the same for everybody. Such a route is not in the OpenAPI document.
    File,
    /// A key with a scope for this verb on the target.
    Verb(Verb),
    /// The signature of a forge. The rules of the configuration say what the call may do.
    ForgeSignature,
    /// The address of a form that was sent to an approver, and to act, a code. Such a route is for people, and not in the OpenAPI document.
    FormAddress,
    /// A page of the dashboard: the session of a user, and on some pages a scope for this verb on the target. To change something, also a
    /// form of this very session. Such a route is for people, and not in the OpenAPI document.
    Session(Option<Verb>),
    /// Nothing: a page by which people log in. Not in the OpenAPI document.
    Login,
    /// A code that enrols an agent.
    EnrolmentCode,
    /// The key of an agent. Such a route is for agents, and not in the OpenAPI document.
    AgentKey,
    /// The reload secret of a dataset, which also identifies the dataset. Such a route is not in the OpenAPI document.
    ReloadSecret,
}

impl Need {
    /// Whether the OpenAPI document has such routes: those that programs of others may call.
    #[must_use]
    pub fn is_in_openapi(self) -> bool {
        matches!(self, Self::Open | Self::Verb(_) | Self::ForgeSignature)
    }
}

/// Everything that one call requires.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::http) struct Needs {
    pub(super) scopes: Vec<Scope>,
    /// The ref that the call acts for. A key with `refs` must allow it; calls that only read have none.
    pub(super) acts_for: Option<GitRef>,
}

/// The ref that an order names, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitRef(pub(super) Option<String>);

impl Needs {
    /// Only authentication, because the answer contains only what this caller may see.
    pub(in crate::http) fn only_proof() -> Self {
        Self::default()
    }

    /// What only an operator may do, who may do everything: whoever enrols hosts, adds users or has the configuration read again could
    /// give themselves any other permission.
    pub(in crate::http) fn operator() -> Self {
        let all = [
            (Verb::Deploy, Target::Services),
            (Verb::Rollback, Target::Services),
            (Verb::Approve, Target::Services),
            (Verb::Reload, Target::Datasets),
            (Verb::Read, Target::Everything),
        ];
        let scopes = all.into_iter().map(|(verb, target)| Scope { verb, target }).collect();
        Self { scopes, acts_for: Some(GitRef(None)) }
    }

    /// To read `target`.
    pub(in crate::http) fn to_read(target: Target) -> Self {
        Self { scopes: vec![Scope { verb: Verb::Read, target }], acts_for: None }
    }

    /// To do `verb` to `target`, for `git_ref`.
    pub(in crate::http) fn to_act(verb: Verb, target: Target, git_ref: Option<String>) -> Self {
        Self { scopes: vec![Scope { verb, target }], acts_for: Some(GitRef(git_ref)) }
    }

    /// To place an order of that kind, repeat it or cancel it. Ignoring a hold, or deploying an older release, overrules somebody who
    /// rolled back, so a forced order needs the permission for a rollback as well.
    pub(in crate::http) fn to_order(kind: OrderKind, service: &ServiceName, force: bool, git_ref: Option<&str>) -> Self {
        let verb = match kind {
            OrderKind::Deploy => Verb::Deploy,
            OrderKind::Rollback | OrderKind::Adopt | OrderKind::Repair => Verb::Rollback,
        };
        let mut needs = Self::to_act(verb, Target::Service(service.clone()), git_ref.map(str::to_owned));
        if force && verb != Verb::Rollback {
            needs.scopes.push(Scope::on(Verb::Rollback, service));
        }
        needs
    }
}
