//! The repositories of stacks' files: whether they may be read.

use std::sync::Arc;

use process::Cancel;

use crate::config::StackSource;
use crate::dataset::Depot;

/// Asks the remote for the refs that may bring files; nothing is fetched.
pub(super) async fn may_be_read(source: &Arc<StackSource>) -> Result<String, String> {
    let tips = Depot::new(Arc::clone(source)).tips(&Cancel::default()).await.map_err(|error| error.to_string())?;
    let remote = &source.access.remote;
    match tips.as_slice() {
        [] => {
            let refs: Vec<&str> = source.refs.iter().map(crate::config::RefPattern::as_str).collect();
            Err(format!("{remote} has none of the refs that may bring files ({}): push one of them, or correct refs.", refs.join(", ")))
        }
        [(name, _)] => Ok(format!("{remote} can be read and has {name}")),
        more => Ok(format!("{remote} can be read and has {} of the refs that may bring files", more.len())),
    }
}
