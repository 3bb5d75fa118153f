//! Reads rows into values.

use smoke::Availability;
use smoke::Report;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::model::AgentName;
use crate::model::Approved;
use crate::model::Caller;
use crate::model::CancelledBy;
use crate::model::Cause;
use crate::model::DeploymentId;
use crate::model::Digest;
use crate::model::Guard;
use crate::model::ImageRef;
use crate::model::LaidFiles;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Part;
use crate::model::RolloutPlan;
use crate::model::ServiceName;
use crate::model::Stage;
use crate::model::State;
use crate::model::Tag;
use crate::model::Tree;
use crate::model::UserName;
use crate::model::WaitsFor;
use crate::store::StoreError;
use crate::store::columns::flag;
use crate::store::columns::json;
use crate::store::columns::parsed;
use crate::store::columns::parsed_if_any;
use crate::store::columns::wrong;
use crate::store::ordered::BY_TOKEN_OF_A_JOB;
use crate::store::ordered::BY_WEBHOOK_OF_A_FORGE;

/// A stored deployment, with the results of its run on the service's host.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// The order.
    pub order: Order,
    /// Its state.
    pub state: State,
    /// The last step that began.
    pub step: Option<Stage>,
    /// The exact images, once they are known.
    pub images: Vec<ImageRef>,
    /// Whether the release was verified from outside.
    pub verified: bool,
    /// Whether the release must not be rolled back past.
    pub barrier: bool,
    /// The content of the pinned file before the pin, as the engine gave it.
    pub pin_before: Option<String>,
    /// What was running before, for people.
    pub ran_before: Option<String>,
    /// The compose configuration as it was resolved for the pin, without secrets.
    pub resolved: Option<String>,
    /// The tree of the stack's files that belong to it; none: they come from no repository.
    pub files: Option<Tree>,
    /// The stack's files before they were replaced.
    pub files_before: Option<LaidFiles>,
    /// What the stack consisted of when the release was verified; empty: unknown.
    pub parts: Vec<Part>,
    /// The smoke report of the release that was running before anything was changed.
    pub baseline: Option<Report>,
    /// The last smoke report.
    pub report: Option<Report>,
    /// How available the page was during the deployment.
    pub away: Option<Availability>,
    /// Why it is being undone.
    pub undo_why: Option<String>,
    /// Why it is waiting, as a sentence, if somebody else is asked.
    pub waits_why: Option<String>,
    /// Since when it waits for what somebody was asked about (ms since 1970, UTC).
    pub waits_since_ms: Option<i64>,
    /// What was approved of it, and by whom; none: it needed no approval, or has not got it yet.
    pub approved: Option<Approved>,
    /// Who cancelled it.
    pub cancel_by: Option<CancelledBy>,
    /// Where its run is: an agent's name, or [`Deployment::HERE`]; none: it has none yet.
    pub host: Option<String>,
    /// The hosts that it goes over; none: it is carried out on one host, or has no run yet.
    pub plan: Option<RolloutPlan>,
    /// The number of its run; 0: it has none yet.
    pub run: i64,
    /// How often its run was begun.
    pub attempts: i64,
    /// Which executor has its run.
    pub executor: Option<String>,
    /// How often an executor has taken its run. Writes of earlier executors are refused.
    pub fence: i64,
    /// When it was accepted (ms since 1970, UTC).
    pub created_ms: i64,
    /// When its run began.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
}

/// Identifies who writes: a run of a deployment, and how often an executor has taken it. Writes of earlier executors are refused.
#[derive(Debug, Clone)]
pub struct Fence {
    /// The deployment.
    pub id: DeploymentId,
    /// The run.
    pub run: i64,
    /// How often an executor has taken it.
    pub number: i64,
}

impl Deployment {
    /// What stands for the host of the server itself.
    pub const HERE: &str = "local";

    /// Since when it waits for nothing but its turn, and for what is asked about it then: since it was approved, or else since it came
    /// (ms since 1970, UTC).
    #[must_use]
    pub fn ready_ms(&self) -> i64 {
        self.approved.as_ref().map_or(self.created_ms, |approved| approved.at_ms().max(self.created_ms))
    }

