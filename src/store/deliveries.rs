//! Deliveries of calls that make no deployment, but must be carried out only once as well.

use sqlx::Row as _;

use crate::clock;
use crate::store::Delivery;
use crate::store::Store;
use crate::store::StoreError;

/// Whether a delivery came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The delivery is new, and is remembered from now on.
    First,
    /// The same delivery came before.
    Before,
    /// The id came before, with a different body.
    OtherBody,
}

impl Store {
    /// Remembers `delivery`, unless its id came before.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn remember(&self, delivery: &Delivery) -> Result<Came, StoreError> {
        let Delivery { caller, id, body_sha256 } = delivery;
        let insert = sqlx::query(
            "INSERT INTO deliveries (caller, id, body_sha256, deployment, at_ms) VALUES ($1, $2, $3, '', $4) ON CONFLICT (caller, id) DO NOTHING",
        );
        if self.gate.write(insert.bind(caller).bind(id).bind(body_sha256).bind(delivery.at_ms(clock::now_ms()))).await? == 1 {
            return Ok(Came::First);
        }
        let seen = sqlx::query("SELECT body_sha256 FROM deliveries WHERE caller = $1 AND id = $2").bind(caller).bind(id);
        let row = self.gate.fetch_optional(seen).await?;
        let is_same = row.map(|row| row.try_get::<String, _>("body_sha256")).transpose()?.is_none_or(|seen| seen == *body_sha256);
        Ok(if is_same { Came::Before } else { Came::OtherBody })
    }

    /// Forgets `delivery`, because nothing was done for it: it may come again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget(&self, delivery: &Delivery) -> Result<(), StoreError> {
        let delete = sqlx::query("DELETE FROM deliveries WHERE caller = $1 AND id = $2 AND deployment = ''");
        self.gate.write(delete.bind(&delivery.caller).bind(&delivery.id)).await?;
        Ok(())
    }
}
