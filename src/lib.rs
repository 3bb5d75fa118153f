//! tagalong: a companion for GitHub and Forgejo Actions runners.
//!
//! CI calls it with a tag; it pins the tag, brings the release up, looks at it from outside, and undoes it when it does
//! not hold. `landing/run.rs` is where to begin reading.
//!
//! # The house
//! A module uses only floors below its own; two modules on one floor do not use each other. A test reads this table and
//! checks the code against it.
//!
//! | floor | modules | what they know |
//! |---|---|---|
//! | 10 | `cli` | the terminal |
//! | 9 | `app` | builds everything from the configuration; orderly start and stop |
//! | 8 | `http` `agent` | actix and statuses · the far end: takes orders from a control plane over a line that it dialled |
//! | 7 | `watch` | looks at what is live: releases after they were deployed, pages on a schedule, incidents |
//! | 6 | `orders` `reload` | who may have what done, and when: acceptance, guards, queue, cancel, views · the story of a reload, peers |
//! | 5 | `executor` | places: an order is carried out here, or by an agent |
//! | 4 | `landing` `results` `notices` | one host: the story of a release, its undo, the stack's lock, what a restart takes up · what forges show of it · what people hear of it |
//! | 3 | `engine` `dataset` `journal` `outbox` `line` | tools over one or two things below |
//! | 2 | `store` `registry` `oidc` `forge` `webhooks` `notify` `ssh` | one outside thing each |
//! | 1 | `config` `api` `telemetry` `clock` `answer` | edges |
//! | 0 | `model` | parsed words: no I/O, no async |
//!
//! Beside the house stand the crates of the workspace, which know nothing of it: `smoke` looks at a page from outside, over
//! `process`, the only place that runs programs; `calendar` knows times of the week and holidays, `policy` the rules for stacks; `text` lies
//! below them; `hot` is for apps that serve what is reloaded.

pub mod agent;
pub mod answer;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dataset;
pub mod engine;
pub mod executor;
pub mod forge;
pub mod http;
pub mod journal;
pub mod landing;
pub mod line;
pub mod model;
pub mod notices;
pub mod notify;
pub mod oidc;
pub mod orders;
pub mod outbox;
pub mod registry;
pub mod reload;
pub mod results;
pub mod ssh;
pub mod store;
pub mod telemetry;
pub mod watch;
pub mod webhooks;
