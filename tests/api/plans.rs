//! How the databases go about what they are asked: no statement goes through the whole of a table that grows. The statements are
//! read from the sources of the store, all of them, so that a new one is asked about as well.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;
use sqlx::AssertSqlSafe;
use sqlx::Connection as _;
use sqlx::Executor as _;
use sqlx::Row as _;
use tagalong::clock;

use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::until;

on_both!(no_statement_goes_through_a_table_that_grows, what_is_old_goes_and_what_a_rollback_may_need_stays, a_small_store_is_borne);

const FILL: [&str; 2] = [include_str!("../../bench/fill.sqlite.sql"), include_str!("../../bench/fill.postgres.sql")];

/// Each run again, as one of a rollout on a host.
const ON_HOSTS: &str = "INSERT INTO host_runs (deployment, run, service, host, goes_back, order_id, state, step, outcome, images, verified, barrier,
    started_ms, ended_ms) SELECT deployment, 2, service, 'micro', 0, deployment, state, step, outcome, images, verified, barrier, started_ms, ended_ms
    FROM runs";

/// The tables that become larger with every order.
const GROWING: [&str; 6] = ["deployments", "runs", "host_runs", "lines", "deliveries", "audit"];
/// Indexes that hold only what has not ended, so that going through the whole of one is going through little.
const OF_FEW: [&str; 7] = [
    "one_running",
    "one_waiting",
    "one_run_on_a_host",
    "one_host_run_on_a_host",
    "unfinished",
    "unfinished_by_service",
    "running_by_executor",
];
/// Indexes that hold all that a service ever had: whoever goes through one by the service alone stops at the first few.
const OF_A_SERVICE: [&str; 4] = ["by_service", "verified_by_service", "changed_by_service", "away_by_service"];

/// What a statement of the sources becomes: the text of `select_deployments!`, and a list of places behind `IN`.
fn sources() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let literal = Regex::new(r#"(?s)(select_deployments!\(\s*(releases |shown )?)?"((?:[^"\\]|\\.)*)""#).unwrap();
    let statement =
        Regex::new(r"^(SELECT .*\bFROM\b|UPDATE .*\bSET\b|DELETE FROM\b|INSERT INTO [^{]*\b(SELECT|DO UPDATE)\b|WITH\b)").unwrap();
    let clock = Regex::new(r#"(?s)by_the_databases_clock!\(\s*\w+,\s*"((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)",?\s*\)"#).unwrap();
    let broken = Regex::new(r"\\\n\s*").unwrap();
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().extension().is_some_and(|rs| rs == "rs")) {
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let product = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
        let product: Vec<&str> = product.filter(|line| !line.trim_start().starts_with("//")).collect();
        let product = product.join("\n");
        let name = entry.file_name().into_string().unwrap();
        // What is put together by another macro is found by nobody who reads it here.
        assert!(["rows.rs", "now.rs"].contains(&name.as_str()) || !product.contains("concat!"), "{name} puts statements together");
        let product = clock.replace_all(&product, "\"$1 0 $2\"");
        for literal in literal.captures_iter(&product) {
            let words = broken.replace_all(&literal[3], "").split_whitespace().collect::<Vec<_>>().join(" ");
            let whole = match (literal.get(1), literal.get(2)) {
                (Some(_), short) => format!("{} {words}", of_deployments(short.is_some())),
                (None, _) => words,
            };
            if statement.is_match(&whole) && name != "rows.rs" {
                assert!(!whole.contains('{'), "{name} makes a statement at run time: {whole}");
                found.insert(whole);
            }
        }
    }
    found.into_iter().map(with_a_list).collect()
}

/// The columns do not matter but where they are long.
fn of_deployments(short: bool) -> String {
    let long = if short { "NULL" } else { "r.resolved" };
    format!("SELECT d.*, r.images, {long} FROM deployments AS d LEFT JOIN runs AS r ON r.deployment = d.id AND r.run = 1")
}

fn with_a_list(statement: String) -> String {
    match statement.strip_suffix(" IN") {
        Some(_) if statement.contains("(caller, id) IN") => format!("{statement} (VALUES ($1, $2), ($3, $4))"),
        Some(_) => format!("{statement} (VALUES ($1), ($2))"),
        // For each of them; the first value is the statement's own.
        None if statement.ends_with(" FROM") => format!("{statement} (VALUES ($2), ($3)) AS asked"),
        None => statement,
    }
}