    /// The agents on whose hosts it was begun; empty: it was begun on this one, or nowhere yet.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentName> {
        let host = self.host.as_deref().filter(|host| *host != Self::HERE);
        let one = host.and_then(|host| AgentName::parse(host).ok());
        self.plan.as_ref().map_or_else(|| one.into_iter().collect(), |plan| plan.hosts.clone())
    }

    /// The fence for writes to its run as it is now.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { id: self.id.clone(), run: self.run, number: self.fence }
    }
}

/// Which deployments to list; newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this service.
    pub service: Option<ServiceName>,
    /// In this state (`waiting`, `running`, `done`) or with this outcome's name.
    pub state: Option<String>,
    /// Older than this one.
    pub before: Option<DeploymentId>,
    /// How many at most.
    pub limit: i64,
}

/// The state, which must be consistent with the other columns.
fn state(row: &AnyRow, step: Option<Stage>) -> Result<State, StoreError> {
    let name: String = row.try_get("state")?;
    let outcome = parsed_if_any(row, "deployments", "outcome", json::<Outcome>)?.map(|outcome| by_its_guard(row, outcome)).transpose()?;
    let outcome_name: Option<String> = row.try_get("outcome_name")?;
    if outcome.as_ref().map(Outcome::name) != outcome_name.as_deref() {
        let why = format!("\"{}\" is not the name of the outcome", outcome_name.unwrap_or_default().escape_default());
        return Err(wrong(row, "deployments", "outcome_name", &why));
    }
    let waits_for = parsed_if_any(row, "deployments", "waits_for", WaitsFor::parse)?;
    match (name.as_str(), outcome) {
        ("waiting", None) => Ok(State::Waiting {
            waits_for: waits_for.ok_or_else(|| wrong(row, "deployments", "waits_for", &"it is waiting, but for nothing"))?,
        }),
        ("running", None) => Ok(State::Running { step: step.ok_or_else(|| wrong(row, "runs", "step", &"it is running, but at no step"))? }),
        ("done", Some(outcome)) => Ok(State::Done { outcome }),
        ("done", None) => Err(wrong(row, "deployments", "outcome", &"it has ended, but has no outcome")),
        ("waiting" | "running", Some(_)) => Err(wrong(row, "deployments", "outcome", &"it has not ended, but has an outcome")),
        (other, _) => Err(wrong(row, "deployments", "state", &format!("\"{}\" is not a state", other.escape_default()))),
    }
}

/// The stored word for the guard that checks the commit at its forge.
const BY_CHECKS: &str = "checks";

/// An outcome in its stored form. If an earlier version does not know its guard, the text names a guard that every version can read, and
/// another column names the real one.
pub(super) struct StoredOutcome {
    pub(super) text: String,
    /// The guard of the forge's checks, which the version that introduced it reads from this column.
    pub(super) guard: Option<&'static str>,
    /// A guard that was introduced later.
    pub(super) refused_by: Option<&'static str>,
}

impl StoredOutcome {
    pub(super) fn of(outcome: &Outcome) -> Self {
        let by_age = |why: &str| outcome_json(&Outcome::Refused { guard: Guard::Age, why: why.to_owned() });
        match outcome {
            Outcome::Refused { guard: Guard::Checks, why } => Self { text: by_age(why), guard: Some(BY_CHECKS), refused_by: None },
            Outcome::Refused { guard: guard @ (Guard::Approval | Guard::Frozen | Guard::Policy), why } => {
                Self { text: by_age(why), guard: None, refused_by: Some(guard.as_str()) }
            }
            other => Self { text: outcome_json(other), guard: None, refused_by: None },
        }
    }
}

fn outcome_json(outcome: &Outcome) -> String {
    serde_json::to_string(outcome).unwrap_or_default()
}

