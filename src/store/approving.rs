//! A code is entered: within one transaction it is compared, counted if it is wrong, and else recorded, with the audit trail.

use crate::clock;
use crate::model::Approved;
use crate::model::ApprovedBy;
use crate::model::CancelledBy;
use crate::model::DeploymentId;
use crate::model::Event;
use crate::model::Guard;
use crate::model::ImageRef;
use crate::model::KeyId;
use crate::model::MOST_WRONG_CODES;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::Via;
use crate::model::WaitsFor;
use crate::store::Approvals;
use crate::store::Deployment;
use crate::store::KeptCode;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::approvals;
use crate::store::asking;
use crate::store::audit::Entry;
use crate::store::columns;
use crate::store::events;
use crate::store::gate::Tx;
use crate::store::holds;
use crate::store::orders;
use crate::store::rows;
use crate::store::rows::select_deployments;

/// Somebody enters a code.
pub struct Entered<'a> {
    /// For this order.
    pub id: &'a DeploymentId,
    /// By which way.
    pub via: &'a Via,
    /// Whether the code is the one behind a mark, for these images.
    pub is_right: &'a (dyn Fn(&KeptCode, &[ImageRef]) -> bool + Sync),
    /// What decides over it, as far as the order and what is known of it say: whose codes are taken here.
    pub terms: &'a (dyn Fn(&Deployment, i64) -> Result<ApprovalTerms, Unapproved> + Sync),
    /// What people hear of it once it is approved; recorded with the approval, or not at all.
    pub event: &'a (dyn Fn(&Deployment, &Approved) -> Event + Sync),
}

/// What an approval is bound by.
#[derive(Debug, Clone)]
pub struct ApprovalTerms {
    /// Whose approval counts.
    pub able: Vec<KeyId>,
    /// Whose codes may be entered here.
    pub whose: Vec<KeyId>,
    /// How many approvals are needed.
    pub needed: usize,
    /// How long a rollback that is approved holds the service, ms; none: until a person ends it.
    pub hold_ms: Option<i64>,
}

/// What came of a code that was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Whose it was.
    pub by: ApprovedBy,
    /// How many approvals are still needed.
    pub left: usize,
    /// The running deployment that the approved rollback stops.
    pub preempted: Option<DeploymentId>,
}

/// Why a code approves nothing.
#[derive(Debug, thiserror::Error)]
pub enum Unapproved {
    /// The order is not there.
    #[error("There is no such deployment.")]
    NoOrder,
    /// The order does not wait for an approval.
    #[error("{0}")]
    NotWaiting(String),
    /// This caller may not approve this order.
    #[error("{0}")]
    NotYours(String),
    /// Nobody can approve for now.
    #[error("{0}")]
    NotNow(String),
    /// The code is not right.
    #[error("The code is not right; {left} of {MOST_WRONG_CODES} tries are left.")]
    Wrong {
        /// How many more may be entered.
        left: i64,
    },
    /// The code is not right, and was the last try: the order is refused.
    #[error("Nobody can approve this order any more: {outcome}")]
    Ended {
        /// The service that it is for.
        service: ServiceName,
        /// How it ended.
        outcome: Outcome,
    },
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for Unapproved {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(StoreError::Query(error))
    }
}

impl Store {
    /// Enters a code. When this returns well, the approval is on disk, and the order waits for its turn if no further one is needed.
    ///
    /// # Errors
    /// [`Unapproved`]; then the order is no nearer to being carried out.
    pub async fn approve(&self, entered: &Entered<'_>) -> Result<Given, Unapproved> {
        let mut tx = self.gate.begin().await?;
        tx.alone("queue").await?;
        let order = sqlx::query(select_deployments!("WHERE d.id = $1"));
        let row = tx.fetch_optional(order.bind(entered.id.as_str())).await?.ok_or(Unapproved::NoOrder)?;
        let order = rows::deployment(&row)?;
        let known = approvals::of(&mut tx, entered.id.as_str()).await?;
        waits_for_codes(&order, &known)?;
        let now_ms = clock::now_ms();
        let terms = (entered.terms)(&order, now_ms)?;
        // Every code is compared, whatever the first results are, so that timing reveals nothing.
        let whose = known.codes.iter().filter(|code| terms.whose.contains(&code.approver));
        let is_right = |code: &KeptCode| (entered.is_right)(code, &known.images);
        let right = whose.fold(None, |found, code| if is_right(code) { found.or(Some(code)) } else { found });
        let Some(right) = right else { return self.wrong(tx, entered, &order, known.wrong + 1).await };
        if right.approved.is_some() {
            return Err(Unapproved::NotWaiting(format!("{} has approved this order already; its code is used up.", right.approver)));
        }
        let by = ApprovedBy { who: right.approver.clone(), via: entered.via.to_string(), at_ms: now_ms };
        tx.execute(approvals::entered(entered.id.as_str(), &by)).await?;
        let mut given: Vec<ApprovedBy> = known.given().into_iter().filter(|one| terms.able.contains(&one.who)).cloned().collect();
        given.push(by.clone());
        let approved = Approved { images: known.images.iter().map(ToString::to_string).collect(), by: given };
        let left = terms.needed.saturating_sub(approved.by.len());
        asking::say(&mut tx, entered.id, &approval_sentence(&by, left, &known.images)).await?;
        let mut preempted = None;
        if left == 0 {
            preempted = release(&mut tx, &order, &approved, &terms).await?;
            events::happen(&mut tx, &(entered.event)(&order, &approved)).await?;
        }
        let detail = format!("{} of {}", approved.images.join(", "), entered.id);
        let entry = Entry { caller: actor(&by), action: "approve", target: order.order.service.to_string(), detail };
        self.committed(tx, vec![entry]).await?;
        self.has_news();
        Ok(Given { by, left, preempted })
    }