/// The lines of the plan that the database makes for `statement`. SQLite does not ask for the values; PostgreSQL does, so that it is
/// told of words that nobody has, which are the worst ones to look for.
async fn plan(connection: &mut sqlx::AnyConnection, database: Database, statement: &str) -> Vec<String> {
    let (ask, column) = match database {
        Database::Sqlite => (format!("EXPLAIN QUERY PLAN {statement}"), 3),
        Database::Postgres => {
            let prepare = format!("PREPARE asked AS {statement}");
            sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
            let types = "SELECT array_to_string(parameter_types, ',') FROM pg_prepared_statements WHERE name = 'asked'";
            let types: String = sqlx::raw_sql(types).fetch_one(&mut *connection).await.unwrap().try_get(0).unwrap();
            let values: Vec<&str> =
                types.split(',').filter(|kind| !kind.is_empty()).map(|kind| if kind == "text" { "'absent'" } else { "20" }).collect();
            let values = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
            (format!("EXPLAIN EXECUTE asked{values}"), 0)
        }
    };
    let rows = sqlx::raw_sql(AssertSqlSafe(ask)).fetch_all(&mut *connection).await;
    let rows = rows.unwrap_or_else(|error| panic!("{statement}: {error}"));
    if matches!(database, Database::Postgres) {
        connection.execute("DEALLOCATE asked").await.unwrap();
    }
    rows.iter().map(|row| row.try_get::<String, _>(column).unwrap()).collect()
}

/// Whether the statement takes the first or last few of all there are.
fn takes_the_ends(statement: &str) -> bool {
    statement.contains(" LIMIT ") && !statement.contains(" WHERE ")
}

/// The steps of a plan that go through more than they give.
fn faults(statement: &str, plan: &[String]) -> Vec<String> {
    // SQLite names a table by its alias.
    let growing = |name: &str| GROWING.contains(&name) || ["d", "r", "b", "l"].contains(&name);
    let scan = Regex::new(r"^SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?").unwrap();
    let seq = Regex::new(r"Seq Scan on (\w+)").unwrap();
    let index = Regex::new(r"Index (?:Only )?Scan (?:Backward )?(?:using|on) (\w+)").unwrap();
    // A walk over ids alone gives what it meets only where nothing else is asked for, or nearly everything is it.
    let walk = Regex::new(r"\(id[<>]\?\)$|Index Cond: \(\(?id [<>] [^()=]*\)$").unwrap();
    let whole = |name: Option<&str>| !name.is_some_and(|name| OF_FEW.contains(&name)) && !takes_the_ends(statement);
    let mut faults = Vec::new();
    for (at, step) in plan.iter().enumerate() {
        let is_fault = if let Some(found) = scan.captures(step) {
            growing(&found[1]) && whole(found.get(2).map(|name| name.as_str()))
        } else if let Some(found) = seq.captures(step) {
            growing(&found[1])
        } else if let Some(found) = index.captures(step) {
            let has_cond = plan.get(at + 1).is_some_and(|next| next.contains("Index Cond:"));
            !has_cond && whole(Some(&found[1]))
        } else {
            let is_page = statement.contains("WHERE d.id < $1 ORDER BY") || statement.contains("WHERE d.id < $1 AND d.state = 'done'");
            // From where everything was told on.
            let is_page = is_page || statement.contains("NOT EXISTS (SELECT 1 FROM told AS t");
            // What a service has newer than an id that is far back is looked for by the service; PostgreSQL knows by its statistics which is less.
            let is_page = is_page || statement.starts_with("INSERT INTO told ");
            walk.is_match(step)
                && !is_page
                && !plan[at.saturating_sub(1)..=at].iter().any(|line| OF_FEW.iter().any(|few| line.contains(few)))
        };
        if is_fault {
            faults.push(step.trim().to_owned());
        }
    }
    faults.extend(passed_over(statement, plan));
    faults
}

/// The steps that go through all that a service ever had, or pass over an unknown number of it until they find what is asked for.
fn passed_over(statement: &str, plan: &[String]) -> Vec<String> {
    let is_bound = statement.contains(" LIMIT ");
    let search = Regex::new(r"^SEARCH \w+ USING (?:COVERING )?INDEX (\w+) \(service=\?\)$").unwrap();
    let of_service = Regex::new(r"Index Cond: \(service = \S+\)$").unwrap();
    let scan = Regex::new(r"Scan (?:Backward )?(?:using (\w+) )?on (\w+)").unwrap();
    let mut scanned = (String::new(), String::new());
    let mut found = Vec::new();
    for (at, step) in plan.iter().enumerate() {
        if let Some(scan) = scan.captures(step) {
            let text = |at: usize| scan.get(at).map_or("", |text| text.as_str()).to_owned();
            scanned = (text(1), text(2));
        }
        let index = search.captures(step).map(|found| found[1].to_owned());
        let index =
            index.or_else(|| of_service.is_match(step).then(|| if scanned.0.is_empty() { scanned.1.clone() } else { scanned.0.clone() }));
        let is_walk = index.is_some_and(|index| OF_A_SERVICE.contains(&index.as_str())) && !is_bound;
        // All but a few are done, and first runs; and a deployment has few runs.
        let of_one = at > 0 && plan[at - 1].ends_with("Index Cond: (deployment = d.id)");
        let filter = step.trim().strip_prefix("Filter: ").filter(|it| !of_one && !["(state = 'done'::text)", "(run = 1)"].contains(it));
        let is_of_many = GROWING.contains(&scanned.1.as_str()) && !OF_FEW.contains(&scanned.0.as_str());
        if is_walk || (filter.is_some() && is_bound && is_of_many) {
            found.push(step.trim().to_owned());
        }
    }
    found
}

