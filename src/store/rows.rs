//! Rows as values.

use smoke::Report;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::model::Caller;
use crate::model::CancelledBy;
use crate::model::DeploymentId;
use crate::model::Digest;
use crate::model::ImageRef;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::Step;
use crate::model::Tag;
use crate::store::StoreError;

/// A deployment as it is stored.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// What was asked.
    pub order: Order,
    /// Where it stands.
    pub state: State,
    /// The step it was last at.
    pub step: Option<Step>,
    /// The exact images, once they are known.
    pub images: Vec<ImageRef>,
    /// Whether it was verified from outside.
    pub verified: bool,
    /// Whether it must not be rolled back past.
    pub barrier: bool,
    /// The bytes of the pin before it was written, as the engine gave them.
    pub pin_before: Option<String>,
    /// What ran before, for people.
    pub ran_before: Option<String>,
    /// The resolved compose configuration at its pin, without its secrets.
    pub resolved: Option<String>,
    /// What the smoke check of the running release saw before anything changed.
    pub baseline: Option<Report>,
    /// What the last smoke check saw.
    pub report: Option<Report>,
    /// Why it is being undone.
    pub undo_why: Option<String>,
    /// Who cancelled it.
    pub cancel_by: Option<CancelledBy>,
    /// How often it was begun.
    pub attempts: i64,
    /// Which executor has it.
    pub executor: Option<String>,
    /// The number of its present run: writes of an earlier run are refused.
    pub fence: i64,
    /// When it was accepted (ms since 1970, UTC).
    pub created_ms: i64,
    /// When its run began.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
}

/// A service that takes no orders from CI for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The rollback that holds it.
    pub deployment: DeploymentId,
    /// Since when.
    pub since_ms: i64,
    /// Until when; none: until released.
    pub until_ms: Option<i64>,
}

/// Which deployments to list; newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this service.
    pub service: Option<ServiceName>,
    /// In this state (`queued`, `running`, `done`) or with this outcome's name.
    pub state: Option<String>,
    /// Older than this one.
    pub before: Option<DeploymentId>,
    /// How many at most.
    pub limit: i64,
}

/// What `column` of a row of `table` holds, read by `parse`.
///
/// # Errors
/// [`StoreError::Value`] with column and row, when it is none of ours.
pub(super) fn parsed<T, E: std::fmt::Display>(
    row: &AnyRow,
    table: &str,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, StoreError> {
    parse(&row.try_get::<String, _>(column)?).map_err(|error| wrong(row, table, column, &error))
}

/// [`parsed`] where nothing may stand as well.
fn parsed_if_any<T, E: std::fmt::Display>(
    row: &AnyRow,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| parse(&text).map_err(|error| wrong(row, "deployments", column, &error))).transpose()
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

/// Column and row of a value that is none of ours.
pub(super) fn wrong(row: &AnyRow, table: &str, column: &str, why: &dyn std::fmt::Display) -> StoreError {
    let name = |column: &str| row.try_get::<String, _>(column).ok();
    let number = row.try_get::<i64, _>("seq").ok().map(|seq| format!(" line {seq}"));
    let whose = ["id", "deployment", "dataset", "service", "receiver"].into_iter().find_map(name).unwrap_or_default();
    let place = format!("{table}.{column} of {}{}", whose.escape_default(), number.unwrap_or_default());
    StoreError::Value { place, why: why.to_string() }
}

/// A flag is 0 or 1.
fn flag(row: &AnyRow, column: &str) -> Result<bool, StoreError> {
    match row.try_get::<i64, _>(column)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(wrong(row, "deployments", column, &format!("{other} is neither 0 nor 1"))),
    }
}