    /// A wrong code is counted, and the last one ends the order.
    async fn wrong(&self, mut tx: Tx, entered: &Entered<'_>, order: &Deployment, wrong: i64) -> Result<Given, Unapproved> {
        tx.execute(approvals::count_wrong(entered.id.as_str(), wrong)).await?;
        let detail = format!("wrong code {wrong} of {MOST_WRONG_CODES} for {}", entered.id);
        let entry = Entry { caller: entered.via.to_string(), action: "approve", target: order.order.service.to_string(), detail };
        let ended = (wrong >= MOST_WRONG_CODES).then(|| Outcome::Refused {
            guard: Guard::Approval,
            why: format!("{MOST_WRONG_CODES} wrong codes were entered, so nobody can approve it any more; order it again."),
        });
        if let Some(outcome) = &ended {
            orders::end_waiting(&mut tx, entered.id.as_str(), outcome).await?;
        } else {
            let said = format!("a wrong code was entered ({}); {wrong} of {MOST_WRONG_CODES}", entered.via);
            asking::say(&mut tx, entered.id, &said).await?;
        }
        self.committed(tx, vec![entry]).await?;
        let service = order.order.service.clone();
        Err(ended.map_or(Unapproved::Wrong { left: MOST_WRONG_CODES - wrong }, |outcome| Unapproved::Ended { service, outcome }))
    }
}

/// Whether the order waits for codes that were made.
///
/// # Errors
/// Why not.
pub fn waits_for_codes(order: &Deployment, known: &Approvals) -> Result<(), Unapproved> {
    let no = |why: String| Err(Unapproved::NotWaiting(why));
    match (&order.state, &order.approved) {
        (State::Waiting { waits_for: WaitsFor::Approval }, _) if known.images.is_empty() => {
            Err(Unapproved::NotNow("No code was made for this order yet; wait for the message with yours, or try again later.".to_owned()))
        }
        (State::Waiting { waits_for: WaitsFor::Approval }, _) => Ok(()),
        (State::Done { outcome }, _) => no(format!("Deployment {} has ended, so there is nothing to approve: {outcome}", order.id)),
        (_, Some(approved)) => no(format!("Deployment {} is approved already, by {}.", order.id, approved.names())),
        (_, None) => no(format!("Deployment {} does not wait for an approval.", order.id)),
    }
}

/// The order is approved: it waits for its turn. A rollback takes its service only now.
async fn release(tx: &mut Tx, order: &Deployment, approved: &Approved, terms: &ApprovalTerms) -> Result<Option<DeploymentId>, StoreError> {
    let text = serde_json::to_string(approved).unwrap_or_default();
    let release = sqlx::query(
        "UPDATE deployments SET waits_for = 'turn', approved = $2, waits_why = NULL, waits_since_ms = NULL, asker = NULL, granted_ms = NULL
         WHERE id = $1 AND state = 'waiting' AND waits_for = 'approval'",
    );
    tx.execute(release.bind(order.id.as_str()).bind(text)).await?;
    if order.order.kind == OrderKind::Rollback { take_over(tx, &order.id, &order.order.service, terms.hold_ms).await } else { Ok(None) }
}

/// From now on the rollback `id` holds its service, and what runs for it is told to stop.
async fn take_over(
    tx: &mut Tx,
    id: &DeploymentId,
    service: &ServiceName,
    hold_ms: Option<i64>,
) -> Result<Option<DeploymentId>, StoreError> {
    let now_ms = clock::now_ms();
    holds::take(tx, service.as_str(), id.as_str(), now_ms, hold_ms.map(|ms| now_ms + ms)).await?;
    let running = sqlx::query("SELECT id, service FROM deployments WHERE service = $1 AND state = 'running'");
    let Some(row) = tx.fetch_optional(running.bind(service.as_str())).await? else { return Ok(None) };
    let running = columns::parsed(&row, "deployments", "id", DeploymentId::parse)?;
    let stop = sqlx::query("UPDATE deployments SET cancel_by = COALESCE(cancel_by, $2) WHERE id = $1");
    tx.execute(stop.bind(running.as_str()).bind(CancelledBy::Rollback(id.clone()).to_string())).await?;
    Ok(Some(running))
}

fn approval_sentence(by: &ApprovedBy, left: usize, images: &[ImageRef]) -> String {
    let images: Vec<String> = images.iter().map(ImageRef::named).collect();
    let then = if left == 0 { "it waits for its turn now" } else { "one more approval is needed" };
    format!("{} approved {} ({}); {then}", by.who, images.join(", "), by.via)
}

/// Who approved, and how the code came.
fn actor(by: &ApprovedBy) -> String {
    format!("person:{} by {}", by.who, by.via)
}
