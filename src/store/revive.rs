//! What receivers have refused, or could not be told, is tried again.

use crate::clock;
use crate::model::Lane;
use crate::store::Debt;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::outbox::debt;
use crate::store::outbox::of;

impl Store {
    /// Everything that was refused or is waiting becomes due now, because the cause of the failure may be gone. A receiver that asked to
    /// receive nothing is still left alone.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revive(&self, lane: &Lane) -> Result<(), StoreError> {
        let revive = "UPDATE outbox SET refused_ms = NULL, next_ms = $2 WHERE lane = $1 AND (refused_ms IS NOT NULL OR next_ms > $2)";
        self.gate.write(sqlx::query(revive).bind(lane.to_string()).bind(clock::now_ms())).await?;
        Ok(())
    }

    /// What was refused, by receiver and in order.
    ///
    /// # Errors
    /// When the database does not answer, or contains a row that cannot be read.
    pub async fn refused(&self, lane: &Lane) -> Result<Vec<Debt>, StoreError> {
        let all = sqlx::query("SELECT * FROM outbox WHERE lane = $1 AND refused_ms IS NOT NULL ORDER BY receiver, number");
        self.gate.fetch_all(all.bind(lane.to_string())).await?.iter().map(debt).collect()
    }

    /// `debt`, which was refused, is tried once more, unless something newer is owed in its place by now. Since when it is due stays.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn try_again(&self, lane: &Lane, debt: &Debt) -> Result<(), StoreError> {
        let again = "UPDATE outbox SET refused_ms = NULL WHERE lane = $1 AND receiver = $2 AND key = $3 AND number = $4";
        self.gate.write(of(again, lane, debt)).await?;
        Ok(())
    }
}
