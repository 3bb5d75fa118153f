//! Orders and deployments for tests of what is decided over them.

use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::ImageRef;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::State;
use crate::store::Deployment;

pub(super) fn web() -> ServiceName {
    ServiceName::parse("web").expect("a name")
}

/// An order of the tag `v1`.
pub(super) fn order(kind: OrderKind) -> Order {
    Order { tag: Some("v1".parse().expect("a tag")), ..Order::new(kind, web(), Caller::Tagalong) }
}

/// The verified deployment of that number, which landed the tag `v` and the number.
pub(super) fn landed(number: u8) -> Deployment {
    let image = format!("example.com/web:v{number}@sha256:{}", format!("{:x}", number % 16).repeat(64));
    let tag = Some(format!("v{number}").parse().expect("a tag"));
    Deployment {
        id: DeploymentId::from_parts(u64::from(number), 0),
        order: Order { tag, ..order(OrderKind::Deploy) },
        state: State::Done { outcome: Outcome::Live { warnings: Vec::new(), page_seen: true } },
        step: None,
        images: vec![ImageRef::parse(&image).expect("an image")],
        verified: true,
        barrier: false,
        pin_before: None,
        ran_before: None,
        resolved: None,
        parts: Vec::new(),
        baseline: None,
        report: None,
        away: None,
        undo_why: None,
        files: None,
        files_before: None,
        waits_why: None,
        waits_since_ms: None,
        approved: None,
        cancel_by: None,
        host: None,
        plan: None,
        run: 1,
        attempts: 1,
        executor: None,
        fence: 1,
        created_ms: 0,
        started_ms: None,
        ended_ms: None,
    }
}
