//! An approval is given: a code is entered, into the form or by a call.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use text::Secret;

use crate::api;
use crate::clock;
use crate::config::Approval;
use crate::config::Config;
use crate::model::Approved;
use crate::model::ApprovedBy;
use crate::model::Bound;
use crate::model::Code;
use crate::model::DeploymentId;
use crate::model::EventKind;
use crate::model::ImageRef;
use crate::model::KeyId;
use crate::model::State;
use crate::model::Via;
use crate::model::WaitsFor;
use crate::model::is_form_part;
use crate::orders::Deployer;
use crate::orders::Unapproved;
use crate::orders::codes;
use crate::orders::state::view;
use crate::store::ApprovalTerms;
use crate::store::Deployment;
use crate::store::Entered;
use crate::store::KeptCode;
use crate::store::StoreError;
use crate::store::waits_for_codes;

/// So much may the clocks of two servers differ.
pub(super) const CLOCKS_APART_MS: i64 = 60_000;

/// The form in which an approver enters a code.
#[derive(Debug)]
pub struct Form {
    /// The order.
    pub deployment: Deployment,
    /// Whose form it is.
    pub approver: KeyId,
    /// What is approved.
    pub images: Vec<ImageRef>,
    /// Who has approved so far.
    pub given: Vec<ApprovedBy>,
    /// How many people must approve.
    pub needed: usize,
    /// When its time is over (ms since 1970, UTC).
    pub until_ms: i64,
    /// Why there is nothing to enter; none: there is.
    pub closed: Option<String>,
}

impl Deployer {
    /// What marks of codes and addresses of forms are made with: every server of a database has the same.
    pub(super) async fn approval_key(&self) -> Result<&[u8], StoreError> {
        let random = || STANDARD.encode(clock::random_bytes::<32>());
        let made = || async { self.store.named_value("approval_key", random).await.map(Secret::new) };
        self.approval_key.get_or_try_init(made).await.map(|key| key.reveal().as_bytes())
    }

    /// The form that `address`, the last part of its path, leads to; none: nobody was sent that address, or it leads nowhere any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn form(&self, address: &str) -> Result<Option<Form>, StoreError> {
        let Some((id, part)) = address.split_once('.') else { return Ok(None) };
        let Ok(id) = DeploymentId::parse(id) else { return Ok(None) };
        let key = self.approval_key().await?;
        let config = self.config.now();
        // Before anything is looked up: the answer must not reveal what exists. All are compared, so that timing reveals nothing.
        let is_whose = |found: Option<KeyId>, person: &KeyId| {
            if is_form_part(key, &id, person, part) { found.or(Some(person.clone())) } else { found }
        };
        let Some(approver) = config.people.ids().fold(None, is_whose) else { return Ok(None) };
        let Some(deployment) = self.store.get(&id).await? else { return Ok(None) };
        let approval = config.service(&deployment.order.service).and_then(|service| service.approval.as_ref());
        let Some(approval) = approval.filter(|approval| approval.approvers(&config.people).any(|person| person.id == approver)) else {
            return Ok(None);
        };
        let known = self.store.approvals(&id).await?;
        let closed = waits_for_codes(&deployment, &known).err().map(|why| why.to_string());
        Ok(Some(Form {
            given: known.given().into_iter().cloned().collect(),
            needed: approval.needed,
            until_ms: until_ms(&deployment, approval),
            images: known.images,
            closed,
            approver,
            deployment,
        }))
    }

    /// The deployment as the API shows it; while it waits for an approval, with what is to be approved, by whom, and until when.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn view(&self, deployment: &Deployment) -> Result<api::Deployment, StoreError> {
        let shown = view(deployment);
        let waits_why = self.waits_now(deployment).or(shown.waits_why);
        let shown = api::Deployment { hosts: self.hosts_of(deployment).await?, waits_why, ..shown };
        let config = self.config.now();
        let approval = config.service(&deployment.order.service).and_then(|service| service.approval.as_ref());
        let is_unapproved = matches!(deployment.state, State::Waiting { waits_for: WaitsFor::Approval });
        let Some(approval) = approval.filter(|_| is_unapproved) else { return Ok(shown) };
        let known = self.store.approvals(&deployment.id).await?;
        let approval = api::Approval {
            images: known.images.iter().map(ToString::to_string).collect(),
            by: known.given().into_iter().cloned().collect(),
            needed: Some(approval.needed),
            approvers: approval.able(&deployment.order, &config.people).iter().map(|person| person.id.to_string()).collect(),
            until_ms: Some(until_ms(deployment, approval)),
        };
        Ok(api::Deployment { approval: Some(approval), ..shown })
    }

    /// Enters a code for `id`. Returns what came of it, as one sentence; the approval is on disk then.
    ///
    /// # Errors
    /// [`Unapproved`]; then the order is no nearer to being carried out.
    pub async fn approve(&self, id: &DeploymentId, code: &Code, via: &Via) -> Result<String, Unapproved> {
        let key = self.approval_key().await?;
        let config = self.config.now();
        let is_right =
            |kept: &KeptCode, images: &[ImageRef]| code.has_mark(key, Bound { order: id, images, approver: &kept.approver }, &kept.mark);
        let terms = |order: &Deployment, now_ms: i64| terms(&config, order, via, now_ms);
        let event = |order: &Deployment, approved: &Approved| {
            codes::event(EventKind::ApprovalGiven, order, format!("{} approved it.", approved.names()), None)
        };
        let entered = Entered { id, via, is_right: &is_right, terms: &terms, event: &event };
        let given = self.store.approve(&entered).await.inspect_err(|why| self.was_not_approved(id, why))?;
        tracing::info!(deployment = %id, approver = %given.by.who, via = %given.by.via, left = given.left, "order approved");
        if let Some(cancel) = given.preempted.as_ref().and_then(|running| self.cancel_of(running)) {
            cancel.cancel();
        }
        self.hub.tell(id);
        self.results.wake();
        self.wake.notify_one();
        Ok(match given.left {
            0 => format!("{} has approved {id}; it is carried out when its turn comes.", given.by.who),
            1 => format!("{} has approved {id}; one more person must approve it.", given.by.who),
            left => format!("{} has approved {id}; {left} more people must approve it.", given.by.who),
        })
    }

    fn was_not_approved(&self, id: &DeploymentId, why: &Unapproved) {
        tracing::warn!(deployment = %id, %why, "an approval was not taken");
        if let Unapproved::Ended { service, outcome } = why {
            self.metrics.ended(service, outcome, 0);
            self.results.wake();
        }
        self.hub.tell(id);
    }
}

