//! An order as it is written.

use crate::model::Caller;
use crate::model::Order;
use crate::model::OrderKind;
use crate::store::gate::Statement;

/// Binds what `order` says to the columns `tag, digest, commit_id, git_ref, run_url, run_number, actor, reason, cause, force, dry_run, caller,
/// proof, watch, by_user, guest` of `deployments`, in this order.
pub(super) fn bind_order<'s>(statement: Statement<'s>, order: &Order) -> Statement<'s> {
    let (caller, proof) = caller_text(&order.caller);
    statement
        .bind(order.tag.as_ref().map(ToString::to_string))
        .bind(order.digest.as_ref().map(ToString::to_string))
        .bind(order.commit.clone())
        .bind(order.git_ref.clone())
        .bind(order.run_url.clone())
        .bind(order.run_number)
        .bind(order.actor.clone())
        .bind(order.reason.clone())
        .bind(order.cause.as_ref().map(ToString::to_string))
        .bind(i64::from(order.force))
        .bind(i64::from(order.dry_run))
        .bind(caller)
        .bind(proof)
        .bind(watch_text(&order.caller))
        .bind(user_text(&order.caller))
        .bind(guest_text(&order.caller))
}

/// The stored kind of an order. A repair is stored as a rollback with a cause that tells it apart, so that the previous version can carry
/// it out.
pub(super) fn kind_text(kind: OrderKind) -> &'static str {
    if kind == OrderKind::Repair { OrderKind::Rollback.as_str() } else { kind.as_str() }
}

/// The stored word for how a caller was authenticated.
pub(super) const BY_TOKEN_OF_A_JOB: &str = "oidc";
pub(super) const BY_WEBHOOK_OF_A_FORGE: &str = "forge";

/// A caller in its stored form, and how it was authenticated if the caller's text does not say so: a policy and a forge are stored as keys,
/// which the previous version can read.
fn caller_text(caller: &Caller) -> (String, Option<&'static str>) {
    match caller {
        Caller::Oidc(policy) => (Caller::Key(policy.clone()).to_string(), Some(BY_TOKEN_OF_A_JOB)),
        Caller::Forge(forge) => (Caller::Key(forge.clone()).to_string(), Some(BY_WEBHOOK_OF_A_FORGE)),
        Caller::Watch(_) | Caller::User(_) | Caller::Of(_) => (Caller::Tagalong.to_string(), None),
        other => (other.to_string(), None),
    }
}

/// The watch of a caller, which has a column of its own.
fn watch_text(caller: &Caller) -> Option<String> {
    if let Caller::Watch(watched) = caller { Some(watched.to_string()) } else { None }
}

/// The user of a caller, which has a column of its own.
fn user_text(caller: &Caller) -> Option<String> {
    if let Caller::User(name) = caller { Some(name.to_string()) } else { None }
}

/// The caller whom another tagalong has let in, which has a column of its own.
fn guest_text(caller: &Caller) -> Option<String> {
    if let Caller::Of(_) = caller { Some(caller.to_string()) } else { None }
}
