//! tagalong: a companion for GitHub and Forgejo Actions runners.
//!
//! CI calls it with a tag; it pins the tag, brings the release up, looks at it from outside, and undoes it when it does
//! not hold. `deploy/run.rs` is where to begin reading.
//!
//! # The house
//! A module uses only floors below its own; two modules on one floor do not use each other. A test reads this table and
//! checks the code against it.
//!
//! | floor | modules | what they know |
//! |---|---|---|
//! | 8 | `cli` | the terminal |
//! | 7 | `app` | builds everything from the configuration; orderly start and stop |
//! | 6 | `http` | actix and statuses |
//! | 5 | `deploy` `reload` | orders, their queue, the story, undo, recovery · the story of a reload, peers |
//! | 4 | `executor` | who carries orders out, on which host, under which lock |
//! | 3 | `engine` `dataset` `smoke` `journal` `outbox` | tools over one or two things below |
//! | 2 | `store` `registry` | one outside thing each |
//! | 1 | `process` `config` `api` `telemetry` `clock` `hot` | edges |
//! | 0 | `model` | parsed words: no I/O, no async |

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dataset;
pub mod deploy;
pub mod engine;
pub mod executor;
pub mod hot;
pub mod http;
pub mod journal;
pub mod model;
pub mod outbox;
pub mod process;
pub mod registry;
pub mod reload;
pub mod smoke;
pub mod store;
pub mod telemetry;
