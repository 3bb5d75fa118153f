//! Codes: each approver is sent one of their own, directly, as soon as it is known what is to be approved. A code lives in the message and
//! in memory until it was sent; what was sent by an earlier life of this server is made anew.

use std::time::Duration;

use futures_util::future::join_all;
use process::Cancel;
use serde_json::json;
use url::Url;

use crate::clock;
use crate::clock::Backoff;
use crate::config::Config;
use crate::config::Person;
use crate::model::Bound;
use crate::model::Code;
use crate::model::DeploymentId;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::EventName;
use crate::model::Guard;
use crate::model::ImageRef;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Refusal;
use crate::model::Repository;
use crate::model::form_part;
use crate::notify::Message;
use crate::notify::Notifier;
use crate::notify::Piece;
use crate::notify::Tone;
use crate::orders::Deployer;
use crate::orders::answer::Answer;
use crate::orders::answer::Question;
use crate::registry::Registries;
use crate::registry::RegistryError;
use crate::store::Approvals;
use crate::store::Deployment;
use crate::store::StoreError;

/// How long the engine, the registry and a notifier may take: together less than the half minute in which a code is to be there.
const ENGINE: Duration = Duration::from_secs(3);
const REGISTRY: Duration = Duration::from_secs(10);
const NOTIFIER: Duration = Duration::from_secs(15);
/// The pauses after a failure.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(1)).spread();
/// How often an order is looked at to whose approvers everything was sent.
const LOOK: Duration = Duration::from_secs(30);

/// What is to be sent to one approver.
struct Letter<'a> {
    person: &'a Person,
    code: Code,
    mark: String,
}

/// Why no code is sent.
enum Unsent {
    /// The order is not carried out.
    Refused(Refusal),
    /// It may be possible later.
    NotNow(String),
}

impl From<StoreError> for Unsent {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "codes for an approval could not be made");
        Self::NotNow("The database does not answer, so no code can be made; trying again later.".to_owned())
    }
}

impl Deployer {
    /// Sends a code to everybody who has none and may approve. The order waits until `ends_ms`, whatever comes of that.
    pub(super) async fn send_codes(&self, question: &Question<'_>, deployment: &Deployment, able: &[&Person], ends_ms: i64) -> Answer {
        let left = Duration::from_millis(u64::try_from(ends_ms - question.now_ms).unwrap_or_default());
        let again = || AGAIN.after(question.times + 1).min(left);
        match self.codes(question, deployment, able, ends_ms).await {
            Ok((why, failed)) if failed.is_empty() => Answer::Waits(LOOK.min(left), why),
            Ok((why, failed)) => Answer::Waits(again(), format!("{why} {}", failed.join(" "))),
            Err(Unsent::NotNow(why)) => Answer::Waits(again(), format!("It waits for an approval. {why}")),
            Err(Unsent::Refused(refusal)) => Answer::Refused(refusal),
        }
    }

