//! The pages by which people log in and out, and see where they are logged in.

mod enter;
mod sessions;

pub(in crate::http) use enter::{callback, enter, show, to_forge};
pub(in crate::http) use sessions::{end, leave, list};
