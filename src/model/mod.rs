//! Parsed words: what a value of one of these types says has been checked once, where it came in.
//!
//! No I/O and no async: everything above may use these.

mod address;
mod caller;
mod cancelled;
mod dataset;
mod debt;
mod fault;
mod files;
mod glob;
mod hook_event;
mod id;
mod image;
mod issuer;
mod json;
mod line;
mod mark;
mod order;
mod origin;
mod outcome;
mod part;
mod refusal;
mod repository;
mod rotated;
mod stage;
mod state;
mod step;
mod webhook;
mod word;

pub use address::is_in_the_clear;
pub use caller::{Caller, Scope, Target, Verb};
pub use cancelled::CancelledBy;
pub use dataset::{Commit, CommitName, DatasetName, Reconcile};
pub use debt::{Lane, Message, News, Says};
pub use fault::FaultKind;
pub use files::{FileKind, LaidFiles, Mark, Marks, StackFile, StackFiles, Tree, link_stays, wrong_path};
pub use glob::Glob;
pub use hook_event::{HookEvent, TagTemplate, TagWord};
pub use id::DeploymentId;
pub use image::{Digest, ImageRef, Repository, Tag};
pub use issuer::{Forge, Issuer};
pub use json::json_object;
pub use line::{Line, LineDraft, LineKind};
pub use mark::mark;
pub use order::{Cause, Order, OrderKind, RollbackTo};
pub use origin::{commit_text, is_actor, is_ref, ref_text, run_url_text};
pub use outcome::{Guard, Outcome};
pub use part::Part;
pub use refusal::Refusal;
pub use repository::ForgeRepository;
pub use rotated::Rotated;
pub use stage::{Stage, StepBack};
pub use state::{State, WaitsFor};
pub use step::Step;
pub use webhook::{forge_signature, webhook_call, webhook_mac, webhook_signature};
pub use word::{KeyId, ServiceName, WordError};
