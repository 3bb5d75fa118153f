//! The outbox: messages that receivers are owed, until they have them.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::Lane;
use crate::model::Message;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::dropped;
use crate::store::gate::Statement;
use crate::store::gate::Tx;
use crate::store::now::by_the_databases_clock;

/// How many messages are kept for one receiver. Of more, the oldest are dropped, refused ones first.
pub const MOST_OWED: i64 = 1000;

/// A message that will be owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owe {
    /// The receiver.
    pub receiver: String,
    /// The key: the message replaces one that is owed under the same key.
    pub key: String,
    /// The message.
    pub message: Message,
}

/// A message that is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debt {
    /// The receiver.
    pub receiver: String,
    /// The key.
    pub key: String,
    /// A number that no other message has ever had; newer messages have higher ones.
    pub number: i64,
    /// The message.
    pub message: Message,
    /// Since when the receiver lacks the newest message of this key (ms since 1970, UTC).
    pub since_ms: i64,
    /// How often it was tried.
    pub tries: i64,
    /// When it is tried next.
    pub next_ms: i64,
    /// Until when the receiver has asked to receive nothing.
    pub quiet_ms: i64,
    /// Why the last try failed.
    pub why: Option<String>,
    /// Since when it is no longer tried, because the receiver has refused it.
    pub refused_ms: Option<i64>,
}

impl Debt {
    /// When it may be tried next.
    #[must_use]
    pub fn due_ms(&self) -> i64 {
        self.next_ms.max(self.quiet_ms)
    }
}

/// What a receiver has not had for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongOwed {
    /// Who tells it.
    pub lane: Lane,
    /// Who is to have it.
    pub receiver: String,
    /// Since when it has not had the oldest (ms since 1970, UTC).
    pub since_ms: i64,
    /// What stood in the way the last time.
    pub why: Option<String>,
}

/// When a message that could not be delivered is tried again, and why it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// When (ms since 1970, UTC).
    pub next_ms: i64,
    /// Until when the receiver wants to receive nothing at all.
    pub quiet_ms: Option<i64>,
    /// Why it failed.
    pub why: String,
}

/// The messages that their holder must deliver now.
#[derive(Debug, Default)]
pub struct Claimed {
    /// The oldest message of each receiver for whom one is due.
    pub debts: Vec<Debt>,
    /// How long until the next message is due; none: nothing else is owed.
    pub wait: Option<Duration>,
}

/// The first message of a receiver, and for how long another holder may still be delivering something to that receiver: by the database's
/// clock, because the clocks of the holders' servers may differ.
struct First {
    debt: Debt,
    taken_for_ms: i64,
}

impl First {
    /// How long until it may be delivered; none: now.
    fn wait(&self) -> Option<Duration> {
        let wait_ms = self.taken_for_ms.max(self.debt.due_ms() - clock::now_ms());
        u64::try_from(wait_ms).ok().filter(|wait_ms| *wait_ms > 0).map(Duration::from_millis)
    }
}

/// One message of the outbox.
pub(super) fn debt(row: &AnyRow) -> Result<Debt, StoreError> {
    Ok(Debt {
        receiver: row.try_get("receiver")?,
        key: row.try_get("key")?,
        number: row.try_get("number")?,
        message: columns::parsed(row, "outbox", "message", Message::parse)?,
        since_ms: row.try_get("since_ms")?,
        tries: row.try_get("tries")?,
        next_ms: row.try_get("next_ms")?,
        quiet_ms: row.try_get("quiet_ms")?,
        why: row.try_get("why")?,
        refused_ms: row.try_get("refused_ms")?,
    })
}

/// Makes servers wait for each other until the transaction ends, and reserves `many` new numbers. Returns the last of them.
async fn numbers(tx: &mut Tx, many: usize) -> Result<i64, StoreError> {
    let next = "UPDATE meta SET value = CAST(CAST(value AS BIGINT) + $1 AS TEXT) WHERE name = 'outbox'";
    tx.execute(sqlx::query(next).bind(many as i64)).await?;
    let last = tx.fetch_optional(sqlx::query("SELECT CAST(value AS BIGINT) AS number FROM meta WHERE name = 'outbox'")).await?;
    Ok(last.ok_or(sqlx::Error::RowNotFound)?.try_get("number")?)
}

