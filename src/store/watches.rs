//! What is looked at again and again: releases for some time after they are live, and pages without end. Each has a row of its own
//! with a lease, by the database's clock: of several servers on one database one looks at a time, and when that one is gone, another does.

use std::time::Duration;

use crate::clock;
use crate::config::WatchTerms;
use crate::model::DeploymentId;
use crate::model::LookResult;
use crate::model::ServiceName;
use crate::model::WatchState;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::gate::Statement;
use crate::store::gate::Tx;
use crate::store::incidents;
use crate::store::incidents::Seen;
use crate::store::incidents::Settled;
use crate::store::looks;
use crate::store::looks::PageLook;
use crate::store::many;
use crate::store::now::by_the_databases_clock;
use crate::store::watched::Claim;
use crate::store::watched::Due;
use crate::store::watched::PAGE;
use crate::store::watched::Watch;
use crate::store::watched::chosen;
use crate::store::watched::readable;

/// What a look has come to.
#[derive(Debug)]
pub struct Looked {
    /// In a word.
    pub result: LookResult,
    /// What was seen.
    pub why: Option<String>,
    /// How many of the last looks that saw something saw it bad, with this one.
    pub bad: i64,
    /// How often each container has been restarted; none: that was not seen.
    pub restarts: Option<String>,
    /// How the page answered; none: it was not asked, or nothing could be seen.
    pub page: Option<PageLook>,
    /// What is wrong with the service, where incidents are opened for that.
    pub seen: Seen,
}

/// What becomes of a watch after a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// There is another look after this time.
    Again(Duration),
    /// It has ended so, and has placed this order.
    End(WatchState, Option<DeploymentId>),
}

/// What is needed of each row.
fn select(store: &Store) -> &'static str {
    by_the_databases_clock!(
        store,
        "SELECT id, service, state, since_ms, until_ms, every_ms, next_ms, looks, bad, last_ms, last, why, restarts, placed, turn, holder, lease_ms, ",
        " AS now_ms FROM watches WHERE state = 'watching' ORDER BY service, id"
    )
}

