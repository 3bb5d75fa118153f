//! Approvals: what codes were made for an order, and what came of those that were entered. A code itself is never here.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::ApprovedBy;
use crate::model::DeploymentId;
use crate::model::ImageRef;
use crate::model::KeyId;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::gate::Statement;
use crate::store::gate::Tx;
use crate::store::rows;

/// What is known of the approval of an order.
#[derive(Debug, Clone, Default)]
pub struct Approvals {
    /// The exact images that the codes are for; empty: none was made yet.
    pub images: Vec<ImageRef>,
    /// How many wrong codes were entered.
    pub wrong: i64,
    /// The code of each approver.
    pub codes: Vec<KeptCode>,
}

/// What is kept of a code.
#[derive(Debug, Clone)]
pub struct KeptCode {
    /// Who was to get it.
    pub approver: KeyId,
    /// What it is known by.
    pub mark: String,
    /// Which life of a server made it.
    pub made_by: String,
    /// When it was sent; none: not yet, as far as is known.
    pub sent_ms: Option<i64>,
    /// Who entered it, and when; none: nobody yet.
    pub approved: Option<ApprovedBy>,
}

impl Approvals {
    /// Who has approved so far, in this order.
    #[must_use]
    pub fn given(&self) -> Vec<&ApprovedBy> {
        let mut given: Vec<&ApprovedBy> = self.codes.iter().filter_map(|code| code.approved.as_ref()).collect();
        given.sort_by_key(|one| one.at_ms);
        given
    }

    /// The code of `approver`.
    #[must_use]
    pub fn code_of(&self, approver: &KeyId) -> Option<&KeptCode> {
        self.codes.iter().find(|code| code.approver == *approver)
    }

    fn of_rows(order: Option<&AnyRow>, codes: &[AnyRow]) -> Result<Self, StoreError> {
        let Some(order) = order else { return Ok(Self::default()) };
        let images: Vec<String> = columns::parsed(order, "approvals", "images", |text| serde_json::from_str::<Vec<String>>(text))?;
        let image = |text: &String| ImageRef::parse(text).map_err(|error| columns::wrong(order, "approvals", "images", &error));
        Ok(Self {
            images: images.iter().map(image).collect::<Result<_, _>>()?,
            wrong: order.try_get("wrong")?,
            codes: codes.iter().map(KeptCode::of_row).collect::<Result<_, _>>()?,
        })
    }
}

impl KeptCode {
    fn of_row(row: &AnyRow) -> Result<Self, StoreError> {
        let approver = columns::parsed(row, "approval_codes", "approver", KeyId::parse)?;
        let via: Option<String> = row.try_get("approved_via")?;
        let at_ms: Option<i64> = row.try_get("approved_ms")?;
        let approved = via.zip(at_ms).map(|(via, at_ms)| ApprovedBy { who: approver.clone(), via, at_ms });
        Ok(Self { approver, mark: row.try_get("mark")?, made_by: row.try_get("made_by")?, sent_ms: row.try_get("sent_ms")?, approved })
    }
}

const OF_ORDER: &str = "SELECT deployment, images, wrong FROM approvals WHERE deployment = $1";
const CODES: &str = "SELECT deployment, approver, mark, made_by, sent_ms, approved_ms, approved_via FROM approval_codes
                     WHERE deployment = $1 ORDER BY approver";

/// What is known of the approval of `id`, within a transaction.
pub(super) async fn of(tx: &mut Tx, id: &str) -> Result<Approvals, StoreError> {
    let order = tx.fetch_optional(sqlx::query(OF_ORDER).bind(id)).await?;
    let codes = tx.fetch_all(sqlx::query(CODES).bind(id)).await?;
    Approvals::of_rows(order.as_ref(), &codes)
}