/// The first message of each receiver. Messages to one receiver are delivered one after the other, so no others are needed.
fn firsts(store: &Store, lane: &Lane, holder: &str) -> Statement<'static> {
    sqlx::query(by_the_databases_clock!(
        store,
        "SELECT outbox.*, (SELECT MAX(other.lease_ms) FROM outbox AS other
             WHERE other.lane = outbox.lane AND other.receiver = outbox.receiver AND other.holder <> $2) - ",
        " AS taken_for_ms
         FROM outbox WHERE lane = $1 AND refused_ms IS NULL AND number = (SELECT MIN(other.number) FROM outbox AS other
             WHERE other.lane = outbox.lane AND other.receiver = outbox.receiver AND other.refused_ms IS NULL)
         ORDER BY number"
    ))
    .bind(lane.to_string())
    .bind(holder.to_owned())
}

/// The rows that can be read. One that cannot is logged and hides no other.
fn readable(rows: &[AnyRow]) -> Result<Vec<First>, StoreError> {
    let mut all = Vec::new();
    for row in rows {
        match debt(row) {
            Ok(debt) => all.push(First { debt, taken_for_ms: row.try_get::<Option<i64>, _>("taken_for_ms")?.unwrap_or_default() }),
            Err(error) if error.is_unreadable() => tracing::error!(%error, "a notification cannot be sent"),
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// [`Store::owe`] within a transaction.
pub(super) async fn owe(tx: &mut Tx, lane: &Lane, all: &[Owe], since_ms: i64, due_ms: i64) -> Result<Vec<Debt>, StoreError> {
    let lane = lane.to_string();
    let first = numbers(tx, all.len()).await? - all.len() as i64 + 1;
    let mut owed = Vec::new();
    for (number, owe) in (first..).zip(all) {
        let insert = sqlx::query(
            "INSERT INTO outbox (lane, receiver, key, number, message, since_ms, tries, next_ms, quiet_ms, lease_ms)
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7,
                 COALESCE((SELECT MAX(quiet_ms) FROM outbox WHERE lane = $1 AND receiver = $2), 0), 0)
             ON CONFLICT (lane, receiver, key) DO UPDATE SET number = excluded.number, message = excluded.message,
                 next_ms = excluded.next_ms, refused_ms = NULL
             RETURNING *",
        );
        let insert = insert.bind(&lane).bind(&owe.receiver).bind(&owe.key).bind(number).bind(owe.message.to_string());
        let row = tx.fetch_optional(insert.bind(since_ms).bind(due_ms)).await?;
        owed.push(debt(&row.ok_or(sqlx::Error::RowNotFound)?)?);
    }
    bound(tx, &lane).await?;
    Ok(owed)
}

impl Store {
    /// Stores the messages `all`, each after those that its receiver is owed already; a message under the same key is replaced, also one
    /// that was refused. They are tried from `due_ms` on, unless the receiver asked to receive nothing for longer. Returns what is owed
    /// now.
    ///
    /// # Errors
    /// When the database does not answer; then none of it is owed.
    pub async fn owe(&self, lane: &Lane, all: &[Owe], since_ms: i64, due_ms: i64) -> Result<Vec<Debt>, StoreError> {
        let mut tx = self.gate.begin().await?;
        let owed = owe(&mut tx, lane, all, since_ms, due_ms).await?;
        tx.commit().await?;
        Ok(owed)
    }

    /// What is owed and what was refused, by receiver and in order.
    ///
    /// # Errors
    /// When the database does not answer, or contains a row that cannot be read.
    pub async fn owed(&self, lane: &Lane) -> Result<Vec<Debt>, StoreError> {
        let all = sqlx::query("SELECT * FROM outbox WHERE lane = $1 ORDER BY receiver, number").bind(lane.to_string());
        self.gate.fetch_all(all).await?.iter().map(debt).collect()
    }

    /// Takes the due messages for `holder`: the oldest of each receiver, except receivers in `busy` and those to whom another holder may be
    /// delivering something. For the time of `lease`, no other holder gets a message for the same receivers.
    ///
    /// # Errors
    /// When the database does not answer; then nothing was taken.
    pub async fn take_due(&self, lane: &Lane, holder: &str, busy: &BTreeSet<String>, lease: Duration) -> Result<Claimed, StoreError> {
        let mut seen = readable(&self.gate.fetch_all(firsts(self, lane, holder)).await?)?;
        seen.retain(|first| !busy.contains(&first.debt.receiver));
        let waits: Vec<Duration> = seen.iter().filter_map(First::wait).collect();
        if waits.len() == seen.len() {
            return Ok(Claimed { debts: Vec::new(), wait: waits.into_iter().min() });
        }
        let mut tx = self.gate.begin().await?;
        numbers(&mut tx, 0).await?;
        let mut claimed = Claimed::default();
        for first in readable(&tx.fetch_all(firsts(self, lane, holder)).await?)? {
            if busy.contains(&first.debt.receiver) {
                continue;
            }
            if let Some(wait) = first.wait() {
                claimed.wait = Some(claimed.wait.map_or(wait, |least| least.min(wait)));
                continue;
            }
            let take = by_the_databases_clock!(
                self,
                "UPDATE outbox SET holder = $5, lease_ms = $6 + ",
                " WHERE lane = $1 AND receiver = $2 AND key = $3 AND number = $4"
            );
            tx.execute(of(take, lane, &first.debt).bind(holder).bind(lease.as_millis() as i64)).await?;
            claimed.debts.push(first.debt);
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// The receiver has the message: it is no longer owed, unless a newer one is stored under the same key by now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn settle(&self, lane: &Lane, debt: &Debt) -> Result<(), StoreError> {
        let settle = "DELETE FROM outbox WHERE lane = $1 AND receiver = $2 AND key = $3 AND number = $4";
        self.gate.write(of(settle, lane, debt)).await?;
        Ok(())
    }

    /// The receiver has all of them: see [`Store::settle`].
    ///
    /// # Errors
    /// When the database does not answer; then none of them is settled.
    pub async fn settle_all(&self, lane: &Lane, debts: &[Debt]) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        for debt in debts {
            tx.execute(of("DELETE FROM outbox WHERE lane = $1 AND receiver = $2 AND key = $3 AND number = $4", lane, debt)).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// What is owed to `receiver` and was not refused, in order.
    ///
    /// # Errors
    /// When the database does not answer, or holds something that is no debt.
    pub async fn owed_to(&self, lane: &Lane, receiver: &str) -> Result<Vec<Debt>, StoreError> {
        let all = sqlx::query("SELECT * FROM outbox WHERE lane = $1 AND receiver = $2 AND refused_ms IS NULL ORDER BY number");
        self.gate.fetch_all(all.bind(lane.to_string()).bind(receiver)).await?.iter().map(debt).collect()
    }

    /// For each receiver, on any lane, since when it has not had what was tried and has been owed since before `before_ms`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn owed_long(&self, before_ms: i64) -> Result<Vec<LongOwed>, StoreError> {
        let all = sqlx::query(
            "SELECT lane, receiver, MIN(since_ms) AS since_ms, MAX(why) AS why FROM outbox
             WHERE since_ms < $1 AND tries > 0 GROUP BY lane, receiver",
        );
        let mut owed = Vec::new();
        for row in self.gate.fetch_all(all.bind(before_ms)).await? {
            // A lane of a newer version says nothing here.
            if let Ok(lane) = columns::parsed(&row, "outbox", "lane", Lane::parse) {
                let receiver = row.try_get("receiver")?;
                owed.push(LongOwed { lane, receiver, since_ms: row.try_get("since_ms")?, why: row.try_get("why")? });
            }
        }
        Ok(owed)
    }

    /// Nothing is wrong, but it is not told before `next_ms` (ms since 1970, UTC), because of `why`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn postpone(&self, lane: &Lane, debt: &Debt, holder: &str, next_ms: i64, why: &str) -> Result<(), StoreError> {
        let postpone = "UPDATE outbox SET next_ms = $6, why = $7, holder = NULL, lease_ms = 0
             WHERE lane = $1 AND receiver = $2 AND key = $3 AND number = $4 AND COALESCE(holder, $5) = $5";
        self.gate.write(of(postpone, lane, debt).bind(holder).bind(next_ms).bind(why)).await?;
        Ok(())
    }

    /// The receiver does not have the message yet: it is tried again when `wait` says, unless another holder has taken it by now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn put_off(&self, lane: &Lane, debt: &Debt, holder: &str, wait: &Wait) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        let put_off = "UPDATE outbox SET tries = $6, next_ms = $7, why = $8, holder = NULL, lease_ms = 0
             WHERE lane = $1 AND receiver = $2 AND key = $3 AND number = $4 AND COALESCE(holder, $5) = $5";
        tx.execute(of(put_off, lane, debt).bind(holder).bind(debt.tries + 1).bind(wait.next_ms).bind(&wait.why)).await?;
        if let Some(quiet_ms) = wait.quiet_ms {
            let quiet = sqlx::query("UPDATE outbox SET quiet_ms = $3 WHERE lane = $1 AND receiver = $2 AND quiet_ms < $3");
            tx.execute(quiet.bind(lane.to_string()).bind(&debt.receiver).bind(quiet_ms)).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The receiver has refused the message for good: it is kept but no longer tried, and it delays none of those after it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn refuse(&self, lane: &Lane, debt: &Debt, holder: &str, why: &str) -> Result<(), StoreError> {
        let refuse = "UPDATE outbox SET tries = $6, refused_ms = $7, why = $8, holder = NULL, lease_ms = 0
             WHERE lane = $1 AND receiver = $2 AND key = $3 AND number = $4 AND COALESCE(holder, $5) = $5";
        self.gate.write(of(refuse, lane, debt).bind(holder).bind(debt.tries + 1).bind(clock::now_ms()).bind(why)).await?;
        Ok(())
    }

    /// The receiver no longer exists: nothing is owed to it any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forgive(&self, lane: &Lane, receiver: &str) -> Result<(), StoreError> {
        let forgive = sqlx::query("DELETE FROM outbox WHERE lane = $1 AND receiver = $2");
        self.gate.write(forgive.bind(lane.to_string()).bind(receiver)).await?;
        Ok(())
    }

    /// `holder` no longer delivers anything, so others may do so at once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn let_go(&self, lane: &Lane, holder: &str) -> Result<(), StoreError> {
        let let_go = sqlx::query("UPDATE outbox SET holder = NULL, lease_ms = 0 WHERE lane = $1 AND holder = $2");
        self.gate.write(let_go.bind(lane.to_string()).bind(holder)).await?;
        Ok(())
    }
}

/// A statement about one message: lane, receiver, key and number are its first values.
pub(super) fn of<'q>(statement: &'static str, lane: &Lane, debt: &'q Debt) -> Statement<'q> {
    sqlx::query(statement).bind(lane.to_string()).bind(&debt.receiver).bind(&debt.key).bind(debt.number)
}

/// Drops messages of receivers that are owed too many.
async fn bound(tx: &mut Tx, lane: &str) -> Result<(), StoreError> {
    let crowded = sqlx::query("SELECT receiver, COUNT(*) AS owed FROM outbox WHERE lane = $1 GROUP BY receiver HAVING COUNT(*) > $2");
    for row in tx.fetch_all(crowded.bind(lane).bind(MOST_OWED)).await? {
        let (receiver, owed): (String, i64) = (row.try_get("receiver")?, row.try_get("owed")?);
        let oldest = sqlx::query(
            "DELETE FROM outbox WHERE lane = $1 AND receiver = $2 AND number IN (SELECT number FROM outbox
             WHERE lane = $1 AND receiver = $2 ORDER BY CASE WHEN refused_ms IS NULL THEN 1 ELSE 0 END, number LIMIT $3)",
        );
        let given_up = tx.execute(oldest.bind(lane).bind(&receiver).bind(owed - MOST_OWED)).await?;
        dropped::count(tx, lane, &receiver, given_up).await?;
        tracing::error!(lane, receiver, given_up, "too many notifications are pending for one receiver; the oldest was dropped");
    }
    Ok(())
}