impl Store {
    /// Takes what is due for `claim`, of what `is_wanted`: for the time of its lease nobody else gets it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take_watches(&self, claim: &Claim<'_>, is_wanted: impl Fn(&Watch) -> bool) -> Result<Due, StoreError> {
        let all = readable(&self.gate.fetch_all(sqlx::query(select(self))).await?);
        let due = chosen(&all, claim, &is_wanted);
        if due.watches.is_empty() {
            return Ok(due);
        }
        let mut tx = self.gate.begin().await?;
        // Two servers must not choose different watches of one service at the same moment.
        tx.alone("watches").await?;
        let mut due = chosen(&readable(&tx.fetch_all(sqlx::query(select(self))).await?), claim, &is_wanted);
        for watch in &mut due.watches {
            let take = by_the_databases_clock!(
                self,
                "UPDATE watches SET holder = $3, turn = turn + 1, lease_ms = $4 + ",
                " WHERE id = $1 AND turn = $2 AND state = 'watching'"
            );
            let take = sqlx::query(take).bind(watch.id.clone()).bind(watch.turn).bind(claim.holder.to_owned());
            tx.execute(take.bind(claim.lease.as_millis() as i64)).await?;
            watch.turn += 1;
        }
        tx.commit().await?;
        Ok(due)
    }

    /// Whoever has taken `watch` still looks. Returns whether it is still theirs.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn renew_watch(&self, watch: &Watch, lease: Duration) -> Result<bool, StoreError> {
        let renew =
            by_the_databases_clock!(self, "UPDATE watches SET lease_ms = $3 + ", " WHERE id = $1 AND turn = $2 AND state = 'watching'");
        let renew = sqlx::query(renew).bind(&watch.id).bind(watch.turn).bind(lease.as_millis() as i64);
        Ok(self.gate.write(renew).await? == 1)
    }

    /// There was no look at `watch`; the next one is after this time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn put_off_watch(&self, watch: &Watch, after: Duration) -> Result<(), StoreError> {
        let put_off = by_the_databases_clock!(
            self,
            "UPDATE watches SET holder = NULL, lease_ms = 0, next_ms = $3 + ",
            " WHERE id = $1 AND turn = $2 AND state = 'watching'"
        );
        self.gate.write(sqlx::query(put_off).bind(&watch.id).bind(watch.turn).bind(after.as_millis() as i64)).await?;
        Ok(())
    }

    /// `watch` has ended so, without another look.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_watch(&self, watch: &Watch, state: WatchState, why: &str, placed: Option<&DeploymentId>) -> Result<(), StoreError> {
        let end = sqlx::query(
            "UPDATE watches SET state = $3, why = $4, placed = $5, ended_ms = $6, holder = NULL, lease_ms = 0
             WHERE id = $1 AND turn = $2 AND state = 'watching'",
        );
        let end = end.bind(&watch.id).bind(watch.turn).bind(state.as_str()).bind(why);
        self.gate.write(end.bind(placed.map(ToString::to_string)).bind(clock::now_ms())).await?;
        Ok(())
    }

    /// Records a look at `watch` and what becomes of it: all or nothing. Gives the incidents that it has opened and closed; none: somebody
    /// else has taken the watch over, or it has ended, so that the look counts for nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn record_look(&self, watch: &Watch, looked: &Looked, then: &Then) -> Result<Option<Settled>, StoreError> {
        let now_ms = clock::now_ms();
        let mut tx = self.gate.begin().await?;
        if tx.execute(self.looked(watch, looked, then, now_ms)).await? != 1 {
            return Ok(None);
        }
        looks::write(&mut tx, watch.service.as_str(), looked.result, looked.page.as_ref(), now_ms).await?;
        let settled = incidents::settle(&mut tx, &watch.service, &looked.seen, now_ms).await?;
        tx.commit().await?;
        if !settled.is_nothing() {
            self.has_news();
        }
        Ok(Some(settled))
    }

    fn looked(&self, watch: &Watch, looked: &Looked, then: &Then, now_ms: i64) -> Statement<'static> {
        let (state, placed, after) = match then {
            Then::Again(after) => (WatchState::Watching, None, *after),
            Then::End(state, placed) => (*state, placed.as_ref(), Duration::ZERO),
        };
        let update = by_the_databases_clock!(
            self,
            "UPDATE watches SET holder = NULL, lease_ms = 0, looks = looks + 1, bad = $3, last = $4, why = $5, restarts = COALESCE($6, restarts),
               last_ms = $7, state = $8, placed = $9, ended_ms = $10, next_ms = $11 + ",
            " WHERE id = $1 AND turn = $2 AND state = 'watching'"
        );
        sqlx::query(update)
            .bind(watch.id.clone())
            .bind(watch.turn)
            .bind(looked.bad)
            .bind(looked.result.as_str())
            .bind(looked.why.clone())
            .bind(looked.restarts.clone())
            .bind(now_ms)
            .bind(state.as_str())
            .bind(placed.map(ToString::to_string))
            .bind((state != WatchState::Watching).then_some(now_ms))
            .bind(after.as_millis() as i64)
    }

    /// From now on `service` is looked at on a schedule, for the first time `after` this at the latest. Another time changes nothing but the
    /// pause.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn watch_page(&self, service: &ServiceName, every: Duration, after: Duration) -> Result<(), StoreError> {
        let insert = by_the_databases_clock!(
            self,
            "INSERT INTO watches (id, service, state, since_ms, every_ms, next_ms, looks, bad, turn, lease_ms)
             SELECT $1, $2, 'watching', clock.now_ms, $3, clock.now_ms + $4, 0, 0, 0, 0 FROM (SELECT ",
            " AS now_ms) AS clock WHERE clock.now_ms > 0
             ON CONFLICT (id) DO UPDATE SET every_ms = excluded.every_ms,
               next_ms = CASE WHEN watches.next_ms > excluded.next_ms THEN excluded.next_ms ELSE watches.next_ms END"
        );
        let insert = sqlx::query(insert).bind(format!("{PAGE}{service}")).bind(service.as_str());
        self.gate.write(insert.bind(every.as_millis() as i64).bind(after.as_millis() as i64)).await?;
        Ok(())
    }

    /// What `holder` was looking at is free for everybody.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn let_go_of_watches(&self, holder: &str) -> Result<(), StoreError> {
        let let_go = sqlx::query("UPDATE watches SET holder = NULL, lease_ms = 0 WHERE state = 'watching' AND holder = $1");
        self.gate.write(let_go.bind(holder)).await?;
        Ok(())
    }

    /// The watches over these releases, and the one over the page of each of `services`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn watches_of(&self, releases: &[&DeploymentId], services: &[&ServiceName]) -> Result<Vec<Watch>, StoreError> {
        const MOST_NAMED: usize = 1024;
        let names = releases.iter().map(ToString::to_string).chain(services.iter().map(|service| format!("{PAGE}{service}")));
        let names: Vec<String> = names.collect();
        let mut watches = Vec::new();
        for part in names.chunks(MOST_NAMED) {
            let part = many::padded(&part.iter().map(String::as_str).collect::<Vec<_>>());
            let select =
                "SELECT id, service, state, since_ms, until_ms, every_ms, next_ms, looks, bad, last_ms, last, why, restarts, placed, turn,
                holder, lease_ms, next_ms AS now_ms FROM watches WHERE id IN";
            let select = part.iter().fold(many::among(select, 1, part.len()), |select, name| select.bind(*name));
            watches.extend(readable(&self.gate.fetch_all(select).await?));
        }
        Ok(watches)
    }

    /// Forgets the watches that have not ended and that nobody has looked at since `before_ms`. They are as few as there are services.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_lost_watches(&self, before_ms: i64) -> Result<(), StoreError> {
        self.gate.write(sqlx::query("DELETE FROM watches WHERE state = 'watching' AND next_ms < $1").bind(before_ms)).await?;
        Ok(())
    }
}

