//! What is owed to others, on both databases: told at least once, in order, by one server at a time, and by nobody twice at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use tagalong::clock;
use tagalong::clock::Backoff;
use tagalong::model::Commit;
use tagalong::model::DatasetName;
use tagalong::model::Lane;
use tagalong::model::Message;
use tagalong::outbox::Outbox;
use tagalong::outbox::Terms;
use tagalong::outbox::Told;
use tagalong::store::Debt;
use tagalong::store::MOST_OWED;
use tagalong::store::Owe;
use tagalong::store::Store;
use tokio::sync::Notify;

use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::until;

on_both!(
    debts_of_the_version_before_move_over,
    a_receiver_is_told_in_order_and_only_the_newest_of_a_key,
    a_receiver_that_hangs_keeps_nobody_else_waiting,
    what_is_refused_is_kept_and_holds_up_nothing,
    a_receiver_that_asks_for_silence_gets_it,
    of_two_servers_one_tells,
    what_a_dead_server_has_taken_another_tells_when_its_time_is_over,
    so_much_is_kept_and_no_more
);

fn lane() -> Lane {
    Lane::Peers { executor: "here".into(), dataset: DatasetName::parse("notes").unwrap() }
}

fn message(n: usize) -> Message {
    Message::Commit(Commit::parse(&format!("{n:040x}")).unwrap())
}

fn owe(receiver: &str, key: &str, n: usize) -> Owe {
    Owe { receiver: receiver.into(), key: key.into(), message: message(n) }
}

fn store(rig: &Rig) -> Store {
    rig.app().shared().store.clone()
}

/// The outbox of the server that is called `holder`.
fn outbox(store: Store, holder: &str) -> Arc<Outbox> {
    let terms = Terms { deadline: Duration::from_mins(1), again: Backoff::new(Duration::from_millis(20), Duration::from_millis(80)) };
    Arc::new(Outbox::new(store, lane(), holder.to_owned(), terms))
}

/// What was told: to whom, under which key, what.
type Heard = Arc<Mutex<Vec<(String, String, Message)>>>;

/// A server's outbox at work.
struct Teller {
    outbox: Arc<Outbox>,
    heard: Heard,
    stop: Cancel,
    task: tokio::task::JoinHandle<()>,
}

