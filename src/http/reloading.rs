//! A reload that somebody asked for, over the API, by a webhook or on a page.

use crate::http::Shared;
use crate::model::DatasetName;
use crate::reload;
use crate::reload::Done;
use crate::reload::ReloadError;
use crate::reload::Reply;

/// Reloads, and says in the audit trail for whom and what came of it. Calls that nothing was done for leave no entry.
///
/// # Errors
/// When there is no such dataset, or it cannot be reloaded now; then nothing was done.
pub(in crate::http) async fn carry_out(
    shared: &Shared,
    caller: &str,
    dataset: &DatasetName,
    ask: &reload::Ask,
) -> Result<Reply, ReloadError> {
    let reply = shared.reloader.reload(dataset, ask).await?;
    if let Done::Ran(ran) = &reply.done {
        let serves = reply.loaded.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let detail = format!("{}{}, serves {serves}", ran.outcome(), if ran.is_ok() { "" } else { ", failed" });
        if let Err(error) = shared.store.audit(caller, "reload", dataset.as_str(), &detail).await {
            tracing::warn!(%dataset, %error, "the reload could not be added to the audit trail");
        }
    }
    Ok(reply)
}
