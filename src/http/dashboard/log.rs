//! The log on the page of a deployment: its last lines as plain HTML, which a script turns into the whole log, live.

use askama::Template;

use crate::model::Line;
use crate::model::State;
use crate::store::Deployment;
use crate::store::Store;
use crate::store::StoreError;

/// How many lines stand in the page itself, and about how many bytes of them at most: the page stays small, and links to the whole text.
const LINES: i64 = 200;
const BYTES: usize = 40 << 10;

/// The log of one deployment, to be put into its page with `{{ log|safe }}`.
#[derive(Debug, Template)]
#[template(path = "log.html")]
pub(in crate::http) struct Log {
    id: String,
    /// What it is saved as.
    file: String,
    is_live: bool,
    /// The position of the last line.
    last: i64,
    lines: Vec<Line>,
}

impl Log {
    /// The log of `deployment` as it is stored by now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(in crate::http) async fn of(store: &Store, deployment: &Deployment) -> Result<Self, StoreError> {
        let last = store.last_position(&deployment.id).await?;
        let mut lines = store.lines_after(&deployment.id, (last - LINES).max(0), LINES).await?;
        let mut bytes = 0;
        let shown = lines.iter().rev().take_while(|line| {
            bytes += line.text.len();
            bytes <= BYTES
        });
        let shown = shown.count();
        lines.drain(..lines.len() - shown);
        Ok(Self {
            id: deployment.id.to_string(),
            file: format!("{}-{}.log", deployment.order.service, deployment.id),
            is_live: !matches!(deployment.state, State::Done { .. }),
            last,
            lines,
        })
    }

    /// How many lines stand before those that are shown; 0 if none does.
    fn before(&self) -> i64 {
        self.lines.first().map_or(self.last, |line| line.position - 1)
    }
}
