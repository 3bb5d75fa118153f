//! What a frame of an agent may say, whoever wrote it: how many there are of anything, how long texts are, and which numbers and times.
//! What no agent of ours would say is refused; what a wrong clock or a long text may bring about is set right.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::line::Answer;
use crate::line::Ended;
use crate::line::FromAgent;
use crate::line::Hello;
use crate::line::Lines;
use crate::line::SentOrder;
use crate::line::Unreadable;
use crate::model::Cause;
use crate::model::DeploymentId;
use crate::model::commit_text;
use crate::model::is_actor;
use crate::model::ref_text;
use crate::model::run_url_text;

/// How far the clock of a host may be ahead of this one's, ms: later times are set to that, and what has the id of a later time is refused.
const MOST_AHEAD_MS: i64 = 20 * 60 * 1000;
/// How many lines a run may have.
const MOST_LINES: i64 = 200_000;
/// Numbers beyond are no counts, positions or times.
const MOST_NUMBER: i64 = 1 << 53;
/// The end of the year 9999, ms since 1970 (UTC).
const MOST_MS: i64 = 253_402_300_799_000;
/// How many services or datasets a hello may name, how many journals, and how many images a service may have.
const MOST_NAMED: usize = 1000;
const MOST_JOURNALS: usize = 256;
const MOST_IMAGES: usize = 50;
/// How many lines a frame may hold.
const MOST_LINES_OF_FRAME: usize = 5000;
/// How many elements a list may have, anywhere in a frame.
const MOST_ELEMENTS: usize = 2000;
/// The longest name of a program, a host or a system, characters.
const LONGEST_NAME: usize = 255;
/// The longest text of anything, bytes.
const LONGEST_TEXT: usize = 16_000;
/// How long an outcome may be, and a report of a page, bytes of JSON: what is longer is cut down to a few texts of that length each.
const LONGEST_OUTCOME: usize = 64_000;
const LONGEST_REPORT: usize = 256_000;
const FEW: usize = 20;
const LONGEST_OF_FEW: usize = 1000;
/// The longest reason, bytes, as the API takes it.
const LONGEST_REASON: usize = 2000;

/// What no agent of ours says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    /// There is too much of it.
    #[error("it names {count} {what}, and {most} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A number is none.
    #[error("the {what} {number} is none")]
    Number {
        /// Of what.
        what: &'static str,
        /// The number.
        number: i64,
    },
    /// Something stands there twice.
    #[error("it names {0} twice")]
    Twice(String),
    /// An id is of a time that is yet to come.
    #[error("the deployment {0} is of a time that is yet to come; set the clocks of both hosts")]
    Future(DeploymentId),
    /// It could not be read.
    #[error("it could not be read: {0}")]
    Unreadable(String),
}

fn few(what: &'static str, count: usize, most: usize) -> Result<(), OutOfBounds> {
    if count > most { Err(OutOfBounds::TooMany { what, count, most }) } else { Ok(()) }
}

fn number(what: &'static str, number: i64, most: i64) -> Result<(), OutOfBounds> {
    if (1..=most).contains(&number) { Ok(()) } else { Err(OutOfBounds::Number { what, number }) }
}

/// Refuses an id of a time that is yet to come: it would sort behind everything that is ordered until then.
///
/// # Errors
/// [`OutOfBounds::Future`].
pub fn is_of_now(id: &DeploymentId, now_ms: i64) -> Result<(), OutOfBounds> {
    if id.at_ms() > now_ms + MOST_AHEAD_MS { Err(OutOfBounds::Future(id.clone())) } else { Ok(()) }
}

/// A time that has been, as far as clocks agree.
fn past(at_ms: i64, now_ms: i64) -> i64 {
    at_ms.clamp(0, now_ms.max(0) + MOST_AHEAD_MS)
}

/// A name of a host or a program.
fn name(given: &str) -> String {
    text::clean(&given.chars().take(LONGEST_NAME).collect::<String>())
}

impl FromAgent {
    /// The same frame, with everything in it within bounds at the time `now_ms`.
    ///
    /// # Errors
    /// [`OutOfBounds`], for what no agent of ours would say.
    pub fn bounded(self, now_ms: i64) -> Result<Self, OutOfBounds> {
        match self {
            Self::Hello(hello) => hello.bounded().map(Self::Hello),
            Self::Lines(lines) => lines.bounded(now_ms).map(Self::Lines),
            Self::Ended(ended) => ended.bounded(now_ms).map(|ended| Self::Ended(Box::new(ended))),
            Self::Answer(Answer { ask, body }) => Ok(Self::Answer(Answer { ask, body: tame(&body)? })),
            Self::Refused(refused) => Ok(Self::Refused(tame(&refused)?)),
            Self::Unreadable(what) => Ok(Self::Unreadable(Unreadable { kind: name(&what.kind), why: name(&what.why), ..what })),
            Self::Accepted(_) | Self::Unknown => Ok(self),
        }
    }
}

impl Hello {
    fn bounded(self) -> Result<Self, OutOfBounds> {
        few("services", self.services.len(), MOST_NAMED)?;
        few("datasets", self.datasets.len(), MOST_NAMED)?;
        few("journals", self.journals.len(), MOST_JOURNALS)?;
        let mut names: Vec<_> = self.services.iter().map(|service| &service.name).collect();
        names.sort();
        if let Some((twice, _)) = names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next) {
            return Err(OutOfBounds::Twice(format!("the service {twice}")));
        }
        for service in &self.services {
            few("images of a service", service.images.len(), MOST_IMAGES)?;
            few("live images of a service", service.live.len(), MOST_IMAGES)?;
        }
        let mut hello: Self = tame(&self)?;
        hello.program = name(&hello.program);
        hello.host.name = name(&hello.host.name);
        hello.host.system = name(&hello.host.system);
        hello.host.architecture = name(&hello.host.architecture);
        for service in &mut hello.services {
            service.address = service.address.take().filter(|address| run_url_text(address).is_ok());
        }
        Ok(hello)
    }
}