/// From now on the release that `id` has landed is watched.
pub(super) async fn begin(tx: &mut Tx, store: &Store, service: &str, id: &DeploymentId, terms: WatchTerms) -> Result<(), StoreError> {
    let insert = by_the_databases_clock!(
        store,
        "INSERT INTO watches (id, service, state, since_ms, until_ms, every_ms, next_ms, looks, bad, turn, lease_ms)
         SELECT $1, $2, 'watching', clock.now_ms, clock.now_ms + $3, $4, clock.now_ms + $5, 0, 0, 0, 0 FROM (SELECT ",
        " AS now_ms) AS clock"
    );
    let insert = sqlx::query(insert).bind(id.to_string()).bind(service.to_owned());
    let every_ms = terms.every.as_millis() as i64;
    tx.execute(insert.bind(terms.length.as_millis() as i64).bind(every_ms).bind(every_ms)).await?;
    Ok(())
}

/// `by` has changed what is live: whatever release of `service` was watched is watched no more, and what it was left with for a person is
/// no incident any more.
pub(super) async fn overtake(tx: &mut Tx, service: &str, by: &DeploymentId, now_ms: i64) -> Result<(), StoreError> {
    let end = sqlx::query(
        "UPDATE watches SET state = 'overtaken', why = $2, ended_ms = $3, holder = NULL, lease_ms = 0
         WHERE service = $1 AND state = 'watching' AND until_ms IS NOT NULL",
    );
    tx.execute(end.bind(service.to_owned()).bind(format!("{by} has changed what is live.")).bind(now_ms)).await?;
    incidents::decided(tx, service, now_ms).await?;
    Ok(())
}
