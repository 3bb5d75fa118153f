//! What a call needs: of a route, as the contract shows it, and of one call, as it was read.

use crate::model::OrderKind;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::Target;
use crate::model::Verb;

/// What a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: its answer is public.
    Open,
    /// A key with a scope for this verb on the target.
    Verb(Verb),
    /// The signature of a forge. What the call may then do, the rules of the configuration say.
    ForgeSignature,
    /// The address of a form that was sent to an approver, and to act, a code. Such a route is for people, and not in the OpenAPI document.
    FormAddress,
    /// The reload secret of a dataset, which also identifies the dataset. Such a route is not in the OpenAPI document.
    ReloadSecret,
}

/// Everything that one call requires.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::http) struct Needs {
    pub(super) scopes: Vec<Scope>,
    /// What is done for a ref, a key that is bound to refs must be bound to that one; reading is done for none.
    pub(super) acts_for: Option<GitRef>,
}

/// The ref that an order names, if it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitRef(pub(super) Option<String>);

impl Needs {
    /// Only authentication, since the answer contains only what this caller may see.
    pub(in crate::http) fn only_proof() -> Self {
        Self::default()
    }

    /// To read `target`.
    pub(in crate::http) fn to_read(target: Target) -> Self {
        Self { scopes: vec![Scope { verb: Verb::Read, target }], acts_for: None }
    }

    /// To do `verb` to `target`, for `git_ref`.
    pub(in crate::http) fn to_act(verb: Verb, target: Target, git_ref: Option<String>) -> Self {
        Self { scopes: vec![Scope { verb, target }], acts_for: Some(GitRef(git_ref)) }
    }

    /// To place an order of that kind, to carry it out once more, or to call it off. To pass a hold or land an older release is
    /// to overrule anybody who rolled back, so a forced order needs what a rollback needs.
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
