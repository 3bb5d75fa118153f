//! How many messages were dropped because their receiver was owed too many: a number for each receiver, which only grows.

use std::collections::BTreeMap;

use sqlx::Row as _;

use crate::model::Lane;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::gate::Tx;

/// What the name of such a number begins with, before the lane and the receiver.
const NAME: &str = "dropped/";

/// Adds `many` to what was dropped of `receiver` on `lane`.
pub(super) async fn count(tx: &mut Tx, lane: &str, receiver: &str, many: u64) -> Result<(), StoreError> {
    let add = sqlx::query(
        "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE
           SET value = CAST(CAST(meta.value AS BIGINT) + CAST(excluded.value AS BIGINT) AS TEXT)",
    );
    tx.execute(add.bind(format!("{NAME}{lane}/{receiver}")).bind(many.to_string())).await?;
    Ok(())
}

impl Store {
    /// How many messages were dropped on `lane`, by receiver; receivers of which none was are missing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn dropped(&self, lane: &Lane) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows = self.gate.fetch_all(sqlx::query("SELECT name, value FROM meta WHERE name LIKE 'dropped/%'")).await?;
        let lane = format!("{NAME}{lane}/");
        let mut all = BTreeMap::new();
        for row in rows {
            let name: String = row.try_get("name")?;
            let many = row.try_get::<String, _>("value")?.parse::<u64>().unwrap_or_default();
            all.extend(name.strip_prefix(&lane).map(|receiver| (receiver.to_owned(), many)));
        }
        Ok(all)
    }
}