/// When the time for it is over (ms since 1970, UTC).
fn until_ms(deployment: &Deployment, approval: &Approval) -> i64 {
    deployment.waits_since_ms.unwrap_or(deployment.created_ms) + approval.expires.as_millis() as i64
}

/// What an approval of `order` is bound by, for who comes by this way.
fn terms(config: &Config, order: &Deployment, via: &Via, now_ms: i64) -> Result<ApprovalTerms, Unapproved> {
    let id = &order.id;
    let people = &config.people;
    let service = config.service(&order.order.service);
    let Some((service, approval)) = service.and_then(|service| Some((service, service.approval.as_ref()?))) else {
        return Err(Unapproved::NotWaiting(format!("The configuration no longer requires an approval, so {id} continues by itself.")));
    };
    let since_ms = order.waits_since_ms.unwrap_or(order.created_ms);
    if now_ms + CLOCKS_APART_MS < since_ms {
        let why = "The clock of this server is behind the time at which the order came, so nobody can say whether the code is still good; \
                   set the clock, and try again later.";
        return Err(Unapproved::NotNow(why.to_owned()));
    }
    if now_ms >= until_ms(order, approval) {
        return Err(Unapproved::NotWaiting(format!("The time to approve {id} is over; order it again.")));
    }
    let able = approval.able(&order.order, people);
    let who = match via {
        Via::Form(person) => people.get(person),
        Via::Call(caller) => people.calling(caller),
    };
    let Some(who) = who else {
        let why = "is nobody who may approve it: the form in the message takes the code from anybody who has both, and a caller must be \
                   among the keys or uids of a [[person]]";
        return Err(Unapproved::NotYours(format!("{via} {why}.")));
    };
    if people.is_behind(who, &order.order) {
        return Err(Unapproved::NotYours(format!("{} ordered {id}, and nobody approves an order of their own.", who.id)));
    }
    if !able.contains(&who) {
        return Err(Unapproved::NotYours(format!("{} is not among the approvers of {}.", who.id, service.name)));
    }
    Ok(ApprovalTerms {
        able: able.iter().map(|person| person.id.clone()).collect(),
        whose: vec![who.id.clone()],
        needed: approval.needed,
        hold_ms: service.hold.map(|hold| hold.as_millis() as i64),
    })
}
