//! Authentication and authorisation. A handler gets the caller and the request together, as `Proven`, which is made after both were
//! checked; the router takes no other handlers.
//!
//! Begin with `proven.rs`. Each file uses only those behind it: `handler` → `proven` · `reload` · `delivered` · `form` · `agent` → `proof` → `who` → `job` →
//! `attempt` · `scheme` → `address` · `token` · `need`.

mod address;
mod agent;
mod attempt;
mod delivered;
mod form;
mod forwarded;
mod handler;
mod job;
mod need;
mod proof;
mod proven;
mod reload;
mod scheme;
pub mod token;
mod who;

pub(super) use address::is_trusted;
pub(super) use agent::{Dialled, Enrolling};
pub(super) use delivered::Delivered;
pub(super) use form::{Unwelcome, Visit};
pub(super) use handler::{Handler, by_agent_key, by_code, by_forge, by_form, by_reload_secret, open, proven};
pub(super) use job::agrees;
pub use need::Need;
pub(super) use need::Needs;
pub(super) use proven::{Ask, Call, Json, Line, NoBody, Proven};
pub(super) use reload::{Told, Unproven};
pub use scheme::{Shown, sign};