impl Teller {
    /// Tells by `tell`, and notes what was taken.
    fn start<F>(outbox: Arc<Outbox>, tell: impl Fn(Debt) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Told> + Send + 'static,
    {
        let (heard, stop) = (Heard::default(), Cancel::default());
        let (mine, noted, stopped) = (Arc::clone(&outbox), Arc::clone(&heard), stop.clone());
        let tell = move |debt: Debt| {
            let (noted, telling) = (Arc::clone(&noted), tell(debt.clone()));
            async move {
                let told = telling.await;
                if told == Told::Taken {
                    noted.lock().unwrap().push((debt.receiver, debt.key, debt.message));
                }
                told
            }
        };
        let task = tokio::spawn(async move { mine.keep_telling(tell, &stopped).await });
        Self { outbox, heard, stop, task }
    }

    fn heard(&self) -> Vec<(String, String, Message)> {
        self.heard.lock().unwrap().clone()
    }

    async fn until_owed(&self, what: &str, wanted: impl Fn(&[Debt]) -> bool) -> Vec<Debt> {
        until(what, async || Some(self.outbox.owed().await.unwrap()).filter(|owed| wanted(owed))).await
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn not_now(why: &str, after: Option<Duration>) -> Told {
    Told::NotNow { why: why.to_owned(), after }
}

async fn debts_of_the_version_before_move_over(database: Database) {
    let mut rig = Plan::new(database).start().await;
    for statement in [
        "DROP TABLE outbox",
        "DELETE FROM meta WHERE name = 'outbox'",
        "DELETE FROM _sqlx_migrations WHERE description = 'outbox'",
        "INSERT INTO debts (executor, dataset, peer, commit_id, since_ms, tries, next_ms, why)
         VALUES ('here', 'notes', 'http://a/', '0000000000000000000000000000000000000007', 5, 3, 9, 'it is away'),
                ('here', 'notes', 'http://b/', '0000000000000000000000000000000000000008', 6, 0, 6, NULL),
                ('there', 'notes', 'http://a/', '0000000000000000000000000000000000000009', 7, 0, 7, NULL)",
    ] {
        rig.execute(statement).await;
    }
    rig.restart().await;
    let owed = store(&rig).owed(&lane()).await.unwrap();
    let seen: Vec<_> =
        owed.iter().map(|debt| (debt.receiver.as_str(), &debt.message, debt.since_ms, debt.tries, debt.why.as_deref())).collect();
    assert_eq!(seen, [("http://a/", &message(7), 5, 3, Some("it is away")), ("http://b/", &message(8), 6, 0, None)]);
    // They are told like all others, and what is newer takes their place.
    let outbox = outbox(store(&rig), "here");
    outbox.owe(&[owe("http://b/", "newest", 10)], Duration::ZERO).await.unwrap();
    let teller = Teller::start(outbox, async |_| Told::Taken);
    teller.until_owed("all to be told", <[Debt]>::is_empty).await;
    let mut heard = teller.heard();
    heard.sort_by(|one, other| one.0.cmp(&other.0));
    let newest = |receiver: &str, n| (receiver.to_owned(), "newest".to_owned(), message(n));
    assert_eq!(heard, [newest("http://a/", 7), newest("http://b/", 10)]);
    teller.stop().await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM outbox WHERE lane = 'peers/there/notes'").await, 1);
    rig.finish().await;
}

/// Also after a restart, and with a receiver that is away for its first tries.
async fn a_receiver_is_told_in_order_and_only_the_newest_of_a_key(database: Database) {
    let mut rig = Plan::new(database).start().await;
    let owing = outbox(store(&rig), "here");
    owing.owe(&[owe("r", "one", 1), owe("r", "two", 2)], Duration::ZERO).await.unwrap();
    owing.owe(&[owe("r", "three", 3), owe("r", "one", 4)], Duration::ZERO).await.unwrap();
    rig.restart().await;
    let tries = Arc::new(Mutex::new(0));
    let teller = Teller::start(outbox(store(&rig), "here"), move |_| {
        let tries = Arc::clone(&tries);
        async move {
            let mut tries = tries.lock().unwrap();
            *tries += 1;
            if *tries <= 3 { not_now("It is away.", None) } else { Told::Taken }
        }
    });
    teller.until_owed("all to be told", <[Debt]>::is_empty).await;
    let told: Vec<_> = teller.heard().into_iter().map(|(_, key, what)| (key, what)).collect();
    assert_eq!(told, [("two".into(), message(2)), ("three".into(), message(3)), ("one".into(), message(4))]);
    teller.stop().await;
    rig.finish().await;
}

async fn a_receiver_that_hangs_keeps_nobody_else_waiting(database: Database) {
    let rig = Plan::new(database).start().await;
    let (goes_on, hangs) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (until_then, begun) = (Arc::clone(&goes_on), Arc::clone(&hangs));
    let teller = Teller::start(outbox(store(&rig), "here"), move |debt| {
        let (until_then, begun) = (Arc::clone(&until_then), Arc::clone(&begun));
        async move {
            if debt.receiver == "hangs" && debt.key == "one" {
                begun.notify_one();
                until_then.notified().await;
            }
            Told::Taken
        }
    });
    teller.outbox.owe(&[owe("hangs", "one", 1), owe("hangs", "two", 2)], Duration::ZERO).await.unwrap();
    hangs.notified().await;
    for n in 0..10 {
        teller.outbox.owe(&[owe("well", &format!("k{n}"), n)], Duration::ZERO).await.unwrap();
    }
    let left = teller.until_owed("the other to be told", |owed| owed.iter().all(|debt| debt.receiver == "hangs")).await;
    assert_eq!((left.len(), teller.heard().len()), (2, 10), "nothing overtakes what is being told");
    // What it is being told is replaced meanwhile: the answer settles the older one only.
    teller.outbox.owe(&[owe("hangs", "one", 3)], Duration::ZERO).await.unwrap();
    goes_on.notify_one();
    hangs.notified().await;
    goes_on.notify_one();
    teller.until_owed("all to be told", <[Debt]>::is_empty).await;
    let told: Vec<_> = teller.heard().split_off(10).into_iter().map(|(_, key, what)| (key, what)).collect();
    assert_eq!(told, [("one".into(), message(1)), ("two".into(), message(2)), ("one".into(), message(3))]);
    teller.stop().await;
    rig.finish().await;
}

async fn what_is_refused_is_kept_and_holds_up_nothing(database: Database) {
    let mut rig = Plan::new(database).start().await;
    let tell = |debt: Debt| async move {
        if debt.message == message(1) { Told::refusal(422, None, "It answers 422.".into()) } else { Told::Taken }
    };
    let teller = Teller::start(outbox(store(&rig), "here"), tell);
    teller.outbox.owe(&[owe("r", "bad", 1), owe("r", "good", 2)], Duration::ZERO).await.unwrap();
    let is_refused = |owed: &[Debt]| matches!(owed, [debt] if debt.refused_ms.is_some());
    teller.until_owed("the refusal", is_refused).await;
    teller.stop().await;
    rig.restart().await;
    let teller = Teller::start(outbox(store(&rig), "here"), tell);
    teller.outbox.owe(&[owe("r", "other", 3)], Duration::ZERO).await.unwrap();
    let left = teller.until_owed("what came later", is_refused).await;
    assert_eq!((left[0].key.as_str(), left[0].tries, left[0].why.as_deref()), ("bad", 1, Some("It answers 422.")), "tried once");
    // Anybody who has mended something says so, and it is tried once more; a newer one takes its place.
    teller.outbox.revive().await.unwrap();
    teller.until_owed("another try", |owed| is_refused(owed) && owed[0].tries == 2).await;
    teller.outbox.owe(&[owe("r", "bad", 4)], Duration::ZERO).await.unwrap();
    teller.until_owed("the newer one to be told", <[Debt]>::is_empty).await;
    teller.stop().await;
    rig.finish().await;
}

async fn a_receiver_that_asks_for_silence_gets_it(database: Database) {
    const SILENCE: Duration = Duration::from_millis(1200);
    let rig = Plan::new(database).start().await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&calls);
    let teller = Teller::start(outbox(store(&rig), "here"), move |_| {
        let noted = Arc::clone(&noted);
        async move {
            let mut calls = noted.lock().unwrap();
            calls.push(clock::now_ms());
            if calls.len() == 1 { not_now("It answers 429.", Some(SILENCE)) } else { Told::Taken }
        }
    });
    teller.outbox.owe(&[owe("r", "one", 1)], Duration::ZERO).await.unwrap();
    teller.until_owed("the first answer", |owed| owed.iter().all(|debt| debt.tries == 1)).await;
    // Neither something newer nor something else is told before, and a change of the configuration is no reason either.
    teller.outbox.owe(&[owe("r", "one", 2), owe("r", "two", 3)], Duration::ZERO).await.unwrap();
    teller.outbox.revive().await.unwrap();
    teller.until_owed("all to be told", <[Debt]>::is_empty).await;
    let calls = calls.lock().unwrap().clone();
    assert_eq!(calls.len(), 3);
    assert!(calls[1] - calls[0] >= SILENCE.as_millis() as i64, "{calls:?}");
    teller.stop().await;
    rig.finish().await;
}

/// Two servers on one PostgreSQL; on SQLite, which has one server, two parts of it.
async fn of_two_servers_one_tells(database: Database) {
    const RECEIVERS: usize = 24;
    const EACH: usize = 4;
    let rig = Plan::new(database).start().await;
    let other = if database == Database::Postgres { Some(rig.beside().await) } else { None };
    let owed: Vec<Owe> = (0..EACH).flat_map(|n| (0..RECEIVERS).map(move |r| owe(&format!("r{r}"), &format!("k{n}"), n))).collect();
    let tellers = [("first", store(&rig)), ("second", other.as_ref().map_or_else(|| store(&rig), store))]
        .map(|(holder, store)| outbox(store, holder));
    tellers[0].owe(&owed, Duration::ZERO).await.unwrap();
    let at_once = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let tellers = tellers.map(|outbox| {
        let at_once = Arc::clone(&at_once);
        Teller::start(outbox, move |debt| {
            let at_once = Arc::clone(&at_once);
            async move {
                let count = |by: isize| {
                    let mut at_once = at_once.lock().unwrap();
                    let now = at_once.entry(debt.receiver.clone()).or_default();
                    *now = now.checked_add_signed(by).unwrap();
                    assert!(*now <= 1, "{} is told two things at once", debt.receiver);
                };
                count(1);
                tokio::task::yield_now().await;
                count(-1);
                Told::Taken
            }
        })
    });
    tellers[0].until_owed("all to be told", <[Debt]>::is_empty).await;
    let heard = tellers.each_ref().map(Teller::heard);
    println!("{database:?}: one told {}, the other {}", heard[0].len(), heard[1].len());
    assert_eq!(heard.iter().map(Vec::len).sum::<usize>(), RECEIVERS * EACH, "each once");
    for one in &heard {
        for receiver in 0..RECEIVERS {
            let told: Vec<_> = one.iter().filter(|(to, ..)| *to == format!("r{receiver}")).map(|(_, key, _)| key).collect();
            assert!(told.is_sorted(), "{receiver}: {told:?}");
        }
    }
    for teller in tellers {
        teller.stop().await;
    }
    if let Some(other) = other {
        other.stop().await;
    }
    rig.finish().await;
}

/// The database's clock is an hour ahead of this server's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_counted_by_the_databases_clock() {
    const AHEAD_MS: i64 = 3_600_000;
    const LEASE_MS: i64 = 1500;
    let mut rig = Plan::new(Database::Postgres).start().await;
    for statement in [
        "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
         AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 hour' $$",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$",
    ] {
        rig.execute(statement).await;
    }
    rig.restart().await;
    let owing = outbox(store(&rig), "living");
    owing.owe(&[owe("r", "one", 1)], Duration::ZERO).await.unwrap();
    let before_ms = clock::now_ms();
    let taken = store(&rig).take_due(&lane(), "dead", &[].into(), Duration::from_millis(LEASE_MS as u64)).await.unwrap();
    assert_eq!(taken.debts.len(), 1);
    let began_ms = rig.count("SELECT lease_ms FROM outbox").await - LEASE_MS - AHEAD_MS;
    assert!((before_ms - 1..=clock::now_ms() + 1).contains(&began_ms), "{began_ms}, {before_ms}");
    // By this server's clock it is more than an hour until that lease is over, which nobody waits for.
    let teller = Teller::start(owing, async |_| Told::Taken);
    teller.until_owed("it to be told", <[Debt]>::is_empty).await;
    teller.stop().await;
    rig.finish().await;
}

async fn what_a_dead_server_has_taken_another_tells_when_its_time_is_over(database: Database) {
    let rig = Plan::new(database).start().await;
    let teller = outbox(store(&rig), "living");
    teller.owe(&[owe("r", "one", 1), owe("r", "two", 2), owe("free", "one", 3)], Duration::ZERO).await.unwrap();
    // Long enough for all that is looked at until it is over, on a busy machine too.
    let lease = Duration::from_secs(6);
    let busy = ["free".to_owned()].into();
    let asked = Instant::now();
    let taken = store(&rig).take_due(&lane(), "dead", &busy, lease).await.unwrap();
    assert_eq!(taken.debts.iter().map(|debt| (debt.receiver.as_str(), debt.key.as_str())).collect::<Vec<_>>(), [("r", "one")]);
    let teller = Teller::start(teller, async |_| Told::Taken);
    teller.until_owed("what nobody has taken", |owed| owed.iter().all(|debt| debt.receiver == "r")).await;
    // Nothing of that receiver, not even what is newer.
    teller.outbox.owe(&[owe("r", "one", 4)], Duration::ZERO).await.unwrap();
    let again = store(&rig).take_due(&lane(), "third", &[].into(), lease).await.unwrap();
    assert!(again.debts.is_empty() && again.wait.is_some_and(|wait| wait <= lease), "{again:?}");
    teller.until_owed("all to be told", <[Debt]>::is_empty).await;
    // The database counts in whole milliseconds.
    assert!(asked.elapsed() + Duration::from_millis(1) >= lease);
    assert_eq!(teller.heard().len(), 3);
    // One that stops in order leaves nothing behind.
    teller.outbox.owe(&[owe("r", "three", 5)], Duration::from_mins(5)).await.unwrap();
    teller.stop().await;
    store(&rig).revive(&lane()).await.unwrap();
    assert_eq!(store(&rig).take_due(&lane(), "dead", &[].into(), Duration::from_hours(1)).await.unwrap().debts.len(), 1);
    store(&rig).let_go(&lane(), "dead").await.unwrap();
    assert_eq!(store(&rig).take_due(&lane(), "third", &[].into(), lease).await.unwrap().debts.len(), 1);
    rig.finish().await;
}

async fn so_much_is_kept_and_no_more(database: Database) {
    let rig = Plan::new(database).start().await;
    let store = store(&rig);
    let most = usize::try_from(MOST_OWED).unwrap();
    let many: Vec<Owe> = (0..most).map(|n| owe("r", &format!("k{n:04}"), n)).collect();
    let owed = store.owe(&lane(), &many, 1, 1).await.unwrap();
    store.refuse(&lane(), &owed[most - 1], "here", "It answers 400.").await.unwrap();
    store.owe(&lane(), &[owe("other", "k", 1), owe("r", "new1", 1), owe("r", "new2", 2)], 1, 1).await.unwrap();
    let left = store.owed(&lane()).await.unwrap();
    let of_r: Vec<&str> = left.iter().filter(|debt| debt.receiver == "r").map(|debt| debt.key.as_str()).collect();
    assert_eq!((left.len(), of_r.len()), (most + 1, most));
    // What was refused goes first, then the oldest.
    let last = format!("k{:04}", most - 2);
    assert_eq!((of_r[0], &of_r[most - 3..]), ("k0001", &[last.as_str(), "new1", "new2"][..]));
    // It is counted for whom, and goes on being counted.
    assert_eq!(store.dropped(&lane()).await.unwrap(), [("r".to_owned(), 2)].into());
    let many: Vec<Owe> = (0..3).map(|n| owe("r", &format!("newer{n}"), n)).collect();
    store.owe(&lane(), &many, 1, 1).await.unwrap();
    assert_eq!(store.dropped(&lane()).await.unwrap(), [("r".to_owned(), 5)].into());
    assert!(store.dropped(&Lane::Notifiers).await.unwrap().is_empty());
    rig.finish().await;
}