    /// What is waited for, and to whom no code could be sent.
    async fn codes(
        &self,
        question: &Question<'_>,
        deployment: &Deployment,
        able: &[&Person],
        ends_ms: i64,
    ) -> Result<(String, Vec<String>), Unsent> {
        let id = &deployment.id;
        let known = self.store.for_runs().approvals(id).await?;
        let images = if known.images.is_empty() { self.images_of(question, deployment).await? } else { known.images.clone() };
        let key = self.approval_key().await?;
        let write = |person: &&'_ Person| {
            let code = self.unsent.code(id, &person.id, ends_ms, question.now_ms);
            let mark = code.mark(key, Bound { order: id, images: &images, approver: &person.id });
            (code, mark)
        };
        let letters: Vec<Letter<'_>> = able
            .iter()
            .filter(|person| self.is_owed(&known, person))
            .map(|person| {
                let (code, mark) = write(person);
                Letter { person, code, mark }
            })
            .collect();
        let mut failed = Vec::new();
        if !letters.is_empty() {
            let marks: Vec<_> = letters.iter().map(|letter| (&letter.person.id, letter.mark.clone())).collect();
            if !self.store.for_runs().keep_codes(id, self.executor.id(), &images, &self.life, &marks).await? {
                return Err(Unsent::NotNow("It is asked about elsewhere.".to_owned()));
            }
            let send = letters.iter().map(|letter| self.send(question.config, deployment, &images, letter, ends_ms));
            let sent = join_all(send).await;
            let why = who_can(able, &letters, &sent);
            failed = sent.into_iter().flatten().collect();
            self.tell(EventKind::ApprovalWanted, deployment, why, Some(format!("tagalong approve {id}"))).await;
        }
        let needed = question.service.approval.as_ref().map_or(1, |approval| approval.needed);
        Ok((waits_for(&known, able, needed, ends_ms), failed))
    }

    /// Whether `person` has neither approved nor got a code that is still good.
    fn is_owed(&self, known: &Approvals, person: &Person) -> bool {
        let Some(code) = known.code_of(&person.id) else { return true };
        let is_of_an_earlier_life = code.made_by != self.life && code.made_by.split(' ').next() == Some(self.executor.id());
        code.approved.is_none() && (code.sent_ms.is_none() || is_of_an_earlier_life)
    }

    /// Sends one code. None: it was sent.
    async fn send(
        &self,
        config: &Config,
        deployment: &Deployment,
        images: &[ImageRef],
        letter: &Letter<'_>,
        ends_ms: i64,
    ) -> Option<String> {
        let Letter { person, code, mark } = letter;
        let sent = async {
            let plan = person.notifier(&config.notifiers).ok_or("no [[notify]] reaches this person alone")?;
            let key = self.approval_key().await.map_err(|_| "the database does not answer")?;
            let form = config
                .server
                .public_url
                .as_ref()
                .and_then(|url| form_url(url, &deployment.id, &form_part(key, &deployment.id, &person.id)));
            let message = message(deployment, images, code, form, ends_ms);
            let notifier = Notifier::new(&plan, &config.mask).map_err(|error| error.to_string())?;
            let late = |_| format!("the notifier {} did not answer within {} s", plan.id, NOTIFIER.as_secs());
            tokio::time::timeout(NOTIFIER, notifier.send(&message)).await.map_err(late)?.map_err(|error| format!("{}: {error}", plan.id))
        };
        let sent: Result<(), String> = sent.await;
        match sent {
            Ok(()) => {
                // If that is not recorded, it is sent once more.
                match self.store.for_runs().code_sent(&deployment.id, &person.id, mark).await {
                    Ok(()) => self.unsent.forget(&deployment.id, &person.id),
                    Err(error) => {
                        tracing::warn!(deployment = %deployment.id, approver = %person.id, %error, "it could not be recorded that a code was sent");
                    }
                }
                None
            }
            Err(why) => {
                // What a receiver answers may be what it was told.
                let why = [code.grouped(), code.grouped().replace('-', "")].iter().fold(why, |why, code| why.replace(code, "(the code)"));
                tracing::warn!(deployment = %deployment.id, approver = %person.id, why, "a code could not be sent");
                Some(format!("No code could be sent to {} ({why}); trying again.", person.id))
            }
        }
    }

    /// Whoever wants to hear of it hears what became of an approval; the codes are told to nobody but the approvers.
    pub(super) async fn tell(&self, kind: EventKind, deployment: &Deployment, why: String, next: Option<String>) {
        if let Err(error) = self.store.for_runs().happened(&event(kind, deployment, why, next)).await {
            tracing::warn!(deployment = %deployment.id, %error, "what became of an approval could not be recorded for notifiers");
        }
    }

    /// The exact images that the order is for: those of the record, or what the registry has under its tag now.
    async fn images_of(&self, question: &Question<'_>, deployment: &Deployment) -> Result<Vec<ImageRef>, Unsent> {
        let Question { config, service, order, .. } = *question;
        if order.kind == OrderKind::Rollback && !deployment.images.is_empty() {
            return Ok(deployment.images.clone());
        }
        let registries = Registries::new(config.docker.clone(), config.registries.clone());
        let engine = self.engine(service);
        let never = Cancel::default();
        let server = async { engine.as_ref()?.server(&never).await.ok() };
        let server = tokio::time::timeout(ENGINE, server).await.ok().flatten();
        let platform = server.as_ref().map_or(("linux", "amd64"), |server| (server.os.as_str(), server.arch.as_str()));
        let mut images = Vec::new();
        for pin in service.stack.pins() {
            if let Some(why) = self.unasked(service, &pin.image) {
                return Err(Unsent::NotNow(format!("It is not known which image is to be approved: {why}.")));
            }
            let asked = registries.resolve(&pin.image, order.tag.as_ref(), None, platform);
            let late =
                |_| Unsent::NotNow(format!("The registry of {} did not answer within {} s; trying again.", pin.image, REGISTRY.as_secs()));
            let found = tokio::time::timeout(REGISTRY, asked).await.map_err(late)?.map_err(|error| unresolved(&error))?;
            is_expected(order, &pin.image, &found.digest)?;
            images.push(ImageRef { repository: pin.image.clone(), tag: order.tag.clone(), digest: found.digest, loaded: false });
        }
        Ok(images)
    }
}

/// What became of an approval, for people.
pub(super) fn event(kind: EventKind, deployment: &Deployment, why: String, next: Option<String>) -> Event {
    let what = match kind {
        EventKind::ApprovalGiven => format!("{} is approved.", what(&deployment.order)),
        EventKind::ApprovalExpired => format!("{} was not approved.", what(&deployment.order)),
        _ => format!("{} waits for an approval.", what(&deployment.order)),
    };
    let name = EventName { kind, of: deployment.id.to_string() };
    Event { name, service: Some(deployment.order.service.clone()), at_ms: clock::now_ms(), what, why, next }
}

