//! Pages by which people order something. Each asks once, and shows what becomes of what, why, and in whose name; the order is the same
//! as the API's. A refusal comes back on the same page, with what was typed.

pub(in crate::http) mod agents;
pub(in crate::http) mod data;
mod deploy;
mod rollback;
mod small;
pub(in crate::http) mod users;

pub(in crate::http) use deploy::{order as order_deploy, show as show_deploy};
pub(in crate::http) use rollback::{order as order_rollback, show as show_rollback};
pub(in crate::http) use small::adopt;
pub(in crate::http) use small::approval;
pub(in crate::http) use small::approve;
pub(in crate::http) use small::cancel;
pub(in crate::http) use small::order_adopt;
pub(in crate::http) use small::order_cancel;
pub(in crate::http) use small::order_repair;
pub(in crate::http) use small::order_resume;
pub(in crate::http) use small::order_retry;
pub(in crate::http) use small::repair;
pub(in crate::http) use small::resume;
pub(in crate::http) use small::retry;
