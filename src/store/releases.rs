//! What the record says about the releases of a service, read within the transaction that accepts an order for a recorded release.

use crate::store::Releases;
use crate::store::StoreError;
use crate::store::Wanted;
use crate::store::deployments::MOST_RELEASES;
use crate::store::gate::Tx;
use crate::store::orders::Asked;
use crate::store::rows;
use crate::store::rows::select_deployments;

/// The facts for `asked`; none: the order does not refer to a recorded release. No deployment begins or ends and no other order is accepted
/// meanwhile, because `tx` holds the lock of the queue.
pub(super) async fn of(tx: &mut Tx, asked: &Asked) -> Result<Option<Releases>, StoreError> {
    let most = match asked.wanted {
        Wanted::Ordered => return Ok(None),
        Wanted::LastVerified => 1,
        Wanted::Back(_) | Wanted::Before(_) | Wanted::Recorded(_) | Wanted::Named(_) => MOST_RELEASES,
    };
    let service = asked.order.service.as_str();
    let verified = sqlx::query(select_deployments!(releases "WHERE r.service = $1 AND r.verified = 1 ORDER BY r.deployment DESC LIMIT $2"));
    let verified = tx.fetch_all(verified.bind(service).bind(most)).await?;
    let unfinished = sqlx::query(select_deployments!(releases "WHERE d.service = $1 AND d.state <> 'done' ORDER BY d.id"));
    let unfinished = tx.fetch_all(unfinished.bind(service)).await?;
    let last_change = sqlx::query(select_deployments!(
        releases "WHERE r.service = $1 AND r.changed = 1 AND d.state = 'done' ORDER BY r.deployment DESC LIMIT 1"
    ));
    let last_change = tx.fetch_optional(last_change.bind(service)).await?;
    Ok(Some(Releases {
        verified: verified.iter().map(rows::deployment).collect(),
        unfinished: rows::listed(&unfinished),
        last_change: last_change.as_ref().map(rows::deployment),
    }))
}
