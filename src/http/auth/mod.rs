//! Authentication and authorisation. A handler gets the caller and the request together, as `Proven`, which is made after both were
//! checked; the router takes no other handlers.
//!
//! Begin with `proven.rs`. Each file uses only those behind it: `handler` → `socket` → `viewer` · `right` → `proven` · `reload` · `delivered` · `form` · `agent` → `proof` →
//! `who` → `job` · `session` → `attempt` · `scheme` · `cookie` → `address` · `token` · `need`.

mod address;
mod agent;
mod arrival;
mod attempt;
mod by_forge;
mod cookie;
mod delivered;
mod enter;
mod form;
mod forwarded;
mod handler;
mod job;
mod need;
pub mod password;
mod proof;
mod proven;
mod reload;
mod right;
mod same_origin;
mod scheme;
mod session;
mod socket;
pub mod token;
mod viewer;
mod who;

pub(super) use address::is_trusted;
pub(super) use agent::{Dialled, Enrolling};
pub(super) use arrival::{Arrival, NotIn};
pub(super) use delivered::Delivered;
pub(super) use enter::{code_digest, left};
pub(super) use form::{Unwelcome, Visit};
pub(super) use handler::{
    Handler, arrived, by_agent_key, by_code, by_forge, by_form, by_reload_secret, changed, changed_own, open, open_file, opening, page,
    proven, viewed,
};
pub(super) use job::agrees;
pub use need::Need;
pub(super) use need::Needs;
pub(super) use proven::{Ask, Call, Json, Line, NoBody, Proven};
pub(super) use reload::{Told, Unproven};
pub(super) use right::Right;
pub use scheme::{Shown, sign};
pub(super) use session::{Session, counts_at, scopes_of_session};
pub(super) use socket::{Entrant, Opening, Unnamed};
pub(super) use viewer::{Change, Fields, Page, PageError, Viewer, once};