/// The state, which must agree with the columns beside it.
fn state(row: &AnyRow, step: Option<Step>) -> Result<State, StoreError> {
    let name: String = row.try_get("state")?;
    let outcome = parsed_if_any(row, "outcome", json::<Outcome>)?;
    let outcome_name: Option<String> = row.try_get("outcome_name")?;
    if outcome.as_ref().map(Outcome::name) != outcome_name.as_deref() {
        let why = format!("\"{}\" is not the name of the outcome", outcome_name.unwrap_or_default().escape_default());
        return Err(wrong(row, "deployments", "outcome_name", &why));
    }
    match (name.as_str(), outcome) {
        ("queued", None) => Ok(State::Queued),
        ("running", None) => Ok(State::Running { step: step.ok_or_else(|| wrong(row, "deployments", "step", &"it runs, at no step"))? }),
        ("done", Some(outcome)) => Ok(State::Done { outcome }),
        ("done", None) => Err(wrong(row, "deployments", "outcome", &"it has ended, with no outcome")),
        ("queued" | "running", Some(_)) => Err(wrong(row, "deployments", "outcome", &"it has not ended, and has an outcome")),
        (other, _) => Err(wrong(row, "deployments", "state", &format!("\"{}\" is no state", other.escape_default()))),
    }
}

/// The images as one JSON list of references.
pub(super) fn images_text(images: &[ImageRef]) -> String {
    serde_json::Value::from(images.iter().map(ToString::to_string).collect::<Vec<_>>()).to_string()
}

/// A list of deployments, and what is wrong with the rows that do not read: one of them hides no other.
#[derive(Debug, Default)]
pub struct Listed {
    /// Those that read.
    pub deployments: Vec<Deployment>,
    /// The others.
    pub unreadable: Vec<StoreError>,
    /// The last one, whether it reads or not.
    pub last: Option<DeploymentId>,
}

/// Every row that reads, and the faults of those that do not.
pub(super) fn listed(rows: &[AnyRow]) -> Listed {
    let mut listed = Listed::default();
    for row in rows {
        match deployment(row) {
            Ok(read) => listed.deployments.push(read),
            Err(error) => listed.unreadable.push(error),
        }
    }
    listed.last = rows.last().and_then(|row| parsed(row, "deployments", "id", DeploymentId::parse).ok());
    listed
}

pub(super) fn deployment(row: &AnyRow) -> Result<Deployment, StoreError> {
    let table = "deployments";
    let text = |column: &str| row.try_get::<Option<String>, _>(column);
    let number = |column: &str| row.try_get::<Option<i64>, _>(column);
    let step = parsed_if_any(row, "step", Step::parse)?;
    let references: Vec<String> = parsed_if_any(row, "images", json)?.unwrap_or_default();
    let image = |text: &String| ImageRef::parse(text).map_err(|error| wrong(row, table, "images", &error));
    let order = Order {
        kind: parsed(row, table, "kind", OrderKind::parse)?,
        service: parsed(row, table, "service", ServiceName::parse)?,
        tag: parsed_if_any(row, "tag", Tag::parse)?,
        digest: parsed_if_any(row, "digest", Digest::parse)?,
        commit: text("commit_id")?,
        git_ref: text("git_ref")?,
        run_url: text("run_url")?,
        run_number: number("run_number")?,
        reason: text("reason")?,
        force: flag(row, "force")?,
        dry_run: flag(row, "dry_run")?,
        caller: parsed(row, table, "caller", Caller::parse)?,
    };
    Ok(Deployment {
        id: parsed(row, table, "id", DeploymentId::parse)?,
        order,
        state: state(row, step)?,
        step,
        images: references.iter().map(image).collect::<Result<_, _>>()?,
        verified: flag(row, "verified")?,
        barrier: flag(row, "barrier")?,
        pin_before: text("pin_before")?,
        ran_before: text("ran_before")?,
        resolved: text("resolved")?,
        baseline: parsed_if_any(row, "baseline", json)?,
        report: parsed_if_any(row, "report", json)?,
        undo_why: text("undo_why")?,
        cancel_by: parsed_if_any(row, "cancel_by", CancelledBy::parse)?,
        attempts: row.try_get("attempts")?,
        executor: text("executor")?,
        fence: row.try_get("fence")?,
        created_ms: row.try_get("created_ms")?,
        started_ms: number("started_ms")?,
        ended_ms: number("ended_ms")?,
    })
}
