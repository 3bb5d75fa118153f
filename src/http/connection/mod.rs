//! Connections: how many there may be and from whom, how long each part of a request may take, and when a connection is kept open for
//! another request. actix speaks HTTP over them, but it does not count addresses, limits the time of the first head only, and lets an
//! answer wait without limit.

mod accept;
mod capacity;
mod head;
mod pace;
mod seats;
mod wire;
mod worker;

pub(super) use accept::Arrivals;
pub(super) use accept::Door;
pub use capacity::Capacity;
pub(super) use seats::{Seats, subscriber};
pub(super) use wire::{Connection, Turn, Via};
pub(super) use worker::{Worker, serve};
