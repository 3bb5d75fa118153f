//! What a call needs: of a route, as the contract shows it, and of one call, as it was read.

use crate::model::OrderKind;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::Target;
use crate::model::Verb;

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it tells nothing that is not public.
    Open,
    /// A key with this verb on what is concerned.
    Verb(Verb),
    /// The reload secret of a dataset, which says the dataset too. Such a route does not stand in the contract.
    ReloadSecret,
}

/// What one call needs, all of it.
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
    /// Nothing more than a proof, since what was asked for is what this caller may have.
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
            OrderKind::Rollback | OrderKind::Adopt => Verb::Rollback,
        };
        let mut needs = Self::to_act(verb, Target::Service(service.clone()), git_ref.map(str::to_owned));
        if force && verb != Verb::Rollback {
            needs.scopes.push(Scope::on(Verb::Rollback, service));
        }
        needs
    }
}