impl Store {
    /// What is known of the approval of `id`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn approvals(&self, id: &DeploymentId) -> Result<Approvals, StoreError> {
        let order = self.gate.fetch_optional(sqlx::query(OF_ORDER).bind(id.as_str())).await?;
        let codes = self.gate.fetch_all(sqlx::query(CODES).bind(id.as_str())).await?;
        Approvals::of_rows(order.as_ref(), &codes)
    }

    /// Keeps the marks of new codes for `images`, each with its approver: from now on the ones before are wrong. What was approved
    /// already stays. Returns whether the order still waits for its approval, and `asker` asks for it; otherwise nothing is kept.
    ///
    /// # Errors
    /// When the database does not answer; then nothing is kept.
    pub async fn keep_codes(
        &self,
        id: &DeploymentId,
        asker: &str,
        images: &[ImageRef],
        made_by: &str,
        marks: &[(&KeyId, String)],
    ) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        let waits = tx.seizing("SELECT id FROM deployments WHERE id = $1 AND state = 'waiting' AND waits_for = 'approval' AND asker = $2");
        if tx.fetch_optional(waits.bind(id.as_str()).bind(asker)).await?.is_none() {
            return Ok(false);
        }
        let put = sqlx::query(
            "INSERT INTO approvals (deployment, images, wrong) VALUES ($1, $2, 0) ON CONFLICT (deployment) DO UPDATE SET images = excluded.images",
        );
        tx.execute(put.bind(id.as_str()).bind(rows::images_text(images))).await?;
        for (approver, mark) in marks {
            let put = sqlx::query(
                "INSERT INTO approval_codes (deployment, approver, mark, made_by) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (deployment, approver) DO UPDATE SET mark = excluded.mark, made_by = excluded.made_by, sent_ms = NULL
                   WHERE approval_codes.approved_ms IS NULL",
            );
            tx.execute(put.bind(id.as_str()).bind(approver.as_str()).bind(mark).bind(made_by)).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Records that the code of `mark` was sent to its approver.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn code_sent(&self, id: &DeploymentId, approver: &KeyId, mark: &str) -> Result<(), StoreError> {
        let sent = sqlx::query("UPDATE approval_codes SET sent_ms = $4 WHERE deployment = $1 AND approver = $2 AND mark = $3");
        self.gate.write(sent.bind(id.as_str()).bind(approver.as_str()).bind(mark).bind(clock::now_ms())).await?;
        Ok(())
    }

    /// Every order that waits for an approval is asked about as soon as anybody looks: the codes of an earlier life are made anew.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ask_for_approvals_now(&self) -> Result<(), StoreError> {
        let now = sqlx::query("UPDATE deployments SET ask_next_ms = 0 WHERE state = 'waiting' AND waits_for = 'approval'");
        self.gate.write(now).await?;
        Ok(())
    }

    /// Since when each order that waits for an approval does (ms since 1970, UTC).
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn waiting_for_approval(&self) -> Result<Vec<i64>, StoreError> {
        let waiting = sqlx::query(
            "SELECT d.service, COALESCE(d.waits_since_ms, d.created_ms) AS since_ms FROM deployments AS d
             WHERE d.state = 'waiting' AND d.waits_for = 'approval' ORDER BY d.service",
        );
        self.gate.fetch_all(waiting).await?.iter().map(|row| Ok(row.try_get("since_ms")?)).collect()
    }
}

/// The number of wrong codes of `id` is `wrong` from now on.
pub(super) fn count_wrong(id: &str, wrong: i64) -> Statement<'_> {
    sqlx::query("UPDATE approvals SET wrong = $2 WHERE deployment = $1").bind(id).bind(wrong)
}

/// The code of `by` was entered.
pub(super) fn entered<'q>(id: &'q str, by: &'q ApprovedBy) -> Statement<'q> {
    let enter = sqlx::query("UPDATE approval_codes SET approved_ms = $3, approved_via = $4 WHERE deployment = $1 AND approver = $2");
    enter.bind(id).bind(by.who.as_str()).bind(by.at_ms).bind(&by.via)
}
