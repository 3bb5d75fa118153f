//! The audit trail: who did what with which result, each entry bound to the one before it.

use sha2::Digest as _;
use sha2::Sha256;
use sqlx::AnyConnection;
use sqlx::Row as _;

use crate::clock;
use crate::store::Store;
use crate::store::StoreError;

/// Where the trail does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Entry {seq} of the audit trail was changed, or one before it was removed.")]
pub struct AuditFault {
    /// The first entry that does not fit.
    pub seq: i64,
}

/// SHA-256 over the fields, each with its length before it, so that no two different entries read the same.
fn entry_hash(seq: i64, at_ms: i64, fields: [&str; 5]) -> String {
    let mut hash = Sha256::new();
    hash.update(seq.to_be_bytes());
    hash.update(at_ms.to_be_bytes());
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field.as_bytes());
    }
    hash.finalize().iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"))
}

/// Adds an entry within a transaction, so that what was done and its entry are both on disk or neither.
pub(super) async fn append(on: &mut AnyConnection, caller: &str, action: &str, target: &str, detail: &str) -> Result<(), sqlx::Error> {
    // Writing first makes writers wait for each other here, so that no two take the same number.
    sqlx::query("UPDATE meta SET value = '' WHERE name = 'audit'").execute(&mut *on).await?;
    let last = sqlx::query("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetch_optional(&mut *on).await?;
    let (seq, previous): (i64, String) = match last {
        Some(row) => (row.try_get::<i64, _>("seq")? + 1, row.try_get("hash")?),
        None => (1, String::new()),
    };
    let at_ms = clock::now_ms();
    sqlx::query("INSERT INTO audit (seq, at_ms, caller, action, target, detail, previous, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(seq)
        .bind(at_ms)
        .bind(caller)
        .bind(action)
        .bind(target)
        .bind(detail)
        .bind(&previous)
        .bind(entry_hash(seq, at_ms, [caller, action, target, detail, &previous]))
        .execute(on)
        .await?;
    Ok(())
}

impl Store {
    /// Adds an entry to the trail.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit(&self, caller: &str, action: &str, target: &str, detail: &str) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        append(&mut tx, caller, action, target, detail).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Reads the whole trail and returns how many entries hold and the hash of the last, which a person can note elsewhere.
    ///
    /// # Errors
    /// When the database does not answer; the inner error is the first entry that does not fit.
    pub async fn verify_audit(&self) -> Result<Result<(i64, String), AuditFault>, StoreError> {
        let (mut seq, mut previous) = (0_i64, String::new());
        loop {
            let rows = sqlx::query("SELECT * FROM audit WHERE seq > $1 ORDER BY seq LIMIT 500").bind(seq).fetch_all(&self.pool).await?;
            if rows.is_empty() {
                return Ok(Ok((seq, previous)));
            }
            for row in rows {
                seq += 1;
                let text = |column: &str| row.try_get::<String, _>(column);
                let (stored_seq, at_ms): (i64, i64) = (row.try_get("seq")?, row.try_get("at_ms")?);
                let (caller, action, target, detail) = (text("caller")?, text("action")?, text("target")?, text("detail")?);
                let (before, hash) = (text("previous")?, text("hash")?);
                let right = entry_hash(stored_seq, at_ms, [&caller, &action, &target, &detail, &before]);
                if stored_seq != seq || before != previous || hash != right {
                    return Ok(Err(AuditFault { seq }));
                }
                previous = hash;
            }
        }
    }
}
