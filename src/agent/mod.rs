//! The far end of a line: takes orders from a control plane that this host has dialled.

mod dial;

pub use dial::Dial;
