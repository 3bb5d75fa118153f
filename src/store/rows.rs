//! Rows as values.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::Digest;
use crate::model::ImageRef;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Report;
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
    pub cancel_by: Option<String>,
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

fn value<T>(parsed: Result<T, impl std::fmt::Display>) -> Result<T, StoreError> {
    parsed.map_err(|error| StoreError::Value(error.to_string()))
}

/// Reads what `json_of` wrote; NULL is the default.
fn json<T: serde::de::DeserializeOwned>(text: Option<String>) -> Result<Option<T>, StoreError> {
    text.map(|text| value(serde_json::from_str(&text))).transpose()
}

/// The images as one JSON list of references.
pub(super) fn images_text(images: &[ImageRef]) -> String {
    serde_json::Value::from(images.iter().map(ToString::to_string).collect::<Vec<_>>()).to_string()
}

pub(super) fn deployment(row: &AnyRow) -> Result<Deployment, StoreError> {
    let text = |column: &str| row.try_get::<Option<String>, _>(column);
    let number = |column: &str| row.try_get::<Option<i64>, _>(column);
    let flag = |column: &str| number(column).map(|number| number == Some(1));
    let step = text("step")?.map(|step| value(Step::parse(&step))).transpose()?;
    let state = match row.try_get::<String, _>("state")?.as_str() {
        "queued" => State::Queued,
        "running" => State::Running { step: step.unwrap_or(Step::Guards) },
        _ => {
            State::Done { outcome: json(text("outcome")?)?.ok_or_else(|| StoreError::Value("an ended deployment without outcome".into()))? }
        }
    };
    let references: Vec<String> = json(text("images")?)?.unwrap_or_default();
    let order = Order {
        kind: OrderKind::parse(&row.try_get::<String, _>("kind")?),
        service: value(ServiceName::parse(&row.try_get::<String, _>("service")?))?,
        tag: text("tag")?.map(|tag| value(Tag::parse(&tag))).transpose()?,
        digest: text("digest")?.map(|digest| value(Digest::parse(&digest))).transpose()?,
        commit: text("commit_id")?,
        git_ref: text("git_ref")?,
        run_url: text("run_url")?,
        run_number: number("run_number")?,
        reason: text("reason")?,
        force: flag("force")?,
        dry_run: flag("dry_run")?,
        caller: value(Caller::parse(&row.try_get::<String, _>("caller")?))?,
    };
    Ok(Deployment {
        id: value(DeploymentId::parse(&row.try_get::<String, _>("id")?))?,
        order,
        state,
        step,
        images: references.iter().map(|text| value(ImageRef::parse(text))).collect::<Result<_, _>>()?,
        verified: flag("verified")?,
        barrier: flag("barrier")?,
        pin_before: text("pin_before")?,
        ran_before: text("ran_before")?,
        resolved: text("resolved")?,
        baseline: json(text("baseline")?)?,
        report: json(text("report")?)?,
        undo_why: text("undo_why")?,
        cancel_by: text("cancel_by")?,
        attempts: number("attempts")?.unwrap_or_default(),
        executor: text("executor")?,
        fence: number("fence")?.unwrap_or_default(),
        created_ms: number("created_ms")?.unwrap_or_default(),
        started_ms: number("started_ms")?,
        ended_ms: number("ended_ms")?,
    })
}