impl Lines {
    fn bounded(mut self, now_ms: i64) -> Result<Self, OutOfBounds> {
        few("lines", self.lines.len(), MOST_LINES_OF_FRAME)?;
        let mut before = 0;
        for line in &mut self.lines {
            number("position of a line", line.position, MOST_NUMBER)?;
            number("number of a line", line.seq, MOST_LINES)?;
            if line.position <= before {
                return Err(OutOfBounds::Twice(format!("the position {} of a line", line.position)));
            }
            before = line.position;
            line.at_ms = past(line.at_ms, now_ms);
        }
        Ok(self)
    }
}

impl Ended {
    fn bounded(self, now_ms: i64) -> Result<Self, OutOfBounds> {
        is_of_now(&self.order.deployment, now_ms)?;
        few("images", self.images.len(), MOST_IMAGES)?;
        let mut ended: Self = tame(&self)?;
        ended.order = ended.order.bounded();
        ended.outcome = cut(&ended.outcome, LONGEST_OUTCOME)?;
        ended.report = ended.report.map(|report| cut(&report, LONGEST_REPORT)).transpose()?;
        ended.ran_before = ended.ran_before.map(|before| before.chars().take(LONGEST_OF_FEW).collect());
        // A span of it is never negative, whatever its host's clock did.
        ended.created_ms = past(ended.created_ms, now_ms);
        ended.started_ms = ended.started_ms.map(|at_ms| past(at_ms, now_ms).max(ended.created_ms));
        ended.ended_ms = past(ended.ended_ms, now_ms).max(ended.started_ms.unwrap_or(ended.created_ms));
        Ok(ended)
    }
}

impl SentOrder {
    /// The same order, without what no caller of a tagalong could have ordered.
    #[must_use]
    pub fn bounded(self) -> Self {
        let reason = self.reason.map(|reason| reason[..reason.floor_char_boundary(LONGEST_REASON)].replace('\0', ""));
        Self {
            commit: self.commit.filter(|text| commit_text(text).is_ok()),
            git_ref: self.git_ref.filter(|text| ref_text(text).is_ok()),
            run_url: self.run_url.filter(|text| run_url_text(text).is_ok()),
            actor: self.actor.filter(|text| is_actor(text)),
            cause: self.cause.filter(|text| Cause::parse(text).is_ok()),
            run_number: self.run_number.filter(|number| (0..=MOST_NUMBER).contains(number)),
            reason,
            ..self
        }
    }
}

/// `said` with every list, text and number in it within bounds, those of later versions among them.
///
/// # Errors
/// [`OutOfBounds::Unreadable`], where something in it is not what it was any more.
fn tame<T: Serialize + DeserializeOwned>(said: &T) -> Result<T, OutOfBounds> {
    through_json(said, |value| tame_value(value, ""))
}

/// `said` as it is up to `longest` bytes of JSON; what is longer, with a few short texts of it.
fn cut<T: Serialize + DeserializeOwned>(said: &T, longest: usize) -> Result<T, OutOfBounds> {
    through_json(said, |value| {
        if value.to_string().len() > longest {
            cut_value(value);
        }
    })
}

/// `said` as it is once its JSON is changed.
fn through_json<T: Serialize + DeserializeOwned>(said: &T, change: impl FnOnce(&mut Value)) -> Result<T, OutOfBounds> {
    let unreadable = |error: serde_json::Error| OutOfBounds::Unreadable(error.to_string());
    let mut value = serde_json::to_value(said).map_err(unreadable)?;
    change(&mut value);
    serde_json::from_value(value).map_err(unreadable)
}

fn cut_value(value: &mut Value) {
    match value {
        Value::Array(elements) => {
            elements.truncate(FEW);
            elements.iter_mut().for_each(cut_value);
        }
        Value::Object(fields) => fields.values_mut().for_each(cut_value),
        Value::String(text) => *text = text.chars().take(LONGEST_OF_FEW).collect(),
        _ => {}
    }
}

fn tame_value(value: &mut Value, key: &str) {
    match value {
        Value::Array(elements) => {
            elements.truncate(MOST_ELEMENTS);
            for element in elements.iter_mut() {
                tame_value(element, key);
            }
        }
        Value::Object(fields) => fields.iter_mut().for_each(|(key, field)| tame_value(field, key)),
        Value::String(text) if text.len() > LONGEST_NAME || text.contains(text::misleads) => {
            *text = text.split('\n').map(text::clean).collect::<Vec<_>>().join("\n");
            text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        }
        Value::Number(number) => {
            let wide = number.as_i64().or_else(|| number.as_u64().map(|_| i64::MAX));
            let most = if key.ends_with("_ms") { (0, MOST_MS) } else { (-MOST_NUMBER, MOST_NUMBER) };
            if let Some(wide) = wide.filter(|wide| !(most.0..=most.1).contains(wide)) {
                *value = wide.clamp(most.0, most.1).into();
            }
        }
        _ => {}
    }
}