/// See [`StoredOutcome`].
fn by_its_guard(row: &AnyRow, outcome: Outcome) -> Result<Outcome, StoreError> {
    let named = parsed_if_any(row, "deployments", "refused_by", |word| serde_json::from_value::<Guard>(word.into()))?;
    let no_guard = |column: &str, word: &str| {
        Err(wrong(row, "deployments", column, &format!("\"{}\" is no guard of this outcome", word.escape_default())))
    };
    match (outcome, row.try_get::<Option<String>, _>("guard")?.as_deref(), named) {
        (outcome, None, None) => Ok(outcome),
        (Outcome::Refused { why, .. }, Some(BY_CHECKS), None) => Ok(Outcome::Refused { guard: Guard::Checks, why }),
        (Outcome::Refused { why, .. }, None, Some(guard)) => Ok(Outcome::Refused { guard, why }),
        (_, Some(word), _) => no_guard("guard", word),
        (_, None, Some(guard)) => no_guard("refused_by", guard.as_str()),
    }
}

/// The images as a JSON list of references.
pub(super) fn images_text(images: &[ImageRef]) -> String {
    serde_json::Value::from(images.iter().map(ToString::to_string).collect::<Vec<_>>()).to_string()
}

/// A list of deployments, and the errors of rows that cannot be read: such a row hides no other.
#[derive(Debug, Default)]
pub struct Listed {
    /// The deployments that could be read.
    pub deployments: Vec<Deployment>,
    /// The errors of the other rows.
    pub unreadable: Vec<StoreError>,
    /// The id of the last row, even if the row cannot be read.
    pub last: Option<DeploymentId>,
}

/// Reads all rows.
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

/// Selects deployments, each with its run on the service's host; `$which` is the rest of the statement. `shown` leaves out long columns
/// that only the run needs, and `releases` also leaves out the last smoke report.
macro_rules! select_deployments {
    (releases $which:literal) => {
        select_deployments!(@ "NULL AS pin_before, NULL AS files_before, r.ran_before, NULL AS resolved, NULL AS baseline, NULL AS report, ", $which)
    };
    (shown $which:literal) => {
        select_deployments!(@ "NULL AS pin_before, NULL AS files_before, r.ran_before, NULL AS resolved, NULL AS baseline, r.report, ", $which)
    };
    ($which:literal) => {
        select_deployments!(@ "r.pin_before, r.files_before, r.ran_before, r.resolved, r.baseline, r.report, ", $which)
    };
    (@ $long:literal, $which:literal) => {
        concat!(
            "SELECT d.id, d.service, d.kind, d.state, d.waits_for, d.outcome, d.outcome_name, d.tag, d.digest, d.commit_id, d.git_ref, \
             d.run_url, d.run_number, d.actor, d.reason, d.cause, d.force, d.dry_run, d.caller, d.proof, d.watch, d.by_user, d.guest, d.images AS ordered_images, d.cancel_by, \
             d.guard, d.refused_by, d.waits_why, d.waits_since_ms, d.approved, d.created_ms, \
             d.started_ms, d.ended_ms, r.run, r.step, r.images, r.verified, r.barrier, ",
            $long,
            "r.parts, r.files, r.away, r.undo_why, r.host, r.plan, r.attempts, r.executor, r.fence, r.lease_ms \
             FROM deployments AS d LEFT JOIN runs AS r ON r.deployment = d.id AND r.run = 1 ",
            $which
        )
    };
}
pub(super) use select_deployments;

/// The images that the run has resolved, or else those that were ordered.
fn images(row: &AnyRow) -> Result<Vec<ImageRef>, StoreError> {
    let of_run: Option<String> = row.try_get("images")?;
    let (table, text) = match of_run {
        Some(text) => ("runs", Some(text)),
        None => ("deployments", row.try_get("ordered_images")?),
    };
    let Some(text) = text else { return Ok(Vec::new()) };
    let wrong = |error: &dyn std::fmt::Display| wrong(row, table, "images", error);
    let references: Vec<String> = json(&text).map_err(|error| wrong(&error))?;
    references.iter().map(|text| ImageRef::parse(text).map_err(|error| wrong(&error))).collect()
}

