//! Native webhooks of forges: what a payload tells, and what the rules of the configuration make of it. Nothing here is believed
//! before its signature was verified, and nothing of it is a fact: the registry and the forge are asked when an order is carried out.
//!
//! `read` makes of a body a [`Notice`]; `judge` holds it against the rules. Each event has a file of its own: `push`, `release`,
//! `package`, `run`, `deployment` and `dispatch`, over `fields`.

mod deployment;
mod dispatch;
mod fields;
mod form;
mod judge;
mod notice;
mod origin;
mod package;
mod push;
mod read;
mod release;
mod run;
mod skip;
#[cfg(test)]
mod tests;

pub use form::payload_of_form;
pub use judge::{Act, Verdict, judge};
pub use notice::{Changes, Notice, Payload, PayloadError};
pub use read::read;