/// A connection to the store of `rig`, which has `many` deployments of `services` services from now on.
async fn fill(rig: &Rig, database: Database, many: i64, services: i64) -> sqlx::AnyConnection {
    let script = FILL[usize::from(matches!(database, Database::Postgres))];
    let script = script.replace(":many", &many.to_string()).replace(":services", &services.to_string());
    let script = script.replace(":now_ms", &clock::now_ms().to_string());
    let mut connection = sqlx::AnyConnection::connect(&rig.database_url()).await.unwrap();
    // As a whole, or the server's sweep might meet deployments whose runs are yet to come.
    connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("BEGIN;\n{script}\nCOMMIT;")))).await.unwrap();
    if matches!(database, Database::Postgres) {
        connection.execute("SET plan_cache_mode = force_custom_plan").await.unwrap();
    }
    connection
}

async fn no_statement_goes_through_a_table_that_grows(database: Database) {
    let rig = Plan::new(database).start().await;
    let mut connection = fill(&rig, database, 20_000, 200).await;
    connection.execute(ON_HOSTS).await.unwrap();
    if matches!(database, Database::Postgres) {
        connection.execute("ANALYZE host_runs").await.unwrap();
    }
    let statements = sources();
    assert!(statements.len() > 70, "only {} statements were found: the test reads the wrong thing", statements.len());
    let mut wrong = Vec::new();
    for statement in &statements {
        let plan = plan(&mut connection, database, statement).await;
        let faults = faults(statement, &plan);
        if !faults.is_empty() {
            wrong.push(format!("{statement}\n  {}\n  of {plan:#?}", faults.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What goes through everything is seen.
    for statement in [
        "SELECT * FROM lines WHERE text = $1",
        "SELECT id FROM deployments WHERE tag = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        "SELECT id FROM deployments WHERE service = $1 AND tag = $2",
    ] {
        let plan = plan(&mut connection, database, statement).await;
        assert!(!faults(statement, &plan).is_empty(), "{statement}: {plan:?}");
    }
    // SQLite does not say what it passes over.
    let numbered = statements.iter().find(|statement| statement.starts_with("SELECT run_number, id FROM")).unwrap();
    let plan = plan(&mut connection, database, numbered).await.join("\n");
    assert!(plan.contains("landed_by_service") && !plan.contains(" by_service"), "{plan}");
    connection.close().await.unwrap();
    rig.finish().await;
}

/// Half of what there is is older than journals are kept. Of that, the releases stay which a rollback can choose, without their
/// journals.
async fn what_is_old_goes_and_what_a_rollback_may_need_stays(database: Database) {
    const MANY: i64 = 401;
    const OLD: i64 = 201;
    let mut rig = Plan::new(database).start().await;
    fill(&rig, database, MANY, 1).await.close().await.unwrap();
    let verified: Vec<i64> = (1..=MANY).rev().filter(|number| number % 10 < 7).take(200).collect();
    let stay: Vec<i64> = (1..=MANY).filter(|number| *number > OLD || verified.contains(number)).collect();
    assert!((stay.len() as i64) < MANY && stay[0] <= OLD, "there is something of each kind");
    rig.restart().await;
    // The sweep before the restart may have found nothing yet but deliveries, so all of it is waited for.
    until("the sweep", async || {
        let deliveries = rig.count("SELECT COUNT(*) FROM deliveries").await;
        let deployments = rig.count("SELECT COUNT(*) FROM deployments").await;
        let lines = rig.count("SELECT COUNT(*) FROM lines").await;
        (deliveries < MANY / 4 / 20 && deployments <= stay.len() as i64 && lines <= 5 * (MANY - OLD)).then_some(())
    })
    .await;
    let pool = rig.database().await;
    let rows = sqlx::query("SELECT run_number FROM deployments ORDER BY id").fetch_all(&pool).await.unwrap();
    pool.close().await;
    assert_eq!(rows.iter().map(|row| row.get::<i64, _>(0)).collect::<Vec<_>>(), stay);
    assert_eq!(rig.count("SELECT COUNT(*) FROM lines").await, 5 * (MANY - OLD));
    assert_eq!(rig.count("SELECT COUNT(*) FROM runs WHERE deployment NOT IN (SELECT id FROM deployments)").await, 0);
    assert_eq!(
        rig.count("SELECT COUNT(*) FROM runs WHERE verified = 1").await,
        stay.iter().filter(|number| *number % 10 < 7).count() as i64
    );
    rig.finish().await;
}

/// The measurement that `make load` does, in small: nothing is answered wrongly, and old things go while orders come.
#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
async fn a_small_store_is_borne(database: Database) {
    let name = if matches!(database, Database::Sqlite) { "sqlite" } else { "postgres" };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/load.py");
    let run = std::process::Command::new("python3").args([script, env!("CARGO_BIN_EXE_tagalong"), "4000", "4", name]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    println!("{said}");
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("deployments forgotten") && said.matches("p99 of").count() > 15, "{said}");
}