/// As [`bind_order`](crate::store::ordered::bind_order) has written it.
fn caller(row: &AnyRow) -> Result<Caller, StoreError> {
    if let Some(name) = parsed_if_any(row, "deployments", "by_user", UserName::parse)? {
        return Ok(Caller::User(name));
    }
    if let Some(watched) = parsed_if_any(row, "deployments", "watch", DeploymentId::parse)? {
        return Ok(Caller::Watch(watched));
    }
    if let Some(guest) = parsed_if_any(row, "deployments", "guest", Caller::parse)? {
        return Ok(guest);
    }
    let caller = parsed(row, "deployments", "caller", Caller::parse)?;
    match (caller, row.try_get::<Option<String>, _>("proof")?.as_deref()) {
        (Caller::Key(policy), Some(BY_TOKEN_OF_A_JOB)) => Ok(Caller::Oidc(policy)),
        (Caller::Key(forge), Some(BY_WEBHOOK_OF_A_FORGE)) => Ok(Caller::Forge(forge)),
        (caller, None) => Ok(caller),
        (_, Some(other)) => Err(wrong(row, "deployments", "proof", &format!("\"{}\" is no proof of this caller", other.escape_default()))),
    }
}

fn order(row: &AnyRow) -> Result<Order, StoreError> {
    let table = "deployments";
    let text = |column: &str| row.try_get::<Option<String>, _>(column);
    let cause = parsed_if_any(row, table, "cause", Cause::parse)?;
    let kind = parsed(row, table, "kind", OrderKind::parse)?;
    Ok(Order {
        // See `ordered::kind_text`.
        kind: if matches!(cause, Some(Cause::Repair(_))) { OrderKind::Repair } else { kind },
        service: parsed(row, table, "service", ServiceName::parse)?,
        tag: parsed_if_any(row, table, "tag", Tag::parse)?,
        digest: parsed_if_any(row, table, "digest", Digest::parse)?,
        commit: text("commit_id")?,
        git_ref: text("git_ref")?,
        run_url: text("run_url")?,
        run_number: row.try_get("run_number")?,
        actor: text("actor")?,
        reason: text("reason")?,
        cause,
        force: flag(row, table, "force")?,
        dry_run: flag(row, table, "dry_run")?,
        caller: caller(row)?,
    })
}

/// A row of [`select_deployments`].
pub(super) fn deployment(row: &AnyRow) -> Result<Deployment, StoreError> {
    let text = |column: &str| row.try_get::<Option<String>, _>(column);
    let number = |column: &str| row.try_get::<Option<i64>, _>(column);
    let step = parsed_if_any(row, "runs", "step", Stage::parse)?;
    Ok(Deployment {
        id: parsed(row, "deployments", "id", DeploymentId::parse)?,
        order: order(row)?,
        state: state(row, step)?,
        step,
        images: images(row)?,
        verified: flag(row, "runs", "verified")?,
        barrier: flag(row, "runs", "barrier")?,
        pin_before: text("pin_before")?,
        ran_before: text("ran_before")?,
        resolved: text("resolved")?,
        files: parsed_if_any(row, "runs", "files", Tree::parse)?,
        files_before: parsed_if_any(row, "runs", "files_before", json)?,
        parts: parsed_if_any(row, "runs", "parts", json)?.unwrap_or_default(),
        baseline: parsed_if_any(row, "runs", "baseline", json)?,
        report: parsed_if_any(row, "runs", "report", json)?,
        away: parsed_if_any(row, "runs", "away", json)?,
        undo_why: text("undo_why")?,
        waits_why: text("waits_why")?,
        waits_since_ms: number("waits_since_ms")?,
        approved: parsed_if_any(row, "deployments", "approved", json)?,
        cancel_by: parsed_if_any(row, "deployments", "cancel_by", CancelledBy::parse)?,
        host: text("host")?,
        plan: parsed_if_any(row, "runs", "plan", json)?,
        run: number("run")?.unwrap_or(0),
        attempts: number("attempts")?.unwrap_or(0),
        executor: text("executor")?,
        fence: number("fence")?.unwrap_or(0),
        created_ms: row.try_get("created_ms")?,
        started_ms: number("started_ms")?,
        ended_ms: number("ended_ms")?,
    })
}