/// What is to be approved is what was ordered.
fn is_expected(order: &Order, repository: &Repository, digest: &crate::model::Digest) -> Result<(), Unsent> {
    match order.digest.as_ref().filter(|expected| *expected != digest) {
        None => Ok(()),
        Some(expected) => {
            let why = format!(
                "The tag of {repository} has the digest {digest} in the registry, but the order expects {expected}; the tag was moved."
            );
            Err(Unsent::Refused(Refusal::Image { guard: Guard::DigestMismatch, why }))
        }
    }
}

/// What cannot be landed is not put to anybody; a registry that is away is asked again.
fn unresolved(error: &RegistryError) -> Unsent {
    let guard = match error {
        RegistryError::NotFound(_) => Guard::NotFound,
        RegistryError::Platform { .. } => Guard::Platform,
        _ => return Unsent::NotNow(format!("It is not known yet which image is to be approved: {error} Trying again.")),
    };
    Unsent::Refused(Refusal::Image { guard, why: error.to_string() })
}

/// What an order wants, as the beginning of a sentence.
fn what(order: &Order) -> String {
    let tag = order.tag.as_ref().map_or("a release", |tag| tag.as_str());
    match order.kind {
        OrderKind::Rollback => format!("The rollback of {} to {tag}", order.service),
        _ => format!("The deployment of {tag} to {}", order.service),
    }
}

/// Who can approve an order, who of these was sent a code now, and who could not be reached. `sent` says for each letter why it was not.
fn who_can(able: &[&Person], letters: &[Letter<'_>], sent: &[Option<String>]) -> String {
    let of = |is_sent: bool| {
        let those = letters.iter().zip(sent).filter(|(_, why)| why.is_none() == is_sent);
        those.map(|(letter, _)| letter.person.id.as_str()).collect::<Vec<_>>().join(", ")
    };
    let all: Vec<&str> = able.iter().map(|person| person.id.as_str()).collect();
    let begin = format!("It can be approved by {}.", all.join(", "));
    let groups = [(of(true), " A code was sent to", "."), (of(false), " No code could be sent to", " yet; that is tried again.")];
    let groups = groups.into_iter().filter(|(names, ..)| !names.is_empty());
    std::iter::once(begin).chain(groups.map(|(names, what, end)| format!("{what} {names}{end}"))).collect()
}

fn waits_for(known: &Approvals, able: &[&Person], needed: usize, ends_ms: i64) -> String {
    let names: Vec<&str> = able.iter().map(|person| person.id.as_str()).collect();
    let many = if needed == 1 { "the approval of".to_owned() } else { format!("the approval of {needed} of") };
    let given: Vec<&str> = known.given().into_iter().map(|one| one.who.as_str()).collect();
    let given = if given.is_empty() { String::new() } else { format!(" {} has approved it.", given.join(" and ")) };
    format!("It waits for {many} {} until {}.{given}", names.join(if needed == 1 { " or " } else { ", " }), clock::utc(ends_ms))
}

/// The address of a form; none: the server's own has no place for one.
fn form_url(base: &Url, id: &DeploymentId, part: &str) -> Option<Url> {
    let mut url = base.clone();
    url.path_segments_mut().ok()?.pop_if_empty().extend(["approve", &format!("{id}.{part}")]);
    Some(url)
}

/// The message with a code. Words from the order are shown as words.
fn message(deployment: &Deployment, images: &[ImageRef], code: &Code, form: Option<Url>, ends_ms: i64) -> Message {
    let order = &deployment.order;
    let by = order.actor.as_ref().map_or_else(|| order.caller.to_string(), |actor| format!("{actor} ({})", order.caller));
    let mut pieces = vec![Piece::Text(format!("{} waits for your approval; it was ordered by {by}.", what(order)))];
    pieces.extend(order.reason.iter().map(|reason| Piece::Text(format!("Reason: {reason}"))));
    pieces.extend(order.commit.iter().map(|commit| Piece::Text(format!("Commit: {commit}"))));
    pieces.extend(images.iter().map(|image| Piece::Text(format!("Image: {image}"))));
    pieces.push(Piece::Text("Your code, which is for you alone:".to_owned()));
    pieces.push(Piece::Code(code.grouped()));
    pieces.push(Piece::Text(format!(
        "Enter it until {}, here or with the command. Opening the address approves nothing.",
        clock::utc(ends_ms)
    )));
    pieces.extend(form.map(Piece::Link));
    pieces.push(Piece::Code(format!("tagalong approve {}", deployment.id)));
    let data = json!({ "deployment": deployment.id, "service": order.service, "code": code.grouped(), "until_ms": ends_ms });
    Message {
        id: format!("approve_{}", text::hex(&clock::random_bytes::<16>())),
        kind: "approval.code".to_owned(),
        at_ms: clock::now_ms(),
        tone: Tone::Careful,
        title: format!("Approve {} {}?", order.service, order.tag.as_ref().map_or("", |tag| tag.as_str())),
        pieces,
        data: data.as_object().cloned().unwrap_or_default(),
    }
}
