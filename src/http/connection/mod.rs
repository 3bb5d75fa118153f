//! Connections: how many there may be and of whom, how long each part of one may take, and when one stays for a further call.
//! actix speaks HTTP over them; it counts no addresses, times only the first head, and lets an answer wait for ever.

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
